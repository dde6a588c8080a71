"""The draft, the sign-in log and one attempt as people with other eyes, hands and screens meet them, in a real Chromium.

With SAMLJIT_SCREENSHOTS set to a directory, a picture of each page in each variant is kept there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from samljit.demo.servers import served
from samljit.testing import Browser as Visitor
from samljit.testing import FakeEntra, Person, sign_in, signing_key
from tests.admin_host import FABRIKAM, OPERATOR, add_user, make_admin_host, pass_test, rows_of, stored
from tests.chromium import launched as launched
from tests.host import ADELE, BIANCA, FIELDS, Host, make_host, settings_for
from tests.test_pages_browser import opened
from tests.test_pages_quality import VARIANTS, picture

FRED = "fred@fabrikam.example"
ALL = {**VARIANTS, "phone": {**VARIANTS["phone"], "viewport": {"width": 360, "height": 780}}}
if "phone-dark" in ALL:
    ALL["phone-dark"] = {**ALL["phone"], "color_scheme": "dark"}
OTHER = FakeEntra("ddddeeee-3333-ffff-4444-000000000000", keys=[signing_key("of the other directory")])
DRAFT = {
    "idp": {"metadata": OTHER.metadata().decode()},
    "entra_tenant_id": OTHER.tenant_id,
    "mapping": {
        "identity": {"source": "emailaddress"},
        "fields": {
            **FIELDS,
            "display_name": {"template": "{surname}, {givenname}", "sync_mode": "always"},
            "last_name": {"source": ["surname", "displayname"], "transform": ["lowercase"], "required": True, "on_missing": "keep"},
        },
        "roles": {
            "source": ["groups"],
            "map": {"07dd8a60-bf6d-4e17-8844-230b77145381": ["editor"]},
            "notes": {"07dd8a60-bf6d-4e17-8844-230b77145381": "Editors in Berlin"},
            "on_missing": "keep",
        },
    },
}


@dataclass(frozen=True)
class Scene:
    """A running host whose fabrikam has a draft and a log."""

    host: Host
    url: str
    admin_id: int
    refused: str

    @property
    def place(self) -> str:
        return f"{self.url}/saml/admin/fabrikam"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("draft")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    url = f"http://localhost:{listener.getsockname()[1]}"
    contoso = FakeEntra()
    settings = settings_for(directory, contoso, base_url=url)
    host = make_admin_host(lambda **options: make_host(directory, entra=contoso, settings=settings, **options))
    host.app.config["TESTING"] = False
    tries: tuple[tuple[Person, dict[str, Any]], ...] = (
        (ADELE, {}),
        (BIANCA, {}),
        (replace(ADELE, given_name="Ada"), {}),
        (ADELE, {"audiences": (("https://elsewhere.example/a/long/identifier/of/another/app",),)}),
        (replace(ADELE, email="x" * 300 + "@fabrikam.example"), {}),
    )
    for person, changes in tries:
        sign_in(Visitor({url: host.app}), FABRIKAM, person, f"{url}/saml/fabrikam/login", **changes)
    refused = next(row.reference for row in host.rows("samljit_attempt") if row.reason == "audience_mismatch")
    rows_of(host).save_draft(stored(host), DRAFT, author=OPERATOR)
    with served([(listener, host.app)]):
        yield Scene(host, url, add_user(host, FRED), refused)
    host.session.remove()
    host.engine.dispose()


def show_untested_draft(page: Page, scene: Scene) -> None:
    rows_of(scene.host).save_draft(stored(scene.host), DRAFT, author=OPERATOR)
    page.goto(f"{scene.place}/draft")


def show_tested_draft(page: Page, scene: Scene) -> None:
    rows_of(scene.host).save_draft(stored(scene.host), {"mapping": {"fields": DRAFT["mapping"]["fields"]}}, author=OPERATOR)  # type: ignore[index]  # JSON
    pass_test(scene.host)
    page.goto(f"{scene.place}/draft")


def show_broken_draft(page: Page, scene: Scene) -> None:
    rows_of(scene.host).save_draft(stored(scene.host), {**DRAFT, "mapping": {"fields": {"no_such": "x"}}, "name": "X"}, author=OPERATOR)
    page.goto(f"{scene.place}/draft")


def show_no_draft(page: Page, scene: Scene) -> None:
    rows_of(scene.host).save_draft(stored(scene.host), None, author=OPERATOR)
    page.goto(f"{scene.place}/draft")


def show_dropping(page: Page, scene: Scene) -> None:
    rows_of(scene.host).save_draft(stored(scene.host), DRAFT, author=OPERATOR)
    page.goto(f"{scene.place}/draft/drop")


def show_log(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/log")


def show_nothing_found(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/log?q=nobody")


def show_bad_search(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/log?since=yesterday&q=SJ-12&reason=x")


def show_refused_attempt(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.place}/log/{scene.refused}")


def show_good_attempt(page: Page, scene: Scene) -> None:
    show_log(page, scene)
    page.locator("table a").last.click()
    page.wait_for_url("**/log/SJ-*")


SHOWS: list[Callable[[Page, Scene], None]] = [
    show_untested_draft, show_tested_draft, show_broken_draft, show_no_draft, show_dropping, show_log, show_nothing_found, show_bad_search,
    show_refused_attempt, show_good_attempt,
]  # fmt: skip
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


def test_without_script_the_draft_goes_live_and_the_log_is_searched(chromium: Browser, scene: Scene) -> None:
    with opened(chromium, java_script_enabled=False) as page:
        enter(page, scene)
        show_log(page, scene)
        page.get_by_label("What happened").select_option("refused")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("tbody tr")).to_have_count(2)
        page.get_by_label("E-mail address or reference").fill(scene.refused.lower())
        page.get_by_role("button", name="Search").click()
        expect(page).to_have_url(f"{scene.place}/log/{scene.refused}")
        show_tested_draft(page, scene)
        page.get_by_role("button", name="Make the draft live").click()
        expect(page.get_by_role("status")).to_contain_text("The draft is live")
        show_untested_draft(page, scene)
        page.get_by_role("link", name="Drop the draft…").click()
        page.get_by_role("button", name="Drop the draft").click()
        expect(page.get_by_role("status")).to_contain_text("was dropped")


def test_the_details_of_an_attempt_are_copied_whole(chromium: Browser, scene: Scene) -> None:
    with opened(chromium, permissions=["clipboard-read", "clipboard-write"]) as page:
        enter(page, scene)
        show_refused_attempt(page, scene)
        page.get_by_role("button", name="Copy details").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        lines = page.evaluate("navigator.clipboard.readText()").splitlines()
        assert lines[0] == f"Reference: {scene.refused}"
        assert lines[2] == f"Address: {scene.url}/saml/fabrikam/acs"
        assert lines[3].endswith("(audience_mismatch)")
