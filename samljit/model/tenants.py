"""What a tenant is: one customer of the host app, its IdP, and what may be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from uuid import UUID

from samljit.model.mappings import MappingRules


class RequireSignature(StrEnum):
    """Which part of a response must carry a valid signature (trust: 15)."""

    ASSERTION_OR_RESPONSE = "assertion_or_response"
    ASSERTION = "assertion"
    RESPONSE = "response"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate that an IdP may sign with. `fingerprint` is the SHA-256 of the DER bytes in lower-case hex."""

    der: bytes = field(repr=False)
    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime

    def is_in_date(self, now: datetime) -> bool:
        return self.not_before <= now <= self.not_after


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """The IdP of one tenant: exactly what may be trusted, taken from its metadata or typed by the operator.

    `valid_until` is the metadata's own end, from which on nothing of it may be used; most state none.
    """

    entity_id: str
    sso_url: str
    certificates: tuple[Certificate, ...]
    slo_url: str | None = None
    slo_response_url: str | None = None  # where answers go, if not to slo_url (SAML metadata 2.2.2)
    valid_until: datetime | None = None

    @property
    def endpoints(self) -> tuple[str | None, ...]:
        """Every address that a browser may be sent to, None for one that the IdP does not have."""
        return self.sso_url, self.slo_url, self.slo_response_url

    def is_usable(self, now: datetime) -> bool:
        return self.valid_until is None or now < self.valid_until


@dataclass(frozen=True, slots=True)
class TenantVersion:
    """What the database said of a tenant when it was looked up. As long as it says the same, nothing of the tenant has changed.

    `revision` counts the changes of its document, None where it stands in the settings; `metadata_hash` is that of its IdP's metadata,
    where that is fetched.
    """

    revision: int | None = None
    metadata_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer of the host app: one IdP, one SP entity ID, one ACS, one mapping.

    `id` is the immutable UUID that every stored row refers to; `revision` changes whenever anything else here does, so that
    prepared keys and settings may be kept by it. `expected_audience` is the entity ID, or its `spn:` form where it is no URI.
    `metadata_source` is the address that the IdP's metadata is fetched from, None where it does not come from one.
    Up to the end of the day `log_values_until` (UTC) the sign-in log holds old and new values. `claims_seen` is what the database
    remembers, and `revision` says nothing of: which of the claims that roles come from have ever reached us from this tenant. By
    `version` and `claims_seen` a transaction tells whether the tenant still is what is in the database.
    With `sign_requests` our AuthnRequests to its IdP are signed; with `allow_idp_initiated` it may start sign-ins itself.
    With `require_encryption` it must encrypt assertions; with `allow_rsa15` it may wrap their keys with RSA 1.5.
    `enabled` is the switch of whoever runs the app, `offer_sso` the tenant's own: with either off, nobody signs in.
    `max_users` is the limit of whoever runs the app; `mapping.policy` holds the one that counts, this or a lower one of its own.
    With `require_sso` its people may not sign in with a password, but for the users whose e-mail addresses are `break_glass`.
    """

    id: UUID
    slug: str
    name: str
    enabled: bool
    revision: str
    preset: str
    entity_id: str
    acs_url: str
    metadata_url: str
    idp: IdentityProvider | None
    mapping: MappingRules
    metadata_source: str | None = None
    entra_tenant_id: str | None = None
    domains: tuple[str, ...] = ()
    require_signature: RequireSignature = RequireSignature.ASSERTION_OR_RESPONSE
    accept_expired_certificates: bool = False
    join_duplicate_attributes: bool = False
    name_id_format: str | None = None
    log_values_until: date | None = None
    sign_requests: bool = False
    allow_idp_initiated: bool = False
    require_encryption: bool = False
    allow_rsa15: bool = False
    max_users: int | None = None
    offer_sso: bool = True
    require_sso: bool = False
    break_glass: tuple[str, ...] = ()
    claims_seen: frozenset[str] = frozenset()
    version: TenantVersion = TenantVersion()

    @property
    def is_open(self) -> bool:
        """Whether sign-ins are taken: switched on by whoever runs the app, and by the tenant."""
        return self.enabled and self.offer_sso

    @property
    def expected_audience(self) -> str:
        """Entra sends `spn:<id>` as audience where the Identifier is no URI (single-sign-on-saml-protocol)."""
        return self.entity_id if ":" in self.entity_id else f"spn:{self.entity_id}"

    @property
    def login_url(self) -> str:
        """Where a sign-in begins: Entra's Sign on URL."""
        return self.acs_url.removesuffix("acs") + "login"

    @property
    def sls_url(self) -> str:
        """Our single logout service, beside the ACS."""
        return self.acs_url.removesuffix("acs") + "sls"

    def logs_values(self, now: datetime) -> bool:
        """Whether the sign-in log holds old and new values today."""
        return self.log_values_until is not None and now.astimezone(UTC).date() <= self.log_values_until


class AdminAction(StrEnum):
    """What somebody wants to do on the admin pages of a tenant, as the host's `authorize` is asked."""

    VIEW = "view"  # every page but those of the sign-in log
    EDIT = "edit"  # change the draft, the domains and the certificates
    TEST = "test"  # a test sign-in, which shows claim values
    GO_LIVE = "go_live"  # make the draft what sign-ins go by
    RULES = "rules"  # switch sign-in off, on, or make it the only way in
    LOG = "log"  # read the sign-in log
