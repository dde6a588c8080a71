"""The pages of a sign-in, and the frame that every step of it runs in: whatever goes wrong becomes one refusal page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, make_response, render_template, request, url_for

from samljit import situations
from samljit.errors import CATALOGUE, AssertionRejected, Fixer, ProvisioningRefused, Reason, SamlJitError, SignInRefused
from samljit.model import Stage, Tenant
from samljit.situations import Situation
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import Step, log_refusal
from samljit.views.mounted import app_secrets, mounted, utc_now
from samljit.views.refreshing import connect
from samljit.views.words import page_words

# The refresh on the hand-over page is a navigation, which no directive here restricts
_FENCE = "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_POLICY = f"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; {_FENCE}"
_OWN_LAYOUT = "samljit/base.html"

View = Callable[[Step], Response]


def page(template: str, *, status: int = 200, is_bare: bool = False, **values: Any) -> Response:
    """A rendered page that no cache keeps and no frame shows.

    Referrer-Policy is same-origin and not stricter: Flask-WTF checks the Referer of forms on https. What a host's base template may
    load is the host's to say. `is_bare` leaves that and the host's context processors out, as where the database is lost: they look at
    it, Flask-Login's to load the user.
    """
    is_bare = is_bare or status == 503
    layout = _OWN_LAYOUT if is_bare else mounted().base_template or _OWN_LAYOUT
    values |= {"layout": layout, **page_words()}
    template_of = current_app.jinja_env.get_template(f"samljit/{template}")
    text = template_of.render(**values) if is_bare else render_template(template_of, **values)
    response = make_response(text, status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = _POLICY if layout == _OWN_LAYOUT else _FENCE
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def refused_page(reason: Reason, *, reference: str, step: Step) -> Response:
    """The page of one refusal: what happened, the next step, and what to send to whoever can help. Never a claim value (trust: 42)."""
    explanation = CATALOGUE[reason]
    return page(
        "refused.html",
        status=explanation.status,
        situation=_situation(reason, step),
        reference=reference,
        again=_way_on(reason, step) if explanation.can_retry else None,
        is_persons_turn=explanation.anonymous or explanation.fixer is Fixer.PERSON,
        address=request.base_url,
        at=step.now,
    )


def _situation(reason: Reason, step: Step) -> Situation:
    """What the page says. A database that is lost between the two steps costs nobody another sign-in at the IdP, if it comes back soon."""
    meanwhile = reason is Reason.DATABASE_UNAVAILABLE and step.stage in (Stage.ACS, Stage.PROVISION)
    return situations.DATABASE_DOWN_MEANWHILE if meanwhile else CATALOGUE[reason].person


def _way_on(reason: Reason, step: Step) -> str | None:
    """Where another try begins: with the `next` of this one, or, as long as no tenant is known, at the question which it is."""
    tenant = step.tenant
    is_lost_halfway = reason is Reason.DATABASE_UNAVAILABLE and step.stage is Stage.FINISH
    if is_lost_halfway and tenant is not None and request.method == "GET" and "n" in request.args:
        return url_for("samljit.finish", tenant=tenant.slug, n=request.args["n"])  # the hand-over may still be there
    if tenant is None:
        return url_for("samljit.login_page")
    return url_for("samljit.login", tenant=tenant.slug, again=step.nonce or "") if tenant.is_open and tenant.idp is not None else None


def get_tenant(slug: str, step: Step) -> Tenant:
    """The tenant in whose name a step is taken. Raises: SignInRefused; store.Unavailable."""
    return mounted().directory.get(slug, now=step.now)


def sign_in_step(
    stage: Stage, *, get_tenant: Callable[[str, Step], Tenant] = get_tenant
) -> Callable[[View], Callable[[str], Response]]:
    """Makes a view of one step: finds the tenant, and turns every refusal and a lost database into a logged page, never a 500."""

    def decorate(view: View) -> Callable[[str], Response]:
        @wraps(view)
        def wrapper(tenant: str) -> Response:
            step = Step(stage, utc_now(), slug=tenant)
            error: SamlJitError
            try:
                step.tenant = mounted().directory.find_known(tenant)  # the log and the page name it also without a database
                step.closed = find_tenant(step, get_tenant)
                if step.closed is not None and stage is not Stage.ACS:  # which takes the answers to tests of a closed tenant too
                    raise step.closed
                return view(step)
            except (Unavailable, WriteConflict) as lost:  # a race that was lost outside of provisioning, which runs its own again
                error = SignInRefused(Reason.DATABASE_UNAVAILABLE, str(lost))
            except AssertionRejected as rejected:
                step.verified = rejected.verified
                step.nonce = step.nonce or _nonce_of(rejected, step)
                error = rejected
            except (ProvisioningRefused, SignInRefused) as refused:
                error = refused
            return refused_page(error.reason, reference=log_refusal(error, step), step=step)

        return wrapper

    return decorate


def find_tenant(step: Step, get_tenant: Callable[[str, Step], Tenant] = get_tenant) -> SignInRefused | None:
    """Puts the tenant into the step; why nobody can sign in to it, None where people can. Raises: SignInRefused (tenant_unknown)."""
    try:
        step.tenant = get_tenant(step.slug, step)
    except SignInRefused as refused:
        if refused.reason is Reason.TENANT_UNKNOWN:
            raise
        return refused
    if step.stage in (Stage.LOGIN, Stage.ACS):
        connect(step)
    return why_closed(step.tenant, step)


def why_closed(tenant: Tenant, step: Step) -> SignInRefused | None:
    """Why nobody can sign in to this tenant; None where people can."""
    if not tenant.is_open:
        return SignInRefused(Reason.TENANT_DISABLED, "offer_sso is false" if tenant.enabled else "enabled is false")
    if tenant.idp is None or not tenant.idp.is_usable(step.now):
        return SignInRefused(Reason.TENANT_NOT_CONNECTED)
    return None


def get_seen_tenant(slug: str, step: Step) -> Tenant:
    """The tenant as this process has seen it last, where people can sign in to it, else as it is now.

    Only for what then holds its `version` against the database, in the transaction that it is about. Raises: as `get_tenant`.
    """
    seen = mounted().directory.find_seen(slug)
    return seen if seen is not None and why_closed(seen, step) is None else get_tenant(slug, step)


def _nonce_of(rejected: AssertionRejected, step: Step) -> str | None:
    """The nonce of the request that a refused message names, where that authenticates itself: good for a link, for nothing else."""
    if rejected.unverified_request_id is None or step.tenant is None:
        return None
    found = app_secrets().requests.find(rejected.unverified_request_id, tenant_id=step.tenant.id)
    return found.nonce if found else None


def is_navigation() -> bool:
    """Whether a person opened this address, as far as the browser tells (Fetch Metadata)."""
    purpose = request.headers.get("Sec-Purpose", "")
    return request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate" and "prefetch" not in purpose
