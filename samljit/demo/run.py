"""What `samljit demo` runs: the host app with Fake Entra beside it, or with the settings of a real one."""

from __future__ import annotations

import logging
import os
import sys
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask

from samljit import ConfigError
from samljit.demo.entra import RegisteredApp, create_entra
from samljit.demo.host import create_host
from samljit.demo.pages import tenants_of
from samljit.demo.servers import listen, served, wait_for_end
from samljit.errors import Problem
from samljit.settings import is_loopback, read_settings
from samljit.sql.audit import AuditAction, Author
from samljit.testing import FakeEntra
from samljit.testing.entra import CONTOSO

PRODUCT = "Northwind Reports"
SLUG = "contoso"

_FIELDS: dict[str, Any] = {
    "email": {"source": ["emailaddress", "name"], "transform": ["lowercase"], "required": True},
    "first_name": "givenname",
    "last_name": "surname",
    "display_name": {"source": ["displayname", "name"]},
    "department": {"source": "department", "on_missing": "clear"},
    "job_title": "jobtitle",
    "locale": {"source": "preferredlanguage", "default": "en", "sync_mode": "on_create"},
    "app_roles": {"source": "role", "multi": "all", "on_missing": "clear"},
}

_TRY_THIS = """
  Sign in, and look at the record that was made. Sign out, change a claim under
  "Edit", sign in again: the record follows. Choose what should go wrong, and see
  it refused. {url}/reports/7 keeps its address through the sign-in."""
_WITH_ADMIN = "  Adele looks after Contoso's sign-in: she can open its admin pages."
_WITHOUT_ADMIN = "  Contoso's admin pages are left out: they need pip install 'samljit[admin]'."


def run_demo(*, port: int, database_url: str | None, opens_browser: bool) -> None:
    """Serves the host app on http://localhost:`port` and Fake Entra on the next port, another site, until Ctrl-C.

    Raises: CannotListen; what SQLAlchemy raises for a database that cannot be used.
    """
    base_url, entra_url = f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}"
    with ExitStack() as stack:
        sockets = [stack.enter_context(listen(host, number)) for host, number in (("localhost", port), ("127.0.0.1", port + 1))]
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="samljit-demo-")))
        apps = make_demo(base_url=base_url, entra_url=entra_url, directory=directory, database_url=database_url)

        def tell() -> None:
            click.echo(f"{PRODUCT}   {base_url}   the app, with samljit mounted in it")
            click.echo(f"Fake Entra          {entra_url}   the identity provider of its customer Contoso")
            click.echo(what_to_try(apps[0], base_url))
            _announce(base_url, opens_browser=opens_browser)

        _serve(stack, list(zip(sockets, apps, strict=True)), tell=tell)


def run_with_settings(settings: Path, *, database_url: str | None, opens_browser: bool) -> None:
    """Serves the host app for the tenants of a settings file, on the host and port of its base_url, until Ctrl-C.

    Raises: ConfigError, CannotListen; what SQLAlchemy raises for a database that cannot be used.
    """
    base_url = _base_url(settings)
    parts = urlsplit(base_url)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(parts.hostname or "", parts.port or 80))
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="samljit-demo-")))
        host = create_host(settings=settings, database_url=database_url or _temporary_database(directory))

        def tell() -> None:
            click.echo(f"{PRODUCT}   {base_url}   the app, with samljit mounted in it")
            for tenant in tenants_of(host):
                click.echo(f"  {tenant.slug}: {tenant.name}, metadata at {tenant.metadata_url}")
            _announce(base_url, opens_browser=opens_browser)

        _serve(stack, [(listener, host)], tell=tell)


def make_demo(*, base_url: str, entra_url: str, directory: Path, database_url: str | None = None) -> tuple[Flask, Flask]:
    """The host app and Fake Entra, each knowing the other by its address. `directory` takes their files."""
    entra = FakeEntra(sso_url=f"{entra_url}/{CONTOSO}/saml2")
    host = create_host(settings={"base_url": base_url}, database_url=database_url or _temporary_database(directory))
    _connect(host, entra)
    place = f"{base_url}/saml/{SLUG}"
    app = RegisteredApp(
        PRODUCT, base_url, entity_id=f"{place}/metadata", acs_url=f"{place}/acs", logout_url=f"{place}/sls"
    )
    return host, create_entra(entra=entra, app=app)


def what_to_try(host: Flask, base_url: str) -> str:
    """What somebody in front of the demo can do, as it is installed here."""
    has_admin = host.extensions["samljit"].authorize is not None
    return f"{_TRY_THIS.format(url=base_url)}\n{_WITH_ADMIN if has_admin else _WITHOUT_ADMIN}"


def _connect(host: Flask, entra: FakeEntra) -> None:
    """Puts the one tenant into the database, connected by Fake Entra's federation metadata: its admin pages can be tried so.

    In a database that is kept it stays as its admin left it, but for the metadata: Fake Entra has a new address at another port.
    """
    rows, author = host.extensions["samljit"].directory.rows, Author("samljit demo", datetime.now(UTC))
    connected = {"idp": {"metadata": entra.metadata().decode()}}
    stored = rows.find_stored(SLUG)
    if stored is not None:
        rows.change(stored, connected, author=author, action=AuditAction.TENANT_CHANGED)
        return
    tenant = {
        "name": "Contoso",
        "entra_tenant_id": entra.tenant_id,
        "domains": ["contoso.example"],
        "mapping": {"fields": _FIELDS},
    }
    rows.add(SLUG, {**tenant, **connected}, author=author)


def _base_url(settings: Path) -> str:
    """Raises: ConfigError for settings that are wrong, or whose app is not for this machine alone."""
    checked, problems = read_settings(settings)
    if checked is None:
        raise ConfigError([problem for problem in problems if not problem.is_warning])
    parts = urlsplit(checked.base_url)
    if parts.scheme != "http" or not is_loopback(parts.hostname):
        hint = 'Write an address such as "http://localhost:5000".'
        raise ConfigError([Problem("$.base_url", "not_loopback", "The demo serves plain http on this machine alone.", hint)])
    return checked.base_url


def _temporary_database(directory: Path) -> str:
    return f"sqlite:///{directory / 'northwind.sqlite'}"


def _serve(stack: ExitStack, sites: list[tuple[Any, Flask]], *, tell: Callable[[], None]) -> None:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("samljit").setLevel(logging.INFO)
    for _, app in sites:
        if "northwind.engine" in app.extensions:
            stack.callback(app.extensions["northwind.engine"].dispose)
    with served(sites):
        wait_for_end(when_ready=tell)
    click.echo("Stopped.")


def _announce(url: str, *, opens_browser: bool) -> None:
    click.echo("\nCtrl-C stops it.")
    if opens_browser and _has_display():
        webbrowser.open(url)


def _has_display() -> bool:
    """Without one, a text browser would take over the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
