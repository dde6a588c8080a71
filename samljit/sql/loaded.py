"""A user that is loaded along with something of ours, and then lives in the host's session as if that had loaded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class LoadedUser:
    """A user outside any session. `along` is all that was loaded with it, as by relationships that its class always loads."""

    user: Any
    along: tuple[Any, ...]

    def move_to(self, session: Session) -> bool:
        """Whether the session has the user now, without asking the database: only one that has done nothing yet takes it. Any other may
        see the database as it was before, or have the same user with changes that wait."""
        if session.in_transaction() or session.identity_map:
            return False
        session.add_all(self.along)
        return True


def leave_session(user: Any, session: Session) -> LoadedUser:
    """Takes a user out of the session that has loaded it and nothing else, before a commit there would forget what was read."""
    along = tuple(session.identity_map.values())
    session.expunge_all()
    return LoadedUser(user, along)
