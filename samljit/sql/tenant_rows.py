"""Looks up the tenants' rows, one tenant in one statement: permanent ids of either source, and the documents of those that live here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.model import HandedOver, TenantVersion
from samljit.sql.attempts import HANDED_OVER, read_handed_over
from samljit.sql.audit import AuditRecord, read_audit
from samljit.sql.sessions import open_session, single_query
from samljit.sql.stored import StoredTenant, TenantRow
from samljit.sql.tables import from_database
from samljit.sql.users import HostUsers

_BATCH = 500


class TenantRows:
    """Reads `samljit_tenant_state`, `samljit_tenant` and `samljit_domain`. Every method may raise store.Unavailable."""

    def __init__(self, *, factory: Callable[[], Session], users: HostUsers) -> None:
        self._factory = factory
        self._users = users
        self._state, self._tenant, self._domain = users.tables.tenant_state, users.tables.tenant, users.tables.domain
        self._bind = users.bind
        state, tenant = self._state, self._tenant
        self._rows = sa.select(state.c.id, state.c.slug, state.c.claims_seen, state.c.metadata_hash, tenant.c.revision)
        self._rows = self._rows.select_from(state.outerjoin(tenant, tenant.c.tenant_id == state.c.id))
        self._by_slug = self._rows.where(state.c.slug == sa.bindparam("wanted"))
        attempt = users.tables.attempt
        theirs = sa.and_(attempt.c.tenant_id == state.c.id, attempt.c.reference == sa.bindparam("wanted_reference"))
        self._with_attempt = self._by_slug.add_columns(*(attempt.c[name] for name in HANDED_OVER)).outerjoin(attempt, theirs)
        self._stored = sa.select(tenant, state.c.slug).join(state, state.c.id == tenant.c.tenant_id)

    def find(self, slug: str) -> TenantRow | None:
        """The row of a tenant that is in use, in one statement."""
        row = self._first(self._by_slug, wanted=slug)
        # MariaDB compares text without case: what was asked for is compared once more
        return None if row is None or row.slug != slug else _row(row)

    def find_with_attempt(self, slug: str, reference: str) -> tuple[TenantRow | None, HandedOver | None]:
        """The same, and with it what the tenant's attempt of this reference has handed over, in one statement."""
        row = self._first(self._with_attempt, wanted=slug, wanted_reference=reference)
        if row is None or row.slug != slug:
            return None, None
        return _row(row), read_handed_over(row) if row.reference == reference else None

    def all_rows(self) -> list[TenantRow]:
        """The rows of all tenants that were ever used, by slug."""
        with open_session(self._factory) as session:
            return [_row(row) for row in session.execute(self._rows.order_by(self._state.c.slug), bind_arguments=self._bind)]

    def find_slug_by_domain(self, domain: str) -> str | None:
        """The tenant of the database that proved this domain, given as `mapping.mail.domain_key` gives it."""
        query = sa.select(self._state.c.slug).join(self._domain, self._domain.c.tenant_id == self._state.c.id)
        row = self._first(query.where(self._domain.c.domain == domain))
        return None if row is None else str(row.slug)

    def find_slugs(self, *, most: int) -> list[str]:
        """Slugs of tenants that live in the database, a few."""
        query = sa.select(self._state.c.slug).join(self._tenant, self._tenant.c.tenant_id == self._state.c.id)
        with open_session(self._factory) as session:
            return list(session.execute(query.order_by(self._state.c.slug).limit(most), bind_arguments=self._bind).scalars())

    def find_stored(self, slug: str) -> StoredTenant | None:
        row = self._first(self._stored.where(self._state.c.slug == slug))
        return None if row is None or row.slug != slug else _stored(row)

    def get_stored(self, slug: str) -> StoredTenant:
        """Raises: LookupError where no such tenant lives in the database."""
        found = self.find_stored(slug)
        if found is None:
            raise LookupError(slug)
        return found

    def all_stored(self) -> Iterator[StoredTenant]:
        """All tenants that live in the database, by slug, read in batches."""
        after = ""
        while True:
            query = self._stored.where(self._state.c.slug > after).order_by(self._state.c.slug).limit(_BATCH)
            with open_session(self._factory) as session:
                batch = [_stored(row) for row in session.execute(query, bind_arguments=self._bind)]
            yield from batch
            if len(batch) < _BATCH:
                return
            after = batch[-1].slug

    def find_metadata(self, tenant_id: UUID) -> tuple[str, str] | None:
        """The last good metadata of the IdP that was fetched, and the address that it came from."""
        state = self._state
        row = self._first(sa.select(state.c.metadata, state.c.metadata_url).where(state.c.id == str(tenant_id)))
        return None if row is None or row.metadata is None else (row.metadata, row.metadata_url or "")

    def read_history(self, tenant_id: UUID, *, limit: int, before_id: int | None = None) -> list[AuditRecord]:
        """The changes of a tenant's configuration and identities, the newest first."""
        with open_session(self._factory) as session:
            return read_audit(session, users=self._users, tenant_id=tenant_id, limit=limit, before_id=before_id)

    def _first(self, query: sa.Select[Any], **values: Any) -> Any:
        with single_query(self._factory, self._bind) as connection:
            return connection.execute(query, values).first()


def _row(row: Any) -> TenantRow:
    return TenantRow(UUID(row.id), row.slug, frozenset(row.claims_seen), TenantVersion(row.revision, row.metadata_hash))


def _stored(row: Any) -> StoredTenant:
    return StoredTenant(
        id=UUID(row.tenant_id),
        slug=row.slug,
        live=row.live,
        revision=row.revision,
        draft=row.draft,
        draft_revision=row.draft_revision,
        tested_revision=row.tested_revision,
        last_test=row.last_test,
        updated_at=from_database(row.updated_at),
        draft_metadata=None if row.draft_metadata is None else (row.draft_metadata, row.draft_metadata_url),
    )
