"""GET and POST finish, the second step: same-origin, with all of the host's cookies, in the browser that began."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, make_response, redirect, request, session, url_for
from flask_login import current_user, login_user
from itsdangerous import BadSignature

from samljit.errors import Reason, SignInRefused
from samljit.model import HandedOver, Outcome, Stage, Tenant
from samljit.signals import signed_in
from samljit.views.attempts import Step, log, tell_host
from samljit.views.cookies import (
    Handover,
    Pending,
    count_arrival,
    drop_handover,
    drop_sign_in,
    find_handover,
    find_pending,
    set_restarted,
    set_tried_quietly,
    was_restarted,
)
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import get_tenant, page, refused_page, sign_in_step, why_closed
from samljit.views.paths import HOME
from samljit.views.sessions import SESSION_KEY, is_somebody_here, renew_session

_QUESTION_SECONDS = 600


def _get_tenant(slug: str, step: Step) -> Tenant:
    """The tenant, and along with it in one statement the attempt that the cookie's hand-over names. Raises: as `pages.get_tenant`."""
    mount, secrets, nonce = mounted(), app_secrets(), request.args.get("n", "")
    step.pending = find_pending(request, nonce, mount=mount, secrets=secrets)
    step.handover = find_handover(request, nonce, mount=mount, secrets=secrets)
    if step.handover is None:
        return get_tenant(slug, step)
    tenant = _take(step.handover, step)
    if tenant is None:
        tenant, step.attempt = mount.directory.get_with_attempt(slug, reference=step.handover.reference, now=step.now)
    return tenant


def _take(handover: Handover, step: Step) -> Tenant | None:
    """Uses the hand-over up in the statement that reads it, and gives the tenant. None, and nothing is used, where anything might stand
    against that: what `finish` asks then, and in which order, is the rule; what is asked here, and by the statement, says it holds."""
    mount, pending = mounted(), step.pending
    tenant = mount.directory.find_seen(step.slug)
    if tenant is None or pending is None or not (tenant.id == handover.tenant_id == pending.tenant_id):
        return None
    if request.method != "GET" or why_closed(tenant, step) is not None or is_somebody_here() or current_user.is_authenticated:
        return None
    step.attempt = mount.store.take_attempt(handover.reference, tenant=tenant, nonce=pending.nonce, now=step.now)
    step.is_taken = step.attempt is not None
    return tenant if step.is_taken else None


@sign_in_step(Stage.FINISH, get_tenant=_get_tenant)
def finish(step: Step) -> Response:
    """Signs in whom the ACS has committed, once, in the browser that began, and goes to `next`."""
    tenant = step.tenant
    assert tenant is not None
    if request.method == "HEAD":  # asks about the page, and must not use the hand-over up
        return Response()
    nonce, pending = request.args.get("n", ""), step.pending
    if pending is not None and pending.tenant_id == tenant.id:
        step.nonce = nonce
    answered = _read_answer(nonce)
    handover = answered or step.handover
    if handover is None or handover.tenant_id != tenant.id:
        if pending is not None and pending.passive and pending.tenant_id == tenant.id:
            return _go_back_quietly(pending)
        return _without_handover(pending)
    attempt = step.attempt
    if attempt is None or attempt.reference != handover.reference:
        attempt = mounted().store.find_handed_over(handover.reference)
    if attempt is None or attempt.tenant_id != tenant.id:
        raise SignInRefused(Reason.BROWSER_MISMATCH, "no such attempt")
    step.verified = True
    if attempt.outcome is Outcome.REFUSE:
        return _judge_refusal(attempt, step, nonce=nonce, pending=pending)
    next_path = _where_to(attempt, handover, tenant=tenant, pending=pending)
    if attempt.user_id is None:
        raise SignInRefused(Reason.USER_GONE, "deleted since the first step")
    if answered is None and current_user.is_authenticated and not _is_signed_in(attempt.user_id):
        return _ask(handover, tenant)
    return _sign_in(attempt, step, nonce=nonce, next_path=next_path)


def _where_to(attempt: HandedOver, handover: Handover, *, tenant: Tenant, pending: Pending | None) -> str:
    """Where the sign-in goes, once it is sure that the browser that finishes is the browser that began.

    Without that, anybody could sign a victim in as themselves (trust: 21). A sign-in that the IdP has started began in no browser of
    ours: it is tied to the one that posted it, by the hand-over alone, where the tenant has chosen to do without.
    Raises: SignInRefused (browser_mismatch).
    """
    if attempt.request_nonce is None and tenant.allow_idp_initiated:
        return handover.next or HOME
    if pending is None or pending.tenant_id != tenant.id or attempt.request_nonce != pending.nonce:
        raise SignInRefused(Reason.BROWSER_MISMATCH, "no pending request in this browser")
    return pending.next


def _go_back_quietly(pending: Pending) -> Response:
    """The IdP has nobody whom it could sign in without asking: back to where it began, with nobody signed in, and no word about it."""
    response = _go(pending.next)
    drop_sign_in(response, request, pending.nonce, mount=mounted())
    set_tried_quietly(response, mount=mounted())
    return response


def _without_handover(pending: Pending | None) -> Response:
    """A reload, or the back button, after all was done: whoever is signed in just goes on."""
    if current_user.is_authenticated:
        return _go(HOME)
    if pending is None:
        raise SignInRefused(Reason.COOKIES_MISSING)
    raise SignInRefused(Reason.BROWSER_MISMATCH, "no hand-over in this browser")


def _judge_refusal(attempt: HandedOver, step: Step, *, nonce: str, pending: Pending | None) -> Response:
    """What the ACS refused and left to us: see `acs._refuse_at_finish`."""
    mount, tenant = mounted(), step.tenant
    assert tenant is not None
    reason = attempt.reason or Reason.REPLAYED
    response: Response
    if reason is Reason.REPLAYED and attempt.user_id is not None and _is_signed_in(attempt.user_id):
        response = _go(pending.next if pending and pending.tenant_id == tenant.id else HOME)
    elif reason is Reason.UNSOLICITED and not was_restarted(request, mount=mount):
        response = _go(url_for("samljit.login", tenant=tenant.slug))
        set_restarted(response, mount=mount)
    else:
        response = refused_page(reason, reference=attempt.reference, step=step)
    drop_handover(response, request, nonce, mount=mount)
    return response


def _is_signed_in(user_id: Any) -> bool:
    return bool(current_user.is_authenticated) and mounted().user_id_of(current_user) == user_id


def _load_user(attempt: HandedOver) -> Any:
    """The user, afresh, in the host's own session. Raises: SignInRefused (user_gone)."""
    user = mounted().load_user(attempt.user_id)
    if user is None:
        raise SignInRefused(Reason.USER_GONE)
    return user


def _ask(handover: Handover, tenant: Tenant) -> Response:
    """Somebody else is signed in here: asked, never switched silently. The form carries the hand-over for ten minutes."""
    payload = [handover.reference, str(handover.tenant_id), handover.nonce, handover.next, current_user.get_id()]
    return page(
        "switch.html",
        action=url_for("samljit.finish", tenant=tenant.slug, n=handover.nonce),
        token=app_secrets().question.dumps(payload),
        stay=HOME,
    )


def _read_answer(nonce: str) -> Handover | None:
    """The hand-over from the form of `_ask`, if this POST answers it for the person who was asked."""
    if request.method != "POST":
        return None
    try:
        payload = app_secrets().question.loads(request.form.get("token", ""), max_age=_QUESTION_SECONDS)
    except BadSignature:
        raise SignInRefused(Reason.BROWSER_MISMATCH, "the form is too old, or not ours") from None
    reference, tenant_id, asked_nonce, next_path, asked_user = payload
    if asked_nonce != nonce or not current_user.is_authenticated or asked_user != current_user.get_id():
        raise SignInRefused(Reason.BROWSER_MISMATCH, "the form was for another sign-in")
    return Handover(reference, UUID(tenant_id), asked_nonce, next_path)


def _sign_in(attempt: HandedOver, step: Step, *, nonce: str, next_path: str) -> Response:
    mount, tenant = mounted(), step.tenant
    assert tenant is not None
    if not (step.is_taken or mount.store.finish_attempt(attempt.reference, now=step.now)):
        if _is_signed_in(attempt.user_id):
            return _go(next_path)
        raise SignInRefused(Reason.HANDOVER_USED)
    # Only now, with our own write committed: on SQLite the host's session may hold a read lock from its first query to its end
    user = _load_user(attempt)
    is_kept = SESSION_KEY in session
    renew_session()
    if not login_user(user):
        raise SignInRefused(Reason.LOGIN_REFUSED)
    # Flask-Login reads this at the end of the request: whoever was remembered in this browser before is not any more (trust: 39)
    session["_remember"] = "clear"
    ends_at = attempt.session_ends_at.timestamp() if attempt.session_ends_at else None
    session[SESSION_KEY] = {"tenant": tenant.slug, "reference": attempt.reference, "user": user.get_id(), "ends_at": ends_at}
    response = _go(next_path)
    drop_sign_in(response, request, nonce, mount=mount)
    count_arrival(response, request, mount=mount, is_kept=is_kept)
    log.info("signed in: tenant=%s reference=%s", tenant.slug, attempt.reference)
    tell_host(signed_in, user_id=attempt.user_id, tenant=tenant.slug, reference=attempt.reference, outcome=attempt.outcome)
    return response


def _go(path: str) -> Response:
    response = make_response(redirect(path, code=303))
    response.headers["Cache-Control"] = "no-store"
    return response
