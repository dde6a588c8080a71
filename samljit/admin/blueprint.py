"""The blueprint of the admin pages, below the one of the sign-in: endpoints `samljit.admin.overview` and so on."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from samljit.admin.connection.certificates import certificates, certificates_refresh
from samljit.admin.connection.domains import domains
from samljit.admin.connection.setup import setup, setup_check
from samljit.admin.frame.told import told_action, told_thumbprint
from samljit.admin.going_live.draft import draft, draft_drop, draft_go_live
from samljit.admin.going_live.sign_in_tests import test, test_result
from samljit.admin.overview import overview
from samljit.admin.people.accounts import accounts
from samljit.admin.people.claims import claims
from samljit.admin.people.field import claims_field
from samljit.admin.people.rules import rules, rules_apply, rules_undo
from samljit.admin.record.history import history
from samljit.admin.record.log import attempt, log
from samljit.views.attempts import printable

# a metadata file of 1 MiB, and the rest of the form; a larger body is answered with 413 before anything reads it
LARGEST_FORM = 2 * 1024 * 1024

# address below /admin/<tenant>, view, methods; the view's name is the endpoint's
_ROUTES = (
    ("/", overview, ["GET"]),
    ("/setup", setup, ["GET", "POST"]),
    ("/setup/check", setup_check, ["GET", "POST"]),
    ("/certificates", certificates, ["GET"]),
    ("/certificates/refresh", certificates_refresh, ["GET", "POST"]),
    ("/domains", domains, ["GET", "POST"]),
    ("/history", history, ["GET"]),
    ("/claims", claims, ["GET", "POST"]),
    ("/claims/field", claims_field, ["GET", "POST"]),
    ("/accounts", accounts, ["GET", "POST"]),
    ("/rules", rules, ["GET", "POST"]),
    ("/rules/apply", rules_apply, ["GET", "POST"]),
    ("/rules/undo", rules_undo, ["GET", "POST"]),
    ("/test", test, ["GET", "POST"]),
    ("/test/result", test_result, ["GET"]),
    ("/draft", draft, ["GET"]),
    ("/draft/go-live", draft_go_live, ["GET", "POST"]),
    ("/draft/drop", draft_drop, ["GET", "POST"]),
    ("/log", log, ["GET"]),
    ("/log/<reference>", attempt, ["GET"]),
)


def make_admin() -> Blueprint:
    """A fresh blueprint called `admin`."""
    blueprint = Blueprint("admin", __name__, template_folder="templates", url_prefix="/admin/<tenant>")
    for rule, view, methods in _ROUTES:
        blueprint.add_url_rule(rule, endpoint=view.__name__, view_func=view, methods=methods)
    blueprint.add_app_template_filter(printable, "samljit_plain")
    blueprint.add_app_template_filter(told_action, "samljit_action")
    blueprint.add_app_template_filter(told_thumbprint, "samljit_thumbprint")
    # before Flask-WTF's own check, where the host has one, reads the form
    blueprint.url_value_preprocessor(_limit_body)
    blueprint.after_request(_keep_nowhere)
    return blueprint


def _limit_body(_: str | None, __: dict[str, Any] | None) -> None:
    own = request.max_content_length
    request.max_content_length = request.max_form_memory_size = LARGEST_FORM if own is None else min(own, LARGEST_FORM)


def _keep_nowhere(response: Response) -> Response:
    """No answer is for a cache, also none that Flask or the host makes: the next person may see what this one may not."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response
