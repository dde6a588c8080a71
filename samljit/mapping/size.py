"""How large a mapping may be that an admin of a tenant writes: every page about it reads, checks and shows all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from samljit.errors import Problem

LARGEST = 256 * 1024  # characters, as JSON
MOST_VALUES = 5000  # a group with one role and a note counts three times
DEEPEST = 20  # a good document is half as deep, and Python gives up some hundreds further down

_MESSAGE = "Is larger than a mapping that is written on a page may be."
_HINT = f"{MOST_VALUES} values and {LARGEST // 1024} KiB at most. Whoever runs the app can write larger ones."


def find_excess(document: Mapping[str, Any], *, live: Mapping[str, Any], path: str) -> list[Problem]:
    """What is wrong with the size of a drafted mapping; one that is no larger than what is live may stay so."""
    if is_deep(document):
        return [Problem(path, "too_large", _MESSAGE, _HINT)]
    values, characters = _measure(document)
    if values <= MOST_VALUES and characters <= LARGEST:
        return []
    known = _measure(live)
    return [] if values <= known[0] and characters <= known[1] else [Problem(path, "too_large", _MESSAGE, _HINT)]


def is_deep(value: Any) -> bool:
    """Whether values lie deeper in one another than in any document of ours."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return False
    return True


def _measure(document: Mapping[str, Any]) -> tuple[int, int]:
    """How many values there are, and how many characters."""
    count, waiting = 0, [document]
    while waiting:
        count += 1
        waiting.extend(_inside(waiting.pop()))
    return count, len(json.dumps(document, ensure_ascii=False))


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
