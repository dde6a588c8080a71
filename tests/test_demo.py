"""The demo over HTTP: Northwind Reports and Fake Entra's pages, in a browser that enforces SameSite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine, select

from samljit import Reason, sign_in_refused, user_updated
from samljit.demo.directory import Directory
from samljit.demo.host import create_host
from samljit.demo.mishaps import MISHAPS
from samljit.demo.models import User
from samljit.demo.run import make_demo, what_to_try
from samljit.errors import CATALOGUE
from samljit.model import FieldAction, FieldDecision
from samljit.testing import Browser, Form, Page
from samljit.testing.people import GIVEN_NAME, GROUPS, GROUPS_LINK, claims_of

HOST, ENTRA = "http://localhost:5000", "http://127.0.0.1:5001"
MEGAN, MIRIAM, PRADEEP, LEE, ISAIAH, _ = Directory().all()
REFERENCE = re.compile(r"SJ-[0-9A-Z]{4}-[0-9A-Z]{4}")


@dataclass
class Demo:
    """Both apps, and what the signals said: reasons of refusals, decisions of updates."""

    host: Flask
    entra: Flask
    reasons: list[Reason] = field(default_factory=list)
    updates: list[dict[str, FieldDecision]] = field(default_factory=list)

    def browser(self) -> Browser:
        return Browser({HOST: self.host, ENTRA: self.entra})

    def users(self) -> list[dict[str, Any]]:
        engine: Engine = self.host.extensions["northwind.engine"]
        with engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(User.__table__))]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    host, entra = make_demo(base_url=HOST, entra_url=ENTRA, directory=tmp_path)
    made = Demo(host, entra)
    host.testing = entra.testing = True  # what goes wrong in a view is raised, not turned into a page

    @sign_in_refused.connect_via(host)
    def refused(_: Flask, reason: Reason, **__: Any) -> None:
        made.reasons.append(reason)

    @user_updated.connect_via(host)
    def updated(_: Flask, decisions: tuple[FieldDecision, ...], **__: Any) -> None:
        made.updates.append({decision.field: decision for decision in decisions})

    yield made
    host.extensions["northwind.engine"].dispose()


def pick(browser: Browser, account_id: str, *, mishap: str = "nothing") -> Page:
    """From the account picker to wherever the response leads."""
    browser.submit(browser.page.forms[0], {"account": account_id, "mishap": mishap})
    return browser.submit_saml_form()


def sign_in(browser: Browser, account: Any = MEGAN, *, path: str = "/", mishap: str = "nothing") -> Page:
    browser.get(f"{HOST}/saml/contoso/login?{urlencode({'next': path})}")
    return pick(browser, account.id, mishap=mishap)


def sign_out(browser: Browser) -> Page:
    browser.get(HOST)
    return browser.submit(next(form for form in browser.page.forms if form.action.endswith("/saml/logout")))


def edit(demo: Demo, account: Any, **values: str) -> None:
    browser = demo.browser()
    browser.get(f"{ENTRA}/people/{account.id}")
    browser.submit(browser.page.forms[0], values)


def badges(page: Page) -> list[str]:
    """What the home page says the last sign-in did."""
    return re.findall(r'class="badge (create|update|unchanged)"', page.text)


# --- the host app -----------------------------------------------------------------------------------------------------


def test_a_newcomer_becomes_a_user_with_every_mapped_claim(demo: Demo) -> None:
    page = sign_in(demo.browser())
    [user] = demo.users()
    assert (page.status, page.url, badges(page)) == (200, f"{HOST}/", ["create"])
    assert {name: user[name] for name in ("organization", "email", "first_name", "last_name", "display_name", "active")} == {
        "organization": "contoso",
        "email": "megan.bowen@contoso.example",
        "first_name": "Megan",
        "last_name": "Bowen",
        "display_name": "Megan Bowen",
        "active": True,
    }
    assert (user["department"], user["job_title"], user["locale"], user["app_roles"]) == ("Sales", "Account Manager", "en-GB", None)


def test_a_changed_claim_is_followed_and_told(demo: Demo) -> None:
    sign_in(demo.browser())
    edit(demo, MEGAN, department="", job_title="", given_name="Meg")
    page = sign_in(demo.browser())
    [user], [decisions] = demo.users(), demo.updates
    assert badges(page) == ["update"]
    assert (user["first_name"], user["department"], user["job_title"]) == ("Meg", None, "Account Manager")
    assert {name: decisions[name].action for name in ("first_name", "department", "job_title", "email")} == {
        "first_name": FieldAction.SET,
        "department": FieldAction.CLEARED,
        "job_title": FieldAction.KEPT,
        "email": FieldAction.UNCHANGED,
    }
    assert page.text.count('<tr class="changed">') == 2


def test_the_same_claims_again_write_nothing(demo: Demo) -> None:
    sign_in(demo.browser())
    before = demo.users()
    assert badges(sign_in(demo.browser())) == ["unchanged"]
    assert demo.users() == before


def test_every_decision_has_a_sentence(demo: Demo) -> None:
    for account in (MIRIAM, ISAIAH, ISAIAH, ISAIAH):
        page = sign_in(demo.browser(), account)
        sentences = re.findall(r'<td class="why">(.*?)</td>', page.text)
        assert len(sentences) == 8
        assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize("path", ["/reports", "/reports/7", "/reports/12?from=mail&x=%C3%A9", "/people"])
def test_a_deep_link_survives_the_sign_in(demo: Demo, path: str) -> None:
    browser = demo.browser()
    browser.get(HOST + path)
    page = pick(browser, MEGAN.id)
    assert (page.status, page.url) == (200, HOST + path)


def test_with_several_organisations_a_deep_link_leads_to_a_button_for_each(tmp_path: Path) -> None:
    mapping = {"fields": {"email": "emailaddress"}}
    tenants = {slug: {"name": slug.title(), "entra_tenant_id": str(uuid4()), "mapping": mapping} for slug in ("contoso", "fabrikam")}
    host = create_host(settings={"base_url": HOST, "tenants": tenants}, database_url=f"sqlite:///{tmp_path}/northwind.sqlite")
    page = Browser({HOST: host}).get(f"{HOST}/reports/7?x=1")
    host.extensions["northwind.engine"].dispose()
    buttons = [link.href for link in page.links if "/login" in link.href]
    assert buttons == [f"{HOST}/saml/{slug}/login?next=%2Freports%2F7%3Fx%3D1" for slug in tenants]


def test_after_signing_out_nothing_is_shown(demo: Demo) -> None:
    browser = demo.browser()
    sign_in(browser)
    assert sign_out(browser).text.count("megan") == 0
    assert browser.get(f"{HOST}/reports/7").url.startswith(ENTRA)


def test_signing_out_of_microsoft_too_comes_back_with_its_answer(demo: Demo) -> None:
    browser = demo.browser()
    sign_in(browser)
    sign_out(browser)
    page = browser.submit(browser.page.forms[0])
    assert (page.status, page.title, "You are signed out at Microsoft too" in page.text) == (200, "You are signed out", True)
    assert f"{ENTRA}/" in [hop.url.partition("aaaabbbb")[0] for hop in page.history]
    assert "Sign out" not in browser.get(ENTRA).text


def test_signing_out_of_fake_entra_signs_out_of_the_app(demo: Demo) -> None:
    browser, other = demo.browser(), demo.browser()
    sign_in(browser)
    sign_in(other, PRADEEP)
    browser.get(ENTRA)
    page = browser.click(next(link.href for link in browser.page.links if MEGAN.id in link.href and "sign-out" in link.href))
    assert (page.title, browser.get(f"{HOST}/reports").url.startswith(ENTRA)) == ("You are signed out", True)
    assert other.get(f"{HOST}/reports").url == f"{HOST}/reports"
    browser.get(f"{HOST}/")
    assert other.get(ENTRA).text.count("sign-out") == 1


def test_somebody_switched_off_stays_out_and_stays_off(demo: Demo) -> None:
    sign_in(demo.browser())
    boss = demo.browser()
    sign_in(boss, PRADEEP, path="/people")
    [switch] = [form for form in boss.page.forms if form.action.endswith("/active")]
    boss.submit(switch, {"active": "no"})
    page = sign_in(demo.browser())
    assert (page.status, demo.reasons) == (CATALOGUE[Reason.USER_INACTIVE].status, [Reason.USER_INACTIVE])
    assert {user["email"]: user["active"] for user in demo.users()} == {
        "megan.bowen@contoso.example": False,
        "pradeep.gupta@contoso.example": True,
    }


@pytest.mark.parametrize("user_id", [1, 99], ids=["oneself", "nobody"])
def test_only_colleagues_can_be_switched_off(demo: Demo, user_id: int) -> None:
    browser = demo.browser()
    sign_in(browser)
    page = browser.submit(Form(f"{HOST}/people/{user_id}/active"), {"active": "no"})
    assert (page.status, [user["active"] for user in demo.users()]) == (404, [True])


# --- Fake Entra's people ----------------------------------------------------------------------------------------------


def test_each_ready_person_shows_something_else() -> None:
    sent = {account.name: {claim.name: claim.values for claim in claims_of(account.person, "tenant")} for account in Directory().all()}
    assert [len(sent[account.name].get(GROUPS, ())) for account in (MEGAN, PRADEEP, LEE)] == [2, 150, 0]
    assert [account.name for account in Directory().all() if GROUPS_LINK in sent[account.name]] == [LEE.name]
    assert [account.name for account in Directory().all() if GIVEN_NAME not in sent[account.name]] == [MIRIAM.name]


@pytest.mark.parametrize("account", Directory().all(), ids=lambda account: account.initials)
def test_every_ready_person_can_sign_in(demo: Demo, account: Any) -> None:
    page = sign_in(demo.browser(), account)
    assert (page.status, badges(page), [user["display_name"] for user in demo.users()]) == (200, ["create"], [account.name])


def test_app_roles_take_turns_and_the_last_one_taken_away_is_gone(demo: Demo) -> None:
    roles = []
    for _ in range(4):
        sign_in(demo.browser(), ISAIAH)
        roles.append(demo.users()[0]["app_roles"])
    assert roles == [["Reports.Viewer"], ["Reports.Viewer", "Reports.Editor"], None, ["Reports.Viewer"]]


def test_somebody_new_can_be_added_on_the_way(demo: Demo) -> None:
    browser = demo.browser()
    browser.get(f"{HOST}/reports/7")
    asked = browser.page.url
    browser.click(next(link.href for link in browser.page.links if "/people/new" in link.href))
    page = browser.submit(browser.page.forms[0], {"display_name": "Zoë <b>Nowak</b>", "email": "Zoe.Nowak@contoso.example"})
    assert (page.url, "<b>Nowak" in page.text) == (asked, False)
    new_id = re.findall(r'name="account" value="([^"]+)"', page.text)[-1]
    assert pick(browser, new_id).url == f"{HOST}/reports/7"
    assert [(user["display_name"], user["email"]) for user in demo.users()] == [("Zoë <b>Nowak</b>", "zoe.nowak@contoso.example")]


def test_a_person_needs_a_name(demo: Demo) -> None:
    browser = demo.browser()
    browser.get(f"{ENTRA}/people/new")
    page = browser.submit(browser.page.forms[0], {"email": "nobody@contoso.example"})
    assert (page.status, page.forms[0].value("email")) == (422, "nobody@contoso.example")


def test_more_groups_than_entra_sends_become_a_link(demo: Demo) -> None:
    edit(demo, MEGAN, groups="\n".join(str(number) for number in range(151)))
    page = demo.browser().get(f"{ENTRA}/people/{MEGAN.id}")
    assert [name in page.text for name in (GROUPS_LINK, f'title="{GROUPS}"')] == [True, False]


# --- what goes wrong --------------------------------------------------------------------------------------------------

REFUSED = {
    "audience": Reason.AUDIENCE_MISMATCH,
    "expired": Reason.EXPIRED,
    "key": Reason.SIGNATURE_INVALID,
    "tampered": Reason.SIGNATURE_INVALID,
    "email": Reason.REQUIRED_CLAIM_MISSING,
    "status": Reason.STATUS_NOT_SUCCESS,
}


def test_every_mishap_is_tried_here() -> None:
    assert set(MISHAPS) == {*REFUSED, "nothing", "replay", "unsolicited"}


@pytest.mark.parametrize(("mishap", "reason"), REFUSED.items(), ids=REFUSED)
def test_a_response_gone_wrong_is_refused_and_tried_again_with_the_deep_link(demo: Demo, mishap: str, reason: Reason) -> None:
    browser = demo.browser()
    page = sign_in(browser, path="/reports/7", mishap=mishap)
    assert (page.status, demo.reasons, demo.users()) == (CATALOGUE[reason].status, [reason], [])
    assert REFERENCE.search(page.text)
    if not CATALOGUE[reason].can_retry:
        assert "Try again" not in page.text
        return
    browser.click("Try again")
    assert pick(browser, MEGAN.id).url == f"{HOST}/reports/7"


def test_a_response_posted_twice_is_refused(demo: Demo) -> None:
    browser = demo.browser()
    sign_in(browser)
    sign_out(browser)
    page = sign_in(browser, mishap="replay")
    assert (page.status, demo.reasons) == (CATALOGUE[Reason.REPLAYED].status, [Reason.REPLAYED])


def test_a_response_posted_twice_does_not_trouble_whom_it_signed_in(demo: Demo) -> None:
    browser = demo.browser()
    sign_in(browser)
    assert sign_in(browser, mishap="replay").url == f"{HOST}/"


def test_there_is_nothing_to_repeat_before_the_first_sign_in(demo: Demo) -> None:
    browser = demo.browser()
    browser.get(f"{HOST}/reports/7")
    page = browser.submit(browser.page.forms[0], {"account": MEGAN.id, "mishap": "replay"})
    assert (page.status, page.text.count('role="alert"'), page.forms[0].value("SAMLResponse")) == (200, 1, None)


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(lambda browser: browser.get(f"{ENTRA}/my-apps/start"), id="my-apps"),
        pytest.param(lambda browser: browser.get(f"{HOST}/saml/contoso/login"), id="in-place-of-an-answer"),
    ],
)
def test_what_was_not_asked_for_is_started_again_once_by_the_app(demo: Demo, begin: Callable[[Browser], Page]) -> None:
    browser = demo.browser()
    begin(browser)
    page = pick(browser, MEGAN.id, mishap="unsolicited")
    assert (page.url.startswith(f"{ENTRA}/"), "SAMLRequest" in page.url, demo.users()) == (True, True, [])
    assert (pick(browser, MEGAN.id).url, len(demo.users())) == (f"{HOST}/", 1)


def test_unsolicited_again_and_again_is_no_loop(demo: Demo) -> None:
    browser = demo.browser()
    browser.get(f"{ENTRA}/my-apps/start")
    pick(browser, MEGAN.id)
    page = pick(browser, MEGAN.id, mishap="unsolicited")
    assert (page.status, demo.reasons) == (CATALOGUE[Reason.UNSOLICITED].status, [Reason.UNSOLICITED] * 2)


# --- Fake Entra's refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("/aaaabbbb-0000-cccc-1111-dddd2222eeee/saml2", "AADSTS750054", id="no-request"),
        pytest.param("/another-directory/saml2", "AADSTS90002", id="no-such-directory"),
    ],
)
def test_an_address_without_a_good_request_is_refused(demo: Demo, path: str, code: str) -> None:
    page = demo.browser().get(ENTRA + path)
    assert (page.status, code in page.text, page.forms) == (400, True, ())


def test_an_app_that_is_not_registered_is_refused(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger, _ = make_demo(base_url="http://localhost:5010", entra_url=ENTRA, directory=tmp_path / "other")
    page = Browser({"http://localhost:5010": stranger, ENTRA: demo.entra}).get("http://localhost:5010/saml/contoso/login")
    stranger.extensions["northwind.engine"].dispose()
    assert (page.status, "AADSTS700016" in page.text) == (400, True)


def test_who_is_hinted_at_comes_first(demo: Demo) -> None:
    page = demo.browser().get(f"{HOST}/saml/contoso/login?login_hint=lee.gu@contoso.example")
    assert re.findall(r'name="account" value="([^"]+)"', page.text)[0] == LEE.id
    assert parse_qs(urlsplit(page.url).query)["login_hint"] == ["lee.gu@contoso.example"]


# --- every page -------------------------------------------------------------------------------------------------------

PAGES = [
    *(HOST + path for path in ("/", "/reports", "/reports/7", "/people", "/nowhere", "/reports/8")),
    *(ENTRA + path for path in ("/", "/my-apps/start", "/people/new", f"/people/{MEGAN.id}", "/people/nobody", "/nowhere")),
]


@pytest.mark.parametrize("url", PAGES)
def test_every_page_forbids_what_it_does_not_need(demo: Demo, url: str) -> None:
    browser = demo.browser()
    sign_in(browser)
    page = browser.get(url)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert (page.headers["X-Content-Type-Options"], page.headers["Cache-Control"]) == ("nosniff", "no-store")
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|(src|href)=\"https?://(?!localhost|127)", page.text)


def test_the_page_that_posts_names_where_it_may_post_to(demo: Demo) -> None:
    browser = demo.browser()
    browser.get(f"{HOST}/saml/contoso/login")
    page = browser.submit(browser.page.forms[0], {"account": MEGAN.id, "mishap": "nothing"})
    assert f"form-action 'self' {HOST};" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("is_installed", [True, False], ids=["with-flask-wtf", "without"])
def test_what_to_try_names_the_admin_pages_only_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    monkeypatch.setattr("samljit.demo.host.find_spec", lambda name: find_spec(name) if is_installed else None)
    host, _ = make_demo(base_url=HOST, entra_url=ENTRA, directory=tmp_path)
    told = what_to_try(host, HOST)
    host.extensions["northwind.engine"].dispose()
    assert ("Adele looks after" in told, "samljit[admin]" in told) == (is_installed, not is_installed)
