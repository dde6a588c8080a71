"""The second step: who may take it, who is signed in after it, and what sessions and cookies live on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import session
from flask.sessions import SecureCookieSessionInterface
from flask_login import login_user
from flask_wtf.csrf import CSRFProtect, generate_csrf
from sqlalchemy import text

from samljit import Reason
from samljit.errors import CATALOGUE
from samljit.testing import Browser, Form, Page
from tests.flows import EVIL, FINISH, START, begin, configured, hosting, who
from tests.host import ACS, ADELE, BIANCA, LOGIN, ORIGIN, Host


def set_cookies(page: Page) -> list[str]:
    return [header.partition("=")[0] for header in page.headers.getlist("Set-Cookie")]


# --- who may finish ---------------------------------------------------------------------------------------------------


def test_an_attackers_answer_signs_nobody_in_in_the_victims_browser(host: Host) -> None:
    attackers = begin(host, host.browser(), BIANCA)
    victim = host.browser()
    victim.get(f"{EVIL}/")
    page = victim.submit(attackers, by_script=True)
    assert (page.status, host.reasons(), who(victim)) == (403, ["browser_mismatch"], "nobody")


def test_nor_where_the_victim_is_signed_in_or_has_begun_a_sign_in(host: Host) -> None:
    attackers = begin(host, host.browser(), BIANCA)
    victim = host.browser()
    host.sign_in(ADELE, browser=victim)
    begin(host, victim)
    victim.get(f"{EVIL}/")
    page = victim.submit(attackers, by_script=True)
    assert (page.status, host.reasons(), who(victim)) == (403, ["browser_mismatch"], "user 1")


def test_a_browser_that_takes_no_cookies_is_told_so(host: Host) -> None:
    browser = host.browser()
    form = begin(host, browser)
    browser.clear_cookies()
    page = browser.submit(form, by_script=True)
    assert (page.status, CATALOGUE[Reason.BROWSER_MISMATCH].person.title in page.text) == (403, True)


def test_a_hand_over_serves_once_also_with_its_cookies_brought_back(host: Host) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    browser.submit(begin(host, browser), by_script=True)
    kept = dict(browser.jar._cookies)
    finish = browser.page.refresh_url or ""
    assert browser.follow_refresh().status == 200
    browser.clear_cookies()
    browser.jar._cookies.update(kept)
    page = browser.get(finish)
    assert (page.status, host.reasons()[-1], who(browser)) == (403, "handover_used", "nobody")


def test_finish_alone_signs_nobody_in(host: Host) -> None:
    for query in ("", "?n=", "?n=x", "?n=" + "a" * 5000, "?n=%00", "?n=__Host-"):
        assert host.browser().get(FINISH + query).status == 403
    assert set(host.reasons()) == {"cookies_missing"}


@pytest.mark.parametrize("change", ["DELETE FROM users", "UPDATE users SET active = 0"])
def test_whoever_is_deleted_or_switched_off_between_the_steps_is_not_signed_in(host: Host, change: str) -> None:
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    browser.submit(begin(host, browser), by_script=True)
    with host.engine.begin() as connection:
        connection.execute(text(change))
    host.sign_in(BIANCA)  # gets the freed id
    page = browser.follow_refresh()
    assert (page.status, host.reasons(), who(browser)) == (403, ["user_gone"], "nobody")


# --- somebody else is signed in ---------------------------------------------------------------------------------------


@pytest.fixture
def asked(host: Host) -> tuple[Host, Browser]:
    """A browser that belongs to Bianca, and asks her whether Adele may have it."""
    browser = host.browser()
    host.sign_in(BIANCA, browser=browser)
    page = host.sign_in(ADELE, browser=browser, login_url=f"{LOGIN}?next=/reports/7")
    assert (page.status, page.title, who(browser)) == (200, "Switch account?", "user 1")
    return host, browser


def test_whoever_says_yes_becomes_the_other_and_goes_on(asked: tuple[Host, Browser]) -> None:
    _, browser = asked
    page = browser.submit(browser.page.forms[0])
    assert (page.url, page.text) == (f"{ORIGIN}/reports/7", "report 7 for user 2")


def test_whoever_stays_is_whoever_they_were(asked: tuple[Host, Browser]) -> None:
    _, browser = asked
    assert browser.click("Stay as I am").text == "user 1"


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
def test_a_forged_answer_changes_nothing(asked: tuple[Host, Browser], token: str) -> None:
    host, browser = asked
    page = browser.submit(browser.page.forms[0], {"token": token})
    assert (page.status, host.reasons(), who(browser)) == (403, ["browser_mismatch"], "user 1")


def test_an_answer_of_another_person_or_to_nobodys_question_changes_nothing(asked: tuple[Host, Browser]) -> None:
    host, browser = asked
    form = browser.page.forms[0]
    carol = replace(BIANCA, object_id="11110000-aaaa-4444-8888-000000000003", email="carol@contoso.example")
    tab = browser.new_tab()
    host.sign_in(carol, browser=tab)
    tab.submit(tab.page.forms[0])
    assert who(browser) == "user 3"
    page = browser.submit(form)
    assert (page.status, host.reasons(), who(browser)) == (403, ["browser_mismatch"], "user 3")
    other = host.browser()
    other.get(ORIGIN)
    assert other.submit(form).status == 403


def test_an_answer_serves_once(asked: tuple[Host, Browser]) -> None:
    _, browser = asked
    form = browser.page.forms[0]
    browser.submit(form)
    page = browser.submit(form)
    assert (page.status, who(browser)) == (403, "user 2")


@pytest.mark.parametrize(("minutes", "status"), [(9, 200), (11, 403)])
def test_an_answer_may_take_ten_minutes(tmp_path: Path, minutes: int, status: int) -> None:
    with time_machine.travel(START, tick=False) as traveller, hosting(tmp_path) as host:
        browser = host.browser()
        host.sign_in(BIANCA, browser=browser)
        host.sign_in(ADELE, browser=browser)
        traveller.shift(timedelta(minutes=minutes))
        assert browser.submit(browser.page.forms[0]).status == status


# --- session and remember cookies -------------------------------------------------------------------------------------


def add_password_login(host: Host) -> None:
    def password(name: str) -> str:
        login_user(host.session.query(host.user_model).filter_by(first_name=name).one(), remember=True)
        return "remembered"

    host.app.add_url_rule("/password/<name>", "password", password)


def test_whoever_was_remembered_here_is_forgotten_at_sign_in(host: Host) -> None:
    add_password_login(host)
    host.sign_in(BIANCA)
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/Bianca")
    del browser.jar._cookies[("session", "app.example.com", "/")]
    assert who(browser) == "user 1"  # by the remember cookie alone
    host.sign_in(ADELE, browser=browser)
    assert browser.submit(browser.page.forms[0]).text == "user 2"
    assert browser.jar.find("remember_token") is None


def test_the_session_is_cleared_and_renewed_at_sign_in(tmp_path: Path) -> None:
    renewed = []

    class Interface(SecureCookieSessionInterface):
        def regenerate(self, kept: Any) -> None:
            renewed.append(dict(kept))

    with hosting(tmp_path, configure=lambda app: setattr(app, "session_interface", Interface())) as host:
        host.app.add_url_rule("/put", "put", lambda: session.setdefault("cart", "full"))
        host.app.add_url_rule("/keys", "keys", lambda: " ".join(sorted(session)))
        browser = host.browser()
        browser.get(f"{ORIGIN}/put")
        host.sign_in(browser=browser)
        assert (renewed, "cart" in browser.get(f"{ORIGIN}/keys").text) == ([{}], False)


@pytest.mark.parametrize("same_site", ["Lax", "None"])
def test_the_acs_never_touches_the_hosts_cookies(tmp_path: Path, same_site: str) -> None:
    config = configured(
        SESSION_COOKIE_SAMESITE=same_site,
        SESSION_COOKIE_SECURE=True,
        REMEMBER_COOKIE_REFRESH_EACH_REQUEST=True,
        SESSION_REFRESH_EACH_REQUEST=True,
        PERMANENT_SESSION_LIFETIME=timedelta(days=1),
    )
    with hosting(tmp_path, configure=config) as host:

        @host.app.before_request
        def touch() -> None:
            session.permanent = True
            session["seen"] = session.get("seen", 0) + 1

        @host.app.after_request
        def mark(response: Any) -> Any:
            response.set_cookie("host-after", "1")
            return response

        browser = Browser({ORIGIN: host.app}, follows_refresh=False)
        begin(host, browser)
        first = browser.submit(begin(host, browser), by_script=True)
        browser.follow_refresh()
        good = browser.submit(begin(host, browser), by_script=True)
        bad = browser.submit(Form(ACS, fields=(("SAMLResponse", "x"),)), by_script=True)
        assert [page.status for page in (first, good, bad)] == [200, 200, 400]
        assert all(name.startswith("__Host-samljit-") for page in (first, good, bad) for name in set_cookies(page))
        assert who(browser) == "user 1"


# --- Flask-WTF --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["CSRFProtect first", "samljit first"])
def test_with_csrf_protection_the_acs_alone_needs_no_token(tmp_path: Path, order: str) -> None:
    csrf = CSRFProtect()
    with hosting(tmp_path, configure=csrf.init_app if order == "CSRFProtect first" else lambda app: None) as host:
        if order == "samljit first":
            csrf.init_app(host.app)
        host.app.add_url_rule("/save", "save", lambda: "saved", methods=["GET", "POST"])
        host.app.add_url_rule("/token", "token", generate_csrf)
        browser = host.browser()
        assert host.sign_in(BIANCA, browser=browser).text == "user 1"
        browser.get(f"{ORIGIN}/token")
        assert browser.submit(Form(f"{ORIGIN}/save")).status == 400
        host.sign_in(ADELE, browser=browser)
        form = browser.page.forms[0]
        assert browser.submit(form, {"csrf_token": ""}).status == 400
        host.sign_in(ADELE, browser=browser)
        assert browser.submit(browser.page.forms[0]).text == "user 2"
