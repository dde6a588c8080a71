"""SP metadata of one tenant, for Entra's "Upload metadata file" and other IdPs (trust: 49)."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from samljit.model import RequireSignature, Tenant
from samljit.saml.names import DS, HTTP_POST, MD, SAMLP, ds, md


def build_sp_metadata(tenant: Tenant, *, certificates: Sequence[bytes] = ()) -> bytes:
    """The EntityDescriptor as UTF-8 XML: from configuration only, valid against the SAML metadata schema.

    `certificates` are PEM; an IdP may encrypt to each of them, the current one first.

    WantAssertionsSigned is said aloud, because some IdPs sign nothing else without it (Azure AD B2C: saml-service-provider).
    """
    root = etree.Element(md("EntityDescriptor"), {"entityID": tenant.entity_id}, nsmap={None: MD})
    descriptor = etree.SubElement(
        root,
        md("SPSSODescriptor"),
        {
            "AuthnRequestsSigned": "false",
            "WantAssertionsSigned": "false" if tenant.require_signature is RequireSignature.RESPONSE else "true",
            "protocolSupportEnumeration": SAMLP,
        },
    )
    for certificate in certificates:
        key = etree.SubElement(descriptor, md("KeyDescriptor"), {"use": "encryption"})
        data = etree.SubElement(etree.SubElement(key, ds("KeyInfo"), nsmap={"ds": DS}), ds("X509Data"))
        etree.SubElement(data, ds("X509Certificate")).text = _base64(certificate)
    if tenant.name_id_format:
        etree.SubElement(descriptor, md("NameIDFormat")).text = tenant.name_id_format
    etree.SubElement(
        descriptor,
        md("AssertionConsumerService"),
        {"Binding": HTTP_POST, "Location": tenant.acs_url, "index": "0", "isDefault": "true"},
    )
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _base64(pem: bytes) -> str:
    return "".join(line for line in pem.decode("ascii").splitlines() if line and not line.startswith("-----"))
