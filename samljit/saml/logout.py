"""What we send the IdP when people sign out: LogoutRequest and LogoutResponse by HTTP-Redirect (SAML core 3.7, profiles 4.4)."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from lxml import etree
from lxml.etree import _Element

from samljit.model import IdpSession, PendingRequest, Tenant
from samljit.saml.names import RESPONDER, SAML, SAMLP, SUCCESS, saml, samlp
from samljit.saml.redirect import redirect_to


def logout_request_url(
    tenant: Tenant, request: PendingRequest, session: IdpSession, *, signing_key: RSAPrivateKey | None = None
) -> str | None:
    """The IdP's address with a LogoutRequest for this session in it; None where the IdP offers no single logout.

    Signed where the tenant's requests are. Raises: ValueError where they cannot be for want of a key.
    """
    idp = tenant.idp
    if idp is None or idp.slo_url is None:
        return None
    root = _message("LogoutRequest", tenant, id=request.id, issued_at=request.issued_at, destination=idp.slo_url)
    name_id = session.name_id
    found = {"Format": name_id.format, "NameQualifier": name_id.name_qualifier, "SPNameQualifier": name_id.sp_name_qualifier}
    # As it came, qualifiers and all: some IdPs compare it with the one they gave (SAML core 3.7.3.1). Entra wants one and does not look
    etree.SubElement(root, saml("NameID"), {name: value for name, value in found.items() if value}).text = name_id.value
    if session.session_index is not None:
        etree.SubElement(root, samlp("SessionIndex")).text = session.session_index
    return redirect_to(idp.slo_url, bytes(etree.tostring(root)), key=_key(tenant, signing_key))


def logout_response_url(
    tenant: Tenant,
    *,
    in_response_to: str,
    relay_state: str | None,
    is_done: bool,
    now: datetime,
    signing_key: RSAPrivateKey | None = None,
) -> str | None:
    """The IdP's address with our answer to its LogoutRequest, whose RelayState goes back with it; None where the IdP wants none.

    Entra's logout endpoint takes no LogoutResponse, and says an error to the person who carries one (Entra: single-sign-out-saml-protocol).
    """
    idp = tenant.idp
    endpoint = (idp.slo_response_url or idp.slo_url) if idp is not None else None
    if endpoint is None or tenant.preset.startswith("entra"):
        return None
    root = _message("LogoutResponse", tenant, id=f"id{uuid4().hex}", issued_at=now, destination=endpoint)
    root.set("InResponseTo", in_response_to)
    status = etree.SubElement(root, samlp("Status"))
    etree.SubElement(status, samlp("StatusCode"), {"Value": SUCCESS if is_done else RESPONDER})
    xml = bytes(etree.tostring(root))
    key = _key(tenant, signing_key)
    return redirect_to(endpoint, xml, parameter="SAMLResponse", relay_state=relay_state, key=key)


def _message(name: str, tenant: Tenant, *, id: str, issued_at: datetime, destination: str) -> _Element:
    """A request or a response up to its Issuer: from configuration only, by an XML library (trust: 49)."""
    root = etree.Element(
        samlp(name),
        {"ID": id, "Version": "2.0", "IssueInstant": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"), "Destination": destination},
        nsmap={"samlp": SAMLP, "saml": SAML},
    )
    etree.SubElement(root, saml("Issuer")).text = tenant.entity_id
    return root


def _key(tenant: Tenant, signing_key: RSAPrivateKey | None) -> RSAPrivateKey | None:
    if not tenant.sign_requests:
        return None
    if signing_key is None:
        raise ValueError(f"tenant {tenant.slug} wants signed requests, and there is no key")
    return signing_key
