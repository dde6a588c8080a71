"""What each user's last sign-in changed and why, kept from samljit's signals and put in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask

from samljit import signed_in, user_created, user_updated
from samljit.mapping.aliases import short_name
from samljit.model import FieldAction, FieldDecision, FieldWhy, Outcome


@dataclass(frozen=True, slots=True)
class LastSignIn:
    """One sign-in as the home page tells it. `decisions` are empty where nothing was changed."""

    reference: str
    outcome: Outcome
    at: datetime
    decisions: tuple[FieldDecision, ...] = ()


class SignInHistory:
    """The last sign-in of every user, in memory, from the signals of one app."""

    def __init__(self, app: Flask) -> None:
        self._decided: dict[str, tuple[FieldDecision, ...]] = {}
        self._last: dict[Any, LastSignIn] = {}
        user_created.connect_via(app)(self._written)
        user_updated.connect_via(app)(self._written)
        signed_in.connect_via(app)(self._signed_in)

    def of(self, user_id: Any) -> LastSignIn | None:
        return self._last.get(user_id)

    def _written(self, _: Flask, *, reference: str, decisions: tuple[FieldDecision, ...], **__: Any) -> None:
        self._decided[reference] = decisions

    def _signed_in(self, _: Flask, *, user_id: Any, reference: str, outcome: Outcome, **__: Any) -> None:
        decisions = self._decided.pop(reference, ())
        self._last[user_id] = LastSignIn(reference, outcome, datetime.now(UTC), decisions)


_HEADLINES = {
    Outcome.CREATE: "It made this user",
    Outcome.UPDATE: "It updated this user",
    Outcome.UNCHANGED: "Nothing to change",
}

_REASONS: Mapping[tuple[FieldAction, FieldWhy], str] = {
    (FieldAction.SET, FieldWhy.CLAIM): "Taken from {source}.",
    (FieldAction.SET, FieldWhy.CONSTANT): "The mapping always writes this.",
    (FieldAction.SET, FieldWhy.DEFAULT): "No claim came, so the default was used.",
    (FieldAction.UNCHANGED, FieldWhy.SAME): "{source} says the same.",
    (FieldAction.UNCHANGED, FieldWhy.MISSING): "Empty already, and no claim came.",
    (FieldAction.KEPT, FieldWhy.MISSING): "No claim came, so it stays {state}.",
    (FieldAction.KEPT, FieldWhy.CREATE_ONLY): "Filled once, when the user was made.",
    (FieldAction.KEPT, FieldWhy.NOT_EMPTY): "Filled already; claims only fill it while it is empty.",
    (FieldAction.CLEARED, FieldWhy.MISSING): "No claim came any more, and the mapping says to clear it then.",
    (FieldAction.BLOCKED, FieldWhy.PROTECTED): "Never filled from claims.",
}


def headline(last: LastSignIn) -> str:
    """What the sign-in did to the record, in a few words."""
    return _HEADLINES[last.outcome]


def why(decision: FieldDecision) -> str:
    """Why a field was decided as it was, in a sentence; claims by the names that people use."""
    claims = [short_name(name) for name in (decision.source or "").split(", ") if name]
    noun = "the claim" if len(claims) == 1 else "the claims"
    state = "as it is" if decision.new else "empty"
    text = _REASONS.get((decision.action, decision.why), "").format(source=f"{noun} {' and '.join(claims)}", state=state)
    return text[:1].upper() + text[1:]
