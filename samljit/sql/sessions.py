"""Sessions of our own from the host's factory, and the database's errors in the Store's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, scoped_session

from samljit.errors import ConfigError, Problem
from samljit.store import HostRefused, LockTimeout, LostRace, Unavailable, WriteConflict


def session_factory(session: Any) -> Callable[[], Session]:
    """The factory behind what the host gave: a sessionmaker, a scoped_session or Flask-SQLAlchemy's `db.session`.

    Raises: ConfigError for an async session, anything that makes no Session, and one of two-phase transactions.
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
    if getattr(factory, "kw", {}).get("twophase"):
        message = "Sessions with twophase=True do not work: give samljit a sessionmaker of its own, on the same engine."
        raise ConfigError([Problem("session", "twophase_session", message)])
    return factory


def commit(session: Session) -> None:
    """Commits. Raises: HostRefused where a before_commit event of the host does; what the database says."""
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
def single_query(factory: Callable[[], Session], bind: Mapping[str, Any]) -> Iterator[Connection]:
    """A connection for one look-up that is a transaction by itself."""
    with open_session(factory) as session:
        yield _connect_alone(session, bind)


@contextmanager
def single_write(factory: Callable[[], Session], bind: Mapping[str, Any]) -> Iterator[Connection]:
    """A connection for one write that is a transaction by itself, and is committed when this is left without an exception."""
    with open_session(factory) as session, write_alone(session, bind) as connection:
        yield connection


@contextmanager
def write_alone(session: Session, bind: Mapping[str, Any]) -> Iterator[Connection]:
    """The same in a session that is there."""
    connection = _connect_alone(session, bind)
    yield connection
    if not is_alone(connection):
        session.commit()


_ALONE = "AUTOCOMMIT"


def is_alone(connection: Connection) -> bool:
    """Whether each statement on this connection is a transaction by itself."""
    return connection.get_execution_options().get("isolation_level") == _ALONE


def _connect_alone(session: Session, bind: Mapping[str, Any]) -> Connection:
    """On PostgreSQL without BEGIN, COMMIT and ROLLBACK around a statement, each of which is a message there and back.

    The drivers of other databases would send a message to switch that off. Where a session is bound to a connection, its transaction is
    the host's, as in tests, and stays as it is.
    """
    engine = session.get_bind(**bind)
    alone = isinstance(engine, Engine) and engine.dialect.name == "postgresql"
    return session.connection(bind_arguments=dict(bind), execution_options={"isolation_level": _ALONE} if alone else {})


@contextmanager
def in_store_words() -> Iterator[None]:
    """Only the class and the code of an error are kept: a driver's message quotes the row that it refused.

    Raises: WriteConflict, Unavailable.
    """
    try:
        yield
    except IntegrityError as error:
        raise WriteConflict(_name(error)) from None
    except (OperationalError, InterfaceError, ProgrammingError, PoolTimeout) as error:
        if isinstance(error, OperationalError) and (about := _about_the_write(error)):
            raise about(_name(error)) from None
        raise Unavailable(_name(error)) from None  # ProgrammingError: the tables have not been made
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(_name(error)) from None
        raise WriteConflict(_name(error)) from None
    except StatementError as error:
        raise WriteConflict(type(error).__name__) from None


def _name(error: Exception) -> str:
    """An error's class and code, as `OperationalError SQLITE_FULL`, `DiskFull 53100` or `OperationalError 2013`."""
    driver = getattr(error, "orig", None) or error
    code = getattr(driver, "sqlite_errorname", None) or getattr(driver, "sqlstate", None)
    code = code or next((argument for argument in driver.args[:1] if isinstance(argument, int)), None)
    return f"{type(driver).__name__} {code}" if code else type(driver).__name__


# PostgreSQL: serialization failure, deadlock. MariaDB and MySQL: deadlock, record changed meanwhile
_LOST_RACES = frozenset({"40001", "40P01", 1213, 1020})
_LOCK_TIMEOUTS = frozenset({"55P03", 1205})
_REFUSED_WRITES = frozenset({1364, 1644})


def _about_the_write(error: OperationalError) -> type[WriteConflict] | None:
    """What an OperationalError says of this write; None where it tells of the database's health.

    PostgreSQL so reports a lost race; MariaDB and MySQL nearly everything the server can say, numbered from 1000: lost races,
    a missing default (1364), a trigger's SIGNAL (1644).
    """
    codes = {getattr(error.orig, "sqlstate", None), *(error.orig.args[:1] if error.orig is not None else ())}
    known = ((_LOST_RACES, LostRace), (_LOCK_TIMEOUTS, LockTimeout), (_REFUSED_WRITES, WriteConflict))
    return next((kind for numbers, kind in known if codes & numbers), None)
