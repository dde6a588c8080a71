"""Looks into the settings as they were written, passing over values of a wrong type: those are reported by the document's shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def text_of(section: Mapping[str, Any], key: str) -> str | None:
    """The text at this key, or None."""
    value = section.get(key)
    return value if isinstance(value, str) else None


def object_of(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object at this key, or an empty one."""
    value = section.get(key)
    return {name: inner for name, inner in value.items() if isinstance(name, str)} if isinstance(value, dict) else {}


def texts_of(section: Any, key: str) -> Iterable[tuple[int, str]]:
    """The texts of the list at this key, each with its place in it."""
    value = section.get(key) if isinstance(section, dict) else None
    return [(index, item) for index, item in enumerate(value) if isinstance(item, str)] if isinstance(value, list) else []
