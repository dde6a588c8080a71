"""Requests to the IdP: IDs that authenticate themselves, and the AuthnRequest by HTTP-Redirect."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from lxml import etree

from samljit.errors import AssertionRejected, Reason
from samljit.model import PendingRequest, Purpose, Tenant
from samljit.saml.names import HTTP_POST, SAML, SAMLP, saml, samlp
from samljit.saml.redirect import redirect_to

REQUEST_LIFETIME = timedelta(minutes=15)

_VERSION = 1
_FORCE, _PASSIVE = 1, 4
_PURPOSES = {Purpose.SIGN_IN: 0, Purpose.TEST: 2, Purpose.LOGOUT: 8}  # bits of the flags; a request has one
_PURPOSE_BITS = 2 | 8
_HEAD = struct.Struct(">BBIQ16s")  # version, flags, draft revision, seconds, nonce
_MAC_BYTES = 16

# the first one is the Response's own, or the confirmation's where that has none; an ID in another spelling than ours is none of ours
_IN_RESPONSE_TO = re.compile(rb"""\sInResponseTo=["']([^"'<>]*)["']""")
_TEST_ID = re.compile(rb"id010[23][0-9a-f]+")  # of version 1, with the test flag


class RequestIds:
    """Makes and reads request IDs: `id` + hex of version, flags, draft revision, time, nonce and an HMAC that binds them to a tenant.

    Nothing is stored when a sign-in starts: an InResponseTo that carries a good HMAC is a request of ours, for this tenant, of that
    time. The first of `secrets` signs, all of them verify, so that SECRET_KEY can be rolled over.
    """

    def __init__(self, secret_keys: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(key, b"samljit.request-id.v1", "sha256") for key in secret_keys]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<{len(self._keys)} keys>)"

    def issue(
        self,
        tenant_id: UUID,
        *,
        now: datetime,
        purpose: Purpose = Purpose.SIGN_IN,
        draft_revision: int = 0,
        force_authn: bool = False,
        is_passive: bool = False,
    ) -> PendingRequest:
        """A new request. Its ID starts with a letter, as Entra demands (Entra: single-sign-on-saml-protocol)."""
        issued_at = now.replace(microsecond=0)
        nonce = secrets.token_bytes(16)
        flags = (_FORCE if force_authn else 0) | (_PASSIVE if is_passive else 0) | _PURPOSES[purpose]
        head = _HEAD.pack(_VERSION, flags, draft_revision, int(issued_at.timestamp()), nonce)
        return PendingRequest(
            id="id" + (head + _mac(self._keys[0], tenant_id, head)).hex(),
            nonce=nonce.hex(),
            issued_at=issued_at,
            purpose=purpose,
            draft_revision=draft_revision,
            force_authn=force_authn,
            is_passive=is_passive,
        )

    def read(self, unverified_id: str, *, tenant_id: UUID, now: datetime) -> PendingRequest:
        """What a request ID of ours says. Raises: AssertionRejected (request_unknown, request_expired)."""
        request = self.find(unverified_id, tenant_id=tenant_id)
        if request is None:
            raise AssertionRejected(Reason.REQUEST_UNKNOWN)
        if not request.issued_at <= now < request.issued_at + REQUEST_LIFETIME:
            raise AssertionRejected(Reason.REQUEST_EXPIRED)
        return request

    def find_test(self, unverified_id: str, *, tenant_id: UUID) -> PendingRequest | None:
        """The same for a request that was made for a test sign-in."""
        found = self.find(unverified_id, tenant_id=tenant_id)
        return found if found is not None and found.purpose is Purpose.TEST else None

    def find(self, unverified_id: str, *, tenant_id: UUID) -> PendingRequest | None:
        """The same whatever its age, or None where it is not one of ours for this tenant."""
        try:
            raw = bytes.fromhex(unverified_id.removeprefix("id"))
        except ValueError:
            return None
        if len(raw) != _HEAD.size + _MAC_BYTES:
            return None
        head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
        if not any(hmac.compare_digest(_mac(key, tenant_id, head), mac) for key in self._keys):
            return None
        if unverified_id != "id" + raw.hex():  # one spelling only: fromhex reads capitals and blanks too
            return None
        version, flags, draft_revision, seconds, nonce = _HEAD.unpack(head)
        purpose = next((one for one, bits in _PURPOSES.items() if bits == flags & _PURPOSE_BITS), None)
        if version != _VERSION or purpose is None:
            return None
        return PendingRequest(
            id=unverified_id,
            nonce=nonce.hex(),
            issued_at=datetime.fromtimestamp(seconds, tz=UTC),
            purpose=purpose,
            draft_revision=draft_revision,
            force_authn=bool(flags & _FORCE),
            is_passive=bool(flags & _PASSIVE),
        )


def _mac(key: bytes, tenant_id: UUID, head: bytes) -> bytes:
    return hmac.new(key, tenant_id.bytes + head, hashlib.sha256).digest()[:_MAC_BYTES]


def unverified_test_id(xml: bytes) -> str | None:
    """What may be the ID of a test request that a response answers, taken from its bytes as they came: nothing has been checked."""
    found = _IN_RESPONSE_TO.search(xml)
    return found[1].decode("ascii") if found and _TEST_ID.fullmatch(found[1]) else None


def build_authn_request(tenant: Tenant, request: PendingRequest) -> bytes:
    """The AuthnRequest as XML, as Entra wants it (single-sign-on-saml-protocol): from configuration only, by an XML library (trust: 49).

    No RequestedAuthnContext: asking for PasswordProtectedTransport is the best-known cause of AADSTS75011. No NameIDPolicy
    unless configured: the admin's choice in the portal rules.
    """
    idp = _idp(tenant)
    root = etree.Element(
        samlp("AuthnRequest"),
        {
            "ID": request.id,
            "Version": "2.0",
            "IssueInstant": request.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Destination": idp,
            "AssertionConsumerServiceURL": tenant.acs_url,
            "ProtocolBinding": HTTP_POST,
        },
        nsmap={"samlp": SAMLP, "saml": SAML},
    )
    if request.force_authn:
        root.set("ForceAuthn", "true")
    if request.is_passive:
        root.set("IsPassive", "true")
    etree.SubElement(root, saml("Issuer")).text = tenant.entity_id
    if tenant.name_id_format:
        etree.SubElement(root, samlp("NameIDPolicy"), Format=tenant.name_id_format)
    return bytes(etree.tostring(root))


def redirect_url(
    tenant: Tenant, request: PendingRequest, *, login_hint: str | None = None, signing_key: RSAPrivateKey | None = None
) -> str:
    """The IdP's sign-in address with the AuthnRequest in it, signed with our `signing_key` where the tenant asks for that.

    Raises: ValueError for a tenant without an IdP, and for one whose requests cannot be signed for want of a key.
    """
    if tenant.sign_requests and signing_key is None:
        raise ValueError(f"tenant {tenant.slug} wants signed requests, and there is no key")
    return redirect_to(
        _idp(tenant),
        build_authn_request(tenant, request),
        key=signing_key if tenant.sign_requests else None,
        beside={"login_hint": login_hint} if login_hint else None,
    )


def _idp(tenant: Tenant) -> str:
    if tenant.idp is None:
        raise ValueError(f"tenant {tenant.slug} is not connected")
    return tenant.idp.sso_url
