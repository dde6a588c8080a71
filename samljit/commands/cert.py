"""Certificates: the IdPs' and our own, with their status and where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import click

from samljit.commands.base import fail, get_tenant, in_app, json_option, print_json, print_table, tenant_option
from samljit.model import Certificate, Tenant
from samljit.saml.certificates import read_certificates
from samljit.settings.read import MetadataFile
from samljit.views.mounted import Mounted, mounted, utc_now
from samljit.views.refreshing import metadata_of


class CertificateStatus(StrEnum):
    IN_DATE = "in_date"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where certificates came from: an address or a file, else `settings` or `database`; when it was fetched, if it was."""

    source: str
    fetched_at: datetime | None = None


def status_of(certificate: Certificate, now: datetime) -> CertificateStatus:
    if now > certificate.not_after:
        return CertificateStatus.EXPIRED
    return CertificateStatus.IN_DATE if now >= certificate.not_before else CertificateStatus.NOT_YET_VALID


@click.group()
def cert() -> None:
    """Certificates: list, new."""


@cert.command("list")
@tenant_option()
@json_option
@in_app
def list_certificates(*, slug: str | None, as_json: bool) -> None:
    """List the IdPs' signing certificates, and our own. Exit code 1 where one of a tenant's is wanted and none is in date."""
    now, mount = utc_now(), mounted()
    tenants = [get_tenant(slug)] if slug else list(mount.directory.all(now=now))
    owners = [(one, one.idp.certificates) for one in tenants if one.idp]
    rows = [row for one, certificates in owners for row in _rows(one.slug, certificates, _origin(one, mount), now)]
    if slug is None:
        rows += [row for pem in mount.sp_certificates for row in _rows("(ours)", read_certificates(pem), _Origin("settings"), now)]
    if as_json:
        print_json(rows)
    else:
        head = ("of", "status", "from (UTC)", "until (UTC)", "days left", "SHA-256", "subject", "source", "fetched (UTC)")
        print_table(head, [tuple(row.values()) for row in rows])
    dead = [one.slug for one, certificates in owners if all(status_of(c, now) is not CertificateStatus.IN_DATE for c in certificates)]
    if dead:
        fail(f"No certificate is in date: {', '.join(dead)}.")


def _origin(one: Tenant, mount: Mounted) -> _Origin:
    if one.metadata_source is not None:
        return _Origin(one.metadata_source, metadata_of(mount).find(one.id).fetched_at)
    named = mount.settings.tenants.get(one.slug)
    if named is None:
        return _Origin("database")
    return _Origin(str(named.idp.path) if isinstance(named.idp, MetadataFile) else "settings")


def _rows(owner: str, certificates: tuple[Certificate, ...], origin: _Origin, now: datetime) -> Iterator[dict[str, Any]]:
    for certificate in certificates:
        yield {
            "of": owner,
            "status": status_of(certificate, now),
            "not_before": certificate.not_before,
            "not_after": certificate.not_after,
            "days_left": (certificate.not_after - now).days,
            "fingerprint": certificate.fingerprint,
            "subject": certificate.subject,
            "source": origin.source,
            "fetched_at": origin.fetched_at,
        }
