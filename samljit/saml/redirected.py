"""A message that came by HTTP-Redirect: taken from the query string as it was received, octet by octet (SAML bindings 3.4.4; trust: 52).

The signature covers the very octets that the IdP wrote, so the web framework's decoded parameters are no good: they could be encoded
again in another way than they came. Every parameter of the binding is there once, under its plain name, or the message is refused.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from samljit.errors import AssertionRejected, Reason
from samljit.saml.signature import SIGNATURE_ALGORITHMS, Trust, find_signer

MAX_QUERY = 256 * 1024  # bytes; web servers stop far below
MAX_XML = 128 * 1024  # bytes, inflated
MAX_RELAY_STATE = 512  # bytes

_DEFLATE = b"urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"
_MESSAGES = (b"SAMLRequest", b"SAMLResponse")
_OURS = frozenset({*_MESSAGES, b"RelayState", b"SigAlg", b"Signature", b"SAMLEncoding"})
_WHITE_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class RedirectedMessage:
    """One message, its XML inflated and nothing of it verified. `is_request` says in which parameter it came.

    `signed_octets` are what a signature must cover, None where there is no signature.
    """

    xml: bytes
    is_request: bool
    relay_state: str | None
    signed_octets: bytes | None
    algorithm: str = ""
    signature: bytes = b""


def read_query(query: bytes) -> RedirectedMessage:
    """The message in a raw query string. Raises: AssertionRejected (logout_malformed)."""
    raw = _split(query)
    [parameter] = [name for name in _MESSAGES if name in raw] if len(raw.keys() & set(_MESSAGES)) == 1 else [b""]
    if not parameter:
        raise _malformed("not one SAMLRequest or SAMLResponse")
    if _plain(raw.get(b"SAMLEncoding", _DEFLATE)) != _DEFLATE:
        raise _malformed("SAMLEncoding")
    if (b"SigAlg" in raw) is not (b"Signature" in raw):
        raise _malformed("SigAlg and Signature go together")
    is_signed = b"Signature" in raw
    signed = [name + b"=" + raw[name] for name in (parameter, b"RelayState", b"SigAlg") if name in raw]
    return RedirectedMessage(
        xml=_inflate(_decode(raw[parameter], parameter.decode())),
        is_request=parameter == b"SAMLRequest",
        relay_state=_relay_state(raw.get(b"RelayState")),
        signed_octets=b"&".join(signed) if is_signed else None,
        algorithm=_plain(raw.get(b"SigAlg", b"")).decode("ascii", "replace"),
        signature=_decode(raw[b"Signature"], "Signature") if is_signed else b"",
    )


def verify_redirected(message: RedirectedMessage, trust: Trust) -> bool:
    """Whether the message is signed by one of the keys. A signature that does not hold is refused, and not taken for none.

    Raises: AssertionRejected (algorithm_not_allowed, signature_invalid, certificate_expired).
    """
    if message.signed_octets is None:
        return False
    algorithm = SIGNATURE_ALGORITHMS.get(message.algorithm)
    if algorithm is None:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "SigAlg")
    find_signer(message.signature, message.signed_octets, algorithm=algorithm, trust=trust)
    return True


def _split(query: bytes) -> dict[bytes, bytes]:
    """The parameters of the binding, their values as received. Others are nobody's business."""
    if len(query) > MAX_QUERY:
        raise _malformed("length")
    found: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        plain = _plain(name)
        if plain not in _OURS:
            continue
        # a name that is encoded is one that our framework, a proxy and the IdP may each read differently
        if name != plain or plain in found:
            raise _malformed(f"{plain.decode()} twice, or encoded")
        found[plain] = value
    return found


def _plain(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _decode(value: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(_plain(value).translate(None, _WHITE_SPACE), validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"{what} is not base64") from None


def _inflate(packed: bytes) -> bytes:
    """Raw DEFLATE of one stream and nothing behind it, at most 128 KiB: a few bytes can hold gigabytes."""
    inflate = zlib.decompressobj(wbits=-15)
    try:
        xml = inflate.decompress(packed, MAX_XML + 1)
    except zlib.error:
        raise _malformed("not deflated") from None
    if len(xml) > MAX_XML or inflate.unconsumed_tail:
        raise _malformed("larger than 128 KiB")
    if not inflate.eof or inflate.unused_data:
        raise _malformed("cut off, or something behind it")
    return xml


def _relay_state(value: bytes | None) -> str | None:
    """What an answer to the IdP carries back, and nothing else is ever done with."""
    if value is None:
        return None
    plain = _plain(value)
    if len(plain) > MAX_RELAY_STATE:
        raise _malformed("RelayState")
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("RelayState") from None


def _malformed(detail: str) -> AssertionRejected:
    return AssertionRejected(Reason.LOGOUT_MALFORMED, detail)
