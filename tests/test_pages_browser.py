"""The person signing in, in a real Chromium: the work e-mail, every situation that ends a sign-in, what browsers and hosts add."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, redirect
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from samljit import situations
from samljit.situations import Situation
from samljit.views import pages
from tests.chromium import ARGUMENTS, find_chromium
from tests.chromium import launched as launched
from tests.host import FIELDS
from tests.site import Site, new_person, pick, running_site, send_policy, without_script

PATIENCE = 15_000  # milliseconds
REFERENCE = re.compile(r"SJ-[0-9A-Z]{4}-[0-9A-Z]{4}")
MEGAN = "megan.bowen@contoso.example"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@contextmanager
def opened(chromium: Browser, **options: Any) -> Iterator[Page]:
    """A page in a browser without cookies yet. Nothing may fail on the server, and no script break."""
    context = chromium.new_context(**options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    if not options.get("java_script_enabled", True):
        without_script.add(page)
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("response", lambda response: errors.append(response.url) if response.status == 500 else None)
    yield page
    assert errors == []
    context.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with opened(chromium) as page:
        yield page


def shows(page: Page, situation: Situation, *, language: str = "en") -> None:
    """The page of this situation, all of it: heading, title, what happened, the next step, a reference."""
    page.get_by_role("heading", level=1, name=situation.title).wait_for()
    assert page.title() == situation.title
    said = page.locator("main").inner_text()
    assert (situation.text in said, situation.next_step in said) == (True, True)
    assert REFERENCE.fullmatch(page.locator("#samljit-slip code").inner_text())


def answer(page: Page, email: str) -> None:
    """Types it where the focus is, which is the field."""
    expect(page.get_by_label("Work e-mail address")).to_be_focused()
    page.keyboard.type(email)
    page.keyboard.press("Enter")


# --- the work e-mail --------------------------------------------------------------------------------------------------

POLICIES: dict[str, Callable[[Flask], None]] = {
    "no-policy": lambda app: None,
    "host-form-action-none": send_policy("default-src 'self'; form-action 'none'", overrides=False),
    "form-action-self-everywhere": send_policy("default-src 'self'; form-action 'self'", overrides=True),
}


@pytest.fixture(scope="module", params=list(POLICIES))
def strict_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def configure(app: Flask) -> None:
        POLICIES[request.param](app)
        app.add_url_rule("/straight", methods=["POST"], view_func=lambda: redirect(app.config["ELSEWHERE"], code=303))

    with running_site(tmp_path_factory.mktemp("strict"), configure=configure) as running:
        yield running


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_work_email_leads_to_its_idp_and_back_to_the_page_wanted(chromium: Browser, strict_site: Site, *, script: bool) -> None:
    with opened(chromium, java_script_enabled=script) as page:
        page.goto(f"{strict_site.url}/saml/login?next=/reports/7")
        answer(page, MEGAN)
        page.wait_for_url(f"{strict_site.entras['contoso']}/**")
        assert f"login_hint={MEGAN.replace('@', '%40')}" in page.url
        pick(page, "Megan Bowen")
        page.wait_for_url(f"{strict_site.url}/reports/7")


def test_why_a_page_answers_the_form_and_no_redirect(page: Page, strict_site: Site) -> None:
    """Chromium holds form-action against the redirect that answers a form."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(f"{strict_site.url}/saml/login")
    page.evaluate("document.querySelector('form').action = '/straight'")
    answer(page, MEGAN)
    page.wait_for_timeout(1000)
    assert [("form-action" in text, strict_site.entras["contoso"] in text or "/straight" in text) for text in told] == [(True, True)]
    assert page.url.startswith(f"{strict_site.url}/")


def test_without_any_form_a_policy_of_none_stops_nothing(page: Page, tmp_path: Path) -> None:
    with running_site(tmp_path, configure=send_policy("form-action 'none'", overrides=True)) as site:
        page.goto(site.login_url())
        pick(page, "Megan Bowen")
        page.wait_for_url(f"{site.url}/reports/7")


def test_each_domain_has_its_own_idp_and_going_back_leads_to_the_question(page: Page, site: Site) -> None:
    for slug in ("fabrikam", "contoso"):
        page.goto(f"{site.url}/saml/login")
        page.get_by_label("Work e-mail address").fill(f"ada@{slug}.example")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url(f"{site.entras[slug]}/**")
        page.go_back()
        assert page.get_by_label("Work e-mail address").is_visible()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_unknown_domain_is_said_at_the_field_which_has_the_focus(chromium: Browser, site: Site, *, script: bool) -> None:
    with opened(chromium, java_script_enabled=script) as page:
        page.goto(f"{site.url}/saml/login?next=/reports/7")
        answer(page, "ada@nowhere.example")
        page.get_by_text("Nobody signs in here with this domain").wait_for()
        field = page.get_by_label("Work e-mail address")
        assert field.get_attribute("aria-invalid") == "true"
        assert field.get_attribute("aria-describedby") == page.locator(".samljit-error").get_attribute("id")
        field.press("End")
        for _ in "nowhere.example":
            page.keyboard.press("Backspace")
        page.keyboard.type("contoso.example")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{site.entras['contoso']}/**")


HOSTILE = '"><img src=x onerror=alert(1)>&amp;\u05d0\u05d1{{7*7}}'


def test_what_was_typed_comes_back_as_text(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/saml/login")
    page.get_by_label("Work e-mail address").fill(f"{HOSTILE}@nowhere.example")
    page.get_by_role("button", name="Continue").click()
    page.locator(".samljit-error").wait_for()
    assert page.get_by_label("Work e-mail address").input_value() == f"{HOSTILE}@nowhere.example"
    assert page.locator("img").count() == 0


# --- one page for each situation --------------------------------------------------------------------------------------


def act_plainly(page: Page, site: Site, mishap: str | None = None) -> None:
    page.goto(site.login_url())
    pick(page, new_person(page), mishap=mishap)


def act_used_already(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    name = new_person(page)
    pick(page, name)
    page.wait_for_url(f"{site.url}/reports/7")
    page.context.clear_cookies()
    page.goto(site.login_url())
    pick(page, name, mishap="replay")


def act_inactive(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    name = new_person(page)
    pick(page, name)
    page.wait_for_url(f"{site.url}/reports/7")
    email = f"{name.replace(' ', '.')}@contoso.example".lower()
    with site.host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET active = 0 WHERE email = :email"), {"email": email})
    page.context.clear_cookies()
    page.goto(site.login_url())
    pick(page, name)


def act_in_another_browser(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    name = new_person(page)
    page.context.clear_cookies()
    pick(page, name)


def act_long_after(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/saml/contoso/finish?n={'0' * 32}")


def act_nowhere(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/saml/nobody/login")


def act_from_my_apps_twice(page: Page, site: Site) -> None:
    page.goto(site.entras["contoso"])
    page.get_by_role("link", name="The app").click()
    pick(page, "Megan Bowen")
    page.wait_for_url(re.compile(r".*/saml2\?SAMLRequest=.*"))  # restarted here, once
    pick(page, "Megan Bowen", mishap="unsolicited")


SITUATIONS: dict[str, tuple[Callable[[Page, Site], None], Situation]] = {
    "used-already": (act_used_already, situations.USED_ALREADY),
    "expired": (lambda page, site: act_plainly(page, site, "expired"), situations.TOOK_TOO_LONG),
    "inactive": (act_inactive, situations.INACTIVE),
    "claim-missing": (lambda page, site: act_plainly(page, site, "email"), situations.CLAIM_MISSING),
    "microsoft-says-no": (lambda page, site: act_plainly(page, site, "status"), situations.NOT_ACCEPTED),
    "wrong-signature": (lambda page, site: act_plainly(page, site, "key"), situations.NOT_ACCEPTED),
    "set-up-wrong": (lambda page, site: act_plainly(page, site, "audience"), situations.NOT_SET_UP_RIGHT),
    "other-browser": (act_in_another_browser, situations.OTHER_BROWSER),
    "no-cookies": (act_long_after, situations.COOKIES_BLOCKED),
    "nowhere": (act_nowhere, situations.UNKNOWN_PLACE),
    "restarted-once": (act_from_my_apps_twice, situations.STARTED_ELSEWHERE),
}


NOBODYS_GROUP = {"source": "groups", "any_of": ["0a0a0a0a-0000-4000-8000-00000000ffff"]}


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_has_its_page(chromium: Browser, site: Site, name: str, *, script: bool) -> None:
    act, situation = SITUATIONS[name]
    with opened(chromium, java_script_enabled=script) as page:
        act(page, site)
        shows(page, situation)
        expect(page.get_by_role("button", name="Copy details")).to_have_count(int(script))  # made once the page has loaded


@pytest.mark.parametrize(
    ("contoso", "prepare", "situation"),
    [
        pytest.param({"mapping": {"policy": {"create_users": False}}}, None, situations.NO_ACCOUNT, id="create-disabled"),
        pytest.param({"mapping": {"identity": {"match": "email_deny"}}}, "megan", situations.ACCOUNT_CONFLICT, id="conflict"),
        pytest.param({"idp": None}, None, situations.NOT_SWITCHED_ON, id="not-switched-on"),
        pytest.param({"enabled": False}, None, situations.SWITCHED_OFF, id="switched-off"),
        pytest.param({"mapping": {"policy": {"require": [NOBODYS_GROUP]}}}, None, situations.NOT_ASSIGNED, id="not-assigned"),
    ],
)
def test_every_situation_of_a_tenant_has_its_page(
    page: Page, tmp_path: Path, contoso: dict[str, Any], prepare: str | None, situation: Situation
) -> None:
    if "mapping" in contoso:
        contoso = {"mapping": {"fields": FIELDS, **contoso["mapping"]}}
    with running_site(tmp_path, contoso=contoso) as site:
        if prepare:
            with Session(site.host.engine) as session, session.begin():
                session.add(site.host.user_model(email=MEGAN, organization="contoso", is_admin=False, active=True))
        page.goto(site.login_url())
        if page.url.startswith(site.entras["contoso"]):
            pick(page, "Megan Bowen")
        shows(page, situation)
        assert site.host.count("users") == int(prepare is not None)


@pytest.mark.parametrize("path", ["/saml/contoso/login", "/saml/contoso/finish?n=1"])
def test_a_lost_database_has_its_page(page: Page, tmp_path: Path, path: str) -> None:
    with running_site(tmp_path) as site:

        @event.listens_for(site.host.engine, "do_connect")
        def refuse(*_: Any) -> None:
            raise site.host.engine.dialect.loaded_dbapi.OperationalError("gone")

        site.host.engine.dispose()
        page.goto(site.url + path)
        shows(page, situations.DATABASE_DOWN)


def test_whoever_took_too_long_still_comes_to_the_page_wanted(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    page.goto(site.login_url())
    name = new_person(page)
    with monkeypatch.context() as later:
        later.setattr(pages, "utc_now", lambda: datetime.now(UTC) + timedelta(minutes=16))
        pick(page, name)
        shows(page, situations.TOOK_TOO_LONG)
    page.get_by_role("link", name="Try again").click()
    pick(page, name)
    page.wait_for_url(f"{site.url}/reports/7")


@pytest.fixture
def no_cookies(chromium: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A Chromium whose settings block all cookies."""
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    context = chromium.browser_type.launch_persistent_context(profile, executable_path=find_chromium(), args=list(ARGUMENTS))
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def test_blocked_cookies_are_told_and_no_loop_comes_of_them(no_cookies: BrowserContext, site: Site) -> None:
    page = no_cookies.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/saml2?" in request.url else None)
    page.goto(site.login_url())
    pick(page, new_person(page))
    shows(page, situations.COOKIES_BLOCKED)
    page.wait_for_timeout(500)
    assert len({url for url in asked if "SAMLRequest" in url}) == 1


def test_the_same_person_goes_on_quietly_after_a_second_post(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    name = new_person(page)
    pick(page, name)
    page.wait_for_url(f"{site.url}/reports/7")
    page.goto(site.login_url(to="/reports/9"))
    pick(page, name, mishap="replay")
    page.wait_for_url(re.compile(rf"{site.url}/(reports/\d)?$"))


# --- two tenants, two tabs --------------------------------------------------------------------------------------------


def test_two_tabs_of_two_tenants_end_in_a_question_and_the_answer_counts(chromium: Browser, site: Site) -> None:
    with opened(chromium) as first:
        second = first.context.new_page()
        first.goto(site.login_url("contoso", to="/reports/1"))
        second.goto(site.login_url("fabrikam", to="/reports/2"))
        pick(first, "Megan Bowen")
        first.wait_for_url(f"{site.url}/reports/1")
        before = first.inner_text("body")
        pick(second, "Megan Bowen")
        second.get_by_role("heading", name="Switch account?").wait_for()
        first.reload()
        assert first.inner_text("body") == before
        second.keyboard.press("Tab")  # by keyboard alone
        second.keyboard.press("Enter")
        second.wait_for_url(f"{site.url}/reports/2")
        first.reload()
        assert first.inner_text("body") != before


# --- the host's session cookie ----------------------------------------------------------------------------------------

SAMESITE = [None, "Lax", "Strict"]


@pytest.fixture(scope="module")
def impatient(chromium: Browser) -> Iterator[Browser]:
    """A Chromium whose two minutes, in which a new cookie without SameSite goes along with a cross-site POST, are ten seconds."""
    arguments = [*ARGUMENTS, "--enable-features=ShortLaxAllowUnsafeThreshold"]
    browser = chromium.browser_type.launch(executable_path=find_chromium(), args=arguments)
    yield browser
    browser.close()


def test_no_rule_for_the_session_cookie_breaks_a_sign_in_however_long_it_takes(impatient: Browser, tmp_path: Path) -> None:
    """Fresh, and after what are 130 seconds of another Chromium: the cookie without SameSite is there, then gone, at the ACS."""
    with ExitStack() as stack:
        tabs = []
        for rule in SAMESITE:
            directory = tmp_path / str(rule)
            directory.mkdir()
            site = stack.enter_context(running_site(directory, config={"SESSION_COOKIE_SAMESITE": rule}))
            page = stack.enter_context(opened(impatient))
            page.goto(f"{site.url}/hello")
            page.goto(site.login_url())
            tabs.append((site, page))
        late = [(site, stack.enter_context(opened(impatient))) for site, _ in tabs]
        for site, page in late:
            page.goto(f"{site.url}/hello")
            page.goto(site.login_url())
        for site, page in tabs:
            pick(page, "Megan Bowen")
            page.wait_for_url(f"{site.url}/reports/7")
        time.sleep(11)
        for site, page in late:
            pick(page, "Lee Gu")
            page.wait_for_url(f"{site.url}/reports/7")
        came = [["session" in names for names in site.acs_cookies] for site, _ in tabs]
        assert came == [[True, False], [False, False], [False, False]]
