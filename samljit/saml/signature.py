"""What is signed, and by whom: verifies a signature and gives the canonical bytes that its digest covers (trust: 5 to 7, 12, 15).

Done with `cryptography` on the gated tree, apart from xmlsec, which python3-saml uses for its own verdict: the two share no code, and
only here is it known which certificate verified and which bytes were signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from lxml import etree
from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.model import Certificate, RequireSignature
from samljit.saml.gate import UnverifiedResponse
from samljit.saml.names import ENVELOPED, EXC_C14N

# allow-lists (trust: 6); SHA-1 is on none of them
SIGNATURE_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": hashes.SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": hashes.SHA384(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": hashes.SHA512(),
}
DIGEST_ALGORITHMS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}

UNKNOWN_KEY = "no configured certificate verifies"  # the detail that tells it from a message changed on its way

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_MAX_PREFIXES = 16
_PADDING = PKCS1v15()


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that this tenant's IdP may sign with, and the certificate it came in."""

    certificate: Certificate
    key: RSAPublicKey


@dataclass(frozen=True, slots=True)
class SignedContent:
    """The canonical bytes of the element that carries the assertion, as covered by a verified signature.

    The root is the Assertion, or the Response where only that is signed.
    """

    canonical: bytes
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class _Parts:
    """A Signature taken apart, algorithms checked. `signed_info` are the canonical bytes that the RSA signature covers."""

    signed_info: bytes
    signature: bytes
    signature_hash: hashes.HashAlgorithm
    digest: bytes
    digest_name: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """What the signatures of one response are held against."""

    keys: Sequence[TrustedKey]
    require: RequireSignature
    now: datetime
    accept_expired: bool


def verify_envelope(response: UnverifiedResponse, trust: Trust) -> SignedContent | None:
    """Verifies the Response's own signature; None where it has none and needs none.

    Before anything is decrypted: where this signature is required, nobody without the IdP's key learns from our answers, or from how
    long they take, what a ciphertext holds (XML Encryption 1.1, section 7.2). Raises: AssertionRejected (signature_missing,
    signature_shape, algorithm_not_allowed, signature_invalid, certificate_expired).
    """
    _check_presence(response, trust.require)
    outer = response.response_signature
    return None if outer is None else _verify(outer, response.root, trust)


def verify_assertion(response: UnverifiedResponse, envelope: SignedContent | None, trust: Trust) -> SignedContent:
    """Verifies the assertion's own signature, if it has one, and gives the bytes to read the assertion from.

    The assertion must be plain by now. Where it came encrypted and only the Response around it is signed, the `envelope`'s digest covers
    the ciphertext, and what was decrypted from that is read. Every signature present must hold, also one that is not required.
    Raises: AssertionRejected (as `verify_envelope`, and assertion_missing).
    """
    if response.assertion is None:
        raise AssertionRejected(Reason.ASSERTION_MISSING)
    _check_presence(response, trust.require)
    if response.assertion_signature is not None:
        return _verify(response.assertion_signature, response.assertion, trust)
    if envelope is None:
        raise AssertionRejected(Reason.SIGNATURE_MISSING)
    if response.encrypted is not None:
        return SignedContent(_canonical(response.assertion), envelope.certificate)
    return envelope


def unverified_fingerprint(response: UnverifiedResponse) -> str | None:
    """The SHA-256 of the certificate that a message says it was signed with, in lower-case hex: a hint for people, and no more."""
    for signature in (response.assertion_signature, response.response_signature):
        named = None if signature is None else signature.find(".//{*}X509Certificate")
        if named is not None:
            try:
                return hashlib.sha256(_decode(named)).hexdigest()
            except AssertionRejected:
                return None
    return None


def _check_presence(response: UnverifiedResponse, require: RequireSignature) -> None:
    """Whether all that must be signed is; of an assertion that is still encrypted that cannot be said yet."""
    outer, inner = response.response_signature is not None, response.assertion_signature is not None or response.assertion is None
    enough = {
        RequireSignature.ASSERTION_OR_RESPONSE: outer or inner,
        RequireSignature.ASSERTION: inner,
        RequireSignature.RESPONSE: outer,
        RequireSignature.BOTH: outer and inner,
    }[require]
    if not enough:
        raise AssertionRejected(Reason.SIGNATURE_MISSING)


def _verify(signature: _Element, element: _Element, trust: Trust) -> SignedContent:
    parts = _take_apart(signature, element)
    signer = find_signer(parts.signature, parts.signed_info, algorithm=parts.signature_hash, trust=trust)
    canonical = _canonical_without(signature, element, parts.prefixes)
    if not hmac.compare_digest(hashlib.new(parts.digest_name, canonical).digest(), parts.digest):
        raise AssertionRejected(Reason.SIGNATURE_INVALID, "digest")
    return SignedContent(canonical, signer.certificate)


def _take_apart(signature: _Element, element: _Element) -> _Parts:
    info = signature[0]  # by position, which the shape has made sure of
    method, reference = info[1], info[2]
    transforms = reference[0]
    if info[0].get("Algorithm") != EXC_C14N:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "CanonicalizationMethod")
    if reference.get("URI") != "#" + element.get("ID"):
        raise AssertionRejected(Reason.SIGNATURE_SHAPE, "Reference does not name its own parent")
    if [transform.get("Algorithm") for transform in transforms] != [ENVELOPED, EXC_C14N] or len(transforms[0]):
        raise AssertionRejected(Reason.SIGNATURE_SHAPE, "Transforms")
    signature_hash = SIGNATURE_ALGORITHMS.get(method.get("Algorithm"))
    if signature_hash is None:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "SignatureMethod")
    digest_name = DIGEST_ALGORITHMS.get(reference[1].get("Algorithm"))
    if digest_name is None:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "DigestMethod")
    return _Parts(
        signed_info=_canonical(info),
        signature=_decode(signature[1]),
        signature_hash=signature_hash,
        digest=_decode(reference[2]),
        digest_name=digest_name,
        prefixes=_read_prefixes(transforms[1]),
    )


def _read_prefixes(transform: _Element) -> tuple[str, ...]:
    """The PrefixList of exclusive C14N, which Okta and Shibboleth send (it keeps `xs` alive for xsi:type)."""
    if not len(transform):
        return ()
    prefixes = tuple((transform[0].get("PrefixList") or "").split())
    if len(prefixes) > _MAX_PREFIXES or not all(_PREFIX.fullmatch(prefix) for prefix in prefixes):
        raise AssertionRejected(Reason.SIGNATURE_SHAPE, "PrefixList")
    return prefixes


def _decode(element: _Element) -> bytes:
    try:
        return base64.b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise AssertionRejected(Reason.SIGNATURE_SHAPE, "not base64") from None


def find_signer(signature: bytes, octets: bytes, *, algorithm: hashes.HashAlgorithm, trust: Trust) -> TrustedKey:
    """The configured key whose RSA signature over `octets` this is. The certificate inside the message is never looked at (trust: 7).

    Entra's gallery validation demands that an expired certificate fails (Entra: validate-saml-single-sign-on-app-gallery).
    Raises: AssertionRejected (signature_invalid, certificate_expired).
    """
    out_of_date: TrustedKey | None = None
    for trusted in trust.keys:
        try:
            trusted.key.verify(signature, octets, _PADDING, algorithm)
        except InvalidSignature:
            continue
        if trust.accept_expired or trusted.certificate.is_in_date(trust.now):
            return trusted
        out_of_date = trusted  # a renewed certificate over the same key may follow
    if out_of_date:
        raise AssertionRejected(Reason.CERTIFICATE_EXPIRED, f"certificate {out_of_date.certificate.fingerprint[:16]}")
    raise AssertionRejected(Reason.SIGNATURE_INVALID, UNKNOWN_KEY)


def _canonical_without(signature: _Element, element: _Element, prefixes: tuple[str, ...]) -> bytes:
    """The enveloped-signature transform, then exclusive C14N: the very bytes that the digest was made of. Done on a copy."""
    if signature.getprevious() is None:
        raise AssertionRejected(Reason.SIGNATURE_SHAPE, "Signature does not follow the Issuer")
    copied, place = deepcopy(element), element.index(signature)
    issuer, removed = copied[place - 1], copied[place]
    # lxml takes the text behind an element away with it; the transform does not
    issuer.tail = (issuer.tail or "") + (removed.tail or "") or None
    copied.remove(removed)
    if prefixes and element.getparent() is not None:
        # a prefix of the list may be declared further up: lxml does not look there, and copies only what names need; so declare all
        # that is in scope here
        root = etree.Element(copied.tag, dict(copied.attrib), nsmap=element.nsmap)
        root.text = copied.text
        root.extend(list(copied))
        copied = root
    return _canonical(copied, prefixes=prefixes)


def _canonical(element: _Element, *, prefixes: tuple[str, ...] = ()) -> bytes:
    names = list(prefixes) or None
    return bytes(etree.tostring(element, method="c14n", exclusive=True, with_comments=False, inclusive_ns_prefixes=names))
