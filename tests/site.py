"""A host app on http://localhost with two tenants, each with a Fake Entra on http://127.0.0.1, another site: for real browsers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

from flask import Flask, Response, request, session
from playwright.sync_api import Page
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from samljit.demo.entra import RegisteredApp, create_entra
from samljit.demo.servers import served
from samljit.testing import FakeEntra
from tests.host import Host, make_host, make_user_model, settings_for

CONTOSO, FABRIKAM = "aaaabbbb-0000-cccc-1111-dddd2222eeee", "bbbbcccc-1111-dddd-2222-eeee3333ffff"
_numbers = count(1)
without_script: WeakSet[Page] = WeakSet()  # the pages of browsers that run none


@dataclass
class Site:
    """The running app. `acs_cookies` are the names of the cookies that each POST to the ACS brought."""

    host: Host
    url: str
    entras: Mapping[str, str]
    acs_cookies: list[set[str]] = field(default_factory=list)

    def login_url(self, tenant: str = "contoso", *, to: str = "/reports/7") -> str:
        return f"{self.url}/saml/{tenant}/login?next={to}"


def pick(page: Page, name: str, *, mishap: str | None = None) -> None:
    """On the account picker: chooses somebody. Without script, Fake Entra's next page waits for its button."""
    if mishap:
        page.locator("summary").click()
        page.locator(f"input[name=mishap][value={mishap}]").check()
    page.get_by_role("button", name=f"{name} ", exact=False).click()
    if page in without_script:
        page.get_by_role("button", name="Continue").click()


def new_person(page: Page, *, email: str | None = None, name: str | None = None) -> str:
    """On the account picker: adds somebody nobody else uses. Gives the name."""
    name = name or f"Alba {next(_numbers)}"
    page.get_by_role("link", name="Use another account").click()
    page.get_by_label("Display name").fill(name)
    page.get_by_label("Given name").fill("Alba")
    page.get_by_label("E-mail").fill(email or f"{name.replace(' ', '.')}@contoso.example")
    page.get_by_role("button", name="Add").click()
    return name


def send_policy(policy: str, *, overrides: bool) -> Callable[[Flask], None]:
    """A host that sends this Content-Security-Policy with every page: its own alone, or ours too."""

    def configure(app: Flask) -> None:
        @app.after_request
        def add(response: Response) -> Response:
            if overrides:
                response.headers["Content-Security-Policy"] = policy
            else:
                response.headers.setdefault("Content-Security-Policy", policy)
            return response

    return configure


@contextmanager
def running_site(
    directory: Path,
    *,
    contoso: Mapping[str, Any] | None = None,
    configure: Callable[[Flask], None] = lambda app: None,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[Site]:
    """`contoso` changes that tenant's settings, `config` the app's; `options` go to SamlJit."""
    listeners = _listen()
    port, *others = (listener.getsockname()[1] for listener in listeners)
    url = f"http://localhost:{port}"
    entras = {slug: f"http://127.0.0.1:{number}" for slug, number in zip(_IDS, others, strict=True)}
    signers = {slug: FakeEntra(tenant_id, sso_url=f"{entras[slug]}/{tenant_id}/saml2") for slug, tenant_id in _IDS.items()}
    settings = settings_for(directory, signers["contoso"], tenant=contoso, base_url=url)
    other = settings_for(directory, signers["fabrikam"])["tenants"]["contoso"]
    settings["tenants"]["fabrikam"] = {**other, "name": "Fabrikam", "domains": ["fabrikam.example"]}
    site: Site

    def prepare(app: Flask) -> None:
        app.config.update(config or {}, TESTING=False, ELSEWHERE=entras["contoso"])
        app.add_url_rule("/hello", view_func=_hello)

        @app.before_request
        def note() -> None:
            if request.path.endswith("/acs"):
                site.acs_cookies.append(set(request.cookies))

        configure(app)

    host = make_host(directory, entra=signers["contoso"], settings=settings, configure=prepare, **{**_told(), **options})
    site = Site(host, url, entras)
    apps = [host.app]
    for slug, signer in signers.items():
        place = f"{url}/saml/{slug}"
        registered = RegisteredApp("The app", url, entity_id=f"{place}/metadata", acs_url=f"{place}/acs", logout_url=f"{place}/sls")
        apps.append(create_entra(entra=signer, app=registered))
    with served(list(zip(listeners, apps, strict=True))):
        yield site
    host.session.remove()
    host.engine.dispose()


_IDS = {"contoso": CONTOSO, "fabrikam": FABRIKAM}


def _listen() -> list[socket.socket]:
    """Sockets for the app and the two identity providers, each on a port that the system gives: other programs look for ports too."""
    listeners = [socket.socket() for _ in range(3)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
    return listeners


def _told() -> dict[str, Any]:
    """What SamlJit is told: whose users are whose."""
    model = make_user_model(organization=mapped_column(String(50)))
    return {"user_model": model, "tenant_fields": lambda tenant: {"organization": tenant.slug}}


def _hello() -> str:
    """Begins the host's own session, as a basket or a choice of language would."""
    session["seen"] = True
    return "hello"
