"""samljit's own tables: SQLAlchemy Core tables in the host model's MetaData, so that `create_all` and Alembic see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapper

from samljit.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that belong to one user class. One set to a MetaData."""

    user: sa.Table
    user_key: sa.Column[Any]
    tenant_state: sa.Table
    tenant: sa.Table
    domain: sa.Table
    identity: sa.Table
    role_grant: sa.Table
    assertion: sa.Table
    attempt: sa.Table
    audit: sa.Table
    session: sa.Table


_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only a plain INTEGER key by itself
# MariaDB's usual collations take "editor" and "Editor" for one
_ROLE = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")  # a plain one ends there at 64 KiB
_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def to_database(moment: datetime) -> datetime:
    """Aware time to the naive UTC that is stored: MariaDB and SQLite keep no zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def from_database(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def make_tables(mapper: Mapper[Any]) -> Tables:
    """The tables for this user class, made on the first call for its MetaData and the same ones after.

    Raises: ConfigError where the class has a composite key, or another class has samljit's tables in this MetaData already.
    """
    keys = mapper.primary_key
    user = mapper.base_mapper.local_table
    if len(keys) != 1 or not isinstance(user, sa.Table) or not isinstance(keys[0], sa.Column):
        raise ConfigError([Problem("user_model", "composite_key", "The user class must be mapped to a table with one key column.")])
    made: Tables | None = user.metadata.info.get("samljit.tables")
    if made is None:
        made = user.metadata.info["samljit.tables"] = _build(user, keys[0])
    if made.user is not user:
        raise ConfigError(
            [Problem("user_model", "second_user_model", f"This MetaData has samljit's tables for {made.user.name} already.")]
        )
    return made


def _build(user: sa.Table, user_key: sa.Column[Any]) -> Tables:
    metadata = user.metadata
    tenant_state = _tenant_state_table(metadata)
    identity = sa.Table(
        "samljit_identity",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("subject_key", sa.String(64), nullable=False),
        _tenant_column(tenant_state, "identity"),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        _user_column(user_key, "identity", ondelete="CASCADE", nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("signed_in_at", _TIME, index=True),  # kept here because the sign-in log is pruned
        # the user's key once more where e-mail led to the user: two people with one address cannot both become that user
        sa.Column("found_by_email", user_key.type),
        sa.UniqueConstraint("subject_key", name="uq_samljit_identity_subject_key"),
        sa.UniqueConstraint("found_by_email", name="uq_samljit_identity_found_by_email"),
    )
    assertion = sa.Table(
        "samljit_assertion",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        _tenant_column(tenant_state, "assertion", index=None),  # both constraints begin with it
        sa.Column("assertion_hash", sa.String(64), nullable=False),
        sa.Column("request_nonce", sa.String(32)),
        sa.Column("expires_at", _TIME, nullable=False, index=True),
        sa.UniqueConstraint("tenant_id", "assertion_hash", name="uq_samljit_assertion_hash"),
        sa.UniqueConstraint("tenant_id", "request_nonce", name="uq_samljit_assertion_nonce"),
    )
    role_grant = sa.Table(
        "samljit_role_grant",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        _tenant_column(tenant_state, "role_grant", index=None),  # the constraint begins with it
        _user_column(user_key, "role_grant", ondelete="CASCADE", nullable=False),
        sa.Column("role", _ROLE, nullable=False),
        sa.Column("in_field", sa.Boolean, nullable=False),  # whether samljit put it into the host's roles_field
        sa.Column("granted_at", _TIME, nullable=False),
        sa.UniqueConstraint("tenant_id", "user_id", "role", name="uq_samljit_role_grant"),
    )
    attempt = _attempt_table(metadata, tenant_state, user_key)
    tenant, domain = _tenant_table(metadata, tenant_state), _domain_table(metadata, tenant_state)
    audit = _audit_table(metadata, tenant_state)
    session = _session_table(metadata, tenant_state, user_key)
    made = Tables(user, user_key, tenant_state, tenant, domain, identity, role_grant, assertion, attempt, audit, session)
    _forget_deleted_users(made)
    return made


def _tenant_state_table(metadata: sa.MetaData) -> sa.Table:
    """One row for each tenant of either source: its permanent id, and what was learnt about it while the app ran."""
    return sa.Table(
        "samljit_tenant_state",
        metadata,
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("claims_seen", sa.JSON, nullable=False, default=list),
        # where the tenant names an address of its IdP's metadata: the last good document, and the hash that what is made of it is kept by
        sa.Column("metadata", _LONG_TEXT),
        sa.Column("metadata_url", sa.Text),
        sa.Column("metadata_hash", sa.String(64)),
        sa.Column("metadata_at", _TIME),
        sa.Column("metadata_tried_at", _TIME),
        sa.Column("metadata_tried_url", sa.Text),
        sa.Column("metadata_error", sa.String(255)),
        # the last warning that the tenant's certificates expire
        sa.Column("warned_certificate", sa.String(64)),
        sa.Column("warned_days", sa.Integer),
        sa.UniqueConstraint("slug", name="uq_samljit_tenant_state_slug"),
    )


def _tenant_table(metadata: sa.MetaData, tenant_state: sa.Table) -> sa.Table:
    """The tenants that live in the database. `live` is the document that sign-ins go by, `draft` the keys of it that are to change."""
    return sa.Table(
        "samljit_tenant",
        metadata,
        sa.Column(
            "tenant_id",
            sa.String(36),
            sa.ForeignKey(tenant_state.c.id, name="fk_samljit_tenant_state"),
            primary_key=True,
        ),
        sa.Column("live", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("draft", sa.JSON(none_as_null=True)),
        sa.Column("draft_revision", sa.Integer, nullable=False),
        # where the draft names an address of the IdP's metadata: what was found there, to try it with before it is live
        sa.Column("draft_metadata", _LONG_TEXT),
        sa.Column("draft_metadata_url", sa.Text),
        sa.Column("tested_revision", sa.Integer),
        sa.Column("last_test", sa.JSON(none_as_null=True)),
        sa.Column("last_test_nonce", sa.String(32)),  # of the request that it answers
        sa.Column("updated_at", _TIME, nullable=False),
    )


def _domain_table(metadata: sa.MetaData, tenant_state: sa.Table) -> sa.Table:
    """Which tenant of the database has proved which e-mail domain: a domain has one owner, whoever writes at the same time."""
    return sa.Table(
        "samljit_domain",
        metadata,
        sa.Column("domain", sa.String(253), primary_key=True),
        _tenant_column(tenant_state, "domain"),
    )


def _attempt_table(metadata: sa.MetaData, tenant_state: sa.Table, user_key: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        "samljit_attempt",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("reference", sa.String(12), nullable=False),
        _tenant_column(tenant_state, "attempt"),
        sa.Column("at", _TIME, nullable=False, index=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("detail", sa.Text, nullable=False),
        _user_column(user_key, "attempt", ondelete="SET NULL", nullable=True),
        sa.Column("subject_key", sa.String(64)),
        sa.Column("request_nonce", sa.String(32)),
        sa.Column("claim_names", sa.JSON, nullable=False),
        sa.Column("decisions", sa.JSON, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False, default=list),
        sa.Column("claim_state", sa.String(16)),
        sa.Column("browser", sa.String(255), nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("session_ends_at", _TIME),
        sa.UniqueConstraint("reference", name="uq_samljit_attempt_reference"),
    )


def _session_table(metadata: sa.MetaData, tenant_state: sa.Table, user_key: sa.Column[Any]) -> sa.Table:
    """The sign-ins as the IdP knows them. Here and not in the session's cookie, which is signed and can be read: a NameID names a person.

    `session_key` and `name_id_key` are hashes: see `samljit.sql.sessions`.
    """
    return sa.Table(
        "samljit_session",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("reference", sa.String(12), nullable=False),
        _tenant_column(tenant_state, "session", index=None),  # both keys are a tenant's own
        _user_column(user_key, "session", ondelete="CASCADE", nullable=False),
        sa.Column("session_key", sa.String(64), index=True),
        sa.Column("name_id_key", sa.String(64), nullable=False, index=True),
        sa.Column("name_id", sa.JSON, nullable=False),
        sa.Column("session_index", sa.Text),
        sa.Column("began_at", _TIME, nullable=False),  # what is over is looked for by this or by `ended_at`, so no index would serve
        sa.Column("ended_at", _TIME),
        sa.UniqueConstraint("reference", name="uq_samljit_session_reference"),
    )


def _audit_table(metadata: sa.MetaData, tenant_state: sa.Table) -> sa.Table:
    """What people changed by hand. Users stand in `before` and `after` without a foreign key: the record outlives them."""
    return sa.Table(
        "samljit_audit",
        metadata,
        sa.Column("id", _BIG, primary_key=True),
        sa.Column("at", _TIME, nullable=False, index=True),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        _tenant_column(tenant_state, "audit"),
        sa.Column("before", sa.JSON(none_as_null=True)),
        sa.Column("after", sa.JSON(none_as_null=True)),
    )


def _tenant_column(tenant_state: sa.Table, table: str, *, index: Literal[True] | None = True) -> sa.Column[Any]:
    return sa.Column(
        "tenant_id",
        sa.String(36),
        sa.ForeignKey(tenant_state.c.id, name=f"fk_samljit_{table}_tenant"),
        nullable=False,
        index=index,
    )


def _user_column(user_key: sa.Column[Any], table: str, *, ondelete: str, nullable: bool) -> sa.Column[Any]:
    return sa.Column(
        "user_id",
        user_key.type,
        sa.ForeignKey(user_key, name=f"fk_samljit_{table}_user", ondelete=ondelete),
        nullable=nullable,
        index=True,
    )


TRIGGER = "samljit_user_deleted"
_CREATE_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS samljit_user_deleted AFTER DELETE ON {user} BEGIN
  DELETE FROM {identity} WHERE user_id = OLD.{key};
  DELETE FROM {role_grant} WHERE user_id = OLD.{key};
  DELETE FROM {session} WHERE user_id = OLD.{key};
  UPDATE {attempt} SET user_id = NULL WHERE user_id = OLD.{key};
END"""


def _forget_deleted_users(tables: Tables) -> None:
    """A trigger for SQLite, which enforces no foreign key unless told to at each connection, and gives a freed id to the next user.

    An identity left behind would sign that next person in as somebody else (trust: 30). It holds for raw SQL and bulk deletes too.
    """

    @event.listens_for(tables.identity, "after_create")
    def create_trigger(_: sa.Table, connection: sa.Connection, **__: Any) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(trigger_sql(tables, connection.dialect))


def trigger_sql(tables: Tables, dialect: sa.Dialect) -> str:
    """The statement that makes the trigger, also for a database whose tables were not made by `create_all`."""
    quote = dialect.identifier_preparer
    names = {"user": quote.format_table(tables.user), "key": quote.format_column(tables.user_key)}
    named = {"identity": tables.identity, "role_grant": tables.role_grant, "session": tables.session, "attempt": tables.attempt}
    return _CREATE_TRIGGER.format(**names, **{name: quote.format_table(table) for name, table in named.items()})
