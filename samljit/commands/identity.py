"""Who is which user: looked over, tied and untied by hand. Users themselves are never touched."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import click

from samljit.commands.base import (
    author,
    by_option,
    fail,
    find_tenant_id,
    get_tenant,
    in_app,
    json_option,
    print_json,
    print_table,
    read_user_id,
    shown,
    slugs,
    tenant_option,
    the_identities,
)
from samljit.errors import ProvisioningRefused, SignInRefused
from samljit.mapping.aliases import short_name
from samljit.mapping.problems import shorten
from samljit.model import Subject, Tenant
from samljit.provision.subject import make_subject
from samljit.sql.identities import Identity, Link, LinksRefused
from samljit.views.mounted import mounted, utc_now

_COLUMNS = {"tenant", "subject", "user", "email"}


@click.group()
def identity() -> None:
    """Who is which user: list, show, link, unlink, import."""


@identity.command("list")
@tenant_option()
@click.option("--user", metavar="ID", help="Only identities of this user.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, metavar="N", help="At most so many.")
@json_option
@in_app
def list_(*, slug: str | None, user: str | None, limit: int, as_json: bool) -> None:
    """List identities, the oldest first."""
    found = the_identities(mounted()).search(tenant_id=find_tenant_id(slug), user_id=read_user_id(user), limit=limit)
    names = slugs()
    if as_json:
        print_json([identity_json(one, names) for one in found])
        return
    head = ("identity", "tenant", "user", "known by", "subject", "made at (UTC)", "last sign-in (UTC)")
    rows = [(o.id, names.get(o.tenant_id), o.user_id, short_name(o.source), o.subject, o.created_at, o.signed_in_at) for o in found]
    print_table(head, rows)


@identity.command()
@click.argument("number", metavar="IDENTITY", type=int)
@json_option
@in_app
def show(*, number: int, as_json: bool) -> None:
    """Show one identity, by its number."""
    found = the_identities(mounted()).find(number)
    if found is None:
        fail(f"There is no identity {number}.")
    values = identity_json(found, slugs())
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<14}{shown(value)}")


@identity.command()
@tenant_option(required=True)
@click.option("--user", required=True, metavar="ID", help="The user's key.")
@click.option("--subject", required=True, metavar="VALUE", help="What identity.source holds for this person: the object ID in Entra.")
@by_option
@json_option
@in_app
def link(*, slug: str, user: str, subject: str, by: str | None, as_json: bool) -> None:
    """Tie a person in Entra to a user who is here already.

    For people who were here before single sign-on, and for one who was deleted and made anew in Entra. The user may have other
    identities; they stay.
    """
    try:
        tenant = _stored_tenant(slug)
        wanted = Link(_subject(subject, tenant), tenant, user_id=read_user_id(user))
        [is_new] = the_identities(mounted()).link([wanted], author=author(by))
    except (LinksRefused, _BadRow) as refused:
        fail(f"Not linked: {refused}.")
    if as_json:
        print_json({"user": user, "tenant": slug, "is_new": is_new})
    else:
        click.echo(f"User {user} is now signed in for this subject." if is_new else "This subject is that user already: nothing to do.")


@identity.command()
@click.argument("number", metavar="IDENTITY", type=int)
@by_option
@json_option
@in_app
def unlink(*, number: int, by: str | None, as_json: bool) -> None:
    """Untie an identity. The user stays; who signs in with this subject next is a newcomer."""
    untied = the_identities(mounted()).unlink(number, author=author(by))
    if untied is None:
        fail(f"There is no identity {number}.")
    if as_json:
        print_json(identity_json(untied, slugs()))
    else:
        click.echo(f"Untied identity {number} from user {untied.user_id}. The user stays as it is.")


@identity.command("import")
@click.argument("file", metavar="CSV", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@by_option
@json_option
@in_app
def import_(*, file: Path, by: str | None, as_json: bool) -> None:
    """Tie many people to users who are here already, all of them or none.

    CSV in UTF-8 has a first line with the names of its columns: tenant, subject, and user (the key) or email.
    """
    rows = _read_rows(file)
    faults: dict[int, str] = {}
    links: dict[int, Link] = {}
    with click.progressbar(_parse_rows(rows, faults), length=len(rows), label="reading", file=sys.stderr) as parsed:
        links.update(parsed)
    news: list[bool] = []
    lines = list(links)
    try:
        with click.progressbar(list(links.values()), label="looking up", file=sys.stderr) as wanted:
            news = the_identities(mounted()).link(wanted, author=author(by), others_failed=bool(faults))
    except LinksRefused as refused:
        faults |= {lines[number]: fault for number, fault in refused.faults.items()}
    if faults:
        _tell_faults(faults, as_json=as_json)
    if as_json:
        print_json({"linked": sum(news), "already": len(news) - sum(news), "faults": []})
    else:
        click.echo(f"Linked {sum(news)} of {len(news)}; {len(news) - sum(news)} were linked already.")


def _tell_faults(faults: Mapping[int, str], *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"linked": 0, "already": 0, "faults": [{"line": line, "fault": faults[line]} for line in sorted(faults)]})
    else:
        for line in sorted(faults):
            click.echo(f"line {line}: {faults[line]}")
    fail(f"{len(faults)} bad line(s); nothing was linked.")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    values: Mapping[str | None, Any]


class _BadRow(Exception):
    """What is wrong with a link, as the rest of a sentence."""


def _read_rows(file: Path) -> list[_Row]:
    """The rows with the number of the line they end on. Raises: click.BadParameter for what is no CSV of ours."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, strict=True)
            rows = [_Row(reader.line_num, values) for values in reader]
            names = list(reader.fieldnames or ())
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is not UTF-8. Save it as CSV UTF-8.", param_hint="CSV") from None
    except csv.Error as error:
        raise click.BadParameter(f"{file} is not CSV ({error}).", param_hint="CSV") from None
    _check_columns(names)
    if "email" in names and mounted().users.email_field is None:
        raise click.BadParameter("SamlJit was not told the email_field; name users by their key.", param_hint="CSV")
    return rows


def _check_columns(names: list[str]) -> None:
    """Raises: click.BadParameter."""
    given = set(names)
    if {"tenant", "subject"} <= given <= _COLUMNS and given & {"user", "email"} and len(given) == len(names):
        return
    told = "The first line must name the columns tenant, subject, and user or email, each once, in small letters, and no others."
    found = f"It is: {shorten(','.join(names))}" if names else "The file is empty."
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        found += " - they must be separated by commas."
    raise click.BadParameter(f"{told} {found}", param_hint="CSV")


def _parse_rows(rows: list[_Row], faults: dict[int, str]) -> Iterator[tuple[int, Link]]:
    """The links by line; what is wrong with others goes to `faults`."""
    tenants: dict[str, Tenant] = {}
    seen: dict[str, int] = {}
    for row in rows:
        try:
            link = _parse_row(row, tenants)
            if link.subject.key in seen:
                raise _BadRow(f"the same subject as in line {seen[link.subject.key]}")
            seen[link.subject.key] = row.line
        except (_BadRow, click.BadParameter) as fault:
            faults[row.line] = str(fault).rstrip(".")
        else:
            yield row.line, link


def _parse_row(row: _Row, tenants: dict[str, Tenant]) -> Link:
    if None in row.values or None in row.values.values():
        raise _BadRow("more or fewer values than columns")
    slug, subject = row.values["tenant"].strip(), row.values["subject"]
    user, email = row.values.get("user", "").strip(), row.values.get("email", "").strip()
    if bool(user) is bool(email):
        raise _BadRow("needs either user or email")
    if slug not in tenants:
        tenants[slug] = _stored_tenant(slug)
    tenant = tenants[slug]
    return Link(_subject(subject, tenant), tenant, user_id=read_user_id(user) if user else None, email=email or None)


def _stored_tenant(slug: str) -> Tenant:
    """The tenant with its permanent id, given one now if it has never been used. Raises: click.BadParameter; _BadRow."""
    tenant = get_tenant(slug)
    if tenant.idp is None:
        raise _BadRow(f"tenant {slug} has no idp in the settings yet, and subjects belong to one")
    try:
        return mounted().directory.get(slug, now=utc_now())
    except SignInRefused as refused:
        raise _BadRow(str(refused)) from None


def _subject(text: str, tenant: Tenant) -> Subject:
    if not text.strip():
        raise _BadRow("the subject is blank")
    try:
        return make_subject(text, issuer=tenant.idp.entity_id if tenant.idp else "", tenant=tenant)
    except ProvisioningRefused as refused:
        raise _BadRow(refused.detail) from None


def identity_json(one: Identity, names: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "identity": one.id,
        "tenant": names.get(one.tenant_id),
        "user": one.user_id,
        "source": one.source,
        "subject": one.subject,
        "subject_key": one.subject_key,
        "issuer": one.issuer,
        "created_at": one.created_at,
        "signed_in_at": one.signed_in_at,
    }
