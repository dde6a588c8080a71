"""Gets settings and the files they name into memory, each read once; what cannot be read is a problem, never a traceback."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from samljit.errors import Problem
from samljit.mapping.problems import path_to

LARGEST_FILE = 1024 * 1024 + 1  # one byte more than any reader accepts, so that it can tell


def read_document(source: Path | str | Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The settings as plain dicts and lists, detached from the source, and what JSON itself says against them."""
    if isinstance(source, Mapping):
        return _plain(source), []
    try:
        text = Path(source).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return None, [Problem("$", "json_malformed", f"{source} is not UTF-8.", "Save it as UTF-8.")]
    except (OSError, ValueError) as error:
        hint = "Copy settings.json.example, or name the file in SAMLJIT_SETTINGS."
        return None, [Problem("$", "missing_file", f"{source} cannot be read ({type(error).__name__}).", hint)]
    return _parse(text, name=str(source))


def _parse(text: str, *, name: str) -> tuple[dict[str, Any] | None, list[Problem]]:
    try:
        document = json.loads(text, object_pairs_hook=_Object.of_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        hint = "JSON knows no comments and no comma after the last item."
        return None, [Problem("$", "json_malformed", f"{name} is not JSON: {error.msg} ({where}).", hint)]
    except (ValueError, RecursionError):
        return None, [Problem("$", "json_malformed", f"{name} holds a number or a nesting that no settings need.")]
    if not isinstance(document, dict):
        return None, [Problem("$", "wrong_type", f"{name} must hold one object.", "Write {...}.")]
    problems = [
        Problem(path, "duplicate_key", "This key stands here more than once.", "Keep one of them.")
        for path in _repeated_keys(document, "$")
    ]
    return _plain(document), problems


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood there twice: `dict` would silently keep the last."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def of_pairs(cls, pairs: list[tuple[str, Any]]) -> _Object:
        made = cls(pairs)
        made.repeated = tuple(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        return made


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's addition to JSON


def _repeated_keys(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (path_to(path, key) for key in value.repeated)
        for key, inner in value.items():
            yield from _repeated_keys(inner, path_to(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeated_keys(inner, path_to(path, index))


def _plain(value: Any) -> Any:
    """A copy in plain dicts and lists: what the host changes afterwards in its own config changes nothing here."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


class Files:
    """The files that settings name, each read at most once. Problems never repeat the name: somebody may paste a key there."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._read: dict[str, bytes | None] = {}

    def path(self, name: str) -> Path:
        return self._base / name

    def read(self, name: str) -> bytes:
        """The contents of a file that `check` found good."""
        content = self._content(name)
        if content is None:
            raise FileNotFoundError(name)
        return content

    def check(self, name: str, *, path: str) -> tuple[bytes | None, list[Problem]]:
        """The contents, or the problem to report at the JSON path."""
        if "-----BEGIN" in name or "\n" in name:
            return None, [Problem(path, "missing_file", "Must be the path of a file, not its contents.")]
        content = self._content(name)
        if content is None:
            message = f"There is no file of this name that can be read, seen from {self._base}."
            return None, [Problem(path, "missing_file", message, "Relative paths are relative to the settings file.")]
        return content, []

    def is_open_to_others(self, name: str) -> bool:
        """Whether more people than the owner may read the file; not known, so False, where rights are not POSIX's."""
        return os.name == "posix" and bool(self.path(name).stat().st_mode & 0o044)

    def _content(self, name: str) -> bytes | None:
        if name not in self._read:
            self._read[name] = _first_bytes(self.path(name))
        return self._read[name]


def _first_bytes(path: Path) -> bytes | None:
    # a FIFO or a device would be waited for, or read without end
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE)
    except OSError:
        return None
