"""The sign-in log: looking at it, keeping it small, and who has not been in it for long."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import click

from samljit.commands.base import (
    find_tenant_id,
    in_app,
    json_option,
    print_json,
    print_table,
    read_user_id,
    since_option,
    slugs,
    tenant_option,
    the_identities,
    the_log,
)
from samljit.errors import Reason
from samljit.model import Attempt
from samljit.sql.log import Expired, LogQuery, SqlLog
from samljit.views.mounted import mounted, utc_now

_MOST_DAYS = 366 * 20


@click.command()
@tenant_option()
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), metavar="REASON", help="Only refusals with this reason.")
@click.option("--user", metavar="ID", help="Only attempts of this user.")
@since_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, metavar="N", help="At most so many.")
@json_option
@in_app
def log(*, slug: str | None, reason: str | None, user: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show the sign-in log, the newest first."""
    query = LogQuery(
        tenant_id=find_tenant_id(slug),
        reason=Reason(reason) if reason else None,
        user_id=read_user_id(user),
        since=since,
        limit=limit,
    )
    attempts, names = the_log(mounted()).search(query), slugs()
    if as_json:
        print_json([attempt_json(attempt, tenant=names.get(attempt.tenant_id)) for attempt in attempts if attempt.tenant_id])
        return
    head = ("at (UTC)", "reference", "tenant", "stage", "outcome", "reason", "user", "times", "signed in (UTC)")
    print_table(head, [_log_row(attempt, names) for attempt in attempts])


def _log_row(one: Attempt, names: Mapping[UUID, str]) -> tuple[Any, ...]:
    tenant = names.get(one.tenant_id) if one.tenant_id else None
    return (one.at, one.reference, tenant, one.stage, one.outcome, one.reason, one.user_id, one.times, one.finished_at)


def attempt_json(attempt: Attempt, *, tenant: str | None) -> dict[str, Any]:
    """An attempt as JSON. It holds no claim values, because the log does not."""
    return {
        "reference": attempt.reference,
        "tenant": tenant,
        "at": attempt.at,
        "stage": attempt.stage,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "user": attempt.user_id,
        "subject_key": attempt.subject_key,
        "claims": list(attempt.claim_names),
        "fields": [
            {"field": d.field, "action": d.action, "why": d.why, "claim": d.source, "detail": d.detail} for d in attempt.decisions
        ],
        "roles": [{"role": d.role, "action": d.action, "why": d.why, "claim": d.source} for d in attempt.roles],
        "role_claims": attempt.claim_state,
        "browser": attempt.browser,
        "times": attempt.times,
        "signed_in_at": attempt.finished_at,
    }


@click.command()
@click.option("--days", type=click.IntRange(1, _MOST_DAYS), metavar="N", help="Keep so many days. Default: attempt_days of the settings.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, metavar="N", help="Rows per transaction.")
@json_option
@in_app
def prune(*, days: int | None, batch: int, as_json: bool) -> None:
    """Delete attempts that are older than they are to be kept, used messages that have expired, and sessions that are over.

    Users are never touched.
    """
    mount, now = mounted(), utc_now()
    kept = days or mount.settings.attempt_days
    sign_ins = the_log(mount)
    found = sign_ins.find_expired(attempts_before=now - timedelta(days=kept), now=now)
    deleted = {expired.name: _delete(sign_ins, expired, batch=batch) for expired in found}
    if as_json:
        print_json({"days": kept, **deleted})
    else:
        click.echo(f"Deleted {deleted['attempts']} attempts older than {kept} days, {deleted['assertions']} expired assertions and")
        click.echo(f"{deleted['sessions']} sessions that are over.")


def _delete(sign_ins: SqlLog, expired: Expired, *, batch: int) -> int:
    done = 0
    with click.progressbar(length=expired.total, label=f"{expired.name} ({expired.total})", file=sys.stderr) as bar:
        for count in sign_ins.delete(expired, batch=batch):
            done += count
            bar.update(count)
    return done


@click.command()
@click.option("--days", type=click.IntRange(0, _MOST_DAYS), required=True, metavar="N", help="Without a sign-in for so many days.")
@tenant_option()
@json_option
@in_app
def stale(*, days: int, slug: str | None, as_json: bool) -> None:
    """Show who has not signed in for long: they may have left, and signing in cannot tell you so."""
    names = slugs()
    before = utc_now() - timedelta(days=days)
    found = the_identities(mounted()).find_stale(before=before, tenant_id=find_tenant_id(slug))
    rows = [
        {
            "identity": one.identity.id,
            "tenant": names.get(one.identity.tenant_id),
            "user": one.identity.user_id,
            "email": one.email,
            "active": one.is_active,
            "last_sign_in": one.identity.signed_in_at,
            "linked_at": one.identity.created_at,
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        head = ("identity", "tenant", "user", "e-mail", "active", "last sign-in (UTC)", "linked at (UTC)")
        print_table(head, [tuple(row.values()) for row in rows])
