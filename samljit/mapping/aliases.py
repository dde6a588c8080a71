"""The short names of Entra's claims. An alias stands for exactly one URI, every other name for itself."""

from __future__ import annotations

NAME_ID = "NameID"

_MICROSOFT = "http://schemas.microsoft.com/identity/claims/"
_MICROSOFT_CLAIMS = "http://schemas.microsoft.com/claims/"
_MICROSOFT_2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
_XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"

# Entra: reference-saml-tokens, reference-claims-customization
ALIASES = {
    **{name: _MICROSOFT + name for name in ("tenantid", "objectidentifier", "displayname", "identityprovider", "acct")},
    **{name: _MICROSOFT_CLAIMS + name for name in ("authnmethodsreferences", "groups.link")},
    **{name: _MICROSOFT_2008 + name for name in ("groups", "role", "wids")},
    **{name: _XMLSOAP + name for name in ("givenname", "surname", "emailaddress", "name", "upn")},
}

OBJECT_IDENTIFIER = ALIASES["objectidentifier"]
TENANT_ID = ALIASES["tenantid"]

_SHORT_NAMES = {uri: alias for alias, uri in ALIASES.items()}


def claim_name(name: str) -> str:
    """The full claim name that a source of a mapping document means: an alias's URI, else the name itself."""
    return ALIASES.get(name, name)


def short_name(claim: str) -> str:
    """What people call a claim: its alias, else its full name."""
    return _SHORT_NAMES.get(claim, claim)
