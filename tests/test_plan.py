"""The decision engine: what claims do to a user, field by field, and the properties that hold for any claims at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samljit.errors import Reason
from samljit.mapping.aliases import ALIASES
from samljit.mapping.compile import compile_mapping
from samljit.model import (
    ExistingUser,
    FieldAction,
    FieldDecision,
    FieldRule,
    FieldWhy,
    MappingRules,
    NameId,
    Outcome,
    Plan,
    UserColumn,
    UserShape,
    ValueType,
)
from samljit.provision.plan import plan_sign_in

COLUMNS = (
    UserColumn("id", ValueType.INTEGER, nullable=False, has_default=True),
    UserColumn("email", ValueType.STRING, unique=True, length=60),
    UserColumn("name", ValueType.STRING, length=20),
    UserColumn("bio", ValueType.STRING),
    UserColumn("tags", ValueType.LIST),
    UserColumn("floor", ValueType.INTEGER),
    UserColumn("desk", ValueType.INTEGER, bits=16),
    UserColumn("is_contractor", ValueType.BOOLEAN),
    UserColumn("hired", ValueType.DATE),
    UserColumn("code", ValueType.STRING, nullable=False, has_default=True),
    UserColumn("strict", ValueType.STRING, nullable=False, has_default=True),
)
SHAPE = UserShape(columns={column.name: column for column in COLUMNS}, protected=frozenset({"id", "active"}), email_field="email")
NAME_ID = NameId("ada@contoso.com")
Claims = dict[str, tuple[str, ...]]

SET, UNCHANGED, KEPT, CLEARED = FieldAction.SET, FieldAction.UNCHANGED, FieldAction.KEPT, FieldAction.CLEARED
REFUSED, BLOCKED = FieldAction.REFUSED, FieldAction.BLOCKED


def fail_with_the_value(value: str) -> str:
    raise ValueError(f"cannot use {value}")


HOST_TRANSFORMS: dict[str, Any] = {
    "shout": str.upper,
    "twice": lambda value: [value, value],
    "nothing": lambda value: [],
    "broken": fail_with_the_value,
    "wrong": lambda value: None,
}


def rules_for(fields: dict[str, Any], *, shape: UserShape = SHAPE, sync_mode: str = "always") -> MappingRules:
    document = {"fields": fields, "sync_mode": sync_mode}
    rules, problems = compile_mapping(document, shape=shape, path="$", transforms=HOST_TRANSFORMS)
    assert rules is not None, problems
    return rules


def plan(fields: dict[str, Any], claims: Claims, *, old: dict[str, Any] | None = None, **more: Any) -> Plan:
    user = None if old is None else ExistingUser(id=1, is_active=True, values=old)
    return plan_sign_in(claims, **{"name_id": NAME_ID, "mapping": rules_for(fields), "shape": SHAPE, "user": user, **more})


def decided(result: Plan) -> list[tuple[str, FieldAction, FieldWhy]]:
    return [(decision.field, decision.action, decision.why) for decision in result.decisions]


# --- what comes of the claims -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "claims", "values"),
    [
        pytest.param({"name": "x"}, {"x": ("Ada",)}, {"name": "Ada"}, id="a claim"),
        pytest.param({"name": "givenname"}, {ALIASES["givenname"]: ("Ada",)}, {"name": "Ada"}, id="an alias"),
        pytest.param({"name": "givenname"}, {"givenname": ("Ada",)}, {}, id="an alias is not its bare name"),
        pytest.param({"name": "NameID"}, {}, {"name": "ada@contoso.com"}, id="the NameID"),
        pytest.param({"name": {"source": ["x", "y"]}}, {"y": ("Ada",)}, {"name": "Ada"}, id="second source"),
        pytest.param({"name": {"source": ["x", "y"]}}, {"x": (" ", "\u200b"), "y": ("Ada",)}, {"name": "Ada"}, id="a blank source loses"),
        pytest.param({"name": {"source": ["x", "y"]}}, {"y": ("no",), "x": ("Ada",)}, {"name": "Ada"}, id="the order is the mapping's"),
        pytest.param({"name": "x"}, {"x": (" \u202eA\u200bda\n",)}, {"name": "Ada"}, id="cleaned"),
        pytest.param({"name": {"template": "{x} {y}"}}, {"x": ("Ada",), "y": ("King",)}, {"name": "Ada King"}, id="template"),
        pytest.param({"name": {"template": "{x} {y}"}}, {"y": (" King ",)}, {"name": "King"}, id="template with a part missing"),
        pytest.param({"name": {"template": "{x}  - {y}"}}, {"x": ("A\u00a0 B",), "y": ("C",)}, {"name": "A B - C"}, id="inner spaces"),
        pytest.param({"name": {"template": "Dr {x}"}}, {}, {}, id="template with all parts blank"),
        pytest.param({"name": {"template": "{x}"}}, {"x": ("{y}",), "y": ("no",)}, {"name": "{y}"}, id="a value is no template"),
        pytest.param({"name": {"value": "entra"}}, {}, {"name": "entra"}, id="constant"),
        pytest.param({"is_contractor": {"value": False}}, {}, {"is_contractor": False}, id="false constant"),
        pytest.param({"name": {"source": "x", "transform": ["lowercase"]}}, {"x": ("ADA",)}, {"name": "ada"}, id="lowercase"),
        pytest.param({"name": {"source": "x", "transform": ["localpart"]}}, {"x": ("a@b@c",)}, {"name": "a@b"}, id="localpart"),
        pytest.param({"name": {"source": "x", "transform": ["localpart"]}}, {"x": ("ada",)}, {"name": "ada"}, id="localpart of none"),
        pytest.param({"name": {"source": "x", "transform": ["localpart"]}}, {"x": ("@c",)}, {}, id="an empty localpart"),
        pytest.param({"name": {"source": "x", "transform": ["domain"]}}, {"x": ("a@b@c",)}, {"name": "c"}, id="domain"),
        pytest.param({"name": {"source": "x", "transform": ["domain"]}}, {"x": ("ada",)}, {}, id="domain of none"),
        pytest.param(
            {"name": {"source": "x", "transform": ["lowercase", {"map": {"se": "Sweden"}}]}}, {"x": ("SE",)}, {"name": "Sweden"}, id="map"
        ),
        pytest.param({"name": {"source": "x", "transform": [{"map": {"a": ""}}]}}, {"x": ("a",)}, {}, id="map to nothing"),
        pytest.param(
            {"tags": {"source": "x", "transform": [{"split": ";"}], "multi": "all"}},
            {"x": ("a; b;;", "c")},
            {"tags": ["a", "b", "c"]},
            id="split",
        ),
        pytest.param({"name": {"source": "x", "transform": [{"split": "-"}]}}, {"x": ("-b-c",)}, {"name": "b"}, id="first of split"),
        pytest.param({"name": {"source": "x", "transform": ["shout"]}}, {"x": ("ada",)}, {"name": "ADA"}, id="host's transform"),
        pytest.param({"name": {"source": "x", "transform": ["nothing"]}}, {"x": ("ada",)}, {}, id="host's transform gives nothing"),
        pytest.param({"name": "x"}, {"x": ("", "a", "b")}, {"name": "a"}, id="first"),
        pytest.param({"tags": {"source": "x", "multi": "all"}}, {"x": ("a", " ", "b")}, {"tags": ["a", "b"]}, id="all"),
        pytest.param({"tags": "x"}, {"x": ("a", "b")}, {"tags": ["a"]}, id="first of a list column"),
        pytest.param({"name": {"source": "x", "multi": "join"}}, {"x": ("a", "b")}, {"name": "a, b"}, id="join"),
        pytest.param({"name": {"source": "x", "multi": "join", "separator": "/"}}, {"x": ("a", "b")}, {"name": "a/b"}, id="separator"),
        pytest.param({"name": {"source": "x", "multi": "single"}}, {"x": ("a", " ")}, {"name": "a"}, id="single beside a blank"),
        pytest.param({"is_contractor": "x"}, {"x": ("YES",)}, {"is_contractor": True}, id="yes"),
        pytest.param({"is_contractor": "x"}, {"x": ("0",)}, {"is_contractor": False}, id="zero is false"),
        pytest.param({"floor": "x"}, {"x": ("-007",)}, {"floor": -7}, id="integer"),
        pytest.param({"floor": "x"}, {"x": ("9223372036854775807",)}, {"floor": 2**63 - 1}, id="largest integer"),
        pytest.param({"name": "x"}, {"x": ("007",)}, {"name": "007"}, id="leading zeros of text stay"),
        pytest.param({"hired": "x"}, {"x": ("2026-01-31",)}, {"hired": date(2026, 1, 31)}, id="date"),
        pytest.param({"hired": "x"}, {"x": ("2026-01-31T23:00:00.1234567Z",)}, {"hired": date(2026, 1, 31)}, id="date with a time"),
        pytest.param({"name": {"source": "x", "type": "date"}}, {"x": ("2026-01-31",)}, {"name": "2026-01-31"}, id="date as text"),
        pytest.param({"name": {"source": "x", "type": "boolean"}}, {"x": ("Yes",)}, {"name": "true"}, id="flag as text"),
        pytest.param({"name": {"source": "x", "type": "integer"}}, {"x": ("+07",)}, {"name": "7"}, id="integer as text"),
        pytest.param({"floor": {"source": "x", "type": "boolean"}}, {"x": ("true",)}, {"floor": 1}, id="flag as integer"),
        pytest.param({"email": "x"}, {"x": ("Ada.L@Contoso.com",)}, {"email": "Ada.L@Contoso.com"}, id="an address keeps its case"),
        pytest.param({"name": {"source": "x", "default": "N. N."}}, {}, {"name": "N. N."}, id="default"),
        pytest.param({"name": {"source": "x", "default": "N. N."}}, {"x": ("Ada",)}, {"name": "Ada"}, id="default not needed"),
        pytest.param({"is_contractor": {"source": "x", "default": False}}, {}, {"is_contractor": False}, id="false default"),
        pytest.param({"code": "x"}, {}, {}, id="the column's own default"),
        pytest.param({"name": {"source": "x", "on_missing": "clear"}}, {}, {}, id="nothing to clear in a new user"),
        pytest.param({"name": {"source": "x", "sync_mode": "on_create"}}, {"x": ("Ada",)}, {"name": "Ada"}, id="on_create"),
        pytest.param({"name": {"source": "x", "sync_mode": "if_empty"}}, {"x": ("Ada",)}, {"name": "Ada"}, id="if_empty"),
        pytest.param({}, {"x": ("Ada",), "name": ("Ada",)}, {}, id="no rule, no field"),
        pytest.param({"name": "x"}, {"x": ("x" * 20,)}, {"name": "x" * 20}, id="as long as the column"),
        pytest.param({"name": "x"}, {"x": ("\U0001f600" * 20,)}, {"name": "\U0001f600" * 20}, id="length counts characters"),
        pytest.param({"bio": "x"}, {"x": ("<b>' OR 1=1 --",)}, {"bio": "<b>' OR 1=1 --"}, id="markup is text"),
    ],
)
def test_a_new_user_gets_what_the_mapping_says(fields: dict[str, Any], claims: Claims, values: dict[str, Any]) -> None:
    result = plan(fields, claims)
    assert (result.outcome, result.reason) == (Outcome.CREATE, None)
    assert dict(result.values) == values
    assert {name: type(value) for name, value in result.values.items()} == {name: type(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("entry", "claims", "old", "action", "why", "new"),
    [
        pytest.param("x", {"x": ("New",)}, "Old", SET, FieldWhy.CLAIM, "New", id="changed"),
        pytest.param("x", {"x": (" Old ",)}, "Old", UNCHANGED, FieldWhy.SAME, "Old", id="the same"),
        pytest.param("x", {"x": ("old",)}, "Old", SET, FieldWhy.CLAIM, "old", id="case is a change"),
        pytest.param("x", {}, "Old", KEPT, FieldWhy.MISSING, "Old", id="absent"),
        pytest.param("x", {"x": ()}, "Old", KEPT, FieldWhy.MISSING, "Old", id="no value"),
        pytest.param("x", {"x": ("", " \u200b")}, "Old", KEPT, FieldWhy.MISSING, "Old", id="a blank never overwrites"),
        pytest.param({"source": "x", "transform": ["domain"]}, {"x": ("a",)}, "Old", KEPT, FieldWhy.MISSING, "Old", id="blank at last"),
        pytest.param({"source": "x", "default": "D"}, {}, "Old", KEPT, FieldWhy.MISSING, "Old", id="no default later, kept"),
        pytest.param({"source": "x", "default": "D"}, {}, None, KEPT, FieldWhy.MISSING, None, id="no default later"),
        pytest.param({"source": "x", "on_missing": "clear"}, {}, "Old", CLEARED, FieldWhy.MISSING, None, id="clear, absent"),
        pytest.param({"source": "x", "on_missing": "clear"}, {"x": (" ",)}, "Old", CLEARED, FieldWhy.MISSING, None, id="clear, blank"),
        pytest.param({"source": "x", "on_missing": "clear"}, {}, None, UNCHANGED, FieldWhy.MISSING, None, id="clear, empty already"),
        pytest.param({"source": "x", "on_missing": "clear"}, {"x": ("New",)}, "Old", SET, FieldWhy.CLAIM, "New", id="clear, present"),
        pytest.param({"source": "x", "sync_mode": "on_create"}, {"x": ("New",)}, "Old", KEPT, FieldWhy.CREATE_ONLY, "Old", id="on_create"),
        pytest.param({"source": "x", "sync_mode": "on_create"}, {"x": ("New",)}, None, KEPT, FieldWhy.CREATE_ONLY, None, id="not later"),
        pytest.param({"source": "x", "sync_mode": "if_empty"}, {"x": ("New",)}, "Old", KEPT, FieldWhy.NOT_EMPTY, "Old", id="if_empty"),
        pytest.param({"source": "x", "sync_mode": "if_empty"}, {"x": ("New",)}, None, SET, FieldWhy.CLAIM, "New", id="if_empty, null"),
        pytest.param({"source": "x", "sync_mode": "if_empty"}, {"x": ("New",)}, " ", SET, FieldWhy.CLAIM, "New", id="if_empty, blank"),
        pytest.param({"value": "v"}, {}, "Old", SET, FieldWhy.CONSTANT, "v", id="constant"),
        pytest.param({"value": "v"}, {}, "v", UNCHANGED, FieldWhy.SAME, "v", id="constant, the same"),
        pytest.param({"value": "v", "sync_mode": "on_create"}, {}, "Old", KEPT, FieldWhy.CREATE_ONLY, "Old", id="constant, on_create"),
        pytest.param(
            {"source": "x", "sync_mode": "on_create"}, {"x": ("y" * 99,)}, "Old", KEPT, FieldWhy.CREATE_ONLY, "Old", id="not even checked"
        ),
    ],
)
def test_an_existing_user_gets_what_sync_mode_and_on_missing_say(
    entry: Any, claims: Claims, old: Any, action: FieldAction, why: FieldWhy, new: Any
) -> None:
    result = plan({"name": entry}, claims, old={"name": old})
    assert [(one.action, one.why, one.old, one.new) for one in result.decisions] == [(action, why, old, new)]
    is_written = action in (SET, CLEARED)
    assert result.outcome is (Outcome.UPDATE if is_written else Outcome.UNCHANGED)
    assert dict(result.values) == ({"name": new} if is_written else {})


@pytest.mark.parametrize(
    ("field", "entry", "text", "old"),
    [
        pytest.param("floor", "x", "7", 7, id="integer"),
        pytest.param("is_contractor", "x", "no", False, id="boolean"),
        pytest.param("hired", "x", "2026-01-31", date(2026, 1, 31), id="date"),
        pytest.param("tags", {"source": "x", "multi": "all"}, "a", ["a"], id="list"),
        pytest.param("tags", {"source": "x", "multi": "all"}, "a", ("a",), id="tuple"),
        pytest.param("name", "x", "e\u0301", "\u00e9", id="another normal form"),
    ],
)
def test_what_a_column_holds_already_is_not_written(field: str, entry: Any, text: str, old: Any) -> None:
    result = plan({field: entry}, {"x": (text,)}, old={field: old})
    assert (result.outcome, dict(result.values)) == (Outcome.UNCHANGED, {})


@pytest.mark.parametrize(
    ("field", "text", "old"),
    [
        pytest.param("floor", "1", True, id="true is not 1"),
        pytest.param("is_contractor", "true", 1, id="1 is not true"),
        pytest.param("name", "7", 7, id="a number is not its text"),
        pytest.param("hired", "2026-01-31", datetime(2026, 1, 31), id="a moment is not a day"),  # noqa: DTZ001
        pytest.param("tags", "a", "a", id="text is not a list"),
    ],
)
def test_what_only_looks_equal_is_written(field: str, text: str, old: Any) -> None:
    assert plan({field: "x"}, {"x": (text,)}, old={field: old}).outcome is Outcome.UPDATE


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "claims", "reason"),
    [
        pytest.param({"name": {"source": "x", "required": True}}, {}, Reason.REQUIRED_CLAIM_MISSING, id="required"),
        pytest.param({"name": {"source": "x", "required": True}}, {"x": ("\u200b",)}, Reason.REQUIRED_CLAIM_MISSING, id="required, blank"),
        pytest.param(
            {"name": {"source": "x", "required": True, "transform": ["domain"]}},
            {"x": ("SECRET",)},
            Reason.REQUIRED_CLAIM_MISSING,
            id="required, blank at last",
        ),
        pytest.param({"name": {"template": "{x}", "required": True}}, {}, Reason.REQUIRED_CLAIM_MISSING, id="required template"),
        pytest.param({"name": "x"}, {"x": ("SECRET" * 4,)}, Reason.VALUE_INVALID, id="too long"),
        pytest.param({"floor": "x"}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="no integer"),
        pytest.param({"floor": "x"}, {"x": ("1.5",)}, Reason.VALUE_INVALID, id="a fraction"),
        pytest.param({"floor": "x"}, {"x": ("\u0667",)}, Reason.VALUE_INVALID, id="digits of another script"),
        pytest.param({"floor": "x"}, {"x": ("9223372036854775808",)}, Reason.VALUE_INVALID, id="beyond 64 bits"),
        pytest.param({"floor": "x"}, {"x": ("9" * 4000,)}, Reason.VALUE_INVALID, id="thousands of digits"),
        pytest.param({"desk": "x"}, {"x": ("32768",)}, Reason.VALUE_INVALID, id="beyond the column's bits"),
        pytest.param({"is_contractor": "x"}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="no boolean"),
        pytest.param({"hired": "x"}, {"x": ("31/01/2026",)}, Reason.VALUE_INVALID, id="no ISO date"),
        pytest.param({"hired": "x"}, {"x": ("2026-02-30",)}, Reason.VALUE_INVALID, id="no day of any calendar"),
        pytest.param({"hired": "x"}, {"x": ("20260131",)}, Reason.VALUE_INVALID, id="a date without hyphens"),
        pytest.param({"email": "x"}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="no address"),
        pytest.param({"name": {"source": "x", "transform": [{"map": {"a": "b"}}]}}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="no map"),
        pytest.param({"name": {"source": "x", "transform": ["broken"]}}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="host's error"),
        pytest.param({"name": {"source": "x", "transform": ["wrong"]}}, {"x": ("SECRET",)}, Reason.VALUE_INVALID, id="host's mistake"),
        pytest.param({"name": {"source": "x", "multi": "single"}}, {"x": ("SECRET", "b")}, Reason.MULTIPLE_VALUES, id="single"),
        pytest.param(
            {"name": {"template": "{x}", "multi": "single"}}, {"x": ("SECRET", "b")}, Reason.MULTIPLE_VALUES, id="single in a template"
        ),
        pytest.param(
            {"name": {"source": "x", "multi": "single", "transform": ["twice"]}},
            {"x": ("SECRET",)},
            Reason.MULTIPLE_VALUES,
            id="single, two at last",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_the_fields_name_and_never_by_its_value(
    fields: dict[str, Any], claims: Claims, reason: Reason
) -> None:
    (field,) = fields
    for old in (None, {field: None}):
        result = plan(fields, claims, old=old)
        assert (result.outcome, result.reason, dict(result.values)) == (Outcome.REFUSE, reason, {})
        assert [decision.action for decision in result.decisions] == [REFUSED]
        assert result.detail.startswith(f"{field}: ")
        assert "SECRET" not in result.detail + repr(result)


def test_a_missing_required_claim_names_what_was_wanted_and_what_came() -> None:
    result = plan({"name": {"source": ["x", "givenname"], "required": True}}, {"b": ("1",), "a": ("2",)})
    assert result.detail == f"name: wanted x, {ALIASES['givenname']}; received a, b"


def test_a_refusal_still_lists_every_decision() -> None:
    fields = {"name": {"source": "x", "required": True}, "bio": "y", "floor": "z"}
    result = plan(fields, {"y": ("Hello",), "z": ("SECRET",)})
    assert decided(result) == [
        ("name", REFUSED, FieldWhy.REQUIRED),
        ("bio", SET, FieldWhy.CLAIM),
        ("floor", REFUSED, FieldWhy.INVALID),
    ]
    assert result.reason is Reason.REQUIRED_CLAIM_MISSING
    assert result.detail == "name: wanted x; received y, z; floor: its value is not a whole number"


def test_a_non_null_column_without_any_default_is_refused_before_the_database_is_asked() -> None:
    shape = replace(SHAPE, columns={**SHAPE.columns, "strict": UserColumn("strict", ValueType.STRING, nullable=False)})
    mapping = rules_for({"strict": "x"}, shape=shape)
    assert plan({}, {}, mapping=mapping, shape=shape).reason is Reason.REQUIRED_CLAIM_MISSING
    assert plan({}, {}, mapping=mapping, shape=shape, old={"strict": "s"}).outcome is Outcome.UNCHANGED
    with_default = rules_for({"strict": {"source": "x", "default": "d"}}, shape=shape)
    assert dict(plan({}, {}, mapping=with_default, shape=shape).values) == {"strict": "d"}


def test_an_inactive_user_is_refused_before_anything_is_decided() -> None:
    user = ExistingUser(id=1, is_active=False, values={"name": "Old"})
    assert plan({"name": "x"}, {"x": ("New",)}, user=user) == Plan(outcome=Outcome.REFUSE, reason=Reason.USER_INACTIVE)


@pytest.mark.parametrize("target", ["id", "active", "no_such_column"])
@pytest.mark.parametrize("old", [None, {"id": 1, "active": False}], ids=["new user", "existing user"])
def test_a_protected_target_is_blocked_even_in_rules_that_name_it(target: str, old: dict[str, Any] | None) -> None:
    rule = FieldRule(target, ValueType.STRING, sources=("x",), required=True)
    result = plan({}, {"x": ("7",)}, mapping=MappingRules("oid", (rule,)), old=old)
    assert decided(result) == [(target, BLOCKED, FieldWhy.PROTECTED)]
    assert (result.reason, dict(result.values)) == (None, {})


# --- whose addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "domains", "reason"),
    [
        pytest.param("a@contoso.com", ("contoso.com",), None, id="proven"),
        pytest.param("a@CONTOSO.com", ("Contoso.COM",), None, id="case"),
        pytest.param("a@b\u00fccher.example", ("xn--bcher-kva.example",), None, id="IDN"),
        pytest.param("a@contoso.com", ("fabrikam.com", "contoso.com"), None, id="one of two"),
        pytest.param("a@fabrikam.com", ("contoso.com",), Reason.DOMAIN_NOT_ALLOWED, id="somebody else's"),
        pytest.param("a@mail.contoso.com", ("contoso.com",), Reason.DOMAIN_NOT_ALLOWED, id="sub-domain"),
        pytest.param("a@evilcontoso.com", ("contoso.com",), Reason.DOMAIN_NOT_ALLOWED, id="ends with"),
        pytest.param("a@contoso.com", (), Reason.DOMAIN_NOT_ALLOWED, id="nothing proven"),
        pytest.param("a@fabrikam.com", None, None, id="rule off"),
        pytest.param("contoso.com", ("contoso.com",), Reason.VALUE_INVALID, id="syntax comes first"),
    ],
)
def test_where_addresses_are_unique_they_must_be_the_tenants_own(
    address: str, domains: tuple[str, ...] | None, reason: Reason | None
) -> None:
    for old in (None, {"email": address}, {"email": None}):
        assert plan({"email": "x"}, {"x": (address,)}, old=old, email_domains=domains).reason is reason


def test_where_addresses_are_not_unique_nobody_can_squat_on_them() -> None:
    columns = {**SHAPE.columns, "email": replace(SHAPE.columns["email"], unique=False)}
    shape = replace(SHAPE, columns=columns)
    assert plan({"email": "x"}, {"x": ("a@fabrikam.com",)}, shape=shape, email_domains=("contoso.com",)).reason is None


def test_an_address_that_is_not_taken_is_not_judged() -> None:
    fields = {"email": {"source": "x", "sync_mode": "on_create"}}
    result = plan(fields, {"x": ("a@fabrikam.com",)}, old={"email": "a@contoso.com"}, email_domains=("contoso.com",))
    assert (result.outcome, dict(result.values)) == (Outcome.UNCHANGED, {})


def test_a_decision_names_the_claim_it_used() -> None:
    fields = {"name": {"source": ["x", "y"]}, "bio": {"template": "{y} {z} {NameID}"}, "floor": {"value": 1}}
    result = plan(fields, {"y": ("Y",)})
    assert [decision.source for decision in result.decisions] == ["y", "y, NameID", None]


# --- properties -------------------------------------------------------------------------------------------------------

ENTRIES: dict[str, list[Any]] = {
    "email": ["a", {"source": ["a", "b"], "transform": ["lowercase"], "required": True}, {"source": "NameID", "sync_mode": "if_empty"}],
    "name": [
        "b",
        {"template": "{a} - {b}", "on_missing": "clear"},
        {"source": "c", "transform": ["localpart", {"split": ","}], "multi": "join"},
        {"source": "c", "multi": "single"},
        {"source": "a", "type": "date"},
    ],
    "bio": [{"source": "a", "on_missing": "clear"}, {"source": ["d", "c"], "transform": ["twice"], "default": "-", "multi": "join"}],
    "tags": [{"source": "a", "multi": "all"}, {"source": "b", "transform": [{"split": " "}], "multi": "all", "on_missing": "clear"}],
    "floor": ["c", {"source": "c", "type": "boolean", "default": True}, {"value": 5, "sync_mode": "if_empty"}],
    "is_contractor": ["d", {"value": True}, {"source": "d", "default": False, "sync_mode": "on_create"}],
    "hired": ["d", {"source": "d", "on_missing": "clear"}],
}
FIELDS = st.fixed_dictionaries({}, optional={name: st.sampled_from(entries) for name, entries in ENTRIES.items()})
NICE = st.sampled_from(["Ada", "ada@contoso.com", "7", "true", "0", "2026-01-31", " ", "", "\u200b", "a,b", "e\u0301", "x" * 21])
TEXTS = st.one_of(NICE, NICE, st.text(alphabet=st.characters(exclude_categories=[]), max_size=30))
CLAIMS = st.dictionaries(st.sampled_from("abcd"), st.lists(TEXTS, max_size=3).map(tuple), max_size=4)
OLD = st.fixed_dictionaries(
    {
        "email": st.sampled_from([None, "ada@contoso.com"]),
        "name": st.sampled_from([None, "", "Ada"]),
        "bio": st.none() | st.text(max_size=3),
        "tags": st.sampled_from([None, [], ["a", "b"]]),
        "floor": st.sampled_from([None, 0, 7]),
        "is_contractor": st.sampled_from([None, True, False]),
        "hired": st.sampled_from([None, date(2026, 1, 31)]),
    }
)


def after(result: Plan, old: dict[str, Any] | None) -> dict[str, Any]:
    return {**dict.fromkeys(ENTRIES), **(old or {}), **result.values}


@given(FIELDS, CLAIMS, st.none() | OLD)
def test_planning_twice_changes_nothing_the_second_time(fields: dict[str, Any], claims: Claims, old: dict[str, Any] | None) -> None:
    first = plan(fields, claims, old=old)
    if first.outcome is Outcome.REFUSE:
        assert plan(fields, claims, old=old) == first
        return
    second = plan(fields, claims, old=after(first, old))
    assert (second.outcome, dict(second.values)) == (Outcome.UNCHANGED, {})


@given(FIELDS, CLAIMS, st.none() | OLD)
def test_no_field_outside_the_mapping_ever_changes(fields: dict[str, Any], claims: Claims, old: dict[str, Any] | None) -> None:
    result = plan(fields, claims, old=old)
    assert set(result.values) <= set(fields)
    assert [decision.field for decision in result.decisions] == list(fields)


@given(FIELDS, CLAIMS, st.none() | OLD)
def test_only_what_differs_is_written(fields: dict[str, Any], claims: Claims, old: dict[str, Any] | None) -> None:
    result = plan(fields, claims, old=old)
    assert all(old is None or old[name] != value or type(old[name]) is not type(value) for name, value in result.values.items())
    assert (result.outcome is Outcome.UPDATE) is (old is not None and bool(result.values))
    assert result.outcome is not Outcome.REFUSE or not result.values


@given(FIELDS, OLD)
def test_absent_claims_clear_nothing_without_clear(fields: dict[str, Any], old: dict[str, Any]) -> None:
    result = plan(fields, {}, old=old, name_id=NameId(" "))
    emptied = {name for name, value in result.values.items() if value is None}
    assert emptied <= {name for name, entry in fields.items() if isinstance(entry, dict) and entry.get("on_missing") == "clear"}


@given(FIELDS, CLAIMS, st.none() | OLD, st.randoms(use_true_random=False))
def test_the_order_of_claims_does_not_matter(fields: dict[str, Any], claims: Claims, old: dict[str, Any] | None, random: Any) -> None:
    names = list(claims)
    random.shuffle(names)
    assert plan(fields, {name: claims[name] for name in names}, old=old) == plan(fields, claims, old=old)


@given(FIELDS, CLAIMS, TEXTS, st.none() | OLD)
def test_whatever_a_claim_says_is_planned_or_refused_and_never_raises(
    fields: dict[str, Any], claims: Claims, name_id: str, old: dict[str, Any] | None
) -> None:
    result = plan(fields, claims, old=old, name_id=NameId(name_id), email_domains=("contoso.com",))
    for name, value in result.values.items():
        texts = value if isinstance(value, list) else [value]
        assert all("\x00" not in text and text == text.strip() for text in texts if isinstance(text, str))
        length = SHAPE.columns[name].length
        assert length is None or value is None or len(value) <= length
        assert not isinstance(value, int) or -(2**63) <= value < 2**63


def test_a_plan_cannot_be_changed_afterwards() -> None:
    result = plan({"name": "x"}, {"x": ("Ada",)})
    assert isinstance(result.values, MappingProxyType)
    assert result.decisions == (FieldDecision("name", SET, FieldWhy.CLAIM, "x", None, "Ada"),)


def test_neither_a_plan_nor_its_decisions_show_values_in_their_repr() -> None:
    result = plan({"name": "x"}, {"x": ("SECRET",)}, old={"name": "HIDDEN"})
    assert "SECRET" not in repr(result)
    assert "HIDDEN" not in repr(result)
