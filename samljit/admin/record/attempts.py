"""Attempts of the sign-in log as pages show them: each in one line, and one explained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from samljit.admin.frame.results import ShownDecision, shown_fields, shown_roles
from samljit.admin.frame.visit import Visit
from samljit.errors import CATALOGUE, Explanation, ProvisioningRefused
from samljit.mapping.aliases import short_name
from samljit.model import Attempt, ClaimState, Outcome, Stage
from samljit.sql.log import SqlLog
from samljit.views.explained import NOT_FINISHED, OUTCOMES, STAGES, TURNS, Advice, StepResult, aliases_of, timeline, what_to_put
from samljit.views.mounted import mounted
from samljit.views.words import N_

_MOST_CLAIMS = 100
_SIGNED_IN = N_("The person came all the way in.")
_MUST_WAIT = N_("A new user was made, who is inactive and waits for somebody to switch them on.")

STEPS = {
    Stage.LOGIN: N_("The person was sent to Microsoft"),
    Stage.ACS: N_("Microsoft's answer was checked"),
    Stage.PROVISION: N_("The user record was written"),
    Stage.FINISH: N_("The browser came back, and the person was signed in"),
}
STEP_RESULTS = {
    StepResult.DONE: (N_("Done"), "ok"),
    StepResult.FAILED: (N_("Refused"), "danger"),
    StepResult.NOT_REACHED: (N_("Not reached"), "quiet"),
}
_CLAIM_STATES = {
    ClaimState.PRESENT: None,
    ClaimState.ABSENT: N_("No claim that roles come from was sent: the person has no group and no role, or Entra does not send them."),
    ClaimState.OVERAGE: N_("The person is in more groups than Entra sends: a link came in their place."),
    ClaimState.REPLACED: N_("Entra sent groups as role claims, and the app roles had gone from there."),
}


@dataclass(frozen=True, slots=True)
class ShownAttempt:
    """One attempt in a line. `kind` is ok, warn or danger; `person` the e-mail of the user record, None where it is not known."""

    attempt: Attempt
    kind: str
    badge: str
    text: str
    person: str | None


@dataclass(frozen=True, slots=True)
class ExplainedAttempt:
    """All that the page of one attempt says. `explanation` is there where it was refused."""

    line: ShownAttempt
    text: str
    explanation: Explanation | None
    turn: str
    advice: tuple[Advice, ...]
    steps: tuple[tuple[str, str, str], ...]
    fields: tuple[ShownDecision, ...] = field(repr=False)
    roles: tuple[ShownDecision, ...]
    claim_state: str | None
    claims: tuple[str, ...]
    has_more_claims: bool
    has_values: bool


def person_fields(visit: Visit) -> dict[str, Any]:
    """What the record of a user of this tenant holds, for a query.

    Raises: ProvisioningRefused where the host's tenant_fields fails, or names what no query can find.
    """
    users = mounted().users
    fields = users.fields_of(visit.tenant)
    users.holding(fields)
    return fields


def find_people(log: SqlLog, visit: Visit, user_ids: Iterable[Any]) -> dict[Any, str]:
    """The e-mail addresses of those users who still are this tenant's: who has moved to another one is that one's to see."""
    try:
        fields = person_fields(visit)
    except ProvisioningRefused:
        return {}
    return log.find_people(user_ids, fields=fields)


def outcome_of(attempt: Attempt, people: Mapping[Any, str]) -> ShownAttempt:
    person = people.get(attempt.user_id)
    if attempt.reason is not None:
        return ShownAttempt(attempt, "danger", N_("Refused"), CATALOGUE[attempt.reason].person.title, person)
    if attempt.finished_at is None:
        return ShownAttempt(attempt, "warn", N_("Not finished"), OUTCOMES[attempt.outcome], person)
    return ShownAttempt(attempt, "ok", N_("Signed in"), OUTCOMES[attempt.outcome], person)


def explained(attempt: Attempt, visit: Visit, *, people: Mapping[Any, str]) -> ExplainedAttempt:
    tenant, explanation = visit.tenant, CATALOGUE[attempt.reason] if attempt.reason else None
    card, aliases = explanation.card if explanation else None, aliases_of(tenant)
    claims = [short_name(name, aliases) for name in attempt.claim_names]
    return ExplainedAttempt(
        line=outcome_of(attempt, people),
        text=_what_happened(attempt),
        explanation=explanation,
        turn=TURNS[explanation.fixer] if explanation else "",
        advice=tuple(what_to_put(card, tenant)) if card else (),
        steps=tuple((STEPS[stage], *STEP_RESULTS[result]) for stage, result in timeline(attempt)),
        fields=tuple(shown_fields(attempt.decisions, tenant)),
        roles=tuple(shown_roles(attempt.roles, tenant)),
        claim_state=_CLAIM_STATES[attempt.claim_state] if attempt.claim_state else None,
        claims=tuple(claims[:_MOST_CLAIMS]),
        has_more_claims=len(claims) > _MOST_CLAIMS,
        # values that were kept while that was wanted are not shown for longer than it is
        has_values=attempt.keeps_values and tenant.logs_values(visit.now),
    )


def _what_happened(attempt: Attempt) -> str:
    if attempt.reason is not None:
        return STAGES[attempt.stage] if attempt.outcome is Outcome.REFUSE else _MUST_WAIT
    return _SIGNED_IN if attempt.finished_at is not None else NOT_FINISHED
