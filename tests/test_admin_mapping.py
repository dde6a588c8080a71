"""Claims, accounts and roles on the admin pages: the mapping of the draft, changed without anybody writing a document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from samljit import AdminAction
from samljit.model import Tenant
from samljit.testing import Browser, FakeEntra, Form, Page
from tests.admin_host import BASE, FABRIKAM, OPERATOR, PASSED, add_user, authorize, browser_of, document, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import FIELDS, Host, settings_for

FRED = "fred@fabrikam.example"
CLAIMS, FIELD, ACCOUNTS = (f"{BASE}/fabrikam/{path}" for path in ("claims", "claims/field", "accounts"))
EDITORS = "07dd8a60-bf6d-4e17-8844-230b77145381"
NAMES = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
HOSTILE = "<b>x</b>\u202e\x07"


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, FRED)


def make_host_with(mount: Mount, tmp_path: Path, **top: Any) -> Host:
    return make_admin_host(mount, settings=settings_for(tmp_path, FakeEntra(), **top))


def form_at(page: Page, address: str) -> Form:
    [form] = [one for one in page.forms if one.action.split("?")[0] == address and one.method == "POST"]
    return form


def send(browser: Browser, address: str, **values: str) -> Page:
    """Opens the page, fills its form in and sends it. Names of controls have `_` for `-` before a number."""
    named = {re.sub(r"_(?=\d+$)", "-", name).replace("source_typed", "source-typed"): value for name, value in values.items()}
    return browser.submit(form_at(browser.get(address), address.split("?")[0]), named)


def drafted(host: Host) -> dict[str, Any]:
    return dict(stored(host).draft or {}).get("mapping") or {}


def keep_test(host: Host, claims: dict[str, list[str]]) -> None:
    """Has a test sign-in have shown these claims."""
    number = stored(host).draft_revision
    result = {**PASSED, "draft_revision": number, "claims": claims, "issuer": FABRIKAM.entity_id}
    assert rows_of(host).record_test("fabrikam", result, nonce="n", draft_revision=number, replaces=True)


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        pytest.param({"source_0": "displayname"}, "displayname", id="another claim"),
        pytest.param({"source_0": "=", "source_typed_0": "nick"}, "nick", id="a typed claim"),
        pytest.param({"source_1": "name"}, {"source": ["givenname", "name"]}, id="a second one behind it"),
        pytest.param({"way": "template", "template": "{givenname}!"}, {"template": "{givenname}!"}, id="a template"),
        pytest.param({"way": "value", "value": "Anna"}, {"value": "Anna"}, id="a constant"),
        pytest.param({"step_0": "lowercase"}, {"source": "givenname", "transform": ["lowercase"]}, id="a step"),
        pytest.param(
            {"step_0": "{map}", "table_0": "a = b"}, {"source": "givenname", "transform": [{"map": {"a": "b"}}]}, id="a step with a table"
        ),
        pytest.param({"on_missing": "clear"}, {"source": "givenname", "on_missing": "clear"}, id="emptied"),
        pytest.param(
            {"sync_mode": "if_empty", "default": "N."}, {"source": "givenname", "sync_mode": "if_empty", "default": "N."}, id="if empty"
        ),
        pytest.param({"way": "json", "raw": '{"source": "surname", "required": true}'}, {"source": "surname", "required": True}, id="JSON"),
    ],
)  # fmt: skip
def test_a_rule_is_saved_in_the_draft_as_it_was_filled_in(host: Host, browser: Browser, values: dict[str, str], rule: Any) -> None:
    page = send(browser, f"{FIELD}?name=first_name", **values)
    assert (page.url, page.history[-2].status) == (CLAIMS, 303)
    assert drafted(host) == {"fields": {**FIELDS, "first_name": rule}}
    assert stored(host).live["mapping"] == {"fields": FIELDS}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"way": "template", "template": "{givenname"}, "braces do not fit", id="a torn template"),
        pytest.param({"way": "json", "raw": '{"source":'}, "This is not JSON", id="torn JSON"),
        pytest.param({"way": "json", "raw": '{"source": "a", "sauce": "b"}'}, "sauce", id="an unknown key"),
        pytest.param({"multi": "all"}, "cannot hold a list", id="a list in a text"),
        pytest.param({"source_0": ""}, "Say", id="from nothing"),
    ],
)
def test_what_is_wrong_is_told_at_its_control_and_nothing_typed_is_lost(
    host: Host, browser: Browser, values: dict[str, str], told: str
) -> None:
    page = send(browser, f"{FIELD}?name=first_name", **values)
    assert (page.status, stored(host).draft) == (422, None)
    assert told in page.text
    assert 'aria-invalid="true"' in page.text
    form = form_at(page, FIELD)
    for name, value in values.items():
        assert form.value(re.sub(r"_(?=\d+$)", "-", name)) == value


def test_the_same_again_changes_nothing_and_a_change_back_ends_the_draft(host: Host, browser: Browser) -> None:
    send(browser, f"{FIELD}?name=display_name")
    assert (stored(host).draft, stored(host).draft_revision) == (None, 0)
    send(browser, f"{FIELD}?name=last_name", source_0="name")
    send(browser, f"{FIELD}?name=last_name", source_0="surname")
    assert stored(host).draft is None


@pytest.mark.parametrize("target", ["id", "active", "is_admin", "nowhere", "email"])
def test_only_a_free_field_that_claims_may_fill_is_added(mount: Mount, tmp_path: Path, target: str) -> None:
    host = make_host_with(mount, tmp_path, guards={"protected_fields": ["is_admin"]})
    browser = browser_of(host, FRED)
    page = send(browser, FIELD, field=target, source_0="givenname")
    assert (page.status, "aria-invalid" in page.text, stored(host).draft) == (422, True, None)
    added = send(browser, FIELD, field="departments", source_0="department", multi="all")
    assert added.url == CLAIMS
    assert drafted(host)["fields"]["departments"] == {"source": "department", "multi": "all"}


def test_a_rule_for_a_protected_field_is_never_saved_as_json_either(mount: Mount, tmp_path: Path) -> None:
    host = make_host_with(mount, tmp_path, guards={"protected_fields": ["is_admin"]})
    browser = browser_of(host, FRED)
    form = form_at(browser.get(FIELD), FIELD)
    page = browser.submit(form, {"field": "is_admin", "way": "json", "raw": '{"value": true}'})
    assert (page.status, stored(host).draft) == (422, None)


def test_a_field_is_taken_out(host: Host, browser: Browser) -> None:
    send(browser, f"{FIELD}?name=first_name", do="remove")
    assert drafted(host) == {"fields": {key: rule for key, rule in FIELDS.items() if key != "first_name"}}


def test_what_every_tenant_has_is_replaced_dropped_and_taken_back(mount: Mount, tmp_path: Path) -> None:
    host = make_host_with(mount, tmp_path, mapping={"fields": {"departments": {"source": "department", "multi": "all"}}})
    browser = browser_of(host, FRED)
    assert "set for everybody" in browser.get(CLAIMS).text
    send(browser, f"{FIELD}?name=departments", source_0="companyname")
    assert drafted(host)["fields"]["departments"] == {"source": "companyname", "multi": "all"}
    send(browser, f"{FIELD}?name=departments", do="remove")
    assert (drafted(host)["fields"]["departments"], "taken out" in browser.get(CLAIMS).text) == (None, True)
    send(browser, f"{FIELD}?name=departments", do="restore")
    assert stored(host).draft is None


def test_other_keys_of_the_draft_stay(host: Host, browser: Browser) -> None:
    rows_of(host).save_draft(stored(host), {"entra_tenant_id": FABRIKAM.tenant_id.upper()}, author=OPERATOR)
    send(browser, f"{FIELD}?name=last_name", source_0="name")
    assert set(stored(host).draft or {}) == {"entra_tenant_id", "mapping"}


def test_a_claim_that_can_change_is_warned_about_as_what_people_are_known_by(host: Host, browser: Browser) -> None:
    page = send(browser, CLAIMS, identity_0="emailaddress", sync_mode="on_create")
    assert "given to somebody else one day" in page.text
    assert (drafted(host)["identity"], drafted(host)["sync_mode"]) == ({"source": "emailaddress"}, "on_create")


# --- what has come ----------------------------------------------------------------------------------------------------


def test_claims_are_offered_as_they_came_and_those_that_nothing_uses_are_listed(host: Host, browser: Browser) -> None:
    keep_test(host, {f"{NAMES}givenname": ["Adele"], f"{NAMES}emailaddress": ["a@fabrikam.example"], "costcenter": ["0815"]})
    page = browser.get(CLAIMS).text
    unused = page[page.index("Claims that nothing uses") :]
    assert ("costcenter" in unused, "0815" in unused) == (True, True)
    assert f"{NAMES}givenname" not in unused
    assert re.search(r'data-label="In the last test">\s*<bdi class="samljit-value">Adele</bdi>', page)
    assert '<option value="costcenter">costcenter · 0815</option>' in browser.get(f"{FIELD}?name=last_name").text


def test_hostile_values_and_names_are_shown_as_text(host: Host, browser: Browser) -> None:
    keep_test(host, {HOSTILE: [HOSTILE], f"{NAMES}givenname": [HOSTILE]})
    roles = {"source": "groups", "map": {HOSTILE: []}, "notes": {HOSTILE: HOSTILE}, "on_missing": "keep"}
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": {**FIELDS, HOSTILE: "x"}, "roles": roles}}, author=OPERATOR)
    for address in (CLAIMS, f"{FIELD}?name=first_name", FIELD, ACCOUNTS):
        text = browser.get(address).text
        shown = re.sub(r'="[^"]*"|<textarea.*?</textarea>', "", text, flags=re.DOTALL)
        assert ("<b>x" in text, "\x07" in shown, "\u202e" in shown) == (False, False, False)


def test_claim_values_of_a_test_are_for_those_who_may_test(mount: Mount) -> None:
    host = make_admin_host(mount, authorize=lambda user, tenant, action: authorize(user, tenant, action) and action != AdminAction.TEST)
    keep_test(host, {f"{NAMES}givenname": ["Adele"], "costcenter": ["0815"]})
    browser = browser_of(host, FRED)
    for address in (CLAIMS, f"{FIELD}?name=first_name", ACCOUNTS):
        assert ("Adele" in browser.get(address).text, "0815" in browser.get(address).text) == (False, False)
    assert "costcenter" in browser.get(CLAIMS).text
    assert send(browser, CLAIMS, do="try", sample="givenname: Adele").status == 404


def test_what_is_filled_in_is_tried_before_it_is_saved(host: Host, browser: Browser) -> None:
    keep_test(host, {f"{NAMES}givenname": ["Adele"], f"{NAMES}surname": ["Vance"], f"{NAMES}emailaddress": ["a@fabrikam.example"]})
    users = len(host.users())
    page = send(browser, f"{FIELD}?name=first_name", source_0="surname", do="try")
    assert page.status == 200
    row = page.text[page.text.index('class="samljit-differs"') :].partition("</tr>")[0]
    assert ("first_name" in row, "Adele" in row, "Vance" in row) == (True, True, True)
    pasted = send(browser, f"{FIELD}?name=first_name", source_0="surname", do="try", sample="surname: Other")
    assert ("Other" in pasted.text, "Adele" in pasted.text.partition("samljit-tried")[2].partition("</section>")[0]) == (True, False)
    assert (stored(host).draft, len(host.users())) == (None, users)


@pytest.mark.parametrize("sample", ["no claims at all", '{"a": 1}', '{"a": ' + "[" * 5000, "x" * 70_000])
def test_what_are_no_claims_is_told(host: Host, browser: Browser, sample: str) -> None:
    page = send(browser, CLAIMS, do="try", sample=sample)
    assert (page.status, "These are no claims" in page.text) == (422, True)


# --- accounts and roles -----------------------------------------------------------------------------------------------


def test_who_is_let_in_is_saved_with_nothing_that_goes_without_saying(host: Host, browser: Browser) -> None:
    page = send(browser, ACCOUNTS, guests="deny", max_users="50", allowed_domains="fabrikam.example", match="email_deny")
    assert page.url == ACCOUNTS
    assert drafted(host)["policy"] == {"guests": "deny", "max_users": 50, "allowed_domains": ["fabrikam.example"]}
    assert drafted(host)["identity"] == {"match": "email_deny"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"max_users": "many"}, "whole number", id="no number"),
        pytest.param({"allowed_domains": "not a domain"}, "no domain", id="no domain"),
        pytest.param({"has_roles": "yes", "role_0": "groups"}, "", id="roles that are none"),
        pytest.param({"match": "sideways"}, "", id="a choice that there is not"),
    ],
)
def test_what_cannot_be_is_told_and_kept(host: Host, browser: Browser, values: dict[str, str], told: str) -> None:
    page = send(browser, ACCOUNTS, **values)
    assert (page.status, stored(host).draft, told in page.text) == (422, None, True)


def test_roles_are_mapped_with_a_note_on_each_group(mount: Mount, tmp_path: Path) -> None:
    host = make_host_with(mount, tmp_path, guards={"grantable_roles": ["editor", "viewer"]})
    browser = browser_of(host, FRED)
    values = {"role_0": "groups", "value_0": EDITORS, "note_0": "Editors in Berlin", "roles_0": "editor", "default": "viewer"}
    send(browser, ACCOUNTS, has_roles="yes", role_missing="remove", **values)
    roles = {"source": "groups", "map": {EDITORS: ["editor"]}, "notes": {EDITORS: "Editors in Berlin"}, "default": ["viewer"]}
    assert drafted(host)["roles"] == {**roles, "on_missing": "remove"}
    assert "Editors in Berlin" in browser.get(ACCOUNTS).text


def test_a_role_that_may_not_be_granted_is_refused(mount: Mount, tmp_path: Path) -> None:
    host = make_host_with(mount, tmp_path, guards={"grantable_roles": ["viewer"]})
    values = {"role_0": "groups", "value_0": EDITORS, "roles_0": "owner"}
    page = send(browser_of(host, FRED), ACCOUNTS, has_roles="yes", role_missing="remove", **values)
    assert (page.status, stored(host).draft, "guards.grantable_roles" in page.text) == (422, None, True)


def test_without_a_list_no_role_is_handed_out_from_here_that_is_not_already(host: Host, browser: Browser) -> None:
    live = {"fields": FIELDS, "roles": {"source": "groups", "map": {EDITORS: ["editor"]}, "on_missing": "keep"}}
    rows_of(host).write_all({"fabrikam": document(mapping=live)}, author=OPERATOR, replaces=True)
    refused = send(browser, ACCOUNTS, value_1="other-group", roles_1="editor")
    assert (refused.status, stored(host).draft, "guards.grantable_roles" in refused.text) == (422, None, True)
    raw = {**live, "roles": {**live["roles"], "default": ["owner"]}}  # type: ignore[dict-item]  # a document is JSON of any shape
    rows_of(host).save_draft(stored(host), {"mapping": raw}, author=OPERATOR)  # by whatever way it came in
    tenant, problems = host.app.extensions["samljit"].directory.find_drafted(stored(host), now=OPERATOR.now)
    assert (tenant, {problem.code for problem in problems if not problem.is_warning}) == (None, {"role_not_grantable"})
    rows_of(host).save_draft(stored(host), None, author=OPERATOR)
    send(browser, ACCOUNTS, note_0="Editors")
    assert drafted(host)["roles"]["notes"] == {EDITORS: "Editors"}


def test_what_the_app_has_not_told_us_cannot_be_chosen(mount: Mount) -> None:
    host = make_admin_host(mount, is_privileged=None)
    page = browser_of(host, FRED).get(ACCOUNTS).text
    choice = re.search(r'<input[^>]*value="email_link"[^>]*>', page)
    assert choice
    assert "disabled" in choice[0]
    assert "does not tell us who has special rights" in page


# --- who may ----------------------------------------------------------------------------------------------------------


def only_look(user: Any, tenant: Tenant, action: AdminAction) -> bool:
    return authorize(user, tenant, action) and action is AdminAction.VIEW


def test_who_may_only_look_sees_all_of_it_and_sends_nothing(mount: Mount) -> None:
    host = make_admin_host(mount)
    forms = {address: form_at(browser_of(host, FRED).get(address), address.split("?")[0]) for address in (CLAIMS, ACCOUNTS)}
    looker = make_admin_host(mount, authorize=only_look)
    browser = browser_of(looker, FRED)
    assert browser.get(FIELD).status == 404
    for address, form in forms.items():
        page = browser.get(address)
        assert (page.status, "Save in the draft" in page.text) == (200, False)
        assert browser.submit(form, {"max_users": "5", "sync_mode": "on_create"}).status == 404
    assert stored(looker).draft is None


def test_another_tenants_admin_finds_nothing_there(host: Host) -> None:
    browser = browser_of(host, "tina@tailspin.example")
    assert [browser.get(address).status for address in (CLAIMS, FIELD, f"{FIELD}?name=email", ACCOUNTS)] == [404] * 4


def test_a_form_without_its_token_changes_nothing(host: Host, browser: Browser) -> None:
    changes = {f"{FIELD}?name=first_name": {"source-0": "name"}, CLAIMS: {"sync_mode": "on_create"}, ACCOUNTS: {"guests": "deny"}}
    for address, values in changes.items():
        form = form_at(browser.get(address), address.split("?")[0])
        assert browser.submit(form, {**values, "csrf_token": "forged"}).status == 400
    assert stored(host).draft is None


def test_a_stale_form_is_caught_and_what_was_filled_in_is_still_there(host: Host, browser: Browser) -> None:
    form = form_at(browser.get(ACCOUNTS), ACCOUNTS)
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": FIELDS, "sync_mode": "if_empty"}}, author=OPERATOR)
    page = browser.submit(form, {"max_users": "77"})
    assert (page.status, form_at(page, ACCOUNTS).value("max_users"), drafted(host).get("policy")) == (409, "77", None)
    assert "an operator" in page.text
    browser.submit(form_at(page, ACCOUNTS))
    assert (drafted(host)["policy"], drafted(host)["sync_mode"]) == ({"max_users": 77}, "if_empty")


def test_a_tenant_of_the_settings_is_shown_and_left_alone(host: Host) -> None:
    browser = browser_of(host, "cara@contoso.example")
    for path in ("claims", "accounts", "claims/field?name=email"):
        page = browser.get(f"{BASE}/contoso/{path}")
        assert (page.status, "stands in the settings file" in page.text, "Save in the draft" in page.text) == (200, True, False)
    assert add_user(host, "nobody@contoso.example")
