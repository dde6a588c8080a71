"""What somebody sends to the admin pages who is no browser: of the wrong type, without end, in another's name."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect

from samljit import AdminAction
from samljit.sql.audit import AuditAction
from samljit.testing import Browser, signing_key
from tests.admin_host import BASE, OPERATOR, add_user, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import FIELDS, ORIGIN, Host

FRED = "fred@fabrikam.example"
FORMS = (
    "setup", "setup/check", "certificates/refresh", "domains", "rules", "rules/apply", "rules/undo", "test", "draft/go-live", "draft/drop",
)  # fmt: skip


def make_host(mount: Mount, **options: Any) -> Host:
    """A host that answers what raises with a 500, as one in production does. fabrikam has a draft."""
    host = make_admin_host(mount, **{"verify_domain": lambda tenant, domain: False, **options})
    host.app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": {**FIELDS, "first_name": "surname"}}}, author=OPERATOR)
    return host


def client_of(host: Host) -> FlaskClient:
    """Sends what no browser does, signed in as the admin of fabrikam."""
    client = host.app.test_client()
    assert client.get(f"{ORIGIN}/enter/{add_user(host, FRED)}").status_code == 200
    return client


def hidden(client: FlaskClient) -> dict[str, str]:
    """What every form of these pages holds."""
    page = client.get(f"{BASE}/fabrikam/setup").text
    return {name: re.findall(rf'name="{name}"[^>]* value="([^"]*)"', page)[0] for name in ("csrf_token", "seen")}


def file() -> tuple[BytesIO, str]:
    return BytesIO(b"x"), "x.txt"


TEXTS = ("metadata_url", "entity_id", "certificates", "metadata", "fetched", "entra_tenant_id", "domain", "break_glass", "force")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"json": [1, 2]}, id="a list as JSON"),
        pytest.param({"json": 5}, id="a number as JSON"),
        pytest.param({"json": {"csrf_token": 5, "seen": 5}}, id="numbers in JSON"),
        pytest.param({"data": "[" * 100_000, "content_type": "application/json"}, id="deep JSON"),
        pytest.param({"data": {"seen": "0.0." + "9" * 5000}}, id="a number without end"),
        pytest.param({"data": b"seen=%ff&csrf_token=%ed%a0%80", "content_type": "application/x-www-form-urlencoded"}, id="no text"),
    ],
)
def test_nothing_that_is_no_form_makes_an_error_of_the_server(mount: Mount, body: dict[str, Any]) -> None:
    client = client_of(make_host(mount))
    statuses = {form: client.post(f"{BASE}/fabrikam/{form}", **body).status_code for form in FORMS}
    assert statuses == dict.fromkeys(FORMS, 400)


def test_json_is_no_form_even_with_a_token(mount: Mount) -> None:
    host = make_host(mount)
    client = client_of(host)
    body = {**hidden(client), "rule": "off", "break_glass": ""}
    assert client.post(f"{BASE}/fabrikam/rules/apply", json=body).status_code == 400
    assert client.post(f"{BASE}/fabrikam/rules/apply", data=body).status_code == 303
    assert stored(host).live["offer_sso"] is False


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("names", [("seen",), ("csrf_token",), TEXTS], ids=["mark", "token", "texts"])
def test_a_file_is_no_text(mount: Mount, form: str, names: tuple[str, ...]) -> None:
    client = client_of(make_host(mount))
    body = {**hidden(client), "rule": "optional", **{name: file() for name in names}}
    answer = client.post(f"{BASE}/fabrikam/{form}", data=body, content_type="multipart/form-data")
    assert answer.status_code in {("seen",): {409, 303}, ("csrf_token",): {400}}.get(names, {200, 303, 422})


def test_a_host_may_call_the_token_as_it_likes(mount: Mount) -> None:
    def configure(app: Flask) -> None:
        app.config["WTF_CSRF_FIELD_NAME"] = "_token"
        CSRFProtect(app)

    host = make_host(mount, configure=configure)
    browser: Browser = browser_of(host, FRED)
    [form] = [one for one in browser.get(f"{BASE}/fabrikam/rules").forms if one.action.endswith("/rules")]
    review = browser.submit(form, {"rule": "off"})
    assert browser.submit(review.forms[0]).status == 200
    assert stored(host).live["offer_sso"] is False


def test_of_emergency_accounts_without_end_no_more_are_looked_at_than_there_may_be(mount: Mount) -> None:
    client = client_of(make_host(mount))
    many = "\n".join(map(str, range(100_000)))
    answer = client.post(f"{BASE}/fabrikam/rules", data={**hidden(client), "rule": "optional", "break_glass": many})
    assert (answer.status_code, answer.text.count("Name at most 20 emergency accounts")) == (422, 2)  # at the field and above
    assert len(answer.text) < len(many) + 50_000


# --- claims, accounts and roles ---------------------------------------------------------------------------------------

FIELD, ACCOUNTS = "claims/field?name=first_name", "accounts"


def raw(rule: Any) -> dict[str, str]:
    return {"way": "json", "raw": rule if isinstance(rule, str) else json.dumps(rule)}


def roles(section: Any) -> dict[str, str]:
    return {"has_roles": "yes", "roles_raw": section if isinstance(section, str) else json.dumps(section)}


def rows(name: str, number: int) -> dict[str, str]:
    return {f"{name}-{row}": f"a{row}" for row in range(number)}


@pytest.mark.parametrize(
    ("form", "body", "status"),
    [
        pytest.param(FIELD, raw({"source": ["a", "b", "c"]}), 303, id="a good one"),
        pytest.param(FIELD, raw({"source": [f"a{number}" for number in range(101)]}), 422, id="claims"),
        pytest.param(FIELD, raw({"source": "a", "transform": ["lowercase"] * 101}), 422, id="steps"),
        pytest.param(FIELD, raw({"source": "a", "transform": [{"map": dict.fromkeys(map(str, range(6000)), "x")}]}), 422, id="replaced"),
        pytest.param(FIELD, raw({"source": "a", "transform": [{"split": "a" * 300_000}]}), 422, id="a long text"),
        pytest.param(FIELD, raw("[" * 21 + "]" * 21), 422, id="a deep list"),
        pytest.param(FIELD, raw('{"source":' * 900 + "1" + "}" * 900), 422, id="deep objects"),
        pytest.param(FIELD, rows("source", 2001), 413, id="rows of claims"),
        pytest.param(FIELD, {"do": "more-step", **rows("step", 2001)}, 413, id="rows of steps"),
        pytest.param(ACCOUNTS, {"do": "more-value", **rows("value", 2001)}, 413, id="rows of values"),
        pytest.param(ACCOUNTS, {"do": "more-require", **rows("require", 2001)}, 413, id="rows of requirements"),
        pytest.param(ACCOUNTS, roles({"source": "groups", "map": {str(one): [] for one in range(6000)}}), 422, id="roles"),
        pytest.param(ACCOUNTS, {"allowed_domains": "\n".join(f"d{one}.example" for one in range(6000))}, 422, id="domains"),
    ],
)
def test_no_draft_is_larger_than_what_can_be_looked_at(mount: Mount, form: str, body: dict[str, str], status: int) -> None:
    """It would be read and shown on each page that anybody opens of it, for minutes and in hundreds of megabytes."""
    host = make_host(mount)
    client, before = client_of(host), stored(host).draft
    answer = client.post(f"{BASE}/fabrikam/{form}", data={**hidden(client), **body})
    assert (answer.status_code, stored(host).draft == before) == (status, status != 303)


def test_a_large_mapping_of_the_operators_stays_editable(mount: Mount) -> None:
    host = make_host(mount)
    large = {"fields": FIELDS, "roles": {"source": "groups", "on_missing": "keep", "map": {str(one): ["viewer"] for one in range(3000)}}}
    rows_of(host).change(stored(host), {"mapping": large}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    rows_of(host).save_draft(stored(host), None, author=OPERATOR)
    client = client_of(host)
    assert client.post(f"{BASE}/fabrikam/{FIELD}", data={**hidden(client), **raw('"surname"')}).status_code == 303
    assert client.post(f"{BASE}/fabrikam/{FIELD}", data={**hidden(client), **raw({"source": ["a", "b", "c"]})}).status_code == 422


@pytest.mark.parametrize("text", ["\\ud800", "a\\u0000"], ids=["half a character", "nul"])
def test_claims_that_no_assertion_can_hold_are_none_to_try(mount: Mount, text: str) -> None:
    host = make_host(mount)
    rows_of(host).save_draft(stored(host), {"mapping": {"identity": {"source": "employeeid"}, "fields": FIELDS}}, author=OPERATOR)
    client = client_of(host)
    sample = f'{{"employeeid": "{text}", "emailaddress": "a@fabrikam.example"}}'
    body = {**hidden(client), "source-0": "surname", "do": "try", "sample": sample}
    assert client.post(f"{BASE}/fabrikam/{FIELD}", data=body).status_code == 422


# --- who may what -----------------------------------------------------------------------------------------------------

# what those may open who may do this alone; all that they may send is a test
ALONE = {
    AdminAction.VIEW: {"", "setup", "certificates", "domains", "history", "claims", "accounts", "rules", "draft"},
    AdminAction.EDIT: set(),
    AdminAction.TEST: {"test", "test/result"},
    AdminAction.GO_LIVE: set(),
    AdminAction.RULES: set(),
    AdminAction.LOG: {"log"},
}


@pytest.mark.parametrize("action", AdminAction, ids=str)
def test_whoever_may_do_one_thing_alone_sees_nothing_of_the_others(mount: Mount, action: AdminAction) -> None:
    host = make_host(mount, authorize=lambda user, tenant, asked: tenant.slug == "fabrikam" and asked is action)
    unknown = client_of(host).get(f"{BASE}/nobody/")
    pages = {rule.rule.partition("<tenant>/")[2] for rule in host.app.url_map.iter_rules() if rule.endpoint.startswith("samljit.admin.")}
    opened, sent = set(), set()
    for page in sorted(pages - {"log/<reference>"}):
        answer = client_of(host).get(f"{BASE}/fabrikam/{page}")  # a session of its own: no page has put a token into it before
        if answer.status_code != 404:
            opened.add(page)
        else:
            assert (answer.text, dict(answer.headers)) == (unknown.text, dict(unknown.headers)), page
        answer = client_of(host).post(f"{BASE}/fabrikam/{page}", data={"do": ""})
        if answer.status_code == 404:
            assert (answer.text, dict(answer.headers)) == (unknown.text, dict(unknown.headers)), page
        elif answer.status_code != 405:
            sent.add(page)
    assert opened - {"claims/field"} == ALONE[action]
    assert sent == ({"test"} if action is AdminAction.TEST else set())


@pytest.mark.parametrize(
    ("method", "page", "status"),
    [
        ("get", "fabrikam/", 200),
        ("get", "fabrikam/draft/go-live", 303),
        ("post", "fabrikam/rules", 400),
        ("post", "fabrikam/setup", 413),
        ("get", "contoso/", 404),
        ("get", "nobody/", 404),
    ],
)
def test_no_answer_is_for_a_cache_and_no_page_for_a_frame(mount: Mount, method: str, page: str, status: int) -> None:
    client = client_of(make_host(mount))
    body = {"data": {"x": "a" * 3_000_000}} if status == 413 else {}
    answer = getattr(client, method)(f"{BASE}/{page}", **body)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
    if status in (200, 400):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_what_a_tenants_admin_writes_changes_nothing_of_a_commands_output(mount: Mount) -> None:
    host = make_host(mount)
    evil = "x\n2026 ERROR forged \x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}"
    mapping = {"fields": FIELDS, "identity": {"source": evil}}
    idp = {"entity_id": "urn:x\N{RIGHT-TO-LEFT OVERRIDE}\x07", "sso_url": "https://login.microsoftonline.com/x"}
    idp |= {"certificates": [signing_key("x").certificate_pem.decode()]}
    rows_of(host).change(stored(host), {"mapping": mapping, "idp": idp}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    output = host.app.test_cli_runner().invoke(args=["samljit", "tenant", "show", "fabrikam"], color=True).output
    assert [line for line in output.splitlines() if not line.isprintable() or line.startswith("2026")] == []
    assert "urn:x\\u202e\\x07" in output
