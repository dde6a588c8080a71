"""The page that asks for the work e-mail: whose tenant it finds, what it keeps, and that it tells nobody who has an account."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask_wtf import CSRFProtect
from sqlalchemy import event

from samljit.testing import Browser, FakeEntra, Form, Page
from tests.conftest import Mount
from tests.host import ADELE, ORIGIN, Host, settings_for

PAGE = f"{ORIGIN}/saml/login"
FABRIKAM = FakeEntra("bbbbcccc-1111-dddd-2222-eeee3333ffff")


def settings_of_two(tmp_path: Any, entra: FakeEntra, **contoso: Any) -> dict[str, Any]:
    given = settings_for(tmp_path, entra, tenant={"domains": ["contoso.example", "bücher.example"], **contoso})
    fabrikam = settings_for(tmp_path, FABRIKAM)["tenants"]["contoso"]
    given["tenants"]["fabrikam"] = {**fabrikam, "name": "Fabrikam", "domains": ["fabrikam.example"]}
    return given


@pytest.fixture
def two(mount: Mount, tmp_path: Any) -> Host:
    entra = FakeEntra()
    return mount(entra=entra, settings=settings_of_two(tmp_path, entra), tenant_fields=lambda tenant: {})


def ask(host: Host, email: str, *, query: str = "", browser: Browser | None = None) -> Page:
    browser = browser or host.browser()
    [form] = browser.get(PAGE + query).forms
    return browser.submit(form, {"email": email})


@pytest.mark.parametrize(
    ("email", "entra"),
    [
        ("ada@contoso.example", "contoso"),
        ("  Ada@CONTOSO.Example ", "contoso"),
        ("ada@xn--bcher-kva.example", "contoso"),
        ("ada@bücher.example", "contoso"),
        ('"a@b"@fabrikam.example', "fabrikam"),
        ("ada@fabrikam.example.", "fabrikam"),
    ],
)
def test_the_domain_finds_the_tenant(two: Host, email: str, entra: str) -> None:
    page = ask(two, email)
    wanted = {"contoso": two.entra, "fabrikam": FABRIKAM}[entra]
    assert page.url.partition("?")[0] == wanted.sso_url
    assert parse_qs(urlsplit(page.url).query)["login_hint"] == [email.strip()]


@pytest.mark.parametrize(
    "email", ["ada@other.example", "ada@sub.contoso.example", "ada@contoso.example.evil.example", "ada@contoso", "ada@" + "é" * 300]
)
def test_a_domain_that_nobody_proved_is_said_to_be_unknown(two: Host, email: str) -> None:
    page = ask(two, email)
    assert (page.status, page.forms[0].value("email"), 'aria-invalid="true"' in page.text) == (422, email, True)


@pytest.mark.parametrize(
    "email", ["", "ada", "@contoso.example", "ada@", "a" * 321 + "@contoso.example", "a\u202eb@contoso.example", "\x00@x.y"]
)
def test_what_is_no_address_is_asked_for_again(two: Host, email: str) -> None:
    page = ask(two, email)
    assert (page.status, "name@example.com" in page.text) == (422, True)
    assert "\u202e" not in page.text


def test_the_answer_is_the_same_whether_a_person_exists_and_no_user_is_looked_for(two: Host) -> None:
    two.sign_in(ADELE)
    statements: list[str] = []
    event.listen(two.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    browser = Browser({ORIGIN: two.app}, follows_refresh=False)
    pages = [ask(two, f"{local}@contoso.example", browser=browser) for local in (ADELE.email.partition("@")[0], "nobody")]  # type: ignore[union-attr]
    varying = re.compile(r"url=[^\"]+|href=\"https:[^\"]+")
    assert len({varying.sub("", page.text) for page in pages}) == 1
    assert [page.status for page in pages] == [200, 200]
    assert [statement for statement in statements if "users" in statement] == []


def test_next_and_force_are_kept_and_the_whole_sign_in_ends_there(two: Host) -> None:
    browser = two.browser()
    page = ask(two, ADELE.email or "", query="?next=/reports/7&force=1", browser=browser)
    asked = two.entra.read_request(page.url)
    assert (asked.force_authn, asked.login_hint) == (True, ADELE.email)
    answer = two.entra.respond(asked, ADELE, now=datetime.now(UTC))
    page = browser.submit(Form(answer.acs_url, fields=tuple(answer.form.items())), by_script=True)
    assert page.url == f"{ORIGIN}/reports/7"


@pytest.mark.parametrize("hostile", ["//evil.example", "https://evil.example/", "/saml/contoso/acs", "/\\evil.example", "x" * 5000])
def test_next_is_still_a_path_of_this_app(two: Host, hostile: str) -> None:
    browser = two.browser()
    [form] = browser.get(PAGE).forms
    page = browser.submit(form, {"email": ADELE.email or "", "next": hostile})
    answer = two.entra.respond(two.entra.read_request(page.url), ADELE, now=datetime.now(UTC))
    page = browser.submit(Form(answer.acs_url, fields=tuple(answer.form.items())), by_script=True)
    assert page.url == f"{ORIGIN}/"


def test_the_answer_to_the_form_is_a_page_and_no_redirect_to_another_site(two: Host) -> None:
    page = ask(two, ADELE.email or "", browser=Browser({ORIGIN: two.app}, follows_refresh=False))
    assert (page.status, page.url, page.headers.get("Location")) == (200, PAGE, None)
    assert (page.refresh_url or "").partition("?")[0] == two.entra.sso_url


def test_where_there_is_one_tenant_only_nothing_is_asked(host: Host) -> None:
    page = host.browser().get(f"{PAGE}?next=/reports/7&login_hint=ada%40contoso.example&force=1")
    assert page.url.partition("?")[0] == host.entra.sso_url
    asked = host.entra.read_request(page.url)
    assert (asked.login_hint, asked.force_authn) == ("ada@contoso.example", True)


def test_another_host_of_the_app_is_left_first_because_the_cookie_is_set_here(two: Host) -> None:
    www = two.app.test_client().get("/saml/login?next=/reports/7", base_url="https://www.app.example.com")
    assert (www.status_code, www.headers["Location"]) == (303, f"{PAGE}?next=%2Freports%2F7&hop=1")


@pytest.mark.parametrize(
    ("contoso", "reason"),
    [({"enabled": False}, "tenant_disabled"), ({"idp": None}, "tenant_not_connected")],
    ids=["disabled", "not-connected"],
)
def test_a_tenant_that_cannot_sign_in_has_its_own_page(mount: Mount, tmp_path: Any, contoso: dict[str, Any], reason: str) -> None:
    entra = FakeEntra()
    host = mount(entra=entra, settings=settings_of_two(tmp_path, entra, **contoso), tenant_fields=lambda tenant: {})
    assert (ask(host, ADELE.email or "").status, host.reasons()) == (403, [reason])


def test_a_hosts_csrf_protection_is_kept(mount: Mount, tmp_path: Any) -> None:
    def protect(app: Flask) -> None:
        CSRFProtect(app)

    entra = FakeEntra()
    host = mount(entra=entra, settings=settings_of_two(tmp_path, entra), tenant_fields=lambda tenant: {}, configure=protect)
    assert ask(host, ADELE.email or "").url.partition("?")[0] == entra.sso_url
    browser = host.browser()
    browser.get(PAGE)
    assert browser.submit(Form(PAGE), {"email": ADELE.email or ""}).status == 400


def test_a_lost_database_is_told(two: Host) -> None:
    @event.listens_for(two.engine, "do_connect")
    def refuse(*_: Any) -> None:
        raise two.engine.dialect.loaded_dbapi.OperationalError("gone")

    two.engine.dispose()
    assert ask(two, ADELE.email or "").status == 503
