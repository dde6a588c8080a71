"""Who signs in: people of a directory, and the claims that Entra makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

_MICROSOFT = "http://schemas.microsoft.com"
_XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"

TENANT_ID = f"{_MICROSOFT}/identity/claims/tenantid"
OBJECT_ID = f"{_MICROSOFT}/identity/claims/objectidentifier"
DISPLAY_NAME = f"{_MICROSOFT}/identity/claims/displayname"
GROUPS = f"{_MICROSOFT}/ws/2008/06/identity/claims/groups"
GROUPS_LINK = f"{_MICROSOFT}/claims/groups.link"
IDENTITY_PROVIDER = f"{_MICROSOFT}/identity/claims/identityprovider"
AUTHN_METHODS = f"{_MICROSOFT}/claims/authnmethodsreferences"
ROLE = f"{_MICROSOFT}/ws/2008/06/identity/claims/role"
WIDS = f"{_MICROSOFT}/ws/2008/06/identity/claims/wids"
ACCT = f"{_MICROSOFT}/identity/claims/acct"
GIVEN_NAME = f"{_XMLSOAP}/givenname"
SURNAME = f"{_XMLSOAP}/surname"
EMAIL_ADDRESS = f"{_XMLSOAP}/emailaddress"
NAME = f"{_XMLSOAP}/name"

PASSWORD = f"{_MICROSOFT}/ws/2008/06/identity/authenticationmethod/password"
MULTIPLE_AUTHN = f"{_MICROSOFT}/claims/multipleauthn"

# Entra sends at most this many groups in SAML; above it there is only a link (how-to-connect-fed-group-claims).
MOST_GROUPS = 150


class Claim(NamedTuple):
    """One Attribute of an assertion. Entra sends no NameFormat unless an admin turns it on."""

    name: str
    values: tuple[str, ...]
    name_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One account of a directory, as far as sign-ins show it. What is None or empty is absent from the assertion.

    `upn` is the login name, sent as NameID and as the claim `name`; the e-mail address stands in for it. A guest has `acct` 1;
    `home_tenant_id` names the directory a guest comes from, or `identity_provider` (`live.com`, `mail`) where that is none of
    Entra's. `overage` sends the link in place of the groups, as more than 150 groups do by themselves. `extra` are claims that
    an admin configured besides, name to values; the name of one of Entra's own takes its place.
    """

    object_id: str
    display_name: str | None = None
    given_name: str | None = None
    surname: str | None = None
    email: str | None = None
    upn: str | None = None
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    guest: bool = False
    home_tenant_id: str | None = None
    identity_provider: str | None = None
    overage: bool = False
    authn_methods: tuple[str, ...] = (PASSWORD,)

    @property
    def login_name(self) -> str | None:
        return self.upn or self.email


def claims_of(person: Person, tenant_id: str) -> tuple[Claim, ...]:
    """The claims Entra sends for a person signing in to this tenant's app, in Entra's order.

    First what is always sent, then what an admin added, then the default claims of a new SAML app. An empty source is left out
    altogether: Entra never sends an empty value.
    """
    always: dict[str, Sequence[str]] = {
        TENANT_ID: [tenant_id],
        OBJECT_ID: [person.object_id],
        DISPLAY_NAME: _one(person.display_name),
        **_groups(person, tenant_id),
        IDENTITY_PROVIDER: [_identity_provider(person, tenant_id)],
        AUTHN_METHODS: person.authn_methods,
        ROLE: person.roles,
        ACCT: ["1"] if person.guest else [],
    }
    default: dict[str, Sequence[str]] = {
        GIVEN_NAME: _one(person.given_name),
        SURNAME: _one(person.surname),
        EMAIL_ADDRESS: _one(person.email),
        NAME: _one(person.login_name),
    }
    added = {name: values for name, values in person.extra.items() if name not in always and name not in default}
    claims = {name: person.extra.get(name, values) for name, values in (always | added | default).items()}
    return tuple(Claim(name, tuple(values)) for name, values in claims.items() if values)


def _one(value: str | None) -> list[str]:
    return [value] if value else []


def _groups(person: Person, tenant_id: str) -> dict[str, Sequence[str]]:
    if person.overage or len(person.groups) > MOST_GROUPS:
        # The host is that of the retired Azure AD Graph; Entra still writes it.
        return {GROUPS_LINK: [f"https://graph.windows.net/{tenant_id}/users/{person.object_id}/getMemberObjects"]}
    return {GROUPS: person.groups}


def _identity_provider(person: Person, tenant_id: str) -> str:
    return person.identity_provider or f"https://sts.windows.net/{person.home_tenant_id or tenant_id}/"
