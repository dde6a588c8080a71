"""The metadata of IdPs that was fetched from its address: whose turn it is to fetch, what came of it, and who was told of its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.sql.audit import Author, Change, write_audit
from samljit.sql.sessions import open_session
from samljit.sql.tables import from_database, to_database
from samljit.sql.users import HostUsers

_LONGEST_ERROR = 255


@dataclass(frozen=True, slots=True)
class StoredMetadata:
    """The last good metadata of a tenant's IdP that was fetched from its address `url`, and how the last try ended."""

    xml: str | None = field(default=None, repr=False)
    hash: str | None = None
    fetched_at: datetime | None = None
    tried_at: datetime | None = None
    error: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to fetch the metadata of one tenant from its address now, which one worker has at a time."""

    tenant_id: UUID
    url: str
    since: datetime


def metadata_hash(xml: str, *, url: str) -> str:
    """What is made of fetched metadata is kept by this: of both, as a document that was at another address before must be read anew."""
    return sha256(f"{url}\n{xml}".encode()).hexdigest()


class SqlMetadata:
    """The metadata columns of `samljit_tenant_state`. Every method may raise store.Unavailable or store.WriteConflict."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._state = users.tables.tenant_state
        self._bind = users.bind

    def find(self, tenant_id: UUID) -> StoredMetadata:
        """What was fetched; all of it None where nothing was tried yet."""
        state = self._state
        times = (state.c.metadata_at, state.c.metadata_tried_at)
        query = sa.select(state.c.metadata, state.c.metadata_hash, *times, state.c.metadata_error, state.c.metadata_url)
        query = query.where(state.c.id == str(tenant_id))
        with open_session(self._factory) as session:
            row = session.execute(query, bind_arguments=self._bind).first()
        if row is None:
            return StoredMetadata()
        fetched_at, tried_at = (from_database(at) if at else None for at in (row.metadata_at, row.metadata_tried_at))
        return StoredMetadata(row.metadata, row.metadata_hash, fetched_at, tried_at, row.metadata_error, row.metadata_url)

    def take_turn(
        self, tenant_id: UUID, url: str, *, now: datetime, every: timedelta, older_than: timedelta | None = None
    ) -> Turn | None:
        """The turn, where nobody has had it for this address within `every`; of all workers on all hosts, one gets it.

        With `older_than`, only where the last good document is not newer than that. One that was taken by a clock ahead of ours counts
        only for as long as clocks may differ, or a wrong one would stop it for good.
        """
        state, tried_at = self._state, self._state.c.metadata_tried_at
        is_over = sa.or_(tried_at.is_(None), tried_at <= to_database(now - every), tried_at > to_database(now + every))
        is_another = sa.or_(state.c.metadata_tried_url.is_(None), state.c.metadata_tried_url != url)
        query = sa.update(state).where(state.c.id == str(tenant_id), sa.or_(is_over, is_another))
        query = query.values(metadata_tried_at=to_database(now), metadata_tried_url=url)
        if older_than is not None:
            fetched_at = state.c.metadata_at
            query = query.where(sa.or_(fetched_at.is_(None), fetched_at <= to_database(now - older_than)))
        with open_session(self._factory) as session:
            taken = session.execute(query, bind_arguments=self._bind).rowcount == 1  # type: ignore[attr-defined]
            session.commit()
        return Turn(tenant_id, url, now) if taken else None

    def keep(self, turn: Turn, xml: str, *, change: Change, author: Author) -> bool:
        """Puts this document in the place of the last one, and records the change. False where the turn has passed on: nothing was done."""
        values = {"metadata": xml, "metadata_url": turn.url, "metadata_hash": metadata_hash(xml, url=turn.url)}
        with open_session(self._factory) as session:
            kept = self._end(session, turn, metadata_at=to_database(turn.since), metadata_error=None, **values)
            if kept:
                write_audit(session, [change], author=author, users=self._users)
            session.commit()
        return kept

    def keep_last(self, turn: Turn) -> None:
        """Notes that what was fetched says what is known already."""
        with open_session(self._factory) as session:
            self._end(session, turn, metadata_at=to_database(turn.since), metadata_error=None)
            session.commit()

    def fail(self, turn: Turn, error: str) -> None:
        """Notes why nothing was fetched; the last good document stays."""
        with open_session(self._factory) as session:
            self._end(session, turn, metadata_error=error[:_LONGEST_ERROR])
            session.commit()

    def warn_once(self, tenant_id: UUID, *, fingerprint: str, days: int) -> bool:
        """Whether this is the first warning that this certificate expires in so many days: over all workers one call is told so."""
        state = self._state
        is_news = sa.or_(
            state.c.warned_certificate.is_(None), state.c.warned_certificate != fingerprint, state.c.warned_days > days
        )
        query = sa.update(state).where(state.c.id == str(tenant_id), is_news)
        with open_session(self._factory) as session:
            query = query.values(warned_certificate=fingerprint, warned_days=days)
            first = session.execute(query, bind_arguments=self._bind).rowcount == 1  # type: ignore[attr-defined]
            session.commit()
        return bool(first)

    def _end(self, session: Session, turn: Turn, **values: object) -> bool:
        """Writes what came of a turn, unless somebody else has had one since."""
        state = self._state
        mine = (state.c.id == str(turn.tenant_id), state.c.metadata_tried_at == to_database(turn.since))
        query = sa.update(state).where(*mine).values(**values)
        return bool(session.execute(query, bind_arguments=self._bind).rowcount == 1)  # type: ignore[attr-defined]
