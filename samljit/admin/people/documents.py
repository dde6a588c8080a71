"""Parts of a mapping document between a form and the document: nothing is rewritten that says the same, and nothing gets lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from samljit.mapping.size import is_deep

Document = Mapping[str, Any]


class NotJson(ValueError):
    """A text that is no JSON, or holds what no database keeps and no document of ours."""


def completed(document: Document, usual: Document) -> dict[str, Any]:
    """All that a part of a document says, what goes without saying included; a list of one claim as the claim."""
    return {key: _plain(key, value) for key, value in {**usual, **document}.items()}


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; to Python, 1 is true."""
    return _dumped(one) == _dumped(other)


def rewritten(old: Document, wanted: Document, *, usual: Document) -> dict[str, Any]:
    """`old` changed to say what is `wanted`, which holds all keys: what it says already stays as it is written, what goes without saying
    is left out."""
    kept = {key: value for key, value in old.items() if key in wanted and is_same(_plain(key, value), _plain(key, wanted[key]))}
    return {**kept, **{key: value for key, value in wanted.items() if key not in kept and not is_same(value, usual[key])}}


def read_json(text: str) -> Any:
    """What a text says. Raises: NotJson."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        if is_deep(value):
            raise NotJson
        written = json.dumps(value, ensure_ascii=False)
        written.encode()  # halves of surrogate pairs
    except (ValueError, RecursionError):
        raise NotJson from None
    if "\\u0000" in written:
        raise NotJson
    return value


def write_json(value: Any) -> str:
    """A value as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's addition to JSON


def _plain(key: str, value: Any) -> Any:
    return value[0] if key == "source" and isinstance(value, list) and len(value) == 1 else value


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
