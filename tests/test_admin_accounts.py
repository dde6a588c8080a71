"""Accounts and roles on the admin pages: who is let in, who becomes whom, and which roles may be handed out from there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from samljit.sql.audit import AuditAction
from samljit.testing import Browser
from tests.admin_host import OPERATOR, browser_of, rows_of, stored
from tests.host import FIELDS, Host
from tests.mapping_pages import ACCOUNTS, EDITORS, FRED, Make, accounts, controls, form_at, keep_test, own_mapping, rows, told, words
from tests.mapping_pages import made as made
from tests.mapping_pages import making as making
from tests.mapping_pages import opened as opened

# --- accounts ---------------------------------------------------------------------------------------------------------


def test_policy_and_match_are_saved_and_shown_again(make: Make) -> None:
    host = make(tenant_fields=lambda tenant: {})
    browser = browser_of(host, FRED)
    values = {"create_users": "no", "update_users": "no", "new_user_state": "inactive", "guests": "deny", "max_users": "250"}
    values |= {"allowed_domains": "@fabrikam.example\r\n", "require_0": "groups\nrole", "any_of_0": f"{EDITORS}\nx", "match": "email_deny"}
    page = accounts(browser, **values)
    assert (page.status, page.url) == (200, ACCOUNTS)
    assert own_mapping(host)["policy"] == {
        "create_users": False, "update_users": False, "allowed_domains": ["fabrikam.example"], "guests": "deny", "max_users": 250,
        "require": [{"source": ["groups", "role"], "any_of": [EDITORS, "x"]}], "new_user_state": "inactive",
    }  # fmt: skip
    assert own_mapping(host)["identity"] == {"match": "email_deny"}
    saved = stored(host)
    assert ("Nothing was changed" in words(accounts(browser)), stored(host)) == (True, saved)


def test_a_limit_of_whoever_runs_the_app_stands_whatever_is_saved(host: Host, browser: Browser) -> None:
    assert "at most, whatever stands here" not in words(browser.get(ACCOUNTS))
    rows_of(host).change(stored(host), {"max_users": 3}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    assert accounts(browser, max_users="4").url == ACCOUNTS
    assert "Whoever runs the app lets in 3 at most, whatever stands here." in words(browser.get(ACCOUNTS))


def test_roles_follow_from_values_with_a_note_for_people(host: Host, browser: Browser) -> None:
    keep_test(host)
    form = form_at(browser.get(ACCOUNTS), ACCOUNTS)
    values = {"has_roles": "yes", "role-0": "groups", "role_missing": "remove", "role_overage": "deny"}
    values |= {"value-0": EDITORS, "note-0": "  Editors in Berlin ", "roles-0": "editor", "default": "viewer", "do": ""}
    page = browser.submit(form, values)
    assert page.url == ACCOUNTS
    assert own_mapping(host)["roles"] == {
        "source": "groups", "map": {EDITORS: ["editor"]}, "notes": {EDITORS: "Editors in Berlin"}, "default": ["viewer"],
        "on_missing": "remove", "on_overage": "deny",
    }  # fmt: skip
    page = accounts(browser, "try", has_roles="yes")
    assert "Granted Asked for by the claim groups." in rows(page, "Roles")["editor"]
    accounts(browser, has_roles="no")
    assert stored(host).draft is None


WRONG_ACCOUNTS: dict[str, tuple[dict[str, str], str, str]] = {
    "limit": ({"max_users": "many"}, "max_users", "whole number"),
    "no one": ({"max_users": "0"}, "max_users", "whole number"),
    "domain": ({"allowed_domains": "contoso"}, "allowed_domains", "no domain"),
    "values": ({"require_0": "groups", "any_of_0": ""}, "any_of-0", "at least one value"),
    "match": ({"match": "by_name"}, "match", "Must be"),
    "ungrantable": (
        {"has_roles": "yes", "role_0": "role", "value_0": "x", "roles_0": "admin", "role_missing": "deny"}, "value-0", "listed",
    ),
    "ungrantable default": ({"has_roles": "yes", "default": "admin"}, "default", "listed"),
    "nothing": ({"has_roles": "yes"}, "value-0", "gives no roles"),
    "no claim": ({"has_roles": "yes", "value_0": "x", "roles_0": "viewer", "role_missing": "deny"}, "role-0", "which claim"),
    "missing": ({"has_roles": "yes", "role_0": "role", "value_0": "x", "roles_0": "viewer"}, "role_missing", "none of the claims"),
    "remove": (
        {"has_roles": "yes", "role_0": "role", "value_0": "x", "roles_0": "viewer", "role_sync": "additive", "role_missing": "remove"},
        "role_missing", "never taken away",
    ),
    "no value": (
        {"has_roles": "yes", "role_0": "role", "note_0": "x", "roles_0": "viewer", "role_missing": "deny"}, "value-0", "Enter the value",
    ),
    "twice": ({"has_roles": "yes", "value_0": "x", "roles_0": "viewer", "value_1": "x", "roles_1": "editor"}, "value-1", "already"),
    "long note": (
        {"has_roles": "yes", "role_0": "role", "value_0": "x", "roles_0": "viewer", "note_0": "y" * 201, "role_missing": "deny"},
        "note-0", "200 characters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "control", "said"), WRONG_ACCOUNTS.values(), ids=WRONG_ACCOUNTS)
def test_what_is_wrong_with_accounts_is_told_at_its_control_and_kept(
    host: Host, browser: Browser, values: dict[str, str], control: str, said: str
) -> None:
    page = accounts(browser, **values)
    assert (page.status, stored(host).draft) == (422, None)
    assert (f'href="#samljit-{control}"' in told(page), said in told(page)) == (True, True), told(page)
    assert f'id="samljit-{control}"' in page.text
    form = form_at(page, ACCOUNTS)
    assert {name: form.value(name) for name in controls(values) if name != "match"} == {
        name: value for name, value in controls(values).items() if name != "match"
    }


def test_linking_by_address_says_what_it_lacks(make: Make) -> None:
    host = make(is_privileged=None, tenant_fields=None)
    browser = browser_of(host, FRED)
    page = browser.get(ACCOUNTS)
    option = page.text.partition('value="email_link"')[2].partition("</div>")[0]
    assert ("disabled" in option.partition(">")[0], "special rights" in option, "whose users" in option) == (True, True, True)
    page = accounts(browser, match="email_link")
    assert (page.status, 'href="#samljit-match"' in told(page), stored(host).draft) == (422, True, None)


def test_sections_of_everybody_are_changed_and_given_back(make: Make) -> None:
    usual = {"policy": {"max_users": 3}, "roles": {"default": ["viewer"]}}
    host = make(mapping=usual)
    browser = browser_of(host, FRED)
    assert browser.get(ACCOUNTS).text.count("has set this for every organisation") == 2
    accounts(browser)
    assert stored(host).draft is None
    accounts(browser, max_users="4", has_roles="no")
    assert (own_mapping(host)["policy"], own_mapping(host)["roles"]) == ({"max_users": 4}, None)
    accounts(browser, "restore-policy")
    accounts(browser, "restore-roles")
    assert stored(host).draft is None


def test_a_section_that_no_form_can_show_is_edited_as_json_and_kept(make: Make) -> None:
    roles = {"source": "groups", "map": {"a\nb": ["viewer"]}, "notes": {"gone": "left over"}, "on_missing": "remove"}
    host = make(tenant={"mapping": {"fields": FIELDS, "roles": roles}})
    browser = browser_of(host, FRED)
    accounts(browser)
    assert stored(host).draft is None
    page = accounts(browser, roles_raw="{")
    assert (page.status, 'href="#samljit-roles_raw"' in told(page)) == (422, True)
    accounts(browser, roles_raw=json.dumps({**roles, "default": ["editor"]}))
    assert own_mapping(host)["roles"]["default"] == ["editor"]
    page = accounts(browser, roles_raw=json.dumps({**roles, "default": ["admin"]}))
    assert (page.status, 'href="#samljit-roles_raw"' in told(page)) == (422, True)


# --- which roles may be granted ---------------------------------------------------------------------------------------

LIVE_ROLES = {"source": "role", "map": {"App.Admin": ["admin"], "App.Viewer": ["viewer"]}, "on_missing": "remove"}
GRANTS: dict[str, tuple[dict[str, Any], bool]] = {
    "as it is live": ({**LIVE_ROLES, "on_overage": "deny"}, True),
    "fewer": ({**LIVE_ROLES, "map": {"App.Viewer": ["viewer"]}}, True),
    "with notes": ({**LIVE_ROLES, "notes": {"App.Admin": "The admins"}}, True),
    "another role for a value": ({**LIVE_ROLES, "map": {"App.Viewer": ["admin"]}}, False),
    "another value for a role": ({**LIVE_ROLES, "map": {**LIVE_ROLES["map"], "Everybody": ["viewer"]}}, False),  # type: ignore[dict-item]  # JSON
    "for everybody": ({**LIVE_ROLES, "default": ["viewer"]}, False),
}


@pytest.mark.parametrize(("roles", "is_good"), GRANTS.values(), ids=GRANTS)
def test_without_a_list_of_grantable_roles_a_draft_hands_out_none_that_is_not_live(
    make: Make, roles: dict[str, Any], is_good: bool
) -> None:
    host = make(guards={}, tenant={"mapping": {"fields": FIELDS, "roles": LIVE_ROLES}})
    browser = browser_of(host, FRED)
    assert "more cannot be added" in words(browser.get(ACCOUNTS))
    values: dict[str, str] = {"role_overage": roles.get("on_overage", "keep")}
    form = form_at(browser.get(ACCOUNTS), ACCOUNTS)
    kept = tuple((name, value) for name, value in form.fields if not re.match(r"(value|note|roles)-|default$|do$", name))
    written = [(value, given, roles.get("notes", {}).get(value, "")) for value, given in roles["map"].items()]
    for row, (value, given, note) in enumerate(written):
        kept += ((f"value-{row}", value), (f"note-{row}", note), *((f"roles-{row}", role) for role in given))
    kept += tuple(("default", role) for role in roles.get("default", ()))
    page = browser.submit(replace(form, fields=(*kept, ("do", ""))), values)
    assert page.status == (200 if is_good else 422)
    assert (stored(host).draft is not None) == is_good
    if is_good:
        assert own_mapping(host)["roles"] == roles
    # neither does one that comes into the database in another way go live, or is tried
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": FIELDS, "roles": roles}}, author=OPERATOR)
    tenant, problems = host.app.extensions["samljit"].directory.find_drafted(stored(host), now=OPERATOR.now)
    codes = {one.code for one in problems if not one.is_warning}
    assert (tenant is not None, codes) == (is_good, set() if is_good else {"role_not_grantable"})


def test_whoever_runs_the_app_may_still_grant_any_role(make: Make) -> None:
    host = make(guards={}, mapping={"roles": {"default": ["member"]}})
    result = host.app.test_cli_runner().invoke(
        args=["samljit", "tenant", "set", "fabrikam", "--set", f"mapping={json.dumps({'fields': FIELDS, 'roles': LIVE_ROLES})}"]
    )
    assert result.exit_code == 0, result.output
    assert stored(host).live["mapping"]["roles"] == LIVE_ROLES
    accounts(browser_of(host, FRED), "restore-roles")  # what every tenant has is theirs, too
    assert "roles" not in own_mapping(host)
