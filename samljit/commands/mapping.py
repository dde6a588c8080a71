"""A mapping tried on claims, without a sign-in: what would be written, field by field, and nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click

from samljit.commands.base import fail, get_tenant, in_app, json_option, print_json, print_table, read_user_id, tenant_option
from samljit.commands.files import read_bytes, read_object
from samljit.errors import CATALOGUE, AssertionRejected, Problem, Reason
from samljit.mapping.aliases import NAME_ID, short_name
from samljit.mapping.pasted import NotClaims, read_claims
from samljit.mapping.presets import PRESETS
from samljit.mapping.problems import path_to
from samljit.mapping.words import why, why_role
from samljit.model import ExistingUser, NameId, Outcome, Plan, Tenant
from samljit.provision.dry_run import Claims, dry_run
from samljit.saml.encryption import read_keys
from samljit.saml.sample import read_sample
from samljit.tenants import build_tenants
from samljit.views.mounted import mounted, utc_now

_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The claims to plan with. `evidence` says how far they can be trusted."""

    claims: Claims
    evidence: str


@click.group()
def mapping() -> None:
    """Mappings: test."""


@mapping.command()
@tenant_option(required=True)
@click.option("--claims", type=_File, metavar="FILE", help='JSON: {"givenname": "Adele", "groups": ["a", "b"], "NameID": "..."}.')
@click.option("--response", type=_File, metavar="FILE", help="A saved SAML response, base64 or XML.")
@click.option("--mapping", "draft", type=_File, metavar="DRAFT", help="JSON: a mapping of this tenant to try instead of its own.")
@click.option("--user", metavar="ID", help="Plan for this user. Default: for whoever these claims are of.")
@json_option
@in_app
def test(*, slug: str, claims: Path | None, response: Path | None, draft: Path | None, user: str | None, as_json: bool) -> None:
    """Show what a sign-in would write. Changes nothing; shows claim values."""
    if (claims is None) is (response is None):
        raise click.UsageError("Give either --claims or --response.")
    tenant, problems = _with_draft(get_tenant(slug), draft)
    tried = _read_claims(claims, tenant) if claims else _read_response(cast(Path, response), tenant)
    plan = _plan(tried, tenant, user=user)
    if as_json:
        print_json({"evidence": tried.evidence, "warnings": [str(problem) for problem in problems], **_plan_json(plan)})
    else:
        for problem in problems:
            click.echo(f"warning: {problem}", err=True)
        _print_plan(plan, tried, aliases=PRESETS[tenant.preset].aliases)
    if plan.outcome is Outcome.REFUSE:
        reason = plan.reason or Reason.VALUE_INVALID
        fail(f"This sign-in would be refused: {reason}. {CATALOGUE[reason].admin} {plan.detail}".rstrip())


def _with_draft(tenant: Tenant, draft: Path | None) -> tuple[Tenant, list[Problem]]:
    """The tenant with a mapping in place of its own, checked as at the start of the app, and the warnings. A bad one ends the command."""
    if draft is None:
        return tenant, []
    mount, slug = mounted(), tenant.slug
    if slug not in mount.directory.of_settings:
        return _with_stored_draft(tenant, draft)
    tried = replace(mount.settings.tenants[slug], mapping=read_object(read_bytes(draft), name=str(draft)))
    settings = replace(mount.settings, tenants={slug: tried})
    tenants, problems = build_tenants(settings, shape=mount.shape, transforms=mount.transforms, now=utc_now())
    place = path_to("$.tenants", slug, "mapping")
    own = [replace(problem, path=f"${problem.path.removeprefix(place)}") for problem in problems if problem.path.startswith(place)]
    if slug not in tenants:
        others = [problem for problem in problems if not problem.is_warning and not problem.path.startswith(place)]
        for problem in [*own, *others]:
            click.echo(str(problem))
        fail(f"{draft} is no mapping that could be used.")
    return replace(tenant, mapping=tenants[slug].mapping), own


def _with_stored_draft(tenant: Tenant, draft: Path) -> tuple[Tenant, list[Problem]]:
    directory = mounted().directory
    document = {**directory.rows.get_stored(tenant.slug).live, "mapping": read_object(read_bytes(draft), name=str(draft))}
    tried, problems = directory.check_stored(tenant.slug, document, now=utc_now())
    own = [replace(problem, path=f"${problem.path.removeprefix('$.mapping')}") for problem in problems]
    if tried is None:
        for problem in own:
            click.echo(str(problem))
        fail(f"{draft} is no mapping that could be used.")
    return replace(tenant, mapping=tried.mapping), own


def _read_claims(file: Path, tenant: Tenant) -> _Tried:
    try:
        claims, name_id = read_claims(read_object(read_bytes(file), name=str(file)), PRESETS[tenant.preset].aliases)
    except NotClaims as fault:
        raise click.BadParameter(str(fault), param_hint="--claims") from None
    return _Tried(Claims(claims, NameId(name_id), tenant.idp.entity_id if tenant.idp else ""), "claims from a file")


def _read_response(file: Path, tenant: Tenant) -> _Tried:
    mount = mounted()
    keys = read_keys(tuple(pair.key for pair in mount.settings.key_pairs))
    try:
        sample = read_sample(read_bytes(file), tenant=tenant, keys=keys, now=utc_now())
    except AssertionRejected as rejected:
        fail(f"{file} cannot be read: {rejected.reason}. {CATALOGUE[rejected.reason].admin} {rejected.detail}".rstrip())
    evidence = "signature verified; times, audience and request were not looked at"
    if sample.unverified is not None:
        evidence = f"not verified ({sample.unverified}): anybody could have written this"
    return _Tried(Claims(sample.claims, sample.name_id, sample.issuer), evidence)


def _plan(tried: _Tried, tenant: Tenant, *, user: str | None) -> Plan:
    """What a sign-in with these claims would do: to this user, or to whoever these claims are of. Refused also where they do not say."""
    mount = mounted()
    given = _get_user(user, tenant) if user else None
    shape, domains = mount.shape_for(tenant), mount.email_domains(tenant)
    return dry_run(mount.store, tried.claims, tenant=tenant, shape=shape, email_domains=domains, given=given).plan


def _get_user(text: str, tenant: Tenant) -> ExistingUser:
    """The user as it stands. Raises: ProvisioningRefused where it is not of this tenant."""
    found = mounted().store.find_user(read_user_id(text), tenant=tenant)
    if found is None:
        fail(f"There is no user {text}.")
    return found


def _plan_json(plan: Plan) -> dict[str, Any]:
    fields = [
        {"field": d.field, "action": d.action, "why": d.why, "claim": d.source, "old": d.old, "new": d.new, "detail": d.detail}
        for d in plan.decisions
    ]
    return {
        "outcome": plan.outcome,
        "reason": plan.reason,
        "detail": plan.detail,
        "fields": fields,
        "roles": [{"role": d.role, "action": d.action, "why": d.why, "claim": d.source} for d in plan.roles],
        "role_claims": plan.claim_state,
        "links_user": plan.links.id if plan.links else None,
        "may_sign_in": plan.is_active and plan.outcome is not Outcome.REFUSE,
    }


def _print_plan(plan: Plan, tried: _Tried, *, aliases: Mapping[str, str]) -> None:
    click.echo(f"{plan.outcome}, dry run, nothing is written. {tried.evidence[:1].upper()}{tried.evidence[1:]}.\n")
    print_table(
        ("field", "claim", "value", "old", "new", "decision", "why"),
        [(d.field, _claims(d.source, aliases), _values(d.source, tried), d.old, d.new, d.action, why(d, aliases)) for d in plan.decisions],
    )
    if plan.roles:
        click.echo()
        print_table(("role", "decision", "why"), [(d.role, d.action, why_role(d, aliases)) for d in plan.roles])
    if plan.links is not None:
        click.echo(f"\nThis person would be tied to user {plan.links.id}, who has the same e-mail.")
    if not plan.is_active:
        click.echo("\nThe user would be made inactive, and could not sign in yet.")


def _claims(source: str | None, aliases: Mapping[str, str]) -> str:
    return ", ".join(short_name(name, aliases) for name in (source or "").split(", "))


def _values(source: str | None, tried: _Tried) -> str:
    """What the claims of a decision hold, as they came."""
    claims = {**tried.claims.values, NAME_ID: (tried.claims.name_id.value,)}
    return " | ".join(value for name in (source or "").split(", ") for value in claims.get(name, ()))
