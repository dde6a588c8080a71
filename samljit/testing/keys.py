"""Key pairs for tests: RSA keys with the kind of self-signed certificate that Entra makes for a SAML app."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ENTRA_SUBJECT = "Microsoft Azure Federated SSO Certificate"
ENTRA_VALIDITY = timedelta(days=3 * 365)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private RSA key and a certificate of its public half."""

    private_key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def private_key_pem(self) -> bytes:
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_base64(self) -> str:
        """The certificate as XML signatures and metadata carry it: base64 of the DER bytes, in one line."""
        return base64.b64encode(self.certificate_der).decode()


def signing_key(name: str = "active", *, valid_from: datetime | None = None, valid_until: datetime | None = None) -> KeyPair:
    """The key pair of this name, the same RSA-2048 key for the life of the process: making one is slow.

    The certificate is Entra's: self-signed, three years. It begins a year before today unless `valid_from` (aware UTC) says
    otherwise, so that tests may place themselves some months back or ahead. Another `name` is another key.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = valid_from or min(today - timedelta(days=365), valid_until - ENTRA_VALIDITY if valid_until else today)
    return _named_pair(name, begins, valid_until or begins + ENTRA_VALIDITY)


def make_key_pair(*, common_name: str = ENTRA_SUBJECT, valid_from: datetime, valid_until: datetime, bits: int = 2048) -> KeyPair:
    """A fresh RSA key of `bits` bits with a self-signed certificate of these dates (aware UTC)."""
    return _certify(_new_key(bits), common_name=common_name, valid_from=valid_from, valid_until=valid_until)


@cache
def _named_pair(name: str, valid_from: datetime, valid_until: datetime) -> KeyPair:
    return _certify(_named_key(name), common_name=ENTRA_SUBJECT, valid_from=valid_from, valid_until=valid_until)


@cache
def _named_key(name: str) -> rsa.RSAPrivateKey:
    return _new_key(2048)


def _new_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _certify(key: rsa.RSAPrivateKey, *, common_name: str, valid_from: datetime, valid_until: datetime) -> KeyPair:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_until)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key, certificate)
