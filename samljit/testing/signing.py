"""XML signatures as Entra writes them, and on request as nobody should."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import xmlsec
from lxml import etree

from samljit.testing.keys import KeyPair

Element: TypeAlias = Any  # lxml ships no types

DS = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = f"{DS}enveloped-signature"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"


def sign_element(
    element: Element,
    key: KeyPair,
    *,
    signature_algorithm: str = RSA_SHA256,
    digest_algorithm: str = SHA256,
    certificates: Sequence[bytes] | None = None,
    inclusive_prefixes: Sequence[str] = (),
    prefix: str | None = None,
) -> None:
    """Signs an element that has an `ID`, in place, with an enveloped signature.

    A Signature that stands in it already is filled as it is: change it first to sign with odd transforms or references. Otherwise
    one is put after the Issuer, or first; see `add_signature` for the keywords. Raises: xmlsec.Error.
    """
    signature = element.find(f"{{{DS}}}Signature")
    if signature is None:
        signature = add_signature(
            element,
            certificates=[key.certificate_der] if certificates is None else certificates,
            signature_algorithm=signature_algorithm,
            digest_algorithm=digest_algorithm,
            inclusive_prefixes=inclusive_prefixes,
            prefix=prefix,
        )
    _fill(signature, element, key)


def add_signature(
    element: Element,
    *,
    certificates: Sequence[bytes],
    signature_algorithm: str = RSA_SHA256,
    digest_algorithm: str = SHA256,
    inclusive_prefixes: Sequence[str] = (),
    prefix: str | None = None,
) -> Element:
    """Puts an unsigned Signature after the element's Issuer, or first where it has none, and gives it.

    Algorithms are their URIs. `certificates` are DER and go into KeyInfo, which is left out where there are none. `prefix` is that
    of the Signature; Entra has none and declares the default namespace.
    """
    signature = etree.Element(f"{{{DS}}}Signature", nsmap={prefix: DS})
    info = etree.SubElement(signature, f"{{{DS}}}SignedInfo")
    etree.SubElement(info, f"{{{DS}}}CanonicalizationMethod", Algorithm=EXCLUSIVE_C14N)
    etree.SubElement(info, f"{{{DS}}}SignatureMethod", Algorithm=signature_algorithm)
    reference = etree.SubElement(info, f"{{{DS}}}Reference", URI=f"#{element.get('ID')}")
    transforms = etree.SubElement(reference, f"{{{DS}}}Transforms")
    etree.SubElement(transforms, f"{{{DS}}}Transform", Algorithm=ENVELOPED)
    exclusive = etree.SubElement(transforms, f"{{{DS}}}Transform", Algorithm=EXCLUSIVE_C14N)
    if inclusive_prefixes:
        tag = f"{{{EXCLUSIVE_C14N}}}InclusiveNamespaces"
        etree.SubElement(exclusive, tag, nsmap={"ec": EXCLUSIVE_C14N}, PrefixList=" ".join(inclusive_prefixes))
    etree.SubElement(reference, f"{{{DS}}}DigestMethod", Algorithm=digest_algorithm)
    etree.SubElement(reference, f"{{{DS}}}DigestValue")
    etree.SubElement(signature, f"{{{DS}}}SignatureValue")
    if certificates:
        x509_data = etree.SubElement(etree.SubElement(signature, f"{{{DS}}}KeyInfo"), f"{{{DS}}}X509Data")
        for certificate in certificates:
            etree.SubElement(x509_data, f"{{{DS}}}X509Certificate").text = base64.b64encode(certificate).decode()
    after_issuer = len(element) > 0 and etree.QName(element[0]).localname == "Issuer"
    element.insert(1 if after_issuer else 0, signature)
    return signature


def sign_templates(xml: bytes, key: KeyPair) -> bytes:
    """The document as Entra sends it: no white space between elements, and every Signature in it filled, innermost first.

    For messages that are kept as readable files with empty Signature elements.
    """
    root = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True, resolve_entities=False, no_network=True))
    for signature in reversed(list(root.iter(f"{{{DS}}}Signature"))):
        sign_element(signature.getparent(), key)
    return serialize(root)


def serialize(root: Element) -> bytes:
    """The bytes of a message: UTF-8 without an XML declaration."""
    written: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=False)
    return written


def _fill(signature: Element, element: Element, key: KeyPair) -> None:
    """KeyInfo waits outside meanwhile: no digest covers it, and xmlsec would rewrite the certificates in it."""
    key_info = signature.find(f"{{{DS}}}KeyInfo")
    if key_info is not None:
        signature.remove(key_info)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(key.private_key_pem, xmlsec.constants.KeyDataFormatPem)
    context.register_id(element, "ID")
    with _unbroken_base64():
        context.sign(signature)
    if key_info is not None:
        signature.append(key_info)
        x509_data = key_info.find(f"{{{DS}}}X509Data")
        if x509_data is not None and len(x509_data) == 0:
            etree.SubElement(x509_data, f"{{{DS}}}X509Certificate").text = key.certificate_base64


@contextmanager
def _unbroken_base64() -> Iterator[None]:
    """Entra writes base64 in one line. The digest's line breaks would be signed, so they cannot be taken out afterwards."""
    before = xmlsec.base64_default_line_size()
    xmlsec.base64_default_line_size(1 << 20)
    try:
        yield
    finally:
        xmlsec.base64_default_line_size(before)
