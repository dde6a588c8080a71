"""Which roles a sign-in grants and revokes, and why. Pure.

A role is only ever revoked that samljit granted, only by an authoritative mapping, and never because a claim stayed away, unless the
mapping asks for just that and the claim has reached us from this tenant before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from samljit.errors import Reason
from samljit.mapping.aliases import GROUPS_LINK, ROLE, WIDS, short_name
from samljit.mapping.text import is_guid, value_key
from samljit.model import (
    ClaimState,
    ExistingUser,
    Overage,
    RoleAction,
    RoleDecision,
    RoleRules,
    RolesMissing,
    RoleSync,
    RoleWhy,
)

Texts = Callable[[str], tuple[str, ...]]  # the cleaned, non-blank values of a claim


@dataclass(frozen=True, slots=True)
class RolePlan:
    """What becomes of a user's roles. `reason` refuses the sign-in; `detail` then says why, without values."""

    decisions: tuple[RoleDecision, ...] = ()
    state: ClaimState | None = None
    reason: Reason | None = None
    detail: str = ""


def plan_roles(rules: RoleRules | None, *, texts: Texts, user: ExistingUser | None, claims_seen: frozenset[str]) -> RolePlan:
    """The decision for every role that is asked for or was granted, by name."""
    if rules is None or rules.sync_mode is RoleSync.OFF:
        return RolePlan()
    state = _state(rules, texts)
    held = user.granted if user else frozenset()
    if user is not None and rules.sync_mode is RoleSync.ON_CREATE:
        kept = tuple(RoleDecision(role, RoleAction.KEPT, RoleWhy.CREATE_ONLY) for role in sorted(held))
        return RolePlan(kept, state)
    may_revoke = _may_revoke(rules, state=state, texts=texts, claims_seen=claims_seen)
    matched = _matched(rules, texts)
    wanted: dict[str, str | None] = {**matched}
    if not matched and (not held or may_revoke):
        wanted = dict.fromkeys(rules.default)
    decisions = [_decide_wanted(role, wanted[role], user=user) for role in wanted]
    gone = RoleAction.REVOKED if may_revoke else RoleAction.KEPT
    decisions += [RoleDecision(role, gone, _why_unasked(rules, state=state, may_revoke=may_revoke)) for role in held - wanted.keys()]
    reason, detail = _refusal(rules, state)
    return RolePlan(tuple(sorted(decisions, key=lambda one: one.role)), state, reason, detail)


def overflows(source: str, *, keys: Mapping[str, object] | frozenset[str]) -> bool:
    """Whether the link for too many groups can stand in this claim's place, by the values that are looked for in it.

    A group claim can have any name, and the link has always the same one (argo-cd #8754). Directory roles never overflow; the role
    claim only where it holds groups ("Emit groups as role claims"), which shows in object ids that are looked for.
    """
    if source == ROLE:
        return any(map(is_guid, keys))
    return source != WIDS


def _state(rules: RoleRules, texts: Texts) -> ClaimState:
    absent = [source for source in rules.sources if not texts(source)]
    if texts(GROUPS_LINK) and any(overflows(source, keys=rules.map) for source in absent):
        return ClaimState.OVERAGE
    if ROLE in rules.sources and _is_replaced(rules, texts(ROLE)):
        return ClaimState.REPLACED
    return ClaimState.PRESENT if len(absent) < len(rules.sources) or not rules.sources else ClaimState.ABSENT


def _is_replaced(rules: RoleRules, values: tuple[str, ...]) -> bool:
    """Whether "Emit groups as role claims" put object ids where the mapping looks for app roles, which then come in no claim at all."""
    return bool(values) and all(map(is_guid, values)) and not all(map(is_guid, rules.map))


def _may_revoke(rules: RoleRules, *, state: ClaimState, texts: Texts, claims_seen: frozenset[str]) -> bool:
    """Whether a granted role that nothing asks for any more is to go. A claim that never came cannot have given one."""
    if rules.sync_mode is not RoleSync.AUTHORITATIVE or state in (ClaimState.OVERAGE, ClaimState.REPLACED):
        return False
    missed = [source for source in rules.sources if not texts(source) and source in claims_seen]
    if state is ClaimState.PRESENT:
        return not missed or rules.on_missing is RolesMissing.REMOVE
    return bool(missed) and rules.on_missing is RolesMissing.REMOVE


def _matched(rules: RoleRules, texts: Texts) -> dict[str, str]:
    """The roles that the claims ask for, each with the first claim that does."""
    matched: dict[str, str] = {}
    for source in rules.sources:
        for text in texts(source):
            for role in rules.map.get(value_key(text), ()):
                matched.setdefault(role, source)
    return matched


def _decide_wanted(role: str, source: str | None, *, user: ExistingUser | None) -> RoleDecision:
    why = RoleWhy.DEFAULT if source is None else RoleWhy.CLAIM
    # a role that somebody took out of the host's own list is put back there: the mapping still asks for it
    has = user is not None and role in user.granted and (user.roles is None or role in user.roles)
    return RoleDecision(role, RoleAction.UNCHANGED if has else RoleAction.GRANTED, why, source)


def _why_unasked(rules: RoleRules, *, state: ClaimState, may_revoke: bool) -> RoleWhy:
    if rules.sync_mode is RoleSync.ADDITIVE:
        return RoleWhy.ADDITIVE
    if state is ClaimState.PRESENT and may_revoke:
        return RoleWhy.NO_MATCH
    return {ClaimState.OVERAGE: RoleWhy.OVERAGE, ClaimState.REPLACED: RoleWhy.REPLACED}.get(state, RoleWhy.MISSING)


def _refusal(rules: RoleRules, state: ClaimState) -> tuple[Reason | None, str]:
    if state is ClaimState.OVERAGE and rules.on_overage is Overage.DENY:
        return Reason.GROUPS_OVERAGE, "roles: groups.link came in place of the groups"
    if state is ClaimState.ABSENT and rules.on_missing is RolesMissing.DENY:
        return Reason.REQUIRED_CLAIM_MISSING, f"roles: wanted {' or '.join(map(short_name, rules.sources))}"
    return None, ""
