"""Claims on the admin pages: rules of every kind and spelling, what is inherited, and trials of what is filled in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from samljit.testing import Browser, sign_in
from samljit.testing.people import EMAIL_ADDRESS
from tests.admin_host import FABRIKAM, OPERATOR, browser_of, rows_of, stored
from tests.host import ADELE, FIELDS, ORIGIN, Host, make_user_model
from tests.mapping_pages import (
    CLAIMS,
    FIELD,
    FRED,
    PERSON,
    Make,
    controls,
    edit,
    field_url,
    keep_test,
    own_mapping,
    press,
    rows,
    rule_form,
    told,
    top,
    words,
)
from tests.mapping_pages import made as made
from tests.mapping_pages import making as making
from tests.mapping_pages import opened as opened


def own_rule(host: Host, name: str) -> Any:
    return own_mapping(host)["fields"][name]


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


def test_claims_are_offered_as_they_came_and_those_that_nothing_uses_are_listed(host: Host, browser: Browser) -> None:
    keep_test(host)
    page = browser.get(CLAIMS).text
    unused = page.partition('id="samljit-unused"')[2].partition("</ul>")[0]
    assert ("costcenter" in unused, "0815" in unused, "jobtitle" in unused) == (True, True, False)
    assert '<option value="costcenter">costcenter · 0815</option>' in browser.get(field_url("last_name")).text


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
    assert {name: form.value(name) for name in controls(values)} == controls(values)


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


@pytest.mark.parametrize("sample", ["no claims at all", '{"a": 1}', '{"a": ' + "[" * 5000, "x" * 70_000])
def test_what_are_no_claims_is_told(host: Host, browser: Browser, sample: str) -> None:
    page = top(browser, "try", sample=sample)
    assert (page.status, "These are no claims" in page.text) == (422, True)
