"""Changes of the tenants' rows.

Every change of a document is audited in the transaction that makes it, and is refused where somebody else has changed it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from samljit.sql.audit import AuditAction, Author, Change, write_audit
from samljit.sql.metadata import metadata_hash
from samljit.sql.sessions import open_session
from samljit.sql.stored import Document, DomainTaken, DraftRefused, SlugTaken, StaleEdit, StoredTenant, TenantRow, Written, patched
from samljit.sql.tables import to_database
from samljit.sql.tenant_rows import TenantRows
from samljit.store import Unavailable, WriteConflict


class SqlTenants(TenantRows):
    """Reads the tenants' rows, and changes them. Every method may raise store.Unavailable."""

    def get_or_make(self, slug: str, *, now: datetime) -> TenantRow:
        """The row of a tenant of the settings, made when first asked for."""
        found = self.find(slug)
        if found is not None:
            return found
        try:
            with open_session(self._factory) as session:
                self._insert_state(session, slug, now=now)
                session.commit()
        except WriteConflict:
            pass  # another worker was faster: what it wrote is read below
        made = self.find(slug)
        if made is None:
            raise Unavailable("tenant state could not be written")
        return made

    def add(self, slug: str, document: Document, *, author: Author, adopts: bool = False) -> StoredTenant:
        """A new tenant with this live document.

        With `adopts`, the id and the identities of a tenant of this slug that stood in the settings go on. Raises: SlugTaken, DomainTaken.
        """
        with self._changing({slug: document}) as session:
            self._add(session, slug, document, author=author, adopts=adopts)
        return self.get_stored(slug)

    def write_all(
        self, documents: Mapping[str, Document], *, author: Author, adopts: bool = False, replaces: bool = False
    ) -> list[Written]:
        """Adds all these tenants, or none. `replaces` puts a document in the place of one that is there, `adopts` as for `add`.

        Raises: SlugTaken, DomainTaken, StaleEdit.
        """
        known = {slug: self.find_stored(slug) if replaces else None for slug in documents}
        written = []
        with self._changing(documents) as session:
            # whose domains move to another tenant of these must let go of them first
            for stored in known.values():
                if stored is not None:
                    self._run(session, sa.delete(self._domain).where(self._domain.c.tenant_id == str(stored.id)))
            for slug, document in documents.items():
                stored = known[slug]
                if stored is None:
                    self._add(session, slug, document, author=author, adopts=adopts)
                elif document != stored.live:
                    self._update(session, stored, {"live": dict(document), **_next_numbers(stored)}, author=author)
                    self._audit(session, AuditAction.TENANT_CHANGED, stored.id, before=stored.live, after=document, author=author)
                if stored is not None:
                    self._write_domains(session, stored.id, document)
                what = "added" if stored is None else "unchanged" if document == stored.live else "replaced"
                written.append(Written(slug, what))
        return written

    def change(self, stored: StoredTenant, patch: Document, *, author: Author, action: AuditAction) -> StoredTenant:
        """Replaces top-level keys of the live document, at once and for every worker; None takes a key out.

        Raises: StaleEdit, DomainTaken.
        """
        live = patched(stored.live, patch)
        if live == stored.live:
            return stored
        with self._changing({stored.slug: live}) as session:
            self._write_live(session, stored, live, author=author)
            self._audit(session, action, stored.id, before=stored.live, after=live, author=author)
        return self.get_stored(stored.slug)

    def save_draft(
        self, stored: StoredTenant, draft: Document | None, *, author: Author, metadata: tuple[str, str] | None = None
    ) -> StoredTenant:
        """Keeps what is to change; None drops it. What was tested before counts no more.

        `metadata` is what was found at the address that the draft names for its IdP, and that address; without it, what is kept stays.
        Raises: StaleEdit.
        """
        number = stored.draft_revision + 1
        xml, url = (None, None) if draft is None else metadata or stored.draft_metadata or (None, None)
        with self._changing({stored.slug: stored.live}) as session:
            values: dict[str, Any] = {"draft": None if draft is None else dict(draft), "draft_revision": number}
            values |= {"tested_revision": None, "draft_metadata": xml, "draft_metadata_url": url}
            self._update(session, stored, values, author=author)
            action = AuditAction.DRAFT_DROPPED if draft is None else AuditAction.DRAFT_SAVED
            self._audit(session, action, stored.id, before=stored.draft or {}, after=draft or {}, author=author)
        return self.get_stored(stored.slug)

    def go_live(self, stored: StoredTenant, *, author: Author) -> StoredTenant:
        """Makes the draft the live document, where it has passed a test as it is, and holds nothing but `DRAFT_KEYS`.

        Whether what it says can be used is the caller's to ask. Raises: DraftRefused, StaleEdit.
        """
        if stored.draft is None or stored.foreign_keys or not stored.is_tested:
            raise DraftRefused(stored.slug)
        live = stored.drafted
        values = {"live": live, **_next_numbers(stored), "draft": None, "draft_metadata": None, "draft_metadata_url": None}
        with self._changing({stored.slug: live}) as session:
            # a test that fails leaves the draft's number as it is: that the draft is tested must still be so when it is written
            self._update(session, stored, values, author=author, still=(self._tenant.c.tested_revision == stored.draft_revision,))
            self._keep_tested_metadata(session, stored, now=author.now)
            self._audit(session, AuditAction.DRAFT_LIVE, stored.id, before=stored.live, after=live, author=author)
        return self.get_stored(stored.slug)

    def record_test(self, slug: str, result: Document, *, nonce: str, draft_revision: int, replaces: bool) -> bool:
        """Keeps what a test sign-in showed, in place of the one before; whether it was kept.

        Only where it still is this draft, and, unless it `replaces` what else came for this request, is the first for it. It counts as
        passed only once the browser that began it has come back: see `confirm_test`.
        """
        table = self._tenant
        whose = table.c.tenant_id == sa.select(self._state.c.id).where(self._state.c.slug == slug).scalar_subquery()
        query = sa.update(table).where(whose, table.c.draft_revision == draft_revision)
        if not replaces:
            query = query.where(sa.or_(table.c.last_test_nonce.is_(None), table.c.last_test_nonce != nonce))
        query = query.values(last_test=dict(result), last_test_nonce=nonce, tested_revision=None)
        with open_session(self._factory) as session:
            written = self._run(session, query)
            session.commit()
        return written == 1

    def confirm_test(self, stored: StoredTenant, *, nonce: str, author: Author) -> bool:
        """Lets the draft count as tested by the last test, where that is still the one of this request. Whether it is."""
        table, number = self._tenant, stored.draft_revision
        with open_session(self._factory) as session:
            whose = (table.c.tenant_id == str(stored.id), table.c.revision == stored.revision, table.c.draft_revision == number)
            query = sa.update(table).where(*whose, table.c.last_test_nonce == nonce).values(tested_revision=number)
            written = self._run(session, query) == 1
            if written:
                change = Change(AuditAction.DRAFT_TESTED, stored.id, after={"draft_revision": number})
                write_audit(session, [change], author=author, users=self._users)
            session.commit()
        return written

    def _add(self, session: Session, slug: str, document: Document, *, author: Author, adopts: bool) -> None:
        found = session.execute(self._rows.where(self._state.c.slug == slug), bind_arguments=self._bind).first()
        if found is not None and (found.revision is not None or not adopts):
            raise SlugTaken(slug)
        tenant_id = UUID(found.id) if found is not None else self._insert_state(session, slug, now=author.now)
        values = {"tenant_id": str(tenant_id), "live": dict(document), "revision": 1, "draft_revision": 0}
        self._run(session, sa.insert(self._tenant).values(**values, updated_at=to_database(author.now)))
        self._write_domains(session, tenant_id, document)
        self._audit(session, AuditAction.TENANT_ADDED, tenant_id, before={}, after=document, author=author)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _run(self, session: Session, statement: sa.Executable) -> int:
        return int(session.execute(statement, bind_arguments=self._bind).rowcount)  # type: ignore[attr-defined]

    @contextmanager
    def _changing(self, documents: Mapping[str, Document]) -> Iterator[Session]:
        """A transaction that ends committed. Where a domain's owner stood in its way, it is named. Raises: DomainTaken."""
        try:
            with open_session(self._factory) as session:
                yield session
                session.commit()
        except WriteConflict:
            claimed = [(slug, domain) for slug, document in documents.items() for domain in document.get("domains", ())]
            for number, (slug, domain) in enumerate(claimed):
                others = [other for other, same in claimed[:number] if same == domain]
                owner = others[0] if others else self.find_slug_by_domain(domain)
                if owner not in (None, slug):
                    raise DomainTaken(domain, owner) from None
            raise

    def _insert_state(self, session: Session, slug: str, *, now: datetime) -> UUID:
        tenant_id = uuid4()
        values = {"id": str(tenant_id), "slug": slug, "created_at": to_database(now)}
        self._run(session, sa.insert(self._state).values(**values))
        return tenant_id

    def _write_live(self, session: Session, stored: StoredTenant, live: Document, *, author: Author) -> None:
        self._update(session, stored, {"live": dict(live), **_next_numbers(stored)}, author=author)
        if live.get("domains", []) != stored.live.get("domains", []):
            self._run(session, sa.delete(self._domain).where(self._domain.c.tenant_id == str(stored.id)))
            self._write_domains(session, stored.id, live)

    def _keep_tested_metadata(self, session: Session, stored: StoredTenant, *, now: datetime) -> None:
        """What the draft was tried with is what sign-ins go by, until it is fetched anew; unless what is live came from the same address,
        and has been kept up to date."""
        state, kept = self._state, stored.draft_metadata
        if kept is None or kept[1] != _metadata_url(stored.drafted):
            return
        xml, url = kept
        values = {"metadata": xml, "metadata_url": url, "metadata_hash": metadata_hash(xml, url=url), "metadata_at": to_database(now)}
        query = sa.update(state).where(state.c.id == str(stored.id))
        if _metadata_url(stored.live) == url:
            query = query.where(sa.or_(state.c.metadata.is_(None), state.c.metadata_url.is_(None), state.c.metadata_url != url))
        self._run(session, query.values(**values, metadata_error=None))

    def _update(
        self, session: Session, stored: StoredTenant, values: Document, *, author: Author, still: Iterable[sa.ColumnElement[bool]] = ()
    ) -> None:
        """Writes on the very row that was read, where these further conditions `still` hold. Raises: StaleEdit."""
        table = self._tenant
        unchanged = (table.c.revision == stored.revision, table.c.draft_revision == stored.draft_revision)
        query = sa.update(table).where(table.c.tenant_id == str(stored.id), *unchanged, *still)
        if self._run(session, query.values(**values, updated_at=to_database(author.now))) != 1:
            raise StaleEdit(stored.slug)

    def _write_domains(self, session: Session, tenant_id: UUID, document: Document) -> None:
        rows = [{"domain": domain, "tenant_id": str(tenant_id)} for domain in document.get("domains", ())]
        if rows:
            session.execute(sa.insert(self._domain), rows, bind_arguments=self._bind)

    def _audit(
        self, session: Session, action: AuditAction, tenant_id: UUID, *, before: Document, after: Document, author: Author
    ) -> None:
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        old, new = ({key: _fingerprinted(document[key]) for key in keys if key in document} for document in (before, after))
        write_audit(session, [Change(action, tenant_id, before=old, after=new)], author=author, users=self._users)


def _next_numbers(stored: StoredTenant) -> dict[str, Any]:
    """The revisions after a change of the live document. The draft lies over it: what was tested, or is being tested just now, is not
    what there is any more."""
    return {"revision": stored.revision + 1, "draft_revision": stored.draft_revision + 1, "tested_revision": None}


def _metadata_url(document: Document) -> str | None:
    idp = document.get("idp")
    return idp.get("metadata_url") if isinstance(idp, Mapping) else None


_LONG_KEYS = ("metadata", "certificates")  # of an idp section: documents that nobody reads in a record


def _fingerprinted(value: Any) -> Any:
    """A value for the record: metadata and certificates as fingerprints of their text."""
    if not isinstance(value, Mapping):
        return value
    return {key: _fingerprint(inner) if key in _LONG_KEYS else inner for key, inner in value.items()}


def _fingerprint(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_fingerprint(one) for one in value]
    return f"sha256:{sha256(str(value).encode()).hexdigest()}"
