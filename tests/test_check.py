"""`flask samljit check` and `mapping test`: what they find, and that neither changes anything."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask, abort
from sqlalchemy import String, event, text
from sqlalchemy.orm import mapped_column
from werkzeug.middleware.proxy_fix import ProxyFix

from samljit.testing import FakeEntra, Person
from tests.commands import add_user, read, run
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, LOGIN, Host, make_user_model, settings_for
from tests.servers import database

GOOD = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_SAMESITE": "Lax",
    "REMEMBER_COOKIE_SECURE": True,
}


def tidy(app: Flask) -> None:
    app.config.update(GOOD)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]


def findings(host: Host, *, code: int = 0) -> dict[str, str]:
    """What check found, by code: the status. All that is well is left out, and that tests' databases keep no write-ahead log."""
    told = read(host, "check", code=code)
    assert told["ok"] is (code == 0)
    return {one["code"]: one["status"] for one in told["findings"] if one["status"] != "ok" and one["code"] != "sqlite_journal"}


def test_where_all_is_well_nothing_is_found(mount: Mount) -> None:
    host = mount(configure=tidy)
    with host.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("PRAGMA journal_mode = WAL"))
    assert findings(host) == {}
    assert run(host, "check").stdout.splitlines()[-1].startswith("0 problem(s), 0 warning(s), ")


def configured(**values: Any) -> Callable[[Flask], None]:
    def configure(app: Flask) -> None:
        tidy(app)
        app.config.update(values)

    return configure


APPS: dict[str, tuple[Callable[[Flask], None], dict[str, str]]] = {
    "insecure-cookie": (configured(SESSION_COOKIE_SECURE=False), {"session_cookie_secure": "warning"}),
    "insecure-remember-cookie": (configured(REMEMBER_COOKIE_SECURE=False), {"remember_cookie_secure": "warning"}),
    "no-samesite": (configured(SESSION_COOKIE_SAMESITE=None), {"session_cookie_samesite": "warning"}),
    "samesite-none-insecure": (
        configured(SESSION_COOKIE_SAMESITE="None", SESSION_COOKIE_SECURE=False),
        {"session_cookie_secure": "warning", "session_cookie_samesite": "problem"},
    ),
    "scripts-read-it": (configured(SESSION_COOKIE_HTTPONLY=False), {"session_cookie_httponly": "warning"}),
    "server-name": (configured(SERVER_NAME="internal:8000"), {"server_name": "warning"}),
    "application-root": (configured(APPLICATION_ROOT="/app"), {"application_root": "problem"}),
    "application-root-with-path": (configured(APPLICATION_ROOT="/app", SESSION_COOKIE_PATH="/"), {}),
    "short-key": (configured(SECRET_KEY="dev"), {"secret_key": "problem"}),
    "no-proxy-fix": (lambda app: app.config.update(GOOD), {"proxy_fix": "warning"}),
}


@pytest.mark.parametrize(("configure", "found"), APPS.values(), ids=APPS)
def test_the_apps_own_set_up_is_checked(mount: Mount, configure: Callable[[Flask], None], found: dict[str, str]) -> None:
    assert findings(mount(configure=configure), code=int("problem" in found.values())) == found


def test_http_on_loopback_needs_no_secure_cookie_and_is_broken_by_one(mount: Mount, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, FakeEntra(), base_url="http://localhost:5000")
    host = mount(settings=settings, configure=configured(SESSION_COOKIE_SECURE=False))
    assert findings(host) == {}
    host.app.config["SESSION_COOKIE_SECURE"] = True
    assert findings(host, code=1) == {"session_cookie_secure": "problem"}


def test_flask_login_and_its_user_loader_must_be_there(mount: Mount) -> None:
    host = mount(configure=tidy)
    manager = host.app.login_manager  # type: ignore[attr-defined]
    manager._user_callback = None
    assert findings(host, code=1) == {"no_user_loader": "problem"}
    del host.app.login_manager  # type: ignore[attr-defined]
    assert findings(host, code=1)["no_login_manager"] == "problem"


def demand_login(app: Flask) -> None:
    tidy(app)
    app.before_request(lambda: abort(401))


def test_a_login_demanded_of_everybody_is_found_out(mount: Mount) -> None:
    assert findings(mount(configure=demand_login), code=1) == {"unreachable": "problem"}


def shadow(app: Flask) -> None:
    tidy(app)
    app.add_url_rule("/saml/contoso/acs", "mine", lambda: "", methods=["POST"])


def test_a_route_of_the_host_in_front_of_ours_is_found_out(mount: Mount) -> None:
    assert findings(mount(configure=shadow), code=1) == {"shadowed": "problem"}


# --- database ---------------------------------------------------------------------------------------------------------


def execute(host: Host, *statements: str) -> None:
    with host.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_missing_tables_and_columns_are_named(mount: Mount) -> None:
    host = mount(configure=tidy)
    execute(host, "ALTER TABLE samljit_attempt DROP COLUMN browser")
    assert findings(host, code=1) == {"columns_missing": "problem"}
    execute(host, "DROP TABLE samljit_audit")
    assert "samljit_audit" in run(host, "check").stdout
    assert findings(host, code=1) == {"tables_missing": "problem"}


def test_a_lost_trigger_and_an_identity_left_behind_are_found_and_the_remedies_work(mount: Mount) -> None:
    host = mount(configure=tidy)
    host.sign_in(ADELE)
    execute(host, "DROP TRIGGER samljit_user_deleted", "DELETE FROM users")
    assert findings(host, code=1) == {"trigger_missing": "problem", "orphans": "problem"}
    told = {one["code"]: one for one in read(host, "check", code=1)["findings"]}
    execute(host, told["trigger_missing"]["remedy"].partition("Run: ")[2])
    assert run(host, "identity", "unlink", re.findall(r"gone: (\d+)", told["orphans"]["what"])[0]).exit_code == 0
    assert findings(host) == {}


def set_up(host: Host) -> dict[str, str]:
    told = json.loads(run(host, "check", "--json").stdout)["findings"]
    codes = ("autocommit", "no_transactions", "sqlite_journal", "sqlite_busy")
    return {one["code"]: one["status"] for one in told if one["code"] in codes}


def test_how_sqlite_is_set_up_is_checked_and_the_remedies_work(mount: Mount) -> None:
    host = mount(configure=tidy)
    assert set_up(host) == {"sqlite_journal": "warning"}
    with host.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("PRAGMA journal_mode = WAL"))
    assert set_up(host) == {}
    url = str(host.engine.url)
    assert set_up(mount(configure=tidy, url=f"{url}?timeout=0.5")) == {"sqlite_busy": "warning"}


def test_an_engine_without_transactions_is_a_problem(mount: Mount) -> None:
    host = mount(configure=tidy)
    event.listen(host.engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    host.session.remove()
    host.engine.dispose()
    assert set_up(host)["autocommit"] == "problem"
    event.listen(host.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))  # as SQLAlchemy's documentation advises
    assert "autocommit" not in set_up(host)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_other_databases_are_checked_too(mount: Mount, tmp_path: Path, kind: str) -> None:
    with database(kind, tmp_path) as url:
        host = mount(configure=tidy, url=url)
        assert set_up(host) == {}
        if kind == "mariadb":
            execute(host, "ALTER TABLE samljit_audit DROP FOREIGN KEY fk_samljit_audit_tenant", "ALTER TABLE samljit_audit ENGINE = Aria")
            assert set_up(host) == {"no_transactions": "problem"}
        host.session.remove()
        host.engine.dispose()


def test_an_e_mail_that_is_unique_over_several_tenants_is_warned_about(mount: Mount, tmp_path: Path) -> None:
    entra, other = FakeEntra(), FakeEntra("99990000-aaaa-4444-8888-000000000001")
    settings = settings_for(tmp_path, entra)
    fabrikam = settings_for(tmp_path, other)["tenants"]["contoso"] | {"domains": ["fabrikam.example"]}
    settings["tenants"]["fabrikam"] = fabrikam
    unique = make_user_model(email=mapped_column(String(200), unique=True))
    assert findings(mount(settings=settings, user_model=unique, configure=tidy)) == {"unique_email_many_tenants": "warning"}
    assert findings(mount(settings=settings, configure=tidy)) == {}


# --- settings and certificates ----------------------------------------------------------------------------------------


def test_a_mapping_warning_is_shown_with_its_place(mount: Mount) -> None:
    mapping = {"identity": {"source": "emailaddress"}, "fields": FIELDS}
    host = mount(configure=tidy, tenant={"mapping": mapping})
    assert findings(host) == {"mutable_identity": "warning"}


def test_settings_that_were_spoilt_after_the_start_are_told_before_the_next_one(mount: Mount, tmp_path: Path) -> None:
    settings, file = settings_for(tmp_path, FakeEntra()), tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    host = mount(configure=configured(SAMLJIT_SETTINGS=str(file)))
    assert findings(host) == {}
    settings["tenants"]["contoso"]["mapping"] = {"fields": FIELDS | {"salary": "extension_salary"}}
    file.write_text(json.dumps(settings))
    assert findings(host, code=1) == {"unknown_target": "problem", "settings_changed": "warning"}


def test_a_tenant_that_is_not_connected_is_a_warning(mount: Mount) -> None:
    assert findings(mount(configure=tidy, tenant={"idp": None})) == {"not_connected": "warning"}


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (61, {}),
        (59, {"certificate_expires_in_60": "warning"}),
        (29, {"certificate_expires_in_30": "warning"}),
        (6, {"certificate_expires_in_7": "warning"}),
        (0.5, {"certificate_expires_in_1": "warning"}),
        (-0.5, {"certificate_expired": "problem"}),
    ],
)
def test_a_certificate_is_warned_about_ever_more_urgently(mount: Mount, days: float, found: dict[str, str]) -> None:
    host = mount(configure=tidy)
    until = host.entra.key.certificate.not_valid_after_utc
    with time_machine.travel(until - timedelta(days=days)):
        assert findings(host, code=int(days < 0)) == found


# --- mapping test -----------------------------------------------------------------------------------------------------


def written(host: Host) -> list[str]:
    """Every statement from now on that is not a question."""
    seen: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not re.match(r"(SELECT|PRAGMA)\b", statement):
            seen.append(statement)

    return seen


def write(directory: Path, name: str, content: Any) -> str:
    file = directory / name
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


CLAIMS = {"objectidentifier": ADELE.object_id, "emailaddress": "Ada@contoso.example", "givenname": "Ada", "surname": ["Vance"]}


def by_field(told: dict[str, Any]) -> dict[str, tuple[str, Any, Any]]:
    return {one["field"]: (one["action"], one["old"], one["new"]) for one in told["fields"]}


def test_a_newcomer_is_planned_from_typed_claims_and_nothing_is_written(host: Host, tmp_path: Path) -> None:
    seen, file = written(host), write(tmp_path, "claims.json", CLAIMS)
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file)
    assert (told["outcome"], seen, host.count("users"), host.count("samljit_tenant_state")) == ("create", [], 0, 0)
    assert by_field(told)["email"] == ("set", None, "ada@contoso.example")
    line = run(host, "mapping", "test", "--tenant", "contoso", "--claims", file).stdout.splitlines()[3]
    assert re.split(r"\s{2,}", line)[:6] == ["email", "emailaddress", "Ada@contoso.example", "-", "ada@contoso.example", "set"]


def test_a_user_who_is_there_is_planned_with_old_and_new_values(host: Host, tmp_path: Path) -> None:
    host.sign_in(ADELE)
    before, seen = host.users(), written(host)
    file = write(tmp_path, "claims.json", CLAIMS)
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file, "--user", "1")
    assert by_field(told)["first_name"] == ("set", "Adele", "Ada")
    assert (told["outcome"], seen, host.users() == before) == ("update", [], True)


def test_a_draft_is_tried_in_place_of_the_tenants_mapping(host: Host, tmp_path: Path) -> None:
    draft = write(tmp_path, "draft.json", {"fields": {"email": "emailaddress", "first_name": {"value": "Somebody"}}})
    file = write(tmp_path, "claims.json", CLAIMS)
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file, "--mapping", draft)
    assert by_field(told) == {"email": ("set", None, "Ada@contoso.example"), "first_name": ("set", None, "Somebody")}


def test_a_bad_draft_is_told_whole_with_its_places(host: Host, tmp_path: Path) -> None:
    draft = write(tmp_path, "draft.json", {"fields": {"email": "emailaddress", "is_admni": "role", "id": "x"}, "sync": 1})
    file = write(tmp_path, "claims.json", CLAIMS)
    result = run(host, "mapping", "test", "--tenant", "contoso", "--claims", file, "--mapping", draft)
    assert result.exit_code == 1
    assert {line.partition(": ")[0] for line in result.stdout.splitlines()} == {"$.fields.is_admni", "$.fields.id", "$.sync"}


REFUSED = {
    "required_claim_missing": {"objectidentifier": ADELE.object_id, "givenname": "Ada"},
    "subject_missing": {"emailaddress": "ada@contoso.example"},
    "value_invalid": CLAIMS | {"emailaddress": "no address"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_a_sign_in_would_refuse_is_1_with_the_same_reason(host: Host, tmp_path: Path, reason: str) -> None:
    file = write(tmp_path, "claims.json", REFUSED[reason])
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file, code=1)
    assert (told["outcome"], told["reason"]) == ("refuse", reason)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b"\xff"], ids=["empty", "list", "cut", "number", "not utf-8"])
def test_claims_that_cannot_be_read_are_wrong_usage(host: Host, tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path, "claims.json", content)
    assert run(host, "mapping", "test", "--tenant", "contoso", "--claims", file).exit_code == 2


def response_of(host: Host, person: Person = ADELE, **changes: Any) -> bytes:
    """A response as somebody would save it: base64."""
    page = host.browser().get(LOGIN)
    post = host.entra.respond(host.entra.read_request(page.url), person, now=datetime.now(UTC), **changes)
    return post.form["SAMLResponse"].encode()


@pytest.mark.parametrize("form", ["base64", "xml"])
def test_a_saved_response_is_read_long_after_and_its_signature_verified(host: Host, tmp_path: Path, form: str) -> None:
    saved = response_of(host)
    file = write(tmp_path, "response", saved if form == "base64" else base64.b64decode(saved))
    seen = written(host)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=30)):
        told = read(host, "mapping", "test", "--tenant", "contoso", "--response", file)
    assert (told["outcome"], by_field(told)["last_name"], seen) == ("create", ("set", None, "Vance"), [])
    assert told["evidence"].startswith("signature verified")


FORGED: dict[str, Callable[[bytes], bytes]] = {
    "changed": lambda xml: xml.replace(b"Vance", b"Mallo"),
    "unsigned": lambda xml: re.sub(rb"<(\w+:)?Signature .*?</(\w+:)?Signature>", b"", xml, flags=re.DOTALL),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_response_that_nobody_signed_is_read_and_called_not_verified(host: Host, tmp_path: Path, forge: Callable[[bytes], bytes]) -> None:
    file = write(tmp_path, "response.xml", forge(base64.b64decode(response_of(host))))
    told = read(host, "mapping", "test", "--tenant", "contoso", "--response", file)
    assert told["evidence"].startswith("not verified")
    assert "Not verified" in run(host, "mapping", "test", "--tenant", "contoso", "--response", file).stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"!", "not_base64"), (b"<a", "xml_malformed"), (b"<a/>", "not_a_response"), (b"<!DOCTYPE a><a/>", "xml_forbidden")],
)
def test_what_is_no_response_is_refused_in_the_catalogues_words(host: Host, tmp_path: Path, content: bytes, reason: str) -> None:
    result = run(host, "mapping", "test", "--tenant", "contoso", "--response", write(tmp_path, "response", content))
    assert (result.exit_code, result.stdout, reason in result.stderr) == (1, "", True)


ROLES = {
    "fields": FIELDS,
    "roles": {"source": "groups", "map": {ADELE.groups[0]: ["editor"], "x": ["viewer"]}, "on_missing": "keep"},
}


def test_roles_are_planned_explained_and_logged(mount: Mount, tmp_path: Path) -> None:
    host = mount(tenant={"mapping": ROLES})
    host.sign_in(ADELE)
    file, seen = write(tmp_path, "claims.json", CLAIMS | {"groups": "x"}), written(host)
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file, "--user", "1")
    assert {one["role"]: one["action"] for one in told["roles"]} == {"editor": "revoked", "viewer": "granted"}
    assert "No claim asks for it any more." in run(host, "mapping", "test", "--tenant", "contoso", "--claims", file).stdout
    [row] = read(host, "log")
    assert ([one["role"] for one in row["roles"]], row["role_claims"], seen) == (["editor"], "present", [])
    assert "editor" in run(host, "explain", row["reference"]).stdout


def test_whose_claims_they_are_is_found_without_being_told(host: Host, tmp_path: Path) -> None:
    host.sign_in(ADELE)
    file = write(tmp_path, "claims.json", CLAIMS)
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", file)
    assert (told["outcome"], by_field(told)["first_name"]) == ("update", ("set", "Adele", "Ada"))


POLICIES: dict[str, tuple[dict[str, Any], int, dict[str, Any]]] = {
    "full": ({"policy": {"max_users": 1}}, 1, {"outcome": "refuse", "reason": "user_limit"}),
    "nobody-new": ({"policy": {"create_users": False}}, 1, {"outcome": "refuse", "reason": "create_disabled"}),
    "waits": ({"policy": {"new_user_state": "inactive"}}, 0, {"outcome": "create", "may_sign_in": False}),
    "linked-by-e-mail": ({"identity": {"match": "email_link"}}, 0, {"outcome": "update", "links_user": 2}),
}


@pytest.mark.parametrize(("draft", "code", "wanted"), POLICIES.values(), ids=POLICIES)
def test_the_policy_is_tried_with_what_the_database_holds(
    mount: Mount, tmp_path: Path, draft: dict[str, Any], code: int, wanted: dict[str, Any]
) -> None:
    model = make_user_model(organization=mapped_column(String(50)))
    fields = {"tenant_fields": lambda tenant: {"organization": tenant.slug}, "is_privileged": lambda user: user.is_admin}
    host = mount(user_model=model, **fields)
    host.sign_in(BIANCA)
    add_user(host, "ada@contoso.example", organization="contoso")
    claims, seen = write(tmp_path, "claims.json", CLAIMS), written(host)
    mapping = write(tmp_path, "draft.json", {"fields": FIELDS, **draft})
    told = read(host, "mapping", "test", "--tenant", "contoso", "--claims", claims, "--mapping", mapping, code=code)
    assert ({name: told[name] for name in wanted}, seen) == (wanted, [])


def test_a_user_of_another_tenant_is_not_shown(mount: Mount, tmp_path: Path) -> None:
    model = make_user_model(organization=mapped_column(String(50)))
    host = mount(user_model=model, tenant_fields=lambda tenant: {"organization": tenant.slug})
    user = add_user(host, "victim@fabrikam.example", organization="fabrikam")
    file = write(tmp_path, "claims.json", CLAIMS)
    result = run(host, "mapping", "test", "--tenant", "contoso", "--claims", file, "--user", str(user))
    assert (result.exit_code, "victim" in result.output) == (1, False)
