"""One sign-in from the outside: through the browser's eyes, with the database looked at after."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from flask import Flask
from flask_login import current_user
from sqlalchemy import create_engine

from samljit import Reason, sign_in_refused, signed_in, user_created, user_updated
from samljit.errors import CATALOGUE
from samljit.testing import Browser, FakeEntra, Form
from tests.flows import EVIL, FINISH, START, begin, configured, hosting, who
from tests.host import ACS, ADELE, BIANCA, LOGIN, ORIGIN, Host, settings_for

# --- the good way -----------------------------------------------------------------------------------------------------


def test_a_newcomer_becomes_a_user_and_lands_on_the_page_they_wanted(host: Host) -> None:
    page = host.sign_in(login_url=f"{LOGIN}?next=/reports/7")
    [user] = host.users()
    assert (page.status, page.url, page.text) == (200, f"{ORIGIN}/reports/7", f"report 7 for user {user['id']}")
    assert (user["email"], user["first_name"], user["display_name"]) == ("adele.vance@contoso.example", "Adele", "Adele Vance")


def test_the_hops_are_those_of_the_design_and_the_acs_gets_no_cookie(host: Host) -> None:
    browser = host.browser()
    form = begin(host, browser)
    page = browser.submit(form, by_script=True)
    assert [(hop.method, urlsplit(hop.url).path, hop.status) for hop in page.history] == [
        ("POST", "/saml/contoso/acs", 200),
        ("GET", "/saml/contoso/finish", 303),
        ("GET", "/", 200),
    ]
    assert (page.history[0].cookies, page.history[1].headers["Sec-Fetch-Site"]) == ({}, "same-origin")


@pytest.mark.parametrize("same_site", [None, "Lax", "Strict", "None"])
@pytest.mark.parametrize("times", [1, 3])
def test_every_kind_of_session_cookie_works(tmp_path: Path, same_site: str | None, times: int) -> None:
    with hosting(tmp_path, configure=configured(SESSION_COOKIE_SAMESITE=same_site, SESSION_COOKIE_SECURE=True)) as host:
        browser = host.browser()
        pages = [host.sign_in(browser=browser, login_url=f"{LOGIN}?next=/reports/{n}") for n in range(times)]
        assert [page.text for page in pages] == [f"report {n} for user 1" for n in range(times)]


@pytest.mark.parametrize("prefix", ["", "/auth", "/a/b"])
def test_the_blueprint_works_under_any_prefix(tmp_path: Path, prefix: str) -> None:
    with hosting(tmp_path, settings=settings_for(tmp_path, FakeEntra(), url_prefix=prefix)) as host:
        browser = host.browser()
        page = host.sign_in(browser=browser, login_url=f"{ORIGIN}{prefix}/contoso/login?next=/reports/7")
        assert (page.url, page.text) == (f"{ORIGIN}/reports/7", "report 7 for user 1")
        refused = host.browser().get(f"{ORIGIN}{prefix}/contoso/finish")
        sheet = re.findall(r'href="([^"]+\.css)"', refused.text)
        assert [host.browser().get(ORIGIN + path).headers["Content-Type"] for path in sheet] == ["text/css; charset=utf-8"]


class HidesTheHost:
    """A proxy that does not pass on which host the browser asked for, nor that it was https."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        inner = {"HTTP_HOST": "10.0.0.5:8000", "SERVER_NAME": "10.0.0.5", "SERVER_PORT": "8000", "wsgi.url_scheme": "http"}
        return self.app(environ | inner, start_response)


def test_a_sign_in_works_behind_a_proxy_that_hides_the_host(host: Host) -> None:
    browser = Browser({ORIGIN: HidesTheHost(host.app)})  # type: ignore[dict-item]
    page = host.sign_in(browser=browser, login_url=f"{LOGIN}?next=/reports/7&next=x")
    assert (page.status, page.url) == (200, f"{ORIGIN}/reports/7")
    assert "__Host-" in " ".join(hop_cookie for hop in page.history for hop_cookie in hop.cookies)


def test_another_host_of_the_app_hops_to_its_own_once_and_sets_cookies_only_there(host: Host) -> None:
    www = "https://www.app.example.com"
    browser = Browser({ORIGIN: host.app, www: host.app})
    page = host.sign_in(browser=browser, login_url=f"{www}/saml/contoso/login?next=/reports/7")
    assert (page.status, page.url) == (200, f"{ORIGIN}/reports/7")
    first = Browser({www: host.app}).get(f"{www}/saml/contoso/login?next=/reports/7")
    assert (first.history[0].status, first.url) == (303, f"{LOGIN}?next=%2Freports%2F7&hop=1")
    assert host.app.test_client().get("/saml/contoso/login?hop=1", base_url=www).headers["Location"].startswith(host.entra.sso_url)


def test_relay_state_leads_nowhere(host: Host) -> None:
    browser = host.browser()
    page = browser.submit(begin(host, browser), {"RelayState": f"{EVIL}/"}, by_script=True)
    assert (page.status, page.url) == (200, f"{ORIGIN}/")


# --- two tenants, two tabs --------------------------------------------------------------------------------------------


@pytest.fixture
def two_tenants(tmp_path: Path) -> Iterator[tuple[Host, FakeEntra]]:
    entra, other = FakeEntra(), FakeEntra("bbbbcccc-1111-dddd-2222-eeee3333ffff")
    given = settings_for(tmp_path, entra)
    fabrikam = settings_for(tmp_path, other)["tenants"]["contoso"] | {"name": "Fabrikam", "domains": ["fabrikam.example"]}
    given["tenants"]["fabrikam"] = fabrikam
    given["tenants"]["closed"] = {**given["tenants"]["contoso"], "enabled": False, "domains": []}
    given["tenants"]["fresh"] = {**{k: v for k, v in given["tenants"]["contoso"].items() if k != "idp"}, "domains": []}
    with hosting(tmp_path, entra=entra, settings=given) as host:
        yield host, other


def test_the_same_subject_of_two_tenants_is_two_users(two_tenants: tuple[Host, FakeEntra]) -> None:
    host, other = two_tenants
    host.sign_in(ADELE)
    there = replace(host, entra=other)
    there.sign_in(ADELE, login_url=f"{ORIGIN}/saml/fabrikam/login")
    assert host.count("users") == 2


def test_an_answer_of_one_tenants_idp_is_none_for_another(two_tenants: tuple[Host, FakeEntra]) -> None:
    host, other = two_tenants
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    post = other.respond(request, ADELE, now=datetime.now(UTC))
    page = browser.submit(Form(ACS, fields=tuple(post.form.items())), by_script=True)
    assert (page.status, host.count("users")) == (403, 0)


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("closed", Reason.TENANT_DISABLED),
        ("fresh", Reason.TENANT_NOT_CONNECTED),
        ("nobody", Reason.TENANT_UNKNOWN),
        ("Contoso", Reason.TENANT_UNKNOWN),
        ("%0d%0a", Reason.TENANT_UNKNOWN),
        ("..", Reason.TENANT_UNKNOWN),
    ],
)
def test_a_tenant_that_cannot_sign_in_says_so_at_every_step(two_tenants: tuple[Host, FakeEntra], slug: str, reason: Reason) -> None:
    host, _ = two_tenants
    client = host.app.test_client()
    seen = []
    with sign_in_refused.connected_to(lambda app, **values: seen.append(values["reason"]), sender=host.app):
        for step in ("login", "finish"):
            response = client.get(f"/saml/{slug}/{step}", base_url=ORIGIN)
            assert (response.status_code, CATALOGUE[reason].person.title in response.text) == (CATALOGUE[reason].status, True)
        assert client.post(f"/saml/{slug}/acs", data={"SAMLResponse": "x"}, base_url=ORIGIN).status_code == CATALOGUE[reason].status
    assert seen == [reason] * 3


@pytest.mark.parametrize(("slug", "status"), [("contoso", 200), ("closed", 200), ("fresh", 200), ("nobody", 404)])
def test_metadata_is_there_before_the_tenant_is_connected(two_tenants: tuple[Host, FakeEntra], slug: str, status: int) -> None:
    host, _ = two_tenants
    response = host.app.test_client().get(f"/saml/{slug}/metadata", base_url=ORIGIN)
    assert response.status_code == status
    assert (response.mimetype == "application/samlmetadata+xml") == (status == 200)


def test_two_tabs_each_come_back_to_their_own_page(host: Host) -> None:
    first = host.browser()
    second = first.new_tab()
    forms = [begin(host, tab, login_url=f"{LOGIN}?next=/reports/{n}") for n, tab in enumerate((first, second))]
    pages = [tab.submit(form, by_script=True) for tab, form in zip((second, first), reversed(forms), strict=True)]
    assert [page.text for page in pages] == ["report 1 for user 1", "report 0 for user 1"]
    assert host.count("users") == 1


def test_a_hand_over_of_one_tenant_is_none_for_another(two_tenants: tuple[Host, FakeEntra]) -> None:
    host, _ = two_tenants
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    page = browser.submit(begin(host, browser), by_script=True)
    page = browser.get((page.refresh_url or "").replace("contoso", "fabrikam"))
    assert (page.status, who(browser)) == (403, "nobody")


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Mode": "no-cors"}, {"Sec-Purpose": "prefetch;prerender"}])
def test_a_script_that_asks_for_login_is_told_no_and_gets_no_cookie(host: Host, headers: dict[str, str]) -> None:
    response = host.app.test_client().get("/saml/contoso/login", headers=headers, base_url=ORIGIN)
    assert (response.status_code, response.headers.getlist("Set-Cookie"), host.reasons()) == (401, [], ["not_a_navigation"])


def test_try_again_comes_back_to_the_page_that_was_wanted(host: Host) -> None:
    browser = host.browser()
    page = host.sign_in(replace(ADELE, email=None, upn=None), browser=browser, login_url=f"{LOGIN}?next=/reports/7")
    assert (page.status, host.reasons()) == (403, ["required_claim_missing"])
    assert re.search(r"SJ-\w{4}-\w{4}", page.text)[0] == host.rows("samljit_attempt")[0].reference  # type: ignore[index]
    again = browser.click("Try again")
    post = host.entra.respond(host.entra.read_request(again.url), ADELE, now=datetime.now(UTC))
    page = browser.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True)
    assert page.url == f"{ORIGIN}/reports/7"


def test_pages_are_kept_by_no_cache_and_shown_in_no_frame(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    pages = [browser.submit(begin(host, browser), by_script=True), browser.get(FINISH)]
    for page in pages:
        assert page.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert re.findall(r"<script(?! src=)|<style| style=| on\w+=", page.text) == []


def test_reload_and_back_on_every_hop_end_in_no_5xx_and_signed_in(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    browser.get(ORIGIN)
    form = begin(host, browser)
    browser.reload()
    browser.back()
    statuses = [browser.submit(form, by_script=True).status]
    statuses += [browser.follow_refresh().status, browser.reload().status]
    assert who(browser) == "user 1"
    statuses += [browser.submit(form).status]  # the response posted once more, by the back button
    statuses += [browser.follow_refresh().status, browser.reload().status, browser.back().status]
    statuses += [browser.get(FINISH).status]
    assert (set(statuses), who(browser)) == ({200}, "user 1")


def test_a_response_posted_twice_before_the_second_step_still_ends_in_the_sign_in_that_the_first_one_made(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    form = begin(host, browser)
    browser.submit(form)
    browser.submit(form)
    page = browser.follow_refresh()
    assert (page.status, host.reasons(), who(browser)) == (200, ["replayed"], "user 1")
    assert [name for name, _, _ in browser.jar._cookies if "samljit" in name] == ["__Host-samljit-arrivals"]  # for half a minute


def test_a_response_posted_twice_from_two_browsers_signs_in_the_one_that_began(host: Host) -> None:
    browser, thief = (Browser({ORIGIN: host.app}, follows_refresh=False) for _ in range(2))
    form = begin(host, browser)
    browser.submit(form)
    thief.get(ORIGIN)
    thief.submit(form)
    page = thief.follow_refresh()
    assert (page.status, who(thief)) == (403, "nobody")
    browser.follow_refresh()
    assert (host.reasons(), who(browser)) == (["replayed"], "user 1")


def test_an_unsolicited_response_starts_a_sign_in_here_once(host: Host) -> None:
    browser = host.browser()
    browser.get(f"{EVIL}/")
    for expected in (0, 403):
        post = host.entra.unsolicited(ADELE, acs_url=ACS, audience=f"{ORIGIN}/saml/contoso/metadata", now=datetime.now(UTC))
        page = browser.submit(Form(ACS, fields=tuple(post.form.items())), by_script=True)
        assert page.status == expected
    assert (host.reasons(), host.count("users")) == (["unsolicited"] * 2, 0)


@pytest.mark.parametrize("path", ["metadata", "login", "acs", "finish", "nothing", ""])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_method_on_any_route_is_a_5xx(host: Host, path: str, method: str) -> None:
    response = host.app.test_client().open(f"/saml/contoso/{path}", method=method, base_url=ORIGIN)
    assert response.status_code < 500
    assert host.count("users") == 0


BODIES: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 400),
    "two responses": ({"data": {"SAMLResponse": ["a", "b"]}}, 400),
    "a file": ({"data": {"SAMLResponse": (BytesIO(b"x"), "x.xml")}}, 400),
    "json": ({"json": {"SAMLResponse": "x"}}, 400),
    "text": ({"data": b"SAMLResponse=x", "content_type": "text/plain"}, 400),
    "two relay states": ({"data": {"SAMLResponse": "AAAA", "RelayState": ["a", "b"]}}, 400),
    "long relay state": ({"data": {"SAMLResponse": "AAAA", "RelayState": "\u00e9" * 257}}, 400),
    "many fields": ({"data": "&".join(f"f{n}=1" for n in range(2000)), "content_type": "application/x-www-form-urlencoded"}, 400),
    "not base64": ({"data": {"SAMLResponse": "\u00e9!"}}, 400),
    "not xml": ({"data": {"SAMLResponse": "AAAA"}}, 400),
    "not utf-8": ({"data": b"SAMLResponse=%ff%fe", "content_type": "application/x-www-form-urlencoded"}, 400),
    "too large": ({"data": {"SAMLResponse": "A" * 600_000}}, 413),
    "decoded too large": ({"data": {"SAMLResponse": "A" * 400_000}}, 400),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_response_is_refused_before_anything_reads_it(host: Host, body: dict[str, Any], status: int) -> None:
    response = host.app.test_client().post("/saml/contoso/acs", base_url=ORIGIN, **body)
    assert (response.status_code, len(host.reasons())) == (status, 1)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "status", "reasons"), [(119, 200, []), (122, 403, ["browser_mismatch"])])
def test_a_hand_over_holds_for_two_minutes(tmp_path: Path, seconds: int, status: int, reasons: list[str]) -> None:
    with time_machine.travel(START, tick=False) as traveller, hosting(tmp_path) as host:
        # the browser's clock stands still, so that it is the server that judges
        browser = Browser({ORIGIN: host.app}, now=lambda: START, follows_refresh=False)
        browser.submit(begin(host, browser), by_script=True)
        traveller.shift(timedelta(seconds=seconds))
        assert (browser.follow_refresh().status, host.reasons()) == (status, reasons)


@pytest.mark.parametrize(
    ("minutes", "status", "reasons"), [(3, 200, []), (14, 200, []), (15, 403, ["request_expired"]), (59, 403, ["request_expired"])]
)
def test_a_request_holds_for_fifteen_minutes(tmp_path: Path, minutes: int, status: int, reasons: list[str]) -> None:
    with time_machine.travel(START, tick=False) as traveller, hosting(tmp_path) as host:
        browser = Browser({ORIGIN: host.app}, now=lambda: START)
        form = begin(host, browser)
        traveller.shift(timedelta(minutes=minutes))
        assert (browser.submit(form, by_script=True).status, host.reasons()) == (status, reasons)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fallbacks", "status"), [(["a key of this test run"], 200), ([], 403)])
def test_a_new_secret_key_breaks_no_sign_in_under_way_where_the_old_one_is_a_fallback(
    host: Host, fallbacks: list[str], status: int
) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    form = begin(host, browser, login_url=f"{LOGIN}?next=/reports/7")
    host.app.config.update(SECRET_KEY="a new key", SECRET_KEY_FALLBACKS=fallbacks)
    page = browser.submit(form, by_script=True)
    assert page.status == status
    if status == 200:
        host.app.config.update(SECRET_KEY=b"a third key", SECRET_KEY_FALLBACKS=["a new key", *fallbacks])
        assert browser.follow_refresh().url == f"{ORIGIN}/reports/7"
    else:
        assert host.reasons() == ["request_unknown"]


# --- the database is gone ---------------------------------------------------------------------------------------------


@contextmanager
def lost(host: Host) -> Iterator[None]:
    """The database cannot be opened."""
    file = Path(str(host.engine.url.database))
    host.session.remove()
    host.engine.dispose()
    moved = file.rename(file.with_suffix(".moved"))
    file.mkdir()
    try:
        yield
    finally:
        host.session.remove()
        host.engine.dispose()
        file.rmdir()
        moved.rename(file)


def test_without_a_database_every_step_is_a_503_page_and_it_works_again_after(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    browser = host.browser()
    host.sign_in(browser=browser)
    form = begin(host, browser)
    with lost(host):
        pages = [browser.get(LOGIN), browser.submit(form), browser.get(FINISH)]
        anonymous = [host.browser().get(LOGIN), host.browser().get(FINISH)]
        metadata = browser.get(f"{ORIGIN}/saml/contoso/metadata")
    assert ([page.status for page in (*pages, *anonymous)], metadata.status) == ([503] * 5, 200)
    assert all(CATALOGUE[Reason.DATABASE_UNAVAILABLE].person.title in page.text for page in pages)
    assert "database_unavailable tenant=contoso" in caplog.text
    assert [link.text for link in pages[0].links] == ["Try again"]
    assert browser.submit(form).text == "user 1"


def test_a_locked_database_is_a_503_page_and_loses_nothing(tmp_path: Path) -> None:
    with hosting(tmp_path, url=f"sqlite:///{tmp_path}/host.sqlite?timeout=0.05") as host:
        browser = host.browser()
        form = begin(host, browser)
        host.session.remove()
        locker = create_engine(f"sqlite:///{tmp_path}/host.sqlite").connect()
        locker.exec_driver_sql("BEGIN EXCLUSIVE")
        assert [browser.submit(form).status, host.browser().get(LOGIN).status] == [503, 503]
        locker.exec_driver_sql("ROLLBACK")
        locker.close()
        locker.engine.dispose()
        assert browser.submit(form).text == "user 1"


def test_a_database_without_our_tables_is_a_503_page(host: Host) -> None:
    host.session.remove()
    host.user_model.metadata.drop_all(host.engine)
    assert host.browser().get(LOGIN).status == 503


# --- signals and the log ----------------------------------------------------------------------------------------------


def test_signals_come_after_the_commit_and_carry_ids(host: Host) -> None:
    seen: list[tuple[str, int, dict[str, Any]]] = []

    def receiver(name: str) -> Callable[..., None]:
        def receive(app: Flask, **values: Any) -> None:
            assert app is host.app
            seen.append((name, host.count("users"), values))

        return receive

    signals = {"created": user_created, "updated": user_updated, "signed_in": signed_in, "refused": sign_in_refused}
    receivers = {name: receiver(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name], sender=host.app)
    for person in (ADELE, ADELE, replace(ADELE, surname="Ito"), replace(ADELE, email=None, upn=None)):
        host.sign_in(person)
    assert [(name, count) for name, count, _ in seen] == [
        ("created", 1),
        ("signed_in", 1),
        ("signed_in", 1),
        ("updated", 1),
        ("signed_in", 1),
        ("refused", 1),
    ]
    assert {values["tenant"] for _, _, values in seen} == {"contoso"}
    assert [values.get("user_id") for _, _, values in seen] == [1, 1, 1, 1, 1, None]
    assert [(d.field, d.old, d.new) for d in seen[3][2]["decisions"] if d.action == "set"] == [("last_name", "Vance", "Ito")]
    assert seen[-1][2]["reason"] is Reason.REQUIRED_CLAIM_MISSING
    assert [row.reference for row in host.rows("samljit_attempt")] == [seen[n][2]["reference"] for n in (0, 2, 3, 5)]


def test_a_receiver_that_fails_breaks_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the host's receiver")

    for signal in (user_created, user_updated, signed_in, sign_in_refused):
        signal.connect(fail, sender=host.app)
    pages = [host.sign_in(person) for person in (ADELE, replace(ADELE, surname="Ito"), replace(ADELE, email=None, upn=None))]
    assert ([page.status for page in pages], host.users()[0]["last_name"]) == ([200, 200, 403], "Ito")
    assert caplog.text.count("a receiver of") == 5


def test_a_receiver_may_use_the_hosts_own_session(host: Host) -> None:
    def greet(app: Flask, user_id: int, **_: Any) -> None:
        host.session.get(host.user_model, user_id).display_name = "Welcome"
        host.session.commit()

    with user_created.connected_to(greet, sender=host.app):
        assert host.sign_in().text == "user 1"
    assert host.users()[0]["display_name"] == "Welcome"


def test_current_user_is_the_person_in_the_receiver_of_signed_in(host: Host) -> None:
    seen = []
    with signed_in.connected_to(lambda app, **_: seen.append(current_user.email), sender=host.app):
        host.sign_in()
    assert seen == [ADELE.email]


@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param(lambda client: client.post("/saml/contoso/acs", data={"SAMLResponse": "AAAA"}, base_url=ORIGIN), id="acs"),
        pytest.param(lambda client: client.get("/saml/contoso/finish", base_url=ORIGIN), id="finish"),
        pytest.param(lambda client: client.get("/saml/contoso/login", headers={"Sec-Fetch-Mode": "cors"}, base_url=ORIGIN), id="login"),
    ],
)
def test_refusals_with_nothing_signed_behind_them_fill_sixty_rows_a_minute_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, refuse: Callable[[Any], Any]
) -> None:
    with time_machine.travel(START, tick=False) as traveller, hosting(tmp_path) as host:
        client = host.app.test_client()
        for _ in range(60 + 128):
            refuse(client)
        rows = host.rows("samljit_attempt")
        assert (len(rows), sum(row.times for row in rows)) == (60 + 8, 60 + 128)
        assert caplog.text.count("sign-in refused") == 60 + 128
        traveller.shift(timedelta(minutes=1))
        refuse(client)
        assert host.count("samljit_attempt") == 60 + 8 + 1


def test_no_line_of_the_log_holds_a_value_or_a_second_line(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    nasty = replace(ADELE, email=None, upn=None, extra={"x\r\nWARNING samljit:forged\u2028\u202e": ["secret value"]})
    with caplog.at_level(logging.DEBUG, "samljit"):
        host.sign_in(ADELE)
        host.sign_in(nasty)
        host.sign_in(replace(BIANCA, email="not an address"))
        host.app.test_client().get("/saml/contoso/finish", headers={"User-Agent": "a\x1b[2Jb"}, base_url=ORIGIN)
        host.app.test_client().get("/saml/x%0d%0aWARNING/login", base_url=ORIGIN)
    lines = [record.getMessage() for record in caplog.records if record.name == "samljit"]
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    assert not any(value in line for line in lines for value in ("adele", "Adele", "Vance", "secret", "not an address", "Bianca"))
    assert all(row.browser.isprintable() and row.detail.isprintable() for row in host.rows("samljit_attempt"))


def test_consumed_assertions_are_forgotten_once_they_could_no_longer_be_accepted(host: Host) -> None:
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        host.sign_in(now=start)
        assert host.count("samljit_assertion") == 1
        clock.shift(timedelta(minutes=60 + 2 + 5 + 1))  # its validity, the skew, the margin
        host.sign_in(BIANCA, now=start + timedelta(minutes=68))
        assert host.count("samljit_assertion") == 1


def test_asking_about_finish_does_not_use_the_hand_over_up(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    page = host.sign_in(browser=browser)
    client = host.app.test_client()
    assert page.refresh_url is not None
    assert client.head(page.refresh_url.removeprefix(ORIGIN)).status_code == 200
    assert host.rows("samljit_attempt")[0].finished_at is None
    assert browser.follow_refresh().text.startswith("user ")
