"""Claims as people write them down, to try a mapping on: JSON by the names that mapping documents use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samljit.mapping.aliases import NAME_ID, claim_name


class NotClaims(ValueError):
    """`str()` says what is wrong, and names the claim."""


def read_claims(written: Any, aliases: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], str]:
    """The claims by their full names, and the NameID, "" without one. Raises: NotClaims.

    `written` is an object of texts and lists of texts, as in `{"givenname": "Adele", "groups": ["a", "b"], "NameID": "..."}`; `aliases`
    are the short names of claims of the tenant's preset.
    """
    if not isinstance(written, Mapping):
        raise NotClaims('Must be one JSON object, such as {"givenname": "Adele"}.')
    claims: dict[str, tuple[str, ...]] = {}
    for name, value in written.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in values):
            raise NotClaims(f"{name!r} must be a text or a list of texts, as in SAML.")
        claims[claim_name(str(name), aliases)] = tuple(values)
    return claims, "".join(claims.pop(NAME_ID, ())[:1])
