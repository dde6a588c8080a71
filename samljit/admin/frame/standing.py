"""How a tenant stands: what works, what is missing, and what may be made required."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from samljit.admin.frame.visit import Visit
from samljit.federation.expiry import last_certificate
from samljit.mapping.mail import address_key
from samljit.model import Tenant
from samljit.sql.activity import has_signed_in_since
from samljit.sql.audit import AuditAction
from samljit.sql.people import SqlPeople
from samljit.views.mounted import mounted

_MOST_RECORDS = 100
# what a sign-in depends on: changed otherwise than by a draft, it has not been tried
_TESTED_KEYS = {"idp", "entra_tenant_id", "preset", "mapping"}


class Rule(StrEnum):
    """The sign-in rule of a tenant, as its pages call it."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Validity(StrEnum):
    """How the certificate that lasts longest stands."""

    NONE = "none"
    EXPIRED = "expired"
    SOON = "soon"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What must be there before Microsoft Entra can be the only way in. `missing_accounts` are no active users of the tenant."""

    is_connected: bool
    is_tested: bool
    certificate: Validity
    accounts: frozenset[str]
    missing_accounts: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return self.is_connected and self.is_tested and self.has_certificate and bool(self.accounts) and not self.missing_accounts

    @property
    def has_certificate(self) -> bool:
        return self.certificate in (Validity.GOOD, Validity.SOON)


def rule_of(tenant: Tenant) -> Rule:
    if not tenant.is_open:
        return Rule.OFF
    return Rule.REQUIRED if tenant.require_sso else Rule.OPTIONAL


def validity_of(visit: Visit) -> Validity:
    idp, now = visit.tenant.idp, visit.now
    last = last_certificate(idp.certificates, now) if idp else None
    if last is None:
        return Validity.NONE
    if last.not_after < now:
        return Validity.EXPIRED
    return Validity.SOON if (last.not_after - now).days < 60 else Validity.GOOD


def find_readiness(visit: Visit, accounts: Iterable[str]) -> Readiness:
    """For these emergency accounts. Raises: store.Unavailable; ProvisioningRefused where the host's tenant_fields fails."""
    mount, tenant, wanted = mounted(), visit.tenant, tuple(accounts)
    people = SqlPeople(factory=mount.factory, users=mount.users)
    found = people.find_accounts(wanted, tenant=tenant)
    return Readiness(
        is_connected=tenant.idp is not None and tenant.idp.is_usable(visit.now),
        is_tested=has_passed(visit),
        certificate=validity_of(visit),
        accounts=found,
        missing_accounts=tuple(one for one in wanted if address_key(one) not in found),
    )


def has_passed(visit: Visit) -> bool:
    """Whether what sign-ins go by now has been tried with success.

    By the test without which no draft goes live; by a test since, where there is no draft; or by anybody who has come all the way in since
    what a sign-in depends on was changed in another way.
    """
    stored, mount = visit.stored, mounted()
    if stored is None:
        since = visit.now.replace(year=1971)  # of what is changed in the file there is no record
        return has_signed_in_since(mount.factory, users=mount.users, tenant_id=visit.tenant.id, since=since)
    if stored.draft is None and stored.tested_revision == stored.draft_revision:
        return True
    records = mount.directory.rows.read_history(stored.id, limit=_MOST_RECORDS)
    made_live = (AuditAction.TENANT_ADDED, AuditAction.TENANT_CHANGED, AuditAction.DRAFT_LIVE)
    last = next((one for one in records if one.action in made_live and _TESTED_KEYS & {*(one.before or ()), *(one.after or ())}), None)
    if last is not None and last.action is AuditAction.DRAFT_LIVE:
        return True
    since = last.at if last is not None else stored.updated_at
    return has_signed_in_since(mount.factory, users=mount.users, tenant_id=stored.id, since=since)
