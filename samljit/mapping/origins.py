"""Where a merged mapping document has its parts from, so that a problem is told where it can be put right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from samljit.errors import Problem
from samljit.mapping.problems import path_to


def inherited_places(defaults: Mapping[str, Any], own: Mapping[str, Any], *, path: str, origin: str) -> dict[str, str]:
    """What `merge_documents` takes from the defaults: its place below `path`, where the merged document stands, and below `origin`."""
    parts: list[tuple[str, ...]] = [(section,) for section in defaults if section not in own]
    inherited, fields = defaults.get("fields"), own.get("fields")
    if isinstance(inherited, Mapping) and isinstance(fields, Mapping):
        parts += [("fields", target) for target in inherited if target not in fields]
    return {path_to(path, *part): path_to(origin, *part) for part in parts}


def at_origin(problem: Problem, places: Mapping[str, str]) -> Problem | None:
    """The problem at the place that it was inherited from; None where it was not inherited."""
    for place, origin in places.items():
        if problem.path == place or problem.path.startswith((f"{place}.", f"{place}[")):
            return replace(problem, path=origin + problem.path.removeprefix(place))
    return None
