"""The rule of one field as its form shows it, and back. A rule that the form cannot show is edited as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from samljit.admin.people.documents import completed, is_same, read_json, rewritten, write_json
from samljit.admin.people.mapping_form import sent, sent_claims, sent_rows
from samljit.mapping.uses import names_in
from samljit.model import Multi, OnMissing, UserColumn, ValueType

CLAIMS, TEMPLATE, CONSTANT, JSON = WAYS = ("source", "template", "value", "json")
CUT, REPLACE = "{split}", "{map}"  # steps with an argument; no function of a host's can be called so

_USUAL: Mapping[str, Any] = {
    "source": None, "template": None, "value": None, "transform": [], "multi": Multi.FIRST, "separator": None, "type": None,
    "required": False, "default": None, "sync_mode": None, "on_missing": OnMissing.KEEP,
}  # fmt: skip
_INTEGER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Step:
    """One transform. `text` is where CUT cuts, or the lines `from = to` of REPLACE."""

    kind: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class FieldEdit:
    """What the form of a field holds. All of it is text, as typed; `raw` is the rule as JSON."""

    way: str = CLAIMS
    sources: tuple[str, ...] = ()
    template: str = ""
    value: str = ""
    steps: tuple[Step, ...] = ()
    multi: str = Multi.FIRST
    separator: str = ", "
    type: str = ""
    required: bool = False
    default: str = ""
    sync_mode: str = ""
    on_missing: str = OnMissing.KEEP
    raw: str = ""


def edit_of(rule: Any, column: UserColumn | None) -> FieldEdit:
    """The form for a rule of the document, None for none yet."""
    if rule is None:
        return FieldEdit()
    document = {"source": rule} if isinstance(rule, str) else rule
    raw = write_json(rule)
    if not isinstance(document, Mapping):
        return FieldEdit(way=JSON, raw=raw)
    edit = replace(_read_rule(document), raw=raw)
    full = completed(document, _USUAL)
    return edit if is_same(completed(_wanted(edit, column), _USUAL), full) else FieldEdit(way=JSON, raw=raw)


def sent_edit() -> FieldEdit:
    """The form as it was sent."""
    way = sent("way")
    kinds = {row: sent(f"step-{row}") for row in sent_rows("step")}
    texts = {CUT: "cut", REPLACE: "table"}
    return FieldEdit(
        way=way if way in WAYS else CLAIMS,
        sources=sent_claims("source"),
        template=sent("template").strip(),
        value=sent("value").strip(),
        steps=tuple(Step(kind, sent(f"{texts[kind]}-{row}") if kind in texts else "") for row, kind in kinds.items() if kind),
        multi=sent("multi") or Multi.FIRST,
        separator=sent("separator"),
        type=sent("type"),
        required=sent("required") == "y",
        default=sent("default").strip(),
        sync_mode=sent("sync_mode"),
        on_missing=sent("on_missing") or OnMissing.KEEP,
        raw=sent("raw").strip(),
    )


def rule_of(edit: FieldEdit, column: UserColumn, *, old: Any) -> Any:
    """The rule that the form asks for; the old one where that says the same. Raises: NotJson."""
    if edit.way == JSON:
        return read_json(edit.raw)
    before = {"source": old} if isinstance(old, str) else old if isinstance(old, Mapping) else {}
    wanted = {**_USUAL, **_wanted(edit, column)}
    if old is not None and is_same(completed(before, _USUAL), completed(wanted, _USUAL)):
        return old
    rule = rewritten(before, wanted, usual=_USUAL)
    return rule["source"] if rule.keys() == {"source"} and isinstance(rule["source"], str) else rule


def control_of(place: str, edit: FieldEdit) -> str:
    """The control at which a problem shows, by the rest of its path below the field."""
    if edit.way == JSON:
        return "raw"
    found = re.match(r"\.?(?P<key>\w+)(?:\[(?P<item>\d+)\])?", place)
    if found is None:
        return {CLAIMS: "source-0", TEMPLATE: "template", CONSTANT: "value"}[edit.way]
    rows = {"source": "source", "transform": "step"}
    key = found["key"]
    return f"{rows[key]}-{found['item'] or 0}" if key in rows else key if key in _USUAL else "way"


def _read_rule(document: Mapping[str, Any]) -> FieldEdit:
    """What of a rule has a place in the form."""
    way = next((key for key in (TEMPLATE, CONSTANT) if document.get(key) is not None), CLAIMS)
    steps = document.get("transform")
    return FieldEdit(
        way=way,
        sources=tuple(names_in(document.get("source"))),
        template=str(document.get("template") or ""),
        value=_written(document.get("value")),
        steps=tuple(map(_read_step, steps)) if isinstance(steps, list) else (),
        multi=str(document.get("multi") or Multi.FIRST),
        separator=str(document["separator"]) if document.get("separator") is not None else ", ",
        type=str(document.get("type") or ""),
        required=document.get("required") is True,
        default=_written(document.get("default")),
        sync_mode=str(document.get("sync_mode") or ""),
        on_missing=str(document.get("on_missing") or OnMissing.KEEP),
    )


def _read_step(step: Any) -> Step:
    if isinstance(step, Mapping) and isinstance(step.get("split"), str):
        return Step(CUT, step["split"])
    if isinstance(step, Mapping) and isinstance(step.get("map"), Mapping):
        return Step(REPLACE, "\n".join(f"{old} = {new}" for old, new in step["map"].items()))
    return Step(str(step))


def _wanted(edit: FieldEdit, column: UserColumn | None) -> dict[str, Any]:
    """The keys of the rule that are not as usual, or may be so."""
    kind = edit.type or (column.type if column and column.type else ValueType.STRING)
    always = {"type": edit.type or None, "sync_mode": edit.sync_mode or None}
    if edit.way == CONSTANT:
        return {**always, "value": _constant(edit.value, kind)}
    origin = {"template": edit.template} if edit.way == TEMPLATE else {"source": _source(edit.sources)}
    is_joined = edit.multi == Multi.JOIN and edit.separator != ", "
    return {
        **always,
        **origin,
        "transform": list(map(_step, edit.steps)),
        "multi": edit.multi,
        "separator": edit.separator if is_joined else None,
        "required": edit.required,
        "default": _constant(edit.default, kind) if edit.default else None,
        "on_missing": edit.on_missing,
    }


def _source(names: tuple[str, ...]) -> Any:
    return names[0] if len(names) == 1 else list(names)


def _step(step: Step) -> Any:
    if step.kind == CUT:
        return {"split": step.text}
    if step.kind == REPLACE:
        pairs = [line.partition("=") for line in step.text.splitlines() if line.strip()]
        return {"map": {old.strip(): new.strip() for old, _, new in pairs}}
    return step.kind


def _written(constant: Any) -> str:
    """A constant as it stands in its control; a list has a line for each."""
    if isinstance(constant, bool):
        return "true" if constant else "false"
    if isinstance(constant, list):
        return "\n".join(map(str, constant))
    return "" if constant is None else str(constant)


def _constant(text: str, kind: str) -> Any:
    """The constant that was typed, of the JSON type that belongs there; what cannot be that stays text, and is told so by the check."""
    if kind == ValueType.BOOLEAN:
        return {"true": True, "false": False}.get(text, text)
    if kind == ValueType.INTEGER:
        return int(text) if _INTEGER.fullmatch(text) else text
    if kind == ValueType.LIST:
        return [line.strip() for line in text.splitlines() if line.strip()]
    return text
