"""The pages of a mapping, claims and accounts, as tests open them, fill them in and read them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import JSON, Integer, String
from sqlalchemy.orm import mapped_column

from samljit.sql.audit import AuditAction
from samljit.testing import Browser, FakeEntra, Form, Page
from samljit.testing.people import claims_of
from tests.admin_host import BASE, FABRIKAM, OPERATOR, PASSED, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, Host, make_user_model, settings_for

FRED = "fred@fabrikam.example"
CLAIMS, FIELD, ACCOUNTS = (f"{BASE}/fabrikam/{name}" for name in ("claims", "claims/field", "accounts"))
EDITORS = "07dd8a60-bf6d-4e17-8844-230b77145381"
SENT = {"department": ["Sales, IT"], "jobtitle": ["Account Manager"], "employeeid": ["E-1234567"], "costcenter": ["0815"]}
PERSON = replace(ADELE, email="adele.vance@fabrikam.example", extra=SENT, groups=(EDITORS,))
GUARDS = {"grantable_roles": ["editor", "viewer"], "protected_fields": ["is_admin"]}
USUAL = {"fields": {"locale": {"source": "preferredlanguage", "default": "en"}, "job_title": "jobtitle"}}


def keep_test(host: Host, slug: str = "fabrikam", **claims: list[str]) -> None:
    """Has the tenant's last test show these claims besides those of PERSON."""
    number = stored(host, slug).draft_revision
    sent = {claim.name: list(claim.values) for claim in claims_of(PERSON, FABRIKAM.tenant_id)} | claims
    result = {**PASSED, "draft_revision": number, "claims": sent, "name_id": [PERSON.email, ""], "issuer": FABRIKAM.entity_id}
    assert rows_of(host).record_test(slug, result, nonce=f"n{number}", draft_revision=number, replaces=True)


Make = Callable[..., Host]


@pytest.fixture(name="make")
def making(mount: Mount, tmp_path: Path) -> Make:
    """Makes a host whose user record has columns of every kind; fabrikam's live document changed by `tenant`."""

    def make_one(
        *, tenant: Mapping[str, Any] | None = None, mapping: Mapping[str, Any] = USUAL, guards: Mapping[str, Any] = GUARDS, **options: Any
    ) -> Host:
        columns = {"locale": String(20), "job_title": String(100), "origin": String(20), "level": Integer(), "badge": String(20)}
        model = make_user_model(departments=mapped_column(JSON), **{name: mapped_column(kind) for name, kind in columns.items()})
        entra = FakeEntra()
        settings = settings_for(tmp_path, entra, mapping=mapping, guards=guards)
        host = make_admin_host(mount, **{"entra": entra, "settings": settings, "user_model": model, **options})
        if tenant:
            rows_of(host).change(stored(host), tenant, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
        return host

    return make_one


@pytest.fixture(name="host")
def made(make: Make) -> Host:
    return make()


@pytest.fixture(name="browser")
def opened(host: Host) -> Browser:
    return browser_of(host, FRED)


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def words(page: Page) -> str:
    return plain(page.text)


def rows(page: Page, caption: str) -> dict[str, str]:
    """The rows of the table with this caption, as words by their heading."""
    [table] = [one for one in re.findall(r"<table.*?</table>", page.text, re.DOTALL) if f">{caption}</caption>" in one]
    found = {}
    for row in re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.DOTALL):
        name = re.search(r"<code>(.*?)</code>", row)
        assert name is not None
        found[html.unescape(name[1])] = plain(row).replace("\N{EN DASH}", "-")
    return found


def form_at(page: Page, address: str) -> Form:
    [form] = [one for one in page.forms if one.action == address]
    return form


def field_url(name: str) -> str:
    return f"{FIELD}?name={quote(name)}"


def rule_form(page: Page) -> Form:
    return next(form for form in page.forms if form.value("way") is not None)


def edit(browser: Browser, name: str | None, do: str = "", **values: str) -> Page:
    """Opens the page of a field, or of a new one, fills it in and sends it."""
    page = browser.get(FIELD if name is None else field_url(name))
    return browser.submit(rule_form(page), {"do": do, **controls(values)})


def press(browser: Browser, name: str, do: str) -> Page:
    """Presses one of the other buttons of a field."""
    return browser.submit(rule_form(browser.get(field_url(name))), {"do": do})


def controls(values: Mapping[str, str]) -> dict[str, str]:
    """`source_0` stands for `source-0`."""
    return {re.sub(r"_(\d+)$", r"-\1", name): value for name, value in values.items()}


def top(browser: Browser, do: str = "", **values: str) -> Page:
    return browser.submit(form_at(browser.get(CLAIMS), CLAIMS), {"do": do, **controls(values)})


def accounts(browser: Browser, do: str = "", **values: str) -> Page:
    return browser.submit(form_at(browser.get(ACCOUNTS), ACCOUNTS), {"do": do, **controls(values)})


def own_mapping(host: Host) -> Any:
    return stored(host).drafted.get("mapping")


def told(page: Page) -> str:
    """The summary of errors."""
    [alert] = re.findall(r'role="alert".*?</ul>', page.text, re.DOTALL)
    return html.unescape(re.sub(r"<(?!a )[^>]+>", " ", alert))
