"""Workers that die in the middle of a sign-in: whatever is left behind is whole, and the person can try again."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from samljit.testing import Browser, Form, Person, SamlPost
from tests.host import ACS, LOGIN, ORIGIN, Host, make_host
from tests.servers import KINDS, database

KILLS = 70  # on each database


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with database(request.param, tmp_path) as url:
        made = make_host(tmp_path, url=url)
        yield made
        made.session.remove()
        made.engine.dispose()


def person(number: int) -> Person:
    return Person(object_id=f"11110000-aaaa-4444-8888-{number:012d}", given_name="Ada", email=f"ada{number}@contoso.example")


def begun(host: Host, number: int) -> tuple[Browser, SamlPost]:
    browser = host.browser()
    page = browser.get(LOGIN)
    return browser, host.entra.respond(host.entra.read_request(page.url), person(number), now=datetime.now(UTC))


def post_in_a_worker(host: Host, post: SamlPost, *, delay: float | None) -> float:
    """Posts the response in a process of its own, and kills that after so many seconds, if any. Gives how long the worker lived."""
    host.session.remove()
    host.engine.dispose()  # a connection must not be shared with the child
    start = time.perf_counter()
    worker = os.fork()
    if worker == 0:
        try:
            host.app.test_client().post("/saml/contoso/acs", base_url=ORIGIN, data=dict(post.form))
        finally:
            os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    return time.perf_counter() - start


def state(host: Host) -> dict[str, Any]:
    """Who is in the database: users by e-mail, whom identities point to, whose attempts were committed."""
    tables = host.user_model.metadata.tables
    with host.engine.connect() as connection:
        users = {row.id: row.email for row in connection.execute(select(tables["users"]))}
        identities = [row.user_id for row in connection.execute(select(tables["samljit_identity"]))]
        attempts = [row.user_id for row in connection.execute(select(tables["samljit_attempt"]))]
        consumed = len(connection.execute(select(tables["samljit_assertion"])).all())
    return {"users": users, "identities": identities, "attempts": attempts, "consumed": consumed}


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes as Unix does")
def test_a_killed_worker_leaves_all_of_a_sign_in_or_nothing(host: Host) -> None:
    chance = random.Random(20261122)
    # how long a whole sign-in takes here, from the fork on; the first makes the tenant's row too
    whole = [post_in_a_worker(host, begun(host, number)[1], delay=None) for number in (KILLS + 1, KILLS + 2)][-1]
    committed = 0
    for number in range(1, KILLS + 1):
        browser, post = begun(host, number)
        post_in_a_worker(host, post, delay=chance.uniform(0.1, 1.05) ** 2 * whole)
        left = state(host)
        # no half user: each has its identity, its used assertion and its log row, all from one transaction
        assert sorted(left["users"]) == sorted(left["identities"]) == sorted(left["attempts"])
        assert left["consumed"] == len(left["users"])
        is_committed = f"ada{number}@contoso.example" in left["users"].values()
        committed += is_committed
        # posted again by the same browser, the response is taken where nothing was committed
        page = browser.submit(Form(ACS, fields=tuple(post.form.items())), by_script=True)
        assert (page.status, page.text.startswith("user ")) == ((403, False) if is_committed else (200, True)), page.text
        if is_committed:
            clear_refusal(host)
        else:
            host.session.remove()
    assert 0 < committed < KILLS, "the kills did not fall into the middle"


def clear_refusal(host: Host) -> None:
    """Takes the replay's own log row out of the count."""
    table = host.user_model.metadata.tables["samljit_attempt"]
    with host.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.reason == "replayed"))
