"""The frame of the admin pages: who may open them, for which tenant, and what holds on every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask_wtf import CSRFProtect

from samljit import AdminAction, ConfigError
from samljit.errors import Problem
from samljit.sql.audit import AuditAction
from samljit.testing import Browser, Form
from tests.admin_host import ADMINS, BASE, FABRIKAM, OPERATOR, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ORIGIN, Host

FRED = "fred@fabrikam.example"
ENTRA_VALUES = {"entity_id": FABRIKAM.entity_id, "sso_url": FABRIKAM.sso_url, "certificates": FABRIKAM.key.certificate_pem.decode()}


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


def admin_rules(host: Host) -> Iterator[tuple[str, str]]:
    """Every method and address of the admin pages, for the tenant fabrikam."""
    for rule in host.app.url_map.iter_rules():
        if rule.endpoint.startswith("samljit.admin."):
            values = {argument: "fabrikam" if argument == "tenant" else "1" for argument in rule.arguments}
            _, address = rule.build(values, append_unknown=False) or ("", "")
            for method in sorted({"GET", "POST"} & (rule.methods or set())):
                yield method, f"{ORIGIN}{address}"


def everything(host: Host) -> dict[str, list[Any]]:
    """All rows of all tables."""
    return {name: host.rows(name) for name in host.user_model.metadata.tables}


def ask(browser: Browser, method: str, url: str) -> Any:
    return browser.get(url) if method == "GET" else browser.submit(Form(url), {"csrf_token": "x"})


def test_there_are_no_admin_pages_without_authorize(mount: Mount) -> None:
    host = mount()
    assert list(admin_rules(host)) == []
    assert host.browser().get(f"{BASE}/contoso/").status == 404


@pytest.mark.parametrize(("problem", "missing"), [("no_login_manager", "login_manager"), ("flask_wtf_missing", "flask_wtf")])
def test_what_the_pages_need_is_asked_for_at_the_start(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, problem: str, missing: str
) -> None:
    def configure(app: Flask) -> None:
        if missing == "login_manager":
            del app.login_manager
        else:
            monkeypatch.setattr("samljit.extension.find_spec", lambda name: None)

    with pytest.raises(ConfigError) as refused:
        make_admin_host(mount, configure=configure)
    found: tuple[Problem, ...] = refused.value.problems
    assert [one.code for one in found] == [problem]


def test_everybody_but_the_tenants_own_admin_gets_the_same_404_everywhere(host: Host) -> None:
    rules = list(admin_rules(host))
    assert rules
    for person in ("cara@contoso.example", "somebody@fabrikam.example"):
        browser = browser_of(host, person)
        unknown = browser.get(f"{BASE}/nobody/")
        for method, url in rules:
            page = ask(browser, method, url)
            assert (page.status, page.text) == (404, unknown.text), (person, method, url)


@pytest.mark.parametrize("token", ["", "x", "of another browser"])
def test_no_form_is_taken_without_a_token_of_this_very_browser_and_nothing_is_changed(mount: Mount, token: str) -> None:
    host = make_admin_host(mount, verify_domain=lambda tenant, domain: True)
    rows_of(host).save_draft(stored(host), {"name": "Fabrikam Inc"}, author=OPERATOR)
    setup = f"{BASE}/fabrikam/setup"
    [elsewhere] = [form for form in browser_of(host, FRED).get(setup).forms if form.action == setup]
    browser = browser_of(host, FRED)
    [here] = [form for form in browser.get(setup).forms if form.action == setup]
    # besides the token, each form has all that it wants
    good = {"rule": "off", "break_glass": FRED, "domain": "x.example", "force": "y", **ENTRA_VALUES, "seen": here.value("seen") or ""}
    before = everything(host)
    for method, url in admin_rules(host):
        if method == "POST":
            sent = (elsewhere.value("csrf_token") or "") if "another" in token else token
            page = browser.submit(Form(url), {**good, "csrf_token": sent})
            assert page.status == 400, url
            assert everything(host) == before, url


def test_with_its_token_the_same_form_is_taken(host: Host) -> None:
    browser, rules = browser_of(host, FRED), f"{BASE}/fabrikam/rules"
    [form] = [form for form in browser.get(rules).forms if form.action == rules]
    kept = {name: form.value(name) or "" for name in ("csrf_token", "seen")}
    assert browser.submit(Form(f"{rules}/apply"), {**kept, "rule": "off", "break_glass": ""}).url == rules
    assert stored(host).live["offer_sso"] is False


def test_whoever_is_not_signed_in_is_sent_to_the_hosts_login(host: Host) -> None:
    browser = browser_of(host, None)
    for url in [*admin_rules(host), ("GET", f"{BASE}/nobody/")]:
        page = ask(browser, *url)
        assert (page.status, page.text) == (401, "sign in first"), url


@pytest.mark.parametrize("answer", [1, "yes", None, LookupError("down")], ids=str)
def test_what_is_not_true_refuses(mount: Mount, answer: Any) -> None:
    def authorize(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    host = make_admin_host(mount, authorize=authorize)
    assert browser_of(host, FRED).get(f"{BASE}/fabrikam/").status == 404


def test_the_host_is_asked_with_the_user_the_tenant_and_the_action(mount: Mount) -> None:
    asked: list[Any] = []

    def authorize(user: Any, tenant: Any, action: AdminAction) -> bool:
        asked.append((user.email, tenant.slug, action))
        return True

    host = make_admin_host(mount, authorize=authorize)
    assert browser_of(host, FRED).get(f"{BASE}/tailspin/").status == 200
    assert asked[0] == (FRED, "tailspin", AdminAction.VIEW)
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("slug", ["contoso", "fabrikam", "tailspin"])
def test_every_page_shows_its_tenant_under_a_strict_policy(host: Host, slug: str) -> None:
    admin = next(email for email, slugs in ADMINS.items() if slug in slugs)
    browser = browser_of(host, admin)
    for method, url in admin_rules(host):
        if method == "GET" and "/1" not in url:
            page = browser.get(url.replace("/fabrikam/", f"/{slug}/"))
            assert page.status == 200, url
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
            assert page.headers["Cache-Control"] == "no-store"
            assert " style=" not in page.text
            assert ("settings file of the app" in page.text) == (slug == "contoso"), url
            assert page.text.count('aria-current="page"') == 2, url  # on a desk and on a phone


def test_a_tenant_whose_document_fits_no_longer_can_still_be_looked_after(host: Host) -> None:
    broken = {"mapping": {"fields": {"no_such_column": "givenname"}}}
    rows_of(host).change(stored(host), broken, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    assert browser_of(host, FRED).get(f"{BASE}/fabrikam/").status == 200


def test_a_hosts_own_csrf_protection_goes_with_ours(mount: Mount) -> None:
    def protect(app: Flask) -> None:
        CSRFProtect(app)

    host = make_admin_host(mount, configure=protect)
    assert browser_of(host, FRED).get(f"{BASE}/fabrikam/").status == 200
