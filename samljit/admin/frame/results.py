"""The result of a test sign-in, and what a dry run says, as pages show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from samljit.errors import CATALOGUE, Explanation
from samljit.mapping.aliases import NAME_ID, short_name
from samljit.mapping.words import Sentence, why, why_role
from samljit.model import FieldAction, FieldDecision, Outcome, Plan, RoleAction, RoleDecision, Tenant
from samljit.tested import Check, SignInTest
from samljit.views.explained import Advice, aliases_of, wanted_claims, what_to_put
from samljit.views.words import N_

CHECKS = {
    Check.DRAFT: N_("The draft can be used"),
    Check.SHAPE: N_("Microsoft's answer is a SAML response"),
    Check.DECRYPTION: N_("It can be decrypted with our key"),
    Check.SIGNATURE: N_("It is signed with a certificate that we trust"),
    Check.CONTENT: N_("Everything that it must say is there"),
    Check.ISSUER: N_("It is from our Microsoft Entra Identifier"),
    Check.CLAIMS: N_("Its claims can be told apart"),
    Check.DIRECTORY: N_("It is from our directory"),
    Check.REPLY_URL: N_("It is for our Reply URL"),
    Check.AUDIENCE: N_("It is for our Entity ID"),
    Check.TIMES: N_("It is valid now"),
    Check.NAME_ID: N_("It names somebody"),
    Check.REQUEST: N_("It answers this very test"),
    Check.LIBRARY: N_("A second, independent check agrees"),
    Check.ONCE: N_("It has not been used before"),
    Check.APP: N_("The app accepts this way of signing in"),
    Check.PERSON: N_("We can tell who it is"),
    Check.ACCOUNT: N_("They are let in, and every field gets its value"),
}
OUTCOMES = {
    Outcome.CREATE: N_("A new user would be made."),
    Outcome.UPDATE: N_("The user record would be updated."),
    Outcome.UNCHANGED: N_("The user record would need no change."),
    Outcome.REFUSE: N_("The sign-in would be refused."),
}
ACTIONS = {
    FieldAction.SET: N_("Set"),
    FieldAction.UNCHANGED: N_("Unchanged"),
    FieldAction.KEPT: N_("Kept"),
    FieldAction.CLEARED: N_("Cleared"),
    FieldAction.BLOCKED: N_("Blocked"),
    FieldAction.REFUSED: N_("Refused"),
}
ROLE_ACTIONS = {
    RoleAction.GRANTED: N_("Granted"),
    RoleAction.REVOKED: N_("Revoked"),
    RoleAction.UNCHANGED: N_("Unchanged"),
    RoleAction.KEPT: N_("Kept"),
}
_KINDS: dict[Any, str] = {
    FieldAction.SET: "ok",
    FieldAction.CLEARED: "warn",
    FieldAction.REFUSED: "danger",
    FieldAction.BLOCKED: "danger",
    RoleAction.GRANTED: "ok",
    RoleAction.REVOKED: "warn",
}


@dataclass(frozen=True, slots=True)
class ShownDecision:
    """One line of a table of decisions; values as text, None for nothing there."""

    name: str
    action: str
    kind: str
    why: Sentence
    old: tuple[str, ...] = field(default=(), repr=False)
    new: tuple[str, ...] = field(default=(), repr=False)

    @property
    def changes(self) -> bool:
        return self.old != self.new


@dataclass(frozen=True, slots=True)
class ShownClaim:
    """A claim that came. `is_used` is whether the mapping reads it."""

    name: str
    full_name: str
    values: tuple[str, ...] = field(repr=False)
    is_used: bool


@dataclass(frozen=True, slots=True)
class ShownPlan:
    outcome: str
    is_refused: bool
    is_active: bool
    fields: tuple[ShownDecision, ...]
    roles: tuple[ShownDecision, ...]


@dataclass(frozen=True, slots=True)
class ShownResult:
    """All that the page of a test says."""

    test: SignInTest
    plan: ShownPlan | None
    claims: tuple[ShownClaim, ...] = field(repr=False)
    explanation: Explanation | None
    advice: tuple[Advice, ...]


def shown_result(test: SignInTest, tenant: Tenant) -> ShownResult:
    explanation = CATALOGUE[test.reason] if test.reason else None
    card = explanation.card if explanation else None
    return ShownResult(
        test=test,
        plan=shown_plan(test.plan, tenant) if test.plan else None,
        claims=tuple(shown_claims(test, tenant)),
        explanation=explanation,
        advice=tuple(what_to_put(card, tenant)) if card else (),
    )


def shown_claims(test: SignInTest, tenant: Tenant) -> Iterator[ShownClaim]:
    """What came, the claims that nothing uses last."""
    used, aliases = set(wanted_claims(tenant)), aliases_of(tenant)
    all_claims = {**({NAME_ID: (test.name_id.value,)} if test.name_id else {}), **test.claims}
    shown = []
    for name, values in all_claims.items():
        short = short_name(name, aliases)
        shown.append(ShownClaim(short, name, tuple(values), short in used))
    yield from sorted(shown, key=lambda claim: (not claim.is_used, claim.name.lower()))


def shown_plan(plan: Plan, tenant: Tenant) -> ShownPlan:
    return ShownPlan(
        outcome=OUTCOMES[plan.outcome],
        is_refused=plan.outcome is Outcome.REFUSE,
        is_active=plan.is_active,
        fields=tuple(shown_fields(plan.decisions, tenant)),
        roles=tuple(shown_roles(plan.roles, tenant)),
    )


def shown_fields(decisions: Iterable[FieldDecision], tenant: Tenant) -> Iterator[ShownDecision]:
    for one in decisions:
        kind, reason = _KINDS.get(one.action, "quiet"), why(one, aliases_of(tenant))
        yield ShownDecision(one.field, ACTIONS[one.action], kind, reason, as_texts(one.old), as_texts(one.new))


def shown_roles(decisions: Iterable[RoleDecision], tenant: Tenant) -> Iterator[ShownDecision]:
    for one in decisions:
        yield ShownDecision(one.role, ROLE_ACTIONS[one.action], _KINDS.get(one.action, "quiet"), why_role(one, aliases_of(tenant)))


def as_texts(value: Any) -> tuple[str, ...]:
    """A value of a field as texts, one for each of several; none where there is nothing."""
    if value is None or value == "" or value == []:
        return ()
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return (str(value),)
