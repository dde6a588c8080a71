"""Logout messages as an IdP sends them by HTTP-Redirect: as Entra does, or signed, and on request as nobody should."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree

from samljit.testing.keys import KeyPair
from samljit.testing.messages import SAML, SAMLP
from samljit.testing.signing import RSA_SHA256, Element, serialize

SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_HASHES: dict[str, HashAlgorithm] = {
    "http://www.w3.org/2000/09/xmldsig#rsa-sha1": SHA1(),  # noqa: S303 - what must be refused has to be made
    RSA_SHA256: SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": SHA384(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": SHA512(),
}


@dataclass(frozen=True, slots=True)
class LogoutAsked:
    """What a service provider's LogoutRequest says. `is_signed` is whether a signature came along; it is not checked, as Entra's."""

    id: str
    issuer: str
    name_id: str = field(repr=False)
    session_indexes: tuple[str, ...]
    destination: str | None
    relay_state: str | None
    is_signed: bool


@dataclass(frozen=True, slots=True)
class LogoutSpec:
    """One logout message, value by value; None leaves a value out. A LogoutResponse where `in_response_to` is given, else a LogoutRequest.

    `key` signs the query string. `on_root` may change the XML before it is packed, and `on_query` the query string after it was signed.
    """

    logout_url: str
    id: str
    issue_instant: datetime
    issuer: str | None
    destination: str | None = None
    name_id: str | None = field(default=None, repr=False)
    name_id_format: str | None = None
    session_indexes: tuple[str, ...] = ()
    not_on_or_after: datetime | None = None
    in_response_to: str | None = None
    status: str = SUCCESS
    status_detail: str | None = None
    version: str = "2.0"
    relay_state: str | None = None
    key: KeyPair | None = None
    algorithm: str = RSA_SHA256
    on_root: Callable[[Element], None] | None = None
    on_query: Callable[[str], str] | None = None


def write_logout(spec: LogoutSpec) -> str:
    """The address that carries the message to the service provider."""
    root = _message(spec)
    if spec.on_root is not None:
        spec.on_root(root)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(serialize(root)) + packer.flush()
    fields = {"SAMLResponse" if spec.in_response_to else "SAMLRequest": base64.b64encode(packed).decode()}
    if spec.relay_state is not None:
        fields["RelayState"] = spec.relay_state
    query = urlencode(fields, quote_via=quote)
    if spec.key is not None:
        query += "&" + urlencode({"SigAlg": spec.algorithm}, quote_via=quote)
        query += "&" + urlencode({"Signature": base64.b64encode(_sign(query, spec.key, spec.algorithm)).decode()}, quote_via=quote)
    if spec.on_query is not None:
        query = spec.on_query(query)
    return f"{spec.logout_url}{'&' if '?' in spec.logout_url else '?'}{query}"


def _sign(query: str, pair: KeyPair, algorithm: str) -> bytes:
    key = load_pem_private_key(pair.private_key_pem, password=None)
    assert isinstance(key, RSAPrivateKey)
    return key.sign(query.encode(), PKCS1v15(), _HASHES[algorithm])


def _message(spec: LogoutSpec) -> Element:
    values = {
        "ID": spec.id,
        "Version": spec.version,
        "IssueInstant": _time(spec.issue_instant),
        "Destination": spec.destination,
        "InResponseTo": spec.in_response_to,
        "NotOnOrAfter": _time(spec.not_on_or_after) if spec.not_on_or_after else None,
    }
    name = "LogoutResponse" if spec.in_response_to else "LogoutRequest"
    attributes = {key: value for key, value in values.items() if value is not None}
    root = etree.Element(f"{{{SAMLP}}}{name}", attributes, nsmap={"samlp": SAMLP})
    if spec.issuer is not None:
        etree.SubElement(root, f"{{{SAML}}}Issuer", nsmap={None: SAML}).text = spec.issuer
    if spec.in_response_to:
        status = etree.SubElement(root, f"{{{SAMLP}}}Status")
        code = etree.SubElement(status, f"{{{SAMLP}}}StatusCode", Value=spec.status)
        if spec.status_detail is not None:
            etree.SubElement(code, f"{{{SAMLP}}}StatusCode", Value=spec.status_detail)
        return root
    if spec.name_id is not None:
        name_id = etree.SubElement(root, f"{{{SAML}}}NameID", nsmap={None: SAML})
        name_id.text = spec.name_id
        if spec.name_id_format is not None:
            name_id.set("Format", spec.name_id_format)
    for index in spec.session_indexes:
        etree.SubElement(root, f"{{{SAMLP}}}SessionIndex").text = index
    return root


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
