"""The record of what people changed by hand: who, when, what, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.sql.tables import from_database, to_database
from samljit.sql.users import HostUsers


class AuditAction(StrEnum):
    """What was done. Stored: never renamed."""

    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"
    IDENTITIES_REKEYED = "identities_rekeyed"
    METADATA_CHANGED = "metadata_changed"
    TENANT_ADDED = "tenant_added"
    TENANT_CHANGED = "tenant_changed"
    TENANT_ENABLED = "tenant_enabled"
    TENANT_DISABLED = "tenant_disabled"
    DRAFT_SAVED = "draft_saved"
    DRAFT_DROPPED = "draft_dropped"
    DRAFT_TESTED = "draft_tested"
    DRAFT_LIVE = "draft_live"
    RULES_CHANGED = "rules_changed"
    DOMAIN_PROVED = "domain_proved"


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and when."""

    name: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `before` and `after` hold plain JSON values; a subject is in them by the hash that it is stored under."""

    action: AuditAction
    tenant_id: UUID
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change as it was recorded."""

    id: int
    at: datetime
    changed_by: str
    action: AuditAction
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def read_audit(session: Session, *, users: HostUsers, tenant_id: UUID, limit: int, before_id: int | None = None) -> list[AuditRecord]:
    """The changes of one tenant, the newest first; those older than the record `before_id`, where that is given."""
    table = users.tables.audit
    query = sa.select(table).where(table.c.tenant_id == str(tenant_id)).order_by(table.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    rows = session.execute(query, bind_arguments=users.bind)
    return [
        AuditRecord(row.id, from_database(row.at), row.changed_by, AuditAction(row.action), row.before, row.after) for row in rows
    ]


def write_audit(session: Session, changes: Sequence[Change], *, author: Author, users: HostUsers) -> None:
    """Writes the changes in the transaction that makes them: there is no change without its record."""
    rows = [
        {
            "at": to_database(author.now),
            "changed_by": author.name[:255],
            "action": change.action.value,
            "tenant_id": str(change.tenant_id),
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
    if rows:
        session.execute(sa.insert(users.tables.audit), rows, bind_arguments=users.bind)
