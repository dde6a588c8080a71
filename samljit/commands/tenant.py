"""Tenants: looked over, and identities filed anew when an IdP's entity ID has changed."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import click

from samljit.commands.base import (
    author,
    fail,
    get_tenant,
    in_app,
    json_option,
    print_json,
    print_table,
    shown,
    tenant_ids,
    the_identities,
)
from samljit.mapping.aliases import short_name
from samljit.mapping.presets import PRESETS
from samljit.model import Tenant
from samljit.provision.subject import subject_key
from samljit.sql.identities import Identity, RekeyRefused
from samljit.views.mounted import mounted, utc_now
from samljit.views.refreshing import metadata_of

_MOST_CONFLICTS = 20  # shown one by one


@click.group()
def tenant() -> None:
    """Tenants: look them over, and change those that live in the database."""


@tenant.command("list")
@json_option
@in_app
def list_(*, as_json: bool) -> None:
    """List the tenants."""
    counts = _count_identities()
    tenants = [_overview(one, counts.get(one.slug, {})) for one in mounted().directory.all(now=utc_now())]
    if as_json:
        print_json(tenants)
        return
    head = ("tenant", "name", "enabled", "offer_sso", "connected", "identities", "certificate until (UTC)")
    keys = ("tenant", "name", "enabled", "offer_sso", "connected", "identities", "certificate_until")
    print_table(head, [tuple(row[key] for key in keys) for row in tenants])


@tenant.command()
@click.argument("slug")
@json_option
@in_app
def show(*, slug: str, as_json: bool) -> None:
    """Show one tenant: what Entra needs to know, and what is known of its IdP."""
    values = _details(get_tenant(slug))
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        told = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        click.echo(f"{name.replace('_', ' '):<22}{shown(told)}")


def rekey_identities(slug: str, *, entity_id: str, by: str | None, as_json: bool) -> None:
    """Files the tenant's identities under its IdP's new entity ID, which the tenant names by now."""
    found = get_tenant(slug)
    _check_new_entity_id(found, entity_id)
    issuers = [issuer for issuer in _count_identities().get(slug, {}) if issuer != entity_id]
    moved = [issuer for issuer in issuers if _is_of_directory(issuer, found)]
    left = sorted(set(issuers) - set(moved))
    count = _rekey(found, moved, to=entity_id, by=by) if moved else 0
    if as_json:
        print_json({"tenant": slug, "rekeyed": count, "from": moved, "to": entity_id, "left": left})
        return
    then = "Restart the app now." if found.metadata_source is None else f"Now: flask samljit tenant refresh {slug} --entity-id {entity_id}"
    click.echo(f"Filed {count} identities of {slug} under {entity_id}." + (f" {then}" if count else ""))
    for issuer in left:
        click.echo(f"Left alone, of another directory: {shown(issuer)}")


def _check_new_entity_id(found: Tenant, entity_id: str) -> None:
    """Identities are filed under the name that assertions will carry, and only within one directory: the same person there.

    Where metadata is fetched, identities go first: until `tenant refresh --entity-id` follows, nobody can sign in under either name.
    """
    if found.metadata_source is None and (found.idp is None or found.idp.entity_id != entity_id):
        now = found.idp.entity_id if found.idp else "none"
        fail(f"The IdP of {found.slug} is {now} by now. Name the new entity ID there first, or everybody would become a newcomer.")
    if not _is_of_directory(entity_id, found):
        fail(f"{entity_id} does not name the directory {found.entra_tenant_id} of this tenant: other people may have the same IDs there.")


def _is_of_directory(issuer: str, found: Tenant) -> bool:
    """Whether this is an entity ID of the tenant's own Entra directory, which stands in it as one part of its path."""
    directory = found.entra_tenant_id
    return directory is not None and PRESETS[found.preset].names_directory and directory.lower() in issuer.lower().split("/")


def _rekey(found: Tenant, moved: list[str], *, to: str, by: str | None) -> int:
    def new_key(identity: Identity) -> str:
        return subject_key(tenant_id=found.id, issuer=to, source=identity.source, value=identity.subject)

    total = sum(count for issuer, count in _count_identities()[found.slug].items() if issuer in moved)
    try:
        with click.progressbar(length=total, label=f"identities ({total})", file=sys.stderr) as bar:
            return the_identities(mounted()).rekey(
                found.id, issuers=moved, to=to, new_key=new_key, author=author(by), progress=bar.update
            )
    except RekeyRefused as refused:
        for old, new in refused.conflicts[:_MOST_CONFLICTS]:
            click.echo(f"identity {old} is in the new place already, as identity {new}: unlink one of them", err=True)
        fail(f"Nothing was changed: {refused}. These people have signed in under the new entity ID, perhaps as new users.")


def _count_identities() -> dict[str, dict[str, int]]:
    """How many identities each tenant has, by the IdP's entity ID."""
    names: Mapping[UUID, str] = {tenant_id: slug for slug, tenant_id in tenant_ids().items()}
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for (tenant_id, issuer), count in the_identities(mounted()).count_by_issuer().items():
        counts[names[tenant_id]][issuer] = count
    return counts


def _overview(one: Tenant, counts: Mapping[str, int]) -> dict[str, Any]:
    until = max((certificate.not_after for certificate in one.idp.certificates), default=None) if one.idp else None
    return {
        "tenant": one.slug,
        "name": one.name,
        "enabled": one.enabled,
        "offer_sso": one.offer_sso,
        "connected": one.idp is not None,
        "identities": sum(counts.values()),
        "certificate_until": until,
    }


def _details(one: Tenant) -> dict[str, Any]:
    counts = _count_identities().get(one.slug, {})
    idp = one.idp
    return {
        **_overview(one, counts),
        "identifier": one.entity_id,
        "reply_url": one.acs_url,
        "sign_on_url": one.acs_url.removesuffix("acs") + "login",
        "metadata_url": one.metadata_url,
        "idp_entity_id": idp.entity_id if idp else None,
        **_of_metadata(one),
        "idp_sso_url": idp.sso_url if idp else None,
        "certificates": [certificate.fingerprint for certificate in idp.certificates] if idp else [],
        "preset": one.preset,
        "entra_tenant_id": one.entra_tenant_id,
        "domains": list(one.domains),
        "max_users": one.max_users,
        "known_by": short_name(one.mapping.identity_source, PRESETS[one.preset].aliases),
        "fields": [rule.target for rule in one.mapping.fields],
        "other_idp_entity_ids": [issuer for issuer in counts if idp is None or issuer != idp.entity_id],
    }


def _of_metadata(one: Tenant) -> dict[str, Any]:
    """Where the IdP's metadata is fetched from, and how that went; nothing where it is not."""
    if one.metadata_source is None:
        return {}
    known = metadata_of(mounted()).find(one.id)
    times = {"metadata_fetched_at": known.fetched_at, "metadata_tried_at": known.tried_at}
    return {"metadata_source": one.metadata_source, **times, "metadata_error": known.error}
