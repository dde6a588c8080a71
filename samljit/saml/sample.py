"""A response that somebody saved, read to try a mapping on. Never for signing in: times, audience and request are not looked at."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from samljit.errors import AssertionRejected, Reason
from samljit.model import NameId, Tenant
from samljit.saml.certificates import public_key
from samljit.saml.checks import read_claims
from samljit.saml.encryption import decrypt_response
from samljit.saml.gate import UnverifiedResponse, decode_response, parse, read_response
from samljit.saml.reader import read_assertion
from samljit.saml.signature import Trust, TrustedKey, verify_assertion, verify_envelope


@dataclass(frozen=True, slots=True)
class Sample:
    """What stands in a saved response. `unverified` says why it is no evidence of anything; None where a certificate of the tenant
    verified its signature."""

    claims: Mapping[str, tuple[str, ...]] = field(repr=False)
    name_id: NameId
    issuer: str
    unverified: Reason | None


def read_sample(data: bytes, *, tenant: Tenant, keys: Sequence[RSAPrivateKey], now: datetime) -> Sample:
    """Reads base64, as it is posted, or XML. `keys` are our own, for what is encrypted.

    Where a signature of the tenant's IdP holds, the claims are read from the bytes that it covers. Raises: AssertionRejected.
    """
    data = data.removeprefix(BOM_UTF8)  # an editor's; nothing that was posted has one
    xml = data.strip() if data.lstrip().startswith(b"<") else decode_response(data.decode("ascii", "replace"))
    response, plain = _plain(xml, keys, tenant=tenant)
    unverified: Reason | None = None
    try:
        content = _signed_bytes(response, tenant=tenant, now=now)
    except AssertionRejected as rejected:
        content, unverified = plain, rejected.reason
    assertion = read_assertion(content)
    return Sample(read_claims(assertion, tenant), assertion.name_id or NameId(""), assertion.issuer, unverified)


def _plain(xml: bytes, keys: Sequence[RSAPrivateKey], *, tenant: Tenant) -> tuple[UnverifiedResponse, bytes]:
    response = read_response(parse(xml), preset=tenant.preset)
    if response.encrypted is None:
        return response, xml
    plain = decrypt_response(xml, response.encrypted, keys=keys, allow_rsa15=tenant.allow_rsa15)
    inner = read_response(parse(plain), preset=tenant.preset)
    if inner.encrypted is not None:
        raise AssertionRejected(Reason.SHAPE_UNEXPECTED, "encrypted twice")
    return replace(response, assertion=inner.assertion, assertion_signature=inner.assertion_signature), plain


def _signed_bytes(response: UnverifiedResponse, *, tenant: Tenant, now: datetime) -> bytes:
    certificates = tenant.idp.certificates if tenant.idp else ()
    keys = [TrustedKey(certificate, public_key(certificate)) for certificate in certificates]
    # a sample may be old: a certificate that was good then tells as much about it
    trust = Trust(keys, tenant.require_signature, now, accept_expired=True)
    return verify_assertion(response, verify_envelope(response, trust), trust).canonical
