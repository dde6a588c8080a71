"""How often a sign-in asks the database, and that every question is answered by an index; on three databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import JSON, String, event, text
from sqlalchemy.orm import mapped_column

from samljit.testing import Browser, Form, Person
from tests.host import ACS, ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_host, make_user_model
from tests.servers import KINDS, database
from tests.test_store import close, forms

ROLES = {"source": "groups", "map": {ADELE.groups[0]: ["editor"]}, "default": ["viewer"], "on_missing": "keep"}
NEW_NAME = replace(ADELE, surname="Vance-Ito")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


@dataclass
class Seen:
    """What an engine was asked meanwhile: statements with their parameters, and how often something was committed."""

    statements: list[tuple[str, Any]] = field(default_factory=list)
    commits: int = 0


@contextmanager
def watch(host: Host) -> Iterator[Seen]:
    """Watches the engine. A statement that commits by itself counts as a commit where it writes."""
    seen = Seen()

    def before(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        seen.statements.append((statement, parameters))
        alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        seen.commits += alone and not statement.startswith("SELECT")

    def commit(connection: Any) -> None:
        seen.commits += connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"

    event.listen(host.engine, "before_cursor_execute", before)
    event.listen(host.engine, "commit", commit)
    yield seen
    event.remove(host.engine, "before_cursor_execute", before)
    event.remove(host.engine, "commit", commit)


def mapping(**sections: Any) -> dict[str, Any]:
    return {"mapping": {"fields": FIELDS, **sections}}


EVERYTHING = mapping(roles=ROLES, identity={"match": "email_link"}, policy={"max_users": 1_000_000})


def host_of(url: str, tmp_path: Path, tenant: dict[str, Any]) -> Host:
    model = make_user_model(organization=mapped_column(String(50), index=True), roles=mapped_column(JSON))
    fields = {"tenant_fields": lambda tenant: {"organization": tenant.slug}, "is_privileged": lambda user: user.is_admin}
    return make_host(tmp_path, url=url, user_model=model, tenant=tenant, roles_field="roles", **fields)


def post(host: Host, person: Person) -> Seen:
    """Posts the answer to one sign-in. What happens besides once a minute has happened."""
    [form] = forms(host, person, 1)
    with watch(host) as seen:
        answered = host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN)
        assert answered.status_code == 200
    answered.close()
    return seen


@pytest.mark.parametrize(
    ("tenant", "person", "most"),
    [
        pytest.param({}, ADELE, 6, id="nothing new"),
        pytest.param({}, NEW_NAME, 7, id="a new name"),
        pytest.param(mapping(roles=ROLES), ADELE, 6, id="nothing new, with roles"),
        pytest.param(mapping(roles=ROLES), NEW_NAME, 7, id="a new name, with roles"),
        # the tenant's lock comes on top: a limit is exact because its people are written one after the other
        pytest.param(EVERYTHING, ADELE, 7, id="nothing new, with roles and a limit"),
    ],
)
def test_a_repeat_sign_in_takes_so_many_statements_and_one_commit(
    url: str, tmp_path: Path, tenant: dict[str, Any], person: Person, most: int
) -> None:
    host = host_of(url, tmp_path, tenant)
    host.sign_in(ADELE)
    seen = post(host, person)
    # uses the assertion up with the look-up; writes that somebody was here, the attempt and the session in one
    saved = 3 * (host.engine.dialect.name == "postgresql")
    assert (len(seen.statements) <= most - saved, seen.commits) == (True, 1), seen.statements
    assert host.rows("samljit_attempt")[-1].outcome == ("unchanged" if person is ADELE else "update")
    close(host)


@pytest.mark.parametrize(
    ("tenant", "most"),
    [
        pytest.param({}, 6, id="plain"),
        pytest.param(mapping(roles=ROLES), 7, id="roles"),
        pytest.param(mapping(roles=ROLES, policy={"max_users": 1_000_000}), 8, id="roles and a limit"),
        pytest.param(EVERYTHING, 9, id="roles, a limit, and a look for the e-mail"),
    ],
)
def test_a_creation_takes_so_many_statements_and_one_commit(url: str, tmp_path: Path, tenant: dict[str, Any], most: int) -> None:
    host = host_of(url, tmp_path, tenant)
    host.sign_in(replace(ADELE, object_id=str(uuid4()), email="somebody@contoso.example"))  # the tenant's claims are known from now on
    seen = post(host, ADELE)
    # SQLite: looks for rows that a deleted user left behind. PostgreSQL: as above, and writes identity, attempt and session in one
    more = {"sqlite": 1, "postgresql": -3}.get(host.engine.dialect.name, 0)
    assert (len(seen.statements) <= most + more, seen.commits) == (True, 1), seen.statements
    assert host.rows("samljit_attempt")[-1].outcome == "create"
    assert host.users()[-1]["roles"] == (["editor"] if "mapping" in tenant else None)
    close(host)


def test_the_second_step_takes_one_statement_beside_the_load_of_the_user(url: str, tmp_path: Path) -> None:
    host = host_of(url, tmp_path, EVERYTHING)
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    response = host.entra.respond(host.entra.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
    browser.submit(Form(ACS, fields=tuple(response.form.items())), by_script=True)
    with watch(host) as seen:
        assert browser.follow_refresh().text == "user 1"
    ours = [statement.partition(" ")[0] for statement, _ in seen.statements if "samljit_" in statement]
    others = [statement for statement, _ in seen.statements if "samljit_" not in statement]
    returns = host.engine.dialect.update_returning  # where an UPDATE gives nothing back, it is asked before
    assert (ours, seen.commits) == (["UPDATE"] if returns else ["SELECT", "UPDATE"], 1)
    assert len(others) == 2  # the user, by samljit in the host's session, and by Flask-Login for the page that is gone on to
    close(host)


def test_the_roles_of_a_new_user_are_written_and_nothing_is_deleted_before(url: str, tmp_path: Path) -> None:
    host = host_of(url, tmp_path, mapping(roles=ROLES))
    host.sign_in(BIANCA)
    assert not any(statement.startswith("DELETE") for statement, _ in post(host, ADELE).statements)
    assert [row.role for row in host.rows("samljit_role_grant")] == ["viewer", "editor"]
    close(host)


# --- by index ---------------------------------------------------------------------------------------------------------


FILLED = (
    "samljit_tenant_state",
    "users",
    "samljit_identity",
    "samljit_role_grant",
    "samljit_assertion",
    "samljit_attempt",
    "samljit_session",
)


def fill(host: Host, *, count: int = 3000) -> None:
    """Enough rows of other tenants that no database finds it cheaper to read a whole table."""
    tables, then = host.user_model.metadata.tables, host.rows("samljit_tenant_state")[0].created_at
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in FILLED}
    for number in range(10, 10 + count):
        key, whose = uuid4().hex * 2, {"tenant_id": str(uuid4())}
        theirs = {**whose, "user_id": number}
        known = {**theirs, "issuer": "i", "source": "s", "subject": key, "created_at": then, "signed_in_at": then}
        logged = {**theirs, "at": then, "stage": "provision", "outcome": "unchanged", "detail": "", "browser": "", "times": 1}
        reference = f"SJ-{number:09d}"
        for name, row in {
            "samljit_tenant_state": {"id": whose["tenant_id"], "slug": f"t{number}", "created_at": then, "claims_seen": []},
            "users": {"id": number, "email": key, "organization": f"t{number}", "is_admin": False, "active": True},
            "samljit_identity": {**known, "subject_key": key},
            "samljit_role_grant": {**theirs, "role": "viewer", "in_field": False, "granted_at": then},
            "samljit_assertion": {**whose, "assertion_hash": key, "request_nonce": key[:32], "expires_at": then.replace(year=2100)},
            "samljit_attempt": {**logged, "reference": reference, "claim_names": [], "decisions": [], "roles": []},
            "samljit_session": {**theirs, "reference": reference, "name_id_key": key, "name_id": {}, "began_at": then},
        }.items():
            rows[name].append(row)
    with host.engine.begin() as connection:
        for name in FILLED:
            connection.execute(tables[name].insert(), rows[name])
    with host.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in FILLED:
            connection.execute(text(f"ANALYZE {'TABLE ' if host.engine.dialect.name in ('mysql', 'mariadb') else ''}{name}"))


def read_whole(host: Host, statement: str, parameters: Any) -> list[str]:
    """The tables that the database would read from end to end for this statement."""
    name = host.engine.dialect.name
    explain = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN (FORMAT JSON) "}.get(name, "EXPLAIN FORMAT=JSON ")
    with host.engine.connect() as connection:
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
    if name == "sqlite":
        return [row.detail for row in rows if row.detail.startswith("SCAN") and "CONSTANT ROW" not in row.detail]
    plan = rows[0][0] if name == "postgresql" else json.loads(rows[0][0])
    whole = {"Node Type": "Seq Scan"} if name == "postgresql" else {"access_type": "ALL"}
    [(key, value)] = whole.items()
    return [str(node.get("Relation Name") or node.get("table_name")) for node in nodes(plan) if node.get(key) == value]


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """All objects of a plan."""
    if isinstance(plan, dict):
        yield plan
    for value in plan.values() if isinstance(plan, dict) else plan if isinstance(plan, list) else ():
        yield from nodes(value)


def test_every_look_up_of_a_sign_in_is_by_index(url: str, tmp_path: Path) -> None:
    host = host_of(url, tmp_path, EVERYTHING)
    host.sign_in(ADELE)
    fill(host)
    asked: list[tuple[str, Any]] = []
    for person in (NEW_NAME, replace(ADELE, groups=()), BIANCA):
        with watch(host) as seen:
            assert host.sign_in(person).status == 200
        asked += [one for one in seen.statements if not one[0].startswith(("INSERT", "DELETE FROM samljit_assertion"))]
    assert len(asked) > 15
    assert read_whole(host, "SELECT 1 FROM users WHERE first_name = 'x'", ())  # which has no index
    assert [(whole, statement) for statement, parameters in asked if (whole := read_whole(host, statement, parameters))] == []
    close(host)
