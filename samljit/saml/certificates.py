"""X.509 certificates that an IdP signs with: read, described, and held to what may be trusted."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from samljit.errors import Problem
from samljit.model import Certificate

SMALLEST_RSA_BITS = 2048
MOST_CERTIFICATES = 20  # of one IdP: any signature, also of somebody unknown, is tried with each

_BOM = b"\xef\xbb\xbf"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_REPLACE = "In Entra: SAML Certificates, New Certificate, make it active, then give us the new Federation Metadata XML."


class CertificateError(ValueError):
    """Bytes that are no certificate, or one that no signature may be checked with. `str()` is one plain sentence."""


def read_certificates(pem_or_der: bytes) -> tuple[Certificate, ...]:
    """All certificates in the bytes, in their order, each once: a PEM bundle, one DER, or one bare base64 as in SAML metadata.

    Key and dates are not judged here: see `usable_certificates`. Raises: CertificateError.
    """
    try:
        described = [_describe(certificate) for certificate in _load(pem_or_der)]
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("These are not the bytes of X.509 certificates (PEM, DER or base64).") from None
    return _each_once(described)


def public_key(certificate: Certificate) -> RSAPublicKey:
    """The RSA key of at least 2048 bits that the certificate binds (trust: 12). Raises: CertificateError."""
    try:
        key = x509.load_der_x509_certificate(certificate.der).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("The certificate's public key cannot be read.") from None
    if not isinstance(key, RSAPublicKey):
        raise CertificateError("The certificate's key is not an RSA key.")
    if key.key_size < SMALLEST_RSA_BITS:
        raise CertificateError(f"The certificate's RSA key has {key.key_size} bits; at least {SMALLEST_RSA_BITS} are needed.")
    return key


def usable_certificates(
    certificates: Iterable[Certificate], *, path: str, now: datetime
) -> tuple[tuple[Certificate, ...], list[Problem]]:
    """Those whose key may be trusted, each once, and what is wrong with the others, reported at `path`.

    A key that may not be trusted is a warning while another one is left, else a problem. One out of date is kept, with a warning:
    whether an expired certificate is accepted is the tenant's choice at sign-in, and must not stop the other tenants. Of more than
    `MOST_CERTIFICATES` none is taken.
    """
    usable: list[Certificate] = []
    unusable: list[str] = []
    different = _each_once(certificates)
    if len(different) > MOST_CERTIFICATES:
        text = f"There are {len(different)} certificates; an IdP may have {MOST_CERTIFICATES} at most."
        return (), [Problem(path, "too_many_certificates", text, "Give us those alone that it signs with now or will soon.")]
    for certificate in different:
        try:
            public_key(certificate)
        except CertificateError as error:
            unusable.append(f"{_name(certificate)}: {error}")
        else:
            usable.append(certificate)
    problems = [Problem(path, "certificate_unusable", text, _REPLACE, is_warning=bool(usable)) for text in unusable]
    if not usable and not unusable:
        problems.append(Problem(path, "certificate_missing", "There is no certificate to check signatures with.", _REPLACE))
    return tuple(usable), problems + _out_of_date(usable, path=path, now=now)


def read_usable_certificates(
    files: Sequence[bytes], *, path: str, now: datetime
) -> tuple[tuple[Certificate, ...], list[Problem]]:
    """The certificates of the files that an operator named, as `usable_certificates` finds them, and all problems.

    `path` is the JSON path of the list; a file that holds no certificate is an error at its own place in it.
    """
    certificates: list[Certificate] = []
    problems: list[Problem] = []
    for index, content in enumerate(files):
        try:
            certificates += read_certificates(content)
        except CertificateError as error:
            hint = 'In Entra: SAML Certificates, download "Certificate (Base64)".'
            problems.append(Problem(f"{path}[{index}]", "certificate_malformed", str(error), hint))
    if not certificates and problems:
        return (), problems
    usable, found = usable_certificates(certificates, path=path, now=now)
    return usable, problems + found


def _out_of_date(certificates: list[Certificate], *, path: str, now: datetime) -> list[Problem]:
    problems = []
    for certificate in certificates:
        if now > certificate.not_after:
            text = f"{_name(certificate)} expired on {certificate.not_after:%Y-%m-%d}."
            problems.append(Problem(path, "certificate_expired", text, _REPLACE, is_warning=True))
        elif now < certificate.not_before:
            text = f"{_name(certificate)} is not valid before {certificate.not_before:%Y-%m-%dT%H:%M:%SZ}."
            problems.append(Problem(path, "certificate_not_yet_valid", text, "Check this machine's clock.", is_warning=True))
    if certificates and len(problems) == len(certificates):
        text = "No certificate is in date: nobody of this tenant can sign in."
        problems.append(Problem(path, "no_certificate_in_date", text, _REPLACE, is_warning=True))
    return problems


def _load(data: bytes) -> list[x509.Certificate]:
    data = data.removeprefix(_BOM)
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    bare = b"".join(data.split())
    if _BASE64.fullmatch(bare):
        return [x509.load_der_x509_certificate(base64.b64decode(bare, validate=True))]
    return [x509.load_der_x509_certificate(data)]


def _describe(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        der=certificate.public_bytes(Encoding.DER),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _each_once(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    return tuple({certificate.fingerprint: certificate for certificate in certificates}.values())


def _name(certificate: Certificate) -> str:
    return f"Certificate {certificate.fingerprint[:16]} ({certificate.subject})"
