"""A field's decision in a sentence, for everybody who shows one: never with a value."""

from __future__ import annotations

from collections.abc import Mapping

from samljit.mapping.aliases import short_name
from samljit.model import FieldAction, FieldDecision, FieldWhy

_WORDS: Mapping[tuple[FieldAction, FieldWhy], str] = {
    (FieldAction.SET, FieldWhy.CLAIM): "Taken from {source}.",
    (FieldAction.SET, FieldWhy.CONSTANT): "The mapping always writes this.",
    (FieldAction.SET, FieldWhy.DEFAULT): "No claim came, so the default was used.",
    (FieldAction.UNCHANGED, FieldWhy.SAME): "{source} says the same.",
    (FieldAction.UNCHANGED, FieldWhy.MISSING): "Empty already, and no claim came.",
    (FieldAction.KEPT, FieldWhy.MISSING): "No claim came, so it stays as it is.",
    (FieldAction.KEPT, FieldWhy.CREATE_ONLY): "Filled once, when the user was made.",
    (FieldAction.KEPT, FieldWhy.NOT_EMPTY): "Filled already; claims only fill it while it is empty.",
    (FieldAction.CLEARED, FieldWhy.MISSING): "No claim came any more, and the mapping says to clear it then.",
    (FieldAction.BLOCKED, FieldWhy.PROTECTED): "Never filled from claims.",
}


def why(decision: FieldDecision) -> str:
    """Why a field was decided as it was, in a sentence; claims by the names that people use."""
    claims = [short_name(name) for name in (decision.source or "").split(", ") if name]
    noun = "the claim" if len(claims) == 1 else "the claims"
    # what is not in the table is a refusal, whose detail says it all
    text = _WORDS.get((decision.action, decision.why), f"{decision.detail}." if decision.detail else "")
    text = text.replace("{source}", f"{noun} {' and '.join(claims)}")
    return text[:1].upper() + text[1:]
