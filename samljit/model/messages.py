"""What passes between the IdP, the browser and us: requests, what an assertion says, sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Purpose(StrEnum):
    SIGN_IN = "sign_in"
    TEST = "test"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """What a self-authenticating request ID says, once its HMAC was found good."""

    id: str
    nonce: str
    issued_at: datetime
    purpose: Purpose = Purpose.SIGN_IN
    draft_revision: int = 0
    force_authn: bool = False
    is_passive: bool = False


@dataclass(frozen=True, slots=True)
class NameId:
    """A NameID with what a sign-out must repeat of it (SAML core 3.7.3.1); the qualifiers are kept out of every decision."""

    value: str = field(repr=False)
    format: str | None = None
    name_qualifier: str | None = None
    sp_name_qualifier: str | None = None


@dataclass(frozen=True, slots=True)
class Assertion:
    """A genuine assertion: signed by the tenant's IdP, for us, now. Only `samljit.saml` builds one.

    `claims` maps each claim name to its values in document order, as signed (not trimmed). `hash` is the SHA-256 of the
    assertion's ID in hex. `usable_until` is how long a replay must be remembered.
    """

    id: str
    hash: str
    issuer: str
    name_id: NameId
    claims: Mapping[str, tuple[str, ...]] = field(repr=False)
    request: PendingRequest | None
    usable_until: datetime
    authn_instant: datetime
    session_index: str | None = None
    session_not_on_or_after: datetime | None = None
    authn_context: str | None = None
    certificate_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class IdpSession:
    """A sign-in as the IdP knows it, and so what a sign-out there must name. `reference` is that of the attempt which began it."""

    reference: str
    tenant_id: UUID
    user_id: Any
    name_id: NameId
    session_index: str | None
    began_at: datetime
    ended_at: datetime | None = None
