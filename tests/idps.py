"""Responses as IdPs other than Entra write them: prefixes, order, KeyInfo, types and names of each, really signed.

Made after responses of these products that were published by people who had trouble with them, and after the products' documentation;
nothing in them is anybody's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4
from xml.sax.saxutils import escape, quoteattr

from samljit.testing import KeyPair, sign_templates
from samljit.testing.messages import format_time

PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
BASIC = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"
URI = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"

P, A, DS = "urn:oasis:names:tc:SAML:2.0:protocol", "urn:oasis:names:tc:SAML:2.0:assertion", "http://www.w3.org/2000/09/xmldsig#"
_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
_CONSENT = "urn:oasis:names:tc:SAML:2.0:consent:unspecified"
_PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a response is to say, whoever writes it. `request_id` is None where nobody has asked."""

    issuer: str
    acs: str
    audience: str
    request_id: str | None
    name_id: str
    name_id_format: str
    claims: Mapping[str, tuple[str, ...]]
    now: datetime
    key: KeyPair
    response_id: str
    assertion_id: str

    @property
    def at(self) -> str:
        return format_time(self.now)

    def after(self, **span: float) -> str:
        return format_time(self.now + timedelta(**span))

    @property
    def in_response_to(self) -> str:
        return "" if self.request_id is None else f' InResponseTo="{self.request_id}"'


def new_ids() -> dict[str, str]:
    return {"response_id": f"_{uuid4().hex}", "assertion_id": f"_{uuid4().hex}"}


def _signature(prefix: str, of: str, key_info: str, *, inclusive: str = "", number: str | None = None) -> str:
    """A Signature still empty, for `sign_templates`."""
    p, declared = (f"{prefix}:", f"xmlns:{prefix}") if prefix else ("", "xmlns")
    numbered = f' Id="{number}"' if number else ""
    listed = f'<ec:InclusiveNamespaces xmlns:ec="{_C14N}" PrefixList="{inclusive}"/>' if inclusive else ""
    return (
        f'<{p}Signature {declared}="{DS}"{numbered}><{p}SignedInfo><{p}CanonicalizationMethod Algorithm="{_C14N}"/>'
        f'<{p}SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><{p}Reference URI="#{of}"><{p}Transforms>'
        f'<{p}Transform Algorithm="{DS}enveloped-signature"/><{p}Transform Algorithm="{_C14N}">{listed}</{p}Transform></{p}Transforms>'
        f'<{p}DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><{p}DigestValue/></{p}Reference></{p}SignedInfo>'
        f"<{p}SignatureValue/>{key_info}</{p}Signature>"
    )


def _certificate(prefix: str, key: KeyPair, *, before: str = "") -> str:
    p = f"{prefix}:"
    return f"<{p}X509Data>{before}<{p}X509Certificate>{key.certificate_base64}</{p}X509Certificate></{p}X509Data>"


def _typed(name: str) -> str:
    return f' {_XS} xsi:type="{name}"'


def _values(claim: tuple[str, ...], prefix: str, attributes: str = "") -> str:
    return "".join(f"<{prefix}AttributeValue{attributes}>{escape(value)}</{prefix}AttributeValue>" for value in claim)


def adfs(a: Answer) -> bytes:
    """AD FS: Consent, default namespaces but for ds, a KeyInfo that changes its prefix, attributes before the authentication."""
    claims = "".join(f"<Attribute Name={quoteattr(name)}>{_values(values, '')}</Attribute>" for name, values in a.claims.items())
    key_info = f'<KeyInfo xmlns="{DS}">{_certificate("ds", a.key)}</KeyInfo>'
    xml = (
        f'<samlp:Response ID="{a.response_id}" Version="2.0" IssueInstant="{a.at}" Destination="{a.acs}" Consent="{_CONSENT}"'
        f'{a.in_response_to} xmlns:samlp="{P}"><Issuer xmlns="{A}">{a.issuer}</Issuer>'
        f'<samlp:Status><samlp:StatusCode Value="{_SUCCESS}"/></samlp:Status>'
        f'<Assertion ID="{a.assertion_id}" IssueInstant="{a.at}" Version="2.0" xmlns="{A}"><Issuer>{a.issuer}</Issuer>'
        f"{_signature('ds', a.assertion_id, key_info)}"
        f'<Subject><NameID Format="{a.name_id_format}">{escape(a.name_id)}</NameID><SubjectConfirmation Method="{_BEARER}">'
        f'<SubjectConfirmationData{a.in_response_to} NotOnOrAfter="{a.after(minutes=5)}" Recipient="{a.acs}"/></SubjectConfirmation>'
        "</Subject>"
        f'<Conditions NotBefore="{a.at}" NotOnOrAfter="{a.after(hours=1)}"><AudienceRestriction><Audience>{a.audience}</Audience>'
        f"</AudienceRestriction></Conditions><AttributeStatement>{claims}</AttributeStatement>"
        f'<AuthnStatement AuthnInstant="{a.after(seconds=-1)}" SessionIndex="{a.assertion_id}"><AuthnContext>'
        f"<AuthnContextClassRef>{_PASSWORD}</AuthnContextClassRef></AuthnContext></AuthnStatement></Assertion></samlp:Response>"
    )
    return sign_templates(xml.encode(), a.key)


def okta(a: Answer) -> bytes:
    """Okta: saml2p and saml2, Response and assertion both signed, PrefixList="xs", Issuers that say they are entities."""
    claims = "".join(
        f'<saml2:Attribute Name={quoteattr(name)} NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified">'
        + _values(values, "saml2:", _typed("xs:string"))
        + "</saml2:Attribute>"
        for name, values in a.claims.items()
    )
    key_info = f"<ds:KeyInfo>{_certificate('ds', a.key)}</ds:KeyInfo>"
    xml = (
        f'<saml2p:Response Destination="{a.acs}" ID="{a.response_id}"{a.in_response_to} IssueInstant="{a.at}" Version="2.0" '
        f'xmlns:saml2p="{P}" xmlns:xs="http://www.w3.org/2001/XMLSchema"><saml2:Issuer Format="{ENTITY}" xmlns:saml2="{A}">{a.issuer}'
        f"</saml2:Issuer>{_signature('ds', a.response_id, key_info, inclusive='xs')}"
        f'<saml2p:Status xmlns:saml2p="{P}"><saml2p:StatusCode Value="{_SUCCESS}"/></saml2p:Status>'
        f'<saml2:Assertion ID="{a.assertion_id}" IssueInstant="{a.at}" Version="2.0" xmlns:saml2="{A}" '
        f'xmlns:xs="http://www.w3.org/2001/XMLSchema"><saml2:Issuer Format="{ENTITY}" xmlns:saml2="{A}">{a.issuer}</saml2:Issuer>'
        f"{_signature('ds', a.assertion_id, key_info, inclusive='xs')}"
        f'<saml2:Subject xmlns:saml2="{A}"><saml2:NameID Format="{a.name_id_format}">{escape(a.name_id)}</saml2:NameID>'
        f'<saml2:SubjectConfirmation Method="{_BEARER}"><saml2:SubjectConfirmationData{a.in_response_to} '
        f'NotOnOrAfter="{a.after(minutes=5)}" Recipient="{a.acs}"/></saml2:SubjectConfirmation></saml2:Subject>'
        f'<saml2:Conditions NotBefore="{a.after(minutes=-5)}" NotOnOrAfter="{a.after(minutes=5)}" xmlns:saml2="{A}">'
        f"<saml2:AudienceRestriction><saml2:Audience>{a.audience}</saml2:Audience></saml2:AudienceRestriction></saml2:Conditions>"
        f'<saml2:AuthnStatement AuthnInstant="{a.at}" SessionIndex="{a.request_id or a.assertion_id}" xmlns:saml2="{A}">'
        f"<saml2:AuthnContext><saml2:AuthnContextClassRef>{_PASSWORD}</saml2:AuthnContextClassRef></saml2:AuthnContext>"
        f'</saml2:AuthnStatement><saml2:AttributeStatement xmlns:saml2="{A}">{claims}</saml2:AttributeStatement></saml2:Assertion>'
        f"</saml2p:Response>"
    )
    return b'<?xml version="1.0" encoding="UTF-8"?>' + sign_templates(xml.encode(), a.key)


def google(a: Answer) -> bytes:
    """Google Workspace: values of xs:anyType, the certificate's subject in KeyInfo, a declaration with standalone."""
    claims = "".join(
        f"<saml2:Attribute Name={quoteattr(name)}>{_values(values, 'saml2:', _typed('xs:anyType'))}</saml2:Attribute>"
        for name, values in a.claims.items()
    )
    subject = "<ds:X509SubjectName>ST=California,C=US,OU=Google For Work,CN=Google,L=Mountain View,O=Google Inc.</ds:X509SubjectName>"
    key_info = f"<ds:KeyInfo>{_certificate('ds', a.key, before=subject)}</ds:KeyInfo>"
    xml = (
        f'<saml2p:Response xmlns:saml2p="{P}" Destination="{a.acs}" ID="{a.response_id}"{a.in_response_to} IssueInstant="{a.at}" '
        f'Version="2.0"><saml2:Issuer xmlns:saml2="{A}">{a.issuer}</saml2:Issuer>'
        f'<saml2p:Status><saml2p:StatusCode Value="{_SUCCESS}"></saml2p:StatusCode></saml2p:Status>'
        f'<saml2:Assertion xmlns:saml2="{A}" ID="{a.assertion_id}" IssueInstant="{a.at}" Version="2.0">'
        f"<saml2:Issuer>{a.issuer}</saml2:Issuer>{_signature('ds', a.assertion_id, key_info)}"
        f'<saml2:Subject><saml2:NameID Format="{a.name_id_format}">{escape(a.name_id)}</saml2:NameID>'
        f'<saml2:SubjectConfirmation Method="{_BEARER}"><saml2:SubjectConfirmationData{a.in_response_to} '
        f'NotOnOrAfter="{a.after(minutes=5)}" Recipient="{a.acs}"></saml2:SubjectConfirmationData></saml2:SubjectConfirmation>'
        f'</saml2:Subject><saml2:Conditions NotBefore="{a.after(minutes=-5)}" NotOnOrAfter="{a.after(minutes=5)}">'
        f"<saml2:AudienceRestriction><saml2:Audience>{a.audience}</saml2:Audience></saml2:AudienceRestriction></saml2:Conditions>"
        f"<saml2:AttributeStatement>{claims}</saml2:AttributeStatement>"
        f'<saml2:AuthnStatement AuthnInstant="{a.after(hours=-2)}" SessionIndex="{a.assertion_id}"><saml2:AuthnContext>'
        "<saml2:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml2:AuthnContextClassRef>"
        "</saml2:AuthnContext></saml2:AuthnStatement></saml2:Assertion></saml2p:Response>"
    )
    return b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>' + sign_templates(xml.encode(), a.key)


def key_value(key: KeyPair, prefix: str = "dsig:") -> str:
    """The public key in the open, as Keycloak writes it beside the certificate."""
    numbers = key.private_key.public_key().public_numbers()
    modulus, exponent = (base64.b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).decode() for n in (numbers.n, numbers.e))
    p = prefix
    inner = f"<{p}Modulus>{modulus}</{p}Modulus><{p}Exponent>{exponent}</{p}Exponent>"
    return f"<{p}KeyValue><{p}RSAKeyValue>{inner}</{p}RSAKeyValue></{p}KeyValue>"


_FRIENDLY = {"urn:oid:1.2.840.113549.1.9.1": "email", "urn:oid:2.5.4.42": "givenName", "urn:oid:2.5.4.4": "surname"}


def keycloak(a: Answer) -> bytes:
    """Keycloak: the Response signed with the prefix dsig, KeyName and KeyValue beside the certificate, an Attribute for each role."""
    claims = ""
    for name, values in a.claims.items():
        friendly = f' FriendlyName="{_FRIENDLY[name]}"' if name in _FRIENDLY else ""
        head = f'<saml:Attribute{friendly} Name={quoteattr(name)} NameFormat="{URI if friendly else BASIC}">'
        claims += "".join(f"{head}{_values((value,), 'saml:', _typed('xs:string'))}</saml:Attribute>" for value in values)
    name = "<dsig:KeyName>L2GoMcKbzJpUwY_XsJzA1SuH06bBDuWXOxfIWrfA900</dsig:KeyName>"
    key_info = f"<dsig:KeyInfo>{name}{_certificate('dsig', a.key)}{key_value(a.key)}</dsig:KeyInfo>"
    session = f"{uuid4()}::{uuid4()}"
    xml = (
        f'<samlp:Response xmlns:samlp="{P}" xmlns:saml="{A}" Destination="{a.acs}" ID="{a.response_id}"{a.in_response_to} '
        f'IssueInstant="{a.at}" Version="2.0"><saml:Issuer>{a.issuer}</saml:Issuer>{_signature("dsig", a.response_id, key_info)}'
        f'<samlp:Status><samlp:StatusCode Value="{_SUCCESS}"/></samlp:Status>'
        f'<saml:Assertion xmlns="{A}" ID="{a.assertion_id}" IssueInstant="{a.at}" Version="2.0"><saml:Issuer>{a.issuer}</saml:Issuer>'
        f'<saml:Subject><saml:NameID Format="{a.name_id_format}">{escape(a.name_id)}</saml:NameID>'
        f'<saml:SubjectConfirmation Method="{_BEARER}"><saml:SubjectConfirmationData{a.in_response_to} '
        f'NotOnOrAfter="{a.after(minutes=5)}" Recipient="{a.acs}"/></saml:SubjectConfirmation></saml:Subject>'
        f'<saml:Conditions NotBefore="{a.after(seconds=-2)}" NotOnOrAfter="{a.after(minutes=1)}"><saml:AudienceRestriction>'
        f"<saml:Audience>{a.audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
        f'<saml:AuthnStatement AuthnInstant="{a.at}" SessionIndex="{session}" SessionNotOnOrAfter="{a.after(hours=10)}"><saml:AuthnContext>'
        "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml:AuthnContextClassRef></saml:AuthnContext>"
        f"</saml:AuthnStatement><saml:AttributeStatement>{claims}</saml:AttributeStatement></saml:Assertion></samlp:Response>"
    )
    return sign_templates(xml.encode(), a.key)


def shibboleth(a: Answer) -> bytes:
    """A Shibboleth IdP: OIDs with friendly names, a NameID with qualifiers, the person's address, xs declared on the assertion alone."""
    claims = "".join(
        f'<saml2:Attribute FriendlyName="{name.rpartition(".")[2]}" Name={quoteattr(name)} NameFormat="{URI}">'
        + _values(values, "saml2:", ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xsd:string"')
        + "</saml2:Attribute>"
        for name, values in a.claims.items()
    )
    key_info = f"<ds:KeyInfo>{_certificate('ds', a.key)}</ds:KeyInfo>"
    xml = (
        f'<saml2p:Response Destination="{a.acs}" ID="{a.response_id}"{a.in_response_to} IssueInstant="{a.at}" Version="2.0" '
        f'xmlns:saml2p="{P}"><saml2:Issuer xmlns:saml2="{A}">{a.issuer}</saml2:Issuer>{_signature("ds", a.response_id, key_info)}'
        f'<saml2p:Status><saml2p:StatusCode Value="{_SUCCESS}"/></saml2p:Status><saml2:Assertion ID="{a.assertion_id}" '
        f'IssueInstant="{a.at}" Version="2.0" xmlns:saml2="{A}" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f'<saml2:Issuer>{a.issuer}</saml2:Issuer><saml2:Subject><saml2:NameID Format="{a.name_id_format}" '
        f'NameQualifier="{a.issuer}" SPNameQualifier="{a.audience}" xmlns:saml2="{A}">{escape(a.name_id)}</saml2:NameID>'
        f'<saml2:SubjectConfirmation Method="{_BEARER}"><saml2:SubjectConfirmationData Address="192.0.2.7"{a.in_response_to} '
        f'NotOnOrAfter="{a.after(minutes=5)}" Recipient="{a.acs}"/></saml2:SubjectConfirmation></saml2:Subject>'
        f'<saml2:Conditions NotBefore="{a.at}" NotOnOrAfter="{a.after(minutes=5)}"><saml2:AudienceRestriction>'
        f"<saml2:Audience>{a.audience}</saml2:Audience></saml2:AudienceRestriction></saml2:Conditions>"
        f'<saml2:AuthnStatement AuthnInstant="{a.after(seconds=-9)}" SessionIndex="_{uuid4().hex}"><saml2:SubjectLocality '
        f'Address="192.0.2.7"/><saml2:AuthnContext><saml2:AuthnContextClassRef>{_PASSWORD}</saml2:AuthnContextClassRef>'
        f"</saml2:AuthnContext></saml2:AuthnStatement><saml2:AttributeStatement>{claims}</saml2:AttributeStatement></saml2:Assertion>"
        "</saml2p:Response>"
    )
    return b'<?xml version="1.0" encoding="UTF-8"?>' + sign_templates(xml.encode(), a.key)


def numbered(a: Answer) -> bytes:
    """An IdP that numbers its Signatures, as pysaml2 does, and tells of its values what types they have."""
    claims = "".join(
        f'<ns1:Attribute Name={quoteattr(name)} NameFormat="{URI}">'
        + _values(values, "ns1:", _typed("xs:boolean" if values == ("true",) else "xs:string"))
        + "</ns1:Attribute>"
        for name, values in a.claims.items()
    )
    key_info = f"<ns2:KeyInfo>{_certificate('ns2', a.key)}</ns2:KeyInfo>"
    xml = (
        f'<ns0:Response xmlns:ns0="{P}" xmlns:ns1="{A}" Destination="{a.acs}" ID="{a.response_id}"{a.in_response_to} '
        f'IssueInstant="{a.at}" Version="2.0"><ns1:Issuer Format="{ENTITY}">{a.issuer}</ns1:Issuer>'
        f"{_signature('ns2', a.response_id, key_info, number='Signature1')}"
        f'<ns0:Status><ns0:StatusCode Value="{_SUCCESS}"/></ns0:Status><ns1:Assertion ID="{a.assertion_id}" IssueInstant="{a.at}" '
        f'Version="2.0"><ns1:Issuer Format="{ENTITY}">{a.issuer}</ns1:Issuer>'
        f"{_signature('ns2', a.assertion_id, key_info, number='Signature2')}"
        f'<ns1:Subject><ns1:NameID Format="{a.name_id_format}">{escape(a.name_id)}</ns1:NameID><ns1:SubjectConfirmation Method="{_BEARER}">'
        f'<ns1:SubjectConfirmationData{a.in_response_to} NotOnOrAfter="{a.after(minutes=15)}" Recipient="{a.acs}"/>'
        f'</ns1:SubjectConfirmation></ns1:Subject><ns1:Conditions NotBefore="{a.at}" NotOnOrAfter="{a.after(minutes=15)}">'
        f"<ns1:AudienceRestriction><ns1:Audience>{a.audience}</ns1:Audience></ns1:AudienceRestriction></ns1:Conditions>"
        f'<ns1:AuthnStatement AuthnInstant="{a.at}" SessionIndex="id-{uuid4().hex}"><ns1:AuthnContext>'
        f"<ns1:AuthnContextClassRef>{_PASSWORD}</ns1:AuthnContextClassRef></ns1:AuthnContext></ns1:AuthnStatement>"
        f"<ns1:AttributeStatement>{claims}</ns1:AttributeStatement></ns1:Assertion></ns0:Response>"
    )
    return sign_templates(xml.encode(), a.key)


Writer = Callable[[Answer], bytes]
