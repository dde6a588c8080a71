"""SAML responses from a description of every value in them: as Entra writes them, or forged in any one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from lxml import etree

from samljit.testing.encryption import Encryption, encrypt_assertion
from samljit.testing.keys import KeyPair
from samljit.testing.people import Claim
from samljit.testing.signing import DS, RSA_SHA256, SHA256, Element, add_signature, serialize, sign_element

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
REQUESTER = "urn:oasis:names:tc:SAML:2.0:status:Requester"
REQUEST_UNSUPPORTED = "urn:oasis:names:tc:SAML:2.0:status:RequestUnsupported"
ORDINARY_CONTEXT = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PERSISTENT_FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"

Moment: TypeAlias = datetime | str | None
"""A time as an aware datetime, as the very text to send, or None to leave the attribute out."""
Hook: TypeAlias = Callable[[Any], None]
Sign: TypeAlias = Literal["assertion", "response", "both", "none"]


def untouched(_root: Element) -> None:
    """The hook that changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSpec:
    """Every value of one Response. Change any with `dataclasses.replace`; None leaves an attribute or element out.

    `audiences` are the AudienceRestrictions, each with its Audiences. `key` signs; `embedded_certificates` (DER) stand in KeyInfo:
    None for the key's own, empty for no KeyInfo. Algorithms are URIs. `style` is Entra's (default namespaces on Assertion and
    Signature) or one with the prefixes samlp, saml and ds. `before_signing` gets the Response with all in place and its
    Signatures still empty, `after_signing` gets it signed: what it changes there is forged. `status_detail` is the nested code.
    """

    response_id: str | None
    issue_instant: Moment
    destination: str | None
    response_in_response_to: str | None
    response_issuer: str | None
    assertion_id: str | None
    assertion_issue_instant: Moment
    assertion_issuer: str | None
    name_id: str | None
    recipient: str | None
    confirmation_in_response_to: str | None
    confirmation_not_on_or_after: Moment
    not_before: Moment
    not_on_or_after: Moment
    audiences: tuple[tuple[str, ...], ...]
    authn_instant: Moment
    session_index: str | None
    claims: tuple[Claim, ...]
    key: KeyPair = field(repr=False)

    response_version: str | None = "2.0"
    response_issuer_format: str | None = None
    status: str | None = SUCCESS
    status_detail: str | None = None
    status_message: str | None = None
    has_assertion: bool = True
    assertion_version: str | None = "2.0"
    assertion_issuer_format: str | None = None
    name_id_format: str | None = EMAIL_FORMAT
    confirmation_method: str | None = BEARER
    confirmation_not_before: Moment = None
    session_not_on_or_after: Moment = None
    authn_context: str | None = ORDINARY_CONTEXT

    sign: Sign = "assertion"
    signature_algorithm: str = RSA_SHA256
    digest_algorithm: str = SHA256
    embedded_certificates: tuple[bytes, ...] | None = None
    inclusive_prefixes: tuple[str, ...] = ()
    encryption: Encryption | None = None
    style: Literal["entra", "prefixed"] = "entra"
    fraction_digits: int = 3
    before_signing: Hook = untouched
    after_signing: Hook = untouched


def build(spec: ResponseSpec) -> bytes:
    """The Response as bytes for the wire: UTF-8, no white space between elements, signed as the spec says. Raises: xmlsec.Error."""
    root = _response(spec)
    assertion = _assertion(spec, root) if spec.has_assertion else None
    # Innermost first: a signature of the Response covers that of the Assertion.
    signed = []
    if assertion is not None and spec.sign in ("assertion", "both"):
        signed.append(assertion)
    if spec.sign in ("response", "both"):
        signed.append(root)
    for element in signed:
        _add_signature(spec, element)
    spec.before_signing(root)
    for element in signed:
        if spec.encryption is not None and element is root and assertion is not None:
            encrypt_assertion(root, assertion, spec.encryption)
        sign_element(element, spec.key)
    if spec.encryption is not None and assertion is not None and root not in signed:
        encrypt_assertion(root, assertion, spec.encryption)
    spec.after_signing(root)
    return serialize(root)


def format_time(moment: datetime, *, fraction_digits: int = 3) -> str:
    """The time as SAML writes it: UTC with `Z` and this many fraction digits (0 to 7), cut off and not rounded."""
    utc = moment.astimezone(UTC)
    fraction = f"{utc.microsecond:06d}0"[:fraction_digits]
    return utc.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + "Z"


def _add_signature(spec: ResponseSpec, element: Element) -> None:
    own = (spec.key.certificate_der,)
    add_signature(
        element,
        certificates=own if spec.embedded_certificates is None else spec.embedded_certificates,
        signature_algorithm=spec.signature_algorithm,
        digest_algorithm=spec.digest_algorithm,
        inclusive_prefixes=spec.inclusive_prefixes,
        prefix="ds" if spec.style == "prefixed" else None,
    )


def _response(spec: ResponseSpec) -> Element:
    prefixed = {"samlp": SAMLP, "saml": SAML, "ds": DS}
    root = etree.Element(f"{{{SAMLP}}}Response", nsmap=prefixed if spec.style == "prefixed" else {"samlp": SAMLP})
    _set(
        root,
        ID=spec.response_id,
        Version=spec.response_version,
        IssueInstant=_text(spec, spec.issue_instant),
        Destination=spec.destination,
        InResponseTo=spec.response_in_response_to,
    )
    _issuer(root, spec.response_issuer, spec.response_issuer_format)
    if spec.status is not None:
        status = etree.SubElement(root, f"{{{SAMLP}}}Status")
        code = etree.SubElement(status, f"{{{SAMLP}}}StatusCode", Value=spec.status)
        if spec.status_detail is not None:
            etree.SubElement(code, f"{{{SAMLP}}}StatusCode", Value=spec.status_detail)
        if spec.status_message is not None:
            etree.SubElement(status, f"{{{SAMLP}}}StatusMessage").text = spec.status_message
    return root


def _assertion(spec: ResponseSpec, root: Element) -> Element:
    assertion = _saml(root, "Assertion")
    _set(
        assertion,
        ID=spec.assertion_id,
        IssueInstant=_text(spec, spec.assertion_issue_instant),
        Version=spec.assertion_version,
    )
    _issuer(assertion, spec.assertion_issuer, spec.assertion_issuer_format)
    _subject(spec, assertion)
    conditions = _saml(assertion, "Conditions")
    _set(conditions, NotBefore=_text(spec, spec.not_before), NotOnOrAfter=_text(spec, spec.not_on_or_after))
    for audiences in spec.audiences:
        restriction = _saml(conditions, "AudienceRestriction")
        for audience in audiences:
            _saml(restriction, "Audience").text = audience
    if spec.claims:
        _attributes(spec, _saml(assertion, "AttributeStatement"))
    _authn_statement(spec, assertion)
    return assertion


def _subject(spec: ResponseSpec, assertion: Element) -> None:
    subject = _saml(assertion, "Subject")
    if spec.name_id is not None:
        name_id = _saml(subject, "NameID")
        _set(name_id, Format=spec.name_id_format)
        name_id.text = spec.name_id
    confirmation = _saml(subject, "SubjectConfirmation")
    _set(confirmation, Method=spec.confirmation_method)
    _set(
        _saml(confirmation, "SubjectConfirmationData"),
        InResponseTo=spec.confirmation_in_response_to,
        NotBefore=_text(spec, spec.confirmation_not_before),
        NotOnOrAfter=_text(spec, spec.confirmation_not_on_or_after),
        Recipient=spec.recipient,
    )


def _attributes(spec: ResponseSpec, statement: Element) -> None:
    for claim in spec.claims:
        attribute = _saml(statement, "Attribute")
        _set(attribute, Name=claim.name, NameFormat=claim.name_format)
        for value in claim.values:
            _saml(attribute, "AttributeValue").text = value


def _authn_statement(spec: ResponseSpec, assertion: Element) -> None:
    statement = _saml(assertion, "AuthnStatement")
    _set(
        statement,
        AuthnInstant=_text(spec, spec.authn_instant),
        SessionIndex=spec.session_index,
        SessionNotOnOrAfter=_text(spec, spec.session_not_on_or_after),
    )
    context = _saml(statement, "AuthnContext")
    if spec.authn_context is not None:
        _saml(context, "AuthnContextClassRef").text = spec.authn_context


def _issuer(parent: Element, issuer: str | None, issuer_format: str | None) -> None:
    if issuer is not None:
        element = _saml(parent, "Issuer")
        _set(element, Format=issuer_format)
        element.text = issuer


def _saml(parent: Element, name: str) -> Element:
    """A child in the assertion namespace; where no prefix for it is in scope, it declares the default namespace, as Entra does."""
    nsmap = None if SAML in parent.nsmap.values() else {None: SAML}
    return etree.SubElement(parent, f"{{{SAML}}}{name}", nsmap=nsmap)


def _set(element: Element, **attributes: str | None) -> None:
    for name, value in attributes.items():
        if value is not None:
            element.set(name, value)


def _text(spec: ResponseSpec, moment: Moment) -> str | None:
    if isinstance(moment, datetime):
        return format_time(moment, fraction_digits=spec.fraction_digits)
    return moment
