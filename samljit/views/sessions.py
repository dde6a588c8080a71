"""What of ours stands in the host's session, and how such a session ends."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Flask, Response, after_this_request, current_app, request, session
from flask_login import logout_user

from samljit.store import Unavailable
from samljit.views.attempts import log
from samljit.views.cookies import drop_arrivals
from samljit.views.mounted import mounted, utc_now

SESSION_KEY = "_samljit"  # {"tenant": slug, "reference": SJ-..., "user": Flask-Login's id, "ends_at": POSIX seconds or None}


def renew_session() -> None:
    """An empty session, under a new id where sessions are kept on the server (Flask-Session's `regenerate`)."""
    session.clear()
    regenerate = getattr(current_app.session_interface, "regenerate", None)
    if regenerate is not None:
        regenerate(session)


def find_own() -> dict[str, Any] | None:
    """What stands in the session of somebody who came by SAML, or None."""
    ours = session.get(SESSION_KEY)
    # Flask-Login's logout_user leaves what is ours in the session; the next person may come in by password
    return ours if ours and session.get("_user_id") == ours["user"] else None


def is_somebody_here() -> bool:
    """Whether this browser carries a session or a remember cookie that signs somebody in. Asks no database."""
    return "_user_id" in session or _remember_cookie() is not None


def session_mark() -> str:
    """What tells this browser's session from other people's: a form that is answered in another one is no answer. Not a secret."""
    return hashlib.sha256(repr((session.get("_user_id"), _remember_cookie())).encode()).hexdigest()[:32]


def _remember_cookie() -> str | None:
    return request.cookies.get(current_app.config.get("REMEMBER_COOKIE_NAME", "remember_token"))


def end_session() -> bool:
    """Signs whoever is here out of this app, however they came in; nothing of their session is left. Always works.

    False where Flask-Login could not tell the host's own functions about it, because one of them failed or the user could not be loaded.
    """
    told = True
    try:
        logout_user()
    except Exception:
        log.exception("Flask-Login's logout_user failed; the session is cleared all the same")
        told = False
    forget_session()
    after_this_request(_forget_arrivals)
    return told


def _forget_arrivals(response: Response) -> Response:
    """Whoever signs out and in again has lost no session."""
    drop_arrivals(response, mount=mounted())
    return response


def forget_session() -> None:
    renew_session()
    # Flask-Login reads this at the end of the request: whoever was remembered in this browser is not any more (trust: 39)
    session["_remember"] = "clear"


def end_expired_session(_: Flask) -> None:
    """Forgets the user of a session whose SessionNotOnOrAfter has passed (trust: 28; SAML core 2.7.2), or that has ended elsewhere.

    Called by Flask-Login's signal just before it loads the user, so that requests that ask for no user cost nothing.
    """
    ours = find_own()
    if ours is None:
        return
    if ours.get("ends_at") is not None and utc_now().timestamp() >= ours["ends_at"]:
        forget_session()
        return
    watch = mounted().watch
    try:
        if watch is not None and not watch.is_on(ours["reference"]):
            log.info("session is over: tenant=%s reference=%s", ours["tenant"], ours["reference"])
            forget_session()
    except Unavailable as lost:
        log.error("whether a session is still on cannot be told: %s reference=%s", lost, ours["reference"])
        _hide_user()


def _hide_user() -> None:
    """Nobody is signed in for this one request; the session itself is none the worse for a database that is lost for a moment."""
    user_id = session.pop("_user_id")

    @after_this_request
    def bring_back(response: Response) -> Response:
        session["_user_id"] = user_id
        return response
