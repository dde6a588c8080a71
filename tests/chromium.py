"""A real Chromium for the tests that need one: the system's own, driven by playwright.

Import the fixture where it is used: `from tests.chromium import launched as launched` gives `chromium`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The path of a Chromium: the one that CHROMIUM names, else the first found under its usual names."""
    named = os.environ.get("CHROMIUM")
    names = (named,) if named else _NAMES
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(name="chromium", scope="module")
def launched() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        missing = "no Chromium here; these tests need one: apt-get install chromium, or set CHROMIUM to the path of yours"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()
