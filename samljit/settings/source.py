"""Gets settings and the files they name into memory, each read once; what cannot be read is a problem, never a traceback."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from samljit.errors import Problem
from samljit.mapping.problems import path_to
from samljit.settings.mixed_up import Kind, find_mixed_up

LARGEST_FILE = 1024 * 1024 + 1  # one byte more than any reader accepts, so that it can tell

_JSON_HINT = 'JSON has double quotes only, true, false and null in small letters, no comments, and no comma after the last item.'
_UNREADABLE: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "does not exist"),
    (IsADirectoryError, "is a directory, not a file"),
    (PermissionError, "may not be read by this process"),
)


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
        return None, [Problem("$", "missing_file", f"{_place(source)} {_unreadable(error)}.", hint)]
    return parse_object(text, name=str(source))


def _place(source: Path | str) -> Path:
    """The file with the directory that a relative path was taken from: a server's is often another one than a terminal's."""
    try:
        return Path(source).absolute()
    except OSError:
        return Path(source)


def _unreadable(error: Exception) -> str:
    return next((words for kind, words in _UNREADABLE if isinstance(error, kind)), f"cannot be read ({type(error).__name__})")


def parse_object(text: str, *, name: str) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The one JSON object that the text must be, and what is wrong with it as JSON. `name` stands in the messages."""
    try:
        document = json.loads(text, object_pairs_hook=_Object.of_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        said = error.msg if text.strip() else "it is empty"
        return None, [Problem("$", "json_malformed", f"{name} is not JSON: {said} ({where}).", _JSON_HINT)]
    except (ValueError, RecursionError):
        return None, [Problem("$", "json_malformed", f"{name} holds a number or a nesting that has no place here.")]
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

    def check(self, name: str, *, path: str, wanted: Kind) -> tuple[bytes | None, list[Problem]]:
        """The contents, or the problem to report at the JSON path."""
        if "-----BEGIN" in name or "\n" in name or name.lstrip().startswith("<"):
            return None, [Problem(path, "missing_file", "Must be the path of a file, not its contents.", "Save them to a file.")]
        if name.startswith(("https://", "http://")):
            hint = "The address of an IdP's metadata goes into metadata_url; anything else has to be downloaded."
            return None, [Problem(path, "missing_file", "Must be the path of a file, not an address.", hint)]
        content = self._content(name)
        if content is None:
            return None, [self._missing(name, path=path)]
        mixed_up = find_mixed_up(content, wanted=wanted, path=path)
        return (None, [mixed_up]) if mixed_up else (content, [])

    def _missing(self, name: str, *, path: str) -> Problem:
        what = "There is no file of this name"
        with suppress(OSError, ValueError):
            if self.path(name).is_dir():
                what = "This is a directory, not a file"
            elif self.path(name).exists():
                what = "There is something of this name that this process cannot read as a file"
        hint = "Relative paths are relative to the settings file."
        return Problem(path, "missing_file", f"{what}, seen from {self._base}.", hint)

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
