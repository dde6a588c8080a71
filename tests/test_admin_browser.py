"""The admin pages as people with other eyes, hands and screens meet them, in a real Chromium; and a tenant set up from nothing.

`PAGES` holds every page: a new one is a line there. With SAMLJIT_SCREENSHOTS set to a directory, a picture of each is kept there.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask, has_request_context, request
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from samljit.testing import FakeEntra, signing_key
from tests.admin_host import stored
from tests.admin_site import SLUGS, AdminSite, admin_of, running_admin_site
from tests.admin_states import seed_every_state
from tests.chromium import launched as launched
from tests.site import pick
from tests.test_pages_browser import opened
from tests.test_pages_host import LAYOUT
from tests.test_pages_quality import PICTURES, picture

# width, media, whether axe looks: it finds the same again in forced colours and at 320 pixels
LOOKS: dict[str, tuple[int, dict[str, Any], bool]] = {
    "desk": (1280, {"color_scheme": "light"}, True),
    "desk-dark": (1280, {"color_scheme": "dark"}, True),
    "phone": (360, {"color_scheme": "light"}, True),
    "zoom-400": (320, {"color_scheme": "light"}, False),
}
if PICTURES:  # for the eye alone
    LOOKS["phone-dark"] = (360, {"color_scheme": "dark"}, False)
    LOOKS["forced-colours"] = (1280, {"forced_colors": "active"}, False)
NARROW = {"viewport": {"width": 320, "height": 640}}


@dataclass(frozen=True)
class Shown:
    """One page in one state: `view` is the name of its view, `show` brings a browser there in which nobody is signed in yet."""

    name: str
    view: str
    show: Callable[[Page, AdminSite], None]


def at(slug: str, path: str = "/") -> Callable[[Page, AdminSite], None]:
    def show(page: Page, site: AdminSite) -> None:
        site.enter(page, slug)
        page.goto(site.place(slug, path))

    return show


def show_read(page: Page, site: AdminSite) -> None:
    """The third step of Set up, with a certificate that has expired and another directory: all that it may warn of."""
    at("fabrikam", "/setup")(page, site)
    give_file(page, expired_entra(site, "tailspin"))
    page.locator("form[action$='/setup/check']").wait_for()


def show_set_up_wrongly(page: Page, site: AdminSite) -> None:
    at("tailspin", "/setup")(page, site)
    page.locator("details", has=page.locator("input[name=sso_url]")).locator("summary").click()
    page.locator("input[name=sso_url]").fill("javascript:alert(1)")
    page.locator("form[action$='/setup'] button").click()
    page.get_by_role("alert").wait_for()


def show_review(rule: str) -> Callable[[Page, AdminSite], None]:
    def show(page: Page, site: AdminSite) -> None:
        at("fabrikam", "/rules")(page, site)
        page.locator(f"input[value={rule}]").check()
        page.locator("textarea").fill(admin_of("fabrikam"))
        page.locator("form[action$='/rules'] button").click()
        page.locator(".samljit-figures").wait_for()

    return show


def show_not_ready(page: Page, site: AdminSite) -> None:
    at("tailspin", "/rules")(page, site)
    page.locator("input[value=required]").check()
    page.locator("textarea").fill(f"nobody@tailspin.example\n{'x' * 90}")
    page.locator("form[action$='/rules'] button").click()
    page.get_by_role("alert").wait_for()


def show_disabled(path: str) -> Callable[[Page, AdminSite], None]:
    """While whoever runs the app has switched it off."""

    def show(page: Page, site: AdminSite) -> None:
        site.change("tailspin", enabled=False)
        try:
            at("tailspin", path)(page, site)
        finally:
            site.change("tailspin", enabled=None)

    return show


def show_changed_meanwhile(page: Page, site: AdminSite) -> None:
    at("fabrikam", "/rules")(page, site)
    for name in ("Fabrikam Inc", "Fabrikam"):
        site.change("fabrikam", name=name)
    page.locator("form[action$='/rules'] button").click()
    page.locator("#samljit-meanwhile").wait_for()


def show_no_domain(page: Page, site: AdminSite) -> None:
    at("fabrikam", "/domains")(page, site)
    page.get_by_role("textbox").fill("not a domain")
    page.locator("form[action$='/domains'] button").click()
    page.get_by_role("alert").wait_for()


def show_attempt(slug: str, reason: str | None = None) -> Callable[[Page, AdminSite], None]:
    def show(page: Page, site: AdminSite) -> None:
        at(slug, f"/log/{site.find_reference(slug, reason)}")(page, site)

    return show


PAGES = (
    Shown("overview", "overview", at("fabrikam")),
    Shown("overview-empty", "overview", at("tailspin")),
    Shown("overview-crowded", "overview", at("adatum")),
    Shown("overview-misfit", "overview", at("wingtip")),
    Shown("overview-disabled", "overview", show_disabled("/")),
    Shown("overview-read-only", "overview", at("contoso")),
    Shown("setup", "setup", at("fabrikam", "/setup")),
    Shown("setup-empty", "setup", at("tailspin", "/setup")),
    Shown("setup-draft", "setup", at("adatum", "/setup")),
    Shown("setup-read-only", "setup", at("contoso", "/setup")),
    Shown("setup-wrong", "setup", show_set_up_wrongly),
    Shown("setup-check", "setup_check", show_read),
    Shown("certificates", "certificates", at("fabrikam", "/certificates")),
    Shown("certificates-empty", "certificates", at("tailspin", "/certificates")),
    Shown("certificates-expired", "certificates", at("adatum", "/certificates")),
    Shown("certificates-misfit", "certificates", at("wingtip", "/certificates")),
    Shown("domains", "domains", at("adatum", "/domains")),
    Shown("domains-empty", "domains", at("tailspin", "/domains")),
    Shown("domains-wrong", "domains", show_no_domain),
    Shown("rules", "rules", at("fabrikam", "/rules")),
    Shown("rules-read-only", "rules", at("contoso", "/rules")),
    Shown("rules-disabled", "rules", show_disabled("/rules")),
    Shown("rules-not-ready", "rules", show_not_ready),
    Shown("rules-changed-meanwhile", "rules", show_changed_meanwhile),
    Shown("rules-review-off", "rules", show_review("off")),
    Shown("rules-review-required", "rules", show_review("required")),
    Shown("test", "test", at("tailspin", "/test")),
    Shown("test-passed", "test", at("fabrikam", "/test")),
    Shown("test-failed", "test", at("adatum", "/test")),
    Shown("test-misfit", "test", at("wingtip", "/test")),
    Shown("history", "history", at("adatum", "/history")),
    Shown("history-read-only", "history", at("contoso", "/history")),
    Shown("claims", "claims", at("fabrikam", "/claims")),
    Shown("claims-long", "claims", at("adatum", "/claims")),
    Shown("claims-misfit", "claims", at("wingtip", "/claims")),
    Shown("claims-read-only", "claims", at("contoso", "/claims")),
    Shown("claims-field", "claims_field", at("adatum", "/claims/field?name=last_name")),
    Shown("accounts", "accounts", at("fabrikam", "/accounts")),
    Shown("accounts-read-only", "accounts", at("contoso", "/accounts")),
    Shown("draft", "draft", at("adatum", "/draft")),
    Shown("draft-empty", "draft", at("tailspin", "/draft")),
    Shown("draft-drop", "draft_drop", at("adatum", "/draft/drop")),
    Shown("log", "log", at("adatum", "/log")),
    Shown("log-empty", "log", at("tailspin", "/log")),
    Shown("attempt-good", "attempt", show_attempt("fabrikam")),
    Shown("attempt-refused", "attempt", show_attempt("adatum", "audience_mismatch")),
    Shown("lost", "overview", at("fabrikam", "/?lost=1")),
)
every_page = pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)


def expired_entra(site: AdminSite, slug: str) -> bytes:
    """The metadata of this tenant's Entra, as it would be with a certificate that has expired."""
    key = signing_key("long gone", valid_until=datetime.now(UTC) - timedelta(days=3))
    return FakeEntra(site.signers[slug].tenant_id, sso_url=site.signers[slug].sso_url, keys=[key]).metadata()


def give_file(page: Page, metadata: bytes) -> None:
    """On Set up: gives the metadata as a file."""
    page.locator("details", has=page.locator("input[name=metadata_file]")).locator("summary").click()
    file: Any = {"name": "app.xml", "mimeType": "text/xml", "buffer": metadata}
    page.locator("input[name=metadata_file]").set_input_files(file)
    page.locator("form[action$='/setup'] button").click()


def lose_database(site: AdminSite) -> None:
    """A request with ?lost=1 finds our tables gone."""

    @event.listens_for(site.host.engine, "before_cursor_execute")
    def refuse(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "samljit_" in statement and has_request_context() and "lost" in request.args:
            raise OperationalError(statement, {}, sqlite3.OperationalError("disk I/O error"))


def seed(site: AdminSite) -> None:
    seed_every_state(site)
    lose_database(site)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    with running_admin_site(tmp_path_factory.mktemp("admin"), seed=seed, verify_domain=lambda tenant, domain: False) as running:
        yield running


@contextmanager
def fenced(chromium: Browser, **options: Any) -> Iterator[Page]:
    """As `opened`, and nothing may be stopped by the Content-Security-Policy."""
    stopped: list[str] = []
    with opened(chromium, **options) as page:
        page.on("console", lambda message: stopped.append(message.text) if "Content Security Policy" in message.text else None)
        yield page
        assert stopped == []


def is_sound(page: Page, *, axe: bool) -> None:
    """One heading, a title, nothing to be scrolled sideways; with `axe`, nothing that it finds."""
    page.wait_for_load_state()  # style comes later than the page on a busy machine
    assert page.locator("h1").count() == 1
    assert page.title()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "has to be scrolled sideways"
    found = Axe().run(page).response["violations"] if axe else []
    assert [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found] == []


# --- every page -------------------------------------------------------------------------------------------------------


def test_every_address_that_shows_a_page_is_in_the_list(site: AdminSite) -> None:
    visitor = site.host.app.test_client()
    visitor.get(f"/enter/{1 + SLUGS.index('fabrikam')}")
    shown = {one.view for one in PAGES}
    for rule in site.host.app.url_map.iter_rules():
        view = rule.endpoint.removeprefix("samljit.admin.")
        if view != rule.endpoint and "GET" in (rule.methods or ()):
            _, path = rule.build({name: "fabrikam" if name == "tenant" else "1" for name in rule.arguments}) or ("", "")
            is_page = visitor.get(path, base_url=site.url).status_code != 303
            assert view in shown or not is_page, f"{view} is missing in PAGES"


@every_page
def test_every_page_is_sound_in_light_and_dark_on_a_desk_and_a_phone(chromium: Browser, site: AdminSite, shown: Shown) -> None:
    with fenced(chromium) as page:
        shown.show(page, site)
        for look, (width, media, axe) in LOOKS.items():
            page.set_viewport_size({"width": width, "height": 900 if width > 1000 else 800})
            page.emulate_media(**media)
            picture(page, f"admin-{shown.name}-{look}")
            is_sound(page, axe=axe)


@every_page
def test_every_page_is_sound_in_german(chromium: Browser, site: AdminSite, shown: Shown) -> None:
    with fenced(chromium, **NARROW, locale="de-DE") as page:
        shown.show(page, site)
        picture(page, f"admin-{shown.name}-german")
        is_sound(page, axe=False)
        assert page.locator("html").get_attribute("lang") == "de"


# a button that is there for the Enter key alone is hidden from everybody: another one says the same and can be reached
_FOCUSABLE = """() => [...document.querySelectorAll(
    ".samljit :is(a[href], button, input:not([type=hidden]), textarea, select, summary)"
)].filter((one) => one.checkVisibility() && !one.matches(":disabled, [aria-hidden=true]")).map((one, at) => {
    one.dataset.at = one.type === "radio" ? one.name : at;
    return one.dataset.at;
})"""
_FOCUSED = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    return [one.dataset.at ?? null, one.outerHTML.slice(0, 200), style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


@every_page
def test_every_page_can_be_used_by_keyboard_and_shows_where_the_focus_is(chromium: Browser, site: AdminSite, shown: Shown) -> None:
    with fenced(chromium) as page:
        shown.show(page, site)
        page.wait_for_load_state()
        for summary in page.locator("main summary, nav:visible summary").all():
            summary.evaluate("one => { one.parentElement.open = true }")
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        wanted, reached = set(page.evaluate(_FOCUSABLE)), set()
        for _ in range(len(wanted) + 20):  # regions that scroll and parts of a date take the focus too
            page.keyboard.press("Tab")
            at, html, style, width = page.evaluate(_FOCUSED)
            if at is not None:
                reached.add(at)
                assert (style, width) == ("solid", 3), html
            if reached == wanted:
                break
        assert reached == wanted


@every_page
def test_every_page_works_without_script(chromium: Browser, site: AdminSite, shown: Shown) -> None:
    with fenced(chromium, java_script_enabled=False, viewport={"width": 360, "height": 800}) as page:
        shown.show(page, site)
        assert page.locator("h1").is_visible()
        assert [one.is_visible() for one in page.locator("[data-samljit-copy]").all() if one.is_visible()] == []
        menu = page.locator(".samljit-menu summary")
        if menu.count():  # the page of a lost database has none
            menu.press("Enter")
            assert page.locator(".samljit-menu a[aria-current]").is_visible()
        for form in page.locator("main form", has=page.locator(":enabled:not([type=hidden]):not(button)")).all():
            assert any(button.is_visible() for button in form.locator("button[type=submit]").all())


def test_an_error_summary_takes_the_focus_and_leads_to_the_field(chromium: Browser, site: AdminSite) -> None:
    with fenced(chromium) as page:
        show_set_up_wrongly(page, site)
        expect(page.get_by_role("alert")).to_be_focused()
        assert page.title().startswith("There is a problem")
        page.get_by_role("alert").get_by_role("link", name="Login URL").press("Enter")
        expect(page.get_by_label("Login URL")).to_be_focused()


def test_times_are_those_of_the_reader(chromium: Browser, site: AdminSite) -> None:
    with fenced(chromium, timezone_id="Asia/Tokyo") as page:
        at("adatum", "/history")(page, site)
        assert page.locator("time").first.inner_text().endswith("GMT+9")


def test_nothing_that_anybody_wrote_is_taken_for_markup_or_turns_the_text_around(site: AdminSite) -> None:
    """The name of adatum and what its Entra sent hold markup, control characters and a right-to-left override."""
    visitor = site.visitor()
    visitor.get(f"{site.url}/enter/{1 + SLUGS.index('adatum')}")
    shown = []
    for rule in site.host.app.url_map.iter_rules():
        if rule.endpoint.startswith("samljit.admin.") and "GET" in (rule.methods or ()) and rule.arguments == {"tenant"}:
            _, path = rule.build({"tenant": "adatum"}) or ("", "")
            seen = re.sub(r' value="[^"]*"', "", visitor.get(f"{site.url}{path}").text)  # what a control sends back stays as it is
            shown.append("&lt;b&gt;Analytical&lt;/b&gt;" in seen)
            for evil in ("<b>Analytical", "<i>Donau", "<script>alert", "\u202e", "\x07"):
                assert evil not in seen, path
    assert all(shown)


# --- in the clothes of a host -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dressed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    def configure(app: Flask) -> None:
        app.jinja_loader = ChoiceLoader([DictLoader({"shop.html": LAYOUT}), app.jinja_loader])  # type: ignore[list-item]  # never None

    options = {"base_template": "shop.html", "verify_domain": lambda tenant, domain: False}
    with running_admin_site(tmp_path_factory.mktemp("dressed"), configure=configure, seed=seed, **options) as running:
        yield running


@every_page
def test_every_page_is_sound_inside_a_hosts_base_template(chromium: Browser, dressed: AdminSite, shown: Shown) -> None:
    with fenced(chromium, **NARROW) as page:
        shown.show(page, dressed)
        picture(page, f"admin-dressed-{shown.name}")
        is_sound(page, axe=True)
        assert page.locator("main").count() == 1
        assert page.get_by_text("The shop of").count() == (shown.name != "lost")


# --- from nothing to live ---------------------------------------------------------------------------------------------


def give_values(page: Page, entra: FakeEntra, way: str) -> None:
    if way == "file":
        give_file(page, entra.metadata())
        return
    page.get_by_text("Type the values instead").click()
    page.get_by_label("Microsoft Entra Identifier").fill(entra.entity_id)
    page.get_by_label("Login URL").fill(entra.sso_url)
    page.get_by_label("Certificate (Base64), as text").fill(entra.key.certificate_pem.decode())
    page.get_by_role("button", name="Read these values").click()


def go_to(page: Page, section: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=section, exact=True).click()


def tile(page: Page, name: str) -> Any:
    return page.locator(".samljit-tile", has=page.get_by_role("heading", name=name, exact=True))


@pytest.mark.parametrize(
    ("way", "script", "same_site"),
    [
        ("file", True, None), ("typed", False, None), ("typed", True, "Lax"), ("file", False, "Lax"), ("file", True, "Strict"),
        ("typed", False, "Strict"),
    ],
    ids=lambda value: {True: "script", False: "no-script", None: "no-same-site"}.get(value, str(value)),
)  # fmt: skip
def test_a_tenant_is_set_up_from_nothing_tried_made_live_and_required(
    chromium: Browser, tmp_path: Path, way: str, same_site: str | None, *, script: bool
) -> None:
    def configure(app: Flask) -> None:
        app.config["SESSION_COOKIE_SAMESITE"] = same_site

    with running_admin_site(tmp_path, configure=configure) as site:
        with fenced(chromium, java_script_enabled=script) as page:
            at("tailspin")(page, site)
            connect(page, site, way)
            try_and_make_live(page, site)
            require(page, site)
        with fenced(chromium, java_script_enabled=script) as page:
            page.goto(f"{site.url}/saml/tailspin/login?next=/who")
            pick(page, "Megan Bowen")
            page.wait_for_url(f"{site.url}/who")
            assert "megan.bowen@contoso.example" in page.content()
        with site.host.app.app_context():
            users = {user.email: user for user in site.host.session.query(site.host.user_model)}
            may_use_password = {email: site.host.saml.password_login_allowed(user) for email, user in users.items()}
        assert (may_use_password["megan.bowen@contoso.example"], may_use_password[admin_of("tailspin")]) == (False, True)


def connect(page: Page, site: AdminSite, way: str) -> None:
    """From the overview of a tenant of which nothing is known, to Entra's values in its draft."""
    entra = site.signers["tailspin"]
    expect(page.get_by_text("Microsoft Entra is not connected yet")).to_be_visible()
    page.locator(".samljit-status").get_by_role("link", name="Set up").click()
    for value in ("metadata", "acs"):  # all that has to go to Entra
        expect(page.locator("code", has_text=f"{site.url}/saml/tailspin/{value}")).to_be_visible()
    give_values(page, entra, way)
    expect(page.get_by_role("heading", level=1)).to_have_text("This is what we read")
    for told in (entra.tenant_id, entra.entity_id, entra.sso_url):
        expect(page.locator("dd code").get_by_text(told, exact=True).first).to_be_visible()
    assert stored(site.host, "tailspin").draft is None
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.get_by_role("status").filter(has_text="Saved in the draft")).to_be_visible()


def try_and_make_live(page: Page, site: AdminSite) -> None:
    """A test sign-in by way of the other site, which makes nobody; then the draft goes live."""
    page.get_by_role("main").get_by_role("link", name="Test the draft").click()
    page.get_by_role("button", name="Test the sign-in").click()
    page.wait_for_url(f"{site.entras['tailspin']}/**")
    pick(page, "Megan Bowen")
    page.wait_for_url(site.place("tailspin", "/test"))
    expect(page.get_by_role("status").filter(has_text="The test passed")).to_be_visible()
    expect(page.get_by_text("This sign-in would work.")).to_be_visible()
    expect(page.get_by_text("A new user would be made.")).to_be_visible()
    assert "megan.bowen@contoso.example" not in {user["email"] for user in site.host.users()}
    go_to(page, "Draft")
    expect(page.get_by_text("It has passed a test, just as it is.")).to_be_visible()
    page.get_by_role("button", name="Make the draft live").click()
    page.get_by_role("status").wait_for()
    assert stored(site.host, "tailspin").draft is None


def require(page: Page, site: AdminSite) -> None:
    """Microsoft Entra becomes the only way in, but for the admin."""
    go_to(page, "Overview")
    expect(tile(page, "Connection").get_by_text("Connected", exact=True)).to_be_visible()
    expect(tile(page, "Test").get_by_text("Passed", exact=True)).to_be_visible()
    go_to(page, "Sign-in rules")
    page.get_by_label("Required").check()
    page.get_by_label("Emergency accounts").fill(admin_of("tailspin"))
    page.get_by_role("button", name="See whom it concerns").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Make Microsoft Entra the only way in?")
    page.get_by_role("button", name="Require it").click()
    expect(page.get_by_role("status").filter(has_text="The sign-in rules were changed")).to_be_visible()
    assert stored(site.host, "tailspin").live["require_sso"] is True
