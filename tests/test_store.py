"""What a sign-in leaves in the database, on SQLite, PostgreSQL and MariaDB alike: rows, races, deletions, and nothing else."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import JSON, Integer, String, UniqueConstraint, create_engine, delete, event, text
from sqlalchemy.orm import mapped_column

from samljit.extension import Mounted
from samljit.model import Attempt, Outcome, Stage
from samljit.sql.attempts import new_reference
from samljit.store import WriteConflict
from samljit.testing import Browser, Form, Person
from tests.host import ACS, ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_host, make_user_model
from tests.servers import KINDS, database

THREADS = 16
NEW_NAME = replace(ADELE, surname="Vance-Ito")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def any_host(url: str, tmp_path: Path) -> Iterator[Host]:
    host = make_host(tmp_path, url=url)
    yield host
    close(host)


def close(host: Host) -> None:
    host.session.remove()
    host.engine.dispose()


def forms(host: Host, person: Person, count: int) -> list[dict[str, str]]:
    """The answers to so many sign-ins that began, ready to be posted."""
    pages = [host.browser().get(LOGIN) for _ in range(count)]
    requests = [host.entra.read_request(page.url) for page in pages]
    return [dict(host.entra.respond(request, person, now=datetime.now(UTC)).form) for request in requests]


def post_at_once(host: Host, posts: list[dict[str, str]]) -> Counter[int]:
    """Posts each from a thread of its own, all in the same moment. How often each status came back."""
    barrier = Barrier(len(posts))

    def post(form: dict[str, str]) -> int:
        barrier.wait()
        return host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN).status_code

    with ThreadPoolExecutor(len(posts)) as pool:
        return Counter(pool.map(post, posts))


def outcomes(host: Host) -> Counter[str]:
    return Counter(row.reason or row.outcome for row in host.rows("samljit_attempt"))


def test_one_person_is_created_left_alone_and_updated_in_one_row_with_a_log_row_each(any_host: Host) -> None:
    pages = [any_host.sign_in(person) for person in (ADELE, ADELE, NEW_NAME)]
    assert [page.status for page in pages] == [200, 200, 200]
    [user] = any_host.users()
    assert (user["last_name"], user["display_name"]) == ("Vance-Ito", "Adele Vance")
    assert [row.outcome for row in any_host.rows("samljit_attempt")] == ["create", "unchanged", "update"]
    assert {row.user_id for row in any_host.rows("samljit_attempt")} == {user["id"]}
    assert (any_host.count("samljit_identity"), any_host.count("samljit_assertion")) == (1, 3)


def test_the_log_row_names_fields_and_claims_and_holds_no_value(any_host: Host) -> None:
    any_host.sign_in(ADELE)
    [row] = any_host.rows("samljit_attempt")
    assert {d["field"]: d["action"] for d in row.decisions} == dict.fromkeys(FIELDS, "set")
    assert re.fullmatch(r"SJ-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", row.reference)
    assert not any(value in str(row) for value in ("adele", "Adele", "Vance"))


@pytest.mark.parametrize("unique", [True, False], ids=["unique e-mail", "e-mail not unique"])
def test_sixteen_first_sign_ins_at_once_make_one_user(url: str, tmp_path: Path, unique: bool) -> None:
    host = make_host(tmp_path, url=url, user_model=make_user_model(email=mapped_column(String(200), unique=unique)))
    assert post_at_once(host, forms(host, ADELE, THREADS)) == {200: THREADS}
    assert (host.count("users"), host.count("samljit_identity")) == (1, 1)
    assert outcomes(host) == {"create": 1, "unchanged": THREADS - 1}
    close(host)


def test_the_same_assertion_sixteen_times_at_once_is_accepted_once(any_host: Host) -> None:
    [form] = forms(any_host, ADELE, 1)
    assert post_at_once(any_host, [form] * THREADS) == {200: THREADS}
    assert outcomes(any_host) == {"create": 1, "replayed": THREADS - 1}
    assert (any_host.count("users"), any_host.count("samljit_assertion")) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="nothing has changed"),
        pytest.param({"active": False}, id="the person has been switched off"),
        pytest.param({"email": "X" * 200}, id="the user is another by now"),
    ],
)
def test_a_used_assertion_is_told_as_a_replay_whatever_else_speaks_against_it(any_host: Host, change: dict[str, Any]) -> None:
    [form] = forms(any_host, ADELE, 1)
    assert post_at_once(any_host, [form]) == {200: 1}
    if change:
        with any_host.engine.begin() as connection:
            connection.execute(any_host.user_model.__table__.update().values(**change))
    before = any_host.users()
    assert post_at_once(any_host, [form]) == {200: 1}
    assert outcomes(any_host) == {"create": 1, "replayed": 1}
    assert any_host.users() == before


def test_others_can_write_to_sqlite_while_a_sign_in_is_read_and_planned(tmp_path: Path) -> None:
    path, written = tmp_path / "host.sqlite", []

    def write_meanwhile(tenant: Any) -> dict[str, Any]:
        if host.count("users"):
            with closing(sqlite3.connect(path, timeout=0)) as other, other:
                written.append(other.execute("UPDATE samljit_tenant_state SET created_at = created_at").rowcount)
        return {}

    host = make_host(tmp_path, tenant_fields=write_meanwhile)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    host.sign_in(BIANCA)
    [form] = forms(host, BIANCA, 1)
    written.clear()
    assert post_at_once(host, [form]) == {200: 1}
    assert (outcomes(host), set(written)) == ({"create": 1, "unchanged": 1}, {1})
    close(host)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param(
            [
                "DELETE FROM users WHERE id = 1",
                "INSERT INTO users (email, display_name, is_admin, active) VALUES ('boss@host.example', 'The Boss', 1, 1)",
            ],
            [(1, "boss@host.example", "The Boss"), (2, BIANCA.email, "Bianca Pisani")],
            id="the user is deleted, and the next one gets the number",
        ),
        pytest.param(["DELETE FROM users WHERE id = 1"], [(1, BIANCA.email, "Bianca Pisani")], id="the user is deleted"),
        pytest.param(
            ["UPDATE users SET display_name = 'By Hand' WHERE id = 1"], [(1, BIANCA.email, "By Hand")], id="a value is written by hand"
        ),
        pytest.param(
            ["UPDATE samljit_tenant_state SET created_at = created_at"], [(1, BIANCA.email, "Bianca Pisani")], id="all else is as it was"
        ),
    ],
)
def test_what_others_write_to_sqlite_between_look_up_and_first_write_counts(
    tmp_path: Path, journal: str, change: list[str], wanted: list[tuple[int, str, str]]
) -> None:
    path, waiting = tmp_path / "host.sqlite", list[str]()

    def write_meanwhile(tenant: Any) -> dict[str, Any]:
        if stack() == "read":  # the user has been looked up just now
            with closing(sqlite3.connect(path, timeout=0)) as other, other:
                while waiting:
                    other.execute(waiting.pop(0))
        return {}

    def stack() -> str:
        return sys._getframe(3).f_code.co_name

    host = make_host(tmp_path, tenant_fields=write_meanwhile)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    host.sign_in(BIANCA)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE users SET display_name = NULL")
    waiting.extend(change)
    page = host.sign_in(BIANCA)
    assert waiting == []
    assert [(user["id"], user["email"], user["display_name"]) for user in host.users()] == wanted
    assert page.text == f"user {next(user['id'] for user in host.users() if user['email'] == BIANCA.email)}"
    close(host)


def test_sign_ins_at_once_update_a_user_class_that_counts_its_versions(url: str, tmp_path: Path) -> None:
    version = mapped_column("version", Integer, nullable=False)
    host = make_host(tmp_path, url=url, user_model=make_user_model(version=version, __mapper_args__={"version_id_col": version}))
    host.sign_in(ADELE)
    posts = [form for number in range(8) for form in forms(host, replace(ADELE, surname=f"Vance {number}"), 1)]
    assert set(post_at_once(host, posts)) <= {200, 503}
    assert set(outcomes(host)) <= {"create", "update", "unchanged", "database_unavailable"}
    assert host.users()[0]["last_name"].startswith("Vance ")
    close(host)


def test_a_hand_over_is_used_once_where_the_host_sends_what_it_reads_to_a_follower(url: str, tmp_path: Path) -> None:
    roles = {"source": "groups", "map": {ADELE.groups[0]: ["editor"]}, "on_missing": "remove"}
    model = make_user_model(roles=mapped_column(JSON))
    host = make_host(tmp_path, url=url, user_model=model, tenant={"mapping": {"fields": FIELDS, "roles": roles}})
    follower = create_engine(url)
    if follower.dialect.name == "postgresql":
        event.listen(follower, "connect", lambda connection, _: setattr(connection, "read_only", True))

    @event.listens_for(host.session.session_factory.class_, "do_orm_execute")
    def follow(state: Any) -> None:
        if state.is_select and state.is_orm_statement:
            state.bind_arguments["bind"] = follower

    try:
        assert [host.sign_in(person).status for person in (replace(ADELE, groups=()), ADELE)] == [200, 200]
        browser = Browser({ORIGIN: host.app}, follows_refresh=False)
        response = host.entra.respond(host.entra.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
        again = browser.submit(Form(ACS, fields=tuple(response.form.items())), by_script=True).refresh_url
        assert again is not None
        cookies = browser.jar.select(url=again, method="GET", is_cross_site=False, now=datetime.now(UTC))
        headers = {"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)}
        client = host.app.test_client(use_cookies=False)
        statuses = [client.get(again, base_url=ORIGIN, headers=headers).status_code for _ in range(3)]
    finally:
        event.remove(host.session.session_factory.class_, "do_orm_execute", follow)
        follower.dispose()
    assert (statuses, host.rows("samljit_attempt")[2].finished_at is not None) == ([303, 403, 403], True)
    close(host)


def test_a_role_that_several_sign_ins_at_once_have_given_goes_with_the_last_one(url: str, tmp_path: Path) -> None:
    roles = {"source": "groups", "map": {ADELE.groups[0]: ["editor"]}, "on_missing": "remove"}
    model = make_user_model(roles=mapped_column(JSON))
    host = make_host(tmp_path, url=url, user_model=model, roles_field="roles", tenant={"mapping": {"fields": FIELDS, "roles": roles}})
    for number in range(4):
        person = replace(ADELE, object_id=str(uuid4()), email=f"p{number}@contoso.example")
        host.sign_in(replace(person, groups=()))
        assert set(post_at_once(host, forms(host, person, 4))) <= {200, 503}
        assert host.sign_in(replace(person, groups=())).status == 200
    assert [user["roles"] or [] for user in host.users()] == [[]] * 4
    assert host.rows("samljit_role_grant") == []
    close(host)


def test_different_people_at_once_become_different_users(any_host: Host) -> None:
    people = [Person(object_id=str(uuid4()), given_name=f"P{n}", email=f"p{n}@contoso.example") for n in range(8)]
    assert post_at_once(any_host, [form for person in people for form in forms(any_host, person, 2)]) == {200: 16}
    assert (any_host.count("users"), any_host.count("samljit_identity")) == (8, 8)


def test_two_workers_that_meet_a_tenant_for_the_first_time_give_it_one_id(any_host: Host) -> None:
    rows, barrier = mount_of(any_host).directory.rows, Barrier(8)

    def ask(_: int) -> Any:
        barrier.wait()
        return rows.get_or_make("contoso", now=datetime.now(UTC)).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert any_host.count("samljit_tenant_state") == 1


def mount_of(host: Host) -> Mounted:
    found: Mounted = host.app.extensions["samljit"]
    return found


# --- values that must be unique ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["adele.vance@contoso.example", "ADELE.VANCE@contoso.example"])
def test_an_address_that_somebody_else_has_is_a_conflict_that_names_the_field(url: str, tmp_path: Path, email: str) -> None:
    host = make_host(tmp_path, url=url, user_model=make_user_model(email=mapped_column(String(200), unique=True)))
    host.sign_in(ADELE)
    page = host.sign_in(replace(BIANCA, email=email))
    assert (page.status, host.reasons(), host.rows("samljit_attempt")[-1].detail) == (409, ["value_conflict"], "field email")
    assert (host.count("users"), host.count("samljit_assertion"), "adele" in page.text.lower()) == (1, 1, False)
    close(host)


def test_an_update_to_an_address_that_somebody_else_has_changes_nothing(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, user_model=make_user_model(email=mapped_column(String(200), unique=True)))
    host.sign_in(ADELE)
    host.sign_in(BIANCA)
    before = host.users()
    page = host.sign_in(replace(BIANCA, email=ADELE.email, surname="Other"))
    assert (page.status, host.rows("samljit_attempt")[-1].detail, host.users()) == (409, "field email", before)
    close(host)


def test_a_conflict_inside_one_organization_names_the_field_that_was_mapped(url: str, tmp_path: Path) -> None:
    constraint = UniqueConstraint("organization", "email")
    model = make_user_model(organization=mapped_column(String(50)), __table_args__=(constraint,))
    host = make_host(tmp_path, url=url, user_model=model, tenant_fields=lambda tenant: {"organization": tenant.slug})
    host.sign_in(ADELE)
    page = host.sign_in(replace(BIANCA, email=ADELE.email))
    assert (page.status, host.rows("samljit_attempt")[-1].detail) == (409, "field email")
    close(host)


def test_subjects_that_differ_in_case_accent_or_padding_are_different_people(url: str, tmp_path: Path) -> None:
    fields = {"email": "emailaddress"}
    host = make_host(tmp_path, url=url, tenant={"mapping": {"identity": {"source": "employeeid"}, "fields": fields}})
    subjects = ["e1", "E1", "\u00e91", "e1 ", "e\u03011"]
    for number, subject in enumerate(subjects):
        person = replace(ADELE, object_id=str(uuid4()), email=f"p{number}@contoso.example", extra={"employeeid": [subject]})
        assert host.sign_in(person).text == f"user {host.users()[-1]['id']}"
    assert (host.count("users"), host.count("samljit_identity")) == (len(subjects), len(subjects))
    close(host)


# --- what the host deletes --------------------------------------------------------------------------------------------


def delete_by_unit_of_work(host: Host) -> None:
    session = host.session()
    session.delete(session.query(host.user_model).one())
    session.commit()


def delete_in_bulk(host: Host) -> None:
    host.session.execute(delete(host.user_model))
    host.session.commit()


def delete_by_sql(host: Host) -> None:
    with host.engine.begin() as connection:
        connection.execute(text("DELETE FROM users"))


@pytest.mark.parametrize("forget", [delete_by_unit_of_work, delete_in_bulk, delete_by_sql])
def test_a_deleted_user_takes_the_identity_along_and_the_log_stays(any_host: Host, forget: Any) -> None:
    any_host.sign_in(ADELE)
    forget(any_host)
    assert any_host.count("samljit_identity") == 0
    assert [row.user_id for row in any_host.rows("samljit_attempt")] == [None]


@pytest.mark.parametrize("forget", [delete_by_unit_of_work, delete_in_bulk, delete_by_sql])
def test_whoever_gets_a_deleted_users_id_is_never_signed_in_for_the_old_subject(host: Host, forget: Any) -> None:
    host.sign_in(ADELE)
    [adele] = host.users()
    forget(host)
    host.sign_in(BIANCA)
    [bianca] = host.users()
    assert adele["id"] == bianca["id"]  # SQLite gives the freed id again
    assert host.sign_in(ADELE).text == "user 2"
    assert [user["first_name"] for user in host.users()] == ["Bianca", "Adele"]


@pytest.mark.parametrize("maker", ["samljit", "host"])
def test_an_identity_left_behind_by_a_database_without_the_trigger_is_cut_when_its_id_is_given_again(host: Host, maker: str) -> None:
    host.sign_in(ADELE)
    with host.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER samljit_user_deleted"))  # as Alembic's batch mode does with the table
    delete_by_sql(host)
    assert host.count("samljit_identity") == 1
    if maker == "samljit":
        host.sign_in(BIANCA)
    else:
        host.session.add(host.user_model(email="bianca.pisani@contoso.example", first_name="Bianca"))
        host.session.commit()
    assert host.sign_in(ADELE).text == "user 2"
    assert [user["first_name"] for user in host.users()] == ["Bianca", "Adele"]


def test_an_identity_without_its_user_is_refused(host: Host) -> None:
    host.sign_in(ADELE)
    with host.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER samljit_user_deleted"))
    delete_by_sql(host)
    assert (host.sign_in(ADELE).status, host.reasons(), host.count("users")) == (403, ["user_gone"], 0)


# --- what no sign-in ever writes --------------------------------------------------------------------------------------


@pytest.fixture
def statements(host: Host) -> list[str]:
    """Every statement that changes the users table."""
    seen: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        if re.match(r"(INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) users\b", statement):
            seen.append(statement)

    return seen


def test_an_update_writes_the_changed_columns_and_no_other(host: Host, statements: list[str]) -> None:
    host.sign_in(ADELE)
    statements.clear()
    host.sign_in(NEW_NAME)
    assert statements == ["UPDATE users SET last_name=? WHERE users.id = ?"]


@pytest.mark.parametrize(
    "person",
    [ADELE, replace(ADELE, given_name=None, surname=None), replace(ADELE, surname="   ")],
    ids=["the same", "claims left out", "claim blank"],
)
def test_a_sign_in_that_brings_nothing_new_writes_nothing_to_users(host: Host, statements: list[str], person: Person) -> None:
    host.sign_in(ADELE)
    statements.clear()
    assert (host.sign_in(person).status, statements) == (200, [])
    assert (host.users()[0]["first_name"], host.users()[0]["last_name"]) == ("Adele", "Vance")


def test_no_sign_in_good_or_bad_deletes_a_user_or_touches_the_active_flag(host: Host, statements: list[str]) -> None:
    host.sign_in(ADELE)
    host.sign_in(NEW_NAME)
    host.sign_in(replace(ADELE, email=None, upn=None))
    host.sign_in(ADELE, audiences=(("https://elsewhere.example",),))
    set_active(host, False)
    statements.clear()
    assert (host.sign_in(ADELE).status, host.reasons()[-1]) == (403, "user_inactive")
    assert (statements, host.users()[0]["active"]) == ([], False)
    set_active(host, True)
    host.sign_in(replace(ADELE, given_name="Ada"))
    assert all("active" not in statement for statement in statements if statement.startswith("UPDATE"))
    assert not any(statement.startswith("DELETE") for statement in statements)


def set_active(host: Host, value: bool) -> None:
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE /* the host */ users SET active = :value"), {"value": value})


# --- the log ----------------------------------------------------------------------------------------------------------


def attempt(host: Host, **changes: Any) -> Attempt:
    now = datetime.now(UTC)
    tenant_id = mount_of(host).directory.rows.get_or_make("contoso", now=now).id
    return replace(Attempt(new_reference(), tenant_id, now, Stage.ACS, Outcome.REFUSE), **changes)


def test_an_attempt_comes_back_as_it_was_written(any_host: Host) -> None:
    written = attempt(any_host, detail="naïve \U0001f600", claim_names=("a", "b"), browser="x", times=3, request_nonce="0" * 32)
    store = mount_of(any_host).store
    store.add_attempt(written)
    assert store.find_attempt(written.reference) == written


def test_a_reference_that_is_taken_is_a_conflict(any_host: Host) -> None:
    store, written = mount_of(any_host).store, attempt(any_host)
    store.add_attempt(written)
    with pytest.raises(WriteConflict):
        store.add_attempt(written)


def test_a_hand_over_is_used_once_however_many_try(any_host: Host) -> None:
    store, written, barrier = mount_of(any_host).store, attempt(any_host), Barrier(THREADS)
    store.add_attempt(written)

    def use(_: int) -> bool:
        barrier.wait()
        return store.finish_attempt(written.reference, now=datetime.now(UTC))

    with ThreadPoolExecutor(THREADS) as pool:
        assert Counter(pool.map(use, range(THREADS))) == {True: 1, False: THREADS - 1}


def test_consumed_assertions_are_forgotten_only_after_their_time(any_host: Host) -> None:
    any_host.sign_in(ADELE)
    [row] = any_host.rows("samljit_assertion")
    store, expires = mount_of(any_host).store, row.expires_at.replace(tzinfo=UTC)
    assert store.purge_assertions(now=expires) == 0
    assert store.purge_assertions(now=expires.replace(year=expires.year + 1)) == 1
    assert any_host.count("samljit_assertion") == 0


def test_a_post_without_a_login_before_it_leaves_no_session_open(any_host: Host) -> None:
    any_host.app.test_client().post(ACS, data={"SAMLResponse": "AAAA"}, base_url=ORIGIN)
    assert any_host.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
