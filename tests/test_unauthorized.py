"""`saml.login_required` and `saml.unauthorized`: a page is led to the sign-in, a script is told where it is."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import current_app
from flask_login import login_required

from tests.conftest import Mount
from tests.host import LOGIN, ORIGIN, Host, settings_for

PAGE = f"{ORIGIN}/list?page=2"


@pytest.fixture
def guarded(host: Host) -> Host:
    """A view behind `saml.login_required`, one behind Flask-Login's with `saml.unauthorized` as its handler, and an async one."""
    host.app.login_manager.unauthorized_handler(host.saml.unauthorized)  # type: ignore[attr-defined]

    def orders(number: int = 0) -> str:
        """Orders."""
        return f"order {number}"

    async def later() -> str:
        return "later"

    for path, view in {"/ours/<int:number>": host.saml.login_required(orders), "/theirs/<int:number>": login_required(orders)}.items():
        host.app.add_url_rule(path, path, view, methods=["GET", "POST", "OPTIONS"], provide_automatic_options=False)
    host.app.add_url_rule("/later", "later", host.saml.login_required(later))
    return host


def ask(host: Host, path: str = "/ours/7?a=b", method: str = "GET", **options: Any) -> Any:
    return host.app.test_client().open(path, method=method, base_url=ORIGIN, **options)


def next_of(url: str) -> str | None:
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == LOGIN
    return parse_qs(parts.query).get("next", [None])[0]


@pytest.mark.parametrize("path", ["/ours/7?a=b", "/theirs/7?a=b"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Accept": "*/*"}, id="anything"),
        pytest.param({"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, id="browser"),
        pytest.param({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, id="navigation"),
        pytest.param({"HX-Request": "false"}, id="not-htmx"),
    ],
)
def test_a_page_is_led_to_the_sign_in_and_back(guarded: Host, path: str, headers: dict[str, str]) -> None:
    answered = ask(guarded, path, headers=headers)
    assert (answered.status_code, next_of(answered.headers["Location"])) == (303, path)
    assert answered.headers["Cache-Control"] == "no-store"
    assert {"Accept", "HX-Request", "Sec-Fetch-Mode"} <= set(answered.headers["Vary"].split(", "))


SCRIPTS: dict[str, dict[str, Any]] = {
    "accepts-json": {"headers": {"Accept": "application/json"}},
    "prefers-json": {"headers": {"Accept": "application/json, text/html;q=0.5"}},
    "sends-json": {"method": "POST", "json": {"a": 1}},
    "xml-http-request": {"headers": {"X-Requested-With": "XMLHttpRequest"}},
    "fetch": {"headers": {"Sec-Fetch-Mode": "cors", "Accept": "*/*"}},
    "htmx": {"headers": {"HX-Request": "true", "Accept": "*/*"}},
    "htmx-boosted": {"headers": {"HX-Request": "true", "HX-Boosted": "true", "Accept": "text/html"}},
}


@pytest.mark.parametrize("path", ["/ours/7", "/theirs/7"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gets_401_and_the_address(guarded: Host, path: str, name: str) -> None:
    options = {**SCRIPTS[name], "headers": {"Referer": PAGE, **SCRIPTS[name].get("headers", {})}}
    answered = ask(guarded, path, **options)
    assert (answered.status_code, answered.json["error"], next_of(answered.json["login_url"])) == (401, "login_required", "/list?page=2")
    assert answered.headers.get("HX-Redirect") == (answered.json["login_url"] if name.startswith("htmx") else None)
    assert answered.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        pytest.param({"HX-Current-URL": f"{ORIGIN}/board?x=1#y", "Referer": PAGE}, "/board?x=1", id="htmx-says-it"),
        pytest.param({"HX-Current-URL": "https://elsewhere.example/board"}, None, id="elsewhere"),
        pytest.param({"Referer": "https://elsewhere.example/"}, None, id="referer-elsewhere"),
        pytest.param({"Referer": "https://app.example.com.evil.example/x"}, None, id="referer-longer"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_where_a_script_comes_back_to(guarded: Host, headers: dict[str, str], wanted: str | None) -> None:
    answered = ask(guarded, headers={"HX-Request": "true", **headers})
    assert next_of(answered.json["login_url"]) == wanted


def test_a_form_comes_back_to_the_page_that_it_stood_on(guarded: Host) -> None:
    answered = ask(guarded, method="POST", headers={"Referer": PAGE})
    assert (answered.status_code, next_of(answered.headers["Location"])) == (303, "/list?page=2")


def test_who_is_signed_in_gets_the_view_async_ones_too(guarded: Host) -> None:
    browser = guarded.browser()
    guarded.sign_in(browser=browser)
    guarded.app.async_to_sync = lambda view: lambda *args: asyncio.run(view(*args))  # type: ignore[method-assign]  # as asgiref does
    assert [browser.get(f"{ORIGIN}{path}").text for path in ("/ours/7", "/later")] == ["order 7", "later"]


def test_it_keeps_to_flask_logins_exceptions_and_the_views_name(guarded: Host) -> None:
    assert ask(guarded, method="OPTIONS").text == "order 7"
    assert guarded.app.view_functions["/ours/<int:number>"].__doc__ == "Orders."
    guarded.app.config["LOGIN_DISABLED"] = True
    assert ask(guarded).text == "order 7"


def test_with_several_tenants_it_leads_to_the_page_that_finds_one_or_to_the_named_one(mount: Mount, tmp_path: Any) -> None:
    first = mount()
    settings = settings_for(tmp_path, first.entra)
    settings["tenants"]["other"] = {**settings["tenants"]["contoso"], "domains": []}
    host = mount(settings=settings)
    with host.app.test_request_context("/x", base_url=ORIGIN):
        assert current_app
        assert host.saml.unauthorized().headers["Location"] == f"{ORIGIN}/saml/login?next=%2Fx"
        assert host.saml.unauthorized("contoso").headers["Location"] == f"{LOGIN}?next=%2Fx"
