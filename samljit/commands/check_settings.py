"""Checks of what the operator wrote: settings, mappings, certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from samljit.commands.findings import Finding, Status, ok, problem, warning
from samljit.errors import Problem
from samljit.federation.expiry import last_certificate, near_days
from samljit.model import Certificate, RequireSignature, Tenant
from samljit.saml.certificates import read_certificates
from samljit.settings.read import read_settings
from samljit.store import Unavailable
from samljit.tenants import build_tenants
from samljit.views.mounted import Mounted

_ABOUT_DATES = {"certificate_expired", "certificate_not_yet_valid", "no_certificate_in_date"}  # told below, once
_MOST_NAMED = 5
_RENEW = "In Entra: SAML Certificates, New Certificate; give us the new Federation Metadata XML; then make it active."


def check_settings(mount: Mounted, now: datetime) -> Iterator[Finding]:
    """The settings as they are on disk now, with every mapping held against the columns of the user class."""
    settings, problems = read_settings(mount.source)
    tenants: dict[str, Tenant] = {}
    if settings is not None:
        shape = mount.users.shape(settings.guards.protected_fields, grantable_roles=settings.guards.grantable_roles)
        tenants, found = build_tenants(settings, shape=shape, transforms=mount.transforms, now=now)
        problems = [*problems, *found]
    problems = [found for found in problems if found.code not in _ABOUT_DATES]
    yield from map(_of_problem, problems)
    if not any(_area(found) == "settings" for found in problems):
        yield ok("settings", "settings", f"{len(tenants)} tenant(s), at {mount.base_url}{mount.url_prefix}.")
    for tenant in tenants.values():
        yield ok("mapping", "mapping", f"{tenant.slug}: {len(tenant.mapping.fields)} field(s) fit the user record.")
        if tenant.idp is None and tenant.metadata_source is None:
            what = f"{tenant.slug} has no idp section: nobody can sign in yet."
            yield warning("settings", "not_connected", what, "Give it Entra's App Federation Metadata Url as idp.metadata_url.")
    yield from _check_ciphertext(mount, tenants)
    if {slug: tenant.revision for slug, tenant in tenants.items()} != {slug: t.revision for slug, t in mount.directory.of_settings.items()}:
        yield warning("settings", "settings_changed", "The settings have changed since the app read them.", "Restart the app.")


def _check_ciphertext(mount: Mounted, tenants: Mapping[str, Tenant]) -> Iterator[Finding]:
    """Who may have us decrypt what their IdP has not signed: a changed ciphertext tells something by how it fails (XML Encryption 7.2)."""
    signed = (RequireSignature.RESPONSE, RequireSignature.BOTH)
    loose = [slug for slug, tenant in tenants.items() if tenant.require_signature not in signed]
    if not mount.sp_certificates or not loose:
        return
    named = ", ".join(loose[:_MOST_NAMED]) + (f" and {len(loose) - _MOST_NAMED} more" if len(loose) > _MOST_NAMED else "")
    what = f"Anybody who has an encrypted response can change it and time how it fails, as the Response need not be signed: {named}."
    remedy = 'Set require_signature to "response" or "both", and have the IdP sign the Response (in Entra: Signing Option).'
    yield warning("settings", "ciphertext_unsigned", what, remedy)


def _of_problem(found: Problem) -> Finding:
    status = Status.WARNING if found.is_warning else Status.PROBLEM
    return Finding(status, _area(found), found.code, f"{found.path}: {found.message}", found.hint)


def _area(found: Problem) -> str:
    return "mapping" if ".mapping" in found.path else "settings"


def check_certificates(mount: Mounted, now: datetime) -> Iterator[Finding]:
    """Every tenant's certificates by the one that lasts longest, and our own."""
    for tenant in _tenants(mount, now):
        if tenant.idp is not None:
            yield _judge(tenant.slug, tenant.idp.certificates, now=now, remedy=_RENEW)
    for number, pem in enumerate(mount.sp_certificates):
        remedy = "Make a new key pair, name it first in sp, and give Entra our metadata again."
        yield _judge(f"our own, number {number + 1}", read_certificates(pem), now=now, remedy=remedy)


def _tenants(mount: Mounted, now: datetime) -> Iterator[Tenant]:
    """All tenants; without a database those of the settings, and what is wrong with it is told elsewhere."""
    try:
        yield from list(mount.directory.all(now=now))
    except Unavailable:
        yield from mount.directory.of_settings.values()


def check_stored(mount: Mounted, now: datetime) -> Iterator[Finding]:
    """The documents of the tenants that live in the database, held against the columns of the user class as it is now."""
    count = 0
    for stored in mount.directory.rows.all_stored():
        count += 1
        if stored.slug in mount.directory.of_settings:
            what = f"{stored.slug} stands in the settings and lives in the database: the settings count."
            yield warning("tenants", "two_sources", what, "Take it out of the settings file to have the database's.")
        for found in mount.directory.check_stored(stored.slug, stored.live, now=now)[1]:
            if found.code not in _ABOUT_DATES:
                status = Status.WARNING if found.is_warning else Status.PROBLEM
                yield Finding(status, "tenants", found.code, f"{stored.slug} {found.path}: {found.message}", found.hint)
    yield ok("tenants", "stored", f"{count} tenant(s) live in the database.")


def _judge(owner: str, certificates: tuple[Certificate, ...], *, now: datetime, remedy: str) -> Finding:
    last = last_certificate(certificates, now)
    if last is None:
        what = f"{owner}: no certificate is valid yet."
        return problem("certificates", "certificate_not_yet_valid", what, "Check the clock of this machine.")
    day, near = f"{last.not_after:%Y-%m-%d}", near_days(last, now)
    if last.not_after < now:
        return problem("certificates", "certificate_expired", f"{owner}: the last certificate expired on {day}.", remedy)
    if near is not None:
        what = f"{owner}: the last certificate expires on {day}, in less than {near} day(s)."
        return warning("certificates", f"certificate_expires_in_{near}", what, remedy)
    return ok("certificates", "certificate", f"{owner}: good until {day}.")
