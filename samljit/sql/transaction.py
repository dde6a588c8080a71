"""One sign-in's transaction, as `store.Transaction` has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from samljit.errors import ProvisioningRefused, Reason
from samljit.model import Attempt, EmailHolder, ExistingUser, IdpSession, RoleSync, Subject, Tenant
from samljit.sql.attempts import insert_attempt
from samljit.sql.holders import find_holders
from samljit.sql.idp_sessions import insert_session
from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers
from samljit.store import Replayed


class SqlTransaction:
    """The statements of a sign-in, in the session that is given; whoever gave it commits."""

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
        identity = find_identity(self._session, subject, self._users)
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
        self._session.execute(insert_attempt(self._tables.attempt, attempt), bind_arguments=self._bind)

    def begin_session(self, session: IdpSession) -> None:
        self._session.execute(insert_session(self._tables.session, session), bind_arguments=self._bind)


def find_identity(session: Session, subject: Subject, users: HostUsers) -> Any:
    """The identity row of a subject. What the query found is compared again byte for byte: MariaDB compares text loosely."""
    table = users.tables.identity
    query = sa.select(table).where(table.c.subject_key == subject.key)
    row = session.execute(query, bind_arguments=users.bind).first()
    if row is None:
        return None
    wanted = (subject.key, str(subject.tenant_id), subject.issuer, subject.source, subject.value)
    return row if (row.subject_key, row.tenant_id, row.issuer, row.source, row.subject) == wanted else None
