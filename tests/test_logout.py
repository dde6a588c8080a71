"""Signing out: of this app, always; of the IdP where asked; and what the IdP has to say about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask import redirect, session
from flask_login import login_user
from flask_wtf.csrf import CSRFProtect

from samljit.testing import Browser, Form, Page
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, LOGIN, ORIGIN, Host

LOGOUT = f"{ORIGIN}/saml/logout"
ELSEWHERE = "https://elsewhere.example.net"


def who(browser: Browser) -> str:
    return browser.get(f"{ORIGIN}/").text


def signed_in(host: Host, **changes: Any) -> Browser:
    browser = host.browser()
    page = host.sign_in(browser=browser, **changes)
    assert page.text == "user 1", page.text
    return browser


def with_password(host: Host) -> None:
    """A host that lets people in by its own form too, and remembers them."""

    @host.app.get("/password/<int:number>")
    def password(number: int) -> Any:
        session["cart"] = "full"
        login_user(host.session.get(host.user_model, number), remember=True)
        return redirect("/")

    @host.app.get("/cart")
    def cart() -> str:
        return str(session.get("cart"))


def from_elsewhere(browser: Browser) -> None:
    """Another site's page is on show: what it leads to is cross-site."""
    browser._apps[ELSEWHERE] = lambda environ, start: (start("200 OK", [("Content-Type", "text/html")]), [b"<p>elsewhere</p>"])[1]
    browser.get(f"{ELSEWHERE}/")


# --- out of this app --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_the_app_signs_out_at_once(host: Host, method: str) -> None:
    browser = signed_in(host)
    page = browser.submit(Form(LOGOUT, method))
    assert (page.status, page.title, who(browser)) == (200, "You are signed out", "nobody")


def test_somebody_who_came_by_password_is_signed_out_too_with_all_of_their_session(mount: Mount) -> None:
    host = mount()
    with_password(host)
    host.sign_in()
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    assert (who(browser), browser.get(f"{ORIGIN}/cart").text) == ("user 1", "full")
    assert browser.submit(Form(LOGOUT)).title == "You are signed out"
    assert (who(browser), browser.get(f"{ORIGIN}/cart").text) == ("nobody", "None")
    assert not any(name == "remember_token" for name in browser.page.history[-1].cookies)


def test_somebody_who_is_only_remembered_is_signed_out(mount: Mount) -> None:
    host = mount()
    with_password(host)
    host.sign_in()
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    remembered = browser.jar.find("remember_token")
    assert remembered is not None
    browser.clear_cookies()
    browser.jar.store(f"remember_token={remembered.value}; Path=/", url=ORIGIN, now=datetime.now(UTC))
    browser.get(f"{ORIGIN}/saml/contoso/metadata")
    assert browser.submit(Form(LOGOUT)).title == "You are signed out"
    assert who(browser) == "nobody"


@pytest.mark.parametrize("same_site", ["Lax", "Strict", "None", None])
@pytest.mark.parametrize("arrive", ["typed", "link", "form"])
def test_whoever_was_led_here_from_elsewhere_is_asked_first(mount: Mount, arrive: str, same_site: str | None) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site, SESSION_COOKIE_SECURE=True))
    browser = signed_in(host)
    if arrive == "typed":
        page = browser.get(LOGOUT)
    else:
        from_elsewhere(browser)
        page = browser.click(LOGOUT) if arrive == "link" else browser.submit(Form(LOGOUT))
    assert (page.title, who(browser.new_tab())) == ("Sign out?", "user 1")
    assert browser.submit(page.forms[0]).title == "You are signed out"
    assert who(browser) == "nobody"


# --- without the headers that a modern browser sends -------------------------------------------------------------------


def ask(host: Host, *, method: str = "GET", headers: dict[str, str], form: dict[str, str] | None = None) -> str:
    """One request with the cookies of somebody who is signed in; gives what became of them."""
    browser = signed_in(host)
    client = host.app.test_client()
    for cookie in browser.jar.select(url=ORIGIN, method="GET", is_cross_site=False, now=datetime.now(UTC)):
        client.set_cookie(cookie.name, cookie.value, domain="app.example.com", secure=cookie.secure)
    answered = client.open("/saml/logout", method=method, headers=headers, data=form, base_url=ORIGIN)
    assert answered.status_code == 200
    return client.get("/", base_url=ORIGIN).get_data(as_text=True)


@pytest.mark.parametrize(
    ("method", "headers", "after"),
    [
        pytest.param("GET", {}, "user 1", id="get-that-says-nothing"),
        pytest.param("POST", {}, "user 1", id="post-that-says-nothing"),
        pytest.param("GET", {"Referer": f"{ORIGIN}/reports"}, "nobody", id="get-referer-ours"),
        pytest.param("GET", {"Referer": f"{ELSEWHERE}/"}, "user 1", id="get-referer-elsewhere"),
        pytest.param("GET", {"Referer": "https://app.example.com.evil.example/"}, "user 1", id="get-referer-longer"),
        pytest.param("GET", {"Referer": "http://app.example.com/"}, "user 1", id="get-referer-plain-http"),
        pytest.param("POST", {"Origin": ORIGIN}, "nobody", id="post-origin-ours"),
        pytest.param("POST", {"Origin": "null"}, "user 1", id="post-origin-null"),
        pytest.param("POST", {"Origin": "null", "Referer": f"{ORIGIN}/"}, "user 1", id="post-origin-before-referer"),
        pytest.param("POST", {"Origin": ELSEWHERE}, "user 1", id="post-origin-elsewhere"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN}, "user 1", id="post-sister-domain"),
        pytest.param("POST", {"Sec-Fetch-Site": "cross-site", "Referer": ORIGIN}, "user 1", id="post-cross-site"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, "nobody", id="post-by-script"),
        pytest.param("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, "nobody", id="get-link"),
        pytest.param("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, "user 1", id="get-image"),
        pytest.param("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, "user 1", id="get-typed"),
        pytest.param(
            "GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"}, "user 1", id="get-prefetch"
        ),
        pytest.param("HEAD", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, "user 1", id="head"),
    ],
)
def test_only_what_a_page_of_the_app_asks_for_is_done_unasked(host: Host, method: str, headers: dict[str, str], after: str) -> None:
    assert ask(host, method=method, headers=headers) == after


def test_a_token_of_another_person_or_another_use_is_no_answer(host: Host) -> None:
    other = host.browser()
    signed_in(host)
    assert host.sign_in(BIANCA, browser=other).text == "user 2"
    token = other.get(LOGOUT).forms[0].value("token")
    assert ask(host, method="POST", headers={}, form={"token": token or ""}) == "user 1"
    assert ask(host, method="POST", headers={}, form={"token": "garbage"}) == "user 1"
    own = signed_in(host).get(LOGOUT).forms[0].value("token")
    assert ask(host, method="POST", headers={}, form={"token": own or ""}) == "nobody"


def test_with_flask_wtf_its_own_token_is_asked_for_and_ours_stands_beside_it(mount: Mount) -> None:
    host = mount(configure=lambda app: CSRFProtect(app) and None)
    browser = signed_in(host)
    assert browser.submit(Form(LOGOUT)).status == 400
    page = browser.get(LOGOUT)
    assert browser.submit(page.forms[0]).title == "You are signed out"
    assert who(browser) == "nobody"


# --- whatever else is wrong -------------------------------------------------------------------------------------------


def test_signing_out_works_while_the_database_is_lost(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    host = mount()
    browser = signed_in(host)
    for table in ("samljit_attempt", "samljit_identity", "users"):
        with host.engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO lost_{table}")
    page = browser.submit(Form(LOGOUT))
    assert (page.status, page.title, who(browser)) == (200, "You are signed out", "nobody")
    assert "the session is cleared all the same" in caplog.text


def test_a_visit_by_nobody_says_so_and_sets_nothing(host: Host) -> None:
    page: Page = host.browser().get(LOGOUT)
    assert (page.status, page.title, page.forms, page.headers.get("Set-Cookie")) == (200, "You are signed out", (), None)
    assert page.headers["Cache-Control"] == "no-store"


def test_the_page_after_signing_out_leads_nobody_straight_back_in(host: Host) -> None:
    browser = signed_in(host)
    page = browser.submit(Form(LOGOUT))
    assert page.refresh_url is None
    assert [link.href for link in page.links] == [f"{ORIGIN}/"]
    assert not any(link.href.startswith(LOGIN) for link in page.links)
    assert ADELE.email not in page.text
