"""pytest fixtures for hosts: `fake_entra` and `saml_browser`.

pytest loads this wherever samljit is installed, so the tools are imported only where a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from samljit.testing.browser import Browser
    from samljit.testing.entra import FakeEntra


@pytest.fixture
def fake_entra() -> FakeEntra:
    """A Fake Entra for the tenant aaaabbbb-0000-cccc-1111-dddd2222eeee, with a key that is made once for the whole run."""
    from samljit.testing.entra import FakeEntra

    return FakeEntra()


@pytest.fixture
def saml_browser() -> Callable[[Mapping[str, Any]], Browser]:
    """Makes browsers: `saml_browser({"https://app.example.com": app})` gives one without cookies. Keywords are Browser's."""
    from samljit.testing.browser import Browser

    return Browser
