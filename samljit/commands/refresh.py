"""Fetches the metadata of IdPs anew, as cron does, and warns of certificates that end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from flask import Flask, current_app

from samljit.commands.base import author, by_option, get_tenant, in_app, json_option, print_json, print_table
from samljit.federation.refresh import RefreshStatus
from samljit.federation.refresh import refresh as fetch_anew
from samljit.model import Tenant
from samljit.sql.audit import Author
from samljit.store import Unavailable, WriteConflict
from samljit.views.expiry import warn_of_expiry
from samljit.views.mounted import mounted, utc_now
from samljit.views.refreshing import log_refreshed, metadata_of

_AT_ONCE = 4  # most of it is waiting for an answer; more would be unkind to one IdP
_NOT_BY_URL = "not_by_url"


@dataclass(frozen=True, slots=True)
class _Row:
    tenant: str
    status: str
    certificate_until: Any = None
    warned_days: int | None = None
    error: str | None = None


@click.command()
@click.argument("slug", required=False)
@click.option("--all", "is_all", is_flag=True, help="All tenants that are switched on.")
@click.option("--entity-id", metavar="X", help="The IdP's new entity ID, where it has changed. Run tenant set --rekey first.")
@by_option
@json_option
@in_app
def refresh(*, slug: str | None, is_all: bool, entity_id: str | None, by: str | None, as_json: bool) -> None:
    """Fetch IdP metadata anew, and warn the app of certificates that end: for cron. Exit code 1 where one could not be fetched.

    What was fetched last stays in use where a fetch fails.
    """
    if (slug is None) == (not is_all) or (is_all and entity_id):
        raise click.UsageError("Name one tenant, or give --all; --entity-id is for one.")
    if slug is not None and get_tenant(slug).metadata_source is None:
        raise click.BadParameter(f"The IdP of {slug} is not known by the address of its metadata.", param_hint="slug")
    rows = list(_refresh_all(author(by)) if slug is None else [_refresh(slug, author=author(by), entity_id=entity_id)])
    if as_json:
        print_json([_as_json(row) for row in rows])
    else:
        head = ("tenant", "status", "certificate until (UTC)", "warned, days", "error")
        print_table(head, [(row.tenant, row.status, row.certificate_until, row.warned_days, row.error) for row in rows])
    if any(row.status == RefreshStatus.FAILED for row in rows):
        raise click.exceptions.Exit(1)


def _as_json(row: _Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("tenant", "status", "certificate_until", "warned_days", "error")}


def _refresh_all(by: Author) -> Iterator[_Row]:
    """Several at a time, each in a context of its own. One that fails stops no other."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    slugs = [one.slug for one in mounted().directory.all(now=utc_now()) if one.is_open]

    def run(slug: str) -> _Row:
        try:
            with app.app_context():
                return _refresh(slug, author=by)
        except (Unavailable, WriteConflict) as lost:
            return _Row(slug, RefreshStatus.FAILED, error=f"The database cannot be used ({lost}).")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(run, slugs)


def _refresh(slug: str, *, author: Author, entity_id: str | None = None) -> _Row:
    mount, now = mounted(), utc_now()
    found = mount.directory.find(slug, now=now)
    if found is None:
        return _Row(slug, RefreshStatus.FAILED, error="The tenant cannot be used; see: flask samljit check.")
    feed, row = mount.find_feed(found), partial(_Row, slug)
    if feed is None:
        return row(_NOT_BY_URL, **_told_of_end(found))
    done = fetch_anew(feed, metadata=metadata_of(mount), author=Author(author.name, now), entity_id=entity_id)
    log_refreshed(done)
    error = f"{done.problem.message} {done.problem.hint}".strip() if done.problem else None
    return row(done.status, error=error, **_told_of_end(mount.directory.find(slug, now=now)))


def _told_of_end(found: Tenant | None) -> dict[str, Any]:
    """When the tenant's last certificate ends, and of how many days the app was warned just now."""
    if found is None:
        return {}
    certificates = found.idp.certificates if found.idp else ()
    until = max((certificate.not_after for certificate in certificates), default=None)
    return {"certificate_until": until, "warned_days": warn_of_expiry(found, now=utc_now())}
