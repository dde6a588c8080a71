"""What a host may decide for itself, asked so that nobody gets in by breaking it."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import HTTPException

from samljit.errors import ProvisioningRefused, Reason, SignInRefused
from samljit.model import Assertion, Tenant
from samljit.views.attempts import log
from samljit.views.mounted import mounted


def ask_rate_limit() -> None:
    """Before the body is read. Raises: SignInRefused (rate_limited), also where the host's function fails; HTTPException of the host's."""
    rate_limit = mounted().rate_limit
    if rate_limit is None:
        return
    try:
        allowed = rate_limit(request)
    except HTTPException:
        raise
    except Exception as error:
        log.exception("rate_limit failed")
        raise SignInRefused(Reason.RATE_LIMITED, type(error).__name__) from None
    if allowed is not True:
        raise SignInRefused(Reason.RATE_LIMITED)


def ask_host(tenant: Tenant, assertion: Assertion) -> None:
    """Raises: ProvisioningRefused (host_declined), also where the host's function fails: nobody gets in by breaking it."""
    accept = mounted().accept_assertion
    if accept is None:
        return
    try:
        accepted = accept(tenant, assertion)
    except Exception as error:
        log.exception("accept_assertion failed, tenant=%s", tenant.slug)
        raise ProvisioningRefused(Reason.HOST_DECLINED, type(error).__name__) from None
    if accepted is not True:
        raise ProvisioningRefused(Reason.HOST_DECLINED)
