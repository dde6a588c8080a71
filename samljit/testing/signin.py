"""One sign-in, from the app's login link to the page behind it, in one call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from samljit.testing.browser import Browser, Form, Page
from samljit.testing.entra import FakeEntra
from samljit.testing.people import Person


def sign_in(browser: Browser, entra: FakeEntra, person: Person, login_url: str, *, now: datetime | None = None, **changes: Any) -> Page:
    """The page that a person ends on after signing in at `login_url`, a refusal page included.

    The browser opens the URL and is sent to the IdP's sign-in URL; Fake Entra reads the request there and answers it; the browser
    posts the answer from the IdP's site to the ACS, without the app's Lax and Strict cookies, and follows wherever that leads.
    `now` (aware, default: the clock) is when Entra answers; `changes` are fields of ResponseSpec, to answer with something else.

    Raises: AssertionError where the URL does not lead to the IdP, RequestRefused where Entra would refuse the request.
    """
    page = browser.get(login_url)
    if page.url.partition("?")[0] != entra.sso_url:
        raise AssertionError(f"{login_url} led to {page.url} (status {page.status}), not to {entra.sso_url}.")
    post = entra.respond(entra.read_request(page.url), person, now=now or datetime.now(UTC), **changes)
    return browser.submit(Form(post.acs_url, fields=tuple(post.form.items())), by_script=True)
