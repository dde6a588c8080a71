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

from samljit.sql.tables import to_database
from samljit.sql.users import HostUsers


class AuditAction(StrEnum):
    """What was done. Stored: never renamed."""

    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"
    IDENTITIES_REKEYED = "identities_rekeyed"
    METADATA_CHANGED = "metadata_changed"


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
