"""SP metadata of one tenant, for Entra's "Upload metadata file" and other IdPs (trust: 49)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from lxml import etree
from lxml.etree import _Element

from samljit.mapping.aliases import ACCT, IDENTITY_PROVIDER, NAME_ID, TENANT_ID, short_name
from samljit.mapping.presets import PRESETS
from samljit.model import Guests, RequireSignature, Tenant
from samljit.saml.names import DS, HTTP_POST, HTTP_REDIRECT, MD, PERSISTENT, SAMLP, URI_NAME, ds, md

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def build_sp_metadata(tenant: Tenant, *, certificates: Sequence[bytes] = ()) -> bytes:
    """The EntityDescriptor as UTF-8 XML: from configuration only, valid against the SAML metadata schema.

    `certificates` are PEM, the current one first. An IdP may encrypt to each of them, and find our requests signed with any of them where
    we sign: so the next one is known there before it is used.

    WantAssertionsSigned is said aloud, because some IdPs sign nothing else without it (Azure AD B2C: saml-service-provider).
    """
    root = etree.Element(md("EntityDescriptor"), {"entityID": tenant.entity_id}, nsmap={None: MD})
    descriptor = etree.SubElement(
        root,
        md("SPSSODescriptor"),
        {
            "AuthnRequestsSigned": "true" if tenant.sign_requests else "false",
            "WantAssertionsSigned": "false" if tenant.require_signature is RequireSignature.RESPONSE else "true",
            "protocolSupportEnumeration": SAMLP,
        },
    )
    for use in ("signing", "encryption") if tenant.sign_requests else ("encryption",):
        for certificate in certificates:
            _add_key(descriptor, certificate, use=use)
    if tenant.idp is None or tenant.idp.slo_url:  # not connected yet: each side needs the other's metadata first
        etree.SubElement(descriptor, md("SingleLogoutService"), {"Binding": HTTP_REDIRECT, "Location": tenant.sls_url})
    # Keycloak, SimpleSAMLphp and others send the format that stands here; people known by it had better get a lasting one
    name_id_format = tenant.name_id_format or (PERSISTENT if tenant.mapping.identity_source == NAME_ID else None)
    if name_id_format:
        etree.SubElement(descriptor, md("NameIDFormat")).text = name_id_format
    etree.SubElement(
        descriptor,
        md("AssertionConsumerService"),
        {"Binding": HTTP_POST, "Location": tenant.acs_url, "index": "0", "isDefault": "true"},
    )
    _add_requested_attributes(descriptor, tenant)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _add_key(descriptor: _Element, certificate: bytes, *, use: str) -> None:
    key = etree.SubElement(descriptor, md("KeyDescriptor"), {"use": use})
    data = etree.SubElement(etree.SubElement(key, ds("KeyInfo"), nsmap={"ds": DS}), ds("X509Data"))
    etree.SubElement(data, ds("X509Certificate")).text = _base64(certificate)


def _base64(pem: bytes) -> str:
    return "".join(line for line in pem.decode("ascii").splitlines() if line and not line.startswith("-----"))


def _add_requested_attributes(descriptor: _Element, tenant: Tenant) -> None:
    """What we read, so that an IdP's admin sees which claims to send (SAML metadata 2.4.4.1). Some IdPs send nothing else then.

    A name that is a URI is called one: pysaml2 looks an OID up by name and format, and Shibboleth compares both.
    """
    wanted = _claims_wanted(tenant)
    if not wanted:
        return
    service = etree.SubElement(descriptor, md("AttributeConsumingService"), {"index": "0", "isDefault": "true"})
    etree.SubElement(service, md("ServiceName"), {_LANGUAGE: "en"}).text = urlsplit(tenant.acs_url).hostname
    for name, is_required in wanted.items():
        attributes = {"Name": name, "isRequired": "true" if is_required else "false"}
        if ":" in name:
            attributes["NameFormat"] = URI_NAME
        friendly = short_name(name, PRESETS[tenant.preset].aliases)
        if friendly not in (name, f"={name}"):
            attributes["FriendlyName"] = friendly
        etree.SubElement(service, md("RequestedAttribute"), attributes)


def _claims_wanted(tenant: Tenant) -> dict[str, bool]:
    """The claims that are looked at, those of the mapping in its order, and whether nobody can sign in without them."""
    mapping = tenant.mapping
    wanted = {TENANT_ID: True} if tenant.entra_tenant_id else {}
    wanted[mapping.identity_source] = True
    for rule in mapping.fields:
        for claim in rule.claims:
            wanted[claim] = wanted.get(claim, False) or (rule.required and len(rule.claims) == 1)
    others = [mapping.roles.sources if mapping.roles else (), *(one.sources for one in mapping.policy.require)]
    others += [(ACCT, IDENTITY_PROVIDER)] if mapping.policy.guests is Guests.DENY else []
    for claim in (claim for sources in others for claim in sources):
        wanted.setdefault(claim, False)
    return {claim: is_required for claim, is_required in wanted.items() if claim not in ("", NAME_ID)}
