"""Every page of a sign-in as people with other eyes, hands, screens and languages meet it, in a real Chromium.

With SAMLJIT_SCREENSHOTS set to a directory, a picture of each page in each variant is kept there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from samljit.views.words import catalogues
from tests.chromium import launched as launched
from tests.site import Site, new_person, pick, running_site
from tests.test_pages_browser import opened

VARIANTS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "desk-dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "zoom-400": {"viewport": {"width": 320, "height": 200}},  # what 1280 x 800 are at 400 %
    "forced-colours": {"viewport": {"width": 1280, "height": 800}, "forced_colors": "active"},
    "german": {"viewport": {"width": 320, "height": 640}, "locale": "de-DE"},
}
PICTURES = os.environ.get("SAMLJIT_SCREENSHOTS")
if PICTURES:  # for the eye alone: sound where the others are
    VARIANTS["phone-dark"] = {**VARIANTS["phone"], "color_scheme": "dark"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("quality")) as running:
        yield running


def show_question(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/saml/login?next=/reports/7")


def show_error(page: Page, site: Site) -> None:
    show_question(page, site)
    page.get_by_role("textbox").fill("ada.lovelace.of.the.analytical.engine@a-long-name-of-a-company.example")
    page.keyboard.press("Enter")
    page.locator(".samljit-error").wait_for()


def show_onward(page: Page, site: Site) -> None:
    page.route(f"{site.entras['contoso']}/**", lambda route: route.fulfill(status=204))  # at 204 a browser stays where it is
    show_question(page, site)
    page.get_by_role("textbox").fill("megan.bowen@contoso.example")
    page.keyboard.press("Enter")
    page.locator("a.samljit-button").wait_for()


def show_hand_over(page: Page, site: Site) -> None:
    page.route("**/finish*", lambda route: route.fulfill(status=204))
    page.goto(site.login_url())
    pick(page, new_person(page))
    page.wait_for_url("**/acs")


def show_switch(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    pick(page, new_person(page))
    page.wait_for_url(f"{site.url}/reports/7")
    page.goto(site.login_url())
    pick(page, new_person(page))
    page.wait_for_url("**/finish*")


def show_refusal(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    pick(page, new_person(page), mishap="expired")
    page.wait_for_url("**/acs")


def show_refusal_without_a_way_on(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    pick(page, new_person(page), mishap="audience")
    page.wait_for_url("**/acs")


def show_signing_out(page: Page, site: Site) -> None:
    page.goto(site.login_url())
    pick(page, new_person(page))
    page.wait_for_url(f"{site.url}/reports/7")
    page.goto(f"{site.url}/saml/logout")


def show_signed_out(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/saml/logout")


SHOWS: list[Callable[[Page, Site], None]] = [
    show_question, show_error, show_onward, show_hand_over, show_switch, show_refusal, show_refusal_without_a_way_on, show_signing_out,
    show_signed_out,
]  # fmt: skip
pages = pytest.mark.parametrize("show", SHOWS, ids=lambda show: show.__name__.removeprefix("show_"))


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


@pages
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_page_is_sound_in_every_variant(
    chromium: Browser, site: Site, show: Callable[[Page, Site], None], variant: str, request: pytest.FixtureRequest
) -> None:
    with opened(chromium, **VARIANTS[variant]) as page:
        show(page, site)
        page.locator("h1").wait_for()
        page.wait_for_load_state()  # its style too
        picture(page, f"{show.__name__.removeprefix('show_')}-{variant}")
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found] == []
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], "has to be scrolled sideways"
        assert page.locator("h1").count() == 1
        page.evaluate("scrollTo(0, 0)")  # the focus may be further down
        assert page.locator(".samljit-main").bounding_box()["y"] >= 0  # type: ignore[index]
        assert page.locator("html").get_attribute("lang") == ("de" if variant == "german" else "en")
        if variant == "german":
            heading = page.locator("h1").inner_text()
            assert heading in {form for form in catalogues()["de"]._catalog.values() if isinstance(form, str)}  # type: ignore[attr-defined]


@pages
def test_every_page_can_be_used_by_keyboard_and_shows_where_the_focus_is(
    chromium: Browser, site: Site, show: Callable[[Page, Site], None]
) -> None:
    with opened(chromium) as page:
        show(page, site)
        page.wait_for_load_state()
        wanted = page.locator(".samljit a:visible, .samljit button:visible, .samljit input:not([type=hidden]):visible").count()
        page.evaluate("document.activeElement?.blur()")
        reached = set()
        for _ in range(wanted + 1):
            page.keyboard.press("Tab")
            here = page.evaluate(
                """() => {
                    const style = getComputedStyle(document.activeElement);
                    return [document.activeElement.outerHTML, style.outlineStyle, parseFloat(style.outlineWidth)];
                }"""
            )
            if not here[0].startswith("<body"):
                reached.add(here[0])
                assert here[1:] == ["solid", 3], here[0]
        assert len(reached) == wanted


def test_the_details_are_copied_as_they_are_sent_on(chromium: Browser, site: Site) -> None:
    with opened(chromium, permissions=["clipboard-read", "clipboard-write"], timezone_id="America/New_York") as page:
        show_refusal(page, site)
        page.get_by_role("button", name="Copy details").press("Enter")
        expect(page.get_by_role("button", name="Copied")).to_be_focused()
        reference = page.locator("#samljit-slip code").inner_text()
        lines = page.evaluate("navigator.clipboard.readText()").splitlines()
        assert lines[0] == f"Reference: {reference}"
        assert re.fullmatch(r"Time: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", lines[1])
        assert lines[2] == f"Address: {site.url}/saml/contoso/acs"
        assert lines[3].startswith("What happened: The sign-in took too long.")
        expect(page.get_by_role("button", name="Copy details")).to_be_visible()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"timezone_id": "America/New_York"}, r"[A-Z][a-z]{2} \d+, \d{4}, \d\d:\d\d:\d\d\s[AP]M E[SD]T"),
        ({"timezone_id": "Asia/Tokyo", "locale": "de-DE"}, r"\d+\. \S+ \d{4}, \d\d:\d\d:\d\d GMT\+9"),
        ({"java_script_enabled": False}, r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"),
    ],
    ids=["new-york", "tokyo-in-german", "no-script"],
)
def test_the_time_is_that_of_the_reader(chromium: Browser, site: Site, options: dict[str, Any], shown: str) -> None:
    with opened(chromium, **options) as page:
        show_refusal(page, site)
        assert re.fullmatch(shown, page.locator("time").inner_text()), page.locator("time").inner_text()


def test_in_forced_colours_every_button_has_an_edge(chromium: Browser, site: Site) -> None:
    with opened(chromium, forced_colors="active") as page:
        for show in (show_question, show_refusal):
            show(page, site)
            for button in page.locator(".samljit-button:visible, input:visible").all():
                assert button.evaluate("(e) => [getComputedStyle(e).borderStyle, parseFloat(getComputedStyle(e).borderWidth) >= 1]") == [
                    "solid", True,
                ]  # fmt: skip
            page.context.clear_cookies()


def test_a_refused_page_prints_without_what_only_works_on_a_screen(chromium: Browser, site: Site) -> None:
    with opened(chromium) as page:
        show_refusal(page, site)
        page.emulate_media(media="print")
        assert (page.locator("#samljit-slip").is_visible(), page.locator(".samljit-button:visible").count()) == (True, 0)
