"""The forms about claims, filled in, wrong and tried, as people with other eyes, hands and screens meet them, in a real Chromium.

With SAMLJIT_SCREENSHOTS set to a directory, a picture of each page in each variant is kept there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import JSON, String
from sqlalchemy.orm import mapped_column

from samljit.demo.servers import served
from samljit.sql.audit import AuditAction
from samljit.testing import FakeEntra
from tests.admin_host import OPERATOR, add_user, make_admin_host, rows_of, stored
from tests.chromium import launched as launched
from tests.host import FIELDS, Host, make_host, make_user_model, settings_for
from tests.mapping_pages import EDITORS, keep_test
from tests.test_pages_browser import opened
from tests.test_pages_quality import VARIANTS, picture

FRED = "fred@fabrikam.example"
ALL = {name: VARIANTS[name] for name in ("desk-dark", "zoom-400", "forced-colours", "german")}
ALL["phone"] = {**VARIANTS["phone"], "viewport": {"width": 360, "height": 780}}

USUAL = {"fields": {"locale": {"source": "preferredlanguage", "default": "en", "sync_mode": "on_create"}, "job_title": "jobtitle"}}
OWN = {
    "fields": {
        **FIELDS,
        "departments": {"source": "department", "transform": [{"split": ","}, "lowercase"], "multi": "all", "on_missing": "clear"},
        "job_title": None,
        "origin": {"value": "entra", "sync_mode": "on_create"},
    },
    "roles": {
        "source": ["groups", "role"],
        "map": {EDITORS: ["editor"], "Reports.Viewer": ["viewer"]},
        "notes": {EDITORS: "Editors in Berlin"},
        "default": ["viewer"],
        "on_missing": "keep",
    },
    "policy": {"allowed_domains": ["fabrikam.example"], "require": [{"source": "groups", "any_of": [EDITORS]}]},
}


@dataclass(frozen=True)
class Scene:
    """A running host whose fabrikam has a mapping that uses a bit of everything, and a test behind it."""

    host: Host
    url: str
    admin_id: int

    @property
    def place(self) -> str:
        return f"{self.url}/saml/admin/fabrikam"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("claims")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    url = f"http://localhost:{listener.getsockname()[1]}"
    contoso = FakeEntra()
    guards = {"grantable_roles": ["editor", "viewer"], "protected_fields": ["is_admin"]}
    settings = settings_for(directory, contoso, base_url=url, mapping=USUAL, guards=guards)
    columns = {"locale": 20, "job_title": 100, "origin": 20, "employee_number": 20}
    model = make_user_model(
        departments=mapped_column(JSON), **{name: mapped_column(String(length)) for name, length in columns.items()}
    )
    host = make_admin_host(lambda **options: make_host(directory, entra=contoso, settings=settings, user_model=model, **options))
    host.app.config["TESTING"] = False
    rows_of(host).change(stored(host), {"mapping": OWN}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    keep_test(host)
    with served([(listener, host.app)]):
        yield Scene(host, url, add_user(host, FRED))
    host.session.remove()
    host.engine.dispose()


def save(page: Page) -> None:
    page.locator(".samljit-actions > .samljit-button:not(.samljit-button-plain)").click()


def show_trial(page: Page, scene: Scene) -> None:
    show_field(page, scene)
    page.locator("#samljit-source-0").select_option("jobtitle")
    page.locator(".samljit-try > summary").click()
    page.locator("button[value=try]").click()
    page.locator("#samljit-trial").wait_for()


def show_field(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/claims/field?name=first_name")


def show_steps(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/claims/field?name=departments")


def show_wrong_field(page: Page, scene: Scene) -> None:
    show_field(page, scene)
    page.locator("#samljit-source-0").select_option("")
    page.locator("#samljit-on_missing").select_option("clear")
    page.locator("#samljit-sync_mode").select_option("on_create")
    save(page)
    page.locator(".samljit-error").first.wait_for()


def show_dropped_field(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/claims/field?name=job_title")


def show_accounts(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/accounts")


def show_wrong_accounts(page: Page, scene: Scene) -> None:
    show_accounts(page, scene)
    page.locator("#samljit-max_users").fill("many")
    page.locator("#samljit-value-2").fill(EDITORS)
    save(page)
    page.locator(".samljit-error").first.wait_for()


SHOWS: list[Callable[[Page, Scene], None]] = [show_trial, show_steps, show_wrong_field, show_dropped_field, show_wrong_accounts]
pages = pytest.mark.parametrize("show", SHOWS, ids=lambda show: show.__name__.removeprefix("show_"))


def enter(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.url}/enter/{scene.admin_id}")


@pages
@pytest.mark.parametrize("variant", ALL)
def test_every_page_is_sound_in_every_variant(chromium: Browser, scene: Scene, show: Callable[[Page, Scene], None], variant: str) -> None:
    with opened(chromium, **ALL[variant]) as page:
        enter(page, scene)
        show(page, scene)
        page.locator("h1").wait_for()
        picture(page, f"{show.__name__.removeprefix('show_')}-{variant}")
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found] == []
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], "has to be scrolled sideways"
        assert page.locator("h1").count() == 1


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_a_field_is_mapped_by_keyboard_with_script_and_without(chromium: Browser, scene: Scene, with_script: bool) -> None:
    with opened(chromium, java_script_enabled=with_script) as page:
        enter(page, scene)
        show_field(page, scene)
        expect(page.locator("#samljit-template")).to_be_hidden()  # what is not chosen
        page.locator("input[name=way][value=template]").press("Space")
        expect(page.locator("#samljit-source-0")).to_be_hidden()
        page.locator("#samljit-template").fill("{givenname}!")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{scene.place}/claims")
        expect(page.get_by_role("status")).to_contain_text("Saved in the draft")
        assert stored(scene.host).drafted["mapping"]["fields"]["first_name"] == {"template": "{givenname}!"}
        page.goto(f"{scene.place}/claims/field?name=departments")
        page.locator("button[value=more-step]").press("Enter")
        expect(page.locator("[id^=samljit-step-]")).to_have_count(4)
        rows_of(scene.host).save_draft(stored(scene.host), None, author=OPERATOR)
