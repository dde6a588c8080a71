"""A past attempt in words, for the command line and for the tenant's admin: what happened, whose turn it is, what to change where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from samljit.errors import Card, Fixer
from samljit.mapping.aliases import short_name
from samljit.mapping.presets import PRESETS
from samljit.model import Attempt, Outcome, Stage, Tenant
from samljit.views.words import N_

_REFERENCE = re.compile(r"SJ-?([0-9A-Z]{4})-?([0-9A-Z]{4})")

STAGES = {
    Stage.LOGIN: N_("Refused before Microsoft was asked."),
    Stage.ACS: N_("Refused while Microsoft's answer was checked."),
    Stage.PROVISION: N_("Refused while the user record was written."),
    Stage.FINISH: N_("Refused in the second step, back in the browser."),
}
OUTCOMES = {
    Outcome.CREATE: N_("A new user was made."),
    Outcome.UPDATE: N_("The user record was updated."),
    Outcome.UNCHANGED: N_("The user record needed no change."),
}
NOT_FINISHED = N_("The second step was not reached: the person was not signed in by this attempt.")
TURNS = {
    Fixer.OPERATOR: N_("Whoever runs this app"),
    Fixer.TENANT_ADMIN: N_("The organisation's admin, in Entra"),
    Fixer.PERSON: N_("The person: start again"),
    Fixer.NOBODY: N_("Nobody: no honest browser or identity provider sends this"),
}


class StepResult(StrEnum):
    DONE = "done"
    FAILED = "failed"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True)
class Advice:
    """Something of this tenant that belongs into a card of Entra, or that the card must agree with."""

    label: str
    value: str


def read_reference(text: str) -> str | None:
    """A reference as the log has it, from what somebody typed or read aloud; None where it is none."""
    found = _REFERENCE.fullmatch(text.strip().upper())
    if found is None:
        return None
    # Crockford's alphabet: what people read aloud or mistype for a digit is that digit
    return "SJ-" + "-".join(part.translate(str.maketrans("OIL", "011")) for part in found.groups())


def timeline(attempt: Attempt) -> Iterator[tuple[Stage, StepResult]]:
    """The steps of an attempt in order, each with what became of it. What a refusal kept from being reached is said to be so."""
    stages = list(Stage)
    for place, stage in enumerate(stages):
        reached = stages.index(attempt.stage)
        if place == reached and attempt.reason is not None:
            yield stage, StepResult.FAILED
        elif place <= reached or (stage is Stage.FINISH and attempt.finished_at is not None):
            yield stage, StepResult.DONE
        else:
            yield stage, StepResult.NOT_REACHED


def what_to_put(card: Card, tenant: Tenant) -> Iterator[Advice]:
    """The values of this tenant that belong into the card, or that it must agree with."""
    idp = tenant.idp
    if card is Card.BASIC:
        yield Advice(N_("Identifier (Entity ID)"), tenant.entity_id)
        yield Advice(N_("Reply URL (Assertion Consumer Service URL)"), tenant.acs_url)
        yield Advice(N_("Sign on URL"), tenant.acs_url.removesuffix("acs") + "login")
    elif card is Card.CLAIMS:
        yield Advice(N_("The mapping reads"), ", ".join(wanted_claims(tenant)))
    elif card is Card.CERTIFICATES:
        for certificate in idp.certificates if idp else ():
            yield Advice(N_("We trust the certificate with SHA-256"), certificate.fingerprint)
    elif card is Card.SET_UP:
        yield Advice(N_("Microsoft Entra Identifier here"), idp.entity_id if idp else "")
        yield Advice(N_("Tenant ID of the directory here"), tenant.entra_tenant_id or "")
    elif card is Card.USERS:
        yield Advice(N_("Assign the person, or a group, to the application of"), tenant.name)
    elif card is Card.ENCRYPTION:
        yield Advice(N_("Our certificate stands in"), tenant.metadata_url)


def wanted_claims(tenant: Tenant) -> list[str]:
    """Every claim that the mapping reads, by the names that people use, each once."""
    wanted = [tenant.mapping.identity_source]
    wanted += tenant.mapping.roles.sources if tenant.mapping.roles else ()
    for requirement in tenant.mapping.policy.require:
        wanted += requirement.sources
    for rule in tenant.mapping.fields:
        wanted += rule.claims
    return [short_name(name, aliases_of(tenant)) for name in dict.fromkeys(wanted)]


def aliases_of(tenant: Tenant) -> Mapping[str, str]:
    """The short names of claims at the tenant's kind of IdP."""
    return PRESETS[tenant.preset].aliases if tenant.preset in PRESETS else {}
