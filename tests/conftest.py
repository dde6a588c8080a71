from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host, make_host

Mount = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = make_host(tmp_path)
    yield made
    made.session.remove()
    made.engine.dispose()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Makes further hosts, each in a directory of its own, and puts them away."""
    made: list[Host] = []

    def make(**options: Any) -> Host:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(make_host(directory, **options))
        return made[-1]

    yield make
    for host in made:
        host.session.remove()
        host.engine.dispose()
