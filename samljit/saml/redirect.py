"""The HTTP-Redirect binding as a sender uses it: a message in a query string, signed where wanted (SAML bindings 3.4.4)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

Parameter = Literal["SAMLRequest", "SAMLResponse"]


def redirect_to(
    endpoint: str,
    xml: bytes,
    *,
    parameter: Parameter = "SAMLRequest",
    relay_state: str | None = None,
    key: RSAPrivateKey | None = None,
    beside: Mapping[str, str] | None = None,
) -> str:
    """The address that carries the message to the endpoint. With a `key`, it is signed with RSA-SHA256.

    What is signed is the query string itself: message, RelayState, SigAlg, in this order and encoded just so (3.4.4.1). `beside` are
    parameters that are no part of the binding (Entra's `login_hint`); they stand behind, and nothing covers them.
    """
    fields: dict[str, str] = {parameter: _pack(xml)}
    if relay_state is not None:
        fields["RelayState"] = relay_state
    if key is not None:
        fields["SigAlg"] = RSA_SHA256
    query = urlencode(fields, quote_via=quote)
    if key is not None:
        signature = key.sign(query.encode("ascii"), PKCS1v15(), SHA256())
        query += "&" + urlencode({"Signature": base64.b64encode(signature).decode("ascii")})
    if beside:
        query += "&" + urlencode(beside, quote_via=quote)
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"


def _pack(xml: bytes) -> str:
    """DEFLATE without a header, then base64 (3.4.4.1)."""
    packer = zlib.compressobj(wbits=-15)
    return base64.b64encode(packer.compress(xml) + packer.flush()).decode("ascii")
