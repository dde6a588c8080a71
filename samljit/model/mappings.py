"""What a mapping document says once it is checked: fields, roles, policy, and the columns they are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
