"""Roles: what the section may say, what claims in every state do to a user's roles, and what no claims can do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samljit.errors import Reason
from samljit.mapping.aliases import ALIASES
from samljit.mapping.compile import compile_mapping
from samljit.mapping.document import merge_documents
from samljit.mapping.text import clean
from samljit.model import ClaimState, ExistingUser, MappingRules, NameId, Outcome, Plan, RoleDecision, UserShape
from samljit.provision.plan import plan_sign_in
from samljit.provision.policy import Situation

SHAPE = UserShape(columns={}, protected=frozenset(), grantable_roles=frozenset({"admin", "editor", "viewer"}))
EDITORS, OTHERS = "07dd8a60-bf6d-4e17-8844-230b77145381", "0a0a0a0a-0000-4000-8000-000000000001"
ROLE, GROUPS, LINK = ALIASES["role"], ALIASES["groups"], ALIASES["groups.link"]
MAP = {"App.Admin": ["admin"], EDITORS: ["editor"]}
SECTION: dict[str, Any] = {"source": ["role", "groups"], "map": MAP, "default": ["viewer"], "on_missing": "remove"}
OVERAGE = {LINK: ("https://graph.windows.net/x",)}
Claims = dict[str, tuple[str, ...]]


def rules_for(section: dict[str, Any] | None) -> MappingRules:
    rules, problems = compile_mapping({"roles": section}, shape=SHAPE, path="$")
    assert rules is not None, problems
    return rules


def plan(
    section: dict[str, Any], claims: Claims, *, held: set[str] | None = None, listed: set[str] | None = None, seen: tuple[str, ...] = ()
) -> Plan:
    """`held` are the roles that samljit granted, None for a new user; `listed` what stands in the host's list."""
    user = None if held is None else ExistingUser(1, True, {}, frozenset(held), None if listed is None else frozenset(listed))
    situation = Situation(claims_seen=frozenset(seen))
    return plan_sign_in(claims, name_id=NameId("x"), mapping=rules_for(section), shape=SHAPE, user=user, situation=situation)


def said(result: Plan) -> dict[str, str]:
    return {one.role: f"{one.action} {one.why}" for one in result.roles}


# --- what a section may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param({"source": "role", "map": {"A": ["admin"]}}, [(".on_missing", "missing")], id="on_missing has no default"),
        pytest.param({"source": "role", "on_missing": "remove"}, [(".map", "empty_authoritative")], id="nothing to grant"),
        pytest.param({"source": "role", "map": {"A": []}, "on_missing": "remove"}, [(".map", "empty_authoritative")], id="an empty map"),
        pytest.param({}, [(".map", "empty_authoritative")], id="an empty section"),
        pytest.param({"map": {"A": ["admin"]}, "sync_mode": "additive"}, [(".source", "missing")], id="no source"),
        pytest.param({**SECTION, "on_missing": "keep"}, [(".on_missing", "roles_never_revoked")], id="kept for ever"),
        pytest.param({**SECTION, "sync_mode": "additive"}, [(".on_missing", "remove_not_allowed")], id="remove without revoking"),
        pytest.param({**SECTION, "sync_mode": "on_create"}, [(".on_missing", "remove_not_allowed")], id="remove on creation"),
        pytest.param({**SECTION, "default": ["viewer", "root"]}, [(".default[1]", "role_not_grantable")], id="a default not grantable"),
        pytest.param({**SECTION, "map": {"A": ["root"]}}, [(".map.A[0]", "role_not_grantable")], id="a role not grantable"),
        pytest.param({**SECTION, "map": {"A": ["Admin"]}}, [(".map.A[0]", "role_not_grantable")], id="case counts"),
        pytest.param({**SECTION, "sync_mode": "off", "on_missing": None, "map": {"A": ["root"]}}, [(".map.A[0]", "role_not_grantable")]),
        pytest.param({**SECTION, "source": []}, [(".source", "invalid")], id="no sources"),
        pytest.param({**SECTION, "map": {"A": "admin"}}, [(".map.A", "wrong_type")], id="a role that is no list"),
        pytest.param({**SECTION, "map": {"A": ["admin "]}}, [(".map.A[0]", "invalid")], id="a padded role"),
        pytest.param({**SECTION, "sync": "off"}, [(".sync", "unknown_key")], id="unknown key"),
        pytest.param({**SECTION, "sync_mode": "always"}, [(".sync_mode", "invalid")], id="unknown mode"),
        pytest.param({**SECTION, "on_missing": "clear"}, [(".on_missing", "invalid")], id="unknown on_missing"),
        pytest.param({**SECTION, "on_overage": "remove"}, [(".on_overage", "invalid")], id="overage never removes"),
    ],
)
def test_a_fault_of_the_section_is_named_with_its_place(section: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    _, problems = compile_mapping({"roles": section}, shape=SHAPE, path="$")
    found = [(problem.path.removeprefix("$.roles"), problem.code) for problem in problems]
    assert [one for one in found if one in expected] == expected
    assert {path for path, _ in found} == {path for path, _ in expected}


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(SECTION, id="the usual"),
        pytest.param({"default": ["viewer"]}, id="the same for all"),
        pytest.param({"source": "groups", "map": {EDITORS: ["editor"]}, "on_missing": "deny"}, id="deny"),
        pytest.param({"source": "groups", "map": {EDITORS: ["editor"]}, "sync_mode": "additive"}, id="additive needs no on_missing"),
        pytest.param({"sync_mode": "off"}, id="off"),
        pytest.param(None, id="dropped"),
    ],
)
def test_a_good_section_loads_without_a_word(section: dict[str, Any] | None) -> None:
    assert compile_mapping({"roles": section}, shape=SHAPE, path="$")[1] == []


def test_a_tenants_section_takes_the_place_of_the_inherited_one() -> None:
    own = {"source": "groups", "map": {EDITORS: ["editor"]}, "on_missing": "deny"}
    assert merge_documents({"roles": SECTION}, {"roles": own})["roles"] == own
    closed = {"policy": {"guests": "deny"}}
    assert merge_documents({"roles": SECTION, **closed}, {"roles": None}) == {"roles": None, **closed}


def test_without_a_list_any_role_may_be_granted() -> None:
    rules, problems = compile_mapping({"roles": {"default": ["root"]}}, shape=UserShape({}, frozenset()), path="$")
    assert (rules is not None, problems) == (True, [])


# --- what claims do ---------------------------------------------------------------------------------------------------

NEW: list[Any] = [
    pytest.param(SECTION, {ROLE: ("App.Admin",)}, {"admin": "granted claim"}, id="a role"),
    pytest.param(SECTION, {GROUPS: (EDITORS, OTHERS)}, {"editor": "granted claim"}, id="a group"),
    pytest.param(SECTION, {GROUPS: (EDITORS.upper(),)}, {"editor": "granted claim"}, id="an object id in capitals"),
    pytest.param(SECTION, {ROLE: ("app.admin",)}, {"viewer": "granted default"}, id="an app role in another case"),
    pytest.param(SECTION, {ROLE: (" App.Admin\u200b",)}, {"admin": "granted claim"}, id="cleaned"),
    pytest.param(
        SECTION, {ROLE: ("App.Admin",), GROUPS: (EDITORS,)}, {"admin": "granted claim", "editor": "granted claim"}, id="the union"
    ),
    pytest.param(SECTION, {GROUPS: (OTHERS,)}, {"viewer": "granted default"}, id="nothing matches"),
    pytest.param(SECTION, {}, {"viewer": "granted default"}, id="nothing came"),
    pytest.param(SECTION, OVERAGE, {"viewer": "granted default"}, id="too many groups"),
    pytest.param(SECTION, {**OVERAGE, ROLE: ("App.Admin",)}, {"admin": "granted claim"}, id="too many groups and a role"),
    pytest.param(SECTION, {"groups": (EDITORS,), "role": ("App.Admin",)}, {"viewer": "granted default"}, id="bare names are others"),
    pytest.param({**SECTION, "source": "=groups"}, {"groups": (EDITORS,)}, {"editor": "granted claim"}, id="a bare name that is meant"),
    pytest.param({**SECTION, "sync_mode": "off", "on_missing": None}, {ROLE: ("App.Admin",)}, {}, id="off"),
    pytest.param({"sync_mode": "on_create", "default": ["viewer"]}, {}, {"viewer": "granted default"}, id="on_create"),
    pytest.param({**SECTION, "default": []}, {}, {}, id="no default"),
]


@pytest.mark.parametrize(("section", "claims", "expected"), NEW)
def test_a_new_user_gets_the_roles_that_match_or_the_default(section: dict[str, Any], claims: Claims, expected: dict[str, str]) -> None:
    result = plan(section, claims)
    assert (said(result), result.outcome) == (expected, Outcome.CREATE)


KEEP, DENY, ADDITIVE = {**SECTION, "on_missing": "keep"}, {**SECTION, "on_missing": "deny"}, {**SECTION, "on_missing": None}
ADDITIVE["sync_mode"] = "additive"
BOTH = (ROLE, GROUPS)
EXISTING: list[Any] = [
    pytest.param(SECTION, {ROLE: ("App.Admin",)}, {"admin"}, BOTH, {"admin": "unchanged claim"}, id="as before"),
    pytest.param(
        SECTION, {ROLE: ("App.Admin",)}, {"viewer"}, (ROLE,), {"admin": "granted claim", "viewer": "revoked no_match"}, id="promoted"
    ),
    pytest.param(
        SECTION, {GROUPS: (OTHERS,)}, {"admin"}, BOTH, {"admin": "revoked no_match", "viewer": "granted default"}, id="the last one gone"
    ),
    pytest.param(SECTION, {}, {"admin"}, (ROLE,), {"admin": "revoked missing", "viewer": "granted default"}, id="remove, seen before"),
    pytest.param(SECTION, {}, {"admin"}, (), {"admin": "kept missing"}, id="remove, never seen"),
    pytest.param(SECTION, {}, {"viewer"}, BOTH, {"viewer": "unchanged default"}, id="remove, default held"),
    pytest.param(SECTION, {}, set(), (), {"viewer": "granted default"}, id="nobody stays without the default"),
    pytest.param(KEEP, {}, {"admin"}, BOTH, {"admin": "kept missing"}, id="keep"),
    pytest.param(KEEP, {ROLE: ("App.Admin",)}, {"admin", "editor"}, (ROLE,), {"admin": "unchanged claim", "editor": "revoked no_match"}),
    pytest.param(
        KEEP, {GROUPS: (EDITORS,)}, {"admin"}, BOTH, {"editor": "granted claim", "admin": "kept missing"}, id="keep, one of two stayed away"
    ),
    pytest.param(
        SECTION, {GROUPS: (EDITORS,)}, {"admin"}, BOTH, {"editor": "granted claim", "admin": "revoked no_match"}, id="remove, one of two"
    ),
    pytest.param(DENY, {GROUPS: (EDITORS,)}, {"editor"}, BOTH, {"editor": "unchanged claim"}, id="deny, one of two"),
    pytest.param(SECTION, OVERAGE, {"admin"}, BOTH, {"admin": "kept overage"}, id="overage"),
    pytest.param(
        SECTION, {**OVERAGE, ROLE: ("App.Admin",)}, {"editor"}, BOTH, {"admin": "granted claim", "editor": "kept overage"}, id="in part"
    ),
    pytest.param(
        {**SECTION, "source": "role", "map": {"App.Admin": ["admin"]}},
        OVERAGE,
        {"admin"},
        (ROLE,),
        {"admin": "revoked missing", "viewer": "granted default"},
        id="overage of groups says nothing of app roles",
    ),
    pytest.param(
        {**SECTION, "source": "role", "map": {EDITORS: ["editor"]}}, OVERAGE, {"editor"}, (ROLE,), {"editor": "kept overage"},
        id="overage where groups come as roles",
    ),
    pytest.param(
        {**SECTION, "source": "role", "map": {"App.Admin": ["admin"]}}, {ROLE: (OTHERS, EDITORS)}, {"admin"}, (ROLE,),
        {"admin": "kept replaced"}, id="emit groups as roles",
    ),
    pytest.param(
        {**SECTION, "source": "role", "map": {EDITORS: ["editor"]}}, {ROLE: (OTHERS,)}, {"editor"}, (ROLE,),
        {"editor": "revoked no_match", "viewer": "granted default"}, id="emit groups as roles, on purpose",
    ),
    pytest.param(
        {**SECTION, "source": "teams", "map": {"Editors": ["editor"]}}, {GROUPS: (EDITORS,)}, {"editor"}, (),
        {"editor": "kept missing"}, id="a filter's fallback to the default group claim",
    ),
    pytest.param(
        {**SECTION, "source": "wids", "map": {OTHERS: ["admin"]}}, OVERAGE, {"admin"}, (ALIASES["wids"],),
        {"admin": "revoked missing", "viewer": "granted default"}, id="directory roles never overflow",
    ),
    pytest.param(ADDITIVE, {GROUPS: (EDITORS,)}, {"admin"}, BOTH, {"admin": "kept additive", "editor": "granted claim"}, id="additive"),
    pytest.param(ADDITIVE, {}, {"admin"}, BOTH, {"admin": "kept additive"}, id="additive, nothing came"),
    pytest.param(
        {"sync_mode": "on_create", "source": "role", "map": {"App.Admin": ["admin"]}}, {ROLE: ("App.Admin",)}, {"viewer"}, BOTH,
        {"viewer": "kept create_only"}, id="on_create, later",
    ),
    pytest.param({"sync_mode": "off"}, {ROLE: ("App.Admin",)}, {"viewer"}, BOTH, {}, id="off"),
    pytest.param({"default": ["viewer"]}, {}, {"viewer", "editor"}, (), {"viewer": "unchanged default", "editor": "revoked no_match"}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "claims", "held", "seen", "expected"), EXISTING)
def test_34_an_existing_users_roles_follow_the_claims_and_never_their_absence_unasked(
    section: dict[str, Any], claims: Claims, held: set[str], seen: tuple[str, ...], expected: dict[str, str]
) -> None:
    result = plan(section, claims, held=held, seen=seen)
    assert said(result) == expected
    assert result.outcome is (Outcome.UPDATE if result.granted or result.revoked else Outcome.UNCHANGED)


@pytest.mark.parametrize(
    ("claims", "state"),
    [
        ({ROLE: ("App.Admin",)}, ClaimState.PRESENT),
        ({GROUPS: (OTHERS,)}, ClaimState.PRESENT),
        ({ROLE: (" ",)}, ClaimState.ABSENT),
        ({}, ClaimState.ABSENT),
        (OVERAGE, ClaimState.OVERAGE),
        ({**OVERAGE, GROUPS: (OTHERS,)}, ClaimState.OVERAGE),  # the role claim may be the one with the groups
        ({ROLE: (OTHERS,)}, ClaimState.REPLACED),
        ({ROLE: (OTHERS, "App.Admin")}, ClaimState.PRESENT),
    ],
)
def test_the_claims_state_is_told(claims: Claims, state: ClaimState) -> None:
    assert plan(SECTION, claims).claim_state is state


@pytest.mark.parametrize(
    ("section", "claims", "reason"),
    [
        pytest.param({**SECTION, "on_overage": "deny"}, OVERAGE, Reason.GROUPS_OVERAGE, id="overage"),
        pytest.param({**SECTION, "on_overage": "deny"}, {GROUPS: (OTHERS,)}, None, id="no overage"),
        pytest.param(DENY, {}, Reason.REQUIRED_CLAIM_MISSING, id="missing"),
        pytest.param(DENY, OVERAGE, None, id="overage is not missing"),
        pytest.param(DENY, {ROLE: ("x",)}, None, id="one of two is there"),
        pytest.param({"sync_mode": "off", "on_missing": "deny", "source": "role"}, {}, None, id="off"),
    ],
)
@pytest.mark.parametrize("held", [None, {"admin"}], ids=["new", "existing"])
def test_a_sign_in_is_refused_where_the_section_says_so(
    section: dict[str, Any], claims: Claims, reason: Reason | None, held: set[str] | None
) -> None:
    assert plan(section, claims, held=held).reason is reason


def test_a_role_that_somebody_took_out_of_the_hosts_list_is_granted_again_while_the_claims_ask_for_it() -> None:
    claims = {ROLE: ("App.Admin",)}
    assert said(plan(SECTION, claims, held={"admin"}, listed={"billing"})) == {"admin": "granted claim"}
    assert said(plan(SECTION, claims, held={"admin"}, listed={"billing", "admin"})) == {"admin": "unchanged claim"}


def test_a_role_that_is_no_longer_in_the_map_is_revoked_where_samljit_granted_it() -> None:
    result = plan({**SECTION, "map": {EDITORS: ["editor"]}}, {GROUPS: (EDITORS,)}, held={"admin", "editor"})
    assert said(result) == {"admin": "revoked no_match", "editor": "unchanged claim"}


def test_a_decision_names_the_first_claim_that_asks_for_the_role() -> None:
    section = {**SECTION, "map": {"x": ["admin"], EDITORS: ["admin"]}}
    assert plan(section, {GROUPS: (EDITORS,), ROLE: ("x",)}).roles[0].source == ROLE
    assert plan(section, {GROUPS: (EDITORS,)}).roles[0].source == GROUPS


# --- properties -------------------------------------------------------------------------------------------------------

ROLES = ["admin", "editor", "viewer"]
SECTIONS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["role", "groups", ["role", "groups"], ["teams", "groups"], "wids"]),
        "map": st.dictionaries(
            st.sampled_from(["App.Admin", "a", EDITORS, OTHERS]), st.lists(st.sampled_from(ROLES), min_size=1, max_size=2), min_size=1
        ),
        "default": st.lists(st.sampled_from(ROLES), max_size=2),
        "on_missing": st.sampled_from(["keep", "remove"]),
    }
)
MODES = st.sampled_from(["authoritative", "additive", "on_create", "off"])
SOURCES = [ROLE, GROUPS, ALIASES["wids"], "teams"]
VALUES = st.lists(st.sampled_from(["App.Admin", "a", "A", EDITORS, OTHERS, EDITORS.upper(), " ", "b"]), max_size=3).map(tuple)
ROLE_CLAIMS = st.dictionaries(st.sampled_from([*SOURCES, LINK]), VALUES, max_size=4)
HELD = st.none() | st.sets(st.sampled_from([*ROLES, "gone"]))
SEEN = st.lists(st.sampled_from(SOURCES), unique=True).map(tuple)


def in_mode(section: dict[str, Any], mode: str) -> dict[str, Any]:
    missing = section["on_missing"] if mode == "authoritative" else "keep"
    return {**section, "sync_mode": mode, "on_missing": missing}


def after(result: Plan, held: set[str] | None) -> set[str]:
    return ((held or set()) | set(result.granted)) - set(result.revoked)


@given(SECTIONS, MODES, ROLE_CLAIMS, HELD, SEEN)
def test_planning_roles_twice_changes_nothing_the_second_time(
    section: dict[str, Any], mode: str, claims: Claims, held: set[str] | None, seen: tuple[str, ...]
) -> None:
    first = plan(in_mode(section, mode), claims, held=held, seen=seen)
    came = {name for name, values in claims.items() if any(map(clean, values))}
    second = plan(in_mode(section, mode), claims, held=after(first, held), seen=tuple({*seen, *came}))
    assert (second.granted, second.revoked, second.outcome) == ((), (), Outcome.UNCHANGED)


@given(SECTIONS, MODES, ROLE_CLAIMS, HELD, SEEN, st.sets(st.sampled_from([*ROLES, "billing"])))
def test_no_role_is_revoked_that_samljit_did_not_grant(
    section: dict[str, Any], mode: str, claims: Claims, held: set[str] | None, seen: tuple[str, ...], by_hand: set[str]
) -> None:
    result = plan(in_mode(section, mode), claims, held=held, listed=by_hand, seen=seen)
    assert set(result.revoked) <= (held or set())
    assert set(result.granted) <= {role for roles in section["map"].values() for role in roles} | set(section["default"])
    assert mode == "authoritative" or not result.revoked


@given(SECTIONS, MODES, ROLE_CLAIMS, HELD, SEEN, st.randoms(use_true_random=False))
def test_the_order_of_claims_values_and_map_entries_does_not_matter(
    section: dict[str, Any], mode: str, claims: Claims, held: set[str] | None, seen: tuple[str, ...], random: Any
) -> None:
    def shuffled(items: Any) -> list[Any]:
        mixed = list(items)
        random.shuffle(mixed)
        return mixed

    other = {**section, "map": dict(shuffled(section["map"].items())), "default": shuffled(section["default"])}
    mixed = {name: tuple(shuffled(values)) for name, values in shuffled(claims.items())}
    expected = plan(in_mode(section, mode), claims, held=held, seen=seen)
    assert plan(in_mode(other, mode), mixed, held=held, seen=seen) == expected


@given(SECTIONS, MODES, st.booleans(), HELD, SEEN)
def test_claims_that_stay_away_revoke_nothing_unless_asked_and_seen(
    section: dict[str, Any], mode: str, overage: bool, held: set[str] | None, seen: tuple[str, ...]
) -> None:
    result = plan(in_mode(section, mode), OVERAGE if overage else {}, held=held, seen=seen)
    names = [section["source"]] if isinstance(section["source"], str) else section["source"]
    asked = mode == "authoritative" and section["on_missing"] == "remove" and {ALIASES.get(n, n) for n in names} & set(seen)
    assert asked or not result.revoked


def test_a_plan_lists_roles_by_name() -> None:
    result = plan(SECTION, {ROLE: ("App.Admin",), GROUPS: (EDITORS,)}, held={"viewer"}, seen=BOTH)
    assert [one.role for one in result.roles] == ["admin", "editor", "viewer"]
    assert all(isinstance(one, RoleDecision) for one in result.roles)
