"""What the database keeps of a tenant, and why a change of it may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from samljit.model import TenantVersion

Document = Mapping[str, Any]

# What a draft may change. All else of a document is a statement of whoever runs the app (enabled, max_users, domains, entity_id, what is
# required of messages), or has a page of its own with rules of its own (offer_sso, require_sso, break_glass)
DRAFT_KEYS = frozenset({"idp", "entra_tenant_id", "mapping"})


class SlugTaken(Exception):
    """A tenant of this slug is there, or was once: a slug is never used again."""


class DomainTaken(Exception):
    """A domain that another tenant of the database has proved. `domain` and `slug` say which and whose."""

    def __init__(self, domain: str, slug: str) -> None:
        super().__init__(f"{domain} is {slug}'s")
        self.domain, self.slug = domain, slug


class StaleEdit(Exception):
    """Somebody else has changed the document since it was read. Nothing was written."""


class DraftRefused(Exception):
    """A draft that may not go live: there is none, it has not passed a test as it is, or it holds keys other than `DRAFT_KEYS`."""


@dataclass(frozen=True, slots=True)
class TenantRow:
    """What one look at the database tells of a tenant. What is made of its documents may be kept by all but `claims_seen`."""

    id: UUID
    slug: str
    claims_seen: frozenset[str]
    version: TenantVersion

    @property
    def lives_here(self) -> bool:
        """Whether the tenant lives in the database, and not in the settings."""
        return self.version.revision is not None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one of several tenants: added, replaced or unchanged."""

    slug: str
    what: str


@dataclass(frozen=True, slots=True)
class StoredTenant:
    """A tenant that lives in the database, whole. `draft` holds the keys of the document that are to change, None where none are.

    `draft_metadata` is what was found at the address that the draft names for its IdP, and that address.
    `tested_revision` is the draft that passed a test sign-in last; `last_test` is what that test showed, claim values included.
    """

    id: UUID
    slug: str
    live: Document = field(repr=False)
    revision: int
    draft: Document | None = field(repr=False)
    draft_revision: int
    tested_revision: int | None
    last_test: Document | None = field(repr=False)
    updated_at: datetime
    draft_metadata: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def drafted(self) -> dict[str, Any]:
        """The document as it would be with the draft made live."""
        return patched(self.live, self.draft or {})

    @property
    def is_tested(self) -> bool:
        """Whether what there is of a draft, or without one what is live, has passed a test just as it is."""
        return self.tested_revision == self.draft_revision

    @property
    def foreign_keys(self) -> list[str]:
        """What the draft would change and no draft may."""
        return sorted(set(self.draft or ()) - DRAFT_KEYS)


def patched(document: Document, patch: Document) -> dict[str, Any]:
    """The document with top-level keys replaced; a key whose new value is None goes."""
    return {key: value for key, value in {**document, **patch}.items() if value is not None}
