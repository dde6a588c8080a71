"""GET and POST logout: out of this app, always and at once, however the person came in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Response, request, url_for
from itsdangerous import BadSignature

from samljit.views.attempts import log
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import is_navigation, page
from samljit.views.paths import HOME
from samljit.views.sessions import end_session, find_own, is_somebody_here, session_mark

_TOKEN_SECONDS = 600


def logout() -> Response:
    """Signs out of this app. Whoever was led here from elsewhere is asked first: any page can hold a link or a form that leads here."""
    if request.method == "HEAD":  # asks about the page, and must end nothing
        return Response()
    if not (_is_from_here() or _is_confirmed()):
        # what another site leads here brings no Strict cookie along, and a form no Lax one: nobody can be told to be signed out already
        is_typed = request.headers.get("Sec-Fetch-Site") == "none"
        return _ask() if is_somebody_here() or not is_typed else page("signed_out.html", was_here=False, home=HOME)
    if not is_somebody_here():
        return page("signed_out.html", was_here=False, home=HOME)
    ours = find_own()
    told = end_session()
    log.info("signed out: tenant=%s reference=%s", ours and ours["tenant"], ours and ours["reference"])
    return page("signed_out.html", is_bare=not told, was_here=True, home=HOME)


def _ask() -> Response:
    return page(
        "sign_out.html",
        action=url_for("samljit.logout"),
        token=app_secrets().sign_out.dumps(session_mark()),
        stay=HOME,
    )


def _is_from_here() -> bool:
    """Whether a page of this very app asks, by the word of the browser, which no other site can make it give (Fetch Metadata; the
    Origin or Referer where a browser sends none of it). A GET must be a navigation: an image that somebody posted is none."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" and (request.method == "POST" or is_navigation())
    source = urlsplit(request.headers.get("Origin") or request.headers.get("Referer") or "")
    return f"{source.scheme}://{source.netloc}" == mounted().base_url


def _is_confirmed() -> bool:
    """Whether this answers `_ask`, by the person who was asked. Flask-WTF has looked for its own token before, where it is used."""
    if request.method != "POST":
        return False
    try:
        asked: Any = app_secrets().sign_out.loads(request.form.get("token", ""), max_age=_TOKEN_SECONDS)
    except BadSignature:
        return False
    return bool(asked == session_mark())
