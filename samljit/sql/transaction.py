"""One sign-in's transaction, as `store.Transaction` has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from samljit.errors import ProvisioningRefused, Reason
from samljit.model import Attempt, EmailHolder, ExistingUser, IdpSession, RoleSync, Subject, Tenant, TenantVersion
from samljit.sql.attempts import attempt_row
from samljit.sql.holders import find_holders
from samljit.sql.idp_sessions import session_row
from samljit.sql.statements import Statements
from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers
from samljit.store import LostRace, Replayed, TenantChanged

_DATA_VERSION = "PRAGMA data_version"


@dataclass(frozen=True, slots=True)
class _Unlocked:
    """What a look-up has found of a subject before SQLite was locked, and the version of the data then."""

    version: int
    subject: Subject
    tenant: Tenant
    found: ExistingUser | None


class SqlTransaction:
    """The statements of a sign-in, in the session that is given; whoever gave it commits."""

    def __init__(self, session: Session, *, users: HostUsers, statements: Statements) -> None:
        self._session = session
        self._users = users
        self._statements = statements
        self._user: Any = None  # a session forgets what nobody holds, and would ask for it again
        self._identity_id: int | None = None
        self._waiting: dict[str, dict[str, Any]] = {}  # rows for `write_waiting`
        self._consuming: dict[str, Any] = {}  # the row of `consume`, as long as that waits
        self._unlocked: _Unlocked | None = None  # what `find_user` has read meanwhile, on SQLite
        self._user_count: int | None = None
        self._tenant_row: Any = None  # what `find_user` has read of the tenant along
        self._noted: frozenset[str] = frozenset()
        self._tables = users.tables
        self._bind = users.bind
        self._connection = session.connection(bind_arguments=users.bind)
        self._dialect = self._connection.dialect.name

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
        if names <= frozenset(seen):
            raise TenantChanged("claims seen")
        query = sa.update(table).where(whose).values(claims_seen=sorted({*seen, *names}))
        self._session.execute(query, bind_arguments=self._bind)
        self._noted = names

    def consume(self, *, tenant_id: UUID, assertion_hash: str, request_nonce: str | None, expires: datetime) -> None:
        values = {
            "tenant_id": str(tenant_id),
            "assertion_hash": assertion_hash,
            "request_nonce": request_nonce,
            "expires_at": to_database(expires),
        }
        self._consuming = values
        if not self._can_wait():
            self._consume()

    def _can_wait(self) -> bool:
        """Whether using the assertion up can wait. On PostgreSQL for the next look-up, which does it along. On SQLite, which has one
        writer at a time, for the first write, so that nobody else waits while we read and plan (what was read is then held against what
        is there); but not in a transaction of the driver, because one that has read first cannot always write, and whoever has locked
        the tenant, which begins one, counts on the lock."""
        if self._dialect == "sqlite":
            return not getattr(self._connection.connection.driver_connection, "in_transaction", True)
        return self._dialect == "postgresql"

    def _consume(self) -> None:
        """Raises: Replayed."""
        values, self._consuming = self._consuming, {}
        if values:
            with _no_replay():
                self._connection.execute(self._statements.consume, values)
        unlocked, self._unlocked = self._unlocked, None
        if unlocked is not None and unlocked.version != self._data_version():
            found = self._find_user(unlocked.subject, tenant=unlocked.tenant)
            self.confirm_tenant(unlocked.tenant)
            if found != unlocked.found:
                raise LostRace("what was read has changed before the first write")

    def _data_version(self) -> int:
        """Differs from what it was on this connection wherever another one has written to the SQLite database meanwhile."""
        driver: Any = self._connection.connection.driver_connection
        try:
            return int(driver.execute(_DATA_VERSION).fetchone()[0])
        except self._connection.dialect.loaded_dbapi.Error as error:
            raise OperationalError(_DATA_VERSION, None, error) from error

    def confirm_unused(self) -> None:
        """That an assertion is no replay, before anything else is held against it. Raises: Replayed."""
        self._consume()

    def find_user(self, subject: Subject, *, tenant: Tenant) -> ExistingUser | None:
        if not self._consuming or self._dialect != "sqlite":
            return self._find_user(subject, tenant=tenant)
        version = self._data_version()
        found = self._find_user(subject, tenant=tenant)
        self._unlocked = _Unlocked(version, subject, tenant, found)
        return found

    def _find_user(self, subject: Subject, *, tenant: Tenant) -> ExistingUser | None:
        kind = tenant.mapping.policy.max_users is not None, _manages_roles(tenant)
        values = {"subject_key": subject.key, "tenant_id": str(subject.tenant_id)}
        if self._consuming and self._dialect == "postgresql":
            values |= _named("assertion", self._consuming)
            self._consuming = {}
            with _no_replay():
                rows = self._connection.execute(self._statements.consume_and_find[kind], values).all()
        else:
            rows = self._connection.execute(self._statements.find[kind], values).all()
        row = self._tenant_row = rows[0] if rows else None
        if row is None or row.identity_id is None:
            self._user_count = getattr(row, "user_count", None)
            return None
        if not is_of_subject(row, subject):
            return None
        user = self._session.get(self._users.model, row.user_id, populate_existing=True)
        if user is None:
            raise ProvisioningRefused(Reason.USER_GONE, "an identity points to a user that does not exist")
        granted = frozenset(row.granted_role for row in rows if row.granted_role) if _manages_roles(tenant) else frozenset()
        self._user, self._identity_id = user, row.identity_id
        return self._users.read(user, tenant=tenant, granted=granted)

    def confirm_tenant(self, tenant: Tenant) -> None:
        row = self._tenant_row
        if row is None:
            raise TenantChanged("gone")
        now = TenantVersion(row.revision, row.metadata_hash), frozenset(row.claims_seen)
        if now != (tenant.version, tenant.claims_seen | self._noted):
            raise TenantChanged(f"revision {row.revision}")

    def read_user(self, user_id: Any, *, tenant: Tenant) -> ExistingUser | None:
        user = self._session.get(self._users.model, user_id)
        return None if user is None else self._users.read(user, tenant=tenant, granted=self._find_granted(user_id, tenant))

    def find_holders(self, address: str, *, tenant: Tenant, subject: Subject) -> tuple[EmailHolder, ...]:
        self._consume()
        holders = find_holders(self._session, address, users=self._users, tenant=tenant, subject=subject)
        return tuple(
            replace(holder, user=replace(holder.user, granted=self._find_granted(holder.user.id, tenant))) for holder in holders
        )

    def count_users(self, tenant_id: UUID) -> int:
        if self._user_count is not None:  # `find_user` has counted along
            return self._user_count
        table = self._tables.identity
        query = sa.select(sa.func.count(table.c.user_id.distinct())).where(table.c.tenant_id == str(tenant_id))
        return int(self._session.execute(query, bind_arguments=self._bind).scalar_one())

    def note_sign_in(self, *, now: datetime) -> None:
        self._write("sign_in", {"identity_id": self._identity_id, "moment": to_database(now)})

    def create_user(
        self,
        values: Mapping[str, Any],
        *,
        tenant: Tenant,
        subject: Subject,
        now: datetime,
        is_active: bool,
        granted: tuple[str, ...],
    ) -> Any:
        self._consume()
        user_id, added = self._users.create(self._session, values, tenant=tenant, is_active=is_active, granted=granted)
        self._insert_identity(subject, user_id=user_id, now=now, signed_in_at=now if is_active else None)
        self._insert_grants(user_id, tenant_id=tenant.id, granted=granted, added=added, now=now)
        return user_id

    def link_user(self, user_id: Any, *, subject: Subject, now: datetime) -> None:
        self._insert_identity(subject, user_id=user_id, now=now, signed_in_at=now, found_by_email=user_id)

    def change_roles(
        self,
        user_id: Any,
        *,
        tenant_id: UUID,
        granted: tuple[str, ...],
        revoked: tuple[str, ...],
        known: frozenset[str],
        now: datetime,
    ) -> None:
        self._consume()
        table = self._tables.role_grant
        whose = (table.c.user_id == user_id, table.c.role.in_([*granted, *revoked]))
        ours = table.c.tenant_id == str(tenant_id)
        # another sign-in of this person may be about to write the same; SQLite, which has one writer at a time, needs no more. With
        # `key_share`, as other rows that refer to the user are written meanwhile (PostgreSQL): they would wait, and we for their identity
        key = self._tables.user_key
        self._connection.execute(sa.select(key).where(key == user_id).with_for_update(key_share=True))
        rows = self._connection.execute(sa.select(table).where(table.c.user_id == user_id).with_for_update()).all()
        if known != {row.role for row in rows if row.tenant_id == str(tenant_id)}:
            raise LostRace("roles granted meanwhile")
        elsewhere = {row.role for row in rows if row.tenant_id != str(tenant_id)}
        in_field = {row.role for row in rows if row.tenant_id == str(tenant_id) and row.in_field}
        put_in = in_field & set(revoked)
        added = self._users.change_roles(self._session, user_id, granted=granted, revoked=frozenset(put_in - elsewhere))
        added |= in_field & set(granted)  # by the sign-in that was faster
        self._session.execute(sa.delete(table).where(*whose, ours), bind_arguments=self._bind)
        if handed_on := put_in & elsewhere:  # what another tenant grants as well stays in the list, as that one's
            query = sa.update(table).where(table.c.user_id == user_id, table.c.role.in_(handed_on)).values(in_field=True)
            self._session.execute(query, bind_arguments=self._bind)
        self._insert_grants(user_id, tenant_id=tenant_id, granted=granted, added=added, now=now)

    def _insert_grants(
        self, user_id: Any, *, tenant_id: UUID, granted: tuple[str, ...], added: frozenset[str], now: datetime
    ) -> None:
        common = {"tenant_id": str(tenant_id), "user_id": user_id, "granted_at": to_database(now)}
        made = [{**common, "role": role, "in_field": role in added} for role in granted]
        if made:
            self._connection.execute(self._statements.add_grants, made)

    def _find_granted(self, user_id: Any, tenant: Tenant) -> frozenset[str]:
        if not _manages_roles(tenant):
            return frozenset()
        table = self._tables.role_grant
        query = sa.select(table.c.role).where(table.c.user_id == user_id, table.c.tenant_id == str(tenant.id))
        return frozenset(self._session.execute(query, bind_arguments=self._bind).scalars())

    def _insert_identity(
        self, subject: Subject, *, user_id: Any, now: datetime, signed_in_at: datetime | None, found_by_email: Any = None
    ) -> None:
        row = {
            "subject_key": subject.key,
            "tenant_id": str(subject.tenant_id),
            "issuer": subject.issuer,
            "source": subject.source,
            "subject": subject.value,
            "user_id": user_id,
            "created_at": to_database(now),
            "signed_in_at": to_database(signed_in_at) if signed_in_at else None,
            "found_by_email": found_by_email,
        }
        self._write("identity", row)

    def update_user(self, user_id: Any, values: Mapping[str, Any]) -> None:
        self._consume()
        self._users.update(self._session, user_id, values)

    def add_attempt(self, attempt: Attempt) -> None:
        self._write("attempt", attempt_row(attempt))

    def begin_session(self, session: IdpSession) -> None:
        self._write("session", session_row(session))

    def _write(self, name: str, row: dict[str, Any]) -> None:
        """Writes a row that nothing of this transaction reads again, at its end with the others."""
        self._waiting[name] = row

    def write_waiting(self) -> None:
        """Writes what has waited for the end of the transaction. Raises: Replayed."""
        self._consume()
        rows, self._waiting = self._waiting, {}
        query = self._statements.together.get(frozenset(rows))
        if query is not None and self._dialect == "postgresql":
            values: dict[str, Any] = {}
            for name, row in rows.items():
                values |= _named(name, row)
            self._connection.execute(query, values)
            return
        for name, row in rows.items():
            self._connection.execute(self._statements.alone[name], row)


@contextmanager
def _no_replay() -> Iterator[None]:
    """Around the statement that consumes an assertion, whose constraints are all that it can break. Raises: Replayed."""
    try:
        yield
    except IntegrityError:
        raise Replayed from None


def _named(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the parameters of a statement that has others too: see `statements.Statements`."""
    return {f"{name}.{column}": value for column, value in row.items()}


def _manages_roles(tenant: Tenant) -> bool:
    rules = tenant.mapping.roles
    return rules is not None and rules.sync_mode is not RoleSync.OFF


def is_of_subject(row: Any, subject: Subject) -> bool:
    """Whether the identity in a row that was found for a subject is that one's, byte for byte: MariaDB compares text loosely."""
    wanted = (subject.key, str(subject.tenant_id), subject.issuer, subject.source, subject.value)
    return bool((row.subject_key, row.tenant_id, row.issuer, row.source, row.subject) == wanted)
