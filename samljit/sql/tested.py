"""The result of a test sign-in as JSON, as the tenant's row keeps the last one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from samljit.errors import Reason
from samljit.model import ClaimState, NameId, Outcome, Plan
from samljit.sql.decisions import read_decision, read_role, write_decision, write_role
from samljit.tested import Check, CheckResult, SignInTest


def write_test(tested: SignInTest) -> dict[str, Any]:
    """The result with all its values: nothing but the next test ever takes them away."""
    name_id = tested.name_id
    return {
        "nonce": tested.nonce,
        "draft_revision": tested.draft_revision,
        "at": tested.at.isoformat(),
        "is_signed": tested.is_signed,
        "reason": tested.reason.value if tested.reason else None,
        "detail": tested.detail,
        "contrast": list(tested.contrast) if tested.contrast else None,
        "checks": [[check.value, result.value] for check, result in tested.checks],
        "name_id": [name_id.value, name_id.format] if name_id else None,
        "claims": {name: list(values) for name, values in tested.claims.items()},
        "issuer": tested.issuer,
        "plan": _write_plan(tested.plan) if tested.plan else None,
        "user": None if tested.user_id is None else str(tested.user_id),
    }


def read_test(row: Mapping[str, Any]) -> SignInTest:
    """The result as it was written; of its plan, what was decided and not what would be written. `user_id` is text."""
    return SignInTest(
        nonce=row["nonce"],
        draft_revision=row["draft_revision"],
        at=datetime.fromisoformat(row["at"]),
        is_signed=row["is_signed"],
        reason=Reason(row["reason"]) if row["reason"] else None,
        detail=row["detail"],
        contrast=tuple(row["contrast"]) if row["contrast"] else None,
        checks=tuple((Check(check), CheckResult(result)) for check, result in row["checks"]),
        name_id=NameId(*row["name_id"]) if row["name_id"] else None,
        claims={name: tuple(values) for name, values in row["claims"].items()},
        issuer=row["issuer"],
        plan=_read_plan(row["plan"]) if row["plan"] else None,
        user_id=row["user"],
    )


def _write_plan(plan: Plan) -> dict[str, Any]:
    return {
        "outcome": plan.outcome.value,
        "reason": plan.reason.value if plan.reason else None,
        "detail": plan.detail,
        "decisions": [write_decision(decision, keeps_values=True) for decision in plan.decisions],
        "roles": [write_role(decision) for decision in plan.roles],
        "claim_state": plan.claim_state.value if plan.claim_state else None,
        "is_active": plan.is_active,
    }


def _read_plan(row: Mapping[str, Any]) -> Plan:
    return Plan(
        outcome=Outcome(row["outcome"]),
        decisions=tuple(map(read_decision, row["decisions"])),
        reason=Reason(row["reason"]) if row["reason"] else None,
        detail=row["detail"],
        roles=tuple(map(read_role, row["roles"])),
        claim_state=ClaimState(row["claim_state"]) if row["claim_state"] else None,
        is_active=row["is_active"],
    )
