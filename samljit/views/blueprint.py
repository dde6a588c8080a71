"""The blueprint: routes, and what must happen before anything else looks at a request to the ACS."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, current_app, request

from samljit.views.acs import acs, limit_body
from samljit.views.finish import finish
from samljit.views.login import login
from samljit.views.login_page import login_page
from samljit.views.logout import logout
from samljit.views.metadata import metadata
from samljit.views.sls import sls

_ACS = "samljit.acs"


def make_blueprint() -> Blueprint:
    """A fresh blueprint called `samljit`, to be registered under the mount prefix."""
    # its own folder below /static: with no prefix, /static itself is the host's
    static = "/static/samljit"
    blueprint = Blueprint("samljit", __name__, template_folder="templates", static_folder="static", static_url_path=static)
    for rule, view, methods in (
        ("/<tenant>/metadata", metadata, ["GET"]),
        ("/<tenant>/login", login, ["GET"]),
        ("/<tenant>/acs", acs, ["POST"]),
        ("/<tenant>/finish", finish, ["GET", "POST"]),
        ("/login", login_page, ["GET", "POST"]),
        ("/<tenant>/sls", sls, ["GET"]),
        ("/logout", logout, ["GET", "POST"]),
    ):
        blueprint.add_url_rule(rule, view_func=view, methods=methods)
    # Flask runs these before every before_request function, so also before Flask-WTF's check, whichever was initialised first
    blueprint.url_value_preprocessor(_prepare)
    return blueprint


def _prepare(endpoint: str | None, values: dict[str, Any] | None) -> None:
    try:
        request.args  # noqa: B018 - read once here, where a query string that is not UTF-8 is still to be refused
    except UnicodeDecodeError:
        abort(400)
    if endpoint != _ACS or request.method != "POST":
        return
    limit_body()
    csrf = current_app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(current_app.view_functions[_ACS])  # the ACS alone: a cross-site POST cannot carry our token (trust: 41)
