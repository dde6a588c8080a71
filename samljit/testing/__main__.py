"""Writes throwaway keys, certificates and IdP metadata: `python -m samljit.testing certs`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from samljit.testing.entra import FakeEntra
from samljit.testing.keys import make_key_pair

_SP_VALIDITY = timedelta(days=10 * 365)
_PRIVATE = 0o600
_PUBLIC = 0o644


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0 written, 1 could not be written, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m samljit.testing",
        description="Write a service provider's key pair and federation metadata as Microsoft Entra ID publishes it, all throwaway.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write; made if missing")
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    options = parser.parse_args(arguments)
    try:
        return _write(options.directory, force=options.force)
    except OSError as error:
        sys.stderr.write(f"Cannot write: {error}\n")
        return 1


def _write(directory: Path, *, force: bool) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    files = {directory / name: content for name, content in _files().items()}
    there = [path for path in files if os.path.lexists(path)]
    if there and not force:
        sys.stderr.write(f"Already there, and not replaced without --force: {', '.join(str(path) for path in there)}\n")
        return 1
    for path in there:
        path.unlink()
    for path, (content, mode) in files.items():
        # The mode is given at creation: a key must not be readable for others even for a moment.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        sys.stdout.write(f"{path}\n")
    return 0


def _files() -> Mapping[str, tuple[bytes, int]]:
    """What to write: name to content and mode."""
    now = datetime.now(UTC)
    pair = make_key_pair(common_name="samljit", valid_from=now - timedelta(days=1), valid_until=now + _SP_VALIDITY)
    return {
        "sp.key": (pair.private_key_pem, _PRIVATE),
        "sp.crt": (pair.certificate_pem, _PUBLIC),
        "contoso-metadata.xml": (FakeEntra().metadata(), _PUBLIC),
    }


if __name__ == "__main__":
    sys.exit(main())
