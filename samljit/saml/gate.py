"""The gate: bytes in, one hardened parse, and only the one known shape goes on. Before any cryptography (trust: 2 to 7).

python3-saml and xmlsec dereference files, run transforms and decrypt before they verify anything, so nothing may reach them that has
not passed here.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from lxml import etree
from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.saml.names import SUCCESS, ds, saml, samlp
from samljit.saml.shape import check_shape, response_shape

MAX_XML = 256 * 1024  # bytes, decoded
MAX_ELEMENTS = 4000
MAX_QUOTES = 20_000  # two to an attribute; attributes are counted before the parser has to
MAX_NAMESPACES = 64  # declared on one element; canonical XML looks each of them up among all of them
MAX_ID = 256

_ASSERTION, _ENCRYPTED, _SIGNATURE = saml("Assertion"), saml("EncryptedAssertion"), ds("Signature")
_STATUS_CODE = f"{samlp('Status')}/{samlp('StatusCode')}"

_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_DECLARATION = re.compile(rb"<\?xml[ \t\r\n][^<>?]{0,100}\?>")
_ENCODING = re.compile(rb"encoding[ \t\r\n]*=[ \t\r\n]*[\"']([^\"']*)[\"']")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class UnverifiedResponse:
    """A response of the right shape, of which nothing has been verified. `root` and what hangs below it belong to its holder.

    `assertion` is None as long as it is only there `encrypted`.
    """

    root: _Element
    assertion: _Element | None
    encrypted: _Element | None
    response_signature: _Element | None
    assertion_signature: _Element | None


def decode_response(text: str) -> bytes:
    """Decodes the SAMLResponse form field: strict base64 after white space is taken out, no deflate, 256 KiB at most.

    Raises: AssertionRejected (not_base64, xml_limits).
    """
    packed = _WHITE_SPACE.sub("", text)
    if len(packed) > (MAX_XML * 4) // 3 + 4:
        raise AssertionRejected(Reason.XML_LIMITS, "decoded size")
    try:
        decoded = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise AssertionRejected(Reason.NOT_BASE64) from None
    if len(decoded) > MAX_XML:
        raise AssertionRejected(Reason.XML_LIMITS, "decoded size")
    return decoded


# Every switch is written out, also where it is the default: this is the only parser that reads what a stranger sent.
_PARSER = etree.XMLParser(
    resolve_entities=False,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    no_network=True,
    huge_tree=False,
    recover=False,
    remove_comments=False,
    remove_pis=False,
    remove_blank_text=False,
    strip_cdata=False,
    ns_clean=False,
    collect_ids=False,
)


def parse(xml: bytes) -> _Element:
    """Parses once, resolving nothing. Raises: AssertionRejected (xml_malformed, xml_forbidden, xml_limits)."""
    _check_bytes(xml)
    root = parse_own(xml)
    tree = root.getroottree()
    if tree.docinfo.internalDTD is not None or root.getprevious() is not None or root.getnext() is not None:
        raise AssertionRejected(Reason.XML_FORBIDDEN, "something outside the root element")
    _check_nodes(root, may_be_crowded=xml.count(b"xmlns") > MAX_NAMESPACES)
    return root


def parse_own(xml: bytes) -> _Element:
    """Parses bytes that were made here, of a tree that has passed the gate. Raises: AssertionRejected (xml_malformed)."""
    try:
        return etree.fromstring(xml, _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        raise AssertionRejected(Reason.XML_MALFORMED) from None


def _check_bytes(xml: bytes) -> None:
    """What can be told without a parser: UTF-8, and no markup but elements.

    A "<" cannot stand in text or in attribute values, so after the XML declaration every "<!" is a DOCTYPE, comment or CDATA section
    and every "<?" a processing instruction. The parser never gets to see an entity.
    """
    if len(xml) > MAX_XML:
        raise AssertionRejected(Reason.XML_LIMITS, "size")
    # UTF-16 and UTF-32 without a byte order mark are good UTF-8 too, and the parser finds them out by their NULs (XML 1.0 appendix F)
    if b"\0" in xml:
        raise AssertionRejected(Reason.XML_MALFORMED, "not UTF-8")
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError:
        raise AssertionRejected(Reason.XML_MALFORMED, "not UTF-8") from None
    body = xml.removeprefix(b"\xef\xbb\xbf")
    if declaration := _DECLARATION.match(body):
        encoding = _ENCODING.search(declaration[0])
        if encoding and encoding[1].lower() not in (b"utf-8", b"us-ascii"):
            raise AssertionRejected(Reason.XML_MALFORMED, "not UTF-8")
        body = body[declaration.end() :]
    # one byte first: it is found, or not, much faster than two
    if (b"!" in body and b"<!" in body) or (b"?" in body and b"<?" in body):
        raise AssertionRejected(Reason.XML_FORBIDDEN, "a DOCTYPE, comment, CDATA section or processing instruction")
    if body.count(b"<") > 2 * MAX_ELEMENTS or body.count(b'"') + body.count(b"'") > MAX_QUOTES:
        raise AssertionRejected(Reason.XML_LIMITS, "elements or attributes")


def _check_nodes(root: _Element, *, may_be_crowded: bool) -> None:
    """Nothing but elements, few namespaces on each, and no relative namespace name: canonical XML is not defined for those (C14N 1.0
    section 1.3)."""
    for _, found in etree.iterwalk(root, events=("start-ns", "comment", "pi")):
        if not isinstance(found, tuple):
            raise AssertionRejected(Reason.XML_FORBIDDEN, "a comment or processing instruction")
        if not _ABSOLUTE.match(found[1]):
            raise AssertionRejected(Reason.XML_FORBIDDEN, "a relative namespace name")
    if not may_be_crowded:
        return
    declared = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "start")):
        declared = declared + 1 if event == "start-ns" else 0
        if declared > MAX_NAMESPACES:
            raise AssertionRejected(Reason.XML_LIMITS, "namespaces")


def read_response(root: _Element, *, preset: str) -> UnverifiedResponse:
    """Holds a parsed document against the one known shape, that of responses of this preset's kind of IdP.

    Raises: AssertionRejected (not_a_response, shape_unexpected, signature_shape, status_not_success, ...).
    """
    if root.tag != samlp("Response"):
        raise AssertionRejected(Reason.NOT_A_RESPONSE)
    # First, whatever else is wrong: what an IdP says when it refuses holds details of its own. Unsigned it can only refuse (trust: 16)
    code = root.find(_STATUS_CODE)
    if code is not None and code.get("Value") != SUCCESS:
        raise AssertionRejected(Reason.STATUS_NOT_SUCCESS)
    check_shape(root, response_shape(preset))
    parts = {child.tag: child for child in root}
    assertion, encrypted = parts.get(_ASSERTION), parts.get(_ENCRYPTED)
    if (assertion is None) is (encrypted is None):
        raise AssertionRejected(Reason.ASSERTION_MISSING if assertion is None else Reason.SHAPE_UNEXPECTED)
    carriers = [root] if assertion is None else [root, assertion]
    if any(element.get("Version") != "2.0" for element in carriers):
        raise AssertionRejected(Reason.VERSION_UNSUPPORTED)
    outer, inner = parts.get(_SIGNATURE), None if assertion is None else assertion.find(_SIGNATURE)
    # a Signature's number, where it may have one: the schema makes an ID of it, and no reference may find it in an assertion's place
    numbers = [found.get("Id") for found in (outer, inner) if found is not None and found.attrib]
    check_ids([*(element.get("ID") for element in carriers), *numbers])
    return UnverifiedResponse(
        root=root,
        assertion=assertion,
        encrypted=encrypted,
        response_signature=outer,
        assertion_signature=inner,
    )


def check_ids(ids: list[str | None]) -> None:
    """IDs that are names, and no two alike. Raises: AssertionRejected (shape_unexpected)."""
    for value in ids:
        if value is None or len(value) > MAX_ID or not _NCNAME.fullmatch(value):
            raise AssertionRejected(Reason.SHAPE_UNEXPECTED, "ID missing or not an NCName")
    if len(set(ids)) != len(ids):
        raise AssertionRejected(Reason.SHAPE_UNEXPECTED, "the same ID twice")
