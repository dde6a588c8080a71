"""The Store on SQLAlchemy: sign-in transactions in sessions of their own, the sign-in log, and the tenants' permanent ids."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, scoped_session

from samljit.errors import ConfigError, Problem, ProvisioningRefused, Reason
from samljit.model import (
    Attempt,
    ClaimState,
    EmailHolder,
    ExistingUser,
    FieldAction,
    FieldDecision,
    FieldWhy,
    Outcome,
    RoleAction,
    RoleDecision,
    RoleSync,
    RoleWhy,
    Stage,
    Subject,
    Tenant,
)
from samljit.sql.holders import find_holders
from samljit.sql.tables import from_database, to_database
from samljit.sql.users import HostUsers, column_attributes, unique_sets
from samljit.store import HostRefused, Replayed, Transaction, Unavailable, WriteConflict

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing to mix up on the telephone
_LONGEST_DETAIL = 2000


def new_reference() -> str:
    """A fresh reference, `SJ-XXXX-XXXX`: 40 random bits, unique in the log."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"SJ-{letters[:4]}-{letters[4:]}"


def session_factory(session: Any) -> Callable[[], Session]:
    """The factory behind what the host gave: a sessionmaker, a scoped_session or Flask-SQLAlchemy's `db.session`.

    Raises: ConfigError for an async session, or anything that makes no Session.
    """
    factory = session.session_factory if isinstance(session, scoped_session) else session
    made_class = getattr(factory, "class_", None)
    # by its module's name: the module itself cannot be imported where greenlet is not installed
    is_async = type(factory).__module__.startswith("sqlalchemy.ext.asyncio")
    makes_no_session = is_async or (made_class is not None and not issubclass(made_class, Session))
    if not callable(factory) or isinstance(factory, Session) or makes_no_session:
        raise ConfigError(
            [
                Problem(
                    "session",
                    "not_a_session_factory",
                    "session must be a sessionmaker, a scoped_session or Flask-SQLAlchemy's db.session; async sessions do not work.",
                )
            ]
        )
    return factory


@dataclass(frozen=True, slots=True)
class TenantState:
    """What the database remembers of a tenant: its permanent id, and which claims that roles come from it has ever sent."""

    id: UUID
    claims_seen: frozenset[str] = frozenset()


class SqlStore:
    """The host's database. Every own statement names the host's mapper as bind, so that binds work."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._tables = users.tables
        self._bind = users.bind

    # --- provisioning: the Store protocol -----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._session() as session:
            yield _SqlTransaction(session, users=self._users)
            _commit(session)

    def add_attempt(self, attempt: Attempt) -> None:
        with self._session() as session:
            session.execute(_insert_attempt(self._tables.attempt, attempt), bind_arguments=self._bind)
            session.commit()

    def find_conflict(self, values: Mapping[str, Any], *, tenant: Tenant, besides: Any = None) -> str | None:
        users = self._users
        known = {**values, **users.fields_of(tenant)}
        key = getattr(users.model, users.key)
        with self._session() as session:
            for fields in _unique_fields(users):
                mapped = sorted(fields & set(values))
                if not mapped or not fields <= set(known):
                    continue
                query = sa.select(key).where(*(getattr(users.model, field) == known[field] for field in fields))
                if besides is not None:
                    query = query.where(key != besides)
                if session.execute(query.limit(1), bind_arguments=self._bind).first():
                    return mapped[0]
        return None

    def find_user(self, user_id: Any, *, tenant: Tenant) -> ExistingUser | None:
        """The user with this key as a sign-in for this tenant would find it. Raises: ProvisioningRefused (user_outside_tenant)."""
        with self._session() as session:
            return _SqlTransaction(session, users=self._users).read_user(user_id, tenant=tenant)

    def find_subject_user(self, subject: Subject) -> Any:
        with self._session() as session:
            row = _find_identity(session, subject, self._users)
            return None if row is None else row.user_id

    # --- the second hop -----------------------------------------------------------------------------------------------

    def find_attempt(self, reference: str) -> Attempt | None:
        """One row of the sign-in log; with old and new values of its field decisions only where they were kept."""
        table = self._tables.attempt
        with self._session() as session:
            row = session.execute(sa.select(table).where(table.c.reference == reference), bind_arguments=self._bind).first()
        return None if row is None else read_attempt(row)

    def finish_attempt(self, reference: str, *, now: datetime) -> bool:
        """Uses a hand-over, once: whether this call was the one. The identity remembers that its person has signed in."""
        table, identity = self._tables.attempt, self._tables.identity
        with self._session() as session:
            query = sa.update(table).where(table.c.reference == reference, table.c.finished_at.is_(None))
            result = session.execute(query.values(finished_at=to_database(now)), bind_arguments=self._bind)
            whose = sa.select(table.c.subject_key).where(table.c.reference == reference).scalar_subquery()
            seen = sa.update(identity).where(identity.c.subject_key == whose).values(signed_in_at=to_database(now))
            if result.rowcount == 1:  # type: ignore[attr-defined]
                session.execute(seen, bind_arguments=self._bind)
            session.commit()
            return bool(result.rowcount == 1)  # type: ignore[attr-defined]

    # --- tenants and housekeeping -------------------------------------------------------------------------------------

    def get_tenant_id(self, slug: str, *, now: datetime) -> UUID:
        """The permanent id of a tenant, made when first asked for."""
        return self.get_tenant_state(slug, now=now).id

    def get_tenant_state(self, slug: str, *, now: datetime) -> TenantState:
        """What the database remembers of a tenant, made when first asked for."""
        found = self._find_tenant_state(slug)
        if found is not None:
            return found
        try:
            with self._session() as session:
                values = {"id": str(uuid4()), "slug": slug, "created_at": to_database(now)}
                session.execute(sa.insert(self._tables.tenant_state).values(**values), bind_arguments=self._bind)
                session.commit()
        except WriteConflict:
            pass  # another worker was faster: what it wrote is read below
        made = self._find_tenant_state(slug)
        if made is None:
            raise Unavailable("tenant state could not be written")
        return made

    def _find_tenant_state(self, slug: str) -> TenantState | None:
        table = self._tables.tenant_state
        query = sa.select(table.c.id, table.c.claims_seen).where(table.c.slug == slug)
        with self._session() as session:
            row = session.execute(query, bind_arguments=self._bind).first()
        return None if row is None else TenantState(UUID(row.id), frozenset(row.claims_seen))

    # --- for the host -------------------------------------------------------------------------------------------------

    def find_roles(self, user_id: Any) -> frozenset[str]:
        """The roles that samljit granted to a user, for whichever tenant."""
        table = self._tables.role_grant
        with self._session() as session:
            query = sa.select(table.c.role).where(table.c.user_id == user_id)
            return frozenset(session.execute(query, bind_arguments=self._bind).scalars())

    def find_tenants_of(self, user_id: Any) -> tuple[str, ...]:
        """The slugs of the tenants whose people sign in as this user."""
        state, identity = self._tables.tenant_state, self._tables.identity
        query = sa.select(state.c.slug).join(identity, identity.c.tenant_id == state.c.id).where(identity.c.user_id == user_id)
        with self._session() as session:
            return tuple(session.execute(query.distinct().order_by(state.c.slug), bind_arguments=self._bind).scalars())

    def purge_assertions(self, *, now: datetime) -> int:
        """Forgets consumed assertions that could no longer be accepted anyway. Gives how many."""
        table = self._tables.assertion
        with self._session() as session:
            result = session.execute(sa.delete(table).where(table.c.expires_at < to_database(now)), bind_arguments=self._bind)
            session.commit()
            return int(result.rowcount)  # type: ignore[attr-defined]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with open_session(self._factory) as session:
            yield session


class _SqlTransaction:
    def __init__(self, session: Session, *, users: HostUsers) -> None:
        self._session = session
        self._users = users
        self._tables = users.tables
        self._bind = users.bind

    def lock_tenant(self, tenant_id: UUID) -> None:
        # an UPDATE that changes nothing, and no SELECT FOR UPDATE: it locks on all databases, and first of all statements, or two
        # inserts that refer to the row would each hold it against the other (MariaDB, InnoDB locking of foreign keys)
        table = self._tables.tenant_state
        query = sa.update(table).where(table.c.id == str(tenant_id)).values(created_at=table.c.created_at)
        self._session.execute(query, bind_arguments=self._bind)

    def note_claims(self, tenant_id: UUID, names: frozenset[str]) -> None:
        table = self._tables.tenant_state
        whose = table.c.id == str(tenant_id)
        seen = self._session.execute(sa.select(table.c.claims_seen).where(whose), bind_arguments=self._bind).scalar_one()
        query = sa.update(table).where(whose).values(claims_seen=sorted({*seen, *names}))
        self._session.execute(query, bind_arguments=self._bind)

    def consume(self, *, tenant_id: UUID, assertion_hash: str, request_nonce: str | None, expires: datetime) -> None:
        values = {
            "tenant_id": str(tenant_id),
            "assertion_hash": assertion_hash,
            "request_nonce": request_nonce,
            "expires_at": to_database(expires),
        }
        try:
            self._session.execute(sa.insert(self._tables.assertion).values(**values), bind_arguments=self._bind)
        except IntegrityError:
            raise Replayed from None

    def find_user(self, subject: Subject, *, tenant: Tenant) -> ExistingUser | None:
        identity = _find_identity(self._session, subject, self._users)
        if identity is None:
            return None
        user = self.read_user(identity.user_id, tenant=tenant)
        if user is None:
            raise ProvisioningRefused(Reason.USER_GONE, "an identity points to a user that does not exist")
        return user

    def read_user(self, user_id: Any, *, tenant: Tenant) -> ExistingUser | None:
        user = self._session.get(self._users.model, user_id)
        return None if user is None else self._users.read(user, tenant=tenant, granted=self._find_granted(user_id, tenant))

    def find_holders(self, address: str, *, tenant: Tenant, subject: Subject) -> tuple[EmailHolder, ...]:
        holders = find_holders(self._session, address, users=self._users, tenant=tenant, subject=subject)
        return tuple(
            replace(holder, user=replace(holder.user, granted=self._find_granted(holder.user.id, tenant))) for holder in holders
        )

    def count_users(self, tenant_id: UUID) -> int:
        table = self._tables.identity
        query = sa.select(sa.func.count(table.c.user_id.distinct())).where(table.c.tenant_id == str(tenant_id))
        return int(self._session.execute(query, bind_arguments=self._bind).scalar_one())

    def create_user(
        self, values: Mapping[str, Any], *, tenant: Tenant, subject: Subject, now: datetime, is_active: bool
    ) -> Any:
        user_id = self._users.create(self._session, values, tenant=tenant, is_active=is_active)
        self._insert_identity(subject, user_id=user_id, now=now)
        return user_id

    def link_user(self, user_id: Any, *, subject: Subject, now: datetime) -> None:
        self._insert_identity(subject, user_id=user_id, now=now, found_by_email=user_id)

    def change_roles(
        self, user_id: Any, *, tenant_id: UUID, granted: tuple[str, ...], revoked: tuple[str, ...], now: datetime
    ) -> None:
        table = self._tables.role_grant
        whose = (table.c.user_id == user_id, table.c.role.in_([*granted, *revoked]))
        ours = table.c.tenant_id == str(tenant_id)
        rows = self._session.execute(sa.select(table).where(*whose), bind_arguments=self._bind).all()
        elsewhere = {row.role for row in rows if row.tenant_id != str(tenant_id)}
        put_in = {row.role for row in rows if row.tenant_id == str(tenant_id) and row.in_field and row.role in revoked}
        added = self._users.change_roles(self._session, user_id, granted=granted, revoked=frozenset(put_in - elsewhere))
        self._session.execute(sa.delete(table).where(*whose, ours), bind_arguments=self._bind)
        if handed_on := put_in & elsewhere:  # what another tenant grants as well stays in the list, as that one's
            query = sa.update(table).where(table.c.user_id == user_id, table.c.role.in_(handed_on)).values(in_field=True)
            self._session.execute(query, bind_arguments=self._bind)
        common = {"tenant_id": str(tenant_id), "user_id": user_id, "granted_at": to_database(now)}
        made = [{**common, "role": role, "in_field": role in added} for role in granted]
        if made:
            self._session.execute(sa.insert(table), made, bind_arguments=self._bind)

    def _find_granted(self, user_id: Any, tenant: Tenant) -> frozenset[str]:
        rules, table = tenant.mapping.roles, self._tables.role_grant
        if rules is None or rules.sync_mode is RoleSync.OFF:
            return frozenset()
        query = sa.select(table.c.role).where(table.c.user_id == user_id, table.c.tenant_id == str(tenant.id))
        return frozenset(self._session.execute(query, bind_arguments=self._bind).scalars())

    def _insert_identity(self, subject: Subject, *, user_id: Any, now: datetime, found_by_email: Any = None) -> None:
        row = {
            "subject_key": subject.key,
            "tenant_id": str(subject.tenant_id),
            "issuer": subject.issuer,
            "source": subject.source,
            "subject": subject.value,
            "user_id": user_id,
            "created_at": to_database(now),
            "found_by_email": found_by_email,
        }
        self._session.execute(sa.insert(self._tables.identity).values(**row), bind_arguments=self._bind)

    def update_user(self, user_id: Any, values: Mapping[str, Any]) -> None:
        self._users.update(self._session, user_id, values)

    def add_attempt(self, attempt: Attempt) -> None:
        self._session.execute(_insert_attempt(self._tables.attempt, attempt), bind_arguments=self._bind)


def read_attempt(row: Any) -> Attempt:
    """An attempt from its row."""
    return Attempt(
        reference=row.reference,
        tenant_id=UUID(row.tenant_id),
        at=from_database(row.at),
        stage=Stage(row.stage),
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason) if row.reason else None,
        detail=row.detail,
        user_id=row.user_id,
        subject_key=row.subject_key,
        request_nonce=row.request_nonce,
        claim_names=tuple(row.claim_names),
        decisions=tuple(
            FieldDecision(
                d["field"], FieldAction(d["action"]), FieldWhy(d["why"]), d["source"], d.get("old"), d.get("new"), d["detail"]
            )
            for d in row.decisions
        ),
        roles=tuple(RoleDecision(d["role"], RoleAction(d["action"]), RoleWhy(d["why"]), d["source"]) for d in row.roles),
        claim_state=ClaimState(row.claim_state) if row.claim_state else None,
        keeps_values=any("new" in d for d in row.decisions),
        browser=row.browser,
        times=row.times,
        finished_at=from_database(row.finished_at) if row.finished_at else None,
        session_ends_at=from_database(row.session_ends_at) if row.session_ends_at else None,
    )


def _find_identity(session: Session, subject: Subject, users: HostUsers) -> Any:
    """The identity row of a subject. What the query found is compared again byte for byte: MariaDB compares text loosely."""
    table = users.tables.identity
    query = sa.select(table).where(table.c.subject_key == subject.key)
    row = session.execute(query, bind_arguments=users.bind).first()
    if row is None:
        return None
    wanted = (subject.key, str(subject.tenant_id), subject.issuer, subject.source, subject.value)
    return row if (row.subject_key, row.tenant_id, row.issuer, row.source, row.subject) == wanted else None


def _unique_fields(users: HostUsers) -> Iterator[set[str]]:
    """The sets of fields whose values must be unique together, in every table that the class is made of."""
    for table in users.mapper.tables:
        in_table = (a for a in column_attributes(users.mapper) if table.c.contains_column(a.columns[0]))
        field_of = {attribute.columns[0].name: attribute.key for attribute in in_table}
        for names in unique_sets(table):
            if names <= set(field_of):
                yield {field_of[name] for name in names}


def _written(decision: FieldDecision, *, keeps_values: bool) -> dict[str, Any]:
    """A decision as the log holds it. Values stay out unless asked for: it is read by more people than the user table."""
    row = {"field": decision.field, "action": decision.action.value, "why": decision.why.value, "source": decision.source}
    row["detail"] = decision.detail
    return {**row, "old": _plain(decision.old), "new": _plain(decision.new)} if keeps_values else row


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; what has no such form is written as text."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _insert_attempt(table: sa.Table, attempt: Attempt) -> sa.Insert:
    return sa.insert(table).values(
        reference=attempt.reference,
        tenant_id=str(attempt.tenant_id),
        at=to_database(attempt.at),
        stage=attempt.stage.value,
        outcome=attempt.outcome.value,
        reason=attempt.reason.value if attempt.reason else None,
        detail=attempt.detail[:_LONGEST_DETAIL],
        user_id=attempt.user_id,
        subject_key=attempt.subject_key,
        request_nonce=attempt.request_nonce,
        claim_names=list(attempt.claim_names),
        decisions=[_written(decision, keeps_values=attempt.keeps_values) for decision in attempt.decisions],
        roles=[{"role": d.role, "action": d.action.value, "why": d.why.value, "source": d.source} for d in attempt.roles],
        claim_state=attempt.claim_state.value if attempt.claim_state else None,
        browser=attempt.browser[:255],
        times=attempt.times,
        finished_at=to_database(attempt.finished_at) if attempt.finished_at else None,
        session_ends_at=to_database(attempt.session_ends_at) if attempt.session_ends_at else None,
    )


def _commit(session: Session) -> None:
    try:
        session.commit()
    except (StatementError, PoolTimeout):
        raise
    except Exception as error:  # a before_commit event of the host
        raise HostRefused(type(error).__name__) from error


@contextmanager
def open_session(factory: Callable[[], Session]) -> Iterator[Session]:
    """A session of its own, rolled back unless committed; errors of the database come out in the Store's words."""
    session = factory()
    try:
        with in_store_words():
            yield session
    finally:
        try:
            session.close()
        except DBAPIError:
            session.invalidate()


@contextmanager
def in_store_words() -> Iterator[None]:
    """Only the class of an error is kept: a driver's message quotes the row that it refused. Raises: WriteConflict, Unavailable."""
    try:
        yield
    except IntegrityError as error:
        raise WriteConflict(type(error.orig).__name__) from None
    except (OperationalError, InterfaceError, ProgrammingError, PoolTimeout) as error:
        if isinstance(error, OperationalError) and _is_about_the_write(error):
            raise WriteConflict(type(error.orig).__name__) from None
        raise Unavailable(type(error).__name__) from None  # ProgrammingError: the tables have not been made
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(type(error).__name__) from None
        raise WriteConflict(type(error).__name__) from None
    except StatementError as error:
        raise WriteConflict(type(error).__name__) from None


_LOST_RACES = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock


def _is_about_the_write(error: OperationalError) -> bool:
    """Whether an OperationalError refuses this write, and says nothing about the database's health.

    PostgreSQL so reports a lost race; MariaDB and MySQL nearly everything the server can say, numbered from 1000: lost races (1213,
    1205, 1020), a missing default (1364), a trigger's SIGNAL (1644).
    """
    if getattr(error.orig, "sqlstate", None) in _LOST_RACES:
        return True
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return code in (1020, 1205, 1213, 1364, 1644)
