"""A mapping tried on claims, without a sign-in: what would be written, field by field, and nothing is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click

from samljit.commands.base import fail, get_tenant, in_app, json_option, print_json, print_table, read_user_id, tenant_option
from samljit.errors import CATALOGUE, AssertionRejected, Problem, ProvisioningRefused, Reason
from samljit.mapping.aliases import NAME_ID, claim_name, short_name
from samljit.mapping.compile import compile_mapping
from samljit.mapping.document import merge_documents
from samljit.mapping.words import why
from samljit.model import ExistingUser, NameId, Outcome, Plan, Tenant
from samljit.provision.plan import plan_sign_in
from samljit.provision.subject import find_subject
from samljit.saml.encryption import read_keys
from samljit.saml.sample import read_sample
from samljit.sql.store import open_session
from samljit.views.mounted import mounted, utc_now

_LARGEST = 1024 * 1024
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The claims to plan with. `evidence` says how far they can be trusted."""

    claims: Mapping[str, tuple[str, ...]]
    name_id: NameId
    issuer: str
    evidence: str


@click.group()
def mapping() -> None:
    """Mappings: test."""


@mapping.command()
@tenant_option(required=True)
@click.option("--claims", type=_File, metavar="FILE", help='JSON: {"givenname": "Adele", "groups": ["a", "b"], "NameID": "..."}.')
@click.option("--response", type=_File, metavar="FILE", help="A saved SAML response, base64 or XML.")
@click.option("--mapping", "draft", type=_File, metavar="DRAFT", help="JSON: a mapping of this tenant to try instead of its own.")
@click.option("--user", metavar="ID", help="Plan for this user. Default: for a newcomer.")
@json_option
@in_app
def test(*, slug: str, claims: Path | None, response: Path | None, draft: Path | None, user: str | None, as_json: bool) -> None:
    """Show what a sign-in would write. Changes nothing; shows claim values."""
    if (claims is None) is (response is None):
        raise click.UsageError("Give either --claims or --response.")
    tenant, problems = _with_draft(get_tenant(slug), draft)
    tried = _read_claims(claims, tenant) if claims else _read_response(cast(Path, response), tenant)
    existing = _read_user(user, tenant)
    plan = _with_subject(_plan(tried, tenant, existing), tried, tenant)
    if as_json:
        print_json({"evidence": tried.evidence, "warnings": [str(problem) for problem in problems], **_plan_json(plan)})
    else:
        for problem in problems:
            click.echo(f"warning: {problem}", err=True)
        _print_plan(plan, tried)
    if plan.outcome is Outcome.REFUSE:
        reason = plan.reason or Reason.VALUE_INVALID
        fail(f"This sign-in would be refused: {reason}. {CATALOGUE[reason].admin} {plan.detail}".rstrip())


def _with_draft(tenant: Tenant, draft: Path | None) -> tuple[Tenant, list[Problem]]:
    """The tenant with a mapping laid over the defaults of the settings, and the warnings. A bad one ends the command."""
    if draft is None:
        return tenant, []
    mount = mounted()
    document = merge_documents(mount.settings.mapping, _read_object(draft))
    rules, problems = compile_mapping(document, shape=mount.shape, path="$", transforms=mount.transforms)
    if rules is None:
        for problem in problems:
            click.echo(str(problem))
        fail(f"{draft} is no mapping that could be used: {sum(not problem.is_warning for problem in problems)} problem(s).")
    return replace(tenant, mapping=rules), problems


def _read_claims(file: Path, tenant: Tenant) -> _Tried:
    written = _read_object(file)
    claims: dict[str, tuple[str, ...]] = {}
    for name, value in written.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in values):
            raise click.BadParameter(f"{name!r} must be a text or a list of texts, as in SAML.", param_hint="--claims")
        claims[claim_name(name)] = tuple(values)
    name_id = NameId("".join(claims.pop(NAME_ID, ())[:1]))
    return _Tried(claims, name_id, tenant.idp.entity_id if tenant.idp else "", "claims from a file")


def _read_response(file: Path, tenant: Tenant) -> _Tried:
    mount = mounted()
    keys = read_keys(tuple(pair.key for pair in mount.settings.key_pairs))
    try:
        sample = read_sample(_read_bytes(file), tenant=tenant, keys=keys, now=utc_now())
    except AssertionRejected as rejected:
        fail(f"{file} cannot be read: {rejected.reason}. {CATALOGUE[rejected.reason].admin} {rejected.detail}".rstrip())
    evidence = "signature verified; times, audience and request were not looked at"
    if sample.unverified is not None:
        evidence = f"not verified ({sample.unverified}): anybody could have written this"
    return _Tried(sample.claims, sample.name_id, sample.issuer, evidence)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read_bytes(file).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{file} is not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{file} must hold one JSON object.")
    return found


def _read_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise click.BadParameter(f"{file} is larger than {_LARGEST} bytes.")
    return content


def _read_user(text: str | None, tenant: Tenant) -> ExistingUser | None:
    """The user as it stands. Raises: ProvisioningRefused where it is not of this tenant."""
    if text is None:
        return None
    mount = mounted()
    with open_session(mount.factory) as session, session.no_autoflush:
        user = session.get(mount.users.model, read_user_id(text))
        if user is None:
            fail(f"There is no user {text}.")
        return mount.users.read(user, tenant=tenant)


def _plan(tried: _Tried, tenant: Tenant, existing: ExistingUser | None) -> Plan:
    mount = mounted()
    return plan_sign_in(
        tried.claims,
        name_id=tried.name_id,
        mapping=tenant.mapping,
        shape=mount.shape_for(tenant),
        user=existing,
        email_domains=mount.email_domains(tenant),
    )


def _with_subject(plan: Plan, tried: _Tried, tenant: Tenant) -> Plan:
    """The plan, refused where the claims do not say who this is: a sign-in finds that out first."""
    try:
        find_subject(tried.claims, name_id=tried.name_id, issuer=tried.issuer, tenant=tenant)
    except ProvisioningRefused as refused:
        return replace(plan, outcome=Outcome.REFUSE, reason=refused.reason, detail=refused.detail)
    return plan


def _plan_json(plan: Plan) -> dict[str, Any]:
    fields = [
        {"field": d.field, "action": d.action, "why": d.why, "claim": d.source, "old": d.old, "new": d.new, "detail": d.detail}
        for d in plan.decisions
    ]
    return {"outcome": plan.outcome, "reason": plan.reason, "detail": plan.detail, "fields": fields}


def _print_plan(plan: Plan, tried: _Tried) -> None:
    click.echo(f"{plan.outcome}, dry run, nothing is written. {tried.evidence[:1].upper()}{tried.evidence[1:]}.\n")
    print_table(
        ("field", "claim", "value", "old", "new", "decision", "why"),
        [(d.field, _claims(d.source), _values(d.source, tried), d.old, d.new, d.action, why(d)) for d in plan.decisions],
    )


def _claims(source: str | None) -> str:
    return ", ".join(short_name(name) for name in (source or "").split(", "))


def _values(source: str | None, tried: _Tried) -> str:
    """What the claims of a decision hold, as they came."""
    claims = {**tried.claims, NAME_ID: (tried.name_id.value,)}
    return " | ".join(value for name in (source or "").split(", ") for value in claims.get(name, ()))
