"""Test sign-ins, where they meet the ACS: a whole round trip with a tenant's draft that signs nobody in.

The InResponseTo of a response, which nothing has verified, chooses between two configurations of one and the same tenant, and only
where its HMAC says that we made it, for this tenant, for a test. The draft then judges the response, and must find that very request
in what its IdP signed; anything else is judged as a sign-in, by what is live, which refuses answers to tests. What comes of a test is
one document that the tenant's admin is shown. No attempt is logged that `finish` could take for a sign-in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flask import Response, url_for

from samljit.errors import AssertionRejected, ProvisioningRefused, Reason, SamlJitError
from samljit.model import Assertion, Outcome, PendingRequest, Tenant
from samljit.provision.dry_run import Claims, DryRun, dry_run
from samljit.saml.request import unverified_test_id
from samljit.sql.stored import StoredTenant
from samljit.sql.tested import write_test
from samljit.store import Replayed
from samljit.tested import Check, SignInTest, Trace
from samljit.views.attempts import log
from samljit.views.cookies import PENDING_LIFETIME
from samljit.views.hooks import ask_host
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import page
from samljit.views.words import N_


@dataclass(frozen=True, slots=True)
class StartedTest:
    """A test that an admin of this tenant has started, and that a response may answer."""

    stored: StoredTenant
    request: PendingRequest


def find_test(xml: bytes, *, slug: str, now: datetime) -> StartedTest | None:
    """The test that a response claims to answer, None where it claims no such thing.

    A request is too old to be answered long before it is too old to have its answer shown as refused. Raises: store.Unavailable.
    """
    mount, unverified_id = mounted(), unverified_test_id(xml)
    if unverified_id is None or mount.authorize is None or slug in mount.directory.of_settings:
        return None
    stored = mount.directory.rows.find_stored(slug)
    request = app_secrets().requests.find_test(unverified_id, tenant_id=stored.id) if stored else None
    if stored is None or request is None or not request.issued_at <= now < request.issued_at + PENDING_LIFETIME:
        return None
    return StartedTest(stored, request)


def answer_test(test: StartedTest, xml: bytes, *, now: datetime) -> Response:
    """Keeps what came of a test, and sends the browser on to where its admin sees it. To everybody it looks the same, whatever came.

    Raises: store.Unavailable, store.WriteConflict.
    """
    stored, nonce = test.stored, test.request.nonce
    if test.request.draft_revision == stored.draft_revision:
        try:
            _keep(_judge(test, xml, now=now), slug=stored.slug)
        except Replayed:
            log.warning("test sign-in: posted again, tenant=%s", stored.slug)
    onward = url_for("samljit.admin.test_result", tenant=stored.slug, n=nonce)
    return page("handover.html", heading=N_("Going to the result of the test…"), onward=onward)


def _keep(result: SignInTest, *, slug: str) -> None:
    """Anybody can post garbage for a request whose address they have seen: that never takes the place of a genuine answer to it."""
    log.info("test sign-in: %s tenant=%s draft=%s", "passed" if result.passed else result.reason, slug, result.draft_revision)
    mounted().directory.rows.record_test(
        slug, write_test(result), nonce=result.nonce, draft_revision=result.draft_revision, replaces=result.is_genuine
    )


def _judge(test: StartedTest, xml: bytes, *, now: datetime) -> SignInTest:
    """What the response amounts to, by the draft. It is used up, where it is genuine. Raises: Replayed, Unavailable."""
    judged = _Judged()
    refused: SamlJitError | None = None
    try:
        _try(test, xml, judged, now=now)
    except (AssertionRejected, ProvisioningRefused) as error:
        refused = error
    rejected = refused if isinstance(refused, AssertionRejected) else None
    trace, done = judged.trace, judged.done
    return SignInTest(
        nonce=test.request.nonce,
        draft_revision=test.request.draft_revision,
        at=now,
        is_signed=judged.assertion is not None or (rejected is not None and rejected.verified),
        reason=refused.reason if refused else None,
        detail=refused.detail if refused else "",
        contrast=rejected.contrast if rejected else None,
        checks=trace.results(failed=refused is not None),
        name_id=trace.name_id,
        claims=trace.claims,
        issuer=judged.assertion.issuer if judged.assertion else "",
        plan=done.plan if done else None,
        user_id=done.user_id if done else None,
    )


@dataclass(slots=True)
class _Judged:
    """How far a judgement has come."""

    trace: Trace = field(default_factory=Trace)
    assertion: Assertion | None = None
    done: DryRun | None = None


def _try(test: StartedTest, xml: bytes, judged: _Judged, *, now: datetime) -> None:
    """Goes through all that a sign-in goes through. Raises: AssertionRejected, ProvisioningRefused; Replayed, Unavailable."""
    trace = judged.trace
    tenant, _ = mounted().directory.find_drafted(test.stored, now=now)
    trace.begin(Check.DRAFT)
    if tenant is None:
        raise ProvisioningRefused(Reason.TENANT_MISCONFIGURED)
    if tenant.idp is None or not tenant.idp.is_usable(now):
        raise ProvisioningRefused(Reason.TENANT_NOT_CONNECTED)
    assertion = app_secrets().validator.validate(xml, tenant=tenant, now=now, test=test.request, trace=trace)
    judged.assertion = assertion
    trace.begin(Check.ONCE)
    _consume(assertion, tenant)
    trace.begin(Check.APP)
    ask_host(tenant, assertion)
    trace.begin(Check.PERSON)
    judged.done = _dry_run(assertion, tenant)
    plan = judged.done.plan
    if plan.reason not in _NOBODY:
        trace.begin(Check.ACCOUNT)
    if plan.outcome is Outcome.REFUSE:
        raise ProvisioningRefused(plan.reason or Reason.VALUE_INVALID, plan.detail)


# the plan is refused before anybody has been found whom it could be about
_NOBODY = frozenset({Reason.SUBJECT_MISSING, Reason.SUBJECT_TRANSIENT, Reason.USER_OUTSIDE_TENANT, Reason.USER_GONE})


def _consume(assertion: Assertion, tenant: Tenant) -> None:
    """Uses the answer up, as a sign-in does, and commits that alone. Raises: Replayed."""
    nonce = assertion.request.nonce if assertion.request else None
    with mounted().store.transaction() as transaction:
        transaction.consume(
            tenant_id=tenant.id, assertion_hash=assertion.hash, request_nonce=nonce, expires=assertion.usable_until
        )


def _dry_run(assertion: Assertion, tenant: Tenant) -> DryRun:
    mount = mounted()
    claims = Claims(assertion.claims, assertion.name_id, assertion.issuer)
    return dry_run(
        mount.store, claims, tenant=tenant, shape=mount.shape_for(tenant), email_domains=mount.email_domains(tenant)
    )
