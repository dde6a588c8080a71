"""One sign-in, from a genuine assertion to a committed user record: consume, plan, apply, log, in one transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from samljit.errors import ProvisioningRefused, Reason
from samljit.mapping.text import clean
from samljit.model import (
    Assertion,
    Attempt,
    EmailHolder,
    ExistingUser,
    IdpSession,
    Match,
    NameId,
    Outcome,
    Plan,
    Purpose,
    Stage,
    Subject,
    Tenant,
    UserShape,
)
from samljit.provision.plan import claimed_address, plan_sign_in
from samljit.provision.policy import Situation, situation_of
from samljit.provision.subject import subject_of
from samljit.store import HostRefused, LockTimeout, LostRace, Replayed, Store, Transaction, Unavailable, WriteConflict

_MOST_RUNS = 5  # of one sign-in's transaction
_MOST_REFUSALS = 2  # of the same write, by a constraint
_chance = random.SystemRandom()
_LONGEST_PAUSE = 0.05  # seconds, times the number of runs: whoever was faster gets time to finish


@dataclass(frozen=True, slots=True)
class SignIn:
    """What one sign-in did, as committed. `attempt` is its row in the log."""

    attempt: Attempt
    user_id: Any
    plan: Plan


@dataclass(frozen=True, slots=True)
class Candidate:
    """Whom a sign-in is planned for: what their claims say, and to which tenant. `email_domains` as for `provision`."""

    tenant: Tenant
    claims: Mapping[str, tuple[str, ...]] = field(repr=False)
    name_id: NameId
    subject: Subject
    shape: UserShape
    email_domains: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same when the transaction has to be run again."""

    tenant: Tenant
    assertion: Assertion
    shape: UserShape
    subject: Subject
    now: datetime
    browser: str
    email_domains: tuple[str, ...] | None

    @property
    def candidate(self) -> Candidate:
        claims, name_id = self.assertion.claims, self.assertion.name_id
        return Candidate(self.tenant, claims, name_id, self.subject, self.shape, self.email_domains)


def provision(
    store: Store,
    *,
    tenant: Tenant,
    assertion: Assertion,
    shape: UserShape,
    now: datetime,
    browser: str,
    email_domains: tuple[str, ...] | None,
    new_reference: Callable[[], str],
) -> SignIn:
    """Creates, updates or leaves alone the user of a genuine assertion, and uses the assertion up, all or nothing.

    Where the database refuses a write, somebody else may have been faster (two first sign-ins at once): all of it is rolled back and
    run once again. The identity is there now, and it becomes an update; else the field in conflict is named. Where it has only lost a
    race, it is run again a few times, after a short and random while.
    `email_domains` are the only domains an e-mail may lie in, None for any.
    Raises: ProvisioningRefused; store.TenantChanged where `tenant` is not what the database has by now; store.Unavailable.
    """
    if assertion.request is not None and assertion.request.purpose is not Purpose.SIGN_IN:
        # the validator has refused it already; nothing that was made to try something out may ever write a user
        raise ProvisioningRefused(Reason.REQUEST_UNKNOWN, f"made for {assertion.request.purpose}")
    job = _Job(tenant, assertion, shape, subject_of(assertion, tenant=tenant), now, browser, email_domains)
    try:
        return _run_until_written(store, job, new_reference=new_reference)
    except Replayed:
        raise ProvisioningRefused(Reason.REPLAYED) from None
    except HostRefused as refused:
        raise ProvisioningRefused(Reason.HOST_REFUSED, str(refused)) from None
    except _NotWritten as void:
        if void.lost_race:
            raise Unavailable(str(void)) from None
        raise _name_conflict(store, job, void) from None


def find_user_of(assertion: Assertion, *, store: Store, tenant: Tenant) -> Any:
    """The key of the user whom a genuine assertion is about, or None. Writes nothing. Raises: ProvisioningRefused, Unavailable."""
    return store.find_subject_user(subject_of(assertion, tenant=tenant))


class PlanRefused(ProvisioningRefused):
    """What was planned may not be done. `plan` says why, field by field; `user_id` is the person's user, None for somebody new."""

    def __init__(self, plan: Plan, *, subject: Subject, user_id: Any) -> None:
        super().__init__(plan.reason or Reason.VALUE_INVALID, plan.detail)
        self.plan = plan
        self.subject = subject
        self.user_id = user_id


class _NotWritten(Exception):
    """The transaction is void, because the database refused what this plan wanted to write."""

    def __init__(self, plan: Plan | None, *, user_id: Any, cause: WriteConflict) -> None:
        super().__init__(str(cause))
        self.plan = plan
        self.user_id = user_id
        self.lost_race = isinstance(cause, LostRace)
        self.timed_out = isinstance(cause, LockTimeout)


def _run_until_written(store: Store, job: _Job, *, new_reference: Callable[[], str]) -> SignIn:
    """Raises: _NotWritten, when it has been run as often as it is worth."""
    refusals, takes_turn = 0, False
    for runs in range(1, _MOST_RUNS + 1):
        try:
            return _run(store, job, reference=new_reference(), takes_turn=takes_turn)
        except _NotWritten as void:
            refusals += not void.lost_race
            if refusals == _MOST_REFUSALS or runs == _MOST_RUNS:
                raise
            # not after a time-out: whatever was waited for may be held on, and the whole tenant would wait with this sign-in
            takes_turn = not void.timed_out
            time.sleep(_chance.uniform(0, _LONGEST_PAUSE * runs) if void.lost_race else 0)
    raise AssertionError("unreachable")


def _run(store: Store, job: _Job, *, reference: str, takes_turn: bool) -> SignIn:
    plan: Plan | None = None
    user: ExistingUser | None = None
    try:
        with store.transaction() as transaction:
            _prepare(transaction, job, takes_turn=takes_turn)
            _consume(transaction, job)
            user = transaction.find_user(job.subject, tenant=job.tenant)
            transaction.confirm_tenant(job.tenant)
            plan = make_plan(transaction, job.candidate, user=user)
            user_id = _apply(transaction, job, plan=plan, user=user)
            attempt = _log_row(job, plan, user_id=user_id, reference=reference)
            transaction.add_attempt(attempt)
            if plan.is_active:
                transaction.begin_session(_session(job, attempt))
            return SignIn(attempt, user_id, plan)
    except WriteConflict as conflict:
        raise _NotWritten(plan, user_id=user.id if user else None, cause=conflict) from None


def _prepare(transaction: Transaction, job: _Job, *, takes_turn: bool) -> None:
    """Takes the tenant's lock, where its number of users is limited, or it sends a claim for the first time. With `takes_turn` too: those
    that are run again come one after the other."""
    rules = job.tenant.mapping.roles
    claims = job.assertion.claims
    # a claim without a value says nothing of whether the tenant sends it
    came = frozenset(name for name in (rules.sources if rules else ()) if any(map(clean, claims.get(name, ()))))
    new_claims = came - job.tenant.claims_seen
    if new_claims or takes_turn or job.tenant.mapping.policy.max_users is not None:
        transaction.lock_tenant(job.tenant.id)
    if new_claims:
        transaction.note_claims(job.tenant.id, new_claims)


def make_plan(transaction: Transaction, candidate: Candidate, *, user: ExistingUser | None) -> Plan:
    """What a sign-in would do to this user, or to somebody new where `user` is None. Reads, and writes nothing."""
    return plan_sign_in(
        candidate.claims,
        name_id=candidate.name_id,
        mapping=candidate.tenant.mapping,
        shape=candidate.shape,
        user=user,
        email_domains=candidate.email_domains,
        situation=_look_around(transaction, candidate, user=user),
    )


def _look_around(transaction: Transaction, candidate: Candidate, *, user: ExistingUser | None) -> Situation:
    """Asks the database what only somebody new makes it necessary to know."""
    tenant, count = candidate.tenant, None
    holders: tuple[EmailHolder, ...] = ()
    if user is None and tenant.mapping.match is not Match.IDENTIFIER:
        address = claimed_address(candidate.claims, name_id=candidate.name_id, mapping=tenant.mapping, shape=candidate.shape)
        if address is not None:
            holders = transaction.find_holders(address, tenant=tenant, subject=candidate.subject)
    if user is None and tenant.mapping.policy.max_users is not None:
        count = transaction.count_users(tenant.id)
    return situation_of(tenant, holders=holders, user_count=count)


def _consume(transaction: Transaction, job: _Job) -> None:
    request = job.assertion.request
    transaction.consume(
        tenant_id=job.tenant.id,
        assertion_hash=job.assertion.hash,
        request_nonce=request.nonce if request else None,
        expires=job.assertion.usable_until,
    )


def _apply(transaction: Transaction, job: _Job, *, plan: Plan, user: ExistingUser | None) -> Any:
    """Writes what the plan says and nothing else; gives the user's key."""
    if plan.outcome is Outcome.REFUSE:
        raise PlanRefused(plan, subject=job.subject, user_id=user.id if user else None)
    tenant, subject, now = job.tenant, job.subject, job.now
    existing = user or plan.links
    if existing is None:
        return transaction.create_user(
            plan.values, tenant=tenant, subject=subject, now=now, is_active=plan.is_active, granted=plan.granted
        )
    if user is None:
        transaction.link_user(existing.id, subject=subject, now=now)
    else:
        transaction.note_sign_in(now=now)
    if plan.values:
        transaction.update_user(existing.id, plan.values)
    if plan.granted or plan.revoked:
        transaction.change_roles(
            existing.id,
            tenant_id=tenant.id,
            granted=plan.granted,
            revoked=plan.revoked,
            known=existing.granted,
            now=now,
        )
    return existing.id


def _log_row(job: _Job, plan: Plan, *, user_id: Any, reference: str) -> Attempt:
    return Attempt(
        reference=reference,
        tenant_id=job.tenant.id,
        at=job.now,
        stage=Stage.PROVISION,
        outcome=plan.outcome,
        reason=None if plan.is_active else Reason.USER_INACTIVE,
        detail="linked to the user with this e-mail" if plan.links else "",
        user_id=user_id,
        subject_key=job.subject.key,
        request_nonce=job.assertion.request.nonce if job.assertion.request else None,
        claim_names=tuple(job.assertion.claims),
        decisions=plan.decisions,
        roles=plan.roles,
        claim_state=plan.claim_state,
        keeps_values=job.tenant.logs_values(job.now),
        browser=job.browser,
        session_ends_at=job.assertion.session_not_on_or_after,
    )


def _session(job: _Job, attempt: Attempt) -> IdpSession:
    assertion = job.assertion
    return IdpSession(attempt.reference, job.tenant.id, attempt.user_id, assertion.name_id, assertion.session_index, began_at=job.now)


def _name_conflict(store: Store, job: _Job, void: _NotWritten) -> ProvisioningRefused:
    if void.plan is not None:
        name = store.find_conflict(void.plan.values, tenant=job.tenant, besides=void.user_id)
        if name is not None:
            return ProvisioningRefused(Reason.VALUE_CONFLICT, f"field {name}")
    return ProvisioningRefused(Reason.SAVE_FAILED, str(void))
