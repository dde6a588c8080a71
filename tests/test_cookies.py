"""The cookies of a sign-in: what they look like, how many there are, and what a browser that holds others' cookies can do with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import time_machine
from flask import Request
from werkzeug.test import EnvironBuilder

from samljit.testing import Browser, FakeEntra
from samljit.testing.cookies import Cookie
from samljit.views.cookies import MOST_PENDING, find_handover, find_pending
from samljit.views.mounted import Mounted, Secrets
from tests.flows import START, begin
from tests.host import LOGIN, ORIGIN, Host, make_host, settings_for


def pending(browser: Browser) -> list[Cookie]:
    return sorted((c for c in browser.jar._cookies.values() if "samljit-pending-" in c.name), key=lambda cookie: cookie.created)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def test_on_https_the_cookies_are_bound_to_the_host_and_out_of_scripts_reach(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    browser.submit(begin(host, browser), by_script=True)
    cookies = [cookie for cookie in browser.jar._cookies.values() if "samljit" in cookie.name]
    assert [cookie.name.rpartition("-")[0] for cookie in cookies] == ["__Host-samljit-pending", "__Host-samljit-handover"]
    assert {(c.secure, c.http_only, c.same_site, c.path, c.is_host_only) for c in cookies} == {(True, True, "lax", "/", True)}
    lives = [c.expires - c.created for c in cookies if c.expires]
    assert [timedelta(seconds=round(life.total_seconds())) for life in lives] == [timedelta(hours=2), timedelta(minutes=2)]


def test_on_a_loopback_over_http_they_have_no_prefix_and_work(tmp_path: Path) -> None:
    host = make_host(tmp_path, settings=settings_for(tmp_path, FakeEntra(), base_url="http://localhost:5000"))
    browser = Browser({"http://localhost:5000": host.app})
    page = host.sign_in(browser=browser, login_url="http://localhost:5000/saml/contoso/login?next=/reports/7")
    assert (page.url, page.text) == ("http://localhost:5000/reports/7", "report 7 for user 1")
    assert browser.jar.refused == []
    host.session.remove()
    host.engine.dispose()


def test_after_a_sign_in_none_of_them_is_left(host: Host) -> None:
    browser = host.browser()
    host.sign_in(browser=browser)
    assert [name for name, _, _ in browser.jar._cookies if "samljit" in name] == ["__Host-samljit-arrivals"]  # for half a minute


def test_the_hand_over_holds_nothing_about_the_person(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    browser.submit(begin(host, browser), by_script=True)
    [row] = host.rows("samljit_attempt")
    [value] = [cookie.value for cookie in browser.jar._cookies.values() if "handover" in cookie.name]
    secrets = host.app.extensions["samljit"].secrets(host.app)
    assert secrets.handover.loads(value) == [row.reference, row.tenant_id, row.request_nonce, None]


def test_a_browser_keeps_five_sign_ins_and_drops_the_oldest(host: Host, clock: time_machine.Traveller) -> None:
    browser = host.browser()
    forms = []
    for number in range(MOST_PENDING + 2):
        forms.append(begin(host, browser, login_url=f"{LOGIN}?next=/reports/{number}"))
        clock.shift(timedelta(seconds=2))
    assert len(pending(browser)) == MOST_PENDING
    assert browser.submit(forms[1], by_script=True).status == 403
    assert browser.submit(forms[2], by_script=True).text == "report 2 for user 1"


def test_long_paths_are_dropped_earlier_than_a_header_would_burst(host: Host, clock: time_machine.Traveller) -> None:
    browser = host.browser()
    for number in range(MOST_PENDING):
        path = "/" + "".join(chr(0x4E00 + (n * 7919 + number * 13) % 20000) for n in range(330))
        page = browser.get(f"{LOGIN}?next={quote(path, safe='')}")
        clock.shift(timedelta(seconds=2))
    assert page.is_outside
    assert 1 <= len(pending(browser)) < MOST_PENDING
    assert sum(len(cookie.name) + len(cookie.value) for cookie in pending(browser)) < 5000


NONCE = "0123456789abcdef" * 2
JUNK = {
    f"__Host-samljit-pending-{NONCE}=1": 1,
    f"__Host-samljit-pending-{NONCE}=; __Host-samljit-pending-{NONCE[::-1]}=a.b.c": 2,
    f"samljit-pending-{NONCE}=1; __Host-samljit-handover-{NONCE}=1": 0,
    # names that no sign-in of ours made are left alone: they are not fit for a header of ours
    "__Host-samljit-pending-x=1; __Host-samljit-pending-\xe9=a.b.c": 0,
    "=; ;;; a; __Host-samljit-pending-": 0,
}


@pytest.mark.parametrize(("junk", "dropped"), JUNK.items())
def test_pending_cookies_that_are_not_ours_are_swept_out_and_harm_nothing(host: Host, junk: str, dropped: int) -> None:
    response = host.app.test_client(use_cookies=False).get("/saml/contoso/login", headers={"Cookie": junk}, base_url=ORIGIN)
    assert response.status_code == 303
    assert len([header for header in response.headers.getlist("Set-Cookie") if "Max-Age=0" in header]) == dropped


def asking(cookie: str) -> Request:
    return Request(EnvironBuilder(headers={"Cookie": cookie}).get_environ())


@pytest.fixture
def parts(host: Host) -> tuple[Mounted, Secrets]:
    mount = host.app.extensions["samljit"]
    return mount, mount.secrets(host.app)


@pytest.mark.parametrize("kind", ["pending", "handover"])
def test_a_cookie_signed_for_one_use_or_one_nonce_is_good_for_no_other(parts: tuple[Mounted, Secrets], kind: str) -> None:
    mount, secrets = parts
    tenant = "00000000-0000-4000-8000-000000000001"
    find = {"pending": find_pending, "handover": find_handover}[kind]
    good = {"pending": ["n1", tenant, "/", False, False], "handover": ["SJ-0000-0000", tenant, "n1", None]}[kind]
    signers = {"pending": secrets.pending, "handover": secrets.handover, "question": secrets.question, "sign-out": secrets.sign_out}
    for use, signer in signers.items():
        token = str(signer.dumps(good))
        found = find(asking(f"__Host-samljit-{kind}-n1={token}"), "n1", mount=mount, secrets=secrets)
        assert (found is not None) == (use == kind)
        assert find(asking(f"__Host-samljit-{kind}-n2={token}"), "n2", mount=mount, secrets=secrets) is None
        assert find(asking(f"samljit-{kind}-n1={token}"), "n1", mount=mount, secrets=secrets) is None
        assert find(asking(f"__Host-samljit-{kind}-n1={token}x"), "n1", mount=mount, secrets=secrets) is None
    assert find(asking(""), "", mount=mount, secrets=secrets) is None


def test_the_keys_of_two_apps_are_not_each_others(tmp_path: Path) -> None:
    hosts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        hosts.append(make_host(tmp_path / name, configure=lambda app, name=name: app.config.update(SECRET_KEY=f"the key of app {name}")))
    one, two = (host.app.extensions["samljit"].secrets(host.app) for host in hosts)
    assert one.requests is not two.requests
    assert "the key of" not in repr(one) + repr(hosts[0].app.extensions["samljit"])
    for host in hosts:
        host.engine.dispose()
