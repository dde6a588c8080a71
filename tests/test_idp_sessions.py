"""The sessions as the IdP knows them, on SQLite, PostgreSQL and MariaDB alike: ended by name, once, and forgotten when over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient

from samljit.model import NameId
from samljit.sql.idp_sessions import EndOrder, IdpSessions, name_id_key, session_key
from tests.host import BIANCA, ORIGIN, Host, make_host
from tests.servers import KINDS, database
from tests.test_logout import signed_in, who
from tests.trust.test_logout import Frame, index_of, is_ended, signed_request

DAY = timedelta(days=1)


@pytest.fixture(params=KINDS)
def any_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with database(request.param, tmp_path) as url:
        host = make_host(tmp_path, url=url, ends_sessions=True)
        yield host
        host.session.remove()
        host.engine.dispose()


def sessions(host: Host) -> IdpSessions:
    found: IdpSessions = host.app.extensions["samljit"].sessions
    return found


def tenant_id(host: Host) -> Any:
    return host.app.extensions["samljit"].directory.get("contoso", now=datetime.now(UTC)).id


def test_a_row_says_what_the_assertion_said(any_host: Host) -> None:
    name = "Ÿ\N{GRINNING FACE} <&>'\" " + "x" * 300
    signed_in(any_host, name_id=name, name_id_format="urn:x", session_index="_Index \N{GRINNING FACE}")
    [row] = any_host.rows("samljit_session")
    found = sessions(any_host).find(row.reference)
    assert found is not None
    assert (found.name_id, found.session_index) == (NameId(name, "urn:x"), "_Index \N{GRINNING FACE}")
    assert (found.user_id, found.ended_at) == (1, None)
    assert found.tenant_id == tenant_id(any_host)
    assert sessions(any_host).find("SJ-0000-0000") is None


@pytest.mark.parametrize("index", ["_A", "_a ", "_á", "_\N{FULLWIDTH LATIN SMALL LETTER A}"], ids=ascii)
def test_an_index_is_another_one_in_any_other_spelling(any_host: Host, index: str) -> None:
    """MariaDB compares text without case, accents, width and trailing blanks."""
    browser = signed_in(any_host, session_index="_a")
    assert Frame(any_host).load(signed_request(any_host, index)).status_code == 200
    assert (is_ended(any_host), who(browser)) == (False, "user 1")
    assert Frame(any_host).load(signed_request(any_host, "_a")).status_code == 200
    assert is_ended(any_host)


def test_all_sessions_of_one_index_end_and_are_told_once(any_host: Host) -> None:
    for _ in range(3):
        signed_in(any_host, session_index="_shared")
    any_host.sign_in(BIANCA)
    now, tenant = datetime.now(UTC), tenant_id(any_host)
    keys = (session_key(tenant, "_shared"), session_key(tenant, "_unknown"))
    orders = [EndOrder(tenant, f"_m{number}", keys, name_id_key(tenant, NameId("x")), now + DAY) for number in range(2)]
    ended = [sessions(any_host).end_named(order, now=now) for order in (orders[0], orders[0], orders[1])]
    assert [None if found is None else len(found) for found in ended] == [3, None, 0]
    rows = sorted(any_host.rows("samljit_session"), key=lambda row: row.id)
    assert [row.ended_at is not None for row in rows] == [True, True, True, False]


def test_one_message_carried_here_many_times_at_once_is_taken_once(any_host: Host) -> None:
    signed_in(any_host)
    url, barrier = signed_request(any_host), Barrier(8)

    def carry(_: int) -> int:
        client: FlaskClient = any_host.app.test_client()
        barrier.wait()
        return client.get(url.removeprefix(ORIGIN), base_url=ORIGIN).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(carry, range(8))) == {200: 1, 403: 7}
    assert is_ended(any_host)


def test_a_session_is_forgotten_a_day_after_its_end_and_ninety_after_its_beginning(any_host: Host) -> None:
    for _ in range(2):
        signed_in(any_host)
    Frame(any_host).load(signed_request(any_host, index_of(any_host, 0)))
    runner, left = any_host.app.test_cli_runner(), []
    for days in (0.9, 1.1, 89.9, 90.1):
        with time_machine.travel(datetime.now(UTC) + days * DAY, tick=False):
            assert runner.invoke(args=["samljit", "prune", "--days", "1000"]).exit_code == 0
        left.append(any_host.count("samljit_session"))
    assert left == [2, 1, 1, 0]
