"""Who of the host's users a tenant's sign-in rules concern, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.mapping.mail import address_key, ascii_lower
from samljit.model import Tenant
from samljit.sql.sessions import open_session
from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers


@dataclass(frozen=True, slots=True)
class Headcount:
    """Active users whom the tenant's rules concern: `linked` have signed in through its IdP, `recent` of them lately; `others` have an
    address in one of its domains, and have not."""

    linked: int
    recent: int
    others: int

    @property
    def total(self) -> int:
        return self.linked + self.others


class SqlPeople:
    """The host's users as a tenant's rules see them. Every method may raise store.Unavailable."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory, self._users = factory, users
        self._identity = users.tables.identity
        self._key = getattr(users.model, users.key)

    def count(self, tenant: Tenant, *, since: datetime) -> Headcount:
        """`since` is what counts as lately."""
        ours = sa.select(self._identity.c.user_id).where(self._identity.c.tenant_id == str(tenant.id))
        lately = ours.where(self._identity.c.signed_in_at >= to_database(since))
        by_address = self._in_domains(tenant.domains)
        conditions = (
            self._key.in_(ours),
            self._key.in_(lately),
            sa.false() if by_address is None else sa.and_(by_address, self._key.not_in(ours)),
        )
        with open_session(self._factory) as session:
            linked, recent, others = (self._count(session, condition) for condition in conditions)
        return Headcount(linked, recent, others)

    def find_accounts(self, addresses: Iterable[str], *, tenant: Tenant) -> frozenset[str]:
        """Those of the addresses, each in the form of `mapping.mail.address_key`, that an active user of this tenant has.

        Whose users are whose tells the host's `tenant_fields`; where that names nothing, the tenant's domains and identities.
        """
        users, wanted = self._users, {address_key(one) for one in addresses}
        if users.email_field is None or not wanted:
            return frozenset()
        column = getattr(users.model, users.email_field)
        spellings = wanted | {ascii_lower(one) for one in addresses}
        query = sa.select(self._key, column).where(sa.func.lower(column).in_(spellings), *self._is_active())
        fields = users.fields_of(tenant)
        query = query.where(*users.holding(fields))
        if users.tenant_fields is not None and not fields:
            ours = sa.select(self._identity.c.user_id).where(self._identity.c.tenant_id == str(tenant.id))
            by_address = self._in_domains(tenant.domains)
            query = query.where(sa.or_(self._key.in_(ours), sa.false() if by_address is None else by_address))
        with open_session(self._factory) as session:
            found = {address_key(str(row[1])) for row in session.execute(query, bind_arguments=users.bind)}
        return frozenset(found & wanted)

    def _count(self, session: Session, condition: Any) -> int:
        query = sa.select(sa.func.count()).select_from(self._users.model).where(condition, *self._is_active())
        return int(session.execute(query, bind_arguments=self._users.bind).scalar_one())

    def _is_active(self) -> list[Any]:
        field = self._users.active_field
        return [getattr(self._users.model, field).is_(True)] if field else []

    def _in_domains(self, domains: Iterable[str]) -> Any:
        """A condition that the address ends so; None where nothing can be told by it. Spellings with letters beyond ASCII are not met."""
        if self._users.email_field is None or not domains:
            return None
        column = sa.func.lower(getattr(self._users.model, self._users.email_field))
        return sa.or_(*(column.endswith(f"@{domain}", autoescape=True) for domain in domains))


