"""What is decided at one sign-in, and the record of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from samljit.errors import Reason


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


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What the first step of a sign-in leaves for the second: as much of the attempt as that needs."""

    reference: str
    tenant_id: UUID | None
    outcome: Outcome
    reason: Reason | None
    user_id: Any
    request_nonce: str | None
    session_ends_at: datetime | None
