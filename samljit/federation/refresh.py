"""Fetches the metadata of one tenant's IdP and keeps it, or keeps the last good one (trust: 46, 48).

Of all workers on all hosts one fetches at a time: it takes the turn in the database, fetches outside of any transaction, and writes what
came of it only while the turn is still its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from samljit.errors import Problem
from samljit.federation.fetch import Source, fetch
from samljit.model import IdentityProvider
from samljit.saml.idp_metadata import metadata_text, read_entity_id, read_idp_metadata
from samljit.settings.endpoints import check_endpoints
from samljit.sql.audit import AuditAction, Author, Change
from samljit.sql.metadata import SqlMetadata, Turn

# Entra: signing-key-rollover gives the pattern: at most every 5 minutes for an unknown key, by itself once a day
SELDOM = timedelta(minutes=5)
SHORTLY = timedelta(seconds=10)  # longer than a fetch may take: whoever took the turn so long ago has come to an end with it
STALE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Feed:
    """A tenant whose IdP is known by the address of its metadata."""

    tenant_id: UUID
    slug: str
    source: Source
    preset: str
    base_url: str


class RefreshStatus(StrEnum):
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    BUSY = "busy"  # somebody else has just begun


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of it. `problem` says why it failed; `idp` is what is in use now, as far as this call knows."""

    slug: str
    status: RefreshStatus
    problem: Problem | None = None
    idp: IdentityProvider | None = None


def refresh(
    feed: Feed,
    *,
    metadata: SqlMetadata,
    author: Author,
    every: timedelta = SHORTLY,
    older_than: timedelta | None = None,
    entity_id: str | None = None,
) -> Refreshed:
    """Fetches once, unless somebody has begun to within `every`, or what is known is not `older_than` that.

    `entity_id` is the new name of the IdP, where an operator says that it may change: identities are filed under it, so no document
    can change it by itself. Raises: store.Unavailable, store.WriteConflict.
    """
    turn = metadata.take_turn(feed.tenant_id, feed.source.url, now=author.now, every=every, older_than=older_than)
    if turn is None:
        return Refreshed(feed.slug, RefreshStatus.BUSY)
    fetched = fetch(feed.source)
    stored = metadata.find(feed.tenant_id)
    last = stored.xml if stored.url == feed.source.url else None  # the document of another address is another IdP's
    expected = entity_id or (read_entity_id(last.encode()) if last else None)
    found = fetched if isinstance(fetched, Problem) else _read(fetched, feed, expected=expected, now=author.now)
    if isinstance(found, Problem):
        metadata.fail(turn, f"{found.message} {found.hint}".strip())
        return Refreshed(feed.slug, RefreshStatus.FAILED, found)
    return _keep(found, turn, feed, last=last, metadata=metadata, author=author)


@dataclass(frozen=True, slots=True)
class _Document:
    text: str
    idp: IdentityProvider


def _read(xml: bytes, feed: Feed, *, expected: str | None, now: datetime) -> _Document | Problem:
    """The document and what it says, where all of that may be used; else the first thing that is wrong with it."""
    path = feed.source.path
    text = metadata_text(xml, path=path)
    if isinstance(text, Problem):
        return text
    idp, problems = read_idp_metadata(text.encode(), path=path, expected_entity_id=expected, now=now)
    if idp is None:
        return sorted(problems, key=lambda problem: problem.is_warning)[0]
    faults = check_endpoints(idp.endpoints, path=path, preset=feed.preset, base_url=feed.base_url)
    return faults[0] if faults else _Document(text, idp)


def _keep(
    found: _Document, turn: Turn, feed: Feed, *, last: str | None, metadata: SqlMetadata, author: Author
) -> Refreshed:
    """Entra signs its document anew each time it is asked: what says the same as the last one is no change."""
    known = read_idp_metadata(last.encode(), path=feed.source.path, now=author.now)[0] if last else None
    if known is not None and _unordered(known) == _unordered(found.idp):
        metadata.keep_last(turn)
        return Refreshed(feed.slug, RefreshStatus.UNCHANGED, idp=known)
    change = Change(AuditAction.METADATA_CHANGED, feed.tenant_id, before=_recorded(known), after=_recorded(found.idp))
    kept = metadata.keep(turn, found.text, change=change, author=author)
    return Refreshed(feed.slug, RefreshStatus.CHANGED if kept else RefreshStatus.BUSY, idp=found.idp)


def _unordered(idp: IdentityProvider) -> IdentityProvider:
    """Entra lists certificates in no order that means anything."""
    return replace(idp, certificates=tuple(sorted(idp.certificates, key=lambda one: one.fingerprint)))


def _recorded(idp: IdentityProvider | None) -> dict[str, Any] | None:
    """An IdP for the record: its certificates by fingerprint and dates."""
    if idp is None:
        return None
    certificates = [
        {"fingerprint": one.fingerprint, "not_before": one.not_before.isoformat(), "not_after": one.not_after.isoformat()}
        for one in idp.certificates
    ]
    ends = idp.valid_until.isoformat() if idp.valid_until else None
    urls = {"sso_url": idp.sso_url, "slo_url": idp.slo_url, "slo_response_url": idp.slo_response_url}
    return {"entity_id": idp.entity_id, **urls, "valid_until": ends, "certificates": certificates}
