"""The demo in a real Chromium: what people see, and what a browser's cookie rules, reloads and "back" make of the two steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Response

from samljit.demo.run import make_demo
from samljit.demo.servers import listen, served
from tests.chromium import launched as launched
from tests.running_demo import Demo, free_port, running_demo

REFERENCE = re.compile(r"SJ-[0-9A-Z]{4}-[0-9A-Z]{4}")
PATIENCE = 15_000  # milliseconds
SETTLING = 200  # milliseconds; a page that goes on by itself does so now
_numbers = count(1)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@dataclass
class Tab:
    """A tab of a browser without cookies yet, and every answer it got. `host` is the app's address."""

    page: Page
    host: str
    answers: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        self.answers.append((response.status, response.url))

    @property
    def server_errors(self) -> list[tuple[int, str]]:
        return [answer for answer in self.answers if answer[0] >= 500]

    def open(self, path: str) -> None:
        self.page.goto(self.host + path)

    def new_person(self, given_name: str = "Alba") -> str:
        """On the account picker: adds somebody nobody else uses. Gives the name."""
        name = f"{given_name} {next(_numbers)}"
        self.page.get_by_role("link", name="Use another account").click()
        self.page.get_by_label("Display name").fill(name)
        self.page.get_by_label("Given name").fill(given_name)
        self.page.get_by_label("E-mail").fill(f"{name.replace(' ', '.')}@contoso.example")
        self.page.get_by_role("button", name="Add").click()
        return name

    def pick(self, name: str, *, mishap: str | None = None) -> None:
        if mishap:
            self.page.locator("summary").click()
            self.page.locator(f"input[name=mishap][value={mishap}]").check()
        self.page.get_by_role("button", name=f"{name} ", exact=False).click()

    def lands_on(self, path: str) -> None:
        self.page.wait_for_url(self.host + path)

    def sign_in(self, name: str | None = None, *, path: str = "/") -> str:
        """From the app's login page to `path`, as somebody new unless `name` says who. Gives the name."""
        self.open(f"/saml/contoso/login?next={path}")
        name = name or self.new_person()
        self.pick(name)
        self.lands_on(path)
        return name

    def sign_out(self) -> None:
        self.page.get_by_role("button", name="Sign out").click()
        self.page.get_by_role("heading", name="You are signed out").wait_for()
        self.page.get_by_role("link", name="Go to the start page").click()
        self.page.get_by_role("link", name="Sign in with Microsoft").wait_for()

    def record(self) -> dict[str, str]:
        """The user record as the home page shows it."""
        rows = self.page.locator("table.record tr").all()
        return {row.locator("th").inner_text(): row.locator("td").inner_text() for row in rows}

    def outcome(self) -> str | None:
        """What the home page says the last sign-in did: create, update or unchanged."""
        return (self.page.locator(".card .badge").get_attribute("class") or "").rpartition(" ")[2]


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def tab(context: BrowserContext, demo: Demo) -> Iterator[Tab]:
    tab = Tab(context.new_page(), demo.host)
    yield tab
    assert tab.server_errors == []


# --- what people see --------------------------------------------------------------------------------------------------


def test_signing_out_of_microsoft_too_ends_at_a_page_that_says_so(tab: Tab) -> None:
    tab.sign_in()
    tab.page.get_by_role("button", name="Sign out").click()
    tab.page.get_by_role("heading", name="You are signed out").wait_for()
    tab.page.get_by_role("button", name="Sign out of Microsoft too").click()
    tab.page.get_by_text("You are signed out at Microsoft too").wait_for()
    tab.page.wait_for_timeout(SETTLING)
    assert "SAMLResponse" not in tab.page.url
    assert any(status == 303 and "/saml2?SAMLRequest=" in url for status, url in tab.answers)
    tab.page.reload()
    tab.page.get_by_text("You are signed out at Microsoft too").wait_for()
    tab.open("/")
    tab.page.get_by_role("link", name="Sign in with Microsoft").wait_for()


def test_a_quiet_try_comes_back_without_a_word(tab: Tab) -> None:
    tab.open("/saml/contoso/login?passive=1&next=/%3Ftried")
    tab.lands_on("/?tried")
    tab.page.get_by_role("link", name="Sign in with Microsoft").wait_for()
    assert [url for status, url in tab.answers if status >= 400] == []


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
def test_signing_out_of_fake_entra_signs_out_of_the_app(context: BrowserContext, same_site: str, tmp_path: Path) -> None:
    port = free_port()
    base_url, entra_url = f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}"
    host, entra = make_demo(base_url=base_url, entra_url=entra_url, directory=tmp_path)
    host.config["SESSION_COOKIE_SAMESITE"] = same_site
    with served([(listen("localhost", port), host), (listen("127.0.0.1", port + 1), entra)]):
        tab = Tab(context.new_page(), base_url)
        name = tab.sign_in()
        tab.page.goto(entra_url)
        tab.page.get_by_role("link", name=f"Sign out {name} of Fake Entra").click()
        tab.page.get_by_role("heading", name="You are signed out").wait_for()
        assert "SAMLRequest" not in tab.page.url
        tab.open("/")
        tab.page.get_by_role("link", name="Sign in with Microsoft").wait_for()
        assert tab.server_errors == []
    host.extensions["northwind.engine"].dispose()


def test_a_link_on_another_site_asks_before_it_signs_out(tab: Tab, demo: Demo) -> None:
    tab.sign_in()
    tab.page.goto(demo.entra)
    tab.page.evaluate(f"location.href = '{demo.host}/saml/logout?everywhere=1'")
    tab.page.get_by_role("heading", name="Sign out?").wait_for()
    tab.page.get_by_role("link", name="Stay signed in").click()
    assert tab.page.get_by_role("button", name="Sign out").count() == 1
    tab.open("/saml/logout")
    tab.page.get_by_role("button", name="Sign out of Microsoft too").click()
    tab.page.get_by_text("You are signed out at Microsoft too").wait_for()


def test_a_record_is_made_then_follows_a_claim_then_rests(tab: Tab) -> None:
    name = tab.sign_in()
    made = tab.record()
    assert (tab.outcome(), made["Display name"], made["First name"], made["Department"]) == ("create", name, "Alba", "\N{EN DASH}")

    tab.sign_out()
    tab.page.get_by_role("link", name="Sign in with Microsoft").click()
    tab.page.get_by_role("link", name=f"Edit the claims of {name}", exact=True).click()
    tab.page.get_by_label("Department").fill("Research")
    tab.page.get_by_role("button", name="Save").click()
    tab.pick(name)
    tab.lands_on("/")
    changed = tab.record()
    assert (tab.outcome(), changed["Department"]) == ("update", "Research")
    assert tab.page.locator("tr.changed th").all_inner_texts() == ["Department"]
    assert {key for key in made if made[key] != changed[key]} <= {"Department", "Updated"}

    tab.sign_out()
    tab.sign_in(name)
    assert (tab.outcome(), tab.record()) == ("unchanged", changed)


def test_markup_and_hidden_characters_in_a_claim_end_as_plain_text(tab: Tab) -> None:
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    tab.open("/saml/contoso/login?next=/")
    tab.page.get_by_role("link", name="Use another account").click()
    tab.page.get_by_label("Display name").fill("<img src=x onerror=alert(1)>\u202etxt.exe\u2066\u200b {{7*7}}")
    tab.page.get_by_label("E-mail").fill("marked.up@contoso.example")
    tab.page.get_by_role("button", name="Add").click()
    tab.page.get_by_role("button", name="marked.up@contoso.example").click()
    tab.lands_on("/")
    assert tab.record()["Display name"] == "<img src=x onerror=alert(1)>txt.exe {{7*7}}"
    assert (tab.page.locator("img[src=x]").count(), dialogs) == (0, [])


def test_a_deep_link_is_kept_through_the_whole_sign_in(tab: Tab) -> None:
    tab.open("/reports/12?from=mail")
    tab.pick(tab.new_person())
    tab.lands_on("/reports/12?from=mail")
    assert tab.page.locator("h1").inner_text() == "Orders by month"


@pytest.mark.parametrize("mishap", ["expired", "key", "tampered", "email", "status"])
def test_a_refusal_has_a_reference_and_another_try_keeps_the_deep_link(tab: Tab, mishap: str) -> None:
    tab.open("/reports/7")
    name = tab.new_person()
    tab.pick(name, mishap=mishap)
    tab.lands_on("/saml/contoso/acs")
    assert [status for status, url in tab.answers if url.endswith("/acs")] == [403]
    assert REFERENCE.fullmatch(tab.page.locator("code").inner_text())
    tab.page.get_by_role("link", name="Try again").click()
    tab.pick(name)
    tab.lands_on("/reports/7")


@pytest.mark.parametrize("switches", [True, False], ids=["switch", "stay"])
def test_signing_in_as_somebody_else_is_asked(tab: Tab, *, switches: bool) -> None:
    first = tab.sign_in()
    tab.open("/saml/contoso/login?next=/reports/7")
    second = tab.new_person("Bruno")
    tab.pick(second)
    tab.page.wait_for_url("**/finish*")
    if switches:
        tab.page.get_by_role("button").click()
        tab.lands_on("/reports/7")
    else:
        tab.page.locator("form a").click()
        tab.lands_on("/")
    tab.open("/")
    assert tab.record()["Display name"] == (second if switches else first)


def test_a_response_posted_twice_is_refused(tab: Tab) -> None:
    name = tab.sign_in()
    tab.sign_out()
    tab.open("/reports/7")
    tab.pick(name, mishap="replay")
    tab.page.get_by_role("heading", level=1).wait_for()
    tab.page.wait_for_url("**/finish*")
    assert REFERENCE.fullmatch(tab.page.locator("code").inner_text())
    tab.open("/")
    assert tab.page.get_by_role("button", name="Sign out").count() == 0


def test_a_tile_in_my_apps_ends_in_a_sign_in_that_the_app_began(tab: Tab, demo: Demo) -> None:
    tab.page.goto(demo.entra)
    tab.page.get_by_role("link", name="Northwind Reports").click()
    tab.pick("Megan Bowen")
    tab.page.wait_for_url(re.compile(r".*/saml2\?SAMLRequest=.*"))
    tab.pick("Megan Bowen")
    tab.lands_on("/")
    assert tab.record()["Display name"] == "Megan Bowen"


def test_without_script_a_button_goes_on(chromium: Browser, demo: Demo) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    tab = Tab(context.new_page(), demo.host)
    tab.open("/reports/7")
    tab.pick("Pradeep Gupta")
    tab.page.get_by_role("button", name="Continue").click()
    tab.lands_on("/reports/7")
    context.close()


# --- reload, back and forward, wherever the sign-in has come to ---------------------------------------------------------


def stop_at_picker(tab: Tab) -> None:
    tab.open("/reports/7")


def stop_at_fake_entras_post(tab: Tab) -> None:
    tab.page.route("**/autopost.js", lambda route: route.fulfill(body=""))
    tab.open("/reports/7")
    tab.pick(tab.new_person())


def stop_at_the_acs(tab: Tab) -> None:
    """On the tiny page between the two steps: at 204 a browser stays where it is."""
    tab.page.route("**/finish*", lambda route: route.fulfill(status=204))
    tab.open("/reports/7")
    tab.pick(tab.new_person())
    tab.page.wait_for_url("**/acs")


def stop_at_the_question(tab: Tab) -> None:
    tab.sign_in()
    tab.open("/saml/contoso/login?next=/reports/7")
    tab.pick(tab.new_person("Bruno"))
    tab.page.wait_for_url("**/finish*")


def stop_at_the_page_wanted(tab: Tab) -> None:
    tab.sign_in(path="/reports/7")


def stop_at_a_refusal(tab: Tab) -> None:
    tab.open("/reports/7")
    tab.pick(tab.new_person(), mishap="audience")
    tab.page.wait_for_url("**/acs")


def stop_at_a_replay(tab: Tab) -> None:
    name = tab.sign_in()
    tab.sign_out()
    tab.open("/reports/7")
    tab.pick(name, mishap="replay")
    tab.page.wait_for_url("**/finish*")


STOPS = [
    stop_at_picker, stop_at_fake_entras_post, stop_at_the_acs, stop_at_the_question, stop_at_the_page_wanted, stop_at_a_refusal,
    stop_at_a_replay,
]  # fmt: skip


def move(step: Callable[[], Any]) -> None:
    try:
        step()
    except Error as error:
        # Chromium asks people before it posts a form again, and shows the first where there is nobody to ask; the second is our 204
        if "ERR_CACHE_MISS" not in str(error) and "ERR_ABORTED" not in str(error):
            raise


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__.removeprefix("stop_at_"))
@pytest.mark.parametrize("moves", ["reload reload", "go_back", "go_back go_forward", "reload go_back go_back reload"])
def test_reload_and_back_never_break_anything(tab: Tab, stop: Callable[[Tab], None], moves: str) -> None:
    stop(tab)
    tab.page.wait_for_timeout(SETTLING)
    for name in moves.split():
        move(getattr(tab.page, name))
        tab.page.wait_for_timeout(SETTLING)
    tab.page.unroute_all()
    assert tab.server_errors == []
    tab.page.context.clear_cookies()
    # in another tab: what Chromium still shows of the last move can come in between in this one
    Tab(tab.page.context.new_page(), tab.host).sign_in(path="/reports/7")


def test_an_impatient_reload_between_the_two_steps_still_signs_in(tab: Tab) -> None:
    stop_at_the_acs(tab)
    move(tab.page.reload)
    tab.page.wait_for_timeout(SETTLING)
    tab.page.unroute_all()
    assert [status for status, url in tab.answers if url.endswith("/acs")] == [200, 200]
    tab.page.get_by_role("link").click()
    tab.lands_on("/reports/7")


def test_the_way_to_the_page_wanted_leaves_no_step_to_go_back_to(tab: Tab) -> None:
    tab.open("/")
    tab.page.get_by_role("link", name="Sign in with Microsoft").click()
    tab.pick("Lee Gu")
    tab.lands_on("/")
    move(tab.page.go_back)
    assert re.fullmatch(r".*/saml2\?SAMLRequest=.*", tab.page.url)
    move(tab.page.go_forward)
    assert tab.page.get_by_role("button", name="Sign out").count() == 1


def test_two_tabs_finish_in_any_order(tab: Tab, context: BrowserContext, demo: Demo) -> None:
    other = Tab(context.new_page(), demo.host)
    tab.open("/reports/7")
    other.open("/reports/23")
    tab.pick("Isaiah Langer")
    tab.lands_on("/reports/7")
    other.pick("Isaiah Langer")
    other.lands_on("/reports/23")
    assert other.server_errors == []


# --- the host's own cookie rules --------------------------------------------------------------------------------------


@pytest.fixture(params=[None, "Lax", "Strict"], ids=["unset", "lax", "strict"])
def strict_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of the demo's host app with this SESSION_COOKIE_SAMESITE, on localhost, with Fake Entra on 127.0.0.1."""
    port = free_port()
    host_url, entra_url = f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}"
    host, entra = make_demo(base_url=host_url, entra_url=entra_url, directory=tmp_path)
    host.config["SESSION_COOKIE_SAMESITE"] = request.param
    with served([(listen("localhost", port), host), (listen("127.0.0.1", port + 1), entra)]):
        yield host_url
    host.extensions["northwind.engine"].dispose()


def test_every_samesite_rule_keeps_the_deep_link_and_the_session(context: BrowserContext, strict_host: str) -> None:
    tab = Tab(context.new_page(), strict_host)
    tab.open("/reports/7")
    tab.pick("Megan Bowen")
    tab.lands_on("/reports/7")
    asked = [url for _, url in tab.answers if "/saml2?" in url]
    tab.page.get_by_role("link", name="People").click()
    tab.lands_on("/people")
    assert tab.page.locator("tbody th").all_inner_texts() == ["Megan Bowen You"]
    assert (len(asked), tab.server_errors) == (2, [])  # the picker and its answer, once: no sign-in loop


def test_every_samesite_rule_asks_before_it_switches(context: BrowserContext, strict_host: str) -> None:
    tab = Tab(context.new_page(), strict_host)
    tab.open("/reports/7")
    tab.pick("Megan Bowen")
    tab.lands_on("/reports/7")
    tab.open("/saml/contoso/login?next=/reports/12")
    tab.pick("Lee Gu")
    tab.page.wait_for_url("**/finish*")
    tab.page.get_by_role("button").click()
    tab.lands_on("/reports/12")
    assert tab.page.locator(".who").inner_text() == "Lee Gu"
