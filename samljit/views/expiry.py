"""Warns the host that a tenant's last certificate expires: once for each of 60, 30, 7 and 1 days, whoever sees it first."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import current_app

from samljit.federation.expiry import Expiring, find_expiring
from samljit.model import Tenant
from samljit.signals import certificate_expiring
from samljit.sql.metadata import SqlMetadata
from samljit.store import Unavailable, WriteConflict
from samljit.views.mounted import mounted

log = logging.getLogger("samljit")

_MOST_REMEMBERED = 10_000


def warn_of_expiry(tenant: Tenant, *, now: datetime) -> int | None:
    """Of how many days this call warned the host; None where it did not. Asks the database once for each warning in this process."""
    found, mount = find_expiring(tenant.idp, now), mounted()
    if found is None:
        return None
    seen: tuple[UUID, str, int] = (tenant.id, found.certificate.fingerprint, found.days)
    if seen in mount.warned:
        return None
    try:
        metadata = SqlMetadata(factory=mount.factory, users=mount.users)
        is_first = metadata.warn_once(tenant.id, fingerprint=found.certificate.fingerprint, days=found.days)
    except (Unavailable, WriteConflict):
        return None  # the next sign-in tries again
    if len(mount.warned) >= _MOST_REMEMBERED:
        mount.warned.clear()
    mount.warned.add(seen)
    if not is_first:
        return None
    _tell(tenant, found)
    return found.days


def _tell(tenant: Tenant, found: Expiring) -> None:
    certificate, app = found.certificate, current_app._get_current_object()  # type: ignore[attr-defined]
    values: dict[str, Any] = {"days": found.days, "not_after": certificate.not_after, "fingerprint": certificate.fingerprint}
    log.warning("certificate expires in less than %s day(s), on %s: tenant=%s", found.days, certificate.not_after.date(), tenant.slug)
    try:
        certificate_expiring.send(app, tenant=tenant.slug, **values)
    except Exception:
        log.exception("a receiver of %s failed, tenant=%s", certificate_expiring.name, tenant.slug)
