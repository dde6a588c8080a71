"""Who is let in: every key of the policy and of identity.match, what they need of the host, and what the claims do with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samljit.errors import Reason
from samljit.mapping.aliases import ALIASES
from samljit.mapping.compile import compile_mapping
from samljit.model import (
    EmailHolder,
    ExistingUser,
    FieldAction,
    FieldWhy,
    IdentityProvider,
    MappingRules,
    NameId,
    Outcome,
    Plan,
    Tenant,
    UserColumn,
    UserShape,
    ValueType,
)
from samljit.provision.plan import claimed_address, plan_sign_in
from samljit.provision.policy import Situation, situation_of

DIRECTORY = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
ISSUER = f"https://sts.windows.net/{DIRECTORY}/"
ACCT, IDP, GROUPS, LINK = (ALIASES[name] for name in ("acct", "identityprovider", "groups", "groups.link"))
ROLE, EMAIL = ALIASES["role"], ALIASES["emailaddress"]
STAFF = "0a0a0a0a-0000-4000-8000-000000000001"
COLUMNS = (
    UserColumn("email", ValueType.STRING),
    UserColumn("name", ValueType.STRING),
    UserColumn("active", ValueType.BOOLEAN, has_default=True),
)
SHAPE = UserShape(
    columns={column.name: column for column in COLUMNS},
    protected=frozenset({"active"}),
    email_field="email",
    active_field="active",
    knows_privileged=True,
)
FIELDS: dict[str, Any] = {"email": {"source": "emailaddress", "transform": ["lowercase"]}, "name": "givenname"}
ADA: dict[str, tuple[str, ...]] = {EMAIL: ("Ada@contoso.com",), IDP: (ISSUER,)}
HOLDER = EmailHolder(ExistingUser(7, True, {"email": "ada@contoso.com", "name": "Ada"}), is_linked=False, is_privileged=False)
KNOWN = Situation(own_issuers=frozenset({ISSUER.rstrip("/")}), domains=("contoso.com",))


def document(*, match: str = "identifier", **policy: Any) -> dict[str, Any]:
    return {"identity": {"match": match}, "fields": FIELDS, "policy": policy}


def rules_for(**given: Any) -> MappingRules:
    rules, problems = compile_mapping(document(**given), shape=SHAPE, path="$")
    assert rules is not None, problems
    return rules


def plan(
    claims: dict[str, tuple[str, ...]] | None = None, *, user: ExistingUser | None = None, situation: Situation = KNOWN, **given: Any
) -> Plan:
    claims = ADA if claims is None else claims
    return plan_sign_in(claims, name_id=NameId("x"), mapping=rules_for(**given), shape=SHAPE, user=user, situation=situation)


# --- what a document may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "shape", "expected"),
    [
        pytest.param(document(guests="maybe"), SHAPE, (".policy.guests", "invalid"), id="guests"),
        pytest.param(document(guest="deny"), SHAPE, (".policy.guest", "unknown_key"), id="unknown key"),
        pytest.param(document(create_users="yes"), SHAPE, (".policy.create_users", "wrong_type"), id="create_users"),
        pytest.param(document(update_users=1), SHAPE, (".policy.update_users", "wrong_type"), id="update_users"),
        pytest.param(document(max_users=0), SHAPE, (".policy.max_users", "invalid"), id="max_users"),
        pytest.param(document(max_users="5"), SHAPE, (".policy.max_users", "wrong_type"), id="max_users as text"),
        pytest.param(document(allowed_domains=[]), SHAPE, (".policy.allowed_domains", "invalid"), id="no domains"),
        pytest.param(document(allowed_domains="a.com"), SHAPE, (".policy.allowed_domains", "wrong_type"), id="domains as text"),
        pytest.param(document(allowed_domains=["a.com", "@b.com"]), SHAPE, (".policy.allowed_domains[1]", "invalid_domain"), id="domain"),
        pytest.param(document(require={"source": "groups"}), SHAPE, (".policy.require", "wrong_type"), id="require"),
        pytest.param(document(require=[{"source": "groups"}]), SHAPE, (".policy.require[0].any_of", "missing"), id="any_of"),
        pytest.param(document(require=[{"source": "g", "any_of": []}]), SHAPE, (".policy.require[0].any_of", "invalid"), id="empty any_of"),
        pytest.param(document(new_user_state="off"), SHAPE, (".policy.new_user_state", "invalid"), id="new_user_state"),
        pytest.param(
            document(new_user_state="inactive"),
            replace(SHAPE, active_field=None),
            (".policy.new_user_state", "active_field_missing"),
            id="inactive without an active column",
        ),
        pytest.param(
            document(allowed_domains=["a.com"]),
            replace(SHAPE, email_field=None),
            (".policy.allowed_domains", "email_field_missing"),
            id="domains without an e-mail column",
        ),
        pytest.param(
            {**document(allowed_domains=["a.com"]), "fields": {"email": {"value": "x@a.com"}}},
            SHAPE,
            (".policy.allowed_domains", "email_field_missing"),
            id="domains without a claim for the e-mail",
        ),
        pytest.param(
            document(match="email_link"), replace(SHAPE, email_field=None), (".identity.match", "email_field_missing"), id="link, no column"
        ),
        pytest.param(
            document(match="email_deny"), replace(SHAPE, email_field=None), (".identity.match", "email_field_missing"), id="deny, no column"
        ),
        pytest.param(
            {**document(match="email_deny"), "fields": {}}, SHAPE, (".identity.match", "email_field_missing"), id="deny by no claim"
        ),
        pytest.param(
            document(match="email_link"),
            replace(SHAPE, knows_privileged=False),
            (".identity.match", "is_privileged_missing"),
            id="link without is_privileged",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(written: dict[str, Any], shape: UserShape, expected: tuple[str, str]) -> None:
    rules, problems = compile_mapping(written, shape=shape, path="$")
    assert [(problem.path.removeprefix("$"), problem.code) for problem in problems] == [expected]
    assert rules is None


def test_a_field_with_a_fault_is_not_reported_again_as_missing() -> None:
    written = {**document(match="email_link", allowed_domains=["a.com"]), "fields": {"email": {"template": "{"}}}
    assert [problem.code for problem in compile_mapping(written, shape=SHAPE, path="$")[1]] == ["bad_template"]


def test_a_null_policy_is_none() -> None:
    assert compile_mapping({"policy": None}, shape=SHAPE, path="$")[0] == compile_mapping({}, shape=SHAPE, path="$")[0]


# --- guests -----------------------------------------------------------------------------------------------------------

HOME = "https://sts.windows.net/99999999-0000-cccc-1111-dddd2222eeee/"


@pytest.mark.parametrize(
    ("claims", "is_guest"),
    [
        pytest.param({IDP: (ISSUER,)}, False, id="a member"),
        pytest.param({IDP: (ISSUER.upper().rstrip("/"),), ACCT: ("0",)}, False, id="written in another way"),
        pytest.param({}, False, id="B2C says nothing"),
        pytest.param({IDP: (HOME,)}, True, id="another directory"),
        pytest.param({IDP: ("live.com",)}, True, id="a Microsoft account"),
        pytest.param({IDP: ("mail",)}, True, id="a one-time passcode"),
        pytest.param({IDP: ("google.com",)}, True, id="Google"),
        pytest.param({IDP: (ISSUER, HOME)}, True, id="two of them"),
        pytest.param({IDP: (ISSUER,), ACCT: ("1",)}, True, id="userType Guest"),
        pytest.param({IDP: (ISSUER,), ACCT: ("0", " 1 ")}, True, id="one of two"),
        pytest.param({IDP: (HOME,), ACCT: ("0",)}, True, id="an external member"),
    ],
)
def test_35_guests_of_every_kind_are_told(claims: dict[str, tuple[str, ...]], is_guest: bool) -> None:
    for user in (None, HOLDER.user):
        assert (plan(claims, user=user, guests="deny").reason is Reason.GUEST_NOT_ALLOWED) is is_guest
        assert plan(claims, user=user, guests="allow").reason is None


@pytest.mark.parametrize(
    ("entity_id", "value", "is_guest"),
    [
        (ISSUER, ISSUER, False),
        (f"{ISSUER}0c0c0c0c-0000-4000-8000-000000000001", ISSUER, False),  # "append application ID to issuer"
        (f"https://sts.chinacloudapi.cn/{DIRECTORY}/", f"https://sts.chinacloudapi.cn/{DIRECTORY}/", False),
        (f"https://sts.chinacloudapi.cn/{DIRECTORY}/app", f"https://sts.chinacloudapi.cn/{DIRECTORY}/", False),
        (ISSUER, HOME, True),
        (f"{ISSUER}app", "https://sts.windows.net/", True),
    ],
)
def test_the_tenants_own_issuer_is_known_whatever_entra_appends_to_it(entity_id: str, value: str, is_guest: bool) -> None:
    tenant = Tenant(
        id=UUID(int=1),
        slug="contoso",
        name="Contoso",
        enabled=True,
        revision="",
        preset="entra",
        entity_id="https://app.example.com",
        acs_url="https://app.example.com/acs",
        metadata_url="https://app.example.com/metadata",
        idp=IdentityProvider(entity_id, "https://login.microsoftonline.com/x/saml2", ()),
        mapping=rules_for(),
        entra_tenant_id=DIRECTORY,
        log_values_until=date(2026, 1, 1),
    )
    result = plan({IDP: (value,)}, situation=situation_of(tenant), guests="deny")
    assert (result.reason is Reason.GUEST_NOT_ALLOWED) is is_guest


# --- requirements and domains -----------------------------------------------------------------------------------------

IN_STAFF = {"source": "groups", "any_of": [STAFF.upper(), "x"]}


@pytest.mark.parametrize(
    ("require", "claims", "reason"),
    [
        pytest.param([IN_STAFF], {GROUPS: ("y", STAFF)}, None, id="met"),
        pytest.param([IN_STAFF], {GROUPS: ("x",)}, None, id="met by another value"),
        pytest.param([IN_STAFF], {GROUPS: ("X",)}, Reason.REQUIREMENT_NOT_MET, id="case counts where it is no object id"),
        pytest.param([IN_STAFF], {GROUPS: ("y",)}, Reason.REQUIREMENT_NOT_MET, id="not met"),
        pytest.param([IN_STAFF], {}, Reason.REQUIREMENT_NOT_MET, id="absent"),
        pytest.param([IN_STAFF], {"groups": (STAFF,)}, Reason.REQUIREMENT_NOT_MET, id="another claim of that name"),
        pytest.param([IN_STAFF], {LINK: ("u",)}, Reason.GROUPS_OVERAGE, id="too many groups to tell"),
        pytest.param([IN_STAFF], {LINK: ("u",), GROUPS: ("y",)}, Reason.REQUIREMENT_NOT_MET, id="groups and a link"),
        pytest.param([{"source": "role", "any_of": ["User"]}], {LINK: ("u",)}, Reason.REQUIREMENT_NOT_MET, id="a role never overflows"),
        pytest.param([{"source": ["role", "groups"], "any_of": ["User", STAFF]}], {ROLE: ("User",)}, None, id="one of two claims"),
        pytest.param([IN_STAFF, {"source": "role", "any_of": ["User"]}], {GROUPS: (STAFF,)}, Reason.REQUIREMENT_NOT_MET, id="all of them"),
    ],
)
def test_every_requirement_must_be_met_at_every_sign_in(require: list[Any], claims: dict[str, tuple[str, ...]], reason: Any) -> None:
    for user in (None, HOLDER.user):
        assert plan(claims, user=user, require=require).reason is reason


@pytest.mark.parametrize(
    ("domains", "address", "is_allowed"),
    [
        pytest.param(["contoso.com"], "ada@contoso.com", True, id="allowed"),
        pytest.param(["Contoso.COM"], "Ada@CONTOSO.com", True, id="case"),
        pytest.param(["bücher.example"], "a@xn--bcher-kva.example", True, id="IDN in the policy"),
        pytest.param(["xn--bcher-kva.example"], "a@bücher.example", True, id="IDN in the claim"),
        pytest.param(["a.example", "contoso.com"], "ada@contoso.com", True, id="one of two"),
        pytest.param(["contoso.com"], "ada@mail.contoso.com", False, id="sub-domain"),
        pytest.param(["mail.contoso.com"], "ada@contoso.com", False, id="the domain above"),
        pytest.param(["contoso.com"], "ada@evilcontoso.com", False, id="ends with"),
        pytest.param(["contoso.com"], "ada@contoso.com.evil.example", False, id="begins with"),
        pytest.param(["contoso.com"], '"ada@contoso.com"@evil.example', False, id="an address in an address"),
        pytest.param(["contoso.com"], "contoso.com", False, id="no address"),
        pytest.param(["contoso.com"], "ada@c\u043entoso.com", False, id="a homoglyph"),
        pytest.param(["contoso.com"], None, False, id="no claim"),
    ],
)
def test_the_address_claimed_must_lie_in_an_allowed_domain(domains: list[str], address: str | None, is_allowed: bool) -> None:
    claims = {EMAIL: (address,)} if address else {}
    for user in (None, HOLDER.user):
        expected = None if is_allowed else Reason.DOMAIN_NOT_ALLOWED
        assert plan(claims, user=user, allowed_domains=domains).reason is expected


# --- creating and updating --------------------------------------------------------------------------------------------


def test_with_create_users_off_only_those_with_a_user_come_in() -> None:
    assert plan(create_users=False).reason is Reason.CREATE_DISABLED
    assert plan(create_users=False, user=HOLDER.user).outcome is Outcome.UNCHANGED


def test_with_update_users_off_no_field_of_an_existing_user_is_written_or_asked_for() -> None:
    changed = {**ADA, EMAIL: ("other@contoso.com",)}
    result = plan(changed, user=HOLDER.user, update_users=False)
    assert (result.outcome, dict(result.values)) == (Outcome.UNCHANGED, {})
    assert {(one.action, one.why) for one in result.decisions} == {(FieldAction.KEPT, FieldWhy.UPDATES_OFF)}
    assert dict(plan(changed, update_users=False).values) == {"email": "other@contoso.com"}


def test_a_new_user_may_have_to_wait() -> None:
    assert (plan(new_user_state="inactive").outcome, plan(new_user_state="inactive").is_active) == (Outcome.CREATE, False)
    assert plan(new_user_state="inactive", user=HOLDER.user).is_active is True
    assert plan().is_active is True


@pytest.mark.parametrize(("count", "reason"), [(0, None), (4, None), (5, Reason.USER_LIMIT), (6, Reason.USER_LIMIT)])
def test_a_full_tenant_takes_nobody_new(count: int, reason: Reason | None) -> None:
    full = replace(KNOWN, user_count=count)
    assert plan(situation=full, max_users=5).reason is reason
    assert plan(situation=full, max_users=5, user=HOLDER.user).reason is None
    assert plan(situation=full).reason is None


def test_the_policy_comes_before_the_fields_and_everything_is_told_at_once() -> None:
    result = plan(
        {EMAIL: ("SECRET",), IDP: ("live.com",)},
        situation=replace(KNOWN, user_count=1),
        guests="deny",
        require=[IN_STAFF],
        allowed_domains=["contoso.com"],
        create_users=False,
        max_users=1,
    )
    assert (result.reason, dict(result.values), len(result.decisions)) == (Reason.GUEST_NOT_ALLOWED, {}, len(FIELDS))
    assert result.detail == (
        "policy.guests: identityprovider is another one; policy.require: groups holds none of the values; "
        "policy.allowed_domains: no address came; policy.create_users; max_users: 1 of 1; email: its value is not an e-mail address"
    )


# --- existing users by e-mail -----------------------------------------------------------------------------------------

HOLDERS: list[Any] = [
    pytest.param((), ("contoso.com",), Outcome.CREATE, None, id="nobody"),
    pytest.param((HOLDER,), ("contoso.com",), Outcome.UPDATE, None, id="the one"),
    pytest.param((HOLDER, HOLDER), ("contoso.com",), Outcome.REFUSE, "several users have this e-mail", id="two"),
    pytest.param((replace(HOLDER, is_privileged=True),), ("contoso.com",), Outcome.REFUSE, "the user is privileged", id="privileged"),
    pytest.param((replace(HOLDER, is_linked=True),), ("contoso.com",), Outcome.REFUSE, "the user is linked already", id="linked"),
    pytest.param(
        (replace(HOLDER, user=replace(HOLDER.user, is_active=False)),), ("contoso.com",), Outcome.REFUSE, "the user is inactive", id="off"
    ),
    pytest.param((HOLDER,), ("fabrikam.com",), Outcome.REFUSE, "the tenant has not proved the domain", id="another domain"),
    pytest.param((HOLDER,), (), Outcome.REFUSE, "the tenant has not proved the domain", id="no domain"),
]


@pytest.mark.parametrize(("holders", "domains", "outcome", "why"), HOLDERS)
def test_email_link_takes_the_only_user_that_nothing_stands_against(
    holders: tuple[EmailHolder, ...], domains: tuple[str, ...], outcome: Outcome, why: str | None
) -> None:
    result = plan(match="email_link", situation=replace(KNOWN, holders=holders, domains=domains))
    assert (result.outcome, result.links) == (outcome, HOLDER.user if outcome is Outcome.UPDATE else None)
    assert result.reason is (Reason.ACCOUNT_CONFLICT if why else None)
    assert result.detail == (f"identity.match: {why}" if why else "")


def test_a_linked_user_is_updated_as_any_other_and_counts_as_one_more() -> None:
    situation = replace(KNOWN, holders=(HOLDER,), user_count=3)
    result = plan({**ADA, ALIASES["givenname"]: ("Augusta",)}, match="email_link", situation=situation, max_users=4, create_users=False)
    assert (dict(result.values), result.links) == ({"name": "Augusta"}, HOLDER.user)
    assert plan(match="email_link", situation=situation, max_users=3).reason is Reason.USER_LIMIT


@pytest.mark.parametrize("holder", [HOLDER, replace(HOLDER, is_linked=True), replace(HOLDER, is_privileged=True)])
def test_email_deny_refuses_beside_any_user_with_the_address(holder: EmailHolder) -> None:
    situation = replace(KNOWN, holders=(holder,))
    assert plan(match="email_deny", situation=situation).reason is Reason.ACCOUNT_CONFLICT
    assert plan(match="email_deny").outcome is Outcome.CREATE
    assert plan(match="email_deny", situation=situation, user=HOLDER.user).outcome is Outcome.UNCHANGED


def test_identifier_never_looks_at_who_has_the_address() -> None:
    assert plan(situation=replace(KNOWN, holders=(HOLDER,))).outcome is Outcome.CREATE


@pytest.mark.parametrize(
    ("claims", "address"),
    [
        ({EMAIL: ("Ada@Contoso.com",)}, "ada@contoso.com"),
        ({EMAIL: (" ", "ada@contoso.com")}, "ada@contoso.com"),
        ({EMAIL: ("no address",)}, None),
        ({ALIASES["upn"]: ("ada@contoso.com",), ALIASES["name"]: ("ada@contoso.com",)}, None),
        ({}, None),
    ],
)
def test_the_address_claimed_is_what_would_be_written(claims: dict[str, tuple[str, ...]], address: str | None) -> None:
    assert claimed_address(claims, name_id=NameId("ada@contoso.com"), mapping=rules_for(), shape=SHAPE) == address


# --- properties -------------------------------------------------------------------------------------------------------

POLICIES = st.fixed_dictionaries(
    {
        "match": st.sampled_from(["identifier", "email_link", "email_deny"]),
        "create_users": st.booleans(),
        "update_users": st.booleans(),
        "allowed_domains": st.sampled_from([None, ["contoso.com"]]),
        "require": st.sampled_from([[], [IN_STAFF]]),
        "guests": st.sampled_from(["allow", "deny"]),
        "new_user_state": st.sampled_from(["active", "inactive"]),
        "max_users": st.sampled_from([None, 1, 2]),
    }
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        EMAIL: st.sampled_from([("ada@contoso.com",), ("ada@fabrikam.com",), ("x",)]),
        IDP: st.sampled_from([(ISSUER,), ("mail",)]),
        GROUPS: st.sampled_from([(STAFF,), ("y",)]),
        LINK: st.just(("u",)),
    },
)
SITUATIONS = st.builds(
    lambda holders, count: replace(KNOWN, holders=tuple(holders), user_count=count),
    st.lists(st.sampled_from([HOLDER, replace(HOLDER, is_linked=True), replace(HOLDER, is_privileged=True)]), max_size=2),
    st.sampled_from([0, 1, 2]),
)


@given(POLICIES, CLAIMS, SITUATIONS, st.sampled_from([None, HOLDER.user]))
def test_whatever_the_policy_a_plan_never_links_a_user_who_must_not_be_and_a_refusal_writes_nothing(
    policy: dict[str, Any], claims: dict[str, tuple[str, ...]], situation: Situation, user: ExistingUser | None
) -> None:
    result = plan(claims, user=user, situation=situation, **policy)
    if result.links is not None:
        assert (policy["match"], user, situation.holders, claims[EMAIL]) == ("email_link", None, (HOLDER,), ("ada@contoso.com",))
    if result.outcome is Outcome.REFUSE:
        assert (dict(result.values), result.links, result.reason is None) == ({}, None, False)
    if result.outcome is Outcome.CREATE:
        assert (policy["create_users"], user) == (True, None)
        assert policy["max_users"] is None or (situation.user_count or 0) < policy["max_users"]
