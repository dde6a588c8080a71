"""The mapping document: what it may say, what is wrong with it, and how two are laid over each other."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from samljit.errors import Problem
from samljit.mapping.aliases import ALIASES, claim_name, short_name
from samljit.mapping.compile import BadTemplate, compile_mapping, parse_template
from samljit.mapping.document import MappingDocument, merge_documents
from samljit.mapping.mail import check_address, domain_key, is_in_domains
from samljit.mapping.problems import path_to, problems_of
from samljit.mapping.text import clean
from samljit.model import FieldRule, MappingRules, Multi, OnMissing, SyncMode, UserColumn, UserShape, ValueType

COLUMNS = (
    UserColumn("id", ValueType.INTEGER, nullable=False, has_default=True),
    UserColumn("email", ValueType.STRING, nullable=False, unique=True, length=254),
    UserColumn("first_name", ValueType.STRING, length=20),
    UserColumn("locale", ValueType.STRING, nullable=False, length=5, has_default=True),
    UserColumn("departments", ValueType.LIST),
    UserColumn("floor", ValueType.INTEGER, bits=16),
    UserColumn("is_contractor", ValueType.BOOLEAN),
    UserColumn("hired", ValueType.DATE),
    UserColumn("photo", None),
    UserColumn("is_admin", ValueType.BOOLEAN, nullable=False, has_default=True),
)
SHAPE = UserShape(
    columns={column.name: column for column in COLUMNS}, protected=frozenset({"id", "is_admin", "active"}), email_field="email"
)
EMAIL = {"email": "emailaddress"}


def compiled(document: dict[str, Any], **transforms: Any) -> tuple[MappingRules | None, list[Problem]]:
    return compile_mapping(document, shape=SHAPE, path="$.mapping", transforms=transforms)


def rule_of(entry: Any, *, target: str = "first_name", **section: Any) -> FieldRule:
    rules, problems = compiled({**section, "fields": {**EMAIL, target: entry}})
    assert rules is not None, problems
    return next(rule for rule in rules.fields if rule.target == target)


def faults(document: dict[str, Any]) -> list[tuple[str, str]]:
    _, problems = compiled(document)
    return [(problem.path, problem.code) for problem in problems]


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_alias_is_one_uri_and_back() -> None:
    assert len(set(ALIASES.values())) == len(ALIASES) == 15
    assert all(short_name(claim_name(alias)) == alias for alias in ALIASES)


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        pytest.param("=name", "name", id="a bare name that is an alias too"),
        pytest.param("==name", "=name", id="only the first sign is taken off"),
        pytest.param("emailaddress", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", id="xmlsoap"),
        pytest.param("objectidentifier", "http://schemas.microsoft.com/identity/claims/objectidentifier", id="microsoft"),
        pytest.param("role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role", id="microsoft 2008"),
        pytest.param("groups.link", "http://schemas.microsoft.com/claims/groups.link", id="overage"),
        pytest.param("department", "department", id="a bare name stands for itself"),
        pytest.param("EmailAddress", "EmailAddress", id="an alias has one spelling"),
        pytest.param("https://x.example/claims/emailaddress", "https://x.example/claims/emailaddress", id="never ends-with"),
        pytest.param("NameID", "NameID", id="NameID"),
    ],
)
def test_a_name_means_one_claim(name: str, claim: str) -> None:
    assert claim_name(name) == claim


# --- what a document compiles to --------------------------------------------------------------------------------------


def test_an_empty_entry_list_needs_nothing_but_what_the_columns_need() -> None:
    rules, problems = compiled({"fields": EMAIL})
    assert problems == []
    assert rules == MappingRules(
        identity_source=ALIASES["objectidentifier"],
        fields=(FieldRule("email", ValueType.STRING, sources=(ALIASES["emailaddress"],)),),
    )


@pytest.mark.parametrize(
    ("entry", "target", "expected"),
    [
        pytest.param("givenname", "first_name", {"sources": (ALIASES["givenname"],)}, id="a string is a source"),
        pytest.param({"source": "x"}, "first_name", {"sources": ("x",)}, id="one source"),
        pytest.param({"source": ["x", "NameID"]}, "first_name", {"sources": ("x", "NameID")}, id="sources in order"),
        pytest.param(
            {"template": "{x}-{upn}!"}, "first_name", {"template_parts": (("", "x"), ("-", ALIASES["upn"]), ("!", None))}, id="template"
        ),
        pytest.param({"value": "entra"}, "first_name", {"value": "entra", "has_value": True}, id="a constant"),
        pytest.param({"value": False}, "is_contractor", {"value": False, "has_value": True}, id="a false constant"),
        pytest.param({"value": 0}, "floor", {"value": 0, "has_value": True}, id="a zero constant"),
        pytest.param({"value": ["a", " b "]}, "departments", {"value": ["a", "b"]}, id="a list constant"),
        pytest.param({"value": "2026-01-31"}, "hired", {"value": date(2026, 1, 31)}, id="a date constant"),
        pytest.param({"source": "x", "multi": "all"}, "departments", {"multi": Multi.ALL}, id="all"),
        pytest.param({"source": "x", "multi": "join"}, "first_name", {"multi": Multi.JOIN, "separator": ", "}, id="join"),
        pytest.param({"source": "x", "multi": "join", "separator": ""}, "first_name", {"separator": ""}, id="an empty separator"),
        pytest.param({"source": "x", "multi": "single"}, "first_name", {"multi": Multi.SINGLE}, id="single"),
        pytest.param("x", "floor", {"type": ValueType.INTEGER}, id="the type comes from the column"),
        pytest.param({"source": "x", "type": "date"}, "first_name", {"type": ValueType.DATE}, id="a date kept as text"),
        pytest.param({"source": "x", "required": True}, "first_name", {"required": True}, id="required"),
        pytest.param({"source": "x", "default": "en"}, "locale", {"default": "en", "has_default": True}, id="default"),
        pytest.param({"source": "x", "default": 3}, "floor", {"default": 3, "has_default": True}, id="integer default"),
        pytest.param({"source": "x", "default": False}, "is_contractor", {"default": False, "has_default": True}, id="false default"),
        pytest.param({"source": "x", "default": "a"}, "departments", {"default": ["a"]}, id="a default for a list"),
        pytest.param({"source": "x", "sync_mode": "if_empty"}, "first_name", {"sync_mode": SyncMode.IF_EMPTY}, id="sync_mode"),
        pytest.param({"source": "x", "on_missing": "clear"}, "first_name", {"on_missing": OnMissing.CLEAR}, id="on_missing"),
    ],
)
def test_a_key_becomes_its_part_of_the_rule(entry: Any, target: str, expected: dict[str, Any]) -> None:
    rule = rule_of(entry, target=target)
    assert {name: getattr(rule, name) for name in expected} == expected


def test_the_documents_sync_mode_is_the_fields_default() -> None:
    assert rule_of("x", sync_mode="on_create").sync_mode is SyncMode.ON_CREATE
    assert rule_of({"source": "x", "sync_mode": "always"}, sync_mode="on_create").sync_mode is SyncMode.ALWAYS


@pytest.mark.parametrize(
    ("identity", "source"),
    [
        pytest.param({}, ALIASES["objectidentifier"], id="default"),
        pytest.param({"source": "employeeid", "match": "identifier"}, "employeeid", id="another claim"),
        pytest.param({"source": "https://idp.example/oid"}, "https://idp.example/oid", id="a URI"),
    ],
)
def test_identity_names_the_subject_claim(identity: dict[str, Any], source: str) -> None:
    rules, problems = compiled({"identity": identity, "fields": EMAIL})
    assert rules is not None
    assert (rules.identity_source, problems) == (source, [])


@pytest.mark.parametrize("source", ["tenantid", "groups", "identityprovider", ALIASES["role"], "=Groups", "memberOf"])
def test_a_subject_that_many_people_share_is_refused(source: str) -> None:
    rules, problems = compiled({"identity": {"source": source}, "fields": EMAIL})
    found = [(problem.path, problem.code, problem.is_warning) for problem in problems]
    assert (rules, found) == (None, [("$.mapping.identity.source", "shared_identity", False)])


@pytest.mark.parametrize("source", ["emailaddress", "name", "upn", "NameID", "mail", ALIASES["emailaddress"]])
def test_a_subject_that_can_change_is_warned_about_and_still_works(source: str) -> None:
    rules, problems = compiled({"identity": {"source": source}, "fields": EMAIL})
    assert rules is not None
    assert rules.identity_source == claim_name(source)
    found = [(problem.path, problem.code, problem.is_warning) for problem in problems]
    assert found == [("$.mapping.identity.source", "mutable_identity", True)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("{a}", (("", "a"),), id="a claim alone"),
        pytest.param("{a} {b}", (("", "a"), (" ", "b")), id="two"),
        pytest.param("{{{a}}}", (("{", "a"), ("}", None)), id="doubled braces are braces"),
        pytest.param("{http://x.example/a:b}", (("", "http://x.example/a:b"),), id="a URI with its colons"),
        pytest.param("{ givenname }", (("", ALIASES["givenname"]),), id="spaces around a name"),
    ],
)
def test_a_template_is_read(text: str, parts: Any) -> None:
    assert parse_template(text) == parts


@pytest.mark.parametrize("text", ["", "no claim", "{", "}", "{a", "a}", "{}", "{ }", "{a}{", "{{a}}", "{a{b}}"])
def test_a_template_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        parse_template(text)


# --- what is wrong with a document ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "entry", "path", "code"),
    [
        pytest.param("first_name", {"sorce": "x"}, ".first_name.sorce", "unknown_key", id="unknown key"),
        pytest.param("first_name", 3, ".first_name", "wrong_type", id="neither text nor object"),
        pytest.param("first_name", "", ".first_name", "invalid", id="blank source"),
        pytest.param("first_name", {"source": ["x", 3]}, ".first_name.source[1]", "wrong_type", id="a number among sources"),
        pytest.param("first_name", {"source": "x", "required": "yes"}, ".first_name.required", "wrong_type", id="text for a flag"),
        pytest.param("first_name", {"source": "x", "multi": "al"}, ".first_name.multi", "invalid", id="unknown multi"),
        pytest.param("first_name", {"source": "x", "sync_mode": "x"}, ".first_name.sync_mode", "invalid", id="unknown sync_mode"),
        pytest.param("first_name", {"source": "x", "on_missing": "x"}, ".first_name.on_missing", "invalid", id="unknown on_missing"),
        pytest.param("first_name", {"source": "x", "type": "float"}, ".first_name.type", "invalid", id="unknown type"),
        pytest.param("first_nam", "x", ".first_nam", "unknown_target", id="unknown target"),
        pytest.param("photo", "x", ".photo", "unknown_target", id="a column that claims cannot fill"),
        pytest.param("id", "x", ".id", "protected_target", id="primary key"),
        pytest.param("is_admin", {"value": True}, ".is_admin", "protected_target", id="privilege"),
        pytest.param("active", "x", ".active", "protected_target", id="protected and no column"),
        pytest.param("first_name", {}, ".first_name", "source_conflict", id="no source"),
        pytest.param("first_name", {"source": []}, ".first_name", "source_conflict", id="an empty list of sources"),
        pytest.param("first_name", {"source": "x", "value": "y"}, ".first_name", "source_conflict", id="source and value"),
        pytest.param("first_name", {"source": "x", "template": "{y}"}, ".first_name", "source_conflict", id="source and template"),
        pytest.param(
            "first_name", {"value": "x", "transform": ["lowercase"]}, ".first_name.transform", "source_conflict", id="a constant needs none"
        ),
        pytest.param("first_name", {"template": "{x"}, ".first_name.template", "bad_template", id="bad template"),
        pytest.param(
            "first_name", {"source": "x", "transform": ["lowrcase"]}, ".first_name.transform[0]", "unknown_transform", id="transform"
        ),
        pytest.param(
            "first_name", {"source": "x", "transform": ["split"]}, ".first_name.transform[0]", "unknown_transform", id="split at what"
        ),
        pytest.param(
            "first_name", {"source": "x", "transform": [{"splt": ","}]}, ".first_name.transform[0].splt", "unknown_key", id="unknown step"
        ),
        pytest.param(
            "first_name", {"source": "x", "transform": [{"split": ""}]}, ".first_name.transform[0].split", "invalid", id="split at nothing"
        ),
        pytest.param("first_name", {"source": "x", "transform": [{}]}, ".first_name.transform[0]", "invalid", id="a step without a step"),
        pytest.param(
            "first_name",
            {"source": "x", "transform": [{"map": {"a": 1}}]},
            ".first_name.transform[0].map.a",
            "wrong_type",
            id="map to a number",
        ),
        pytest.param("first_name", {"source": "x", "multi": "all"}, ".first_name.multi", "multi_mismatch", id="all needs a list"),
        pytest.param("first_name", {"source": "x", "separator": "-"}, ".first_name.separator", "multi_mismatch", id="idle separator"),
        pytest.param("floor", {"source": "x", "type": "date"}, ".floor.type", "type_mismatch", id="a date in an integer column"),
        pytest.param("floor", {"source": "x", "default": "3"}, ".floor.default", "default_type", id="text for an integer"),
        pytest.param("floor", {"source": "x", "default": True}, ".floor.default", "default_type", id="true for an integer"),
        pytest.param("floor", {"source": "x", "default": 40_000}, ".floor.default", "default_type", id="too large for the column"),
        pytest.param("first_name", {"source": "x", "default": 3}, ".first_name.default", "default_type", id="a number for text"),
        pytest.param("locale", {"source": "x", "default": "en-GB-x"}, ".locale.default", "default_type", id="too long for the column"),
        pytest.param("locale", {"source": "x", "default": "\u200b "}, ".locale.default", "default_type", id="a blank default"),
        pytest.param("locale", {"source": "x", "default": ["en"]}, ".locale.default", "default_type", id="a list for text"),
        pytest.param("hired", {"source": "x", "default": "31.1.2026"}, ".hired.default", "default_type", id="not an ISO date"),
        pytest.param("is_contractor", {"value": "true"}, ".is_contractor.value", "value_type", id="a flag in quotes"),
        pytest.param("email", {"source": "x", "default": "nobody"}, ".email.default", "default_type", id="not an address"),
        pytest.param("email", {"source": "x", "on_missing": "clear"}, ".email.on_missing", "clear_not_allowed", id="clear unique"),
        pytest.param("locale", {"source": "x", "on_missing": "clear"}, ".locale.on_missing", "clear_not_allowed", id="clear non-null"),
        pytest.param(
            "first_name",
            {"source": "x", "required": True, "on_missing": "clear"},
            ".first_name.on_missing",
            "clear_not_allowed",
            id="clear required",
        ),
        pytest.param(
            "first_name",
            {"source": "x", "sync_mode": "on_create", "on_missing": "clear"},
            ".first_name.on_missing",
            "clear_not_allowed",
            id="clear what is written once",
        ),
    ],
)
def test_a_fault_of_a_field_is_named_with_its_place(target: str, entry: Any, path: str, code: str) -> None:
    found = faults({"fields": {**EMAIL, target: entry}})
    assert ("$.mapping.fields" + path, code) in found
    assert {place for place, _ in found} == {"$.mapping.fields" + path}


@pytest.mark.parametrize(
    ("document", "path", "code"),
    [
        pytest.param({"feilds": {}, "fields": EMAIL}, "$.mapping.feilds", "unknown_key", id="unknown section"),
        pytest.param({"fields": EMAIL, "sync_mode": "x"}, "$.mapping.sync_mode", "invalid", id="sync_mode"),
        pytest.param({"fields": EMAIL, "identity": {"sauce": "x"}}, "$.mapping.identity.sauce", "unknown_key", id="identity key"),
        pytest.param({"fields": EMAIL, "identity": {"match": "email"}}, "$.mapping.identity.match", "invalid", id="identity match"),
        pytest.param({"fields": EMAIL, "roles": 3}, "$.mapping.roles", "wrong_type", id="roles"),
        pytest.param({"fields": EMAIL, "policy": []}, "$.mapping.policy", "wrong_type", id="policy"),
        pytest.param({"fields": EMAIL, "identity": {"source": "="}}, "$.mapping.identity.source", "invalid", id="no name"),
        pytest.param({"fields": {}}, "$.mapping.fields", "unfilled_column", id="a column that nothing fills"),
        pytest.param({}, "$.mapping.fields", "unfilled_column", id="no fields at all"),
    ],
)
def test_a_fault_of_a_section_is_named_with_its_place(document: dict[str, Any], path: str, code: str) -> None:
    assert faults(document) == [(path, code)]


@pytest.mark.parametrize(
    "document", [{"fields": []}, {"fields": None}, {"identity": 3}, {1: 2}, {"sync_mode": []}, {"fields": {"email": []}}]
)
def test_a_document_of_another_shape_is_refused_and_never_raises(document: dict[Any, Any]) -> None:
    rules, problems = compiled(document)
    assert rules is None
    assert problems


def test_a_host_that_fills_columns_of_its_own_is_trusted_to_fill_them() -> None:
    rules, problems = compile_mapping({}, shape=replace(SHAPE, host_fills=True), path="$")
    assert (rules is not None, problems) == (True, [])


def test_every_fault_is_told_at_once() -> None:
    entries = {"email": {"template": "{"}, "first_nam": "x", "id": "x", "floor": {"source": "x", "default": "3", "multi": "all"}}
    assert faults({"fields": entries, "rolls": {}, "policy": {"guests": 1}, "identity": {"match": "x"}}) == [
        ("$.mapping.identity.match", "invalid"),
        ("$.mapping.policy.guests", "invalid"),
        ("$.mapping.rolls", "unknown_key"),
        ("$.mapping.fields.email.template", "bad_template"),
        ("$.mapping.fields.first_nam", "unknown_target"),
        ("$.mapping.fields.id", "protected_target"),
        ("$.mapping.fields.floor.multi", "multi_mismatch"),
        ("$.mapping.fields.floor.default", "default_type"),
    ]


@pytest.mark.parametrize(
    ("document", "nearest"),
    [
        pytest.param({"fields": {**EMAIL, "first_nam": "x"}}, '"first_name"', id="a column"),
        pytest.param({"fields": {"email": {"source": "x", "transform": ["lowrcase"]}}}, '"lowercase"', id="a transform"),
        pytest.param({"fields": {"email": {"source": "x", "requird": True}}}, '"required"', id="a key"),
        pytest.param({"fields": {"email": {"source": "x", "multi": "frist"}}}, '"first"', id="a choice"),
    ],
)
def test_the_hint_names_what_was_nearly_written(document: dict[str, Any], nearest: str) -> None:
    _, problems = compiled(document)
    assert [nearest in problem.hint for problem in problems] == [True]


def test_a_default_that_required_makes_idle_is_only_warned_about() -> None:
    rules, problems = compiled({"fields": {"email": {"source": "x", "required": True, "default": "a@b.example"}}})
    assert rules is not None
    assert [(problem.code, problem.is_warning) for problem in problems] == [("default_unused", True)]


def test_a_host_can_register_a_transform_and_cannot_replace_a_built_in_one() -> None:
    document = {"fields": {"email": {"source": "x", "transform": ["shout", "lowercase"]}}}
    rules, problems = compiled(document, shout=str.upper, lowercase=str.upper)
    assert rules is not None
    assert problems == []
    shout, lowercase = rules.fields[0].transforms
    assert (shout("a"), lowercase("A")) == ("A", "a")


# --- one document over another ----------------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "identity": {"source": "employeeid"},
    "sync_mode": "on_create",
    "fields": {"email": "emailaddress", "first_name": "givenname"},
}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param({}, DEFAULTS, id="nothing"),
        pytest.param({"sync_mode": "always"}, {**DEFAULTS, "sync_mode": "always"}, id="a scalar"),
        pytest.param({"identity": {"match": "identifier"}}, {**DEFAULTS, "identity": {"match": "identifier"}}, id="a section as a whole"),
        pytest.param({"fields": {"floor": "x"}}, {**DEFAULTS, "fields": {**DEFAULTS["fields"], "floor": "x"}}, id="another target"),
        pytest.param(
            {"fields": {"email": {"source": "mail"}}},
            {**DEFAULTS, "fields": {"email": {"source": "mail"}, "first_name": "givenname"}},
            id="a target anew",
        ),
        pytest.param({"fields": {"first_name": None}}, {**DEFAULTS, "fields": {"email": "emailaddress"}}, id="null drops a target"),
        pytest.param({"identity": None}, {**DEFAULTS, "identity": None}, id="null is no section: it stays, to be refused"),
        pytest.param({"fields": []}, {**DEFAULTS, "fields": []}, id="what is no object stays, to be refused"),
    ],
)
def test_a_tenants_document_is_laid_over_the_defaults(own: dict[str, Any], expected: dict[str, Any]) -> None:
    before = json.dumps(DEFAULTS)
    assert merge_documents(DEFAULTS, own) == expected
    assert json.dumps(DEFAULTS) == before


def test_a_null_that_drops_nothing_is_pointed_at() -> None:
    rules, problems = compiled(merge_documents({"fields": EMAIL}, {"fields": {"emial": None}}))
    assert rules is not None
    found = [(problem.path, problem.code, problem.is_warning) for problem in problems]
    assert found == [("$.mapping.fields.emial", "unknown_target", True)]


def test_the_schema_offers_short_and_long_entries_and_every_section() -> None:
    schema = MappingDocument.model_json_schema()
    assert set(schema["properties"]) == {"identity", "sync_mode", "fields", "roles", "policy"}
    kinds = schema["properties"]["fields"]["additionalProperties"]["anyOf"]
    assert [kind.get("type", kind.get("$ref")) for kind in kinds] == ["string", "#/$defs/FieldDocument", "null"]
    assert schema["additionalProperties"] is False


# --- problems ---------------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Inner(Strict):
    name: str = Field(description="The customer's name.", examples=["Contoso"])
    size: int = Field(default=1, le=5)
    mode: Literal["always", "never"] = "always"
    hosts: list[str] = []
    either: str | list[int] = ""


class Outer(Strict):
    inner: dict[str, Inner]
    maybe: Inner | None = None


GOOD = {"name": "x"}


@pytest.mark.parametrize(
    ("document", "path", "code", "said"),
    [
        pytest.param({}, "$.inner", "missing", "required", id="missing"),
        pytest.param({"inner": {"a": {}}}, "$.inner.a.name", "missing", 'For example "Contoso".', id="missing, with an example"),
        pytest.param({"inner": {}, "iner": 1}, "$.iner", "unknown_key", 'Did you mean "inner"?', id="unknown key"),
        pytest.param({"inner": {"a": {**GOOD, "host": 1}}}, "$.inner.a.host", "unknown_key", '"hosts"', id="unknown key deep down"),
        pytest.param({"inner": {}, "maybe": {**GOOD, "x": 1}}, "$.maybe.x", "unknown_key", "either, hosts, mode", id="nothing near"),
        pytest.param({"inner": []}, "$.inner", "wrong_type", "an object, not a list", id="list for object"),
        pytest.param({"inner": {"a-b": {"name": None}}}, '$.inner["a-b"].name', "wrong_type", "text, not null", id="null for text"),
        pytest.param({"inner": {"a": {**GOOD, "hosts": ["x", 3]}}}, "$.inner.a.hosts[1]", "wrong_type", "quotes", id="inside a list"),
        pytest.param({"inner": {"a": {**GOOD, "size": True}}}, "$.inner.a.size", "wrong_type", "not true/false", id="true for number"),
        pytest.param({"inner": {"a": {**GOOD, "size": 9}}}, "$.inner.a.size", "invalid", "Must be 5 or less.", id="limit"),
        pytest.param({"inner": {"a": {**GOOD, "mode": "nevr"}}}, "$.inner.a.mode", "invalid", 'Did you mean "never"?', id="choice"),
        pytest.param({"inner": {"a": {**GOOD, "either": 1}}}, "$.inner.a.either", "wrong_type", "text or a list", id="union"),
        pytest.param({"inner": {"a": {**GOOD, "either": ["x"]}}}, "$.inner.a.either[0]", "wrong_type", "whole number", id="inside a union"),
    ],
)
def test_a_pydantic_error_becomes_a_problem_with_path_code_and_remedy(document: Any, path: str, code: str, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(document)
    problems = problems_of(raised.value, prefix="$", known=Outer)
    assert [(problem.path, problem.code) for problem in problems] == [(path, code)]
    assert said in str(problems[0])


def test_no_problem_repeats_a_value() -> None:
    secret = "s3cr3t" * 20
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate({"inner": {"a": {"name": [secret], "mode": secret, "size": secret, "hosts": secret, "either": {secret: 1}}}})
    problems = problems_of(raised.value, prefix="$", known=Outer)
    assert len(problems) == 5
    assert not any("s3cr3t" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        pytest.param(("a", 0, "b_1"), "$.a[0].b_1", id="plain"),
        pytest.param(("a-b", 'c"d'), '$["a-b"]["c\\"d"]', id="quoted"),
        pytest.param(("x\n",), '$["x\\n"]', id="control characters"),
        pytest.param(("k" * 500,), '$["' + "k" * 57 + '..."]', id="shortened"),
    ],
)
def test_a_path_can_be_read_by_people_and_machines(parts: tuple[str | int, ...], path: str) -> None:
    assert path_to("$", *parts) == path


# --- text and addresses -----------------------------------------------------------------------------------------------

PERSIAN = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"  # Ali-Reza


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("  Ada \n", "Ada", id="trimmed"),
        pytest.param("Ada\nKing\tLovelace", "Ada King Lovelace", id="line ends and tabs are spaces"),
        pytest.param("A\x00d\x07a\x7f\x9f", "Ada", id="control characters"),
        pytest.param("\ufeffA\u200bd\u2060a\u00ad", "Ada", id="zero width"),
        pytest.param("\u202eadA\u202c \u2066x\u2069\u200f", "adA x", id="bidi"),
        pytest.param("A\U000e0041\U000e007f", "A", id="tag characters"),
        pytest.param("\u3164\u115f\u2800\ufe0f", "", id="blank letters"),
        pytest.param("e\u0301", "\u00e9", id="NFC"),
        pytest.param("e\u200b\u0301", "\u00e9", id="NFC of what is left"),
        pytest.param("\ud800a", "a", id="half of a pair"),
        pytest.param("a\u00a0b\u2028c", "a b c", id="other spaces"),
        pytest.param("a\u200cd\u200da", "ada", id="joiners that spell nothing"),
        pytest.param(PERSIAN, PERSIAN, id="a Persian name keeps its non-joiner"),
        pytest.param("ශ්\u200dරී", "ශ්\u200dරී", id="a Sinhala word keeps its joiner"),
        pytest.param("葛\U000e0100城", "葛\U000e0100城", id="a Japanese name keeps the form of its character"),
        pytest.param("<b>'; DROP--{{x}}\\r", "<b>'; DROP--{{x}}\\r", id="markup is text"),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


ODD = "\u200c\u200d\ufe0fa\u0301\u0627\u064e\u0639\u094d\u200b\u202e\u115f"
AWKWARD = st.text(alphabet=st.one_of(st.characters(), st.sampled_from(ODD)))


@given(AWKWARD)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not {unicodedata.category(char) for char in once} & {"Cc", "Cs"}


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        pytest.param("Ada.Lovelace@Contoso.com", "Ada.Lovelace@Contoso.com", id="case stays"),
        pytest.param("ada@contoso.local", "ada@contoso.local", id="a domain of the house"),
        pytest.param("ada@B\u00fccher.Local", "ada@b\u00fccher.Local", id="an IDN of the house"),
        pytest.param("ada@intranet", "ada@intranet", id="one label"),
        pytest.param("bob_fabrikam.com#EXT#@contoso.com", "bob_fabrikam.com#EXT#@contoso.com", id="a guest's login name"),
        pytest.param("ada@\uff43ontoso.com", "ada@contoso.com", id="wide letters in the domain"),
        pytest.param("ada@bücher.example", "ada@bücher.example", id="IDN"),
    ],
)
def test_an_address_is_kept_as_it_is(address: str, kept: str) -> None:
    assert check_address(address) == kept


NO_ADDRESSES = ["ada", "@x.example", "ada@", "a b@x.example", "Ada <ada@x.example>", "a@b@c.example", "a@x..example", "a,b@", "a@.local"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ValueError, match=r"^is not an e-mail address$"):
        check_address(address)


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        pytest.param("a@contoso.com", True, id="the domain"),
        pytest.param("a@CONTOSO.Com", True, id="any case"),
        pytest.param("a@xn--bcher-kva.example", True, id="A-label for U-label"),
        pytest.param("a@BÜCHER.example", True, id="U-label in capitals"),
        pytest.param("a@mail.contoso.com", False, id="a sub-domain is another domain"),
        pytest.param("a@notcontoso.com", False, id="ends with"),
        pytest.param("a@contoso.com.evil.example", False, id="begins with"),
        pytest.param("contoso.com@evil.example", False, id="in the local part"),
        pytest.param("a@\u0441\u043entoso.com", False, id="Cyrillic look-alikes"),
    ],
)
def test_domains_are_compared_as_a_labels_exactly(address: str, is_in: bool) -> None:
    assert is_in_domains(address, ("contoso.com", "bücher.example")) is is_in


def test_a_domain_that_idna_does_not_know_still_equals_itself() -> None:
    assert domain_key("Ad_Corp.example") == domain_key("ad_corp.example.")


def test_a_protected_column_that_nothing_fills_is_told_at_start_up_not_by_the_database() -> None:
    columns = {**SHAPE.columns, "password_hash": UserColumn("password_hash", ValueType.STRING, nullable=False)}
    shape = replace(SHAPE, columns=columns, protected=SHAPE.protected | {"password_hash"})
    _, problems = compile_mapping({"fields": EMAIL}, shape=shape, path="$.mapping")
    assert [problem.code for problem in problems] == ["unfilled_column"]
