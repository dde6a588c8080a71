"""Files that commands are given: read within a bound, and JSON told in one sentence where it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from samljit.settings.source import parse_object

LARGEST = 1024 * 1024  # bytes, unless a command says otherwise


def read_bytes(file: Path, *, largest: int = LARGEST) -> bytes:
    """What the file holds. Raises: click.BadParameter."""
    try:
        with file.open("rb") as opened:
            content = opened.read(largest + 1)
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be read: {error.strerror}.") from None
    if len(content) > largest:
        raise click.BadParameter(f"{file} is larger than {largest} bytes.")
    return content


def read_object(content: bytes, *, name: str) -> dict[str, Any]:
    """The one JSON object that these bytes must be, no key twice. `name` stands in the messages. Raises: click.BadParameter."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{name} is not UTF-8. Save it as UTF-8.") from None
    found, problems = parse_object(text, name=name)
    if found is None or problems:
        raise click.BadParameter(" ".join(f"{problem.path}: {problem.message} {problem.hint}".strip() for problem in problems))
    return found
