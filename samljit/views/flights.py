"""Work that a request starts and others wait for: one thread for each tenant, and a few requests that wait at most."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event, Lock, Thread
from uuid import UUID

_MOST_WAITING = 4  # strangers can make a request wait, and must not make all of them
_MOST_UNDER_WAY = 32  # a stranger can ask for every tenant there is
_MOST_REMEMBERED = 10_000


@dataclass
class Flights:
    """What is under way in this process, and when it was begun last. One to a mount."""

    _lock: Lock = field(default_factory=Lock)
    _under_way: dict[UUID, Event] = field(default_factory=dict)
    _begun: OrderedDict[tuple[UUID, float], float] = field(default_factory=OrderedDict)
    _places: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_MOST_WAITING))

    def begin(self, tenant_id: UUID, work: Callable[[], None], *, pause: float) -> Event | None:
        """Does the work in a thread, unless some for this tenant is under way. Gives what to wait for.

        None where work with this `pause`, in seconds, was begun less than that ago and has come to its end, and where so much is under
        way for other tenants that this one has to come again.
        """
        key, now = (tenant_id, pause), time.monotonic()
        with self._lock:
            if tenant_id in self._under_way:
                return self._under_way[tenant_id]
            if key in self._begun and now - self._begun[key] < pause:
                return None
            if len(self._under_way) >= _MOST_UNDER_WAY:
                return None
            self._begun.pop(key, None)
            self._begun[key] = now
            while len(self._begun) > _MOST_REMEMBERED:
                self._begun.popitem(last=False)
            done = self._under_way[tenant_id] = Event()

        def fly() -> None:
            try:
                work()
            finally:
                with self._lock:
                    del self._under_way[tenant_id]
                done.set()

        try:
            Thread(target=fly, daemon=True, name="samljit-refresh").start()
        except RuntimeError:  # no more threads to be had on this machine: the next request may have one
            with self._lock:
                del self._under_way[tenant_id], self._begun[key]
            done.set()
        return done

    @contextmanager
    def place(self) -> Iterator[bool]:
        """A place among the requests that may wait; whether there was one."""
        got = self._places.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._places.release()
