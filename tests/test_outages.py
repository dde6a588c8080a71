"""A database that goes away in the middle of a sign-in, comes back, or is full: a page that says so, and nothing broken."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, event, make_url, text

from samljit import situations
from samljit.testing import Browser, Form, Page, Person
from tests.host import ACS, ADELE, LOGIN, ORIGIN, Host, make_host
from tests.servers import SERVERS, database
from tests.test_store import close


class Wire:
    """Carries connections to a server, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Ends all connections, and lets nobody in."""
        assert self._listener is not None
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(params=SERVERS)
def wired(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Host, Wire]]:
    with database(request.param, tmp_path) as url:
        there = make_url(url)
        wire = Wire(there.host or "127.0.0.1", there.port or 0)
        host = make_host(tmp_path, url=there.set(host="127.0.0.1", port=wire.port).render_as_string(hide_password=False))
        yield host, wire
        close(host)
        wire.cut()


def begin(host: Host) -> tuple[Browser, Form]:
    """A browser that stops between the two steps, and the response that it is to post."""
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    response = host.entra.respond(host.entra.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
    return browser, Form(ACS, fields=tuple(response.form.items()))


def shows(page: Page, situation: situations.Situation) -> bool:
    return page.status == 503 and situation.next_step in page.text and "SJ-" in page.text


def test_a_database_that_is_lost_before_the_first_step_costs_no_second_sign_in_at_the_idp(wired: tuple[Host, Wire]) -> None:
    host, wire = wired
    browser, form = begin(host)
    wire.cut()
    for _ in range(2):  # on the connection that was there, and on a new one
        assert shows(browser.submit(form, by_script=True), situations.DATABASE_DOWN_MEANWHILE)
    wire.mend()
    assert browser.submit(form, by_script=True).status == 200
    assert browser.follow_refresh().text == "user 1"
    assert (host.count("users"), host.count("samljit_identity"), host.count("samljit_assertion")) == (1, 1, 1)


def test_a_database_that_is_lost_between_the_steps_keeps_the_hand_over(wired: tuple[Host, Wire]) -> None:
    host, wire = wired
    browser, form = begin(host)
    browser.submit(form, by_script=True)
    wire.cut()
    page = browser.follow_refresh()
    assert shows(page, situations.DATABASE_DOWN)
    [again] = [link for link in page.links if link.text == "Try again"]
    wire.mend()
    assert browser.get(again.href).text == "user 1"
    assert [row.finished_at is not None for row in host.rows("samljit_attempt")] == [True]


@pytest.mark.parametrize("table", ["samljit_assertion", "samljit_identity", "samljit_attempt", "samljit_session"])
def test_a_connection_that_breaks_inside_the_transaction_leaves_nothing_and_the_response_is_good_again(
    wired: tuple[Host, Wire], table: str
) -> None:
    host, wire = wired
    browser, form = begin(host)

    def cut(_: Any, __: Any, statement: str, *___: Any) -> None:
        if f"INSERT INTO {table} " in statement:  # on PostgreSQL together with others
            wire.cut()

    event.listen(host.engine, "before_cursor_execute", cut)
    assert shows(browser.submit(form, by_script=True), situations.DATABASE_DOWN_MEANWHILE)
    event.remove(host.engine, "before_cursor_execute", cut)
    wire.mend()
    assert [host.count(name) for name in ("users", "samljit_identity", "samljit_assertion", "samljit_attempt")] == [0, 0, 0, 0]
    assert browser.submit(form, by_script=True).status == 200
    assert browser.follow_refresh().text == f"user {host.users()[0]['id']}"


def test_connections_that_the_server_ends_are_replaced_without_a_restart(tmp_path: Path) -> None:
    with database("postgres", tmp_path) as url:
        host, admin = make_host(tmp_path, url=url), create_engine(url)
        host.sign_in(ADELE)
        host.session.remove()
        with admin.connect() as connection:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        admin.dispose()
        statuses = [host.browser().get(LOGIN).status for _ in range(2)]
        # the first finds its connection dead, and all of the pool are replaced; the second is away at the IdP
        assert statuses == [503, 0]
        assert host.sign_in(ADELE).text == "user 1"
        close(host)


# --- a full disk ------------------------------------------------------------------------------------------------------


@contextmanager
def no_more_pages(host: Host) -> Iterator[None]:
    """SQLite may make its file no larger than it is, as on a full disk."""

    def limit(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # that is: as many as there are

    host.session.remove()
    host.engine.dispose()
    event.listen(host.engine, "connect", limit)
    yield
    event.remove(host.engine, "connect", limit)
    host.session.remove()
    host.engine.dispose()


def test_a_full_disk_is_told_clearly_and_breaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = make_host(tmp_path)
    host.sign_in(ADELE)
    with no_more_pages(host):
        for number in range(200):
            person = Person(object_id=f"11110000-aaaa-4444-8888-{number:012d}", given_name="P", email=f"p{number}@contoso.example")
            browser = Browser({ORIGIN: host.app}, follows_refresh=False)
            response = host.entra.respond(host.entra.read_request(browser.get(LOGIN).url), person, now=datetime.now(UTC))
            form = Form(ACS, fields=tuple(response.form.items()))
            page = browser.submit(form, by_script=True)
            if page.status != 200:
                break
    assert shows(page, situations.DATABASE_DOWN_MEANWHILE)
    assert any("database_unavailable" in record.message and "SQLITE_FULL" in record.message for record in caplog.records)
    kinds = ("users", "samljit_identity", "samljit_assertion", "samljit_attempt", "samljit_session")
    assert len({host.count(kind) for kind in kinds}) == 1
    with host.engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert browser.submit(form, by_script=True).status == 200
    assert browser.follow_refresh().text.startswith("user ")
    close(host)
