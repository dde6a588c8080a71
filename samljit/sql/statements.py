"""The statements of every sign-in. Made once: SQLAlchemy takes longer to put one together than to run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from samljit.sql.users import HostUsers


@dataclass(frozen=True, slots=True)
class Statements:
    """What one sign-in executes; parameters of the inserts are named as the columns are.

    `find` gives, by `find_statement`, whom a subject is linked to. The inserts ask for no key back. `add_attempt_of_known` is `sign_in`
    and `add_attempt` in one, which of our databases PostgreSQL alone can.
    """

    consume: sa.Insert
    find: dict[tuple[bool, bool], sa.Select[Any]]
    sign_in: sa.Update
    add_identity: sa.Insert
    add_grants: sa.Insert
    add_attempt: sa.Insert
    add_attempt_of_known: sa.Insert
    add_session: sa.Insert
    find_attempt: sa.Select[Any]
    finish: sa.Update


def make_statements(users: HostUsers) -> Statements:
    tables = users.tables
    identity, attempt = tables.identity, tables.attempt
    reference = attempt.c.reference == sa.bindparam("wanted")
    sign_in = sa.update(identity).where(identity.c.id == sa.bindparam("identity_id")).values(signed_in_at=sa.bindparam("moment"))
    return Statements(
        consume=sa.insert(tables.assertion).inline(),
        find={
            (counts, grants): find_statement(users, counts=counts, grants=grants)
            for counts in (False, True)
            for grants in (False, True)
        },
        sign_in=sign_in,
        add_identity=sa.insert(identity).inline(),
        add_grants=sa.insert(tables.role_grant).inline(),
        add_attempt=sa.insert(attempt).inline(),
        add_attempt_of_known=_with_sign_in(attempt, sign_in.returning(identity.c.id)),
        add_session=sa.insert(tables.session).inline(),
        find_attempt=sa.select(attempt).where(reference),
        finish=sa.update(attempt).where(reference, attempt.c.finished_at.is_(None)).values(finished_at=sa.bindparam("moment")),
    )


def _with_sign_in(attempt: sa.Table, sign_in: sa.UpdateBase) -> sa.Insert:
    """An attempt's row, and the update of the identity, in one statement. Parameters of the row are named `attempt_...`: a name of a column
    that both tables have would be taken for both."""
    values = {column.name: sa.bindparam(f"attempt_{column.name}", type_=column.type) for column in attempt.c if not column.primary_key}
    return sa.insert(attempt).values(values).inline().add_cte(sign_in.cte("noted"))


def find_statement(users: HostUsers, *, counts: bool, grants: bool) -> sa.Select[Any]:
    """The identity of `subject_key`, its user, with `grants` a row for each role that the tenant granted, in one go.

    The user comes first, None where it is gone. With `counts` there is always a row: how many users are linked to the tenant `tenant_id`
    stands in it where nobody is linked to the subject. That is counted only then, by index, and is exact whoever deletes users.
    """
    tables = users.tables
    identity, grant, state = tables.identity, tables.role_grant, tables.tenant_state
    tenant_id: sa.BindParameter[str] = sa.bindparam("tenant_id")
    subject_key: sa.BindParameter[str] = sa.bindparam("subject_key")
    others = identity.alias("others")
    count = sa.select(sa.func.count(others.c.user_id.distinct())).where(others.c.tenant_id == tenant_id).scalar_subquery()
    columns: list[Any] = [users.model, identity.c.id.label("identity_id"), identity.c.subject_key, identity.c.tenant_id]
    columns += [identity.c.issuer, identity.c.source, identity.c.subject, identity.c.user_id.label("linked_id")]
    columns += [sa.case((identity.c.id.is_(None), count)).label("user_count")] if counts else []
    columns += [grant.c.role.label("granted_role")] if grants else []
    found = identity.c.subject_key == subject_key
    query = sa.select(*columns)
    if counts:
        query = query.select_from(state).outerjoin(identity, found).where(state.c.id == tenant_id)
    else:
        query = query.select_from(identity).where(found)
    query = query.outerjoin(users.model, getattr(users.model, users.key) == identity.c.user_id)
    if grants:
        query = query.outerjoin(grant, sa.and_(grant.c.user_id == identity.c.user_id, grant.c.tenant_id == identity.c.tenant_id))
    return query
