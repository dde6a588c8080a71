"""The statements of every sign-in. Made once: SQLAlchemy takes longer to put one together than to run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from samljit.model import Outcome
from samljit.sql.attempts import HANDED_OVER
from samljit.sql.tables import Tables
from samljit.sql.users import HostUsers


@dataclass(frozen=True, slots=True)
class Statements:
    """What one sign-in executes; parameters of the inserts are named as the columns are.

    `find` gives, by `find_statement`, whom a subject is linked to. The inserts ask for no key back. `alone` writes one row each: of the
    identity or its use, the session, the attempt. `take` is `finish` for the sign-in of one request and an unchanged tenant, and gives
    back what the second step needs to know; `take_quickly` is the same on PostgreSQL, as a transaction by itself, which does not wait for
    the disk: what a crash of the server can lose is that this browser has been here.
    Several at once, which of our databases PostgreSQL alone can: `consume_and_find`, and `together`, which writes the rows of its key.
    Their parameters are named `attempt.reference` and so on, wherever several tables have a column of that name.
    None of them loads a user: what an ORM adds to a statement that loads one, a host's events included, must not write anything twice.
    """

    consume: sa.Insert
    find: dict[tuple[bool, bool], sa.Select[Any]]
    consume_and_find: dict[tuple[bool, bool], sa.Select[Any]]
    alone: dict[str, sa.Insert | sa.Update]
    together: dict[frozenset[str], sa.Insert]
    add_grants: sa.Insert
    find_attempt: sa.Select[Any]
    find_handed_over: sa.Select[Any]
    finish: sa.Update
    take: sa.UpdateBase
    take_quickly: sa.UpdateBase


def make_statements(users: HostUsers) -> Statements:
    tables = users.tables
    attempt = tables.attempt
    reference = attempt.c.reference == sa.bindparam("wanted")
    finish = sa.update(attempt).where(reference, attempt.c.finished_at.is_(None)).values(finished_at=sa.bindparam("moment"))
    handed_over = [attempt.c[name] for name in HANDED_OVER]
    good = finish.where(*_is_good_to_take(tables))
    kinds = [(counts, grants) for counts in (False, True) for grants in (False, True)]
    find = {(counts, grants): find_statement(tables, counts=counts, grants=grants) for counts, grants in kinds}
    consume = _add("assertion", tables.assertion).returning(tables.assertion.c.id).cte("consumed")
    return Statements(
        consume=sa.insert(tables.assertion).inline(),
        find=find,
        consume_and_find={kind: query.add_cte(consume) for kind, query in find.items()},
        alone={
            "sign_in": _sign_in(tables.identity),
            "identity": sa.insert(tables.identity).inline(),
            "session": sa.insert(tables.session).inline(),
            "attempt": sa.insert(attempt).inline(),
        },
        together={
            frozenset({"attempt", *others}): _together(tables, others)
            for who in ("sign_in", "identity")
            for others in ((who,), (who, "session"))
        },
        add_grants=sa.insert(tables.role_grant).inline(),
        find_attempt=sa.select(attempt).where(reference),
        find_handed_over=sa.select(*handed_over).where(reference),
        finish=finish,
        take=good.returning(*handed_over),
        take_quickly=good.returning(*handed_over, sa.func.set_config("synchronous_commit", "off", True)),
    )


def _is_good_to_take(tables: Tables) -> tuple[sa.ColumnElement[bool], ...]:
    """That an attempt has signed somebody in, for this tenant as it is known and for this request."""
    attempt, state, tenant = tables.attempt, tables.tenant_state, tables.tenant
    known: sa.BindParameter[str] = sa.bindparam("tenant")
    # each by its own: PostgreSQL takes twice as long to plan a join of the two
    revision = sa.select(tenant.c.revision).where(tenant.c.tenant_id == known).scalar_subquery()
    metadata_hash = sa.select(state.c.metadata_hash).where(state.c.id == known).scalar_subquery()
    return (
        attempt.c.tenant_id == known,
        attempt.c.request_nonce == sa.bindparam("nonce"),
        attempt.c.outcome != Outcome.REFUSE.value,
        attempt.c.user_id.is_not(None),
        revision.is_not_distinct_from(sa.bindparam("revision")),
        metadata_hash.is_not_distinct_from(sa.bindparam("metadata_hash")),
    )


def _sign_in(identity: sa.Table, prefix: str = "") -> sa.Update:
    known = identity.c.id == sa.bindparam(f"{prefix}identity_id")
    return sa.update(identity).where(known).values(signed_in_at=sa.bindparam(f"{prefix}moment"))


def _together(tables: Tables, others: tuple[str, ...]) -> sa.Insert:
    """An attempt's row and the others, in one statement."""
    identity, session = tables.identity, tables.session
    made = {
        "sign_in": _sign_in(identity, "sign_in.").returning(identity.c.id),
        "identity": _add("identity", identity).returning(identity.c.id),
        "session": _add("session", session).returning(session.c.id),
    }
    return _add("attempt", tables.attempt).inline().add_cte(*(made[name].cte(f"its_{name}") for name in others))


def _add(name: str, table: sa.Table) -> sa.Insert:
    """A row of the table, for a statement that has others too: a name that several of them have would be taken for all of them, so each
    parameter says whose it is."""
    columns = (column for column in table.c if not column.primary_key)
    return sa.insert(table).values({column.name: sa.bindparam(f"{name}.{column.name}", type_=column.type) for column in columns})


def find_statement(tables: Tables, *, counts: bool, grants: bool) -> sa.Select[Any]:
    """The tenant `tenant_id` as it is now and the identity of `subject_key`, with `grants` a row for each role that the tenant granted, in
    one go.

    There is a row wherever there is such a tenant. With `counts` it is said, where nobody is linked to the subject, how many users are
    linked to the tenant: counted only then, by index, and exact whoever deletes users.
    """
    identity, grant, state, tenant = tables.identity, tables.role_grant, tables.tenant_state, tables.tenant
    tenant_id: sa.BindParameter[str] = sa.bindparam("tenant_id")
    subject_key: sa.BindParameter[str] = sa.bindparam("subject_key")
    others = identity.alias("others")
    count = sa.select(sa.func.count(others.c.user_id.distinct())).where(others.c.tenant_id == tenant_id).scalar_subquery()
    columns: list[Any] = [identity.c.id.label("identity_id"), identity.c.subject_key, identity.c.tenant_id]
    columns += [identity.c.issuer, identity.c.source, identity.c.subject, identity.c.user_id]
    columns += [tenant.c.revision, state.c.metadata_hash, state.c.claims_seen]
    columns += [sa.case((identity.c.id.is_(None), count)).label("user_count")] if counts else []
    columns += [grant.c.role.label("granted_role")] if grants else []
    query = sa.select(*columns).select_from(state).where(state.c.id == tenant_id)
    query = query.outerjoin(tenant, tenant.c.tenant_id == state.c.id)
    query = query.outerjoin(identity, sa.and_(identity.c.subject_key == subject_key, identity.c.tenant_id == state.c.id))
    if grants:
        query = query.outerjoin(grant, sa.and_(grant.c.user_id == identity.c.user_id, grant.c.tenant_id == identity.c.tenant_id))
    return query
