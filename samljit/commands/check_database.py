"""Checks of the database: tables, the trigger that SQLite needs, identities without a user, unique e-mail."""

from __future__ import annotations

from collections.abc import Iterator

from samljit.commands.base import the_identities
from samljit.commands.findings import Finding, ok, problem, warning
from samljit.sql.health import find_gaps
from samljit.sql.users import unique_sets
from samljit.store import Unavailable
from samljit.views.mounted import Mounted

_SHOWN = 10


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
    yield _orphans(mount)


def _orphans(mount: Mounted) -> Finding:
    found = the_identities(mount).find_orphans()
    if not found:
        return ok("database", "orphans", "Every identity has its user.")
    numbers = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
    what = f"{len(found)} identities point to users that are gone: {numbers}."
    return problem("database", "orphans", what, "For each: flask samljit identity unlink IDENTITY")


def check_email(mount: Mounted) -> Iterator[Finding]:
    """Where addresses may not be unique over all tenants, or need not be unique in one."""
    email, users = mount.users.email_field, mount.users
    if email is None:
        return
    [column] = users.mapper.get_property(email).columns[:1]
    sets = [names for names in unique_sets(column.table) if column.name in names]
    advice = "Best is a unique constraint over the tenant's column and the e-mail."
    if {column.name} in sets and len(mount.tenants) > 1:
        what = f"{email} is unique over all tenants: an address that one of them has used is lost to the others."
        yield warning("database", "email_unique_over_tenants", what, advice)
    elif not sets and users.tenant_fields is not None:
        yield warning("database", "email_not_unique", f"Two users of one tenant may have the same {email}.", advice)
    else:
        yield ok("database", "email", f"{email} is " + ("unique." if sets else "not unique, which is right if that is what you want."))
