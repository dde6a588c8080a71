"""GET and POST /login: finds the tenant of whoever signs in by the domain of their work e-mail.

What it answers depends on the domain alone: no user is looked for, so nobody learns from it, or from its timing, who has an account.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from samljit.errors import Reason, SignInRefused
from samljit.model import Stage
from samljit.store import Unavailable
from samljit.views.attempts import Step, log_refusal
from samljit.views.login import LONGEST_ADDRESS, Wish, begin, own_host_url, see_other
from samljit.views.mounted import mounted, utc_now
from samljit.views.pages import page, refused_page, sign_in_step
from samljit.views.words import N_

_NO_ADDRESS = N_("Enter your work e-mail address in full, such as name@example.com.")
_UNKNOWN = N_("Nobody signs in here with this domain. Check the spelling, or ask whoever looks after this app.")
_UNPROCESSABLE = 422


def login_page() -> Response:
    """Asks for the work e-mail, and goes on to the IdP of its domain. Where there is one tenant only, there is nothing to ask."""
    try:
        return _answer() if request.method == "POST" else _show()
    except Unavailable as lost:
        step = Step(Stage.LOGIN, utc_now())
        error = SignInRefused(Reason.DATABASE_UNAVAILABLE, str(lost))
        return refused_page(error.reason, reference=log_refusal(error, step), step=step)


def _show() -> Response:
    if elsewhere := own_host_url("samljit.login_page"):
        return see_other(elsewhere)
    if slug := mounted().directory.find_only_slug():
        kept: dict[str, Any] = {name: request.args[name] for name in ("next", "force", "passive", "login_hint") if name in request.args}
        return see_other(url_for("samljit.login", tenant=slug, **kept))
    hint = request.args.get("login_hint", "")
    return _ask(Wish(request.args.get("next"), force=request.args.get("force") == "1", login_hint=hint if _is_plain(hint) else ""))


def _answer() -> Response:
    email = request.form.get("email", "").strip()
    local, _, domain = email.rpartition("@")
    wish = Wish(request.form.get("next"), force=request.form.get("force") == "1", login_hint=email)
    if not (_is_plain(email) and local and domain):
        return _ask(wish, error=_NO_ADDRESS)
    tenant = mounted().directory.find_by_domain(domain, now=utc_now())
    if tenant is None:
        return _ask(wish, error=_UNKNOWN)

    @sign_in_step(Stage.LOGIN)
    def go_on(step: Step) -> Response:
        return begin(step, wish, go=_onward)

    return go_on(tenant.slug)


def _onward(url: str) -> Response:
    """A page that goes on by itself, because a redirect would not arrive: Chromium holds `form-action 'self'` also against where the
    answer to a form redirects (CSP 3, 6.4.1), and the host's policy may say so on every page."""
    return page("handover.html", heading=N_("Going to your organisation's sign-in…"), onward=url)


def _ask(wish: Wish, *, error: str | None = None) -> Response:
    return page(
        "login.html",
        status=_UNPROCESSABLE if error else 200,
        action=url_for("samljit.login_page"),
        next=wish.next or "",
        force=wish.force,
        email=wish.login_hint if _is_plain(wish.login_hint) else "",
        longest=LONGEST_ADDRESS,
        error=error,
    )


def _is_plain(text: str) -> bool:
    return len(text) <= LONGEST_ADDRESS and text.isprintable()
