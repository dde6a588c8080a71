"""SimpleSAMLphp in a real Chromium: its own pages and scripts, and what a browser's cookie rules make of the way there and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from samljit.demo.servers import listen, served
from tests.chromium import launched as launched
from tests.interop.app import GENERIC, X500, Connect, Connected
from tests.interop.idp import Idp, free_port

PATIENCE = 15_000  # milliseconds


@contextmanager
def visit(connect: Connect, chromium: Browser, *, same_site: str, **options: Any) -> Iterator[tuple[Page, Connected]]:
    """A new tab of a browser without cookies, and the app, served at a name of its own."""
    port = free_port()
    app = connect(
        origin=f"http://localhost:{port}",
        tenant=GENERIC,
        configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site),
        **options,
    )
    with served([(listen("localhost", port), app.host.app)]), chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page(), app


def type_password(page: Page, name: str = "alice") -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(f"{name}-pw")
    page.get_by_role("button", name="Login").click()


def sign_in(page: Page, app: Connected) -> None:
    page.goto(app.login_url())
    type_password(page)
    page.wait_for_url(f"{app.origin}/reports/7")


def who(page: Page, app: Connected) -> str:
    page.goto(f"{app.origin}/")
    return page.inner_text("body")


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
def test_somebody_signs_in_and_out_again_here_and_there(idp: Idp, connect: Connect, chromium: Browser, same_site: str) -> None:
    idp.set_up(remote=X500)
    with visit(connect, chromium, same_site=same_site) as (page, app):
        sign_in(page, app)
        assert page.inner_text("body") == "report 7 for user 1"
        assert app.host.users()[0]["display_name"] == "Alice Ångström"

        page.goto(f"{app.origin}/saml/logout?everywhere=1")
        page.get_by_role("button", name="service too").click()
        expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
        assert page.url.startswith(f"{app.place}/sls?step=")
        assert who(page, app) == "nobody"

        page.goto(app.login_url())
        expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
@pytest.mark.parametrize("kind", ["traditional", "iframe"])
def test_somebody_signs_out_there_and_is_signed_out_here(
    idp: Idp, connect: Connect, chromium: Browser, kind: str, same_site: str
) -> None:
    idp.set_up({"logouttype": kind}, remote=X500)
    with visit(connect, chromium, same_site=same_site, ends_sessions=True) as (page, app):
        sign_in(page, app)
        page.goto(idp.url("initSLO", RelayState=f"{app.origin}/?after"))
        if kind == "iframe":
            page.get_by_role("button", name="Yes, all services").click()
        page.wait_for_url(f"{app.origin}/?after")
        assert page.inner_text("body") == "nobody"
        assert app.host.rows("samljit_session")[0].ended_at is not None
