"""The sign-in log as people read it, and how old rows leave it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.errors import Reason
from samljit.model import Attempt, Outcome
from samljit.sql.attempts import read_attempt
from samljit.sql.idp_sessions import over
from samljit.sql.sessions import open_session
from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which attempts are wanted; None for any. `since` and `until` are aware times, `until` not included; `limit` is how many at most,
    the newest first.

    `outcomes` are any of these, `is_finished` whether the person came back in the second step, `is_refused` whether they were let
    in: one who was made and must wait was not. `person` is part of the e-mail of the
    user record, which must hold `person_fields` too. `before` is the reference of an attempt: those behind it in this order.
    """

    tenant_id: UUID | None = None
    reason: Reason | None = None
    outcomes: tuple[Outcome, ...] = ()
    is_finished: bool | None = None
    is_refused: bool | None = None
    user_id: Any = None
    person: str | None = None
    person_fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Expired:
    """Rows of one table that may go. `total` is how many there are."""

    name: str
    total: int
    _table: sa.Table
    _condition: sa.ColumnElement[bool]


class SqlLog:
    """The rows of `samljit_attempt`, and the consumed assertions, which age with them."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._tables = users.tables
        self._bind = users.bind

    def search(self, query: LogQuery) -> list[Attempt]:
        table = self._tables.attempt
        statement = sa.select(table).where(*self._conditions(query))
        statement = statement.order_by(table.c.at.desc(), table.c.id.desc()).limit(query.limit)
        with open_session(self._factory) as session:
            return [read_attempt(row) for row in session.execute(statement, bind_arguments=self._bind)]

    def find(self, reference: str, *, tenant_id: UUID) -> Attempt | None:
        """One attempt of this tenant."""
        found = self.search(LogQuery(tenant_id=tenant_id, reference=reference, limit=1))
        # MariaDB compares text without case
        return next((attempt for attempt in found if attempt.reference == reference), None)

    def find_people(self, user_ids: Iterable[Any], *, fields: Mapping[str, Any] | None = None) -> dict[Any, str]:
        """The e-mail addresses of these users, as their records have them now, by key; of those alone whose records hold `fields`.

        Empty where there is no e-mail field.
        """
        users, wanted = self._users, {user_id for user_id in user_ids if user_id is not None}
        if users.email_field is None or not wanted:
            return {}
        key, email = getattr(users.model, users.key), getattr(users.model, users.email_field)
        query = sa.select(key, email).where(key.in_(wanted), *users.holding(fields or {}))
        with open_session(self._factory) as session:
            return {found: str(address) for found, address in session.execute(query, bind_arguments=self._bind) if address}

    def _conditions(self, query: LogQuery) -> Iterator[sa.ColumnElement[bool]]:
        table = self._tables.attempt
        wanted = (
            (table.c.tenant_id, str(query.tenant_id) if query.tenant_id else None),
            (table.c.reason, query.reason.value if query.reason else None),
            (table.c.user_id, query.user_id),
            (table.c.reference, query.reference),
        )
        yield from (column == value for column, value in wanted if value is not None)
        if query.outcomes:
            yield table.c.outcome.in_([outcome.value for outcome in query.outcomes])
        if query.is_finished is not None:
            yield table.c.finished_at.is_not(None) if query.is_finished else table.c.finished_at.is_(None)
        if query.is_refused is not None:
            yield table.c.reason.is_not(None) if query.is_refused else table.c.reason.is_(None)
        if query.since is not None:
            yield table.c.at >= to_database(query.since)
        if query.until is not None:
            yield table.c.at < to_database(query.until)
        if query.person is not None:
            yield table.c.user_id.in_(self._users_like(query.person, query.person_fields))
        if query.before is not None:
            at, number = (self._of(query, column) for column in (table.c.at, table.c.id))
            yield sa.or_(table.c.at < at, sa.and_(table.c.at == at, table.c.id < number))

    def _of(self, query: LogQuery, column: sa.Column[Any]) -> Any:
        """A column of the attempt that the page before ended with; one of another tenant is none."""
        table = self._tables.attempt.alias()
        found = sa.select(table.c[column.name]).where(table.c.reference == query.before)
        return (found if query.tenant_id is None else found.where(table.c.tenant_id == str(query.tenant_id))).scalar_subquery()

    def _users_like(self, person: str, fields: Mapping[str, Any]) -> Any:
        users = self._users
        key = getattr(users.model, users.key)
        if users.email_field is None:
            return sa.select(key).where(sa.false())
        email = getattr(users.model, users.email_field)
        return sa.select(key).where(sa.func.lower(email).contains(person.lower(), autoescape=True), *self._users.holding(fields))

    def find_expired(self, *, attempts_before: datetime, now: datetime) -> tuple[Expired, ...]:
        """The attempts older than that moment, the consumed messages that could no longer be accepted anyway, and the sessions that
        ended more than a day ago or began more than 90 days ago."""
        attempt, assertion, session_ = self._tables.attempt, self._tables.assertion, self._tables.session
        conditions = (
            ("attempts", attempt, attempt.c.at < to_database(attempts_before)),
            ("assertions", assertion, assertion.c.expires_at < to_database(now)),
            ("sessions", session_, over(session_, now)),
        )
        with open_session(self._factory) as session:
            found = []
            for name, table, condition in conditions:
                count = sa.select(sa.func.count()).select_from(table).where(condition)
                found.append(Expired(name, session.execute(count, bind_arguments=self._bind).scalar_one(), table, condition))
        return tuple(found)

    def delete(self, expired: Expired, *, batch: int) -> Iterator[int]:
        """Deletes in transactions of so many rows; gives the number of each as it is committed.

        After each it pauses for as long as that took: SQLite has one writer at a time, and a sign-in that waits for its turn gets it.
        """
        table, ids = expired._table, sa.select(expired._table.c.id).where(expired._condition).limit(batch)
        while True:
            began = time.monotonic()
            with open_session(self._factory) as session:
                # not a sub-select: MariaDB has no LIMIT in one, and PostgreSQL none in DELETE
                found = list(session.execute(ids, bind_arguments=self._bind).scalars())
                if not found:
                    return
                session.execute(sa.delete(table).where(table.c.id.in_(found)), bind_arguments=self._bind)
                session.commit()
            yield len(found)
            time.sleep(time.monotonic() - began)
