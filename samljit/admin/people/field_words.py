"""The rule of a field as the table of claims tells it: what it is filled from, what is done to it, and when it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from samljit.admin.people.mapping import Origin
from samljit.admin.people.rule_words import SEVERAL, told_step
from samljit.mapping.uses import names_in
from samljit.model import Multi, OnMissing, SyncMode
from samljit.views.words import N_, gettext

MODES = {
    SyncMode.ALWAYS: N_("at every sign-in"),
    SyncMode.ON_CREATE: N_("once, when the user is made"),
    SyncMode.IF_EMPTY: N_("while it is empty"),
}


@dataclass(frozen=True, slots=True)
class ShownField:
    """One row. `claims` are in order of preference; `last` is what the field would be given from the last test, None where that is not
    known or not to be seen."""

    name: str
    origin: Origin
    claims: tuple[str, ...] = ()
    template: str = ""
    constant: str = ""
    steps: tuple[str, ...] = ()
    mode: str = ""
    is_cleared: bool = False
    is_required: bool = False
    default: str = ""
    is_other: bool = False
    last: tuple[str, ...] | None = field(default=None, repr=False)
    faults: tuple[str, ...] = ()


def shown_field(name: str, rule: Any, *, origin: Origin, mode: str, last: tuple[str, ...] | None, faults: tuple[str, ...]) -> ShownField:
    """`mode` is the document's own, for rules that do not say."""
    document = {"source": rule} if isinstance(rule, str) else rule
    if not isinstance(document, Mapping):
        return ShownField(name, origin, is_other=origin is not Origin.DROPPED, faults=faults)
    written = document.get("sync_mode") or mode
    return ShownField(
        name=name,
        origin=origin,
        claims=tuple(names_in(document.get("source"))),
        template=str(document.get("template") or ""),
        constant=_constant(document.get("value")),
        steps=tuple(_steps(document)),
        mode=gettext(MODES[SyncMode(written)]) if written in list(SyncMode) else "",
        is_cleared=document.get("on_missing") == OnMissing.CLEAR,
        is_required=document.get("required") is True,
        default=_constant(document.get("default")),
        last=last,
        faults=faults,
    )


def _steps(document: Mapping[str, Any]) -> Iterator[str]:
    steps = document.get("transform")
    yield from (told_step(step, is_brief=True) for step in (steps if isinstance(steps, list) else ()))
    several = document.get("multi")
    if several in list(Multi) and several != Multi.FIRST:
        yield gettext(SEVERAL[Multi(several)])


def _constant(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
