"""A decision about a field or a role in a sentence, for everybody who shows one: never with a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from samljit.mapping.aliases import ALIASES, short_name
from samljit.model import FieldAction, FieldDecision, FieldWhy, RoleAction, RoleDecision, RoleWhy


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text that can be translated, and what stands for its %(names)s. `str()` is English."""

    text: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.values if self.values else self.text


_WORDS: Mapping[tuple[FieldAction, FieldWhy], str] = {
    (FieldAction.SET, FieldWhy.CLAIM): "Taken from the claim %(claims)s.",
    (FieldAction.SET, FieldWhy.CONSTANT): "The mapping always writes this.",
    (FieldAction.SET, FieldWhy.DEFAULT): "No claim came, so the default was used.",
    (FieldAction.UNCHANGED, FieldWhy.SAME): "The claim %(claims)s says the same.",
    (FieldAction.UNCHANGED, FieldWhy.MISSING): "Empty already, and no claim came.",
    (FieldAction.KEPT, FieldWhy.MISSING): "No claim came, so it stays as it is.",
    (FieldAction.KEPT, FieldWhy.CREATE_ONLY): "Filled once, when the user was made.",
    (FieldAction.KEPT, FieldWhy.UPDATES_OFF): "The policy leaves the fields of existing users alone.",
    (FieldAction.KEPT, FieldWhy.NOT_EMPTY): "Filled already; claims only fill it while it is empty.",
    (FieldAction.CLEARED, FieldWhy.MISSING): "No claim came any more, and the mapping says to clear it then.",
    (FieldAction.BLOCKED, FieldWhy.PROTECTED): "Never filled from claims.",
}
# of a template, or of a constant that says the same
_SEVERAL = {
    "Taken from the claim %(claims)s.": "Taken from the claims %(claims)s.",
    "The claim %(claims)s says the same.": "The claims %(claims)s say the same.",
}
_SAME_AS_EVER = "The mapping always writes this, and it stands there already."

_ROLE_WORDS: Mapping[tuple[RoleAction, RoleWhy], str] = {
    (RoleAction.GRANTED, RoleWhy.CLAIM): "Asked for by the claim %(claims)s.",
    (RoleAction.GRANTED, RoleWhy.DEFAULT): "The default.",
    (RoleAction.REVOKED, RoleWhy.NO_MATCH): "No claim asks for it any more.",
    (RoleAction.REVOKED, RoleWhy.MISSING): "The claims that roles come from did not come.",
}
_KEPT_WORDS: Mapping[RoleWhy, str] = {
    RoleWhy.CLAIM: "Asked for by the claim %(claims)s, and granted already.",
    RoleWhy.DEFAULT: "The default, and granted already.",
    RoleWhy.MISSING: "The claims that roles come from did not come, so it stays.",
    RoleWhy.OVERAGE: "Too many groups for Entra to send, so it stays.",
    RoleWhy.REPLACED: "Groups came in place of app roles, so it stays.",
    RoleWhy.ADDITIVE: "No claim asks for it; the mapping only adds roles.",
    RoleWhy.CREATE_ONLY: "Roles are granted once, when the user is made.",
}


def texts() -> Iterator[str]:
    """Every text of the sentences here, for the catalogues of translations."""
    yield from _WORDS.values()
    yield from _SEVERAL.values()
    yield _SAME_AS_EVER
    yield from _ROLE_WORDS.values()
    yield from _KEPT_WORDS.values()


def why_role(decision: RoleDecision, aliases: Mapping[str, str] = ALIASES) -> Sentence:
    """Why a role was decided as it was."""
    text = _ROLE_WORDS.get((decision.action, decision.why)) or _KEPT_WORDS.get(decision.why, "")
    return Sentence(text, {"claims": short_name(decision.source, aliases)} if decision.source else {})


def why(decision: FieldDecision, aliases: Mapping[str, str] = ALIASES) -> Sentence:
    """Why a field was decided as it was; claims by the names that people use, which are `aliases` of the tenant's preset."""
    claims = [short_name(name, aliases) for name in (decision.source or "").split(", ") if name]
    text = _WORDS.get((decision.action, decision.why))
    if text is None:  # a refusal, whose detail says it all
        detail = f"{decision.detail[:1].upper()}{decision.detail[1:]}." if decision.detail else ""
        return Sentence(detail)
    if "%(claims)s" not in text:
        return Sentence(text)
    if not claims:
        return Sentence(_SAME_AS_EVER)
    return Sentence(text if len(claims) == 1 else _SEVERAL[text], {"claims": ", ".join(claims)})
