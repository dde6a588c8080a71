"""What stands between a draft and going live, and whom it would concern."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile

from samljit.admin.frame.visit import Visit
from samljit.errors import Problem
from samljit.mapping.aliases import short_name
from samljit.model import Match, Tenant
from samljit.sql.audit import AuditAction, AuditRecord
from samljit.sql.identities import SqlIdentities
from samljit.sql.tested import read_test
from samljit.views.explained import aliases_of
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

_MOST_RECORDS = 30
_MOST_SHOWN = 10
_ENDS = (AuditAction.DRAFT_LIVE, AuditAction.DRAFT_DROPPED, AuditAction.TENANT_ADDED)

_PARTS = {"idp": N_("Connection"), "entra_tenant_id": N_("Tenant ID"), "mapping": N_("Claims")}
_NOT_CONNECTED = N_("With this nobody could sign in: there is no Microsoft Entra that can be used.")
_FOREIGN = N_("A draft may not change this. Only whoever runs the app can. Drop the draft.")

# What becomes of people whom the draft no longer knows. Their users are linked from before, and so none that an e-mail address leads to
_CONFLICT = N_("Each would become a newcomer, and be refused where a user has the same e-mail: their own record from before.")
_NEWCOMERS = {
    Match.IDENTIFIER: N_("Each would become a newcomer, with a new and empty user record beside the old one."),
    Match.EMAIL_LINK: _CONFLICT,
    Match.EMAIL_DENY: _CONFLICT,
}
_NO_NEWCOMERS = N_("Each would become a newcomer, and be refused: newcomers get no user record.")


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom a draft concerns. Of `known` people who are linked to a user, `lost` would not be known any more, as the key by which they are
    known changes: from `before` to `after`, each an IdP's entity ID and a claim; None where that cannot be told. `already` are known by
    the new key."""

    known: int
    lost: int | None = None
    already: int = 0
    before: tuple[str, str] = ("", "")
    after: tuple[str, str] = ("", "")
    newcomers: str = ""


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """How a draft stands. `problems` keep it from going live, `warnings` do not; `tenant` is what it would make."""

    tenant: Tenant | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    is_tested: bool
    tested_at: datetime | None

    @property
    def is_ready(self) -> bool:
        return self.tenant is not None and self.is_tested and not self.problems


@dataclass(frozen=True, slots=True)
class Since:
    """One change since the draft was begun. `parts` of the document are what was in it, in words."""

    record: AuditRecord
    parts: tuple[str, ...]


def check_draft(visit: Visit) -> DraftCheck:
    """Raises: ReadOnlyTenant; store.Unavailable."""
    stored = visit.get_stored()
    tenant, found = mounted().directory.find_drafted(stored, now=visit.now)
    problems = [problem for problem in found if not problem.is_warning]
    problems += [Problem(f"$.{key}", "not_for_drafts", gettext(_FOREIGN)) for key in stored.foreign_keys]
    if tenant is not None and (tenant.idp is None or not tenant.idp.is_usable(visit.now)):
        problems.append(Problem("$.idp", "missing", gettext(_NOT_CONNECTED)))
    last = read_test(stored.last_test) if stored.last_test and stored.is_tested else None
    return DraftCheck(
        tenant=tenant,
        problems=tuple(problems),
        warnings=tuple(problem for problem in found if problem.is_warning),
        is_tested=stored.is_tested,
        tested_at=last.at if last is not None and last.draft_revision == stored.draft_revision else None,
    )


def find_concerned(visit: Visit, drafted: Tenant | None) -> Concerned:
    """Whom it concerns, as far as that can be told of what is live and of what the draft makes."""
    mount, live = mounted(), visit.tenant
    counts = SqlIdentities(factory=mount.factory, users=mount.users).count_known(live.id)
    known = sum(counts.values())
    if drafted is None or drafted.idp is None or live.idp is None:
        return Concerned(known, lost=None if known else 0)
    before, after = ((one.idp.entity_id, one.mapping.identity_source) for one in (live, drafted) if one.idp)
    if before == after:
        return Concerned(known, lost=0)
    aliases, mapping = aliases_of(drafted), drafted.mapping
    return Concerned(
        known,
        lost=counts.get(before, 0),
        already=counts.get(after, 0),
        before=(before[0], short_name(before[1], aliases)),
        after=(after[0], short_name(after[1], aliases)),
        newcomers=_NEWCOMERS[mapping.match] if mapping.policy.create_users else _NO_NEWCOMERS,
    )


def find_changes(visit: Visit) -> list[Since]:
    """What was done since the draft was begun, the newest first."""
    records = mounted().directory.rows.read_history(visit.tenant.id, limit=_MOST_RECORDS)
    found = takewhile(lambda record: record.action not in _ENDS, records)
    return [Since(record, tuple(_parts(record))) for record in islice(found, _MOST_SHOWN)]


def _parts(record: AuditRecord) -> Iterator[str]:
    for key in sorted({*(record.before or ()), *(record.after or ())}):
        if key in _PARTS:
            yield gettext(_PARTS[key])
