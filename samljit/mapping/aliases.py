"""The short names of claims. An alias stands for exactly one name, every other name for itself, and so does any name behind "=".

Here are those of Entra; other kinds of IdP have their own (`presets`).

B2C policies and External ID send claims named plainly `name` or `surname`; `=name` means that one, and not the alias's URI.
"""

from __future__ import annotations

from collections.abc import Mapping

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
GROUPS_LINK = ALIASES["groups.link"]
ROLE = ALIASES["role"]
WIDS = ALIASES["wids"]
IDENTITY_PROVIDER = ALIASES["identityprovider"]
ACCT = ALIASES["acct"]


def claim_name(name: str, aliases: Mapping[str, str] = ALIASES) -> str:
    """The full claim name that a source of a mapping document means: an alias's, else the name itself, without the "=" before it."""
    return name[1:] if name.startswith("=") else aliases.get(name, name)


def short_name(claim: str, aliases: Mapping[str, str] = ALIASES) -> str:
    """What a mapping document calls a claim: its alias, else its full name, behind "=" where that reads as something else."""
    if claim in aliases or claim.startswith("="):
        return f"={claim}"
    return next((alias for alias, name in aliases.items() if name == claim), claim)
