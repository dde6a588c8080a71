"""The mapping of a draft beyond the plain cases: rules of every kind and spelling, what is inherited, grants, hostile texts."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import JSON, Integer, String
from sqlalchemy.orm import mapped_column

from samljit.sql.audit import AuditAction
from samljit.testing import Browser, FakeEntra, Form, Page, sign_in
from samljit.testing.people import EMAIL_ADDRESS, claims_of
from tests.admin_host import BASE, FABRIKAM, OPERATOR, PASSED, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, FIELDS, ORIGIN, Host, make_user_model, settings_for

FRED, CARA = "fred@fabrikam.example", "cara@contoso.example"
CLAIMS, FIELD, ACCOUNTS = (f"{BASE}/fabrikam/{name}" for name in ("claims", "claims/field", "accounts"))
EDITORS = "07dd8a60-bf6d-4e17-8844-230b77145381"
SENT = {"department": ["Sales, IT"], "jobtitle": ["Account Manager"], "employeeid": ["E-1234567"], "costcenter": ["0815"]}
PERSON = replace(ADELE, email="adele.vance@fabrikam.example", extra=SENT, groups=(EDITORS,))
GUARDS = {"grantable_roles": ["editor", "viewer"], "protected_fields": ["is_admin"]}
USUAL = {"fields": {"locale": {"source": "preferredlanguage", "default": "en"}, "job_title": "jobtitle"}}


def keep_test(host: Host, slug: str = "fabrikam", **claims: list[str]) -> None:
    """Has the tenant's last test show these claims besides those of PERSON."""
    number = stored(host, slug).draft_revision
    sent = {claim.name: list(claim.values) for claim in claims_of(PERSON, FABRIKAM.tenant_id)} | claims
    result = {**PASSED, "draft_revision": number, "claims": sent, "name_id": [PERSON.email, ""], "issuer": FABRIKAM.entity_id}
    assert rows_of(host).record_test(slug, result, nonce=f"n{number}", draft_revision=number, replaces=True)


Make = Any


@pytest.fixture
def make(mount: Mount, tmp_path: Path) -> Make:
    """Makes a host whose user record has columns of every kind; fabrikam's live document changed by `tenant`."""

    def make_one(
        *, tenant: Mapping[str, Any] | None = None, mapping: Mapping[str, Any] = USUAL, guards: Mapping[str, Any] = GUARDS, **options: Any
    ) -> Host:
        columns = {"locale": String(20), "job_title": String(100), "origin": String(20), "level": Integer(), "badge": String(20)}
        model = make_user_model(departments=mapped_column(JSON), **{name: mapped_column(kind) for name, kind in columns.items()})
        entra = FakeEntra()
        settings = settings_for(tmp_path, entra, mapping=mapping, guards=guards)
        host = make_admin_host(mount, **{"entra": entra, "settings": settings, "user_model": model, **options})
        if tenant:
            rows_of(host).change(stored(host), tenant, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
        return host

    return make_one


@pytest.fixture
def host(make: Make) -> Host:
    made: Host = make()
    return made


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, FRED)


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def words(page: Page) -> str:
    return plain(page.text)


def rows(page: Page, caption: str) -> dict[str, str]:
    """The rows of the table with this caption, as words by their heading."""
    [table] = [one for one in re.findall(r"<table.*?</table>", page.text, re.DOTALL) if f">{caption}</caption>" in one]
    found = {}
    for row in re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.DOTALL):
        name = re.search(r"<code>(.*?)</code>", row)
        assert name is not None
        found[html.unescape(name[1])] = plain(row).replace("\N{EN DASH}", "-")
    return found


def field_url(name: str) -> str:
    return f"{FIELD}?name={quote(name)}"


def rule_form(page: Page) -> Form:
    return next(form for form in page.forms if form.value("way") is not None)


def edit(browser: Browser, name: str | None, do: str = "", **values: str) -> Page:
    """Opens the page of a field, or of a new one, fills it in and sends it."""
    page = browser.get(FIELD if name is None else field_url(name))
    return browser.submit(rule_form(page), {"do": do, **_controls(values)})


def press(browser: Browser, name: str, do: str) -> Page:
    """Presses one of the other buttons of a field."""
    return browser.submit(rule_form(browser.get(field_url(name))), {"do": do})


def _controls(values: Mapping[str, str]) -> dict[str, str]:
    """`source_0` stands for `source-0`."""
    return {re.sub(r"_(\d+)$", r"-\1", name): value for name, value in values.items()}


def top(browser: Browser, do: str = "", **values: str) -> Page:
    [form] = [one for one in browser.get(CLAIMS).forms if one.action == CLAIMS]
    return browser.submit(form, {"do": do, **_controls(values)})


def accounts(browser: Browser, do: str = "", **values: str) -> Page:
    [form] = [one for one in browser.get(ACCOUNTS).forms if one.action == ACCOUNTS]
    return browser.submit(form, {"do": do, **_controls(values)})


def own_mapping(host: Host) -> Any:
    return stored(host).drafted.get("mapping")


def own_rule(host: Host, name: str) -> Any:
    return own_mapping(host)["fields"][name]


def told(page: Page) -> str:
    """The summary of errors."""
    [alert] = re.findall(r'role="alert".*?</ul>', page.text, re.DOTALL)
    return html.unescape(re.sub(r"<(?!a )[^>]+>", " ", alert))


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_tells_of_every_field_where_it_comes_from(host: Host, browser: Browser) -> None:
    keep_test(host)
    shown = rows(browser.get(CLAIMS), "Fields and what fills them")
    assert shown == {
        "locale": "locale set for everybody preferredlanguage for new people without it: en - at every sign-in en",
        "job_title": "job_title set for everybody jobtitle - at every sign-in Account Manager",
        "email": "email required emailaddress else name in lower case at every sign-in adele.vance@fabrikam.example",
        "first_name": "first_name givenname - at every sign-in Adele",
        "last_name": "last_name surname - at every sign-in Vance",
        "display_name": "display_name put together: {givenname} {surname} - while it is empty Adele Vance",
    }


def test_a_claim_counts_as_used_by_its_full_name_whatever_the_mapping_calls_it(make: Make) -> None:
    fields = {**FIELDS, "first_name": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "badge": {"template": "{=name}"}}
    require = [{"source": "costcenter", "any_of": ["0815"]}]
    host = make(tenant={"mapping": {"fields": fields, "policy": {"require": require}}})
    keep_test(host, name=["a claim plainly called so"])
    page = browser_of(host, FRED).get(CLAIMS).text
    unused = re.findall(r"<code>(.*?)</code>", page.partition('id="samljit-unused"')[2].partition("</ul>")[0])
    assert set(unused) == {"authnmethodsreferences", "department", "displayname", "employeeid", "groups", "identityprovider", "NameID"}


# --- one field --------------------------------------------------------------------------------------------------------

RULES: dict[str, tuple[str, dict[str, str], Any]] = {
    "one claim": ("badge", {"source_0": "employeeid"}, "employeeid"),
    "in order": ("badge", {"source_0": "employeeid", "source_1": "=", "source-typed-1": "NameID"}, {"source": ["employeeid", "NameID"]}),
    "template": ("badge", {"way": "template", "template": "{givenname}/{surname}"}, {"template": "{givenname}/{surname}"}),
    "constant": ("origin", {"way": "value", "value": "entra", "sync_mode": "on_create"}, {"value": "entra", "sync_mode": "on_create"}),
    "number": ("level", {"way": "value", "value": "7"}, {"value": 7}),
    "list": ("departments", {"way": "value", "value": "a\nb"}, {"value": ["a", "b"]}),
    "steps": (
        "departments",
        {"source_0": "=", "source-typed-0": "team", "step_0": "{split}", "cut_0": "; ", "multi": "all", "on_missing": "clear"},
        {"source": "team", "transform": [{"split": "; "}], "multi": "all", "on_missing": "clear"},
    ),
    "table": (
        "origin",
        {"source_0": "department", "step_0": "{map}", "table_0": "Sales = sales\r\nIT = it", "default": "none"},
        {"source": "department", "transform": [{"map": {"Sales": "sales", "IT": "it"}}], "default": "none"},
    ),
    "joined": (
        "badge",
        {"source_0": "department", "multi": "join", "separator": " / ", "type": "string"},
        {"source": "department", "multi": "join", "separator": " / ", "type": "string"},
    ),
    "required": ("badge", {"source_0": "employeeid", "required": "y"}, {"source": "employeeid", "required": True}),
    "json": ("badge", {"way": "json", "raw": '{"source": "x", "sync_mode": "if_empty"}'}, {"source": "x", "sync_mode": "if_empty"}),
}


@pytest.mark.parametrize(("name", "values", "rule"), RULES.values(), ids=RULES)
def test_a_rule_of_any_kind_is_made_and_is_shown_again_as_it_is(
    host: Host, browser: Browser, name: str, values: dict[str, str], rule: Any
) -> None:
    page = edit(browser, None, field=name, **values)
    assert (page.status, page.url, page.history[-2].status) == (200, CLAIMS, 303)
    assert own_rule(host, name) == rule
    assert {key: own_mapping(host)["fields"][key] for key in FIELDS} == FIELDS
    saved = stored(host)
    assert saved.live["mapping"] == {"fields": FIELDS}
    assert "Nothing was changed" in words(edit(browser, name))  # sent as it was shown
    assert stored(host) == saved


ODD: dict[str, Any] = {
    "a list of one": {"source": ["surname"]},
    "all said": {"source": "surname", "required": False, "multi": "first", "transform": []},
    "more than the form": {"source": "surname", "transform": [{"map": {"a = b": " c"}}]},
    "split at a line": {"source": "surname", "transform": [{"split": "\n"}]},
    "full name": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
    "separator of joined": {"source": "surname", "multi": "join", "separator": ""},
}


@pytest.mark.parametrize("rule", ODD.values(), ids=ODD)
def test_a_rule_that_is_not_changed_stays_as_it_was_written(make: Make, rule: Any) -> None:
    host = make(tenant={"mapping": {"fields": {**FIELDS, "last_name": rule}}})
    browser = browser_of(host, FRED)
    edit(browser, "last_name")
    assert stored(host).draft is None
    edit(browser, "last_name", sync_mode="if_empty", raw=json.dumps({"source": "x", "sync_mode": "if_empty"}))
    assert own_rule(host, "last_name")["sync_mode"] == "if_empty"


def test_rows_are_added_without_script_and_nothing_is_saved_by_that(host: Host, browser: Browser) -> None:
    page = edit(browser, "first_name", "more-source", source_0="department", source_1="jobtitle")
    form = rule_form(page)
    assert [form.value(f"source-{row}") for row in range(5)] == ["department", "jobtitle", "", "", None]
    page = browser.submit(form, {"do": "more-step", "step-0": "lowercase"})
    form = rule_form(page)
    assert [form.value(f"step-{row}") for row in range(4)] == ["lowercase", "", "", None]
    assert stored(host).draft is None
    browser.submit(form, {"do": ""})
    assert own_rule(host, "first_name") == {"source": ["department", "jobtitle"], "transform": ["lowercase"]}


def test_a_field_of_everybody_is_changed_taken_out_and_put_back(host: Host, browser: Browser) -> None:
    edit(browser, "job_title", source_0="department")
    assert own_rule(host, "job_title") == "department"
    assert "job_title your own department" in rows(browser.get(CLAIMS), "Fields and what fills them")["job_title"]
    press(browser, "job_title", "remove")
    assert own_rule(host, "job_title") is None
    assert "taken out nothing: taken out here" in rows(browser.get(CLAIMS), "Fields and what fills them")["job_title"]
    press(browser, "job_title", "restore")
    assert stored(host).draft is None  # as it is live
    press(browser, "first_name", "remove")
    assert "first_name" not in own_mapping(host)["fields"]


def test_what_is_as_it_is_live_is_no_draft_and_other_keys_of_the_draft_stay(host: Host, browser: Browser) -> None:
    rows_of(host).save_draft(stored(host), {"idp": {"metadata": "x"}}, author=OPERATOR)
    edit(browser, "first_name", source_0="displayname")
    assert set(stored(host).draft or ()) == {"idp", "mapping"}
    edit(browser, "first_name", source_0="givenname")
    assert stored(host).draft == {"idp": {"metadata": "x"}}


WRONG: dict[str, tuple[dict[str, str], str, str]] = {
    "nothing": ({"source_0": ""}, "source-0", "in one way only"),
    "bad template": ({"way": "template", "template": "{givenname"}, "template", "braces"),
    "no constant": ({"way": "value", "value": ""}, "value", "constant does not fit"),
    "no such step": ({"step_0": "uppercase"}, "step-0", "no step of this name"),
    "list": ({"multi": "all"}, "multi", "cannot hold a list"),
    "default": ({"default": "x" * 101}, "default", "default does not fit"),
    "clear": ({"on_missing": "clear", "required": "y"}, "on_missing", "cannot be cleared"),
    "type": ({"type": "list"}, "type", "cannot hold this type"),
    "no json": ({"way": "json", "raw": "{"}, "raw", "not JSON"),
    "key twice": ({"way": "json", "raw": '{"source": "a", "source": "b"}'}, "raw", "not JSON"),
    "half a letter": ({"way": "json", "raw": '"\\ud800"'}, "raw", "not JSON"),
    "zero": ({"way": "json", "raw": '"\\u0000x"'}, "raw", "not JSON"),
    "deep": ({"way": "json", "raw": "[" * 100_000}, "raw", "not JSON"),
    "unknown key": ({"way": "json", "raw": '{"source": "a", "sauce": "b"}'}, "raw", "There is no key"),
}


@pytest.mark.parametrize(("values", "control", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_at_its_control_and_nothing_typed_is_lost(
    host: Host, browser: Browser, values: dict[str, str], control: str, said: str
) -> None:
    page = edit(browser, "first_name", **values)
    assert (page.status, stored(host).draft) == (422, None)
    assert (f'href="#samljit-{control}"' in told(page), said in told(page)) == (True, True)
    assert f'id="samljit-{control}"' in page.text
    form = rule_form(page)
    assert {name: form.value(name) for name in _controls(values)} == _controls(values)


def test_a_column_that_must_not_be_empty_keeps_its_rule(make: Make) -> None:
    host = make(tenant_fields=None)
    page = press(browser_of(host, FRED), "email", "remove")
    assert (page.status, "nobody new could sign in" in words(page), stored(host).draft) == (422, True, None)


@pytest.mark.parametrize("target", ["id", "active", "is_admin", "is_active", "no_such_column", "organization", ""])
def test_no_crafted_request_fills_a_field_that_claims_may_not_fill(make: Make, target: str) -> None:
    host = make(tenant_fields=lambda tenant: {"organization": tenant.slug}, user_model=_with_organization())
    browser = browser_of(host, FRED)
    page = browser.get(FIELD)
    assert f'<option value="{target}">' not in page.text.partition('name="field"')[2].partition("</select>")[0] or target == ""
    page = browser.submit(rule_form(page), {"do": "", "field": target, "source-0": "givenname"})
    assert (page.status, stored(host).draft) == (422, None)
    page = browser.submit(replace(rule_form(browser.get(FIELD)), action=field_url(target)), {"do": "", "source-0": "givenname"})
    assert (stored(host).draft, page.url in (CLAIMS, field_url(target))) == (None, True)


def _with_organization() -> Any:
    columns = {"locale": String(20), "job_title": String(100), "organization": String(50)}
    return make_user_model(**{name: mapped_column(kind) for name, kind in columns.items()})


def test_a_field_that_is_filled_already_is_not_added_once_more(host: Host, browser: Browser) -> None:
    page = edit(browser, None, field="first_name", source_0="surname")
    assert (page.status, "Choose one of the fields" in told(page), stored(host).draft) == (422, True, None)


def test_a_broken_field_does_not_keep_another_from_being_put_right(make: Make) -> None:
    host = make(tenant={"mapping": {"fields": {**FIELDS, "no_such": "x", "level": {"value": "high"}}}})
    browser = browser_of(host, FRED)
    shown = rows(browser.get(CLAIMS), "Fields and what fills them")
    assert ("no such field" in shown["no_such"], "does not fit the field" in shown["level"]) == (True, True)
    edit(browser, "level", way="value", value="3")
    assert own_rule(host, "level") == {"value": 3}
    page = edit(browser, "no_such", source_0="givenname")
    assert page.status == 422
    press(browser, "no_such", "remove")
    assert "no_such" not in own_mapping(host)["fields"]


# --- the document's own keys ------------------------------------------------------------------------------------------


def test_by_what_people_are_known_and_when_fields_are_written(host: Host, browser: Browser) -> None:
    page = top(browser, identity_0="emailaddress", sync_mode="if_empty")
    assert (page.url, page.history[-2].status) == (CLAIMS, 303)
    assert "can be given to somebody else one day" in words(page)
    assert (own_mapping(host)["identity"], own_mapping(host)["sync_mode"]) == ({"source": "emailaddress"}, "if_empty")
    top(browser, identity_0="", sync_mode="always")
    assert stored(host).draft is None
    page = top(browser, sync_mode="never")
    assert (page.status, 'href="#samljit-sync_mode"' in told(page)) == (422, True)


def test_what_is_live_stays_and_no_other_key_comes_in(host: Host, browser: Browser) -> None:
    before = stored(host).live
    smuggled = dict.fromkeys(("domains", "entity_id", "require_sso", "enabled", "offer_sso", "break_glass"), "x") | {"mapping": "{}"}
    edit(browser, "first_name", source_0="displayname", **smuggled)
    accounts(browser, max_users="5", **smuggled)
    assert set(stored(host).draft or ()) == {"mapping"}
    assert stored(host).live == before


# --- trials -----------------------------------------------------------------------------------------------------------


def test_a_mapping_is_tried_on_the_last_test_before_it_is_saved(host: Host, browser: Browser) -> None:
    sign_in(host.browser(), FABRIKAM, PERSON, f"{ORIGIN}/saml/fabrikam/login")
    keep_test(host)
    users, saved = host.users(), stored(host)
    page = edit(browser, "first_name", "try", source_0="department")
    assert page.status == 200
    tried = rows(page, "Fields")
    assert {name: "differs" in row for name, row in tried.items()} == {
        "first_name": True, "locale": False, "job_title": False, "email": False, "last_name": False, "display_name": False,
    }  # fmt: skip
    assert next(iter(tried)) == "first_name"
    assert tried["first_name"] == (
        "first_name differs Adele Unchanged The claim givenname says the same. Set Sales, IT Taken from the claim department."
    )
    assert "What is live The user record would need no change." in words(page)
    assert "With what you filled in The user record would be updated." in words(page)
    assert (host.users(), stored(host)) == (users, saved)
    assert rule_form(page).value("source-0") == "department"  # to go on with


@pytest.mark.parametrize(
    "sample",
    [
        '{"objectidentifier": "%s", "department": ["IT"], "emailaddress": "a@fabrikam.example"}',
        f"objectidentifier: %s\r\n{EMAIL_ADDRESS}: a@fabrikam.example\ndepartment: IT",
    ],
    ids=["json", "lines"],
)
def test_a_mapping_is_tried_on_pasted_claims(host: Host, browser: Browser, sample: str) -> None:
    page = edit(browser, None, "try", field="badge", source_0="department", sample=sample % ADELE.object_id)
    assert rows(page, "Fields")["badge"] == "badge differs - not in the mapping Set IT Taken from the claim department."
    assert words(page).count("A new user would be made.") == 2
    assert stored(host).draft is None


def test_a_refusal_is_tried_too_and_says_why(host: Host, browser: Browser) -> None:
    sample = f"objectidentifier: {ADELE.object_id}\nname: a@fabrikam.example"
    page = edit(browser, "first_name", "try", source_0="department", required="y", sample=sample)
    assert "With what you filled in The sign-in would be refused. A required field got no value" in words(page)


def test_a_draft_that_lacks_something_else_is_not_tried(make: Make) -> None:
    host = make(tenant={"mapping": {"fields": {**FIELDS, "no_such": "x"}}})
    page = edit(browser_of(host, FRED), "first_name", "try", sample="givenname: Adele")
    assert (page.status, "no such field" in told(page)) == (422, True)


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
    [form] = [one for one in browser.get(ACCOUNTS).forms if one.action == ACCOUNTS]
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
    [form] = [one for one in page.forms if one.action == ACCOUNTS]
    assert {name: form.value(name) for name in _controls(values) if name != "match"} == {
        name: value for name, value in _controls(values).items() if name != "match"
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
    form = next(one for one in browser.get(ACCOUNTS).forms if one.action == ACCOUNTS)
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
