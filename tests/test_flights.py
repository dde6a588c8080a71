"""Work that requests start in the background: one piece for each tenant at a time, and not too often."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event, Thread, active_count
from uuid import uuid4

import pytest

from samljit.views.flights import Flights


def test_work_for_one_tenant_is_done_once_at_a_time_and_that_of_another_beside_it() -> None:
    flights, go_on, done = Flights(), Event(), []
    one, other = uuid4(), uuid4()

    def work() -> None:
        assert go_on.wait(5)
        done.append(one)

    first = flights.begin(one, work, pause=0)
    assert first is not None
    assert [flights.begin(one, work, pause=0) for _ in range(5)] == [first] * 5
    beside = flights.begin(other, lambda: done.append(other), pause=0)
    assert beside is not None
    assert beside.wait(5)
    go_on.set()
    assert first.wait(5)
    assert done == [other, one]


def test_what_has_just_been_done_is_not_done_again_and_other_work_is() -> None:
    flights, tenant, done = Flights(), uuid4(), []
    begun = flights.begin(tenant, lambda: done.append("a"), pause=60)
    assert begun is not None
    assert begun.wait(5)
    assert flights.begin(tenant, lambda: done.append("b"), pause=60) is None
    routine = flights.begin(tenant, lambda: done.append("c"), pause=3600)
    assert routine is not None
    assert routine.wait(5)
    assert done == ["a", "c"]


def test_a_machine_without_threads_to_spare_stops_nothing_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    flights, tenant, done = Flights(), uuid4(), []

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        lost = flights.begin(tenant, lambda: done.append("a"), pause=60)
        assert lost is not None
        assert lost.is_set()
    begun = flights.begin(tenant, lambda: done.append("b"), pause=60)
    assert begun is not None
    assert begun.wait(5)
    assert done == ["b"]


def test_four_may_wait_at_a_time() -> None:
    flights = Flights()
    with ExitStack() as stack:
        assert [stack.enter_context(flights.place()) for _ in range(6)] == [True] * 4 + [False] * 2
    with flights.place() as got:
        assert got


def test_whoever_asks_for_every_tenant_starts_a_few_threads_and_stops_none_for_good() -> None:
    flights, go_on, done = Flights(), Event(), []
    tenants = [uuid4() for _ in range(500)]

    def work() -> None:
        assert go_on.wait(30)
        done.append(1)

    begun = [event for tenant in tenants if (event := flights.begin(tenant, work, pause=60))]
    assert (len(begun), active_count() < 100) == (32, True)
    go_on.set()
    assert all(event.wait(5) for event in begun)
    last = flights.begin(tenants[-1], work, pause=60)  # was turned away, and may come at once
    assert last is not None
    assert last.wait(5)
    assert len(done) == 33
