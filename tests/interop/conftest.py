from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.app import Connect, Connected, connected
from tests.interop.idp import Idp, find_missing, served_idp


@pytest.fixture(scope="session")
def running_idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    """One server for all of the run. Where the package is missing: a failure under CI=true, else a skip."""
    missing = find_missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with served_idp(tmp_path_factory.mktemp("simplesamlphp")) as idp:
        yield idp


@pytest.fixture
def idp(running_idp: Idp) -> Idp:
    running_idp.reset()
    return running_idp


@pytest.fixture
def connect(idp: Idp, tmp_path: Path) -> Iterator[Connect]:
    """Makes host apps that are connected to the IdP (see `connected`), and puts them away."""
    made: list[Connected] = []

    def make(**options: Any) -> Connected:
        directory = tmp_path / f"app-{len(made)}"
        directory.mkdir()
        made.append(connected(idp, directory, **options))
        return made[-1]

    yield make
    for one in made:
        one.host.session.remove()
        one.host.engine.dispose()
