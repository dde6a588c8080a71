"""Whether the database holds what samljit needs, just as it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.sql.sessions import open_session
from samljit.sql.tables import TRIGGER, trigger_sql
from samljit.sql.users import HostUsers


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the database lacks: names of tables, of `table.column`, and the trigger that SQLite needs, as the statement that makes it."""

    tables: tuple[str, ...]
    columns: tuple[str, ...]
    trigger: str | None


def find_gaps(factory: Callable[[], Session], users: HostUsers) -> Gaps:
    """Holds the database against samljit's tables. Raises: store.Unavailable."""
    made = users.tables
    with open_session(factory) as session:
        connection = session.connection(bind_arguments=users.bind)
        inspector = sa.inspect(connection)
        tables = [table for table in made.user.metadata.tables.values() if table.name.startswith("samljit_")]
        there = [table for table in tables if inspector.has_table(table.name, schema=table.schema)]
        columns = []
        for table in there:
            found = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
            columns += [f"{table.name}.{column.name}" for column in table.columns if column.name not in found]
        needs_trigger = connection.dialect.name == "sqlite" and made.identity in there and not _has_trigger(connection)
        trigger = trigger_sql(made, connection.dialect) if needs_trigger else None
    absent = tuple(table.name for table in tables if table not in there)
    return Gaps(absent, tuple(columns), trigger)


def _has_trigger(connection: sa.Connection) -> bool:
    query = sa.text("SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = :name")
    return connection.execute(query, {"name": TRIGGER}).first() is not None


@dataclass(frozen=True, slots=True)
class SetUp:
    """How engine and database are set up, as far as sign-ins depend on it; None and nothing where a database knows no such thing.

    `has_transactions` is false where each statement is committed by itself. `busy` is how many milliseconds SQLite waits for another
    writer. `unsafe_tables` are those of a storage engine of MariaDB without transactions.
    """

    has_transactions: bool
    journal: str | None = None
    busy: int | None = None
    unsafe_tables: tuple[str, ...] = ()


def read_set_up(factory: Callable[[], Session], users: HostUsers) -> SetUp:
    """Looks, and changes nothing. Raises: store.Unavailable."""
    made = users.tables
    with open_session(factory) as session:
        connection = session.connection(bind_arguments=users.bind)
        if connection.dialect.name == "sqlite":
            # SQLAlchemy cannot tell: the driver may leave transactions to events of the host's, as its documentation advises
            state = made.tenant_state
            connection.execute(sa.update(state).where(sa.false()).values(slug=state.c.slug))
            has_transactions = bool(getattr(connection.connection.dbapi_connection, "in_transaction", True))
            journal, busy = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "busy_timeout"))
            return SetUp(has_transactions, journal=str(journal), busy=int(busy))
        has_transactions = connection.get_isolation_level() != "AUTOCOMMIT"
        if connection.dialect.name not in ("mysql", "mariadb"):
            return SetUp(has_transactions)
        query = sa.text("SELECT table_name, engine FROM information_schema.tables WHERE table_schema = database()")
        engines = {str(row[0]): str(row[1]).lower() for row in connection.execute(query)}
        ours = (table.name for table in made.user.metadata.tables.values() if table.name.startswith("samljit_"))
        unsafe = tuple(name for name in (made.user.name, *sorted(ours)) if engines.get(name, "innodb") != "innodb")
        return SetUp(has_transactions, unsafe_tables=unsafe)
