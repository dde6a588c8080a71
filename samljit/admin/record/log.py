"""The sign-in log: every attempt of the tenant's people, looked through by what happened, by whom, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from flask import Response, abort, request
from wtforms import SelectField, StringField

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.admin.record.attempts import ShownAttempt, explained, find_people, outcome_of, person_fields
from samljit.errors import CATALOGUE, ProvisioningRefused, Reason
from samljit.model import AdminAction, Attempt, Outcome
from samljit.sql.log import LogQuery, SqlLog
from samljit.views.explained import TURNS, read_reference
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

PAGE = 25
_LONGEST_SEARCH = 200
_YEARS = range(1970, 3000)
_DAY_LENGTH = len("2026-11-22")

_NO_CHOICE = N_("Choose one of the list.")
_NO_DAY = N_("Write a day as 2026-11-22.")
_BACKWARDS = N_("This day lies before the first one.")
_TOO_LONG = N_("Write a shorter part of the address.")
_UNREADABLE = N_("Write part of an e-mail address, or a reference such as SJ-1234-ABCD.")
_HALF_A_REFERENCE = N_("Write the whole reference, such as SJ-1234-ABCD.")
_NOT_TOLD = N_("Whose users are whose cannot be told just now. Look without an address, or try again later.")
_GONE = N_("This page of the log is not there any more. Look for it anew.")
_UNKNOWN = N_("There is no attempt %(reference)s of this tenant in the log. Attempts are kept for %(days)d days.")


class Happened(StrEnum):
    """What may have become of an attempt, as the address of the page calls it."""

    SIGNED_IN = "signed_in"
    REFUSED = "refused"
    CREATED = "created"
    UPDATED = "updated"
    NOT_FINISHED = "not_finished"


_LABELS = {
    Happened.SIGNED_IN: N_("Signed in"),
    Happened.REFUSED: N_("Refused"),
    Happened.CREATED: N_("A user was made"),
    Happened.UPDATED: N_("A user was updated"),
    Happened.NOT_FINISHED: N_("Not finished"),
}
_WANTED: Mapping[Happened, Mapping[str, Any]] = {
    Happened.SIGNED_IN: {"is_refused": False, "is_finished": True},
    Happened.REFUSED: {"is_refused": True},
    Happened.CREATED: {"outcomes": (Outcome.CREATE,)},
    Happened.UPDATED: {"outcomes": (Outcome.UPDATE,)},
    Happened.NOT_FINISHED: {"is_refused": False, "is_finished": False},
}


class LogForm(AdminForm):
    """What is looked for. It changes nothing, so it is sent by GET and without a token: its address can be kept and handed on."""

    class Meta(AdminForm.Meta):
        csrf = False

    seen = None
    q = StringField(N_("E-mail address or reference"))
    outcome = SelectField(N_("What happened"), validate_choice=False)
    reason = SelectField(N_("Why it was refused"), validate_choice=False)
    since = StringField(N_("From"))
    until = StringField(N_("Until"))

    def __init__(self) -> None:
        super().__init__(formdata=request.args)
        self.outcome.choices = [("", gettext(N_("Anything"))), *((key.value, gettext(text)) for key, text in _LABELS.items())]
        self.reason.choices = {"": [("", gettext(N_("Anything")))], **_reasons()}
        self.first: datetime | None = None
        self.last: datetime | None = None

    @property
    def is_used(self) -> bool:
        return any(self[name].data for name in ("q", "outcome", "reason", "since", "until"))

    @property
    def is_narrow(self) -> bool:
        """Whether it is looked for by what is folded away otherwise."""
        return any(self[name].data for name in ("reason", "since", "until"))

    @property
    def values(self) -> dict[str, str]:
        """What the address of another page of the same search holds."""
        return {field.name: field.data for field in self if field.data}

    def is_good(self) -> bool:
        """Whether it can be looked for; else there are errors at the fields."""
        text = self.text
        self.q.errors = [] if len(text) <= _LONGEST_SEARCH else [_TOO_LONG]
        if not text.isprintable():
            self.q.errors = [_UNREADABLE]
        elif text.upper().startswith("SJ-") and "@" not in text and read_reference(text) is None:
            self.q.errors = [_HALF_A_REFERENCE]
        for field, known in ((self.outcome, set(Happened)), (self.reason, set(Reason))):
            field.errors = [] if not field.data or field.data in known else [_NO_CHOICE]
        self.first, self.last = (_read_day(field) for field in (self.since, self.until))
        if self.first and self.last and self.last < self.first:
            self.until.errors = [_BACKWARDS]
        return not self.errors

    @property
    def text(self) -> str:
        return (self.q.data or "").strip()

    def query(self, visit: Visit, *, before: str | None) -> LogQuery:
        """Raises: ProvisioningRefused where the host's tenant_fields does."""
        return LogQuery(
            tenant_id=visit.tenant.id,
            reason=Reason(self.reason.data) if self.reason.data else None,
            person=self.text or None,
            person_fields=person_fields(visit) if self.text else {},
            since=self.first,
            until=self.last + timedelta(days=1) if self.last else None,
            before=before,
            limit=PAGE + 1,
            **(_WANTED[Happened(self.outcome.data)] if self.outcome.data else {}),
        )


@dataclass(frozen=True, slots=True)
class _Page:
    """What was found: one page of attempts, and the reference behind which the next one begins."""

    attempts: tuple[ShownAttempt, ...] = ()
    older: str | None = None


@admin_view(AdminAction.LOG)
def log(visit: Visit) -> Response:
    """A page of the log; sent with a whole reference, on to that attempt."""
    form, found, before = LogForm(), _Page(), request.args.get("before", "")
    if form.is_good():
        reference = read_reference(form.text)
        if reference is not None and _find_attempt(visit, reference) is not None:
            return see_other(visit.url("attempt", reference=reference))
        if reference is not None and "-" in form.text:  # without one it can be the beginning of an address: sjohnson12
            form.q.errors = [gettext(_UNKNOWN, reference=reference, days=mounted().settings.attempt_days)]
        elif before and _find_attempt(visit, before) is None:
            form.q.errors = [_GONE]
        else:
            try:
                found = _find(visit, form, before=before or None)
            except ProvisioningRefused:
                form.q.errors = [_NOT_TOLD]
    return admin_page(
        visit,
        "log.html",
        section="log",
        form=form,
        found=found,
        is_first=not before,
        days=mounted().settings.attempt_days,
    )


@admin_view(AdminAction.LOG)
def attempt(visit: Visit, reference: str) -> Response:
    """One attempt, explained."""
    known = read_reference(reference)
    found = _find_attempt(visit, known) if known else None
    if found is None:
        abort(404)
    if found.reference != reference:  # typed in another form
        return see_other(visit.url("attempt", reference=found.reference))
    return admin_page(visit, "attempt.html", section="log", told=explained(found, visit, people=_people([found], visit)))


def _find_attempt(visit: Visit, reference: str) -> Attempt | None:
    return _log().find(reference, tenant_id=visit.tenant.id) if read_reference(reference) == reference else None


def _find(visit: Visit, form: LogForm, *, before: str | None) -> _Page:
    found = _log().search(form.query(visit, before=before))
    shown = found[:PAGE]
    people = _people(shown, visit)
    return _Page(
        tuple(outcome_of(one, people) for one in shown),
        shown[-1].reference if len(found) > PAGE else None,
    )


def _people(attempts: list[Attempt], visit: Visit) -> dict[Any, str]:
    return find_people(_log(), visit, [one.user_id for one in attempts])


def _log() -> SqlLog:
    mount = mounted()
    return SqlLog(factory=mount.factory, users=mount.users)


def _reasons() -> dict[str, list[tuple[str, str]]]:
    """All reasons that a tenant's attempts can have, by whose turn it then is."""
    grouped: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for reason, row in CATALOGUE.items():
        if reason is not Reason.TENANT_UNKNOWN:
            grouped[gettext(TURNS[row.fixer])].append((reason.value, f"{gettext(row.person.title)} ({reason})"))
    return grouped


def _read_day(field: StringField) -> datetime | None:
    """The beginning of a day (UTC), None where none was given, or, with an error at the field, where it is none."""
    text, field.errors = (field.data or "").strip(), []
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if len(text) == _DAY_LENGTH else None
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        field.errors = [_NO_DAY]
        return None
    return day
