"""The validator: bytes of a stranger in, an Assertion or a refusal out. The order of the steps is the argument.

gate (no cryptography) -> our check of the Response's signature -> decryption -> our check of the assertion's -> the assertion read from
the signed bytes -> our checks -> python3-saml's verdict.
Nobody without the IdP's key gets a message as far as python3-saml.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.model import Assertion, IdentityProvider, NameId, PendingRequest, Tenant
from samljit.saml import checks
from samljit.saml.certificates import public_key
from samljit.saml.encryption import decrypt_response
from samljit.saml.gate import UnverifiedResponse, parse, read_response
from samljit.saml.library import Library
from samljit.saml.names import saml
from samljit.saml.reader import read_assertion
from samljit.saml.request import RequestIds
from samljit.saml.signature import (
    UNKNOWN_KEY,
    SignedContent,
    Trust,
    TrustedKey,
    unverified_fingerprint,
    verify_assertion,
    verify_envelope,
)
from samljit.tested import Check, Trace

_MARGIN = timedelta(minutes=5)  # how much longer than an assertion is usable its use is remembered
_PREPARED_TENANTS = 1000


class _Prepared:
    """What is the same for every response of one tenant revision: loaded keys and the library's settings."""

    def __init__(self, tenant: Tenant, idp: IdentityProvider) -> None:
        self.keys = tuple(TrustedKey(certificate, public_key(certificate)) for certificate in idp.certificates)
        self.library = Library(tenant)


@dataclass(frozen=True, slots=True)
class _Case:
    """One response whose signature holds, and what it is judged by."""

    tenant: Tenant
    idp: IdentityProvider
    now: datetime
    test: PendingRequest | None
    facts: checks.ResponseFacts
    trace: Trace
    is_encrypted: bool


class Validator:
    """Validates responses for all tenants of one app.

    `skew` is how far our clock and the IdP's may differ, five minutes at most. `decryption_keys` are our own, the current and older
    ones. Keeps the prepared keys of up to 1000 tenants.
    """

    def __init__(self, *, requests: RequestIds, skew: timedelta, decryption_keys: Sequence[RSAPrivateKey] = ()) -> None:
        self._requests = requests
        self._decryption_keys = tuple(decryption_keys)
        self._skew = skew
        self._prepared: OrderedDict[tuple[UUID, str], _Prepared] = OrderedDict()
        self._lock = Lock()

    def validate(
        self, xml: bytes, *, tenant: Tenant, now: datetime, test: PendingRequest | None = None, trace: Trace | None = None
    ) -> Assertion:
        """The assertion that `tenant`'s IdP made for us, valid now. Nothing is stored: replay is the store's to refuse.

        With `test`, the assertion answers that test request, and nothing else does; without, it never answers one. What is done is
        written into `trace`.
        Raises: AssertionRejected and nothing else, whatever the bytes. `verified` is set once a signature was; the InResponseTo that
        was read rides along as `unverified_request_id`.
        """
        idp, trace = _get_idp(tenant), trace or Trace()
        trace.begin(Check.SHAPE)
        root = parse(xml)
        request_id, verified = root.get("InResponseTo"), False
        try:
            response = read_response(root, preset=tenant.preset)
            if tenant.require_encryption and response.encrypted is None:
                trace.begin(Check.DECRYPTION)
                raise AssertionRejected(Reason.ENCRYPTION_MISSING)
            prepared = self._prepare(tenant, idp)
            trust = Trust(prepared.keys, tenant.require_signature, now, accept_expired=tenant.accept_expired_certificates)
            content, plain = self._verify(xml, response, trust, tenant=tenant, trace=trace)
            verified = True
            case = _Case(tenant, idp, now, test, _read_facts(response), trace, is_encrypted=response.encrypted is not None)
            assertion = self._judge(content, case)
            trace.begin(Check.LIBRARY)
            prepared.library.check(root, plain=plain, request_id=assertion.request.id if assertion.request else None)
            return assertion
        except AssertionRejected as error:
            error.verified = verified
            error.unverified_request_id = request_id
            raise

    def _verify(
        self, xml: bytes, response: UnverifiedResponse, trust: Trust, *, tenant: Tenant, trace: Trace
    ) -> tuple[SignedContent, _Element]:
        """The signed bytes, and the tree of the response with a plain assertion."""
        trace.begin(Check.SIGNATURE)
        try:
            envelope = verify_envelope(response, trust)
            if response.encrypted is not None:
                trace.begin(Check.DECRYPTION)
            response, plain = self._decrypt(xml, response, tenant)
            trace.begin(Check.SIGNATURE)
            return verify_assertion(response, envelope, trust), plain
        except AssertionRejected as error:
            if error.reason is Reason.SIGNATURE_INVALID and error.detail == UNKNOWN_KEY:
                ours = ", ".join(trusted.certificate.fingerprint for trusted in trust.keys)
                error.contrast = (ours, unverified_fingerprint(response) or "")
            raise

    def _decrypt(self, xml: bytes, response: UnverifiedResponse, tenant: Tenant) -> tuple[UnverifiedResponse, _Element]:
        """The response with a plain assertion, and its tree. What was decrypted passes the gate like anything else (trust: 9)."""
        if response.encrypted is None:
            return response, response.root
        plain = decrypt_response(xml, response.encrypted, keys=self._decryption_keys, allow_rsa15=tenant.allow_rsa15)
        try:
            inner = read_response(parse(plain), preset=tenant.preset)
        except AssertionRejected as error:
            if error.reason in (Reason.XML_MALFORMED, Reason.XML_FORBIDDEN, Reason.XML_LIMITS):
                raise AssertionRejected(Reason.DECRYPTION_FAILED) from None  # a wrong key may decrypt to anything
            raise
        if inner.encrypted is not None:
            raise AssertionRejected(Reason.SHAPE_UNEXPECTED, "encrypted twice")
        return replace(response, assertion=inner.assertion, assertion_signature=inner.assertion_signature), inner.root

    def _judge(self, content: SignedContent, case: _Case) -> Assertion:
        tenant, facts, trace, now = case.tenant, case.facts, case.trace, case.now
        trace.begin(Check.CONTENT)
        signed = read_assertion(content.canonical)
        if case.is_encrypted:
            # Our key opens what was encrypted to any tenant, and a draft may name any IdP: before anything of it is shown to this tenant's
            # admin it must be for this tenant, by the one value that no document of theirs can change
            trace.begin(Check.REPLY_URL)
            checks.check_confirmation(signed, tenant)
        trace.name_id = signed.name_id
        trace.begin(Check.ISSUER)
        checks.check_issuer(facts, signed, case.idp)
        trace.begin(Check.CLAIMS)
        claims = trace.claims = checks.read_claims(signed, tenant)
        trace.begin(Check.DIRECTORY)
        checks.check_tenant(claims, tenant)
        trace.begin(Check.REPLY_URL)
        checks.check_destination(facts, tenant)
        confirmation = checks.check_confirmation(signed, tenant)
        trace.begin(Check.AUDIENCE)
        checks.check_audience(signed, tenant)
        trace.begin(Check.TIMES)
        validity = checks.check_times(facts, signed, confirmation, now=now, skew=self._skew)
        trace.begin(Check.NAME_ID)
        checks.check_name_id(signed)
        trace.begin(Check.REQUEST)
        request = checks.check_request(
            facts,
            confirmation,
            authn_instant=validity.authn_instant,
            requests=self._requests,
            tenant=tenant,
            now=now,
            test=case.test,
        )
        return Assertion(
            id=signed.id,
            hash=hashlib.sha256(signed.id.encode()).hexdigest(),
            issuer=signed.issuer,
            name_id=signed.name_id or NameId(""),
            claims=claims,
            request=request,
            usable_until=validity.not_on_or_after + self._skew + _MARGIN,
            authn_instant=validity.authn_instant,
            session_index=signed.session_index,
            session_not_on_or_after=validity.session_not_on_or_after,
            authn_context=signed.authn_context,
            certificate_fingerprint=content.certificate.fingerprint,
        )

    def _prepare(self, tenant: Tenant, idp: IdentityProvider) -> _Prepared:
        key = (tenant.id, tenant.revision)
        with self._lock:
            if key in self._prepared:
                self._prepared.move_to_end(key)
                return self._prepared[key]
        prepared = _Prepared(tenant, idp)
        with self._lock:
            self._prepared[key] = prepared
            while len(self._prepared) > _PREPARED_TENANTS:
                self._prepared.popitem(last=False)
        return prepared


def _get_idp(tenant: Tenant) -> IdentityProvider:
    if tenant.idp is None or not tenant.idp.certificates:
        raise ValueError(f"tenant {tenant.slug} is not connected")
    return tenant.idp


def _read_facts(response: UnverifiedResponse) -> checks.ResponseFacts:
    root: _Element = response.root
    issuer = root.find(saml("Issuer"))
    return checks.ResponseFacts(
        destination=root.get("Destination"),
        in_response_to=root.get("InResponseTo"),
        issue_instant=root.get("IssueInstant"),
        issuer=None if issuer is None else issuer.text or "",
        issuer_format=None if issuer is None else issuer.get("Format"),
    )
