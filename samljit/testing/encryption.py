"""Encrypted assertions, made by xmlsec as IdPs make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

Element: TypeAlias = Any  # lxml ships no types

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
AES256_CBC = f"{XENC}aes256-cbc"
RSA_OAEP = f"{XENC}rsa-oaep-mgf1p"


@dataclass(frozen=True, slots=True)
class Encryption:
    """To whom (`certificate`, DER) and how: URIs of the data's and the key's algorithm, and of OAEP's digest where not SHA-1.

    The default is what Entra sends: AES-256-CBC, RSA-OAEP with SHA-1.
    """

    certificate: bytes = field(repr=False)
    data_algorithm: str = AES256_CBC
    key_algorithm: str = RSA_OAEP
    digest: str | None = None
    session_key_bits: int = 256


def encrypt_assertion(root: Element, assertion: Element, how: Encryption) -> None:
    """Replaces the assertion by an EncryptedAssertion, in place. Raises: xmlsec.Error."""
    place = root.index(assertion)
    data = _template(root, how)
    manager = xmlsec.KeysManager()
    certificate = x509.load_der_x509_certificate(how.certificate).public_bytes(Encoding.PEM)
    manager.add_key(xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem))
    context = xmlsec.EncryptionContext(manager)
    kind = xmlsec.constants.KeyDataDes if "tripledes" in how.data_algorithm else xmlsec.constants.KeyDataAes
    context.key = xmlsec.Key.generate(kind, how.session_key_bits, xmlsec.constants.KeyDataTypeSession)
    encrypted = context.encrypt_xml(data, assertion)
    wrapper = etree.Element(f"{{{SAML}}}EncryptedAssertion", nsmap={None: SAML})
    root.insert(place, wrapper)
    wrapper.append(encrypted)


def _template(root: Element, how: Encryption) -> Element:
    """EncryptedData with one inline EncryptedKey, its values empty."""
    data = etree.Element(f"{{{XENC}}}EncryptedData", {"Type": f"{XENC}Element"}, nsmap={"xenc": XENC})
    _add(data, XENC, "EncryptionMethod", Algorithm=how.data_algorithm)
    key = _add(etree.SubElement(data, f"{{{DS}}}KeyInfo", nsmap={None: DS}), XENC, "EncryptedKey")
    method = _add(key, XENC, "EncryptionMethod", Algorithm=how.key_algorithm)
    if how.digest is not None:
        _add(method, DS, "DigestMethod", Algorithm=how.digest)
    for element in (key, data):
        _add(_add(element, XENC, "CipherData"), XENC, "CipherValue")
    return data


def _add(parent: Element, namespace: str, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, f"{{{namespace}}}{name}", attributes)
