"""Sign-ins at once, from several processes with threads of their own, as behind a real server; on three databases."""

from __future__ import annotations

import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import String, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import mapped_column

from samljit.testing import Person
from tests.host import ADELE, BIANCA, FIELDS, ORIGIN, Host, make_host, make_user_model
from tests.servers import KINDS, database
from tests.test_store import close, forms, outcomes

PROCESSES, THREADS = 4, 8
AGAINST_ORDER = "UPDATE users SET departments = NULL"
BOTH = PROCESSES * THREADS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks processes as Unix does")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


def post_from_processes(host: Host, posts: list[dict[str, str]]) -> Counter[int]:
    """Posts each form from a thread of its own, eight in each of four processes, all in one moment. How often each status came back."""
    close(host)  # a connection must not be shared with a child
    start_read, start_write = os.pipe()
    children = [_fork(host, posts[index::PROCESSES], start=(start_read, start_write)) for index in range(PROCESSES)]
    for _, answers in children:
        assert os.read(answers, 1) == b"r"  # ready
    os.close(start_read)
    os.close(start_write)  # at which all begin
    statuses: Counter[int] = Counter()
    for child, answers in children:
        with os.fdopen(answers, "rb") as stream:
            statuses.update(pickle.load(stream))
        assert os.waitpid(child, 0)[1] == 0
    return statuses


def _fork(host: Host, posts: list[dict[str, str]], *, start: tuple[int, int]) -> tuple[int, int]:
    """A process that posts these, each in a thread, when `start` is closed. Gives its id, and where its answers can be read."""
    answers_read, answers_write = os.pipe()
    child = os.fork()
    if child:
        os.close(answers_write)
        return child, answers_read
    failed = 1
    try:
        barrier = Barrier(len(posts))

        def post(form: dict[str, str]) -> int:
            barrier.wait()
            return host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN).status_code

        os.close(start[1])
        os.write(answers_write, b"r")
        os.read(start[0], 1)
        with ThreadPoolExecutor(len(posts)) as pool, os.fdopen(answers_write, "wb") as stream:
            pickle.dump(list(pool.map(post, posts)), stream)
        failed = 0
    finally:
        os._exit(failed)


def somebody() -> Person:
    return Person(object_id=str(uuid4()), given_name="P", email=f"{uuid4().hex}@contoso.example")


@pytest.mark.parametrize("unique", [True, False], ids=["unique e-mail", "e-mail not unique"])
def test_first_sign_ins_of_one_person_make_one_user(url: str, tmp_path: Path, unique: bool) -> None:
    host = make_host(tmp_path, url=url, user_model=make_user_model(email=mapped_column(String(200), unique=unique)))
    statuses = post_from_processes(host, forms(host, ADELE, BOTH))
    assert set(statuses) <= {200, 503}  # signed in, or told to try again
    assert statuses[200] >= BOTH // 2
    assert (host.count("users"), host.count("samljit_identity")) == (1, 1)
    assert host.count("samljit_assertion") == statuses[200]
    assert outcomes(host)["create"] == 1
    close(host)


def test_one_assertion_is_accepted_once(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url)
    [form] = forms(host, ADELE, 1)
    assert set(post_from_processes(host, [form] * BOTH)) <= {200, 503}  # a replay is answered at the second step, and refused there
    assert outcomes(host)["create"] == 1
    assert set(outcomes(host)) <= {"create", "replayed"}
    assert (host.count("users"), host.count("samljit_assertion")) == (1, 1)
    close(host)


def test_of_people_who_race_for_one_unique_value_one_wins(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, user_model=make_user_model(email=mapped_column(String(200), unique=True)))
    people = [replace(somebody(), email="one@contoso.example") for _ in range(BOTH)]
    statuses = post_from_processes(host, [form for person in people for form in forms(host, person, 1)])
    assert (statuses[200], set(statuses) <= {200, 409, 503}) == (1, True)
    assert outcomes(host) == {"create": 1, "value_conflict": statuses[409]}
    assert (host.count("users"), host.count("samljit_identity"), host.count("samljit_assertion")) == (1, 1, 1)
    close(host)


def test_a_limit_holds(url: str, tmp_path: Path) -> None:
    tenant = {"mapping": {"fields": FIELDS, "policy": {"max_users": 5}}}
    host = make_host(tmp_path, url=url, tenant=tenant)
    statuses = post_from_processes(host, [form for _ in range(BOTH) for form in forms(host, somebody(), 1)])
    assert (set(statuses) <= {200, 403, 503}, statuses[200]) == (True, 5)
    assert (host.count("users"), host.count("samljit_identity")) == (5, 5)
    close(host)


# --- races that the database calls off --------------------------------------------------------------------------------


class Deadlock(Exception):
    sqlstate = "40P01"


@pytest.mark.parametrize(("times", "status", "runs"), [(1, 200, 2), (4, 200, 5), (99, 503, 5)])
def test_a_lost_race_is_run_again_as_a_whole_a_few_times(tmp_path: Path, times: int, status: int, runs: int) -> None:
    host = make_host(tmp_path)
    host.sign_in(BIANCA)
    begun: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def lose(_: Any, __: Any, statement: str, *___: Any) -> None:
        begun.extend([statement] if statement.startswith("INSERT INTO samljit_assertion") else [])
        if statement.startswith("INSERT INTO samljit_attempt") and len(begun) <= times:
            raise OperationalError(statement, {}, Deadlock())

    [form] = forms(host, ADELE, 1)
    answered = host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN)
    assert (answered.status_code, len(begun)) == (status, runs)
    assert host.count("users") == host.count("samljit_identity") == host.count("samljit_assertion") == 1 + (status == 200)
    close(host)


def test_sign_ins_that_deadlock_with_the_app_get_through(tmp_path: Path) -> None:
    """The app locks an identity and then its user, a sign-in the other way round: PostgreSQL calls one of them off.

    It is the one that looks first, so the one that waited first: the sign-in, unless this machine lets the app overtake it.
    """
    with database("postgres", tmp_path) as url:
        host = make_host(tmp_path, url=url)
        host.sign_in(ADELE)
        called_off = count_deadlocks(host)
        for number in range(5):
            surname = f"Other {number}"
            assert deadlock_with_the_app(host, surname=surname) == 200
            assert host.users()[0]["last_name"] == surname
            if called_off:
                break
        assert called_off == ["sign-in"]
        assert outcomes(host) == {"create": 1, "update": number + 1}
        close(host)


@pytest.mark.parametrize(
    ("kind", "patience"), [("postgres", "SET lock_timeout = '100ms'"), ("mariadb", "SET innodb_lock_wait_timeout = 1")]
)
def test_a_sign_in_that_waits_for_the_app_in_vain_holds_up_nobody_else_of_its_tenant(tmp_path: Path, kind: str, patience: str) -> None:
    with database(kind, tmp_path) as url:
        host = make_host(tmp_path, url=url)
        assert [host.sign_in(person).text for person in (ADELE, BIANCA)] == ["user 1", "user 2"]
        [slow], [other] = forms(host, replace(ADELE, surname="Other"), 1), forms(host, BIANCA, 1)
        host.engine.dispose()
        tenant_locked: list[str] = []

        @event.listens_for(host.engine, "connect")
        def wait_shortly(connection: Any, _: Any) -> None:
            connection.cursor().execute(patience)
            connection.commit()

        @event.listens_for(host.engine, "before_cursor_execute")
        def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            tenant_locked.extend([statement] if statement.startswith("UPDATE samljit_tenant_state") else [])

        def post(form: dict[str, str]) -> int:
            return host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN).status_code

        with host.engine.connect() as app:
            app.execute(text("UPDATE users SET departments = NULL WHERE id = 1"))
            assert (post(slow), post(other)) == (503, 200)
        assert (tenant_locked, post(slow)) == ([], 200)
        assert {user["last_name"] for user in host.users()} == {"Other", BIANCA.surname}
        close(host)


def count_deadlocks(host: Host) -> list[str]:
    """A list that gets an entry for each sign-in that the database calls off."""
    called_off: list[str] = []

    @event.listens_for(host.engine, "handle_error")
    def count(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", "") == "40P01" and context.statement != AGAINST_ORDER:
            called_off.append("sign-in")

    return called_off


def deadlock_with_the_app(host: Host, *, surname: str) -> int:
    """The status of a sign-in with another surname while the app wants the same rows in the other order, and may be called off for it."""
    [form] = forms(host, replace(ADELE, surname=surname), 1)
    with ThreadPoolExecutor(1) as pool, host.engine.connect() as app:
        app.execute(text("UPDATE samljit_identity SET source = source"))
        posted = pool.submit(lambda: host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN).status_code)
        wait_for_lock(host)
        try:
            app.execute(text(AGAINST_ORDER))
            app.commit()
        except OperationalError:
            app.rollback()
        return posted.result(20)


def wait_for_lock(host: Host) -> None:
    """Until somebody waits for a lock of somebody else's."""
    with host.engine.connect() as connection:
        for _ in range(500):
            waiting = "SELECT count(*), pg_sleep(0.01) FROM pg_locks WHERE NOT granted"
            if connection.execute(text(waiting)).scalar_one():
                return
    raise AssertionError("nobody waits")
