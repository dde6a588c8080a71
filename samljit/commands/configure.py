"""Tenants that live in the database: added, changed, switched on and off, taken out and put in. Every change is audited, none half done."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from samljit.commands.base import (
    author,
    by_option,
    fail,
    find_tenant_id,
    in_app,
    json_option,
    print_json,
    print_table,
    printable_json,
)
from samljit.commands.files import read_bytes, read_object
from samljit.commands.tenant import rekey_identities
from samljit.errors import Problem
from samljit.settings.checks import check_slug
from samljit.settings.source import read_document
from samljit.settings.stored import as_stored, normal_document
from samljit.sql.audit import AuditAction
from samljit.sql.stored import DomainTaken, SlugTaken, StaleEdit, StoredTenant, Written, patched
from samljit.views.mounted import mounted, utc_now

_Result = TypeVar("_Result")

_LARGEST = 64 * 1024 * 1024  # bytes of a file to import
_MOST_CHANGES = 50

_OPTIONS = (
    click.option("--name", metavar="TEXT", help="What people call this customer."),
    click.option("--entra-tenant-id", metavar="GUID", help="The directory (tenant) ID in Entra."),
    click.option("--domain", "domains", multiple=True, metavar="D", help="A domain that the tenant proved to you. All of them, each time."),
    click.option("--metadata-url", metavar="URL", help='Entra\'s "App Federation Metadata Url".'),
    click.option(
        "--metadata-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help='Entra\'s "Federation Metadata XML", kept.'
    ),
    click.option("--mapping", "mapping_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A mapping document."),
    click.option("--set", "keys", multiple=True, metavar="KEY=VALUE", help="Any other key of a tenant; the value is JSON, or text."),
)


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command()
@click.argument("slug")
@_with_options
@by_option
@in_app
def add(*, slug: str, by: str | None, **given: Any) -> None:
    """Add a tenant. Its slug stands in its addresses, and is never used again.

    Without metadata it serves ours already, for its admin to give to Entra; sign-in says that it is not connected.
    """
    _check_new_slug(slug)
    document = normal_document(_patch(**given))
    _check(slug, document)
    _write(lambda: mounted().directory.rows.add(slug, document, author=author(by)))
    click.echo(f"Added {slug}. What its admin needs: flask samljit tenant show {slug}")


@click.command("set")
@click.argument("slug")
@_with_options
@click.option("--unset", multiple=True, metavar="KEY", help="A key to take out.")
@click.option("--entity-id", metavar="X", help="With --rekey: the IdP's new entity ID, as the tenant has it by now.")
@click.option("--rekey", is_flag=True, help="File the tenant's identities under --entity-id, so that everybody stays who they are.")
@by_option
@json_option
@in_app
def set_(
    *, slug: str, unset: Sequence[str], entity_id: str | None, rekey: bool, by: str | None, as_json: bool, **given: Any
) -> None:
    """Change a tenant that lives in the database, or, with --rekey, keep everybody's identity when its IdP's entity ID has changed.

    Changes are in effect at every worker's next request. The entity ID changes where "Append application ID to issuer" is switched on in
    Entra, within one Entra tenant: first have the tenant name the new one (in the settings file, or here), then run this with --rekey.
    """
    patch = {**_patch(**given), **dict.fromkeys(unset)}
    if rekey:
        if patch or not entity_id:
            raise click.UsageError("--rekey goes with --entity-id alone.")
        rekey_identities(slug, entity_id=entity_id, by=by, as_json=as_json)
        return
    if entity_id or not patch:
        raise click.UsageError("Say what to set. --entity-id goes with --rekey; our own Identifier is --set entity_id=...")
    stored = _change(slug, patch, by=by, action=AuditAction.TENANT_CHANGED)
    if as_json:
        print_json({"tenant": slug, "revision": stored.revision, "changed": sorted(patch)})
    else:
        click.echo(f"Set {', '.join(sorted(patch))} of {slug}.")


@click.command()
@click.argument("slug")
@by_option
@in_app
def enable(*, slug: str, by: str | None) -> None:
    """Let a tenant's people sign in again, unless its own rules say that sign-in is off."""
    stored = _change(slug, {"enabled": None}, by=by, action=AuditAction.TENANT_ENABLED)
    click.echo(f"{slug} is enabled.")
    if stored.live.get("offer_sso") is False:
        click.echo(f"Its own sign-in rules are off. To switch them on for its admins: flask samljit tenant set {slug} --set offer_sso=true")


@click.command()
@click.argument("slug")
@by_option
@in_app
def disable(*, slug: str, by: str | None) -> None:
    """Refuse every sign-in of a tenant, whatever its admins do. Its users, identities and roles stay; who is signed in stays so."""
    # unchecked: one whose document fits no longer, perhaps because of what it holds, must be switched off too, and is no worse for that
    _change(slug, {"enabled": False}, by=by, action=AuditAction.TENANT_DISABLED, is_checked=False)
    click.echo(f"{slug} is disabled.")


@click.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG ...]")
@in_app
def export(*, slugs: Sequence[str]) -> None:
    """Print tenants as JSON that `import` reads, files of the settings included. Without a slug, all that live in the database."""
    documents = {slug: _export(slug) for slug in slugs}
    if not slugs:
        documents = {stored.slug: dict(stored.live) for stored in mounted().directory.rows.all_stored()}
    print_json({"tenants": documents})


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--replace", "replaces", is_flag=True, help="Also put documents in the place of tenants that live in the database already.")
@click.option("--adopt", "adopts", is_flag=True, help="Also take over tenants that were in the settings file; people stay who they are.")
@click.option("--dry-run", is_flag=True, help="Only check.")
@by_option
@json_option
@in_app
def import_(*, file: Any, replaces: bool, adopts: bool, dry_run: bool, by: str | None, as_json: bool) -> None:
    """Add the tenants that `export` printed: all of them or none."""
    documents = _read_export(file)
    for slug, document in documents.items():
        _check_new_slug(slug, may_exist=replaces)
        _check(slug, document, together=documents)
    written: list[Written] = []
    if not dry_run:
        rows = mounted().directory.rows
        written = _write(lambda: rows.write_all(documents, author=author(by), adopts=adopts, replaces=replaces))
    if as_json:
        print_json({"tenants": sorted(documents), "written": {one.slug: one.what for one in written}})
    else:
        told = [f"{one.slug}: {one.what}" for one in written] or [f"{len(documents)} tenant(s) could be imported; nothing was written."]
        click.echo("\n".join(told))


@click.command()
@click.argument("slug")
@click.option("--limit", type=click.IntRange(1, 1000), default=_MOST_CHANGES, show_default=True, help="How many changes at most.")
@json_option
@in_app
def history(*, slug: str, limit: int, as_json: bool) -> None:
    """Show who changed what of a tenant, the newest change first. Certificates and metadata stand there as fingerprints."""
    tenant_id = find_tenant_id(slug)
    records = mounted().directory.rows.read_history(tenant_id, limit=limit) if tenant_id else []
    if as_json:
        print_json([{"at": r.at, "by": r.changed_by, "action": r.action, "before": r.before, "after": r.after} for r in records])
        return
    head = ("at (UTC)", "by", "what", "before", "after")
    print_table(head, [(r.at, r.changed_by, r.action, printable_json(r.before), printable_json(r.after)) for r in records])


COMMANDS = (add, set_, enable, disable, export, import_, history)


# --- reading what was given -------------------------------------------------------------------------------------------


def _patch(
    *,
    name: str | None,
    entra_tenant_id: str | None,
    domains: Sequence[str],
    metadata_url: str | None,
    metadata_file: Path | None,
    mapping_file: Path | None,
    keys: Sequence[str],
) -> dict[str, Any]:
    """The top-level keys that the options give. Raises: click.UsageError."""
    if metadata_url and metadata_file:
        raise click.UsageError("Give --metadata-url or --metadata-file, not both.")
    patch: dict[str, Any] = {"name": name, "entra_tenant_id": entra_tenant_id, "domains": list(domains) or None}
    if metadata_url:
        patch["idp"] = {"metadata_url": metadata_url}
    if metadata_file:
        patch["idp"] = {"metadata": metadata_file.read_bytes().decode("utf-8-sig", errors="replace")}
    if mapping_file:
        patch["mapping"] = read_object(read_bytes(mapping_file), name=str(mapping_file))
    for written in keys:
        key, equals, value = written.partition("=")
        if not equals:
            raise click.BadParameter(f"{written!r} is not KEY=VALUE.", param_hint="--set")
        patch[key] = _read_value(value)
    return {key: value for key, value in patch.items() if value is not None}


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_export(file: Any) -> dict[str, dict[str, Any]]:
    content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise click.BadParameter(f"The file is larger than {_LARGEST} bytes.")
    tenants = read_object(content, name="The file").get("tenants")
    if not isinstance(tenants, dict) or not tenants or not all(isinstance(one, dict) for one in tenants.values()):
        raise click.BadParameter('The file must hold {"tenants": {"SLUG": {...}}}, as `export` prints it.')
    return {slug: normal_document(document) for slug, document in tenants.items()}


def _export(slug: str) -> dict[str, Any]:
    """One tenant's document, also of one that stands in the settings. Raises: click.BadParameter."""
    mount = mounted()
    if slug not in mount.directory.of_settings:
        return dict(_get_stored(slug).live)
    document, _ = read_document(mount.source)
    tenants = document.get("tenants", {}) if document else {}
    base = mount.source.absolute().parent if isinstance(mount.source, Path) else Path.cwd()
    found = as_stored(tenants.get(slug), base=base)
    if found is None:
        fail(f"{slug} has left the settings file, or a file that it names, since the app read them.")
    return found


# --- holding it against the rules, and writing it ---------------------------------------------------------------------


def _get_stored(slug: str) -> StoredTenant:
    """The tenant as the database has it. Raises: click.BadParameter."""
    mount = mounted()
    if slug in mount.directory.of_settings:
        raise click.BadParameter(f"{slug} stands in the settings file, which is yours to change.", param_hint="slug")
    stored = mount.directory.rows.find_stored(slug)
    if stored is None:
        raise click.BadParameter(f"No tenant {slug!r} lives in the database.", param_hint="slug")
    return stored


def _check_new_slug(slug: str, *, may_exist: bool = False) -> None:
    problems = check_slug(slug, path=slug)
    if slug in mounted().directory.of_settings:
        problems = [Problem(slug, "two_sources", "This tenant stands in the settings file.", "Take it out there first.")]
    if not problems and not may_exist and mounted().directory.rows.find_stored(slug):
        problems = [Problem(slug, "slug_taken", "This tenant lives in the database already.", "Choose another slug, or see: tenant set")]
    if problems:
        _refuse(slug, problems)


def _check(slug: str, document: Mapping[str, Any], *, together: Collection[str] = ()) -> None:
    """Ends the command with every problem of the document, if it has any; warnings are told."""
    tenant, problems = mounted().directory.check_stored(slug, document, now=utc_now(), together=together)
    for problem in problems:
        if problem.is_warning:
            click.echo(f"warning: {problem}", err=True)
    if tenant is None:
        _refuse(slug, [problem for problem in problems if not problem.is_warning])


def _refuse(slug: str, problems: Sequence[Problem]) -> NoReturn:
    for problem in problems:
        click.echo(str(problem), err=True)
    fail(f"{slug} was not written: {len(problems)} problem(s).")


def _change(
    slug: str, patch: Mapping[str, Any], *, by: str | None, action: AuditAction, is_checked: bool = True
) -> StoredTenant:
    stored = _get_stored(slug)
    document = normal_document(patched(stored.live, patch))
    if is_checked:
        _check(slug, document)
    changes = {key: document.get(key) for key in patch}
    return _write(lambda: mounted().directory.rows.change(stored, changes, author=author(by), action=action))


def _write(work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except SlugTaken as taken:
        hint = "Where it stood in the settings file before: import --adopt." if not mounted().directory.rows.find_stored(str(taken)) else ""
        fail(f"The slug {taken} was used before, and a slug is never used again. {hint}".rstrip())
    except DomainTaken as taken:
        fail(f"The domain {taken.domain} is {taken.slug}'s; nothing was written.")
    except StaleEdit:
        fail("Somebody else has changed it at the same time; nothing was written. Look at it again: flask samljit tenant show")
