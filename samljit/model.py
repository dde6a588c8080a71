"""The nouns, as frozen data. No I/O, no library types: every layer above may hold these."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from samljit.errors import Reason

# --- what a tenant is -------------------------------------------------------------------------------------------------


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
class Tenant:
    """One customer of the host app: one IdP, one SP entity ID, one ACS, one mapping.

    `id` is the immutable UUID that every stored row refers to; `revision` changes whenever anything else here does, so that
    prepared keys and settings may be kept by it. `expected_audience` is the entity ID, or its `spn:` form where it is no URI.
    `metadata_source` is the address that the IdP's metadata is fetched from, None where it does not come from one.
    Up to the end of the day `log_values_until` (UTC) the sign-in log holds old and new values. `claims_seen` is what the database
    remembers, and `revision` says nothing of: which of the claims that roles come from have ever reached us from this tenant.
    With `sign_requests` our AuthnRequests to its IdP are signed; with `allow_idp_initiated` it may start sign-ins itself.
    With `require_encryption` it must encrypt assertions; with `allow_rsa15` it may wrap their keys with RSA 1.5.
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
    require_sso: bool = False
    break_glass: tuple[str, ...] = ()
    claims_seen: frozenset[str] = frozenset()

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


# --- what a sign-in is ------------------------------------------------------------------------------------------------


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


# --- what a mapping is ------------------------------------------------------------------------------------------------


class SyncMode(StrEnum):
    ALWAYS = "always"
    ON_CREATE = "on_create"
    IF_EMPTY = "if_empty"


class OnMissing(StrEnum):
    KEEP = "keep"
    CLEAR = "clear"


class Multi(StrEnum):
    FIRST = "first"
    ALL = "all"
    JOIN = "join"
    SINGLE = "single"


class ValueType(StrEnum):
    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DATE = "date"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class UserColumn:
    """A column of the host's user record, as its mapped class declares it.

    `length` is in characters, None where unbounded; `bits` is the size of an integer column. `has_default` says that the column
    is filled when the mapping does not: by the mapped class, the database, or samljit itself.
    """

    name: str
    type: ValueType | None  # None: a type that claims cannot fill
    nullable: bool = True
    unique: bool = False
    length: int | None = None
    has_default: bool = False
    bits: int = 64


@dataclass(frozen=True, slots=True)
class UserShape:
    """What samljit was told about the host's user class. `protected` names columns that no mapping may target.

    `host_fills` says that the host sets columns of its own on new users (`tenant_fields`), which are not known before there is a tenant.
    `knows_privileged` says that the host can tell privileged users; `grantable_roles` are the only roles a mapping may grant, None for any.
    """

    columns: Mapping[str, UserColumn]
    protected: frozenset[str]
    email_field: str | None = None
    active_field: str | None = None
    host_fills: bool = False
    knows_privileged: bool = False
    grantable_roles: frozenset[str] | None = None


# Gives what becomes of one claim value: one value, several, or none ([]). Raises ValueError for a value it cannot use.
Transform = Callable[[str], "str | list[str]"]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One target of the mapping document, checked and resolved.

    `sources` are full claim names in order of preference (aliases already resolved). `template_parts` are the pieces of a
    template: (literal text, name of the claim that follows it or None). Exactly one of sources, template_parts and `has_value`
    is used. `value` and `default` are in the column's own type already.
    """

    target: str
    type: ValueType
    sources: tuple[str, ...] = ()
    template_parts: tuple[tuple[str, str | None], ...] = ()
    value: Any = None
    has_value: bool = False
    transforms: tuple[Transform, ...] = ()
    multi: Multi = Multi.FIRST
    separator: str = ", "
    required: bool = False
    default: Any = None
    has_default: bool = False
    sync_mode: SyncMode = SyncMode.ALWAYS
    on_missing: OnMissing = OnMissing.KEEP

    @property
    def claims(self) -> tuple[str, ...]:
        """The full names of the claims that the rule reads, in its order."""
        return self.sources or tuple(claim for _, claim in self.template_parts if claim is not None)


class Match(StrEnum):
    """What is done about a user with the same e-mail when a person signs in for the first time."""

    IDENTIFIER = "identifier"
    EMAIL_LINK = "email_link"
    EMAIL_DENY = "email_deny"


class RoleSync(StrEnum):
    AUTHORITATIVE = "authoritative"
    ADDITIVE = "additive"
    ON_CREATE = "on_create"
    OFF = "off"


class RolesMissing(StrEnum):
    """What becomes of roles when none of their claims came."""

    KEEP = "keep"
    REMOVE = "remove"
    DENY = "deny"


class Overage(StrEnum):
    """What becomes of roles when there are too many groups for Entra to send."""

    KEEP = "keep"
    DENY = "deny"


class Guests(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class UserState(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class RoleRules:
    """The `roles` section, checked: which roles follow from the values of the claims `sources`.

    `map` is keyed by values in the form that `value_key` gives. `default` are the roles where nothing matches.
    """

    sources: tuple[str, ...]
    map: Mapping[str, tuple[str, ...]]
    default: tuple[str, ...] = ()
    sync_mode: RoleSync = RoleSync.AUTHORITATIVE
    on_missing: RolesMissing = RolesMissing.KEEP
    on_overage: Overage = Overage.KEEP


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of the claims `sources` must hold one of these values, in the form that `value_key` gives."""

    sources: tuple[str, ...]
    any_of: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """The `policy` section, checked: who is let in, and what may be done to user records."""

    create_users: bool = True
    update_users: bool = True
    allowed_domains: tuple[str, ...] | None = None
    require: tuple[Requirement, ...] = ()
    guests: Guests = Guests.ALLOW
    new_user_state: UserState = UserState.ACTIVE
    max_users: int | None = None


@dataclass(frozen=True, slots=True)
class MappingRules:
    """A mapping document that was checked against the host's columns: ready to plan with.

    `identity_source` is the full claim name of the subject, or `NameID`.
    """

    identity_source: str
    fields: tuple[FieldRule, ...] = ()
    match: Match = Match.IDENTIFIER
    roles: RoleRules | None = None
    policy: Policy = Policy()


# --- what is decided --------------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    REFUSE = "refuse"


class FieldAction(StrEnum):
    SET = "set"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    CLEARED = "cleared"
    BLOCKED = "blocked"
    REFUSED = "refused"


class FieldWhy(StrEnum):
    """Why a field was decided as it was. Stored: never renamed."""

    CLAIM = "claim"
    CONSTANT = "constant"
    DEFAULT = "default"
    SAME = "same"
    MISSING = "missing"
    CREATE_ONLY = "create_only"
    NOT_EMPTY = "not_empty"
    PROTECTED = "protected"
    REQUIRED = "required"
    INVALID = "invalid"
    SEVERAL = "several"
    DOMAIN = "domain"
    UPDATES_OFF = "updates_off"


@dataclass(frozen=True, slots=True)
class FieldDecision:
    """What one sign-in does to one field. `source` names the claim that was used, if any; `detail` explains, without values."""

    field: str
    action: FieldAction
    why: FieldWhy
    source: str | None = None
    old: Any = dataclasses.field(default=None, repr=False)
    new: Any = dataclasses.field(default=None, repr=False)
    detail: str = ""


class ClaimState(StrEnum):
    """What can be told from the claims that roles come from. Stored: never renamed."""

    PRESENT = "present"
    ABSENT = "absent"  # no group and no role, or not configured in Entra: the two look alike
    OVERAGE = "overage"  # more groups than Entra sends: a link stands in their place
    REPLACED = "replaced"  # Entra emits groups as role claims, and the app roles have disappeared from there


class RoleAction(StrEnum):
    GRANTED = "granted"
    REVOKED = "revoked"
    UNCHANGED = "unchanged"
    KEPT = "kept"


class RoleWhy(StrEnum):
    """Why a role was decided as it was. Stored: never renamed."""

    CLAIM = "claim"
    DEFAULT = "default"
    NO_MATCH = "no_match"
    MISSING = "missing"
    OVERAGE = "overage"
    REPLACED = "replaced"
    ADDITIVE = "additive"
    CREATE_ONLY = "create_only"


@dataclass(frozen=True, slots=True)
class RoleDecision:
    """What one sign-in does to one role. `source` names the claim that asks for it, if any."""

    role: str
    action: RoleAction
    why: RoleWhy
    source: str | None = None


@dataclass(frozen=True, slots=True)
class ExistingUser:
    """The host's user as it stands: key, active flag, and the present values of the mapped fields.

    `granted` are the roles that samljit granted for this tenant; `roles` is what the host's roles_field holds, None without one.
    """

    id: Any
    is_active: bool
    values: Mapping[str, Any] = field(repr=False)
    granted: frozenset[str] = frozenset()
    roles: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class EmailHolder:
    """A user of this tenant who has the e-mail address of a person that signs in for the first time.

    `is_linked` says that somebody signs in as this user already, whichever tenant's IdP they come from.
    """

    user: ExistingUser
    is_linked: bool
    is_privileged: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a sign-in would write, decided before anything is written. `values` holds only what changes (all, when creating).

    `roles` are decided where the mapping manages any, from claims in the state `claim_state`. `links` is the user found by e-mail whom
    the subject is to be tied to. `is_active` is whether a new user may sign in.
    """

    outcome: Outcome
    decisions: tuple[FieldDecision, ...] = ()
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    reason: Reason | None = None
    detail: str = ""
    roles: tuple[RoleDecision, ...] = ()
    claim_state: ClaimState | None = None
    links: ExistingUser | None = field(default=None, repr=False)
    is_active: bool = True

    @property
    def granted(self) -> tuple[str, ...]:
        return tuple(one.role for one in self.roles if one.action is RoleAction.GRANTED)

    @property
    def revoked(self) -> tuple[str, ...]:
        return tuple(one.role for one in self.roles if one.action is RoleAction.REVOKED)


@dataclass(frozen=True, slots=True)
class Subject:
    """The stable id a person is known by. `key` is the hash under which the identity is stored, `value` what it stands for."""

    key: str
    tenant_id: UUID
    issuer: str
    source: str
    value: str = field(repr=False)


class Stage(StrEnum):
    """How far a sign-in came."""

    LOGIN = "login"
    ACS = "acs"
    PROVISION = "provision"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, good or bad: one row of the sign-in log.

    The old and new values of its decisions are kept only where `keeps_values` says so.
    """

    reference: str
    tenant_id: UUID | None
    at: datetime
    stage: Stage
    outcome: Outcome
    reason: Reason | None = None
    detail: str = ""
    user_id: Any = None
    subject_key: str | None = None
    request_nonce: str | None = None
    claim_names: tuple[str, ...] = ()
    decisions: tuple[FieldDecision, ...] = ()
    roles: tuple[RoleDecision, ...] = ()
    claim_state: ClaimState | None = None
    keeps_values: bool = False
    browser: str = ""
    session_ends_at: datetime | None = None
    times: int = 1
    finished_at: datetime | None = None
