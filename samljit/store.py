"""What provisioning needs from a database, as protocols. There is deliberately no way to delete or deactivate a user here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from samljit.model import Attempt, EmailHolder, ExistingUser, IdpSession, Subject, Tenant


class Replayed(Exception):
    """The assertion, or another one for the same request, has been consumed already."""


class WriteConflict(Exception):
    """A constraint of the database refused a write: somebody else may have been faster. The transaction is void."""


class LostRace(WriteConflict):
    """This transaction must give way to another that was faster: a deadlock, a serialization failure, what it has read is so no longer.
    Nothing is wrong with what it wanted to write."""


class LockTimeout(LostRace):
    """The same, after too long a wait for what another transaction has locked and may hold for longer."""


class HostRefused(Exception):
    """A validator or event of the host's user model raised. `str()` names the error's class, no value."""


class TenantChanged(Exception):
    """The tenant that a sign-in was judged by is not what the database has by now. The transaction is void."""


class Unavailable(Exception):
    """The database cannot be reached, is locked, or broke off. The transaction is void."""


class Transaction(Protocol):
    """One sign-in's transaction. Leaving its context without an exception commits; an exception rolls all of it back."""

    def lock_tenant(self, tenant_id: UUID) -> None:
        """Makes every other sign-in that locks the tenant wait for the end of this transaction; on SQLite, MariaDB and MySQL every other
        sign-in of the tenant that writes. Only before `consume`."""

    def note_claims(self, tenant_id: UUID, names: frozenset[str]) -> None:
        """Remembers that these claims have come from the tenant, which is locked. Raises: TenantChanged where all of them have before."""

    def consume(self, *, tenant_id: UUID, assertion_hash: str, request_nonce: str | None, expires: datetime) -> None:
        """Remembers an assertion and its request as used. The first statement but for the tenant's lock. Raises: Replayed; or the next
        `find_user` does, else the end of the transaction, where the database can do both at once."""

    def find_user(self, subject: Subject, *, tenant: Tenant) -> ExistingUser | None:
        """The user linked to this subject, or None where there is no such identity. Raises: ProvisioningRefused
        (user_outside_tenant) where the linked user does not carry the tenant's fields."""

    def confirm_tenant(self, tenant: Tenant) -> None:
        """Asks nothing: `find_user` has read along what the tenant is by now. Raises: TenantChanged where it is another."""

    def find_holders(self, address: str, *, tenant: Tenant, subject: Subject) -> tuple[EmailHolder, ...]:
        """The users of this tenant who have this e-mail address, however its domain and its ASCII letters are written.
        Raises: WriteConflict where this very subject was linked to one of them in the meantime; HostRefused."""

    def count_users(self, tenant_id: UUID) -> int:
        """How many users are linked to the tenant. Exact until the end of the transaction if it has locked the tenant."""

    def note_sign_in(self, *, now: datetime) -> None:
        """Remembers that the person whom `find_user` has found was here."""

    def create_user(
        self,
        values: Mapping[str, Any],
        *,
        tenant: Tenant,
        subject: Subject,
        now: datetime,
        is_active: bool,
        granted: tuple[str, ...],
    ) -> Any:
        """Makes a user with these values, the tenant's fields and these roles, links the subject to it, gives its key.
        Raises: WriteConflict, HostRefused."""

    def link_user(self, user_id: Any, *, subject: Subject, now: datetime) -> None:
        """Links the subject to a user found by e-mail; once for each user, however many try. Raises: WriteConflict."""

    def change_roles(
        self,
        user_id: Any,
        *,
        tenant_id: UUID,
        granted: tuple[str, ...],
        revoked: tuple[str, ...],
        known: frozenset[str],
        now: datetime,
    ) -> None:
        """Records which roles samljit granted for the tenant and no longer grants, and keeps the host's list of roles in step.
        `known` are those that it granted when this was decided.
        Raises: LostRace where they are others by now; WriteConflict, HostRefused."""

    def update_user(self, user_id: Any, values: Mapping[str, Any]) -> None:
        """Writes just these columns of the user found before. Raises: WriteConflict, HostRefused."""

    def add_attempt(self, attempt: Attempt) -> None:
        """Writes the log row of this sign-in, in the same transaction."""

    def begin_session(self, session: IdpSession) -> None:
        """Remembers what a sign-out at the IdP must name of this sign-in."""


class Store(Protocol):
    """The database of the host, as far as provisioning knows it. Every method may raise Unavailable."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction of its own, apart from the host's session."""

    def looking(self) -> AbstractContextManager[Transaction]:
        """The same, but rolled back at its end, whatever happened in it."""

    def add_attempt(self, attempt: Attempt) -> None:
        """Writes a log row in a transaction of its own."""

    def find_conflict(self, values: Mapping[str, Any], *, tenant: Tenant, besides: Any = None) -> str | None:
        """Names the unique field that holds one of these values for another user than `besides`, if any."""

    def find_subject_user(self, subject: Subject) -> Any:
        """The key of the user whom this subject is linked to, or None."""
