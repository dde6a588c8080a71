from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.host import Host, make_host
from tests.https import Authority, Site, https_server

Mount = Callable[..., Host]

# a busy machine is no fault of an example's
hypothesis.settings.register_profile("samljit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("samljit")


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


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted_authority(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture(scope="session")
def site_certificate(authority: Authority) -> Path:
    return authority.certify(["localhost"])


@pytest.fixture
def site(trusted_authority: Authority, site_certificate: Path) -> Iterator[Site]:
    """An address on this machine where an IdP's metadata can be fetched, by what the system trusts during the test."""
    made = Site()
    with https_server(site_certificate, lambda tls: made.script(tls)) as made.server:
        yield made
