"""A past attempt in words: what happened, whose turn it is, and what to change where."""

from __future__ import annotations

import click

from samljit.commands.base import fail, in_app, json_option, print_json, print_table, shown, slugs
from samljit.commands.log import attempt_json
from samljit.errors import CATALOGUE
from samljit.mapping.aliases import short_name
from samljit.mapping.words import why, why_role
from samljit.model import Attempt
from samljit.views.attempts import printable
from samljit.views.explained import NOT_FINISHED, OUTCOMES, STAGES, TURNS, read_reference, what_to_put
from samljit.views.mounted import mounted, utc_now


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
    found = read_reference(reference)
    if found is None:
        raise click.BadParameter("Write it as it was shown: SJ-XXXX-XXXX.", param_hint="reference")
    attempt = mounted().store.find_attempt(found)
    if attempt is None:
        fail(f"There is no attempt {found} in the log. Attempts are kept for a while, and floods of them are only counted.")
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
        "what_happened": f"{STAGES[attempt.stage]} {attempt.reason} (HTTP {row.status}).{times}",
        "that_means": row.admin,
        "the_log_says": attempt.detail or None,
        "the_person_read": f"{row.person.title}. {row.person}",
        "whose_turn": TURNS[row.fixer],
        "where_in_entra": row.card,
        "what_to_put": "   ".join(f"{one.label}: {one.value or 'none yet'}" for one in what_to_put(row.card, tenant))
        if row.card and tenant
        else None,
        "claims_received": received,
        "browser": attempt.browser or None,
    }


def _good_end(attempt: Attempt) -> str:
    if attempt.finished_at is not None:
        return f"{OUTCOMES[attempt.outcome]} The person was signed in at {shown(attempt.finished_at)} UTC."
    return f"{OUTCOMES[attempt.outcome]} {NOT_FINISHED}"
