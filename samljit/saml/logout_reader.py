"""Reads what an IdP sends to the single logout service, and judges it: a LogoutRequest, or the answer to ours (trust: 52).

The order is that of responses: raw octets, gate and shape, then the signature if there is one, then what it says. An unsigned
LogoutRequest may be written by anybody: what it may do is for the caller to limit to the browser that carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from lxml.etree import _Element

from samljit.errors import AssertionRejected, LogoutRejected, Reason
from samljit.model import IdentityProvider, NameId, PendingRequest, Purpose, RequireSignature, Tenant
from samljit.saml.certificates import public_key
from samljit.saml.gate import check_ids, parse
from samljit.saml.names import ENTITY_FORMAT, PARTIAL_LOGOUT, SUCCESS, saml, samlp
from samljit.saml.reader import read_time, whole_seconds
from samljit.saml.redirected import RedirectedMessage, read_query, verify_redirected
from samljit.saml.request import RequestIds
from samljit.saml.shape import LOGOUT_REQUEST, LOGOUT_RESPONSE, check_shape
from samljit.saml.signature import Trust, TrustedKey

MESSAGE_LIFETIME = timedelta(minutes=5)  # from IssueInstant; a browser carries it straight here

_KINDS = {True: (samlp("LogoutRequest"), LOGOUT_REQUEST), False: (samlp("LogoutResponse"), LOGOUT_RESPONSE)}


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """The IdP's word that sessions of this person are over; without any `session_indexes`, all of them (SAML core 3.7.1).

    `usable_until` is how long a replay must be remembered. `relay_state` goes back with the answer, where one is wanted.
    """

    id: str
    name_id: NameId
    session_indexes: tuple[str, ...]
    is_signed: bool
    usable_until: datetime
    relay_state: str | None


@dataclass(frozen=True, slots=True)
class LogoutResponse:
    """The IdP's answer to a LogoutRequest of ours: whether all of it was done."""

    request: PendingRequest
    is_success: bool
    is_signed: bool


def read_logout(
    query: bytes, *, tenant: Tenant, requests: RequestIds, now: datetime, skew: timedelta
) -> LogoutRequest | LogoutResponse:
    """The message in a raw query string, for this tenant, now. Nothing is stored: replay is the store's to refuse.

    Raises: LogoutRejected and nothing else, whatever the query.
    """
    try:
        return _read(query, tenant=tenant, requests=requests, now=now, skew=skew)
    except AssertionRejected as error:
        raise LogoutRejected(error.reason, error.detail) from None


def _read(query: bytes, *, tenant: Tenant, requests: RequestIds, now: datetime, skew: timedelta) -> LogoutRequest | LogoutResponse:
    idp = tenant.idp
    if idp is None:
        raise AssertionRejected(Reason.TENANT_NOT_CONNECTED)
    message = read_query(query)
    root = parse(message.xml)
    tag, shape = _KINDS[message.is_request]
    if root.tag != tag:
        raise AssertionRejected(Reason.LOGOUT_MALFORMED, "another message than its parameter says")
    check_shape(root, shape)
    if root.get("Version") != "2.0":
        raise AssertionRejected(Reason.VERSION_UNSUPPORTED)
    check_ids([root.get("ID")])
    is_signed = verify_redirected(message, _trust(tenant, idp, now))
    _check_issuer(root, tenant, idp)
    _check_destination(root, tenant, is_signed=is_signed)
    ends = _check_times(root, now=whole_seconds(now), skew=skew)
    if message.is_request:
        return _request(root, message, is_signed=is_signed, usable_until=ends)
    return _response(root, is_signed=is_signed, tenant=tenant, requests=requests, now=now)


def _trust(tenant: Tenant, idp: IdentityProvider, now: datetime) -> Trust:
    keys = [TrustedKey(certificate, public_key(certificate)) for certificate in idp.certificates]
    return Trust(keys, RequireSignature.RESPONSE, now, accept_expired=tenant.accept_expired_certificates)


def _check_issuer(root: _Element, tenant: Tenant, idp: IdentityProvider) -> None:
    """Entra names itself otherwise here than in assertions: by its login host (Entra: single-sign-out-saml-protocol)."""
    expected = {idp.entity_id}
    if tenant.preset.startswith("entra") and tenant.entra_tenant_id is not None:
        host = urlsplit(idp.slo_url or idp.sso_url)
        expected.add(f"{host.scheme}://{host.netloc}/{tenant.entra_tenant_id.lower()}/")
    issuer = root.find(saml("Issuer"))
    if issuer is None or issuer.text not in expected or issuer.get("Format") not in (None, ENTITY_FORMAT):
        raise AssertionRejected(Reason.ISSUER_MISMATCH)


def _check_destination(root: _Element, tenant: Tenant, *, is_signed: bool) -> None:
    """Ours, byte for byte; a signed message must have it, or it could be carried to another service provider (SAML bindings 3.4.5.2)."""
    destination = root.get("Destination")
    if destination != tenant.sls_url and (is_signed or destination is not None):
        raise AssertionRejected(Reason.DESTINATION_MISMATCH)


def _check_times(root: _Element, *, now: datetime, skew: timedelta) -> datetime:
    """Made within the last five minutes, and not past its NotOnOrAfter. Gives until when it could be used."""
    issued = read_time(root.get("IssueInstant"), "IssueInstant")
    ends = issued + MESSAGE_LIFETIME
    if root.get("NotOnOrAfter") is not None:
        ends = min(ends, read_time(root.get("NotOnOrAfter"), "NotOnOrAfter"))
    if issued > now + skew:
        raise AssertionRejected(Reason.NOT_YET_VALID)
    if now >= ends + skew:
        raise AssertionRejected(Reason.EXPIRED)
    return ends + skew


def _request(root: _Element, message: RedirectedMessage, *, is_signed: bool, usable_until: datetime) -> LogoutRequest:
    name_id = root.find(saml("NameID"))
    assert name_id is not None  # the shape has made sure of it
    return LogoutRequest(
        id=root.get("ID") or "",
        name_id=NameId(name_id.text or "", name_id.get("Format"), name_id.get("NameQualifier"), name_id.get("SPNameQualifier")),
        session_indexes=tuple(found.text or "" for found in root.findall(samlp("SessionIndex"))),
        is_signed=is_signed,
        usable_until=usable_until,
        relay_state=message.relay_state,
    )


def _response(root: _Element, *, is_signed: bool, tenant: Tenant, requests: RequestIds, now: datetime) -> LogoutResponse:
    """It must name a LogoutRequest that we made for this tenant of late; that authenticates itself, as Entra's answer may be unsigned."""
    request = requests.read(root.get("InResponseTo") or "", tenant_id=tenant.id, now=now)
    if request.purpose is not Purpose.LOGOUT:
        raise AssertionRejected(Reason.REQUEST_UNKNOWN, f"made for {request.purpose}")
    codes = [code.get("Value") for code in root.iter(samlp("StatusCode"))]
    return LogoutResponse(request, is_success=codes[0] == SUCCESS and PARTIAL_LOGOUT not in codes, is_signed=is_signed)
