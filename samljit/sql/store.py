"""The Store on SQLAlchemy: every transaction in a session of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.errors import ProvisioningRefused
from samljit.model import Attempt, ExistingUser, HandedOver, Subject, Tenant
from samljit.sql.attempts import attempt_row, read_attempt, read_handed_over
from samljit.sql.sessions import commit, is_alone, open_session, single_query, single_write, write_alone
from samljit.sql.statements import make_statements
from samljit.sql.tables import to_database
from samljit.sql.transaction import SqlTransaction, is_of_subject
from samljit.sql.users import HostUsers, column_attributes, unique_sets
from samljit.store import Transaction


class SqlStore:
    """The host's database. Every own statement names the host's mapper as bind, so that binds work."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._tables = users.tables
        self._bind = users.bind
        self._statements = make_statements(users)

    # --- provisioning: the Store protocol -----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._session() as session:
            transaction = SqlTransaction(session, users=self._users, statements=self._statements)
            try:
                yield transaction
            except ProvisioningRefused:
                transaction.confirm_unused()
                raise
            transaction.write_waiting()
            commit(session)

    @contextmanager
    def looking(self) -> Iterator[Transaction]:
        with self._session() as session:
            yield SqlTransaction(session, users=self._users, statements=self._statements)

    def add_attempt(self, attempt: Attempt) -> None:
        with single_write(self._factory, self._bind) as connection:
            connection.execute(self._statements.alone["attempt"], attempt_row(attempt))

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
            return SqlTransaction(session, users=self._users, statements=self._statements).read_user(user_id, tenant=tenant)

    def find_subject_user(self, subject: Subject) -> Any:
        table = self._tables.identity
        with self._session() as session:
            query = sa.select(table).where(table.c.subject_key == subject.key)
            row = session.execute(query, bind_arguments=self._bind).first()
        return row.user_id if row is not None and is_of_subject(row, subject) else None

    # --- the second hop -----------------------------------------------------------------------------------------------

    def find_attempt(self, reference: str) -> Attempt | None:
        """One row of the sign-in log; with old and new values of its field decisions only where they were kept."""
        with single_query(self._factory, self._bind) as connection:
            row = connection.execute(self._statements.find_attempt, {"wanted": reference}).first()
        return None if row is None else read_attempt(row)

    def find_handed_over(self, reference: str) -> HandedOver | None:
        """As much of such a row as the second step of a sign-in needs."""
        with single_query(self._factory, self._bind) as connection:
            row = connection.execute(self._statements.find_handed_over, {"wanted": reference}).first()
        return None if row is None else read_handed_over(row)

    def take_attempt(self, reference: str, *, tenant: Tenant, nonce: str, now: datetime) -> HandedOver | None:
        """Uses the hand-over of a sign-in, once, where all is as it should be: it is of this request, and the tenant has not changed since
        it was looked up. None where anything is not, which then is for the caller to find out; and on MariaDB and MySQL, whose UPDATE
        gives nothing back."""
        with open_session(self._factory) as session:
            if not session.get_bind(**self._bind).dialect.update_returning:
                return None
            values = {"wanted": reference, "moment": to_database(now), "tenant": str(tenant.id), "nonce": nonce}
            values |= {"revision": tenant.version.revision, "metadata_hash": tenant.version.metadata_hash}
            with write_alone(session, self._bind) as connection:
                take = self._statements.take_quickly if is_alone(connection) else self._statements.take
                row = connection.execute(take, values).first()
        return None if row is None else read_handed_over(row)

    def finish_attempt(self, reference: str, *, now: datetime) -> bool:
        """Uses a hand-over, once: whether this call was the one."""
        values = {"wanted": reference, "moment": to_database(now)}
        with single_write(self._factory, self._bind) as connection:
            return connection.execute(self._statements.finish, values).rowcount == 1

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

    def purge_assertions(self, *, now: datetime, batch: int = 1000, most: int = 10_000) -> int:
        """Forgets consumed assertions that could no longer be accepted anyway, in batches, and not all where there are very many.
        Gives how many."""
        table, done = self._tables.assertion, 0
        ids = sa.select(table.c.id).where(table.c.expires_at < to_database(now)).limit(batch)
        while done < most:
            with self._session() as session:
                found = list(session.execute(ids, bind_arguments=self._bind).scalars())
                if found:
                    session.execute(sa.delete(table).where(table.c.id.in_(found)), bind_arguments=self._bind)
                    session.commit()
            done += len(found)
            if len(found) < batch:
                break
        return done

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with open_session(self._factory) as session:
            yield session


def _unique_fields(users: HostUsers) -> Iterator[set[str]]:
    """The sets of fields whose values must be unique together, in every table that the class is made of."""
    for table in users.mapper.tables:
        in_table = (a for a in column_attributes(users.mapper) if table.c.contains_column(a.columns[0]))
        field_of = {attribute.columns[0].name: attribute.key for attribute in in_table}
        for names in unique_sets(table):
            if names <= set(field_of):
                yield {field_of[name] for name in names}
