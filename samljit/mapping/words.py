"""A decision about a field or a role in a sentence, for everybody who shows one: never with a value."""

from __future__ import annotations

from collections.abc import Mapping

from samljit.mapping.aliases import short_name
from samljit.model import FieldAction, FieldDecision, FieldWhy, RoleAction, RoleDecision, RoleWhy

_WORDS: Mapping[tuple[FieldAction, FieldWhy], str] = {
    (FieldAction.SET, FieldWhy.CLAIM): "Taken from {source}.",
    (FieldAction.SET, FieldWhy.CONSTANT): "The mapping always writes this.",
    (FieldAction.SET, FieldWhy.DEFAULT): "No claim came, so the default was used.",
    (FieldAction.UNCHANGED, FieldWhy.SAME): "{source} says the same.",
    (FieldAction.UNCHANGED, FieldWhy.MISSING): "Empty already, and no claim came.",
    (FieldAction.KEPT, FieldWhy.MISSING): "No claim came, so it stays as it is.",
    (FieldAction.KEPT, FieldWhy.CREATE_ONLY): "Filled once, when the user was made.",
    (FieldAction.KEPT, FieldWhy.UPDATES_OFF): "The policy leaves the fields of existing users alone.",
    (FieldAction.KEPT, FieldWhy.NOT_EMPTY): "Filled already; claims only fill it while it is empty.",
    (FieldAction.CLEARED, FieldWhy.MISSING): "No claim came any more, and the mapping says to clear it then.",
    (FieldAction.BLOCKED, FieldWhy.PROTECTED): "Never filled from claims.",
}


_ROLE_WORDS: Mapping[tuple[RoleAction, RoleWhy], str] = {
    (RoleAction.GRANTED, RoleWhy.CLAIM): "Asked for by {source}.",
    (RoleAction.GRANTED, RoleWhy.DEFAULT): "The default.",
    (RoleAction.REVOKED, RoleWhy.NO_MATCH): "No claim asks for it any more.",
    (RoleAction.REVOKED, RoleWhy.MISSING): "The claims that roles come from did not come.",
}
_KEPT_WORDS: Mapping[RoleWhy, str] = {
    RoleWhy.CLAIM: "Asked for by {source}, and granted already.",
    RoleWhy.DEFAULT: "The default, and granted already.",
    RoleWhy.MISSING: "The claims that roles come from did not come, so it stays.",
    RoleWhy.OVERAGE: "Too many groups for Entra to send, so it stays.",
    RoleWhy.REPLACED: "Groups came in place of app roles, so it stays.",
    RoleWhy.ADDITIVE: "No claim asks for it; the mapping only adds roles.",
    RoleWhy.CREATE_ONLY: "Roles are granted once, when the user is made.",
}


def why_role(decision: RoleDecision) -> str:
    """Why a role was decided as it was, in a sentence."""
    text = _ROLE_WORDS.get((decision.action, decision.why)) or _KEPT_WORDS.get(decision.why, "")
    return text.replace("{source}", f"the claim {short_name(decision.source)}" if decision.source else "the claims")


def why(decision: FieldDecision) -> str:
    """Why a field was decided as it was, in a sentence; claims by the names that people use."""
    claims = [short_name(name) for name in (decision.source or "").split(", ") if name]
    noun = "the claim" if len(claims) == 1 else "the claims"
    # what is not in the table is a refusal, whose detail says it all
    text = _WORDS.get((decision.action, decision.why), f"{decision.detail}." if decision.detail else "")
    text = text.replace("{source}", f"{noun} {' and '.join(claims)}")
    return text[:1].upper() + text[1:]
