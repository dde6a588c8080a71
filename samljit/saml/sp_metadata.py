"""SP metadata of one tenant, for Entra's "Upload metadata file" and other IdPs (trust: 49)."""

from __future__ import annotations

from lxml import etree

from samljit.model import RequireSignature, Tenant
from samljit.saml.names import HTTP_POST, MD, SAMLP, md


def build_sp_metadata(tenant: Tenant) -> bytes:
    """The EntityDescriptor as UTF-8 XML: from configuration only, valid against the SAML metadata schema.

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
    if tenant.name_id_format:
        etree.SubElement(descriptor, md("NameIDFormat")).text = tenant.name_id_format
    etree.SubElement(
        descriptor,
        md("AssertionConsumerService"),
        {"Binding": HTTP_POST, "Location": tenant.acs_url, "index": "0", "isDefault": "true"},
    )
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))
