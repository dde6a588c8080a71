"""GET login: where a sign-in begins."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from flask import Response, current_app, make_response, redirect, request, url_for

from samljit.errors import ConfigError, Problem, Reason, SignInRefused
from samljit.model import Stage, Tenant
from samljit.saml.request import redirect_url
from samljit.views.attempts import Step
from samljit.views.cookies import Pending, find_pending, set_pending
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import is_navigation, sign_in_step
from samljit.views.paths import local_path

_LONGEST_HINT = 320  # characters, the longest e-mail address


@sign_in_step(Stage.LOGIN)
def login(step: Step) -> Response:
    """Sends the person to the IdP with a request that authenticates itself, and remembers where to come back to in a cookie.

    Query: `next` a local path, `force=1` for ForceAuthn, `login_hint`, `again` the nonce of a sign-in whose `next` and `force` it takes.
    """
    _check_login_manager()
    tenant = step.tenant
    assert tenant is not None
    if not is_navigation():
        raise SignInRefused(Reason.NOT_A_NAVIGATION)
    if elsewhere := _own_host_url(tenant):
        return _see_other(elsewhere)
    secrets = app_secrets()
    again = _find_again(tenant)
    force = request.args.get("force") == "1" or (again is not None and again.force)
    pending_request = secrets.requests.issue(tenant.id, now=step.now, force_authn=force)
    login_hint = request.args.get("login_hint", "")
    hint = login_hint if len(login_hint) <= _LONGEST_HINT and login_hint.isprintable() else None
    response = _see_other(redirect_url(tenant, pending_request, login_hint=hint, signing_key=secrets.signing_key))
    next_path = again.next if again else local_path(request.args.get("next"), url_prefix=mounted().url_prefix)
    pending = Pending(pending_request.nonce, tenant.id, next_path, force)
    set_pending(response, request, mount=mounted(), secrets=secrets, pending=pending)
    return response


def _find_again(tenant: Tenant) -> Pending | None:
    """The sign-in of this browser that is tried once more, as the query says."""
    found = find_pending(request, request.args.get("again", ""), mount=mounted(), secrets=app_secrets())
    return found if found is not None and found.tenant_id == tenant.id else None


def _own_host_url(tenant: Tenant) -> str | None:
    """The same page on base_url's host, where the request came to another one (www. and apex): cookies are set only there.

    Once: behind a proxy that hides the host that the browser asked for, every request looks like one to another host.
    """
    base_url = mounted().base_url
    if request.host == urlsplit(base_url).netloc or "hop" in request.args:
        return None
    query = urlencode([*request.args.items(multi=True), ("hop", "1")])
    return f"{base_url}{url_for('samljit.login', tenant=tenant.slug)}?{query}"


def _see_other(url: str) -> Response:
    response = make_response(redirect(url, code=303))
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_login_manager() -> None:
    """Found out here, before anybody was sent to the IdP, because a host may set up Flask-Login after samljit."""
    if not hasattr(current_app, "login_manager"):
        raise ConfigError([Problem("app", "no_login_manager", "Flask-Login is not set up.", "Call LoginManager().init_app(app).")])
