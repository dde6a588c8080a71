"""The sign-ins as the IdP knows them: what a sign-out there must name, and which of them a signed LogoutRequest has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.model import IdpSession, NameId
from samljit.sql.sessions import open_session
from samljit.sql.tables import from_database, to_database
from samljit.sql.users import HostUsers
from samljit.store import WriteConflict

LONGEST = timedelta(days=90)  # a session whose row was pruned is over, where ended sessions are looked for at all
ENDED_KEPT = timedelta(days=1)  # for who, once signed out here, wants to be signed out at the IdP too


def session_key(tenant_id: UUID, session_index: str) -> str:
    """What a session is found by: a SHA-256 in hex, because some databases compare text without case, accents and trailing blanks."""
    return _hash("index", str(tenant_id), session_index)


def name_id_key(tenant_id: UUID, name_id: NameId) -> str:
    return _hash("name-id", str(tenant_id), name_id.value)


def message_key(message_id: str) -> str:
    """What a used logout message is remembered by, beside the hashes of assertions."""
    return _hash("logout", message_id)


def _hash(*parts: str) -> str:
    encoded = (part.encode("utf-8") for part in parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in encoded)).hexdigest()


def over(table: sa.Table, now: datetime) -> sa.ColumnElement[bool]:
    """Which rows nothing is looked up in any more."""
    return sa.or_(table.c.began_at < to_database(now - LONGEST), table.c.ended_at < to_database(now - ENDED_KEPT))


def session_row(session: IdpSession) -> dict[str, Any]:
    """The row that a session is written as, by column."""
    index = session.session_index
    return {
        "reference": session.reference,
        "tenant_id": str(session.tenant_id),
        "user_id": session.user_id,
        "session_key": None if index is None else session_key(session.tenant_id, index),
        "name_id_key": name_id_key(session.tenant_id, session.name_id),
        "name_id": asdict(session.name_id),
        "session_index": index,
        "began_at": to_database(session.began_at),
        "ended_at": to_database(session.ended_at) if session.ended_at else None,
    }


@dataclass(frozen=True, slots=True)
class EndOrder:
    """What a signed LogoutRequest orders: an end to the sessions of these keys, or where it names none, to all of this NameID."""

    tenant_id: UUID
    message_id: str
    session_keys: tuple[str, ...]
    name_id_key: str
    usable_until: datetime


class IdpSessions:
    """The rows of `samljit_session`. Every method may raise store.Unavailable."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._tables = users.tables
        self._bind = users.bind

    def find(self, reference: str) -> IdpSession | None:
        table = self._tables.session
        with open_session(self._factory) as session:
            row = session.execute(sa.select(table).where(table.c.reference == reference), bind_arguments=self._bind).first()
        return None if row is None else _read(row)

    def is_on(self, reference: str) -> bool:
        """Whether this session has neither ended nor been forgotten: one look-up in an index."""
        table = self._tables.session
        query = sa.select(table.c.ended_at).where(table.c.reference == reference)
        with open_session(self._factory) as session:
            row = session.execute(query, bind_arguments=self._bind).first()
        return row is not None and row.ended_at is None

    def end(self, reference: str, *, now: datetime) -> None:
        with open_session(self._factory) as session:
            self._end(session, self._tables.session.c.reference == reference, now=now)
            session.commit()

    def end_named(self, order: EndOrder, *, now: datetime) -> tuple[IdpSession, ...] | None:
        """Ends what a signed LogoutRequest names, once, and gives the sessions that were still on; None where it has been used before.

        The message is remembered beside the used assertions, in the same transaction.
        """
        table, tenant_id = self._tables.session, str(order.tenant_id)
        by_name: sa.ColumnElement[bool] = table.c.name_id_key == order.name_id_key
        named = table.c.session_key.in_(order.session_keys) if order.session_keys else by_name
        used = {"tenant_id": tenant_id, "assertion_hash": message_key(order.message_id), "expires_at": to_database(order.usable_until)}
        for _ in range(2):  # the first time the database may have refused something else: a lost race
            try:
                with open_session(self._factory) as session:
                    session.execute(sa.insert(self._tables.assertion).values(**used), bind_arguments=self._bind)
                    ended = self._end(session, table.c.tenant_id == tenant_id, named, now=now)
                    session.commit()
            except WriteConflict:
                continue
            return ended
        return None

    def _end(self, session: Session, *conditions: sa.ColumnElement[bool], now: datetime) -> tuple[IdpSession, ...]:
        table = self._tables.session
        found = session.execute(sa.select(table).where(*conditions, table.c.ended_at.is_(None)), bind_arguments=self._bind).all()
        if found:
            query = sa.update(table).where(table.c.id.in_([row.id for row in found])).values(ended_at=to_database(now))
            session.execute(query, bind_arguments=self._bind)
        return tuple(map(_read, found))


def _read(row: Any) -> IdpSession:
    return IdpSession(
        reference=row.reference,
        tenant_id=UUID(row.tenant_id),
        user_id=row.user_id,
        name_id=NameId(**row.name_id),
        session_index=row.session_index,
        began_at=from_database(row.began_at),
        ended_at=from_database(row.ended_at) if row.ended_at else None,
    )
