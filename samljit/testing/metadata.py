"""Federation metadata as Entra publishes it for one SAML app."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from lxml import etree

from samljit.testing.keys import KeyPair
from samljit.testing.signing import DS, Element, serialize, sign_element

MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
HTTP_REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
HTTP_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_FED = "http://docs.oasis-open.org/wsfed/federation/200706"
_AUTH = "http://docs.oasis-open.org/wsfed/authorization/200706"
_WSA = "http://www.w3.org/2005/08/addressing"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

_XMLSOAP_CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_OFFERED = (
    (f"{_XMLSOAP_CLAIMS}/name", "Name", "Mutable user name."),
    (f"{_XMLSOAP_CLAIMS}/nameidentifier", "Subject", "Subject identifier for this application."),
    (f"{_XMLSOAP_CLAIMS}/givenname", "Given Name", "First name."),
    (f"{_XMLSOAP_CLAIMS}/surname", "Surname", "Last name."),
    ("http://schemas.microsoft.com/identity/claims/displayname", "Display Name", "Display name."),
    ("http://schemas.microsoft.com/identity/claims/objectidentifier", "ObjectIdentifier", "Directory object id."),
    ("http://schemas.microsoft.com/identity/claims/tenantid", "TenantId", "Tenant id."),
    ("http://schemas.microsoft.com/identity/claims/identityprovider", "IdentityProvider", "Identity provider."),
    (f"{_XMLSOAP_CLAIMS}/emailaddress", "Email", "Email address."),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "Groups", "Group membership."),
    ("http://schemas.microsoft.com/claims/groups.link", "GroupsOverageClaim", "Issued when there are too many groups."),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "Role Claim", "Application roles."),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/wids", "RoleTemplate Id Claim", "Directory role template ids."),
)


def write_metadata(*, entity_id: str, sso_url: str, slo_url: str, keys: Sequence[KeyPair], signer: KeyPair) -> bytes:
    """The metadata document, with BOM and declaration, signed by `signer`.

    As in Entra's, all certificates stand in all three descriptors, in the order of `keys`; the two WS-Federation RoleDescriptors
    come before the IDPSSODescriptor. The certificates in it are the signer's own, so the signature adds no trust.
    """
    root = etree.Element(f"{{{MD}}}EntityDescriptor", nsmap={None: MD}, ID=f"_{uuid4()}", entityID=entity_id)
    wsfed_url = f"{sso_url.removesuffix('/saml2')}/wsfed"
    service = _role(root, "SecurityTokenServiceType", keys)
    _claim_types(service)
    _endpoint(service, "SecurityTokenServiceEndpoint", wsfed_url)
    _endpoint(service, "PassiveRequestorEndpoint", wsfed_url)
    application = _role(root, "ApplicationServiceType", keys)
    _endpoint(application, "TargetScopes", entity_id)
    _endpoint(application, "ApplicationServiceEndpoint", wsfed_url)
    _endpoint(application, "PassiveRequestorEndpoint", wsfed_url)
    idp = etree.SubElement(root, f"{{{MD}}}IDPSSODescriptor", protocolSupportEnumeration=SAMLP)
    _key_descriptors(idp, keys)
    etree.SubElement(idp, f"{{{MD}}}SingleLogoutService", Binding=HTTP_REDIRECT, Location=slo_url)
    etree.SubElement(idp, f"{{{MD}}}SingleSignOnService", Binding=HTTP_REDIRECT, Location=sso_url)
    etree.SubElement(idp, f"{{{MD}}}SingleSignOnService", Binding=HTTP_POST, Location=sso_url)
    sign_element(root, signer)
    return codecs.BOM_UTF8 + b'<?xml version="1.0" encoding="utf-8"?>' + serialize(root)


def _role(root: Element, kind: str, keys: Sequence[KeyPair]) -> Element:
    role = etree.SubElement(root, f"{{{MD}}}RoleDescriptor", nsmap={"xsi": _XSI, "fed": _FED})
    role.set(f"{{{_XSI}}}type", f"fed:{kind}")
    role.set("protocolSupportEnumeration", _FED)
    _key_descriptors(role, keys)
    return role


def _key_descriptors(descriptor: Element, keys: Sequence[KeyPair]) -> None:
    for key in keys:
        holder = etree.SubElement(descriptor, f"{{{MD}}}KeyDescriptor", use="signing")
        key_info = etree.SubElement(holder, f"{{{DS}}}KeyInfo", nsmap={None: DS})
        x509_data = etree.SubElement(key_info, f"{{{DS}}}X509Data")
        etree.SubElement(x509_data, f"{{{DS}}}X509Certificate").text = key.certificate_base64


def _claim_types(service: Element) -> None:
    offered = etree.SubElement(service, f"{{{_FED}}}ClaimTypesOffered")
    for uri, display_name, description in _OFFERED:
        claim_type = etree.SubElement(offered, f"{{{_AUTH}}}ClaimType", nsmap={"auth": _AUTH}, Uri=uri)
        etree.SubElement(claim_type, f"{{{_AUTH}}}DisplayName").text = display_name
        etree.SubElement(claim_type, f"{{{_AUTH}}}Description").text = description


def _endpoint(role: Element, name: str, url: str) -> None:
    holder = etree.SubElement(role, f"{{{_FED}}}{name}")
    reference = etree.SubElement(holder, f"{{{_WSA}}}EndpointReference", nsmap={"wsa": _WSA})
    etree.SubElement(reference, f"{{{_WSA}}}Address").text = url
