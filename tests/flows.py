"""One sign-in, step by step in a browser, against a host of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask

from samljit.testing import Browser, Form, Person
from tests.host import ADELE, LOGIN, ORIGIN, Host, make_host

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
FINISH = f"{ORIGIN}/saml/contoso/finish"
EVIL = "https://evil.example"


@contextmanager
def hosting(directory: Path, **changes: Any) -> Iterator[Host]:
    host = make_host(directory, **changes)
    try:
        yield host
    finally:
        host.session.remove()
        host.engine.dispose()


def begin(host: Host, browser: Browser, person: Person = ADELE, *, login_url: str = LOGIN, **changes: Any) -> Form:
    """Begins a sign-in in this browser; gives the form that the IdP's page would post."""
    page = browser.get(login_url)
    post = host.entra.respond(host.entra.read_request(page.url), person, now=datetime.now(UTC), **changes)
    return Form(post.acs_url, fields=tuple(post.form.items()))


def configured(**values: Any) -> Callable[[Flask], None]:
    return lambda app: app.config.update(values)


def who(browser: Browser) -> str:
    return browser.new_tab().get(ORIGIN).text
