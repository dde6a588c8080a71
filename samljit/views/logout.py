"""GET and POST logout: out of this app, always and at once, however the person came in; and out of the IdP too where asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request, url_for
from itsdangerous import BadSignature

from samljit.model import Purpose
from samljit.saml.logout import logout_request_url
from samljit.store import Unavailable
from samljit.views.attempts import log
from samljit.views.departures import (
    TOKEN_SECONDS,
    SamlSession,
    depart,
    find_own_session,
    find_session,
    has_logout,
    idp_name,
    leaving_page,
    question_page,
)
from samljit.views.mounted import app_secrets, mounted, utc_now
from samljit.views.pages import is_navigation, page
from samljit.views.paths import HOME
from samljit.views.sessions import is_somebody_here, session_mark


def logout() -> Response:
    """Signs out of this app. Whoever was led here from elsewhere is asked first: any page can hold a link or a form that leads here.

    With `everywhere=1` the person is then taken to the IdP, to be signed out there. The page after a sign-out offers that too, by a form
    with `after`, a token that names the session that was.
    """
    if request.method == "HEAD":  # asks about the page, and must end nothing
        return Response()
    now = utc_now()
    if request.method == "POST" and "after" in request.form:
        return _follow_up(now)
    session, is_lost = _find_session(now)
    if not (_is_from_here() or _is_confirmed()):
        # what another site leads here brings no Strict cookie along, and a form no Lax one: nobody can be told to be signed out already
        is_typed = request.headers.get("Sec-Fetch-Site") == "none"
        if is_somebody_here() or not is_typed:
            return question_page(session.tenant if session else None, now=now)
    if not is_somebody_here():
        return page("signed_out.html", was_here=False, home=HOME)
    told = depart(session, by="person", now=now)
    if request.values.get("everywhere") == "1":
        return _go_to_idp(session, now) or _signed_out(session, now=now, is_bare=is_lost or not told, at_idp="unreachable")
    return _signed_out(session, now=now, is_bare=is_lost or not told, at_idp="open")


def _find_session(now: datetime) -> tuple[SamlSession | None, bool]:
    """The SAML session of this browser, and whether the database that knows it is lost."""
    try:
        return find_own_session(now=now), False
    except Unavailable as lost:
        log.error("the session at the IdP cannot be told: %s", lost)
        return None, True


def _signed_out(session: SamlSession | None, *, now: datetime, is_bare: bool, at_idp: str) -> Response:
    """Says what has ended and what has not."""
    tenant = session.tenant if session else None
    can_follow_up = session is not None and at_idp == "open" and has_logout(tenant, now=now)
    values = [session.tenant.slug, session.at_idp.reference] if session else []
    return page(
        "signed_out.html",
        is_bare=is_bare,
        was_here=True,
        at_idp=at_idp if tenant or at_idp == "unreachable" else None,
        idp_name=idp_name(tenant),
        action=url_for("samljit.logout"),
        after=app_secrets().sign_out.dumps(["after", *values]) if can_follow_up else None,
        home=HOME,
    )


def _follow_up(now: datetime) -> Response:
    """The person has been signed out here, and wants to be at the IdP too."""
    payload = _load(request.form["after"])
    session = None
    if payload is not None and payload[0] == "after":
        try:
            session = find_session(payload[1], payload[2], now=now)
        except Unavailable as lost:
            log.error("the session at the IdP cannot be told: %s", lost)
    return _go_to_idp(session, now) or page("signed_out.html", was_here=False, at_idp="unreachable", idp_name=idp_name(None), home=HOME)


def _go_to_idp(session: SamlSession | None, now: datetime) -> Response | None:
    """On to the IdP with a LogoutRequest; None where it offers no such thing, or what it must name is not known."""
    if session is None or not has_logout(session.tenant, now=now):
        return None
    secrets = app_secrets()
    request_ = secrets.requests.issue(session.tenant.id, now=now, purpose=Purpose.LOGOUT)
    url = logout_request_url(session.tenant, request_, session.at_idp, signing_key=secrets.signing_key)
    return leaving_page(url) if url else None


def _is_from_here() -> bool:
    """Whether a page of this very app asks, by the word of the browser, which no other site can make it give (Fetch Metadata; the
    Origin or Referer where a browser sends none of it). A GET must be a navigation: an image that somebody posted is none."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" and (request.method == "POST" or is_navigation())
    source = urlsplit(request.headers.get("Origin") or request.headers.get("Referer") or "")
    return f"{source.scheme}://{source.netloc}" == mounted().base_url


def _is_confirmed() -> bool:
    """Whether this answers our question, by the person who was asked. Flask-WTF has looked for its own token before, where it is used."""
    return request.method == "POST" and _load(request.form.get("token", "")) == ["answer", session_mark()]


def _load(token: str) -> list[Any] | None:
    try:
        payload: list[Any] = app_secrets().sign_out.loads(token, max_age=TOKEN_SECONDS)
    except BadSignature:
        return None
    return payload
