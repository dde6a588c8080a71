"""GET metadata: what the tenant's admin gives to Entra."""

from __future__ import annotations

from flask import Response, make_response

from samljit.errors import Reason, SignInRefused
from samljit.model import Stage
from samljit.saml.sp_metadata import build_sp_metadata
from samljit.store import Unavailable
from samljit.views.attempts import Step, log_refusal
from samljit.views.mounted import mounted, utc_now
from samljit.views.pages import refused_page


def metadata(tenant: str) -> Response:
    """SP metadata of a tenant, connected or not: each side needs the other's first. For one of the settings no database is asked."""
    step, directory = Step(Stage.LOGIN, utc_now()), mounted().directory
    try:
        found = directory.of_settings.get(tenant) or directory.get(tenant, now=step.now)
    except Unavailable as lost:
        error = SignInRefused(Reason.DATABASE_UNAVAILABLE, str(lost))
        return refused_page(error.reason, reference=log_refusal(error, step), step=step)
    except SignInRefused as error:
        return refused_page(error.reason, reference=log_refusal(error, step), step=step)
    response = make_response(build_sp_metadata(found, certificates=mounted().sp_certificates))
    response.content_type = "application/samlmetadata+xml"
    response.headers["Content-Disposition"] = f'inline; filename="{found.slug}-sp-metadata.xml"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
