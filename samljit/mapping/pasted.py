"""Claims as people write them down, to try a mapping on: JSON by the names that mapping documents use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from samljit.mapping.aliases import NAME_ID, claim_name

LONGEST = 64 * 1024
_COLON = re.compile(r":(?=\s|$)")  # names of claims hold colons too
_NO_XML = re.compile("[\x00\ud800-\udfff]")  # JSON can say them; no assertion can, and no database keeps them


class NotClaims(ValueError):
    """`str()` says what is wrong, and names the claim."""


def read_pasted(text: str, aliases: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], str]:
    """What `read_claims` gives, from text: one JSON object, or a line `name: value` for each value. Raises: NotClaims."""
    if len(text) > LONGEST:
        raise NotClaims(f"Is longer than {LONGEST} characters.")
    if text.lstrip().startswith("{"):
        try:
            return read_claims(json.loads(text), aliases)
        except (ValueError, RecursionError) as error:
            raise error if isinstance(error, NotClaims) else NotClaims("Is not JSON.") from None
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *value = _COLON.split(line, maxsplit=1) if _COLON.search(line) else line.split(":", 1)
        if not name.strip() or not value:
            raise NotClaims('Each line must be a claim and its value, such as "givenname: Adele".')
        found.setdefault(name.strip(), []).append(value[0].strip())
    return read_claims(found, aliases)


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
        if not all(isinstance(text, str) and not _NO_XML.search(text) for text in (name, *values)):
            raise NotClaims(f"{name!r} must be a text or a list of texts, as in SAML.")
        claims[claim_name(str(name), aliases)] = tuple(values)
    return claims, "".join(claims.pop(NAME_ID, ())[:1])
