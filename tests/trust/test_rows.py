"""The rows of what is checked in a message, 1 to 53: each has a test that names it and forges its fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = "\n".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))


@pytest.mark.parametrize("row", range(1, 54))
def test_every_row_is_named_by_a_test(row: int) -> None:
    """In the test's name (`test_22_...`, `test_trust_22_...`), or in the id of its case (`22-replayed`)."""
    assert re.search(rf'def test_(trust_)?{row}_|"{row}-[a-z0-9{{]', TESTS)
