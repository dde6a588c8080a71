"""Tenants with admin pages on http://localhost, and a Fake Entra for each on http://127.0.0.1, another site: for real browsers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from flask import Flask
from flask_login import current_user, login_required
from playwright.sync_api import Page
from sqlalchemy import String, select
from sqlalchemy.orm import mapped_column

from samljit.demo.entra import RegisteredApp, create_entra
from samljit.demo.servers import served
from samljit.model import AdminAction, Tenant
from samljit.sql.audit import AuditAction
from samljit.testing import Browser, FakeEntra, Form, Person, signing_key
from tests.admin_host import OPERATOR, document, make_admin_host, rows_of, stored
from tests.host import Host, make_host, make_user_model, settings_for

# one of the settings file, one that works, one of which nothing is known yet, one where everything is long and old, one that fits no more
SLUGS = ("contoso", "fabrikam", "tailspin", "adatum", "wingtip")


@dataclass
class AdminSite:
    """The running app. `signers` are the tenants' identity providers, `entras` where their pages are."""

    host: Host
    url: str
    signers: Mapping[str, FakeEntra]
    entras: Mapping[str, str]

    def place(self, slug: str, path: str = "/") -> str:
        return f"{self.url}/saml/admin/{slug}{path}"

    def enter(self, page: Page, slug: str) -> None:
        """Signs the tenant's admin in, with a password, say."""
        page.goto(f"{self.url}/enter/{1 + SLUGS.index(slug)}")

    def visitor(self) -> Browser:
        """A browser without a window."""
        return Browser({self.url: self.host.app})

    def find_reference(self, slug: str, reason: str | None) -> str:
        """That of the last attempt of the tenant with this reason, or that went well, and has something to tell."""
        attempts = self.host.user_model.metadata.tables["samljit_attempt"]
        query = select(attempts.c.reference).where(attempts.c.tenant_id == str(stored(self.host, slug).id), attempts.c.browser != "")
        with self.host.engine.connect() as connection:
            query = query.where(attempts.c.reason == reason).order_by(attempts.c.id.desc()).limit(1)
            return str(connection.execute(query).scalar_one())

    def change(self, slug: str, **patch: Any) -> None:
        rows_of(self.host).change(stored(self.host, slug), patch, author=OPERATOR, action=AuditAction.TENANT_CHANGED)


def admin_of(slug: str) -> str:
    return f"admin@{slug}.example"


@contextmanager
def running_admin_site(
    directory: Path,
    *,
    configure: Callable[[Flask], None] = lambda app: None,
    seed: Callable[[AdminSite], None] | None = None,
    **options: Any,
) -> Iterator[AdminSite]:
    """`configure` sees the app before samljit is mounted, `seed` the site before it is served; `options` go to SamlJit."""
    listeners = [_listen() for _ in range(1 + len(SLUGS))]
    port, *others = (listener.getsockname()[1] for listener in listeners)
    url, entras = f"http://localhost:{port}", {slug: f"http://127.0.0.1:{number}" for slug, number in zip(SLUGS, others, strict=True)}
    signers = {slug: _signer(slug, entras[slug]) for slug in SLUGS}

    def prepare(app: Flask) -> None:
        app.config.update(TESTING=False)
        app.add_url_rule("/who", view_func=login_required(lambda: current_user.email))
        configure(app)

    model = make_user_model(organization=mapped_column(String(50)))
    settings = settings_for(directory, signers["contoso"], base_url=url)
    made = partial(make_host, directory, entra=signers["contoso"], settings=settings)
    told = {"user_model": model, "tenant_fields": lambda tenant: {"organization": tenant.slug}, "authorize": may_look_after}
    host = make_admin_host(made, configure=prepare, **{**told, **options})
    site = AdminSite(host, url, signers, entras)
    _add_tenants(site)
    if seed:
        seed(site)
    apps = [host.app, *(create_entra(entra=signers[slug], app=_registered(url, slug)) for slug in SLUGS)]
    with served(list(zip(listeners, apps, strict=True))):
        yield site
    host.session.remove()
    host.engine.dispose()


def may_look_after(user: Any, tenant: Tenant, _: AdminAction) -> bool:
    return bool(user.email == admin_of(tenant.slug))


def _listen() -> socket.socket:
    """A socket on a port that the system gives: other programs look for ports too."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _signer(slug: str, place: str) -> FakeEntra:
    tenant_id = str(uuid5(NAMESPACE_DNS, slug))
    return FakeEntra(tenant_id, sso_url=f"{place}/{tenant_id}/saml2", keys=[signing_key(slug)])


def _registered(url: str, slug: str) -> RegisteredApp:
    place = f"{url}/saml/{slug}"
    return RegisteredApp("The app", url, entity_id=f"{place}/metadata", acs_url=f"{place}/acs", logout_url=f"{place}/sls")


def _add_tenants(site: AdminSite) -> None:
    with site.host.app.app_context():
        site.host.session.add_all([site.host.user_model(email=admin_of(slug), organization=slug) for slug in SLUGS])
        site.host.session.commit()
    for slug in ("adatum", "wingtip"):
        rows_of(site.host).add(slug, document(site.signers[slug], name=slug.capitalize(), domains=[f"{slug}.example"]), author=OPERATOR)
    fabrikam = site.signers["fabrikam"]
    site.change("fabrikam", entra_tenant_id=fabrikam.tenant_id, idp={"metadata": fabrikam.metadata().decode()})


def run_test(site: AdminSite, slug: str, person: Person, **changes: Any) -> None:
    """A test sign-in of this tenant's admin. `changes` are fields of ResponseSpec."""
    browser, entra = site.visitor(), site.signers[slug]
    browser.get(f"{site.url}/enter/{1 + SLUGS.index(slug)}")
    [form] = [one for one in browser.get(site.place(slug, "/test")).forms if one.action.endswith("/test")]
    away = browser.submit(form)
    assert away.url.startswith(entra.sso_url)
    post = entra.respond(entra.read_request(away.url), person, now=datetime.now(UTC), **changes)
    browser.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True)
