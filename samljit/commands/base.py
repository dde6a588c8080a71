"""What all commands share: the app's parts, options, output, and exit codes (0 good, 1 the thing checked is bad, 2 wrong usage)."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, NoReturn
from uuid import UUID

import click
from flask.cli import with_appcontext

from samljit.errors import ProvisioningRefused
from samljit.model import Tenant
from samljit.sql.audit import Author
from samljit.sql.identities import SqlIdentities
from samljit.sql.log import SqlLog
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import printable
from samljit.views.mounted import Mounted, mounted, utc_now

_MOST_NAMED = 20
_LONGEST_SHOWN = 10_000


def in_app(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that runs in the app, and says in one sentence what a database cannot do."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Unavailable as error:
            fail(f"The database cannot be used ({error}). Is it up, and are samljit's tables made? See: flask samljit check")
        except WriteConflict as error:
            fail(f"The database refused it ({error}); nothing was changed. Where somebody else wrote at the same time, try again.")
        except ProvisioningRefused as error:
            fail(f"The app refused: {error.detail}")

    return with_appcontext(run)


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1: what was asked about is bad."""
    raise click.ClickException(message)


# --- options ----------------------------------------------------------------------------------------------------------


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def tenant_option(*, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--tenant", "slug", required=required, metavar="SLUG", help="The tenant's key in the settings.")


def by_option(function: Callable[..., Any]) -> Callable[..., Any]:
    text = "Who makes this change, for the record. Default: the user of this machine."
    return click.option("--by", metavar="WHO", help=text)(function)


_SPANS = {"m": "minutes", "h": "hours", "d": "days"}


def since_option(function: Callable[..., Any]) -> Callable[..., Any]:
    text = "Only since then: 2026-11-22, 2026-11-22T09:00 (UTC), or so long ago: 90m, 12h, 7d."
    return click.option("--since", metavar="WHEN", help=text, callback=lambda _, __, value: _read_since(value))(function)


def _read_since(text: str | None) -> datetime | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,6}[mhd]", text):
        with suppress(OverflowError):
            return utc_now() - timedelta(**{_SPANS[text[-1]]: int(text[:-1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("Write a day (2026-11-22), a moment (2026-11-22T09:00) or a span (90m, 12h, 7d).") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- the app's parts --------------------------------------------------------------------------------------------------


def the_log(mount: Mounted) -> SqlLog:
    return SqlLog(factory=mount.factory, users=mount.users)


def the_identities(mount: Mounted) -> SqlIdentities:
    return SqlIdentities(factory=mount.factory, users=mount.users)


def get_tenant(slug: str) -> Tenant:
    """The tenant as it is now; without a permanent id where it has never been used: nothing is written. Raises: click.BadParameter."""
    tenant = mounted().directory.look_up(slug, now=utc_now())
    if tenant is None:
        known = ", ".join(_some_slugs()) or "none"
        raise click.BadParameter(f"There is no tenant {slug!r} that can be used. There are: {known}.", param_hint="tenant")
    return tenant


def _some_slugs() -> list[str]:
    directory = mounted().directory
    slugs = sorted({*directory.of_settings, *directory.rows.find_slugs(most=_MOST_NAMED)})
    return [*slugs[:_MOST_NAMED], *(["..."] if len(slugs) >= _MOST_NAMED else [])]


def find_tenant_id(slug: str | None) -> UUID | None:
    """The permanent id of the tenant that an option names, also of one that left the settings. Raises: click.BadParameter."""
    if slug is None:
        return None
    found = tenant_ids().get(slug)
    return found if found is not None else get_tenant(slug).id


def tenant_ids() -> dict[str, UUID]:
    """The permanent ids of all tenants that have ever been used, by slug."""
    return {row.slug: row.id for row in mounted().directory.rows.all_rows()}


def slugs() -> dict[UUID, str]:
    return {tenant_id: slug for slug, tenant_id in tenant_ids().items()}


def read_user_id(text: str | None) -> Any:
    """A user's key, as typed, in the type of the host's key column. Raises: click.BadParameter."""
    if text is None:
        return None
    kind = mounted().users.tables.user_key.type.python_type
    try:
        return UUID(text) if kind is UUID else kind(text)
    except (TypeError, ValueError):
        raise click.BadParameter(f"{text!r} cannot be a user's key.", param_hint="user") from None


def author(by: str | None) -> Author:
    """Who makes a change: who says so, else the user of the operating system."""
    name = by
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError, ImportError):  # a container may run under a number that has no name
            name = "unknown"
    return Author(printable(name, longest=255), utc_now())


# --- output -----------------------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def printable_json(value: Any) -> str:
    """A value on one line, for a table."""
    return "-" if value is None else json.dumps(value, default=_plain, ensure_ascii=False)


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns side by side; control characters escaped, as some of this was typed by strangers."""
    lines = [list(head), *([printable(shown(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def shown(value: Any) -> str:
    """One value as people read it: times in UTC, a dash for nothing, and what could pass for output of ours, or change it, escaped."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else printable(str(value), longest=_LONGEST_SHOWN)
