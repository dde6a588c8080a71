"""Who is which user, as operators look it over and repair it. Every change is audited; no user is ever changed or deleted here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.errors import ProvisioningRefused
from samljit.model import Subject, Tenant
from samljit.sql.audit import AuditAction, Author, Change, write_audit
from samljit.sql.sessions import open_session
from samljit.sql.tables import from_database, to_database
from samljit.sql.users import HostUsers

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Identity:
    """One row: a subject of a tenant's IdP, and the user it is. `signed_in_at` is None for one who has not been here yet."""

    id: int
    subject_key: str
    tenant_id: UUID
    issuer: str
    source: str
    subject: str = field(repr=False)
    user_id: Any
    created_at: datetime
    signed_in_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stale:
    """An identity whose person has not signed in for long, with what the user record says of them."""

    identity: Identity
    email: str | None
    is_active: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A subject that is to be tied to a user who is there already, named by key or by e-mail."""

    subject: Subject
    tenant: Tenant
    user_id: Any = None
    email: str | None = None


class LinksRefused(Exception):
    """Links that cannot be made; none was. `faults` says why, by the number of the link, from 0."""

    def __init__(self, faults: Mapping[int, str]) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = dict(faults)


class RekeyRefused(Exception):
    """Identities that stand in the way of new keys; nothing was changed. Pairs of (identity to re-key, identity in its way)."""

    def __init__(self, conflicts: Sequence[tuple[int, int]]) -> None:
        super().__init__(f"{len(conflicts)} identities are there already")
        self.conflicts = tuple(conflicts)


class SqlIdentities:
    """The rows of `samljit_identity`."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._table = users.tables.identity
        self._bind = users.bind

    # --- looking ------------------------------------------------------------------------------------------------------

    def search(self, *, tenant_id: UUID | None = None, user_id: Any = None, limit: int | None = None) -> list[Identity]:
        """Identities in the order they were made."""
        table = self._table
        statement = sa.select(table).order_by(table.c.id).limit(limit)
        if tenant_id is not None:
            statement = statement.where(table.c.tenant_id == str(tenant_id))
        if user_id is not None:
            statement = statement.where(table.c.user_id == user_id)
        with open_session(self._factory) as session:
            return [_read(row) for row in session.execute(statement, bind_arguments=self._bind)]

    def find(self, identity_id: int) -> Identity | None:
        with open_session(self._factory) as session:
            row = session.execute(sa.select(self._table).where(self._table.c.id == identity_id), bind_arguments=self._bind).first()
        return None if row is None else _read(row)

    def count_by_issuer(self) -> dict[tuple[UUID, str], int]:
        """How many identities there are, by tenant and by the IdP's entity ID."""
        table = self._table
        statement = sa.select(table.c.tenant_id, table.c.issuer, sa.func.count().label("times")).group_by(table.c.tenant_id, table.c.issuer)
        with open_session(self._factory) as session:
            rows = session.execute(statement, bind_arguments=self._bind).all()
        return {(UUID(row.tenant_id), row.issuer): row.times for row in rows}

    def count_known(self, tenant_id: UUID) -> dict[tuple[str, str], int]:
        """How many identities a tenant has, by the IdP's entity ID and by the claim that they are known by."""
        table = self._table
        statement = sa.select(table.c.issuer, table.c.source, sa.func.count().label("times")).where(table.c.tenant_id == str(tenant_id))
        with open_session(self._factory) as session:
            rows = session.execute(statement.group_by(table.c.issuer, table.c.source), bind_arguments=self._bind).all()
        return {(row.issuer, row.source): row.times for row in rows}

    def find_stale(
        self, *, before: datetime, tenant_id: UUID | None = None, fields: Mapping[str, Any] | None = None
    ) -> Generator[Stale, None, None]:
        """Identities without a sign-in since that moment: first those never used and tied before it, then the longest away first.

        With `fields`, of those users alone whose records hold them.
        """
        table, users, moment = self._table, self._users, to_database(before)
        named = {"email_of": users.email_field, "active_of": users.active_field}
        columns = [getattr(users.model, name).label(label) for label, name in named.items() if name]
        statement = sa.select(table, *columns).join(users.model, getattr(users.model, users.key) == table.c.user_id)
        statement = statement.where(*users.holding(fields or {}))
        if tenant_id is not None:
            statement = statement.where(table.c.tenant_id == str(tenant_id))
        # two searches of one index; with OR it would be read from end to end
        searches = (
            statement.where(table.c.signed_in_at.is_(None), table.c.created_at < moment).order_by(table.c.id),
            statement.where(table.c.signed_in_at < moment).order_by(table.c.signed_in_at),
        )
        with open_session(self._factory) as session:
            for search in searches:
                for row in session.execute(search, bind_arguments=self._bind, execution_options={"yield_per": 1000}):
                    yield Stale(_read(row), getattr(row, "email_of", None), bool(getattr(row, "active_of", True)))

    def find_orphans(self) -> list[int]:
        """Identities whose user is gone: the next user to be given that key would be signed in as somebody else."""
        table, key = self._table, self._users.tables.user_key
        statement = sa.select(table.c.id).outerjoin(self._users.tables.user, key == table.c.user_id).where(key.is_(None))
        with open_session(self._factory) as session:
            return list(session.execute(statement.order_by(table.c.id), bind_arguments=self._bind).scalars())

    # --- repairing ----------------------------------------------------------------------------------------------------

    def link(self, links: Iterable[Link], *, author: Author, others_failed: bool = False) -> list[bool]:
        """Ties subjects to users, all or none; for each, whether it was new.

        With `others_failed` none is tied: it only looks for faults. Raises: LinksRefused with every fault; store.WriteConflict.
        """
        faults: dict[int, str] = {}
        news: list[bool] = []
        changes: list[Change] = []
        with open_session(self._factory) as session:
            for number, link in enumerate(links):
                try:
                    user_id = self._find_user(session, link)
                    is_new = self._is_new(session, link.subject, user_id)
                except _Fault as fault:
                    faults[number] = str(fault)
                    continue
                news.append(is_new)
                if is_new:
                    self._insert(session, link.subject, user_id=user_id, now=author.now)
                    after = {"user": str(user_id), "subject_key": link.subject.key, "issuer": link.subject.issuer}
                    changes.append(Change(AuditAction.IDENTITY_LINKED, link.tenant.id, after=after))
            if faults or others_failed:
                session.rollback()
                raise LinksRefused(faults)
            write_audit(session, changes, author=author, users=self._users)
            session.commit()
        return news

    def unlink(self, identity_id: int, *, author: Author) -> Identity | None:
        """Unties an identity and gives it as it was; None where there is none. The user stays."""
        table = self._table
        with open_session(self._factory) as session:
            row = session.execute(sa.select(table).where(table.c.id == identity_id), bind_arguments=self._bind).first()
            if row is None:
                return None
            identity = _read(row)
            session.execute(sa.delete(table).where(table.c.id == identity_id), bind_arguments=self._bind)
            before = {"user": str(identity.user_id), "subject_key": identity.subject_key, "issuer": identity.issuer}
            change = Change(AuditAction.IDENTITY_UNLINKED, identity.tenant_id, before=before)
            write_audit(session, [change], author=author, users=self._users)
            session.commit()
        return identity

    def rekey(
        self,
        tenant_id: UUID,
        *,
        issuers: Sequence[str],
        to: str,
        new_key: Callable[[Identity], str],
        author: Author,
        progress: Callable[[int], None],
    ) -> int:
        """Files the identities of these entity IDs of an IdP under its new one, all or none, and gives how many.

        `new_key` gives the key of an identity under the new entity ID; `progress` is told of each batch.
        Raises: RekeyRefused where somebody has an identity under the new one already; store.WriteConflict.
        """
        table, moved, conflicts = self._table, Counter[str](), list[tuple[int, int]]()
        condition = (table.c.tenant_id == str(tenant_id), table.c.issuer.in_(issuers))
        last = 0
        with open_session(self._factory) as session:
            while True:
                statement = sa.select(table).where(*condition, table.c.id > last).order_by(table.c.id).limit(_BATCH)
                batch = [_read(row) for row in session.execute(statement, bind_arguments=self._bind)]
                if not batch:
                    break
                last = batch[-1].id
                # text compares loosely in MariaDB: what was found is held against the names once more
                batch = [identity for identity in batch if identity.issuer in issuers]
                conflicts += self._move(session, {new_key(identity): identity for identity in batch}, batch, to=to)
                moved.update(identity.issuer for identity in batch)
                progress(len(batch))
            if conflicts:
                session.rollback()
                raise RekeyRefused(conflicts)
            change = Change(AuditAction.IDENTITIES_REKEYED, tenant_id, dict(moved), {to: moved.total()})
            write_audit(session, [change] if moved else [], author=author, users=self._users)
            session.commit()
        return moved.total()

    def _move(
        self, session: Session, by_key: Mapping[str, Identity], batch: Sequence[Identity], *, to: str
    ) -> list[tuple[int, int]]:
        """Gives a batch its new keys, or says which identities are in the way."""
        table = self._table
        query = sa.select(table.c.subject_key, table.c.id).where(table.c.subject_key.in_(by_key))
        taken = {row.subject_key: row.id for row in session.execute(query, bind_arguments=self._bind)}
        kept = {identity.id for identity in by_key.values()}
        conflicts = [(by_key[key].id, there) for key, there in taken.items()]
        twice = [identity for identity in batch if identity.id not in kept]  # one subject under two of the old entity IDs
        conflicts += [(one.id, other.id) for one in twice for other in by_key.values() if other.subject == one.subject]
        if not conflicts:
            statement = sa.update(table).where(table.c.id == sa.bindparam("row_id"))
            values = [{"row_id": identity.id, "subject_key": key, "issuer": to} for key, identity in by_key.items()]
            session.execute(statement, values, bind_arguments=self._bind, execution_options={"synchronize_session": False})
        return conflicts

    def _find_user(self, session: Session, link: Link) -> Any:
        """The key of the user that a link names, one of its tenant. Raises: _Fault."""
        users = self._users
        try:
            fields = users.fields_of(link.tenant)
            carries_them = [] if link.email is None else users.holding(fields)
        except ProvisioningRefused as refused:
            raise _Fault(refused.detail) from None
        if link.email is None:
            user = session.get(users.model, link.user_id)
            found = [] if user is None else [user]
        else:
            column = getattr(users.model, users.email_field or "")
            query = sa.select(users.model).where(column == link.email, *carries_them)
            rows = session.execute(query.limit(3), bind_arguments=self._bind).scalars()
            found = [user for user in rows if getattr(user, users.email_field or "") == link.email]
        if len(found) != 1:
            raise _Fault("there is no such user" if not found else "several users have this e-mail")
        if any(getattr(found[0], name) != value for name, value in fields.items()):
            raise _Fault("this user is not of this tenant")
        return getattr(found[0], users.key)

    def _is_new(self, session: Session, subject: Subject, user_id: Any) -> bool:
        query = sa.select(self._table.c.user_id).where(self._table.c.subject_key == subject.key)
        row = session.execute(query, bind_arguments=self._bind).first()
        if row is not None and row.user_id != user_id:
            raise _Fault(f"this subject is user {row.user_id} already")
        return row is None

    def _insert(self, session: Session, subject: Subject, *, user_id: Any, now: datetime) -> None:
        row = {
            "subject_key": subject.key,
            "tenant_id": str(subject.tenant_id),
            "issuer": subject.issuer,
            "source": subject.source,
            "subject": subject.value,
            "user_id": user_id,
            "created_at": to_database(now),
        }
        session.execute(sa.insert(self._table).values(**row), bind_arguments=self._bind)


class _Fault(Exception):
    """Why one link cannot be made, as the rest of a sentence."""


def _read(row: Any) -> Identity:
    return Identity(
        id=row.id,
        subject_key=row.subject_key,
        tenant_id=UUID(row.tenant_id),
        issuer=row.issuer,
        source=row.source,
        subject=row.subject,
        user_id=row.user_id,
        created_at=from_database(row.created_at),
        signed_in_at=from_database(row.signed_in_at) if row.signed_in_at else None,
    )
