"""What the forms about claims share: rows that can be many, claims to choose from, and errors at controls that are no fields of WTForms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from flask import abort, request

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.visit import Visit
from samljit.mapping.aliases import NAME_ID, short_name
from samljit.mapping.text import clean
from samljit.model import AdminAction
from samljit.sql.tested import read_test
from samljit.tested import SignInTest
from samljit.views.attempts import printable
from samljit.views.explained import aliases_of
from samljit.views.words import gettext

TYPED = "="  # chosen in place of a claim: its name is typed beside. No claim can be called so
_LONGEST_EXAMPLE = 40
_MOST_ROWS = 2000  # of one kind; each is shown again with all that can be chosen in it

# what many admins add by hand, by the names that they type
_USUAL = ("companyname", "country", "department", "employeeid", "jobtitle", "preferredlanguage")


class MappingForm(AdminForm):
    """The token, the mark, and `faults`: what is wrong, by the id of the control without its prefix."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.faults: dict[str, list[tuple[str, str]]] = {}

    def add_fault(self, control: str, text: str, *, label: str = "") -> None:
        """`label` names the control where the error stands away from it."""
        self.faults.setdefault(control, []).append((text, label))

    def faults_at(self, control: str) -> list[str]:
        return [text for text, _ in self.faults.get(control, ())]

    @property
    def status(self) -> int:
        status = super().status
        return 422 if status == 200 and self.faults else status

    @property
    def summary(self) -> Iterator[tuple[str, str]]:
        yield from super().summary
        for control, faults in self.faults.items():
            for text, label in faults:
                yield f"samljit-{control}", gettext("%(field)s: %(error)s", field=label, error=text) if label else text


@dataclass(frozen=True, slots=True)
class Choice:
    """A claim to choose: as a mapping document calls it, and what came in it last, where that may be seen."""

    name: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """The claims to choose from: those that have really come first."""

    received: tuple[Choice, ...]
    known: tuple[Choice, ...]

    def has(self, name: str) -> bool:
        return any(choice.name == name for choice in (*self.received, *self.known))


def find_test(visit: Visit) -> SignInTest | None:
    """The last test, for those who may see the claim values that came in it."""
    stored = visit.stored
    return read_test(stored.last_test) if stored and stored.last_test and visit.may(AdminAction.TEST) else None


def claims_of(test: SignInTest) -> dict[str, tuple[str, ...]]:
    """What came in a test, by full name, the NameID among it."""
    return {**({NAME_ID: (test.name_id.value,)} if test.name_id else {}), **test.claims}


def received_claims(visit: Visit) -> dict[str, tuple[str, ...]]:
    """The claims that have reached us of this tenant, by full name, with their values as far as they are known and may be seen."""
    stored, test = visit.stored, find_test(visit)
    names = [NAME_ID, *(stored.last_test["claims"] if stored and stored.last_test else ()), *sorted(visit.tenant.claims_seen)]
    values = claims_of(test) if test else {}
    return {name: tuple(values.get(name, ())) for name in names}


def find_choices(visit: Visit) -> Choices:
    aliases, received = aliases_of(visit.tenant), received_claims(visit)
    names = {short_name(name, aliases): values for name, values in received.items()}
    known = [*aliases, *(_USUAL if "tenantid" in aliases else ())]
    return Choices(
        received=tuple(Choice(name, _example(values)) for name, values in sorted(names.items(), key=lambda one: one[0].lower())),
        known=tuple(Choice(name) for name in sorted(known) if name not in names),
    )


def _example(values: tuple[str, ...]) -> str:
    text = next((text for text in map(clean, values) if text), "")
    return printable(text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}…")


# --- what was sent ----------------------------------------------------------------------------------------------------


def sent(name: str) -> str:
    """A text as it was sent: line ends as they are on this side of a browser."""
    return request.form.get(name, "").replace("\r\n", "\n").replace("\x00", "")


def sent_lines(name: str) -> list[str]:
    """The lines that say something, trimmed."""
    return [line.strip() for line in sent(name).splitlines() if line.strip()]


def sent_rows(name: str) -> list[int]:
    """The numbers of the rows that came. More than any page of ours has are not read (413)."""
    rows = list(takewhile(lambda row: f"{name}-{row}" in request.form, range(_MOST_ROWS + 1)))
    if len(rows) > _MOST_ROWS:
        abort(413)
    return rows


def sent_claim(name: str, row: int) -> str:
    """The claim of a row: chosen, or typed beside; "" for none."""
    chosen, typed = sent(f"{name}-{row}"), sent(f"{name}-typed-{row}").strip()
    return typed if chosen in ("", TYPED) else chosen


def sent_claims(name: str) -> tuple[str, ...]:
    """All claims of the rows, empty ones left out, each once."""
    return tuple(dict.fromkeys(claim for row in sent_rows(name) if (claim := sent_claim(name, row))))
