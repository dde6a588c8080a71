"""The closed list of what a mapping document can do to one value. No code, no regular expressions."""

from __future__ import annotations

from collections.abc import Mapping

from samljit.mapping.text import clean
from samljit.mapping.values import Misfit
from samljit.model import Transform


def lowercase(value: str) -> str:
    """The value in lower case."""
    return value.lower()


def localpart(value: str) -> str:
    """What stands before the last "@"; the whole value where there is none, as Entra's ExtractMailPrefix has it."""
    before, at, _ = value.rpartition("@")
    return before if at else value


def domain(value: str) -> str | list[str]:
    """What stands after the last "@"; nothing where there is none."""
    _, at, after = value.rpartition("@")
    return after if at else []


NAMED: Mapping[str, Transform] = {"lowercase": lowercase, "localpart": localpart, "domain": domain}


def split_at(separator: str) -> Transform:
    """A transform that cuts a value into several."""

    def split(value: str) -> list[str]:
        return value.split(separator)

    return split


def look_up(table: Mapping[str, str]) -> Transform:
    """A transform that puts another value in a value's place, case and all; a Misfit where the table has none."""
    entries = {clean(key): replacement for key, replacement in table.items()}

    def map_value(value: str) -> str:
        if value not in entries:
            raise Misfit('is not in the "map" of the field')
        return entries[value]

    return map_value


def apply(transforms: tuple[Transform, ...], value: str) -> list[str]:
    """What becomes of one cleaned value: clean, non-blank values, in order.

    Raises: Misfit where a transform cannot use the value, or a function of the host's fails.
    """
    values = [value]
    for transform in transforms:
        values = [result for one in values for result in _results(transform, one)]
    return values


def _results(transform: Transform, value: str) -> list[str]:
    try:
        result = transform(value)
        results = [clean(one) for one in ([result] if isinstance(result, str) else result)]
    except Misfit:
        raise
    except Exception as error:
        # A function of the host's. The claim chose its input, so this ends as a refusal and not as a 500; the error's own
        # words may hold the value.
        raise Misfit(f"made a transform fail with {type(error).__name__}") from None
    return [one for one in results if one]
