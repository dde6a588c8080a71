"""A past attempt in words: what happened, whose turn it is, and what to change where."""

from __future__ import annotations

import re

import click

from samljit.commands.base import fail, in_app, json_option, print_json, print_table, shown, slugs
from samljit.commands.log import attempt_json
from samljit.errors import CATALOGUE, Card, Fixer, Reason
from samljit.mapping.aliases import short_name
from samljit.mapping.presets import PRESETS
from samljit.mapping.words import why, why_role
from samljit.model import Attempt, Outcome, Stage, Tenant
from samljit.views.attempts import printable
from samljit.views.mounted import mounted, utc_now

_REFERENCE = re.compile(r"SJ-?([0-9A-Z]{4})-?([0-9A-Z]{4})")

_STAGES = {
    Stage.LOGIN: "before Microsoft was asked",
    Stage.ACS: "while Microsoft's answer was checked",
    Stage.PROVISION: "while the user record was written",
    Stage.FINISH: "in the second step, back in the browser",
}
_OUTCOMES = {
    Outcome.CREATE: "A new user was made.",
    Outcome.UPDATE: "The user record was updated.",
    Outcome.UNCHANGED: "The user record needed no change.",
}
_TURNS = {
    Fixer.OPERATOR: "yours, who run this app",
    Fixer.TENANT_ADMIN: "the tenant's admin's, in Entra",
    Fixer.PERSON: "the person's: start again",
    Fixer.NOBODY: "nobody's: no honest browser or IdP sends this",
}


@click.command()
@click.argument("reference", metavar="SJ-XXXX-XXXX")
@json_option
@in_app
def explain(*, reference: str, as_json: bool) -> None:
    """Explain a past sign-in by the reference that its page showed."""
    attempt = _get_attempt(reference)
    slug = slugs().get(attempt.tenant_id) if attempt.tenant_id else None
    told = _tell(attempt, slug)
    if as_json:
        print_json({**attempt_json(attempt, tenant=slug), "explanation": told})
        return
    click.echo(f"{attempt.reference}   {shown(attempt.at)} UTC   tenant {shown(slug)}   user {shown(attempt.user_id)}\n")
    for name, text in told.items():
        if text is not None:
            click.echo(f"{name.replace('_', ' '):<16}{printable(text, longest=4000)}")
    if attempt.decisions:
        click.echo()
        rows = [(d.field, d.action, short_name(d.source or ""), why(d)) for d in attempt.decisions]
        print_table(("field", "decision", "claim", "why"), rows)
    if attempt.roles:
        click.echo()
        print_table(("role", "decision", "why"), [(d.role, d.action, why_role(d)) for d in attempt.roles])


def _get_attempt(reference: str) -> Attempt:
    found = _REFERENCE.fullmatch(reference.strip().upper())
    if found is None:
        raise click.BadParameter("Write it as it was shown: SJ-XXXX-XXXX.", param_hint="reference")
    # Crockford's alphabet: what people read aloud or mistype for a digit is that digit
    letters = "-".join(part.translate(str.maketrans("OIL", "011")) for part in found.groups())
    attempt = mounted().store.find_attempt(f"SJ-{letters}")
    if attempt is None:
        fail(f"There is no attempt SJ-{letters} in the log. Attempts are kept for a while, and floods of them are only counted.")
    return attempt


def _tell(attempt: Attempt, slug: str | None) -> dict[str, str | None]:
    """What there is to say, by heading."""
    received = ", ".join(short_name(name) for name in attempt.claim_names) or None
    if attempt.reason is None:
        return {"what_happened": _good_end(attempt), "claims_received": received, "browser": attempt.browser or None}
    row = CATALOGUE[attempt.reason]
    tenant = mounted().directory.look_up(slug or "", now=utc_now())
    times = f" This row stands for {attempt.times} such attempts." if attempt.times > 1 else ""
    return {
        "what_happened": f"Refused {_STAGES[attempt.stage]}: {attempt.reason} (HTTP {row.status}).{times}",
        "that_means": row.admin,
        "the_log_says": attempt.detail or None,
        "the_person_read": f"{row.person.title}. {row.person}",
        "whose_turn": _TURNS[row.fixer],
        "where_in_entra": row.card,
        "what_to_put": _what_to_put(row.card, attempt.reason, tenant) if row.card and tenant else None,
        "claims_received": received,
        "browser": attempt.browser or None,
    }


def _good_end(attempt: Attempt) -> str:
    if attempt.finished_at is not None:
        return f"{_OUTCOMES[attempt.outcome]} The person was signed in at {shown(attempt.finished_at)} UTC."
    return f"{_OUTCOMES[attempt.outcome]} The second step was not reached: the person was not signed in by this attempt."


def _what_to_put(card: Card, reason: Reason, tenant: Tenant) -> str:
    """The values of this tenant that belong into the card, or that it must agree with."""
    idp = tenant.idp
    login_url = tenant.acs_url.removesuffix("acs") + "login"
    by_card = {
        Card.BASIC: f"Identifier: {tenant.entity_id}   Reply URL: {tenant.acs_url}   Sign on URL: {login_url}",
        Card.CLAIMS: _wanted_claims(tenant),
        Card.CERTIFICATES: "We trust SHA-256 " + (", ".join(c.fingerprint for c in idp.certificates) if idp else "none yet"),
        Card.SET_UP: f"Microsoft Entra Identifier here: {idp.entity_id if idp else 'none yet'}   directory: {tenant.entra_tenant_id}",
        Card.USERS: f"Assign the person, or the group, to the application of {tenant.name}.",
        Card.ENCRYPTION: f"Our certificate stands in {tenant.metadata_url}",
    }
    return by_card[card]


def _wanted_claims(tenant: Tenant) -> str:
    wanted = [tenant.mapping.identity_source]
    wanted += tenant.mapping.roles.sources if tenant.mapping.roles else ()
    for requirement in tenant.mapping.policy.require:
        wanted += requirement.sources
    for rule in tenant.mapping.fields:
        wanted += [*rule.sources, *(name for _, name in rule.template_parts if name)]
    return "The mapping reads " + ", ".join(short_name(name, PRESETS[tenant.preset].aliases) for name in dict.fromkeys(wanted))
