"""Checks of the database: tables, the trigger that SQLite needs, identities without a user, unique e-mail."""

from __future__ import annotations

from collections.abc import Iterator

from samljit.commands.base import the_identities
from samljit.commands.findings import Finding, ok, problem, warning
from samljit.sql.health import SetUp, find_gaps, read_set_up
from samljit.sql.users import unique_sets
from samljit.store import Unavailable
from samljit.views.mounted import Mounted

_SHOWN = 10
_SHORTEST_BUSY = 1000  # milliseconds


def check_database(mount: Mounted) -> Iterator[Finding]:
    try:
        gaps = find_gaps(mount.factory, mount.users)
    except Unavailable as error:
        yield problem("database", "unavailable", f"The database cannot be used ({error}).", "Start it, and check the app's database URL.")
        return
    if gaps.tables:
        what = f"There is no {', '.join(gaps.tables)}."
        yield problem("database", "tables_missing", what, "Call metadata.create_all(engine), or have Alembic autogenerate a migration.")
        return
    if gaps.columns:
        what = f"There is no {', '.join(gaps.columns)}."
        yield problem("database", "columns_missing", what, "Have Alembic autogenerate a migration, and run it.")
        return
    yield ok("database", "tables", "samljit's tables are there.")
    if gaps.trigger:
        what = "SQLite has lost the trigger samljit_user_deleted: a deleted user's identity would stay behind."
        yield problem("database", "trigger_missing", what, f"Alembic makes tables without it. Run: {' '.join(gaps.trigger.split())}")
    yield from _set_up(read_set_up(mount.factory, mount.users))
    yield _orphans(mount)


def _set_up(found: SetUp) -> Iterator[Finding]:
    """The engine is the host's: what is said here is for the host to change."""
    if not found.has_transactions:
        what = "The engine commits every statement by itself: a sign-in that breaks off would leave half a user."
        yield problem("database", "autocommit", what, 'Leave isolation_level="AUTOCOMMIT" out.')
    if found.unsafe_tables:
        what = f"Without transactions: {', '.join(found.unsafe_tables)}. A sign-in that breaks off would leave half a user."
        yield problem("database", "no_transactions", what, "For each: ALTER TABLE ... ENGINE = InnoDB")
    if found.journal not in (None, "wal", "memory"):
        what = "SQLite keeps no write-ahead log: whoever reads and whoever writes wait for each other."
        yield warning("database", "sqlite_journal", what, "Run once: PRAGMA journal_mode = WAL")
    if found.busy is not None and found.busy < _SHORTEST_BUSY:
        what = f"SQLite waits {found.busy} ms for another writer: a sign-in beside it would be refused."
        yield warning("database", "sqlite_busy", what, 'Give create_engine connect_args={"timeout": 5}, or more.')


def _orphans(mount: Mounted) -> Finding:
    found = the_identities(mount).find_orphans()
    if not found:
        return ok("database", "orphans", "Every identity has its user.")
    numbers = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
    what = f"{len(found)} identities point to users that are gone: {numbers}."
    return problem("database", "orphans", what, "For each: flask samljit identity unlink IDENTITY")


def check_email(mount: Mounted) -> Iterator[Finding]:
    """Where addresses need not be unique in one tenant. Where they are unique over all, the settings' own checks say so."""
    email, users = mount.users.email_field, mount.users
    if email is None:
        return
    [column] = users.mapper.get_property(email).columns[:1]
    is_unique = any(column.name in names for names in unique_sets(column.table))
    if not is_unique and users.tenant_fields is not None:
        what = f"Two users of one tenant may have the same {email}."
        yield warning("database", "email_not_unique", what, "Best is a unique constraint over the tenant's column and the e-mail.")
    else:
        yield ok("database", "email", f"{email} is " + ("unique." if is_unique else "not unique, which is right if that is what you want."))
