"""What has happened to a tenant's people lately, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.model import Outcome
from samljit.sql.sessions import open_session
from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers

DAYS = 7


@dataclass(frozen=True, slots=True)
class Day:
    """One day (UTC): sign-ins that came to an end, refusals, and users made and brought up to date."""

    day: date
    signed_in: int = 0
    refused: int = 0
    created: int = 0
    updated: int = 0


def read_days(factory: Callable[[], Session], *, users: HostUsers, tenant_id: UUID, now: datetime) -> list[Day]:
    """The last `DAYS` days, today last, each of them there. Raises: store.Unavailable."""
    table = users.tables.attempt
    days = [now.date() - timedelta(days=back) for back in reversed(range(DAYS))]
    since = datetime.combine(days[0], datetime.min.time(), tzinfo=now.tzinfo)
    day, finished = sa.func.date(table.c.at).label("day"), sa.func.count(table.c.finished_at).label("finished")
    query = sa.select(day, table.c.outcome, sa.func.sum(table.c.times).label("times"), finished)
    query = query.where(table.c.tenant_id == str(tenant_id), table.c.at >= to_database(since)).group_by("day", table.c.outcome)
    counts: Counter[tuple[str, str]] = Counter()
    with open_session(factory) as session:
        for row in session.execute(query, bind_arguments=users.bind):
            counts[str(row.day), row.outcome] += int(row.times)
            counts[str(row.day), "finished"] += row.finished if row.outcome != Outcome.REFUSE else 0
    return [
        Day(
            one,
            signed_in=counts[str(one), "finished"],
            refused=counts[str(one), Outcome.REFUSE.value],
            created=counts[str(one), Outcome.CREATE.value],
            updated=counts[str(one), Outcome.UPDATE.value],
        )
        for one in days
    ]


def has_signed_in_since(factory: Callable[[], Session], *, users: HostUsers, tenant_id: UUID, since: datetime) -> bool:
    """Whether anybody of the tenant has come all the way in since then. Raises: store.Unavailable."""
    table = users.tables.attempt
    query = sa.select(table.c.id).where(table.c.tenant_id == str(tenant_id), table.c.at >= to_database(since))
    query = query.where(table.c.finished_at.is_not(None), table.c.outcome != Outcome.REFUSE.value).limit(1)
    with open_session(factory) as session:
        return session.execute(query, bind_arguments=users.bind).first() is not None
