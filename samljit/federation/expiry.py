"""How long a tenant's certificates last: the one that lasts longest counts, as any that is in date may verify."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from samljit.model import Certificate, IdentityProvider

WARN_DAYS = (60, 30, 7, 1)  # Entra writes to its admins 60, 30 and 7 days ahead (tutorial-manage-certificates)


@dataclass(frozen=True, slots=True)
class Expiring:
    """The tenant's last certificate, and the nearest of `WARN_DAYS` that it is within."""

    certificate: Certificate
    days: int


def last_certificate(certificates: tuple[Certificate, ...], now: datetime) -> Certificate | None:
    """The one that lasts longest of those that are valid already, perhaps no more; None where there is none."""
    started = (certificate for certificate in certificates if certificate.not_before <= now)
    return max(started, key=lambda certificate: certificate.not_after, default=None)


def near_days(certificate: Certificate, now: datetime) -> int | None:
    """The nearest of `WARN_DAYS` within which it expires; None where that is further off, or past."""
    left = certificate.not_after - now
    within = [days for days in WARN_DAYS if left <= timedelta(days=days)]
    return within[-1] if within and left >= timedelta() else None


def find_expiring(idp: IdentityProvider | None, now: datetime) -> Expiring | None:
    """What is to be warned about; None where there is nothing, or it is too late to warn."""
    last = last_certificate(idp.certificates, now) if idp else None
    days = near_days(last, now) if last else None
    return Expiring(last, days) if last and days else None
