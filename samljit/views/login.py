"""GET login: where a sign-in begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Response, current_app, make_response, redirect, request, session, url_for

from samljit.errors import ConfigError, Problem, Reason, SignInRefused
from samljit.model import Stage, Tenant
from samljit.saml.request import redirect_url
from samljit.views.attempts import Step
from samljit.views.cookies import PENDING_LIFETIME, Pending, find_pending, is_session_lost, set_pending, was_tried_quietly
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import is_navigation, sign_in_step
from samljit.views.paths import local_path
from samljit.views.sessions import SESSION_KEY

LONGEST_ADDRESS = 320  # characters of an e-mail address


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for with a sign-in, as it stands in a query or form: unchecked."""

    next: str | None = None
    force: bool = False
    passive: bool = False
    login_hint: str = ""


@sign_in_step(Stage.LOGIN)
def login(step: Step) -> Response:
    """Sends the person to the IdP with a request that authenticates itself, and remembers where to come back to in a cookie.

    Query: `next` a local path, `force=1` for ForceAuthn, `passive=1` for IsPassive, `login_hint`, `again` the nonce of a sign-in whose
    `next` and `force` it takes.
    """
    tenant = step.tenant
    assert tenant is not None
    if not is_navigation():
        raise SignInRefused(Reason.NOT_A_NAVIGATION)
    if elsewhere := own_host_url("samljit.login", tenant=tenant.slug):
        return see_other(elsewhere)
    if "again" not in request.args and SESSION_KEY not in session and is_session_lost(request, mount=mounted()):
        raise SignInRefused(Reason.SESSION_LOST)
    again = _find_again(tenant)
    wish = Wish(
        next=again.next if again else request.args.get("next"),
        force=request.args.get("force") == "1" or (again is not None and again.force),
        # once: where the IdP had nobody, a page that asks quietly again and again would go round in circles
        passive=request.args.get("passive") == "1" and not was_tried_quietly(request, mount=mounted()),
        login_hint=request.args.get("login_hint", ""),
    )
    return begin(step, wish, go=see_other)


def begin(step: Step, wish: Wish, *, go: Callable[[str], Response]) -> Response:
    """What `go` makes of the IdP's address with a fresh request in it, and the cookie that this browser needs to finish."""
    _check_login_manager()
    tenant, mount, secrets = step.tenant, mounted(), app_secrets()
    assert tenant is not None
    passive = wish.passive and not wish.force  # who must sign in afresh must be asked
    pending_request = secrets.requests.issue(tenant.id, now=step.now, force_authn=wish.force, is_passive=passive)
    is_hint = len(wish.login_hint) <= LONGEST_ADDRESS and wish.login_hint.isprintable()
    hint = wish.login_hint if is_hint else None
    response = go(redirect_url(tenant, pending_request, login_hint=hint, signing_key=secrets.signing_key))
    next_path = local_path(wish.next, url_prefix=mount.url_prefix)
    pending = Pending(pending_request.nonce, tenant.id, next_path, wish.force, passive)
    set_pending(response, request, mount=mount, secrets=secrets, pending=pending)
    return response


def _find_again(tenant: Tenant) -> Pending | None:
    """The sign-in of this browser that is tried once more, as the query says."""
    found = find_pending(request, request.args.get("again", ""), mount=mounted(), secrets=app_secrets(), lifetime=PENDING_LIFETIME)
    return found if found is not None and found.tenant_id == tenant.id else None


def own_host_url(endpoint: str, **values: Any) -> str | None:
    """The same page on base_url's host, where the request came to another one (www. and apex): cookies are set only there.

    Once: behind a proxy that hides the host that the browser asked for, every request looks like one to another host.
    """
    base_url = mounted().base_url
    if request.host == urlsplit(base_url).netloc or "hop" in request.args:
        return None
    query = urlencode([*request.args.items(multi=True), ("hop", "1")])
    return f"{base_url}{url_for(endpoint, **values)}?{query}"


def see_other(url: str) -> Response:
    response = make_response(redirect(url, code=303))
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_login_manager() -> None:
    """Found out here, before anybody was sent to the IdP, because a host may set up Flask-Login after samljit."""
    if not hasattr(current_app, "login_manager"):
        raise ConfigError([Problem("app", "no_login_manager", "Flask-Login is not set up.", "Call LoginManager().init_app(app).")])
