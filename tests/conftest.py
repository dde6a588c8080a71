from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import Host, make_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = make_host(tmp_path)
    yield made
    made.session.remove()
    made.engine.dispose()
