"""Several workers of one app whose tenant's IdP is known by the address of its metadata."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from samljit.testing import FakeEntra
from tests.host import FIELDS, ORIGIN, Host, make_host
from tests.https import Site


class Workers:
    """Several workers of one app: each a host of its own, on one database. Keywords are the tenant's settings."""

    def __init__(self, directory: Path, url: str, site: Site) -> None:
        self._directory, self._url, self._site = directory, url, site
        self._made: list[Host] = []

    def __call__(self, **tenant: Any) -> Host:
        contoso = {
            "name": "Contoso Ltd",
            "entra_tenant_id": FakeEntra().tenant_id,
            "domains": ["contoso.example"],
            "idp": {"metadata_url": self._site.server.url()},
            "mapping": {"fields": FIELDS},
        }
        hosts = [f"localhost:{self._site.server.port}"]
        settings = {"base_url": ORIGIN, "metadata_hosts": hosts, "tenants": {"contoso": {**contoso, **tenant}}}
        self._made.append(make_host(self._directory, url=self._url, settings=settings))
        return self._made[-1]

    def close(self) -> None:
        for host in self._made:
            host.session.remove()
            host.engine.dispose()


def set_back(host: Host, **columns: timedelta) -> None:
    """Makes times of every tenant's state so much older, as if that had passed since."""
    table = host.user_model.metadata.tables["samljit_tenant_state"]
    with host.engine.begin() as connection:
        for row in connection.execute(sa.select(table)).all():
            values = {name: getattr(row, name) - span for name, span in columns.items() if getattr(row, name) is not None}
            if values:
                connection.execute(sa.update(table).where(table.c.id == row.id).values(**values))
