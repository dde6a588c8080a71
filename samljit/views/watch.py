"""Whether a session is still on, for hosts that want sessions to end here when they end elsewhere."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from samljit.sql.idp_sessions import IdpSessions

KEPT_SECONDS = 5  # how long this process takes a session to be on without looking again
_MOST_KEPT = 10_000


class SessionWatch:
    """Looks sessions up by one index, each at most once in five seconds and process; bounded in memory."""

    def __init__(self, sessions: IdpSessions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._clock = clock
        self._lock = Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()

    def is_on(self, reference: str) -> bool:
        """Whether the session that this attempt began is on. Raises: store.Unavailable."""
        now = self._clock()
        with self._lock:
            if now - self._seen.get(reference, float("-inf")) < KEPT_SECONDS:
                return True
        is_on = self._sessions.is_on(reference)
        with self._lock:
            self._seen.pop(reference, None)
            if is_on:
                self._seen[reference] = now
            while len(self._seen) > _MOST_KEPT:
                self._seen.popitem(last=False)
        return is_on

    def forget(self, reference: str) -> None:
        """The session has ended in this process."""
        with self._lock:
            self._seen.pop(reference, None)
