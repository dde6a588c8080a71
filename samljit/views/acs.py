"""POST acs, the assertion consumer service: the only view without CSRF protection, and the one that strangers write to.

It reads no cookie, because the browser sends none on this cross-site POST, and it begins no session: what it commits is handed over
to `finish`, which is opened same-origin and has all of the host's cookies.
"""

from __future__ import annotations

import secrets as tokens
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Response, current_app, request, url_for
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from samljit.errors import AssertionRejected, ProvisioningRefused, Reason
from samljit.model import Assertion, ClaimState, Outcome, Purpose, Stage, Tenant
from samljit.provision.sign_in import PlanRefused, SignIn, find_user_of, provision
from samljit.saml.gate import decode_response
from samljit.signals import roles_changed, sign_in_refused, user_created, user_updated
from samljit.sql.attempts import new_reference
from samljit.store import TenantChanged, Unavailable
from samljit.views.attempts import Step, browser_of, log, log_refusal, tell_host
from samljit.views.cookies import COOKIE_NAMES, Handover, set_handover, set_refusal
from samljit.views.expiry import warn_of_expiry
from samljit.views.hooks import ask_host, ask_rate_limit
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import find_tenant, get_seen_tenant, page, refused_page, sign_in_step
from samljit.views.paths import local_path
from samljit.views.refreshing import renew
from samljit.views.tests import answer_test, find_test
from samljit.views.words import N_

MAX_BODY = 512 * 1024  # bytes
MAX_RELAY_STATE = 512  # bytes; Entra's RelayState is longer than the 80 that SAML bindings 3.4.3 allows
_MAX_FIELDS = 16
_MOST_JUDGEMENTS = 4  # of one response: by the tenant as seen last, as it is now, with its IdP's new keys, and once more
_REMEDIES = {
    ClaimState.OVERAGE: "In Entra: Attributes & Claims, group claim, groups assigned to the application; or filter them, or use app roles",
    ClaimState.REPLACED: "In Entra: Attributes & Claims, group claim, Emit groups as role claims, off",
}


@dataclass(frozen=True, slots=True)
class _Form:
    """What was posted. The RelayState is anybody's to write: it counts only where the IdP has started the sign-in, and as a local path
    (trust: 39). Else `next` is in our own cookie."""

    response: str = field(repr=False)
    relay_state: str | None


class OwnCookiesOnly(Response):
    """A response that carries no cookies but ours.

    The browser sent none with this POST, so Flask and Flask-Login see an empty session; were they to save or delete it, they would
    overwrite that of whoever is signed in here.
    """

    def get_wsgi_headers(self, environ: Any) -> Any:
        headers = super().get_wsgi_headers(environ)
        kept = [value for value in headers.getlist("Set-Cookie") if value.startswith(COOKIE_NAMES)]
        headers.setlist("Set-Cookie", kept)
        return headers


@sign_in_step(Stage.ACS, get_tenant=get_seen_tenant)
def answer(step: Step) -> Response:
    ask_rate_limit()
    form, xml = _read(step)
    test = find_test(xml, slug=step.slug, now=step.now)
    if test is not None:
        return answer_test(test, xml, now=step.now)
    if step.closed is not None:
        raise step.closed
    try:
        done = _sign_in(xml, step)
    except AssertionRejected as rejected:
        if rejected.reason is Reason.STATUS_NOT_SUCCESS and _was_passive(rejected, step):
            log.info("nobody is signed in at the IdP: tenant=%s", step.slug)
            return _go_on(step)
        if rejected.reason is not Reason.UNSOLICITED:
            raise
        step.verified = rejected.verified
        return _refuse_at_finish(rejected, step)
    except ProvisioningRefused as refused:
        if isinstance(refused, PlanRefused):
            step.plan, step.subject_key, step.user_id = refused.plan, refused.subject.key, refused.user_id
        if refused.reason is not Reason.REPLAYED:
            raise
        assert step.assertion is not None
        assert step.tenant is not None
        step.user_id = find_user_of(step.assertion, store=mounted().store, tenant=step.tenant)
        return _refuse_at_finish(refused, step)
    return _welcome(done, form, step)


def _welcome(done: SignIn, form: _Form, step: Step) -> Response:
    """What follows a commit."""
    tenant, assertion = step.tenant, step.assertion
    assert tenant is not None
    assert assertion is not None
    _tell_host(done, tenant)
    warn_of_expiry(tenant, now=step.now)
    if not done.plan.is_active:
        return _refuse_newcomer(done, step)
    # nobody here has remembered where a sign-in is to go that the IdP has started
    next_path = None if assertion.request else local_path(form.relay_state, url_prefix=mounted().url_prefix)
    return _hand_over(done.attempt.reference, step, next_path=next_path)


def acs(tenant: str) -> Response:
    """Takes an assertion, creates or updates its person, and hands over to `finish`. Answers 400, 403, 409, 413, 429 or 503 otherwise."""
    answered = answer(tenant)
    response = OwnCookiesOnly(answered.get_data(), answered.status, answered.headers)
    purge = partial(mounted().purge_now_and_then, current_app._get_current_object())  # type: ignore[attr-defined]
    response.call_on_close(purge)  # when the person has the answer
    return response


def limit_body() -> None:
    """Bounds what is read of the body before anything looks at the form."""
    request.max_content_length = MAX_BODY
    request.max_form_memory_size = MAX_BODY


def _sign_in(xml: bytes, step: Step) -> SignIn:
    """What a response does, by the tenant as it is now. Raises: AssertionRejected, ProvisioningRefused, SignInRefused; Unavailable.

    It is judged by the tenant that this process has seen last: the transaction tells whether that still is what the database has, and
    so takes no look-up before it. Whatever is refused is held against a look-up; where the tenant is another by now, or its IdP has
    other keys than we knew of, all of it is judged once more.
    """
    for _ in range(_MOST_JUDGEMENTS):
        try:
            return _judge(xml, step)
        except AssertionRejected as rejected:
            if not _is_another(step) and not renew(rejected, step):
                raise
        except ProvisioningRefused:
            if not _is_another(step):
                raise
        except TenantChanged:
            _is_another(step)
    raise Unavailable("the tenant has changed again and again")


def _judge(xml: bytes, step: Step) -> SignIn:
    """Raises: AssertionRejected, ProvisioningRefused; TenantChanged, Unavailable."""
    tenant = step.tenant
    assert tenant is not None
    step.stage, step.verified, step.assertion, step.nonce = Stage.ACS, False, None, None
    step.assertion = assertion = app_secrets().validator.validate(xml, tenant=tenant, now=step.now)
    step.verified = True
    step.nonce = assertion.request.nonce if assertion.request else None
    ask_host(tenant, assertion)
    step.stage = Stage.PROVISION
    return _provision(assertion, tenant, step)


def _is_another(step: Step) -> bool:
    """Whether the tenant is another by now than that of the step, which then has the new one.

    Raises: SignInRefused where nobody can sign in to it any more; Unavailable.
    """
    before, stage = step.tenant, step.stage
    step.stage = Stage.ACS
    closed = find_tenant(step)
    if closed is not None:
        raise closed
    step.stage = stage
    return step.tenant is not before


def _read(step: Step) -> tuple[_Form, bytes]:
    """The form and the message in it. Raises: AssertionRejected; SignInRefused where nobody can sign in, whatever was posted."""
    try:
        form = _read_form()
        return form, decode_response(form.response)
    except AssertionRejected:
        if step.closed is not None:
            raise step.closed from None
        raise


def _read_form() -> _Form:
    """The one SAMLResponse of the form, and its RelayState, bounded (trust: 1)."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise AssertionRejected(Reason.REQUEST_MALFORMED, "content type")
    try:
        body = request.get_data()
        if len(body) >= MAX_BODY:  # one that came without a Content-Length, which werkzeug cuts off there without a word
            raise AssertionRejected(Reason.TOO_LARGE)
        if body.count(b"&") > _MAX_FIELDS:
            raise AssertionRejected(Reason.REQUEST_MALFORMED, "too many form fields")
        responses, relay_states = request.form.getlist("SAMLResponse"), request.form.getlist("RelayState")
    except RequestEntityTooLarge:
        raise AssertionRejected(Reason.TOO_LARGE) from None
    except HTTPException as error:
        raise AssertionRejected(Reason.REQUEST_MALFORMED, type(error).__name__) from None
    if len(responses) != 1:
        raise AssertionRejected(Reason.REQUEST_MALFORMED, f"{len(responses)} SAMLResponse fields")
    if len(relay_states) > 1 or any(len(state.encode()) > MAX_RELAY_STATE for state in relay_states):
        raise AssertionRejected(Reason.REQUEST_MALFORMED, "RelayState")
    return _Form(responses[0], relay_states[0] if relay_states else None)


def _provision(assertion: Assertion, tenant: Tenant, step: Step) -> SignIn:
    mount = mounted()
    return provision(
        mount.store,
        tenant=tenant,
        assertion=assertion,
        shape=mount.shape_for(tenant),
        now=step.now,
        browser=browser_of(request),
        email_domains=mount.email_domains(tenant),
        new_reference=new_reference,
    )


def _tell_host(done: SignIn, tenant: Tenant) -> None:
    """After the commit, with every session closed."""
    log.info("provisioned: %s tenant=%s reference=%s", done.plan.outcome, tenant.slug, done.attempt.reference)
    _warn_of_claims(done, tenant)
    signal = {Outcome.CREATE: user_created, Outcome.UPDATE: user_updated}.get(done.plan.outcome)
    if signal is not None:
        reference, decisions = done.attempt.reference, done.plan.decisions
        tell_host(signal, user_id=done.user_id, tenant=tenant.slug, reference=reference, decisions=decisions)
    if done.plan.granted or done.plan.revoked:
        changed = {"granted": done.plan.granted, "revoked": done.plan.revoked}
        tell_host(roles_changed, user_id=done.user_id, tenant=tenant.slug, reference=done.attempt.reference, **changed)


def _warn_of_claims(done: SignIn, tenant: Tenant) -> None:
    """Roles that could not be told are left as they are; the log says so each time, and how Entra is to be set up."""
    remedy = _REMEDIES.get(done.plan.claim_state or ClaimState.PRESENT)
    if remedy:
        log.warning("roles left alone: %s tenant=%s reference=%s %s", done.plan.claim_state, tenant.slug, done.attempt.reference, remedy)


def _refuse_newcomer(done: SignIn, step: Step) -> Response:
    """The user was made, and waits to be switched on; the attempt's row says both."""
    reference, tenant = done.attempt.reference, step.tenant
    assert tenant is not None
    log.warning("sign-in refused: %s tenant=%s reference=%s new user", Reason.USER_INACTIVE, tenant.slug, reference)
    tell_host(sign_in_refused, reason=Reason.USER_INACTIVE, tenant=tenant.slug, reference=reference)
    return refused_page(Reason.USER_INACTIVE, reference=reference, step=step)


def _refuse_at_finish(error: AssertionRejected | ProvisioningRefused, step: Step) -> Response:
    """Two refusals are judged at `finish`, which sees the session: used already by the person who is signed in here, or started
    at the IdP. Where they cannot be written down, the refusal stands here."""
    reference = log_refusal(error, step)
    try:
        is_written = mounted().store.find_attempt(reference) is not None
    except Unavailable:
        is_written = False
    if not is_written:
        return refused_page(error.reason, reference=reference, step=step)
    return _hand_over(reference, step, carry=set_refusal)


def _hand_over(
    reference: str, step: Step, *, carry: Callable[..., None] = set_handover, next_path: str | None = None
) -> Response:
    tenant = step.tenant
    assert tenant is not None
    step.nonce = nonce = step.nonce or tokens.token_hex(16)
    response = _go_on(step)
    handover = Handover(reference, tenant.id, nonce, next_path)
    carry(response, mount=mounted(), secrets=app_secrets(), handover=handover)
    return response


def _go_on(step: Step) -> Response:
    """The tiny page between the two steps. Its refresh makes the next request a same-origin one, which brings all cookies."""
    tenant = step.tenant
    assert tenant is not None
    return page("handover.html", heading=N_("Signing you in…"), onward=url_for("samljit.finish", tenant=tenant.slug, n=step.nonce))


def _was_passive(rejected: AssertionRejected, step: Step) -> bool:
    """Whether an error answers a request with IsPassive, of late: then nothing went wrong, the IdP would have had to ask (SAML core 3.4.1).

    The answer is not signed. It says nothing but that nobody comes, and `finish` goes back only in the browser that began.
    """
    tenant = step.tenant
    assert tenant is not None
    try:
        asked = app_secrets().requests.read(rejected.unverified_request_id or "", tenant_id=tenant.id, now=step.now)
    except AssertionRejected:
        return False
    step.nonce = asked.nonce
    return asked.is_passive and asked.purpose is Purpose.SIGN_IN
