"""What somebody gets who must sign in first: a page that leads to the sign-in, or for a script an answer that it can read."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, jsonify, make_response, redirect, request

from samljit.views.mounted import mounted

_VARY = "Accept, HX-Request, X-Requested-With, Sec-Fetch-Mode"


def wanted_path() -> str | None:
    """Where to come back to: the page that was asked for, or the one whose form or script asked; None where that cannot be told."""
    if request.method in ("GET", "HEAD") and is_page_wanted():
        return request.full_path.removesuffix("?")
    page = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "")
    if f"{page.scheme}://{page.netloc}" != mounted().base_url:
        return None
    return page.path + (f"?{page.query}" if page.query else "")


def is_page_wanted() -> bool:
    """Whether a browser would show the answer. A script can follow no redirect to the IdP: it is on another site."""
    if request.headers.get("HX-Request") == "true" or request.headers.get("X-Requested-With") == "XMLHttpRequest" or request.is_json:
        return False
    if request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
        return False
    accepted = request.accept_mimetypes
    return accepted["text/html"] >= accepted["application/json"]


def answer_unauthorized(login_url: str) -> Response:
    """A redirect to `login_url`, or a 401 that names it: in its JSON, and for HTMX in the header that makes it go there
    (htmx reference: HX-Redirect, which it obeys whatever the status)."""
    if is_page_wanted():
        response = make_response(redirect(login_url, code=303))
    else:
        response = make_response(jsonify(error="login_required", login_url=login_url), 401)
        if request.headers.get("HX-Request") == "true":
            response.headers["HX-Redirect"] = login_url
    response.headers["Vary"] = _VARY
    response.headers["Cache-Control"] = "no-store"
    return response
