"""Fits text from claims, and constants from documents, to the host's columns before the database sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from samljit.mapping.mail import check_address
from samljit.mapping.text import clean
from samljit.model import UserColumn, ValueType

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?", re.DOTALL)

# what a column can hold besides values of its own type, and how it is written there
_CONVERSIONS: dict[tuple[ValueType, ValueType], Callable[[Any], Any]] = {
    (ValueType.BOOLEAN, ValueType.STRING): lambda value: "true" if value else "false",
    (ValueType.INTEGER, ValueType.STRING): str,
    (ValueType.DATE, ValueType.STRING): date.isoformat,
    (ValueType.BOOLEAN, ValueType.INTEGER): int,
}

# which types a constant of a document can have, by what it is in JSON
_WRITTEN_AS = {
    str: (ValueType.STRING, ValueType.DATE, ValueType.LIST),
    bool: (ValueType.BOOLEAN,),
    int: (ValueType.INTEGER,),
    list: (ValueType.LIST,),
}
_HOW_WRITTEN = {
    ValueType.STRING: "text in quotes",
    ValueType.DATE: 'a date in quotes, "2026-01-31"',
    ValueType.LIST: "a list of texts",
    ValueType.BOOLEAN: "true or false, without quotes",
    ValueType.INTEGER: "a whole number, without quotes",
}


class Misfit(ValueError):
    """A value that does not fit its field. `str()` says why as the rest of a sentence, and never repeats the value."""


def can_hold(column: UserColumn, type_: ValueType) -> bool:
    """Whether values of this type can be stored in the column."""
    return column.type == type_ or (type_, column.type) in _CONVERSIONS


def fit_text(values: Sequence[str], *, type_: ValueType, column: UserColumn, is_email: bool) -> Any:
    """The value to store for these cleaned, non-blank texts: a list for a list, else of the one text there is.

    Raises: Misfit.
    """
    if type_ is ValueType.LIST:
        return [_checked_text(value, column=column, is_email=is_email) for value in values]
    parsed = _PARSERS[type_](values[0])
    stored = parsed if column.type == type_ else _CONVERSIONS[type_, column.type or type_](parsed)
    if isinstance(stored, str):
        return _checked_text(stored, column=column, is_email=is_email)
    if isinstance(stored, int) and not isinstance(stored, bool) and not -(1 << column.bits - 1) <= stored < 1 << column.bits - 1:
        raise Misfit(f"is not within {column.bits} bits")
    return stored


def fit_constant(value: str | bool | int | list[str], *, type_: ValueType, column: UserColumn, is_email: bool) -> Any:
    """The value to store for a constant of a mapping document, which must be of the JSON type that belongs there.

    Raises: Misfit.
    """
    if type_ not in _WRITTEN_AS[type(value)]:
        raise Misfit(f"must be written as {_HOW_WRITTEN[type_]}")
    texts = value if isinstance(value, list) else [str(value)]
    texts = [text for text in map(clean, texts) if text]
    if not texts and type_ is not ValueType.LIST:
        raise Misfit("must not be blank")
    return fit_text(texts, type_=type_, column=column, is_email=is_email)


def is_empty(value: Any) -> bool:
    """Whether a column holds nothing worth keeping: None, blank text, an empty list. False and 0 are something."""
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, list | tuple) and not value)


def is_same(old: Any, new: Any) -> bool:
    """Whether a column that holds `old` need not be written to hold `new`: equal, and of one type (1 is not True)."""
    if isinstance(new, list):
        return isinstance(old, list | tuple) and list(old) == new
    if isinstance(old, bool) is not isinstance(new, bool):
        return False
    return isinstance(old, type(new)) and bool(old == new)


def _checked_text(value: str, *, column: UserColumn, is_email: bool) -> str:
    if is_email:
        try:
            value = check_address(value)
        except ValueError as error:
            raise Misfit(str(error)) from None
    if column.length is not None and len(value) > column.length:
        raise Misfit(f"is longer than {column.length} characters")
    return value


def _boolean(text: str) -> bool:
    if text.casefold() not in _BOOLEANS:
        raise Misfit("is none of true, false, 1, 0, yes, no")
    return _BOOLEANS[text.casefold()]


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise Misfit("is not a whole number")
    return int(text)


def _date(text: str) -> date:
    """Entra writes dates such as a hire date with a time; the date is taken as written, whatever the zone."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise Misfit("is not a date in the form 2026-01-31") from None


_PARSERS: dict[ValueType, Callable[[str], Any]] = {
    ValueType.STRING: str,
    ValueType.BOOLEAN: _boolean,
    ValueType.INTEGER: _integer,
    ValueType.DATE: _date,
}
