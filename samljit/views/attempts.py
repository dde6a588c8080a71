"""The sign-in log as the views write it: every refusal to `logging`, and to the table within bounds."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

from blinker import NamedSignal
from flask import Request, current_app, request

from samljit.errors import Reason, SamlJitError, SignInRefused
from samljit.model import Assertion, Attempt, HandedOver, Outcome, Plan, Stage, Tenant
from samljit.signals import sign_in_refused
from samljit.sql.attempts import new_reference
from samljit.store import Unavailable, WriteConflict
from samljit.views.cookies import Handover, Pending
from samljit.views.mounted import mounted

log = logging.getLogger("samljit")

UNVERIFIED_ROWS = 60  # per tenant, minute and process; anybody can post garbage
VERIFIED_ROWS = 600  # the same; whoever ever signed in can post that one response for ever
_MOST_TENANTS = 10_000


def printable(text: str, *, longest: int = 500) -> str:
    """`text` for one line of a log: control characters and line ends escaped, bounded (trust: 44)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:longest])


def browser_of(asking: Request) -> str:
    return printable(asking.headers.get("User-Agent", ""), longest=255)


@dataclass(slots=True)
class Step:
    """One request of a sign-in while it is being answered: what is known so far about whose it is.

    `slug` is what the address names. `closed` says why nobody can sign in to its tenant, where that is so.
    `pending` and `handover` are what the cookies say of it, for the second step.
    `nonce` is that of the request it belongs to; `attempt` what its first step has handed over, where that is known already, and
    `is_taken` whether that is used up by now. `verified` says whether anything signed stands behind it, the `assertion`: without that,
    anybody can ask for as many refusals as they like.
    """

    stage: Stage
    now: datetime
    slug: str = ""
    tenant: Tenant | None = None
    closed: SignInRefused | None = None
    nonce: str | None = None
    verified: bool = False
    user_id: Any = None
    subject_key: str | None = None
    assertion: Assertion | None = None
    plan: Plan | None = None
    pending: Pending | None = None
    handover: Handover | None = None
    attempt: HandedOver | None = None
    is_taken: bool = False


class RefusalCounts:
    """Counts refusals per tenant and minute, of messages that were verified and of others; bounded in memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: OrderedDict[tuple[UUID, int, bool], int] = OrderedDict()

    def count(self, tenant_id: UUID, now: datetime, *, verified: bool) -> int:
        """How many there were in this minute, this one included."""
        key = (tenant_id, int(now.timestamp()) // 60, verified)
        with self._lock:
            total = self._counts[key] = self._counts.pop(key, 0) + 1
            while len(self._counts) > _MOST_TENANTS:
                self._counts.popitem(last=False)
        return total


_counts = RefusalCounts()


def log_refusal(error: SamlJitError, step: Step) -> str:
    """Logs a refusal, in a transaction of its own, and tells the host. Gives the reference; a lost database raises nothing here."""
    reference, tenant = new_reference(), step.tenant
    slug = tenant.slug if tenant else None
    log.warning("sign-in refused: %s tenant=%s reference=%s %s", error.reason, slug, reference, printable(error.detail))
    times = _times(tenant, step) if tenant else 0
    if tenant is not None and times and error.reason is not Reason.DATABASE_UNAVAILABLE:
        attempt = Attempt(
            reference=reference,
            tenant_id=tenant.id,
            at=step.now,
            stage=step.stage,
            outcome=Outcome.REFUSE,
            reason=error.reason,
            detail=printable(error.detail),
            user_id=step.user_id,
            subject_key=step.subject_key,
            request_nonce=step.nonce,
            claim_names=tuple(step.assertion.claims) if step.assertion else (),
            decisions=step.plan.decisions if step.plan else (),
            roles=step.plan.roles if step.plan else (),
            claim_state=step.plan.claim_state if step.plan else None,
            keeps_values=tenant.logs_values(step.now),
            browser=browser_of(request),
            times=times,
        )
        try:
            mounted().store.add_attempt(attempt)
        except (Unavailable, WriteConflict) as lost:
            log.error("sign-in log not written: %s reference=%s", lost, reference)
    tell_host(sign_in_refused, reason=error.reason, tenant=slug, reference=reference)
    return reference


def tell_host(signal: NamedSignal, *, reference: str, **values: Any) -> None:
    """Sends a signal. A receiver that fails must not undo a sign-in that is in the database, nor hide a refusal."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        signal.send(app, reference=reference, **values)
    except Exception:
        log.exception("a receiver of %s failed, reference=%s", signal.name, reference)


def _times(tenant: Tenant, step: Step) -> int:
    """How many refusals the row to write now stands for; 0 for no row. Beyond so many a minute, one row each time the rest has doubled."""
    most = VERIFIED_ROWS if step.verified else UNVERIFIED_ROWS
    over = _counts.count(tenant.id, step.now, verified=step.verified) - most
    if over <= 0:
        return 1
    if over & (over - 1):
        return 0
    return max(1, over // 2)
