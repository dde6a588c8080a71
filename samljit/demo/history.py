"""What each user's last sign-in changed and why, kept from samljit's signals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask

from samljit import signed_in, user_created, user_updated
from samljit.model import FieldDecision, Outcome


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


def headline(last: LastSignIn) -> str:
    """What the sign-in did to the record, in a few words."""
    return _HEADLINES[last.outcome]
