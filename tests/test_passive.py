"""IsPassive: a sign-in that the IdP may finish without asking, or leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from samljit.testing import Browser, Form, Page
from samljit.testing.messages import REQUEST_UNSUPPORTED, REQUESTER
from tests.conftest import Mount
from tests.host import ACS, LOGIN, ORIGIN, Host, settings_for

PASSIVE = f"{LOGIN}?passive=1&next=/reports/7"
RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"
NO_PASSIVE = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"


def now() -> datetime:
    return datetime.now(UTC)


def nobody_there(host: Host, browser: Browser, url: str = PASSIVE, **changes: Any) -> Page:
    """Goes to the IdP, which has nobody signed in and says so, unsigned."""
    asked = host.entra.read_request(browser.get(url).url)
    changes = {"status": RESPONDER, "status_detail": NO_PASSIVE, **changes}
    post = host.entra.refuse(asked, now=now(), **changes)
    return browser.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True)


def is_passive(host: Host, browser: Browser, url: str = PASSIVE) -> bool:
    return host.entra.read_request(browser.get(url).url).is_passive


def test_whom_the_idp_knows_is_signed_in_as_ever(host: Host) -> None:
    browser = host.browser()
    assert host.sign_in(browser=browser, login_url=PASSIVE).text == "report 7 for user 1"


@pytest.mark.parametrize(
    ("status", "detail"),
    [(RESPONDER, NO_PASSIVE), (REQUESTER, REQUEST_UNSUPPORTED), (RESPONDER, None)],
    ids=["no-passive", "another", "responder-alone"],
)
def test_where_it_knows_nobody_the_browser_is_back_without_a_word(host: Host, status: str, detail: str | None) -> None:
    browser = host.browser()
    page = nobody_there(host, browser, f"{LOGIN}?passive=1&next=/", status=status, status_detail=detail)
    assert (page.url, page.status, page.text) == (f"{ORIGIN}/", 200, "nobody")
    assert host.count("samljit_attempt") == host.count("samljit_assertion") == host.count("users") == 0


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
def test_whoever_is_signed_in_meanwhile_stays_so(mount: Mount, same_site: str) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site))
    browser = host.browser()
    host.sign_in(browser=browser)
    page = nobody_there(host, browser)
    assert (page.url, page.text) == (f"{ORIGIN}/reports/7", "report 7 for user 1")


def test_it_is_asked_once_and_then_as_ever(host: Host) -> None:
    """A page that always asks quietly would go round in circles."""
    browser = host.browser()
    assert is_passive(host, browser)
    nobody_there(host, browser)
    assert not is_passive(host, browser)
    browser_of_later = host.browser()
    nobody_there(host, browser_of_later)
    with time_machine.travel(now() + timedelta(minutes=3), tick=False):
        assert is_passive(host, browser_of_later)


def test_a_host_can_tell_that_it_was_tried(host: Host) -> None:
    host.app.add_url_rule("/tried", view_func=lambda: str(host.saml.tried_passive))
    browser = host.browser()
    assert browser.get(f"{ORIGIN}/tried").text == "False"
    nobody_there(host, browser)
    assert browser.get(f"{ORIGIN}/tried").text == "True"


@pytest.mark.parametrize("query", ["", "?force=1", "?force=1&passive=1"])
def test_an_error_for_anybody_else_is_a_page(host: Host, query: str) -> None:
    """Also where a forger adds nothing but the status: only a request that was passive goes back quietly."""
    page = nobody_there(host, host.browser(), f"{LOGIN}{query}")
    assert (page.status, host.reasons()) == (403, ["status_not_success"])


@pytest.mark.parametrize("changes", [{"response_in_response_to": None}, {"response_in_response_to": "id00"}], ids=["absent", "forged"])
def test_an_error_that_answers_no_request_of_ours_is_a_page(host: Host, changes: dict[str, Any]) -> None:
    page = nobody_there(host, host.browser(), **changes)
    assert (page.status, host.reasons()) == (403, ["status_not_success"])


def test_an_error_for_another_browser_takes_nobody_anywhere(host: Host) -> None:
    asked = host.entra.read_request(host.browser().get(PASSIVE).url)
    post = host.entra.refuse(asked, now=now(), status=RESPONDER, status_detail=NO_PASSIVE)
    victim = host.browser()
    victim.get(host.entra.sso_url)
    page = victim.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True)
    assert (page.status, page.url.startswith(f"{ORIGIN}/saml/contoso/finish")) == (403, True)


def test_an_error_after_fifteen_minutes_is_a_page(host: Host) -> None:
    browser = host.browser()
    asked = host.entra.read_request(browser.get(PASSIVE).url)
    with time_machine.travel(now() + timedelta(minutes=16), tick=False):
        post = host.entra.refuse(asked, now=now(), status=RESPONDER, status_detail=NO_PASSIVE)
        assert browser.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True).status == 403


def test_a_reload_goes_back_too(host: Host) -> None:
    browser = host.browser()
    browser._follows_refresh = False
    nobody_there(host, browser, f"{LOGIN}?passive=1&next=/")
    assert browser.page.url == ACS
    browser.reload()
    assert browser.follow_refresh().text == "nobody"


def test_login_url_says_it_and_refuses_what_cannot_be(mount: Mount, tmp_path: Any) -> None:
    host = mount()
    with host.app.test_request_context():
        assert host.saml.login_url(next="/x", passive=True) == f"{LOGIN}?next=%2Fx&passive=1"
        with pytest.raises(ValueError, match="exclude each other"):
            host.saml.login_url(force=True, passive=True)
    settings = settings_for(tmp_path, host.entra)
    settings["tenants"]["other"] = {**settings["tenants"]["contoso"], "domains": []}
    several = mount(settings=settings)
    with several.app.test_request_context():
        assert several.saml.login_url("contoso", passive=True) == f"{LOGIN}?passive=1"
        with pytest.raises(ValueError, match="name the tenant"):
            several.saml.login_url(passive=True)
