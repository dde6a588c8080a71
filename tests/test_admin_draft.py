"""The draft: what would change, in plain words; who makes it live, when, and what is caught; how it is dropped."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from samljit import AdminAction
from samljit.model import Tenant
from samljit.sql.audit import AuditAction
from samljit.sql.stored import DraftRefused, StaleEdit
from samljit.testing import Browser, FakeEntra, Form, Page, sign_in, signing_key
from tests.admin_host import (
    ADMINS,
    BASE,
    FABRIKAM,
    OPERATOR,
    add_user,
    browser_of,
    make_admin_host,
    pass_test,
    rows_of,
    stored,
)
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, ORIGIN, Host
from tests.trust.test_test_sign_in import begin, post, respond

FRED = "fred@fabrikam.example"
DRAFT = f"{BASE}/fabrikam/draft"
LOGIN = f"{ORIGIN}/saml/fabrikam/login"
NEW_KEY = FakeEntra(FABRIKAM.tenant_id, keys=[signing_key("of the draft")])
ELSEWHERE = FakeEntra("ddddeeee-3333-ffff-4444-000000000000")
NOTHING = "\N{EN DASH}"
MAPPING = {"mapping": {"fields": {**FIELDS, "departments": {"value": ["new"]}}}}


def idp(entra: FakeEntra) -> dict[str, Any]:
    return {"idp": {"metadata": entra.metadata().decode()}, "entra_tenant_id": entra.tenant_id}


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, FRED)


def save(host: Host, draft: dict[str, Any]) -> None:
    rows_of(host).save_draft(stored(host), draft, author=OPERATOR)


def words(page: Page) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def form_of(page: Page, name: str) -> Form:
    [form] = [one for one in page.forms if one.action.endswith(f"/draft/{name}")]
    return form


def differences(page: Page) -> dict[str, tuple[str, str]]:
    """What the tables of the page say, by name."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", page.text, re.DOTALL):
        cells = [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        if len(cells) == 3 and "<th scope=\"row\"" in row:
            found[cells[0]] = (cells[1], cells[2])
    return found


def actions(host: Host) -> list[str]:
    return [row.action for row in host.rows("samljit_audit")]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_without_a_draft_it_says_so_and_has_nothing_to_send(host: Host, browser: Browser) -> None:
    page = browser.get(DRAFT)
    assert ("There is no draft" in page.text, page.forms) == (True, ())
    assert browser.get(f"{DRAFT}/drop").url == browser.get(f"{DRAFT}/go-live").url == DRAFT


def test_a_connection_is_told_by_issuer_address_directory_and_thumbprints_never_as_xml(host: Host, browser: Browser) -> None:
    save(host, idp(ELSEWHERE))
    page = browser.get(DRAFT)
    found = differences(page)
    assert found["Microsoft Entra Identifier"] == (FABRIKAM.entity_id, ELSEWHERE.entity_id)
    assert found["Login URL"] == (FABRIKAM.sso_url, ELSEWHERE.sso_url)
    assert found["Tenant ID"] == (FABRIKAM.tenant_id, ELSEWHERE.tenant_id)
    assert "EntityDescriptor" not in page.text
    assert "MII" not in page.text


def test_only_certificates_that_come_or_go_are_told(host: Host, browser: Browser) -> None:
    both = FakeEntra(FABRIKAM.tenant_id, keys=[*FABRIKAM.keys, signing_key("another")])
    save(host, {"idp": {"metadata": both.metadata().decode()}})
    found = differences(browser.get(DRAFT))
    assert list(found) == ["Certificate"]
    assert (found["Certificate"][0], found["Certificate"][1].startswith("thumbprint ")) == (NOTHING, True)


def test_every_rule_of_the_mapping_is_told_in_words(host: Host, browser: Browser) -> None:
    fields = {
        "email": {"source": ["emailaddress", "NameID"], "transform": ["lowercase", {"map": {"a": "b"}}], "required": True},
        "first_name": {"source": "givenname", "on_missing": "clear", "multi": "single"},
        "display_name": {"template": "{surname} {givenname}", "sync_mode": "on_create", "default": "?"},
        "departments": {"value": ["new"]},
    }
    roles = {"source": ["groups"], "map": {"g1": ["editor"]}, "notes": {"g1": "Berlin"}, "on_missing": "keep", "default": ["viewer"]}
    policy = {"guests": "deny", "allowed_domains": ["fabrikam.example"], "require": [{"source": "groups", "any_of": ["g1"]}]}
    identity = {"source": "emailaddress", "match": "email_deny"}
    save(host, {"mapping": {"identity": identity, "fields": fields, "roles": roles, "policy": policy, "sync_mode": "on_create"}})
    found = differences(browser.get(DRAFT))
    assert found["email"] == (
        "The first of these claims that has a value: emailaddress, name; in lower case; nobody gets in without it",
        "The first of these claims that has a value: emailaddress, NameID; in lower case; with values replaced: a → b; "
        "nobody gets in without it",
    )
    assert found["first_name"] == ("The claim givenname", "The claim givenname; one value only; cleared when nothing comes")
    assert found["last_name"] == ("The claim surname", NOTHING)
    assert found["display_name"][1] == (
        "Put together as “{surname} {givenname}”; “?” for a new user when nothing comes; written only when the user is made"
    )
    assert found["departments"] == (NOTHING, "Always “new”")
    assert found["People are known by the claim"] == ("objectidentifier", "emailaddress")
    assert found["Newcomers are looked for among the users"][1] == "refused where a user has the same e-mail"
    assert found["g1 (Berlin)"] == (NOTHING, "editor")
    assert found["Roles of everybody else"] == (NOTHING, "viewer")
    assert found["Guests of the directory"] == ("let in", "refused")
    assert found["Only who has one of these values"] == (NOTHING, "groups: g1")
    assert found["Fields are written"] == ("at every sign-in", "only when the user is made")


@pytest.mark.parametrize(
    "draft",
    [
        {"mapping": []},
        {"mapping": {"fields": 3, "roles": "x", "policy": [1]}},
        {"mapping": {"fields": {"email": {"source": {}, "transform": "x", "required": "<b>", "value": [None]}, "x" * 99: 4}}},
        {"mapping": {"identity": [], "roles": {"map": [], "notes": 4, "source": 5}}},
        {"mapping": {"policy": {"require": [3, {"source": None}], "max_users": {}}}},
        {"idp": "x", "entra_tenant_id": {"a": "‮<script>"}},
        {"idp": {"metadata": "<a"}},
    ],
    ids=lambda draft: str(draft)[:40],
)
def test_whatever_stands_in_a_draft_it_can_be_looked_at_and_dropped_and_never_goes_live(
    host: Host, browser: Browser, draft: dict[str, Any]
) -> None:
    save(host, draft)
    page = browser.get(DRAFT)
    assert (page.status, "cannot go live as it is" in page.text) == (200, True)
    assert ("<script>alert" in page.text, "<b>" in page.text, "‮" in page.text) == (False, False, False)
    pass_test(host)
    browser.submit(form_for(browser, "go-live"))
    assert stored(host).draft == draft
    assert browser.submit(form_of(browser.get(f"{DRAFT}/drop"), "drop")).url == DRAFT
    assert stored(host).draft is None


def form_for(browser: Browser, name: str) -> Form:
    """The form of the page, or where there is none, one as somebody would write it by hand with the token of another page."""
    dropping = form_of(browser.get(f"{DRAFT}/drop"), "drop")
    return replace(dropping, action=f"{DRAFT}/{name}")


def test_how_many_would_become_newcomers_is_said_plainly(host: Host, browser: Browser) -> None:
    for person in (ADELE, BIANCA):
        sign_in(host.browser(), FABRIKAM, person, LOGIN)
    save(host, MAPPING)
    page = words(browser.get(DRAFT))
    assert ("people are linked to a user here 2" in page, "would become newcomers 0" in page, "not be known" in page) == (True, True, False)
    save(host, idp(ELSEWHERE))
    page = words(browser.get(DRAFT))
    assert "2 people would not be known any more" in page
    assert "new and empty user record beside the old one" in page
    save(host, {"mapping": {"identity": {"source": "emailaddress"}, "fields": FIELDS, "policy": {"create_users": False}}})
    page = words(browser.get(DRAFT))
    assert "2 people would not be known any more" in page
    assert "by the claim objectidentifier, and would be by emailaddress" in page
    assert "newcomers get no user record" in page


def test_who_did_what_since_it_was_begun_is_told_and_nothing_from_before(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    rows_of(host).save_draft(stored(host), None, author=replace(OPERATOR, name="somebody before"))
    save(host, MAPPING)
    begun, asked = begin(host, browser)
    post(begun, respond(asked, entra=FABRIKAM))
    page = words(browser.get(DRAFT))
    since = page[page.index("Since the draft was begun") :]
    assert ("Saved the draft" in since, "Tested the draft with success" in since, FRED in since) == (True, True, True)
    assert "somebody before" not in page
    assert "just as it is" in page


# --- going live -------------------------------------------------------------------------------------------------------


def test_a_tested_draft_goes_live_at_once_on_every_worker(mount: Mount, host: Host, browser: Browser) -> None:
    other = make_worker(mount, host)
    sign_in(other.browser(), FABRIKAM, ADELE, LOGIN)  # it knows the tenant as it was
    save(host, {**idp(NEW_KEY), **MAPPING})
    begun, asked = begin(host, browser)
    post(begun, respond(asked, entra=NEW_KEY))
    page = browser.submit(form_of(browser.get(DRAFT), "go-live"))
    assert (page.url, page.history[-2].status, "The draft is live" in page.text) == (f"{BASE}/fabrikam/", 303, True)
    now = stored(host)
    assert (now.draft, now.live["mapping"], now.revision, actions(host)[-1]) == (None, MAPPING["mapping"], 2, AuditAction.DRAFT_LIVE)
    assert host.rows("samljit_audit")[-1].changed_by.startswith(FRED)
    assert sign_in(other.browser(), NEW_KEY, BIANCA, LOGIN).text.startswith("user ")
    assert sign_in(other.browser(), FABRIKAM, BIANCA, LOGIN).status == 403
    assert {user["email"]: user["departments"] for user in host.users()}[BIANCA.email] == ["new"]


def make_worker(mount: Mount, host: Host) -> Host:
    """Another process of the same app: the same database and keys, and nothing of what the first one remembers."""
    return mount(
        url=str(host.engine.url),
        settings=host.app.config["SAMLJIT_SETTINGS"],
        tenant_fields=lambda tenant: {},
        is_privileged=lambda user: user.is_admin,
    )


@pytest.mark.parametrize("tested", [False, True], ids=["never", "before the last change"])
def test_an_untested_draft_has_no_button_and_is_refused(host: Host, browser: Browser, tested: bool) -> None:
    save(host, MAPPING)
    if tested:
        pass_test(host)
        save(host, {"mapping": {"fields": FIELDS, "sync_mode": "on_create"}})
    draft = stored(host).draft
    page = browser.get(DRAFT)
    assert ([form for form in page.forms if "go-live" in form.action], "has not passed a test yet" in page.text) == ([], True)
    page = browser.submit(form_for(browser, "go-live"))
    assert ("did not go live" in page.text, stored(host).draft, stored(host).revision) == (True, draft, 1)


@pytest.mark.parametrize(
    "foreign",
    [
        {"domains": ["contoso.example"]},
        {"domains": ["fabrikam.example", "victim.example"]},
        {"entity_id": "https://app.example.com/saml/contoso/metadata"},
        {"break_glass": ["mallory@evil.example"]},
        {"require_sso": True},
        {"enabled": False},
        {"offer_sso": False},
        {"max_users": 5000},
        {"preset": "generic"},
        {"name": "Contoso"},
        {"require_signature": "response"},
        {"accept_expired_certificates": True},
        {"allow_idp_initiated": True},
        {"allow_rsa15": True},
        {"log_values_until": "2999-01-01"},
        {"sign_requests": None},
        {"something_new": 1},
    ],
    ids=lambda foreign: next(iter(foreign)),
)
def test_a_draft_makes_nothing_live_but_what_a_draft_may_change(host: Host, browser: Browser, foreign: dict[str, Any]) -> None:
    save(host, {**MAPPING, **foreign})
    pass_test(host)
    before = stored(host)
    page = browser.get(DRAFT)
    assert ("A draft may not change this" in page.text, "go-live" in page.text) == (True, False)
    browser.submit(form_for(browser, "go-live"))
    with pytest.raises(DraftRefused):
        rows_of(host).go_live(before, author=OPERATOR)
    assert (stored(host).live, stored(host).draft) == (before.live, before.draft)


def test_a_draft_that_no_longer_fits_is_refused_although_it_was_tested(host: Host, browser: Browser) -> None:
    save(host, {"mapping": {"fields": {**FIELDS, "no_such_column": "givenname"}}})
    pass_test(host)
    page = browser.get(DRAFT)
    assert ("no_such_column" in page.text, "cannot go live" in page.text) == (True, True)
    browser.submit(form_for(browser, "go-live"))
    assert stored(host).revision == 1


def test_with_a_warning_it_goes_live(host: Host, browser: Browser) -> None:
    save(host, {"mapping": {"identity": {"source": "emailaddress"}, "fields": FIELDS}})
    pass_test(host)
    page = browser.get(DRAFT)
    assert "To think about" in page.text
    browser.submit(form_of(page, "go-live"))
    assert stored(host).revision == 2


# --- somebody else was faster -----------------------------------------------------------------------------------------


def test_what_changed_since_the_page_was_opened_is_caught_and_shown(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    pass_test(host)
    form = form_of(browser.get(DRAFT), "go-live")
    save(host, {"mapping": {"fields": {**FIELDS, "last_name": "givenname"}}})
    pass_test(host)  # tested, too: but not what was looked at
    page = browser.submit(form)
    assert (page.status, OPERATOR.name in page.text, "The claim givenname" in page.text) == (409, True, True)
    assert stored(host).revision == 1
    browser.submit(form_of(page, "go-live"))  # looked at now
    assert (stored(host).revision, stored(host).live["mapping"]["fields"]["last_name"]) == (2, "givenname")


def test_of_two_who_make_it_live_one_does(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    pass_test(host)
    forms = [form_of(browser.get(DRAFT), "go-live") for _ in range(2)]
    first, second = (browser.submit(form) for form in forms)
    assert (first.history[-2].status, second.status) == (303, 409)
    assert (stored(host).revision, actions(host).count(AuditAction.DRAFT_LIVE)) == (2, 1)


@pytest.mark.parametrize("what", ["edit", "test", "live"])
def test_what_happens_between_the_check_and_the_write_keeps_it_from_going_live(host: Host, what: str) -> None:
    """The page has read the tenant, and found it tested; then somebody else writes."""
    save(host, MAPPING)
    pass_test(host)
    read, rows = stored(host), rows_of(host)
    if what == "edit":
        save(host, {"mapping": {"fields": {**FIELDS, "last_name": "givenname"}}})
    elif what == "test":  # one that fails, of just this draft
        assert rows.record_test("fabrikam", {}, nonce="other", draft_revision=read.draft_revision, replaces=True)
    else:
        rows.change(read, {"sign_requests": False, "name": "B"}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    before = stored(host)
    with pytest.raises(StaleEdit):
        rows.go_live(read, author=OPERATOR)
    assert (stored(host), actions(host).count(AuditAction.DRAFT_LIVE)) == (before, 0)


def test_going_live_and_dropping_at_the_same_time_do_not_both_happen(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    pass_test(host)
    going, dropping = form_of(browser.get(DRAFT), "go-live"), form_of(browser.get(f"{DRAFT}/drop"), "drop")
    assert browser.submit(dropping).url == DRAFT
    assert browser.submit(going).status == 409
    assert (stored(host).revision, stored(host).draft) == (1, None)


# --- dropping ---------------------------------------------------------------------------------------------------------


def test_what_is_dropped_is_shown_first_and_recorded(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    page = browser.get(f"{DRAFT}/drop")
    assert differences(page)["departments"] == (NOTHING, "Always “new”")
    page = browser.submit(form_of(page, "drop"))
    assert (page.url, "was dropped" in page.text, stored(host).draft) == (DRAFT, True, None)
    assert (actions(host)[-1], host.rows("samljit_audit")[-1].changed_by.startswith(FRED)) == (AuditAction.DRAFT_DROPPED, True)
    assert stored(host).revision == 1


def test_a_draft_that_changed_meanwhile_is_not_dropped_unseen(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    form = form_of(browser.get(f"{DRAFT}/drop"), "drop")
    save(host, {"mapping": {"fields": {**FIELDS, "last_name": {"value": "seen"}}}})
    page = browser.submit(form)
    assert (page.status, "Always “seen”" in page.text, stored(host).draft is None) == (409, True, False)


# --- who may ----------------------------------------------------------------------------------------------------------

A = AdminAction


@pytest.mark.parametrize(
    ("actions", "live", "drop", "told"),
    [
        pytest.param({A.VIEW}, 404, 404, "You may not make it live", id="view"),
        pytest.param({A.VIEW, A.EDIT}, 404, 303, "You may not make it live", id="edit"),
        pytest.param({A.VIEW, A.GO_LIVE}, 303, 404, "Make the draft live", id="go live"),
        pytest.param({A.GO_LIVE, A.EDIT}, 404, 404, None, id="without view"),
        pytest.param(set(A) - {A.VIEW}, 404, 404, None, id="all but view"),
    ],
)
def test_each_does_what_the_host_lets_them_and_reads_whose_turn_it_is(
    mount: Mount, actions: set[AdminAction], live: int, drop: int, told: str | None
) -> None:
    all_of = {FRED: set(A), "eve@fabrikam.example": actions}

    def authorize(user: Any, tenant: Tenant, action: AdminAction) -> bool:
        return tenant.slug == "fabrikam" and action in all_of.get(user.email, ())

    host = make_admin_host(mount, authorize=authorize)
    save(host, MAPPING)
    pass_test(host)
    eve = browser_of(host, "eve@fabrikam.example")
    page = eve.get(DRAFT)
    assert page.status == (200 if told else 404)
    if told:
        names = [form.action.rpartition("/")[2] for form in page.forms]
        assert (told in page.text, "go-live" in names, "/draft/drop" in page.text) == (True, live == 303, drop == 303)
    for name, status in (("go-live", live), ("drop", drop)):
        if status == 404:
            assert eve.submit(Form(f"{DRAFT}/{name}")).status == 404
            assert (stored(host).revision, stored(host).draft is None) == (1, False)
    if live == 303:
        eve.submit(form_of(page, "go-live"))
        assert stored(host).revision == 2
    if drop == 303:
        eve.submit(form_of(eve.get(f"{DRAFT}/drop"), "drop"))
        assert stored(host).draft is None


def test_without_a_token_nothing_goes_live_and_nothing_is_dropped(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    pass_test(host)
    browser.get(DRAFT)
    for name in ("go-live", "drop"):
        for fields in ((), (("csrf_token", "x"), ("seen", "1.1.1"))):
            assert browser.submit(Form(f"{DRAFT}/{name}", fields=fields)).status == 400
    thief = browser_of(host, None)
    thief.get(f"{ORIGIN}/enter/{add_user(host, 'second@fabrikam.example')}")
    ADMINS["second@fabrikam.example"] = ("fabrikam",)
    try:
        assert thief.submit(form_of(browser.get(DRAFT), "go-live")).status == 400
    finally:
        del ADMINS["second@fabrikam.example"]
    assert (stored(host).revision, stored(host).draft) == (1, MAPPING)


def test_a_tenant_of_the_settings_has_no_draft_and_takes_no_answer(host: Host) -> None:
    browser = browser_of(host, "cara@contoso.example")
    page = browser.get(f"{BASE}/contoso/draft")
    assert (page.status, page.forms, "settings file of the app" in page.text) == (200, (), True)
    for name in ("go-live", "drop"):
        assert browser.submit(Form(f"{BASE}/contoso/draft/{name}")).history[-2].status == 303
        assert browser.get(f"{BASE}/contoso/draft/{name}").url == f"{BASE}/contoso/draft"


def test_the_overview_leads_to_a_draft_that_has_passed_its_test(host: Host, browser: Browser) -> None:
    save(host, MAPPING)
    pass_test(host)
    assert 'href="/saml/admin/fabrikam/draft">Go live' in browser.get(f"{BASE}/fabrikam/").text


def test_a_policy_that_begins_changes_only_what_it_says_otherwise(host: Host, browser: Browser) -> None:
    save(host, {"mapping": {"fields": FIELDS, "policy": {"guests": "deny"}}})
    assert differences(browser.get(DRAFT)) == {"Guests of the directory": ("let in", "refused")}
