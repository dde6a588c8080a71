"""The one decision engine: what a sign-in would do to a user, field by field and role by role, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from samljit.errors import Reason
from samljit.mapping.aliases import NAME_ID
from samljit.mapping.mail import is_in_domains
from samljit.mapping.text import clean
from samljit.mapping.transforms import apply
from samljit.mapping.values import Misfit, fit_text, is_empty, is_same
from samljit.model import (
    ExistingUser,
    FieldAction,
    FieldDecision,
    FieldRule,
    FieldWhy,
    MappingRules,
    Match,
    Multi,
    NameId,
    OnMissing,
    Outcome,
    Plan,
    SyncMode,
    UserColumn,
    UserShape,
    UserState,
    ValueType,
)
from samljit.provision.policy import Refusal, Situation, find_linkable, over_limit, refusals
from samljit.provision.roles import plan_roles

_REASONS = {
    FieldWhy.REQUIRED: Reason.REQUIRED_CLAIM_MISSING,
    FieldWhy.INVALID: Reason.VALUE_INVALID,
    FieldWhy.SEVERAL: Reason.MULTIPLE_VALUES,
    FieldWhy.DOMAIN: Reason.DOMAIN_NOT_ALLOWED,
}
_LONGEST_NAME = 120
_NOTHING_KNOWN = Situation()


def plan_sign_in(
    claims: Mapping[str, tuple[str, ...]],
    *,
    name_id: NameId,
    mapping: MappingRules,
    shape: UserShape,
    user: ExistingUser | None,
    email_domains: tuple[str, ...] | None = None,
    situation: Situation = _NOTHING_KNOWN,
) -> Plan:
    """What a sign-in with these claims does to this user, or to a new one where `user` is None. Writes nothing, never raises.

    `email_domains` are the domains that the tenant has proved: where the host's e-mail column is unique, an address elsewhere is
    refused, or one tenant's admin could squat on the addresses of another's people. None switches that off; an empty tuple means
    that nothing has been proved. `situation` is what the policy, the roles and `identity.match` are decided from besides. A refusal
    has the first of its reasons, those of the policy before those of a field, and still lists every decision.
    """
    if user is not None and not user.is_active:
        return Plan(outcome=Outcome.REFUSE, reason=Reason.USER_INACTIVE)
    scene = _Scene(claims, name_id, shape, user, email_domains, mapping.policy.update_users)
    # to look an address over takes longer than all else here, and for most sign-ins nothing depends on it
    by_address = mapping.policy.allowed_domains is not None or (user is None and mapping.match is not Match.IDENTIFIER)
    address = _claimed_address(mapping, scene) if by_address else None
    links = find_linkable(mapping, address=address, situation=situation) if user is None else None
    if links is not None:
        scene = replace(scene, user=links)
    decisions = tuple(_decide(rule, scene) for rule in mapping.fields)
    roles = plan_roles(mapping.roles, texts=scene.texts, user=scene.user, claims_seen=situation.claims_seen)
    refused = [
        *refusals(mapping, texts=scene.texts, address=address, user=scene.user, situation=situation),
        *(over_limit(mapping, situation=situation) if user is None else ()),
        *(Refusal(_REASONS[one.why], f"{one.field}: {one.detail}") for one in decisions if one.action is FieldAction.REFUSED),
        *([Refusal(roles.reason, roles.detail)] if roles.reason else []),
    ]
    plan = Plan(Outcome.REFUSE, decisions, roles=roles.decisions, claim_state=roles.state)
    if refused:
        return replace(plan, reason=refused[0].reason, detail="; ".join(one.detail for one in refused))
    written = (FieldAction.SET, FieldAction.CLEARED)
    values = {decision.field: decision.new for decision in decisions if decision.action in written}
    changes = bool(values or plan.granted or plan.revoked or links)
    return replace(
        plan,
        outcome=Outcome.CREATE if scene.user is None else Outcome.UPDATE if changes else Outcome.UNCHANGED,
        values=MappingProxyType(values),
        links=links,
        is_active=scene.user is not None or mapping.policy.new_user_state is UserState.ACTIVE,
    )


def claimed_address(
    claims: Mapping[str, tuple[str, ...]], *, name_id: NameId, mapping: MappingRules, shape: UserShape
) -> str | None:
    """The e-mail address that the claims give somebody new, as it would be written; None where they give none that fits."""
    return _claimed_address(mapping, _Scene(claims, name_id, shape, None, None, True))


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every field of one sign-in is decided from."""

    claims: Mapping[str, tuple[str, ...]]
    name_id: NameId
    shape: UserShape
    user: ExistingUser | None
    email_domains: tuple[str, ...] | None
    updates: bool

    def old(self, rule: FieldRule) -> Any:
        return self.user.values.get(rule.target) if self.user else None

    def texts(self, name: str) -> tuple[str, ...]:
        """The non-blank values of a claim, cleaned."""
        values = (self.name_id.value,) if name == NAME_ID else self.claims.get(name, ())
        return tuple(text for text in map(clean, values) if text)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the assertion holds for a field: cleaned texts, the names of the claims they came from, and whether a template
    had to choose among several values of one claim."""

    texts: tuple[str, ...]
    source: str
    chose: bool = False


def _decide(rule: FieldRule, scene: _Scene) -> FieldDecision:
    old = scene.old(rule)
    column = scene.shape.columns.get(rule.target)
    if rule.target in scene.shape.protected or column is None:
        return FieldDecision(rule.target, FieldAction.BLOCKED, FieldWhy.PROTECTED, detail="never filled from claims")
    if scene.user is not None and not scene.updates:
        return FieldDecision(rule.target, FieldAction.KEPT, FieldWhy.UPDATES_OFF, None, old, old)
    found = _find(rule, scene)
    if found is None and not rule.has_value:
        return _decide_missing(rule, column, scene)
    source = found.source if found else None
    if scene.user is not None and rule.sync_mode is SyncMode.ON_CREATE:
        return FieldDecision(rule.target, FieldAction.KEPT, FieldWhy.CREATE_ONLY, source, old, old)
    if scene.user is not None and rule.sync_mode is SyncMode.IF_EMPTY and not is_empty(old):
        return FieldDecision(rule.target, FieldAction.KEPT, FieldWhy.NOT_EMPTY, source, old, old)
    why = FieldWhy.CLAIM if found else FieldWhy.CONSTANT
    try:
        new = _new_value(rule, found, column=column, scene=scene) if found else rule.value
    except _Refused as refused:
        return FieldDecision(rule.target, FieldAction.REFUSED, refused.why, source, old, old, detail=str(refused))
    except _Blank:
        return _decide_missing(rule, column, scene)
    if scene.user is not None and is_same(old, new):
        return FieldDecision(rule.target, FieldAction.UNCHANGED, FieldWhy.SAME, source, old, new)
    return FieldDecision(rule.target, FieldAction.SET, why, source, old, new)


def _decide_missing(rule: FieldRule, column: UserColumn, scene: _Scene) -> FieldDecision:
    old, is_new = scene.old(rule), scene.user is None
    must_be_filled = is_new and not (column.nullable or column.has_default or rule.has_default)
    if rule.required or must_be_filled:
        detail = f"wanted {_listed(claims_for(rule))}; received {_listed(sorted(scene.claims))}"
        return FieldDecision(rule.target, FieldAction.REFUSED, FieldWhy.REQUIRED, None, old, old, detail=detail)
    if is_new and rule.has_default:
        return FieldDecision(rule.target, FieldAction.SET, FieldWhy.DEFAULT, None, old, rule.default)
    if not is_new and rule.on_missing is OnMissing.CLEAR and rule.sync_mode is SyncMode.ALWAYS:
        action = FieldAction.UNCHANGED if old is None else FieldAction.CLEARED
        return FieldDecision(rule.target, action, FieldWhy.MISSING, None, old, None)
    return FieldDecision(rule.target, FieldAction.KEPT, FieldWhy.MISSING, None, old, old)


def _claimed_address(mapping: MappingRules, scene: _Scene) -> str | None:
    """What the claims say the e-mail is, whenever the column is written; the proven domains are asked about elsewhere."""
    rule = next((rule for rule in mapping.fields if rule.target == scene.shape.email_field), None)
    found = _find(rule, scene) if rule else None
    column = scene.shape.columns.get(rule.target) if rule else None
    if rule is None or found is None or column is None:
        return None
    try:
        value = _new_value(rule, found, column=column, scene=replace(scene, email_domains=None))
    except (_Refused, _Blank):
        return None
    return value if isinstance(value, str) else None


def _find(rule: FieldRule, scene: _Scene) -> _Found | None:
    """The first source with a non-blank value, or the filled-in template; None where all of it is blank."""
    if rule.template_parts:
        return _fill_in(rule, scene)
    return next((_Found(texts, name) for name in rule.sources if (texts := scene.texts(name))), None)


def _fill_in(rule: FieldRule, scene: _Scene) -> _Found | None:
    used: dict[str, tuple[str, ...]] = {}
    text = ""
    for literal, name in rule.template_parts:
        text += literal
        if name is not None and (texts := scene.texts(name)):
            used[name] = texts
            text += texts[0]
    filled = " ".join(clean(text).split())
    if not used or not filled:
        return None
    return _Found((filled,), ", ".join(used), chose=any(len(texts) > 1 for texts in used.values()))


class _Refused(Exception):
    """A value that may not go into its field."""

    def __init__(self, why: FieldWhy, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class _Blank(Exception):
    """The transforms left nothing of the value."""


def _new_value(rule: FieldRule, found: _Found, *, column: UserColumn, scene: _Scene) -> Any:
    """The value for the column. Raises: _Refused, _Blank."""
    is_email = rule.target == scene.shape.email_field
    try:
        texts = _select(rule, found)
        new = fit_text(texts, type_=rule.type, column=column, is_email=is_email)
    except Misfit as misfit:
        raise _Refused(FieldWhy.INVALID, f"its value {misfit}") from None
    if is_email and column.unique and scene.email_domains is not None:
        addresses = new if isinstance(new, list) else [new]
        if not all(is_in_domains(str(address), scene.email_domains) for address in addresses):
            raise _Refused(FieldWhy.DOMAIN, "its address is outside the domains that the tenant has proved")
    return new


def _select(rule: FieldRule, found: _Found) -> list[str]:
    """The texts that are left after the transforms and `multi`; one, unless the field is a list. Raises: Misfit, _Refused, _Blank."""
    transformed = (text for one in found.texts for text in apply(rule.transforms, one))
    # lazily: what comes after the first value must not be able to refuse it
    texts = list(islice(transformed, 1)) if rule.multi is Multi.FIRST else list(transformed)
    if not texts:
        raise _Blank
    if rule.multi is Multi.SINGLE and (found.chose or len(texts) > 1):
        raise _Refused(FieldWhy.SEVERAL, "it takes one value and got several")
    if rule.multi is Multi.JOIN:
        return [clean(rule.separator.join(texts))]
    return texts if rule.type is ValueType.LIST else texts[:1]


def claims_for(rule: FieldRule) -> list[str]:
    """The full names of the claims that a rule reads, in its order."""
    return list(rule.claims)


def _listed(names: list[str]) -> str:
    return ", ".join(clean(name)[:_LONGEST_NAME] for name in names) or "none"
