"""`flask samljit ...` as tests type it, on a host of theirs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.host import Host, make_host
from tests.servers import KINDS, database


def run(host: Host, *arguments: str) -> Result:
    result = host.app.test_cli_runner().invoke(args=["samljit", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def read(host: Host, *arguments: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    result = run(host, *arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture(name="any_host", params=KINDS)
def made_on_each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with database(request.param, tmp_path) as url:
        host = make_host(tmp_path, url=url)
        yield host
        host.session.remove()
        host.engine.dispose()


def add_user(host: Host, email: str, **values: Any) -> int:
    user = host.user_model(email=email, **values)
    host.session.add(user)
    host.session.commit()
    key: int = user.id
    host.session.remove()
    return key


def audit(host: Host) -> list[tuple[str, str, Any, Any]]:
    return [(row.changed_by, row.action, row.before, row.after) for row in host.rows("samljit_audit")]


def write_csv(directory: Path, *rows: tuple[str, ...], head: tuple[str, ...] = ("tenant", "subject", "user")) -> str:
    file = directory / "people.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([head, *rows])
    return str(file)


def object_id(number: int) -> str:
    return f"33330000-aaaa-4444-8888-{number:012}"
