"""GET metadata: what the tenant's admin gives to Entra."""

from __future__ import annotations

from flask import Response, make_response

from samljit.errors import SignInRefused
from samljit.model import Stage
from samljit.saml.sp_metadata import build_sp_metadata
from samljit.views.attempts import Step, log_refusal
from samljit.views.mounted import mounted, utc_now
from samljit.views.pages import refused_page


def metadata(tenant: str) -> Response:
    """SP metadata of a tenant, connected or not: each side needs the other's first. No database is asked."""
    try:
        found = mounted().find_template(tenant)
    except SignInRefused as error:
        step = Step(Stage.LOGIN, utc_now())
        return refused_page(error.reason, reference=log_refusal(error, step), step=step)
    response = make_response(build_sp_metadata(found, certificates=mounted().sp_certificates))
    response.content_type = "application/samlmetadata+xml"
    response.headers["Content-Disposition"] = f'inline; filename="{found.slug}-sp-metadata.xml"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
