"""Turns what pydantic finds wrong with a document into problems that say where, what, and what to write instead.

No message ever repeats a value of the document: settings hold secrets, and somebody pastes a key where a name belongs.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from samljit.errors import Problem

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_ECHO = 60
_MOST_FOUND = 500  # nobody corrects more at once, and each is held against all known names
_OWN_TYPES = frozenset(get_args(ErrorType))

# what a pydantic error type expected, and how that is written in JSON
_EXPECTED = {
    "string_type": ("text", "Write it in double quotes."),
    "bool_type": ("true/false", "Write true or false, without quotes."),
    "bool_parsing": ("true/false", "Write true or false, without quotes."),
    "int_type": ("a whole number", "Write a number, without quotes."),
    "int_parsing": ("a whole number", "Write a number, without quotes."),
    "int_from_float": ("a whole number", "Write a number without a fraction."),
    "float_type": ("a number", "Write a number, without quotes."),
    "float_parsing": ("a number", "Write a number, without quotes."),
    "list_type": ("a list", "Write [...]."),
    "tuple_type": ("a list", "Write [...]."),
    "set_type": ("a list", "Write [...]."),
    "frozen_set_type": ("a list", "Write [...]."),
    "dict_type": ("an object", "Write {...}."),
    "mapping_type": ("an object", "Write {...}."),
    "model_type": ("an object", "Write {...}."),
    "model_attributes_type": ("an object", "Write {...}."),
    "none_required": ("null", "Write null, without quotes."),
}
# pydantic's own words for the rest are a programmer's: a pattern tells nobody what to write; the key's description and example do
_PLAIN = {
    "string_pattern_mismatch": "Does not have the form of what belongs here.",
    "string_too_short": "Must not be empty.",
    "string_too_long": "Must have {max_length} characters at most.",
    "too_short": "Must not be empty.",
    "too_long": "Must hold {max_length} at most.",
    "greater_than_equal": "Must be {ge} or more.",
    "less_than_equal": "Must be {le} or less.",
}


def path_to(prefix: str, *parts: str | int) -> str:
    """The JSON path of a place below `prefix`, as in `$.tenants.contoso.domains[0]`; keys that need it are quoted."""
    path = prefix
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= _LONGEST_ECHO:
            path += f".{part}"
        else:
            path += f"[{json.dumps(shorten(part))}]"
    return path


def shorten(text: str) -> str:
    """The text, or its beginning where it is too long to be a name."""
    return text if len(text) <= _LONGEST_ECHO else text[: _LONGEST_ECHO - 3] + "..."


def nearest_hint(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word next to `word`, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word.casefold(), names, n=1, cutoff=0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    return "Known here: " + ", ".join(names) + "." if names else "Nothing may stand here."


def problems_of(error: ValidationError, *, prefix: str, known: type[BaseModel]) -> list[Problem]:
    """All that pydantic found, as problems in the order of the document.

    `known` is the model that refused the document: known keys, descriptions and examples for the hints are read from it.
    `prefix` is the JSON path of the document itself, `$` for a whole file. Codes are `unknown_key`, `missing`,
    `wrong_type`, `invalid`, or the type of a `PydanticCustomError` (whose context may hold a `hint`).
    """
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False, include_input=True)[:_MOST_FOUND]:
        place = _locate(details["loc"], known)
        problem = _problem(details, place=place, path=path_to(prefix, *place.path))
        earlier = found.get(problem.path)
        found[problem.path] = problem if earlier is None else _either(earlier, problem)
    return [problem for problem in found.values() if not _is_outdone(problem, found)]


class _Place(NamedTuple):
    """Where in a document an error lies: its path without pydantic's union labels, and what the model says about it."""

    path: tuple[str | int, ...]
    parent: tuple[type[BaseModel], ...]
    field: FieldInfo | None
    is_key: bool


def _locate(loc: Sequence[str | int], model: type[BaseModel]) -> _Place:
    path: list[str | int] = []
    annotation: Any = model
    parent: tuple[type[BaseModel], ...] = ()
    field: FieldInfo | None = None
    rest = list(loc)
    is_key = bool(rest) and rest[-1] == "[key]"
    if is_key:
        rest.pop()
    while rest:
        members = _members(annotation)
        # pydantic puts a label of the member that it tried into the location of every error inside a union
        if len(members) > 1 and isinstance(rest[0], str):
            label = rest.pop(0)
            members = [member for member in members if getattr(member, "__name__", None) == label] or members
            annotation = members[0] if len(members) == 1 else annotation
            if not rest:
                break
        part = rest.pop(0)
        path.append(part)
        parent = tuple(member for member in members if isinstance(member, type) and issubclass(member, BaseModel))
        field = next((named[part] for named in map(_fields, parent) if part in named), None)
        annotation = field.annotation if field else _inside(members)
    return _Place(tuple(path), parent, field, is_key)


def _members(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None and without the wrappers around them."""
    if hasattr(annotation, "__value__"):
        return _members(annotation.__value__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part) if member is not type(None)]
    return [annotation]


def _inside(members: list[Any]) -> Any:
    """The type of what a list or dict holds; Any where that is not known."""
    for member in members:
        arguments = get_args(member)
        if arguments:
            is_mapping = issubclass(get_origin(member) or object, Mapping)
            return arguments[-1] if is_mapping else arguments[0]
    return Any


def _fields(model: type[BaseModel]) -> dict[str | int, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _problem(details: ErrorDetails, *, place: _Place, path: str) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    name = shorten(str(place.path[-1])) if place.path else ""
    if place.is_key:
        return Problem(path, "invalid", f'"{name}" is not a possible key here.', _about(place.field))
    if kind == "extra_forbidden":
        # a field with exclude=True is there to be refused with words of its own
        known = {str(key) for model in place.parent for key, field in _fields(model).items() if not field.exclude}
        hint = _section_hint(name, place.parent) or nearest_hint(name, known)
        return Problem(path, "unknown_key", f'There is no key "{name}".', hint)
    if kind == "missing":
        return Problem(path, "missing", f'The key "{name}" is required.', _about(place.field))
    if kind in _EXPECTED:
        expected, remedy = _EXPECTED[kind]
        return Problem(path, "wrong_type", f"Must be {expected}, not {_kind_of(details['input'])}.", _with_example(remedy, place.field))
    if kind in ("literal_error", "enum"):
        return Problem(path, "invalid", f"Must be {context['expected']}.", _nearest_choice(details["input"], context["expected"]))
    if kind == "value_error":
        return Problem(path, "invalid", str(context["error"]), _about(place.field))
    if kind not in _OWN_TYPES:
        return Problem(path, kind, details["msg"], str(context.get("hint", "")))
    message = _PLAIN[kind].format(**context) if kind in _PLAIN else f"{details['msg'].replace('Input should', 'Must')}."
    return Problem(path, "invalid", message, _about(place.field))


def _section_hint(name: str, parent: Iterable[type[BaseModel]]) -> str:
    """Where a key belongs that was written one level too high; empty where it belongs nowhere below."""
    sections = (
        section
        for model in parent
        for section, field in _fields(model).items()
        for member in _members(field.annotation)
        if isinstance(member, type) and issubclass(member, BaseModel) and name in _fields(member)
    )
    return next((f'It belongs into "{section}".' for section in sections), "")


def _with_example(remedy: str, field: FieldInfo | None) -> str:
    """The remedy, with the key's own example where that is a list: brackets alone do not say that one item needs them too."""
    example = field.examples[0] if field is not None and field.examples else None
    return f"{remedy} For example {json.dumps(example)}." if isinstance(example, list) else remedy


def _about(field: FieldInfo | None) -> str:
    if field is None:
        return ""
    example = f"For example {json.dumps(field.examples[0])}." if field.examples else ""
    return " ".join(part for part in (field.description, example) if part)


def _kind_of(value: Any) -> str:
    kinds = ((type(None), "null"), (bool, "true/false"), (str, "text"), (int | float, "a number"), (Mapping, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a list")


def _nearest_choice(value: Any, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(value.casefold(), choices, n=1) if isinstance(value, str) else []
    return f'Did you mean "{near[0]}"?' if near else ""


def _either(first: Problem, second: Problem) -> Problem:
    """One problem for the two that a union's members report at one place: each says what it would have taken."""
    if first.code != "wrong_type" or first.message == second.message:
        return first
    if second.code != "wrong_type":
        return second
    expected, but = first.message.split(", not ", 1)
    other = second.message.removeprefix("Must be ").split(", not ", 1)[0]
    return replace(first, message=f"{expected.replace(' or ', ', ')} or {other}, not {but}", hint="")


def _is_outdone(problem: Problem, found: Mapping[str, Problem]) -> bool:
    """Whether another member of the union fitted better: it went deeper, so "must be text" would only mislead."""
    return problem.code == "wrong_type" and any(path.startswith((problem.path + ".", problem.path + "[")) for path in found)
