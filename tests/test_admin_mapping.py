"""What holds for claims and for accounts alike: who may look and who may send, hostile texts, nothing lost and nothing smuggled in."""

from __future__ import annotations

import json
import re
from typing import Any

from samljit import AdminAction
from samljit.model import Tenant
from samljit.testing import Browser
from tests.admin_host import BASE, OPERATOR, authorize, browser_of, rows_of, stored
from tests.host import FIELDS, Host
from tests.mapping_pages import (
    ACCOUNTS,
    CLAIMS,
    FIELD,
    FRED,
    Make,
    accounts,
    edit,
    field_url,
    form_at,
    keep_test,
    own_mapping,
    press,
    top,
    words,
)
from tests.mapping_pages import made as made
from tests.mapping_pages import making as making
from tests.mapping_pages import opened as opened

# --- who may ----------------------------------------------------------------------------------------------------------


def only_look(user: Any, tenant: Tenant, action: AdminAction) -> bool:
    return authorize(user, tenant, action) and action is AdminAction.VIEW


def test_who_may_only_look_sees_all_of_it_and_sends_nothing(make: Make) -> None:
    editor = browser_of(make(), FRED)
    forms = {address: form_at(editor.get(address), address) for address in (CLAIMS, ACCOUNTS)}
    looker = make(authorize=only_look)
    browser = browser_of(looker, FRED)
    assert browser.get(FIELD).status == 404
    for address, form in forms.items():
        page = browser.get(address)
        assert (page.status, "Save in the draft" in page.text) == (200, False)
        assert browser.submit(form, {"max_users": "5", "sync_mode": "on_create"}).status == 404
    assert stored(looker).draft is None


def test_another_tenants_admin_finds_nothing_there(host: Host) -> None:
    browser = browser_of(host, "tina@tailspin.example")
    assert [browser.get(address).status for address in (CLAIMS, FIELD, field_url("email"), ACCOUNTS)] == [404] * 4


def test_a_form_without_its_token_changes_nothing(host: Host, browser: Browser) -> None:
    forged = {"csrf_token": "forged"}
    pages = [edit(browser, "first_name", source_0="name", **forged), top(browser, sync_mode="on_create", **forged)]
    pages.append(accounts(browser, guests="deny", **forged))
    assert ([page.status for page in pages], stored(host).draft) == ([400] * 3, None)


def test_a_stale_form_is_caught_and_what_was_filled_in_is_still_there(host: Host, browser: Browser) -> None:
    form = form_at(browser.get(ACCOUNTS), ACCOUNTS)
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": FIELDS, "sync_mode": "if_empty"}}, author=OPERATOR)
    page = browser.submit(form, {"max_users": "77"})
    assert (page.status, form_at(page, ACCOUNTS).value("max_users"), own_mapping(host).get("policy")) == (409, "77", None)
    assert "an operator" in page.text
    browser.submit(form_at(page, ACCOUNTS))
    assert (own_mapping(host)["policy"], own_mapping(host)["sync_mode"]) == ({"max_users": 77}, "if_empty")


def test_a_tenant_of_the_settings_is_shown_and_left_alone(host: Host) -> None:
    browser = browser_of(host, "cara@contoso.example")
    for path in ("claims", "accounts", "claims/field?name=email"):
        page = browser.get(f"{BASE}/contoso/{path}")
        assert (page.status, "stands in the settings file" in page.text, "Save in the draft" in page.text) == (200, True, False)


def test_claim_values_of_a_test_are_for_those_who_may_test(make: Make) -> None:
    host = make(authorize=lambda user, tenant, action: authorize(user, tenant, action) and action != AdminAction.TEST)
    keep_test(host)
    browser = browser_of(host, FRED)
    for address in (CLAIMS, field_url("first_name"), ACCOUNTS):
        assert ("Adele" in browser.get(address).text, "0815" in browser.get(address).text) == (False, False)
    assert "costcenter" in browser.get(CLAIMS).text
    assert top(browser, "try", sample="givenname: Adele").status == 404


def test_what_is_live_stays_and_no_other_key_comes_in(host: Host, browser: Browser) -> None:
    before = stored(host).live
    smuggled = dict.fromkeys(("domains", "entity_id", "require_sso", "enabled", "offer_sso", "break_glass"), "x") | {"mapping": "{}"}
    edit(browser, "first_name", source_0="displayname", **smuggled)
    accounts(browser, max_users="5", **smuggled)
    assert set(stored(host).draft or ()) == {"mapping"}
    assert stored(host).live == before


def test_while_the_app_cannot_name_its_tenants_columns_nothing_is_filled(make: Make) -> None:
    def fail(tenant: Any) -> Any:
        raise LookupError(tenant.slug)

    host = make(tenant_fields=fail)
    browser = browser_of(host, FRED)
    assert [browser.get(url).status for url in (CLAIMS, field_url("first_name"), ACCOUNTS)] == [200, 200, 200]
    assert browser.get(FIELD).text.partition('name="field"')[2].partition("</select>")[0].count("<option") == 1


# --- hostile texts ----------------------------------------------------------------------------------------------------

HOSTILE = '<script>alert("x")</script>\u202e\u2066"\'{{7*7}}'


def test_hostile_values_names_and_notes_are_shown_as_text(make: Make) -> None:
    roles = {"source": HOSTILE, "map": {HOSTILE: ["viewer"]}, "notes": {HOSTILE: HOSTILE}, "on_missing": "keep"}
    policy = {"require": [{"source": HOSTILE, "any_of": [HOSTILE]}]}
    badge = {"source": [HOSTILE], "transform": [HOSTILE], "default": HOSTILE}
    fields = {**FIELDS, HOSTILE: HOSTILE, "badge": badge, "origin": {"value": HOSTILE}}
    mapping = {"fields": fields, "roles": roles, "policy": policy, "identity": {"source": HOSTILE}}
    host = make(tenant={"mapping": mapping})
    keep_test(host, **{HOSTILE: [f"\x07{HOSTILE}"], "department": [f"\x07{HOSTILE}"]})
    browser = browser_of(host, FRED)
    for url in (CLAIMS, field_url(HOSTILE), field_url("badge"), field_url("origin"), FIELD, ACCOUNTS):
        page = browser.get(url)
        assert page.status == 200, url
        assert "<script>alert" not in page.text, url
        seen = re.sub(r"<textarea.*?</textarea>|<input[^>]*>|<option[^>]*>", "", page.text, flags=re.DOTALL)  # a control's own text
        assert [char for char in "\u202e\x07\u2066" if char in seen] == [], url
        assert "49" not in words(page)
    for page in (top(browser), edit(browser, "badge"), press(browser, HOSTILE, "remove"), accounts(browser)):
        assert (page.status in (200, 422), "<script>alert" in page.text) == (True, False)
    page = edit(browser, "first_name", "try", sample=json.dumps({HOSTILE: HOSTILE, "givenname": HOSTILE}))
    assert (page.status in (200, 422), "<script>alert" in page.text) == (True, False)


def test_control_characters_in_a_note_do_not_stay(host: Host, browser: Browser) -> None:
    accounts(browser, has_roles="yes", role_0="role", value_0="x", roles_0="viewer", note_0="Ed\u202eit\x00ors", role_missing="deny")
    assert own_mapping(host)["roles"]["notes"] == {"x": "Editors"}
