"""Who of a tenant's users has an e-mail address, for `identity.match`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.mapping.mail import address_key, ascii_lower
from samljit.model import EmailHolder, Subject, Tenant
from samljit.sql.users import HostUsers
from samljit.store import WriteConflict

_MOST = 10  # two are too many already


def find_holders(
    session: Session, address: str, *, users: HostUsers, tenant: Tenant, subject: Subject
) -> tuple[EmailHolder, ...]:
    """The users who carry the tenant's fields and have this address. See `store.Transaction.find_holders`.

    A host that tells its tenants' users apart, and names no field for this one, has none of it.
    """
    fields = users.fields_of(tenant)
    if users.email_field is None or (users.tenant_fields is not None and not fields):
        return ()
    wanted = address_key(address)
    column = getattr(users.model, users.email_field)
    # the database narrows it down, in its own idea of letters; what counts is compared here, byte for byte
    query = sa.select(users.model).where(sa.func.lower(column).in_({wanted, ascii_lower(address)}))
    query = query.where(*users.holding(fields)).limit(_MOST)
    rows = session.execute(query, bind_arguments=users.bind).unique().scalars()
    found = [user for user in rows if address_key(str(getattr(user, users.email_field))) == wanted]
    found = [user for user in found if all(getattr(user, name) == value for name, value in fields.items())]
    return tuple(_holder(session, user, users=users, tenant=tenant, subject=subject) for user in found)


def _holder(session: Session, user: Any, *, users: HostUsers, tenant: Tenant, subject: Subject) -> EmailHolder:
    table, existing = users.tables.identity, users.read(user, tenant=tenant)
    query = sa.select(table.c.subject_key).where(table.c.user_id == existing.id)
    keys = set(session.execute(query, bind_arguments=users.bind).scalars())
    if subject.key in keys:  # a second first sign-in of the same person was faster
        raise WriteConflict("the subject is linked by now")
    return EmailHolder(existing, is_linked=bool(keys), is_privileged=users.is_privileged_user(user))

