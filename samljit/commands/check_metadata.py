"""Checks of metadata that is fetched from its address: whether it is there, and whether it still comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from samljit.commands.findings import Finding, ok, warning
from samljit.federation.refresh import STALE
from samljit.model import Tenant
from samljit.store import Unavailable
from samljit.views.mounted import Mounted
from samljit.views.refreshing import metadata_of


def check_metadata(mount: Mounted, now: datetime) -> Iterator[Finding]:
    """Every tenant whose IdP is known by the address of its metadata. A lost database is told elsewhere."""
    try:
        for tenant in mount.directory.all(now=now):
            if tenant.metadata_source is not None:
                yield _judge(tenant, mount, now)
    except Unavailable:
        return


def _judge(tenant: Tenant, mount: Mounted, now: datetime) -> Finding:
    known, again = metadata_of(mount).find(tenant.id), f"Run: flask samljit tenant refresh {tenant.slug}"
    why = f" The last try: {known.error}" if known.error else ""
    if tenant.idp is None:
        what = f"{tenant.slug}: nothing good was fetched from its metadata_url yet: nobody can sign in.{why}"
        return warning("metadata", "not_connected", what, again)
    fetched_at = known.fetched_at or now
    what = f"{tenant.slug}: fetched {fetched_at:%Y-%m-%d %H:%M} UTC."
    if known.error or now - fetched_at > 2 * STALE:
        return warning("metadata", "metadata_not_refreshed", f"{what}{why}", again)
    return ok("metadata", "metadata", what)
