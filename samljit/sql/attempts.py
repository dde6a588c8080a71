"""Rows of the sign-in log: how an attempt is written and read."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from samljit.errors import Reason
from samljit.model import Attempt, ClaimState, HandedOver, Outcome, Stage
from samljit.sql.decisions import read_decision, read_role, write_decision, write_role
from samljit.sql.tables import from_database, to_database

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing to mix up on the telephone
_LONGEST_DETAIL = 2000


def new_reference() -> str:
    """A fresh reference, `SJ-XXXX-XXXX`: 40 random bits, unique in the log."""
    letters = "".join(_ALPHABET[byte % 32] for byte in secrets.token_bytes(8))
    return f"SJ-{letters[:4]}-{letters[4:]}"


def read_attempt(row: Any) -> Attempt:
    """An attempt from its row."""
    return Attempt(
        reference=row.reference,
        tenant_id=UUID(row.tenant_id),
        at=from_database(row.at),
        stage=Stage(row.stage),
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason) if row.reason else None,
        detail=row.detail,
        user_id=row.user_id,
        subject_key=row.subject_key,
        request_nonce=row.request_nonce,
        claim_names=tuple(row.claim_names),
        decisions=tuple(map(read_decision, row.decisions)),
        roles=tuple(map(read_role, row.roles)),
        claim_state=ClaimState(row.claim_state) if row.claim_state else None,
        keeps_values=any("new" in d for d in row.decisions),
        browser=row.browser,
        times=row.times,
        finished_at=from_database(row.finished_at) if row.finished_at else None,
        session_ends_at=from_database(row.session_ends_at) if row.session_ends_at else None,
    )


# by which columns the second step goes
HANDED_OVER = ("reference", "tenant_id", "outcome", "reason", "user_id", "request_nonce", "session_ends_at")


def read_handed_over(row: Any) -> HandedOver:
    return HandedOver(
        reference=row.reference,
        tenant_id=UUID(row.tenant_id),
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason) if row.reason else None,
        user_id=row.user_id,
        request_nonce=row.request_nonce,
        session_ends_at=from_database(row.session_ends_at) if row.session_ends_at else None,
    )


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """The row that an attempt is written as, by column."""
    return {
        "reference": attempt.reference,
        "tenant_id": str(attempt.tenant_id),
        "at": to_database(attempt.at),
        "stage": attempt.stage.value,
        "outcome": attempt.outcome.value,
        "reason": attempt.reason.value if attempt.reason else None,
        "detail": attempt.detail[:_LONGEST_DETAIL],
        "user_id": attempt.user_id,
        "subject_key": attempt.subject_key,
        "request_nonce": attempt.request_nonce,
        "claim_names": list(attempt.claim_names),
        "decisions": [write_decision(decision, keeps_values=attempt.keeps_values) for decision in attempt.decisions],
        "roles": [write_role(decision) for decision in attempt.roles],
        "claim_state": attempt.claim_state.value if attempt.claim_state else None,
        "browser": attempt.browser[:255],
        "times": attempt.times,
        "finished_at": to_database(attempt.finished_at) if attempt.finished_at else None,
        "session_ends_at": to_database(attempt.session_ends_at) if attempt.session_ends_at else None,
    }
