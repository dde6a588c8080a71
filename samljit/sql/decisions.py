"""Decisions about fields and roles as JSON, for the sign-in log and for the result of a test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from samljit.model import FieldAction, FieldDecision, FieldWhy, RoleAction, RoleDecision, RoleWhy


def write_decision(decision: FieldDecision, *, keeps_values: bool) -> dict[str, Any]:
    """A decision as the log holds it. Values stay out unless asked for: it is read by more people than the user table."""
    row = {"field": decision.field, "action": decision.action.value, "why": decision.why.value, "source": decision.source}
    row["detail"] = decision.detail
    return {**row, "old": _plain(decision.old), "new": _plain(decision.new)} if keeps_values else row


def read_decision(row: Mapping[str, Any]) -> FieldDecision:
    action, why = FieldAction(row["action"]), FieldWhy(row["why"])
    return FieldDecision(row["field"], action, why, row["source"], row.get("old"), row.get("new"), row["detail"])


def write_role(decision: RoleDecision) -> dict[str, Any]:
    return {"role": decision.role, "action": decision.action.value, "why": decision.why.value, "source": decision.source}


def read_role(row: Mapping[str, Any]) -> RoleDecision:
    return RoleDecision(row["role"], RoleAction(row["action"]), RoleWhy(row["why"]), row["source"])


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; what has no such form is written as text."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
