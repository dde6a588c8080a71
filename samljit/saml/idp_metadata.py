"""Reads an IdP's metadata as Entra publishes it, and takes from it only what may be trusted (trust: 47).

python3-saml's own reader is not used: it trusts the first of anything, opens `file:` URLs, and can change SP and security settings.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from datetime import UTC, datetime

from lxml import etree

from samljit.errors import Problem
from samljit.model import Certificate, IdentityProvider
from samljit.saml.certificates import CertificateError, read_certificates, usable_certificates
from samljit.saml.names import HTTP_REDIRECT, SAMLP, ds, md

LARGEST_METADATA = 1024 * 1024

_LONGEST_ENTITY_ID = 1024  # SAML metadata 2.2.1
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")

_DOWNLOAD = "In Entra: Single sign-on, SAML Certificates, download Federation Metadata XML."


class _Refused(Exception):
    """What makes the document unusable as a whole; reading ends here."""

    def __init__(self, code: str, message: str, hint: str = _DOWNLOAD, *, is_warning: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.is_warning = code, message, hint, is_warning


def read_idp_metadata(
    xml: bytes, *, path: str, expected_entity_id: str | None = None, now: datetime
) -> tuple[IdentityProvider | None, list[Problem]]:
    """The IdP that the metadata describes, and all problems found, reported at `path`.

    None where nothing of the document may be used. That comes with an error, or, where the document was good and its validUntil
    has passed, with a warning alone: its tenant refuses, the others run. The endpoints are taken as they stand: whether their
    hosts are allowed is for `samljit.settings.check_endpoint` to say. The document's own signature is not looked at: Entra makes
    it with a certificate that the same document publishes (federation-metadata), so it proves nothing.
    """
    try:
        return _read(_parse(xml), path=path, expected_entity_id=expected_entity_id, now=now)
    except _Refused as fault:
        return None, [Problem(path, fault.code, fault.message, fault.hint, is_warning=fault.is_warning)]


def metadata_text(xml: bytes, *, path: str) -> str | Problem:
    """The document as ASCII text, to be kept in a database of any encoding and read again; a Problem at `path` where it is no metadata.

    As it is where it is ASCII, but for a byte order mark; else written anew, in whichever encoding it came.
    """
    try:
        root = _parse(xml)
    except _Refused as fault:
        return Problem(path, fault.code, fault.message, fault.hint)
    plain = xml.removeprefix(BOM_UTF8)
    if plain.isascii() and root.getroottree().docinfo.encoding in (None, "UTF-8", "utf-8", "ASCII", "US-ASCII"):
        return plain.decode("ascii")
    return str(etree.tostring(root, encoding="ascii").decode("ascii"))


def read_entity_id(xml: bytes) -> str | None:
    """The entityID alone, also of a document that is good for nothing else by now; None where there is none."""
    try:
        return _entity_id(_parse(xml), expected=None)
    except _Refused:
        return None


def _read(
    entity: etree._Element, *, path: str, expected_entity_id: str | None, now: datetime
) -> tuple[IdentityProvider | None, list[Problem]]:
    entity_id = _entity_id(entity, expected=expected_entity_id)
    role = _idp_role(entity)
    valid_until = min(filter(None, map(_valid_until, (entity, role))), default=None)
    if valid_until is not None and now >= valid_until:
        raise _Refused("metadata_expired", "The metadata's validUntil has passed: nobody of this tenant can sign in.", is_warning=True)
    problems: list[Problem] = []
    sso_url = _redirect_endpoint(role, "SingleSignOnService", path=path, problems=problems)
    slo_url = _redirect_endpoint(role, "SingleLogoutService", path=path, problems=problems)
    if sso_url is None and not problems:
        message = "The IdP offers no SingleSignOnService with the HTTP-Redirect binding."
        problems.append(Problem(path, "endpoint_missing", message, _DOWNLOAD))
    answers_to = _response_location(role, slo_url)
    certificates, unreadable = _signing_certificates(role)
    usable, found = usable_certificates(certificates, path=path, now=now)
    if unreadable:
        message = f"{unreadable} signing certificate(s) of the IdP cannot be read."
        problems.append(Problem(path, "certificate_malformed", message, _DOWNLOAD, is_warning=bool(usable)))
    problems += found
    if sso_url is None or any(not problem.is_warning for problem in problems):
        return None, problems
    idp = IdentityProvider(entity_id, sso_url, usable, slo_url=slo_url, slo_response_url=answers_to, valid_until=valid_until)
    return idp, problems


def _parse(xml: bytes) -> etree._Element:
    if len(xml) > LARGEST_METADATA:
        raise _Refused("too_large", f"Metadata of one IdP is never larger than {LARGEST_METADATA} bytes.")
    # written out although some are defaults: nothing outside these bytes is read, no entity is put in, nothing is repaired
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise _Refused("xml_malformed", f"This is not well-formed XML (line {line}, column {column}).") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _Refused("xml_forbidden", "The XML has a DOCTYPE; SAML metadata never has one.")
    if root.tag == md("EntitiesDescriptor"):
        hint = f"Give the EntityDescriptor of this tenant's IdP alone. {_DOWNLOAD}"
        raise _Refused("several_entities", "The document describes a whole federation (EntitiesDescriptor).", hint)
    if root.tag != md("EntityDescriptor"):
        raise _Refused("not_metadata", "This is XML, but not SAML metadata (EntityDescriptor).")
    return root


def _entity_id(entity: etree._Element, *, expected: str | None) -> str:
    entity_id: str = entity.get("entityID", "")
    if not entity_id.strip() or len(entity_id) > _LONGEST_ENTITY_ID:
        raise _Refused("entity_id_missing", "The EntityDescriptor has no entityID, or one longer than SAML allows.")
    if "{tenant}" in entity_id:
        # one entityID template for all directories of the world: nothing could be told apart by it
        hint = f"Take the document of the app in the tenant's own directory, not the one of /common/. {_DOWNLOAD}"
        raise _Refused("common_metadata", "This is Microsoft's tenant-independent document (common).", hint)
    if expected is not None and entity_id != expected:
        raise _Refused("entity_id_mismatch", "The entityID is not the one that this tenant is configured with.")
    return entity_id


def _idp_role(entity: etree._Element) -> etree._Element:
    roles = [
        role for role in entity.findall(md("IDPSSODescriptor")) if SAMLP in role.get("protocolSupportEnumeration", "").split()
    ]
    if not roles:
        is_sp = entity.find(md("SPSSODescriptor")) is not None
        what = "This is the metadata of a service provider, such as ourselves." if is_sp else "There is no SAML 2.0 IDPSSODescriptor."
        raise _Refused("no_idp", what)
    if len(roles) > 1:
        raise _Refused("several_idps", "There are several SAML 2.0 IDPSSODescriptors, and no way to tell which is meant.")
    return roles[0]


def _valid_until(element: etree._Element) -> datetime | None:
    text = element.get("validUntil")
    if text is None:
        return None
    try:
        valid_until = datetime.fromisoformat(text.strip()) if _DATE_TIME.fullmatch(text.strip()) else None
    except ValueError:
        valid_until = None
    if valid_until is None:
        raise _Refused("valid_until_malformed", "The metadata's validUntil is not a time.")
    # SAML core 1.3.3: times are UTC, also where the zone is left out
    return valid_until if valid_until.tzinfo else valid_until.replace(tzinfo=UTC)


def _redirect_endpoint(role: etree._Element, name: str, *, path: str, problems: list[Problem]) -> str | None:
    """The one Location of the service with the binding that we speak; several different ones are a problem, not a choice."""
    services = [service for service in role.findall(md(name)) if service.get("Binding") == HTTP_REDIRECT]
    locations = {service.get("Location", "").strip() for service in services}
    if len(locations) > 1:
        message = f"There are several {name} endpoints with the HTTP-Redirect binding."
        problems.append(Problem(path, "several_endpoints", message, _DOWNLOAD))
        return None
    return next(iter(locations), "") or None


def _response_location(role: etree._Element, slo_url: str | None) -> str | None:
    """Where answers of ours to a LogoutRequest go, if the IdP says that they go elsewhere (SAML metadata 2.2.2)."""
    services = role.findall(md("SingleLogoutService"))
    found = {one.get("ResponseLocation", "").strip() for one in services if one.get("Binding") == HTTP_REDIRECT} if slo_url else set()
    return next(iter(found), "") or None if len(found) == 1 else None


def _signing_certificates(role: etree._Element) -> tuple[list[Certificate], int]:
    """The certificates of this role's own signing keys, and how many could not be read.

    Only direct children of this one role are looked at: Entra's document holds more of them, in its Signature and in two WS-Fed
    RoleDescriptors (entra federation-metadata), and a key for encryption must never check a signature.
    """
    certificates: list[Certificate] = []
    unreadable = 0
    for key in role.findall(md("KeyDescriptor")):
        if key.get("use", "signing") != "signing":
            continue
        for element in key.findall("/".join((ds("KeyInfo"), ds("X509Data"), ds("X509Certificate")))):
            try:
                certificates += read_certificates((element.text or "").encode())
            except CertificateError:
                unreadable += 1
    return certificates, unreadable
