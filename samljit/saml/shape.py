"""The one shape of each SAML message that may go on, as a table. What is not described here is refused (trust: 3, 4, 5, 7, 52).

Checked on the parsed tree before any cryptography, transform or schema is touched. Reading it top to bottom is reading the answer
to "what do we accept?".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.mapping.presets import ISSUER_SERIAL, KEY_NAME, KEY_VALUE, PRESETS, SUBJECT_NAME, Dialect
from samljit.saml.names import EXC_C14N, XS, XSI, ds, saml, samlp, xenc

MAX_TEXT = 16 * 1024  # characters; the longest honest one is an X509Certificate of a 8192 bit key
MAX_ATTRIBUTE = 4 * 1024
_BLANK = " \t\r\n"
_TYPE = f"{{{XSI}}}type"


@dataclass(frozen=True, slots=True)
class Shape:
    """What one element may hold. `groups` are in order; inside a group the children may stand in any order.

    A leaf (`text=True`) holds text alone, any other element holds children and white space alone. `reason` is what a fault directly
    inside this element is called.
    """

    attributes: frozenset[str] = frozenset()
    groups: tuple[tuple[Child, ...], ...] = ()
    text: bool = False
    reason: Reason = Reason.SHAPE_UNEXPECTED
    longest: int = MAX_TEXT
    value_types: frozenset[str] = frozenset()  # the types of XML Schema that xsi:type may name
    # the groups once more, as the walk looks things up: a child with its group's number, by tag; and the tags that must be there
    places: dict[str, tuple[int, Child]] = field(init=False)
    needed: tuple[Child, ...] = field(init=False)

    def __post_init__(self) -> None:
        places = {child.tag: (number, child) for number, group in enumerate(self.groups) for child in group}
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "needed", tuple(child for _, child in places.values() if child.least))


@dataclass(frozen=True, slots=True)
class Child:
    tag: str
    shape: Shape
    least: int = 0
    most: int = 1


def _attributes(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _one(tag: str, shape: Shape) -> tuple[Child, ...]:
    return (Child(tag, shape, least=1),)


def _maybe(tag: str, shape: Shape) -> tuple[Child, ...]:
    return (Child(tag, shape),)


def _many(tag: str, shape: Shape, *, least: int = 0, most: int = 5000) -> tuple[Child, ...]:
    return (Child(tag, shape, least=least, most=most),)


def _signature_part(*groups: tuple[Child, ...], attributes: str = "", text: bool = False) -> Shape:
    return Shape(_attributes(attributes), groups, text=text, reason=Reason.SIGNATURE_SHAPE)


LEAF = Shape(text=True)
EMPTY = Shape()

# XML Signature, core 4; one reference, no Object, no Manifest
SIGNED_INFO = _signature_part(
    _one(ds("CanonicalizationMethod"), _signature_part(attributes="Algorithm")),
    _one(ds("SignatureMethod"), _signature_part(attributes="Algorithm")),
    _one(
        ds("Reference"),
        _signature_part(
            _one(
                ds("Transforms"),
                _signature_part(
                    _many(
                        ds("Transform"),
                        _signature_part(
                            _maybe(f"{{{EXC_C14N}}}InclusiveNamespaces", _signature_part(attributes="PrefixList")),
                            attributes="Algorithm",
                        ),
                        least=2,
                        most=2,
                    )
                ),
            ),
            _one(ds("DigestMethod"), _signature_part(attributes="Algorithm")),
            _one(ds("DigestValue"), _signature_part(text=True)),
            attributes="URI",
        ),
    ),
)

# a KeyInfo holds certificates, and what some products write beside them; no key is ever taken from it
_SIGNATURE_LEAF = _signature_part(text=True)
_RSA_KEY_VALUE = _signature_part(_one(ds("Modulus"), _SIGNATURE_LEAF), _one(ds("Exponent"), _SIGNATURE_LEAF))
_KEY_HINTS = {
    KEY_NAME: Child(ds("KeyName"), _SIGNATURE_LEAF),
    KEY_VALUE: Child(ds("KeyValue"), _signature_part(_one(ds("RSAKeyValue"), _RSA_KEY_VALUE))),
}
_CERTIFICATE_HINTS = {
    SUBJECT_NAME: Child(ds("X509SubjectName"), _SIGNATURE_LEAF),
    ISSUER_SERIAL: Child(
        ds("X509IssuerSerial"), _signature_part(_one(ds("X509IssuerName"), _SIGNATURE_LEAF), _one(ds("X509SerialNumber"), _SIGNATURE_LEAF))
    ),
}


def _signature(dialect: Dialect) -> Shape:
    beside = tuple(child for hint, child in _KEY_HINTS.items() if hint in dialect.key_hints)
    within = tuple(child for hint, child in _CERTIFICATE_HINTS.items() if hint in dialect.key_hints)
    certificates = Child(ds("X509Certificate"), _SIGNATURE_LEAF, least=1, most=8)
    return _signature_part(
        _one(ds("SignedInfo"), SIGNED_INFO),
        _one(ds("SignatureValue"), _SIGNATURE_LEAF),
        _maybe(
            ds("KeyInfo"),
            _signature_part((Child(ds("X509Data"), _signature_part((certificates, *within)), least=1), *beside)),
        ),
        attributes="Id" if dialect.signature_ids else "",
    )


ISSUER = Shape(_attributes("Format NameQualifier SPNameQualifier SPProvidedID"), text=True)

STATUS_CODE_INNER = Shape(_attributes("Value"))
STATUS_CODE = Shape(_attributes("Value"), (_maybe(samlp("StatusCode"), STATUS_CODE_INNER),))
STATUS = Shape(groups=(_one(samlp("StatusCode"), STATUS_CODE), _maybe(samlp("StatusMessage"), LEAF)))

# SAML core 2.4
SUBJECT = Shape(
    groups=(
        _maybe(saml("NameID"), ISSUER),
        _many(
            saml("SubjectConfirmation"),
            Shape(
                _attributes("Method"),
                (_maybe(saml("SubjectConfirmationData"), Shape(_attributes("NotBefore NotOnOrAfter Recipient InResponseTo Address"))),),
            ),
            most=8,
        ),
    )
)

# SAML core 2.5; a condition that is not known must make the assertion invalid
_AUDIENCES = Shape(groups=(_many(saml("Audience"), LEAF, most=32),))
CONDITIONS = Shape(
    _attributes("NotBefore NotOnOrAfter"),
    (
        (
            Child(saml("AudienceRestriction"), _AUDIENCES, most=8),
            Child(saml("OneTimeUse"), EMPTY),
            Child(saml("ProxyRestriction"), Shape(_attributes("Count"), _AUDIENCES.groups)),
        ),
    ),
    reason=Reason.CONDITION_UNKNOWN,
)

# SAML core 2.7
AUTHN_STATEMENT = Shape(
    _attributes("AuthnInstant SessionIndex SessionNotOnOrAfter"),
    (
        _maybe(saml("SubjectLocality"), Shape(_attributes("Address DNSName"))),
        _one(
            saml("AuthnContext"),
            Shape(
                groups=(
                    _maybe(saml("AuthnContextClassRef"), LEAF),
                    _maybe(saml("AuthnContextDeclRef"), LEAF),
                    _many(saml("AuthenticatingAuthority"), LEAF, most=16),
                )
            ),
        ),
    ),
)


def _attribute_statement(dialect: Dialect) -> Shape:
    value = Shape(frozenset({_TYPE}), text=True, value_types=dialect.value_types)
    attribute = Shape(_attributes("Name NameFormat FriendlyName"), (_many(saml("AttributeValue"), value),))
    return Shape(groups=(_many(saml("Attribute"), attribute),))


def _assertion(dialect: Dialect) -> Shape:
    statements = Child(saml("AttributeStatement"), _attribute_statement(dialect)), Child(saml("AuthnStatement"), AUTHN_STATEMENT, least=1)
    return Shape(
        _attributes("ID Version IssueInstant"),
        (
            _one(saml("Issuer"), ISSUER),
            _maybe(ds("Signature"), _signature(dialect)),
            _one(saml("Subject"), SUBJECT),
            _one(saml("Conditions"), CONDITIONS),
            statements,
        ),
    )


# XML Encryption 3; one inline key, no references, no RetrievalMethod. An Id names nothing here: no reference may point to it
_CIPHER_DATA = _one(xenc("CipherData"), Shape(groups=(_one(xenc("CipherValue"), Shape(text=True, longest=256 * 1024)),)))
_ALGORITHM = Shape(_attributes("Algorithm"))
# whom the key is for (ADFS names our certificate by its issuer and number): never read, every key of ours is tried
_RECIPIENT = Shape(
    groups=(
        _maybe(ds("KeyName"), LEAF),
        _maybe(
            ds("X509Data"),
            Shape(
                groups=(
                    _maybe(ds("X509IssuerSerial"), Shape(groups=(_one(ds("X509IssuerName"), LEAF), _one(ds("X509SerialNumber"), LEAF)))),
                    _many(ds("X509Certificate"), LEAF, most=8),
                )
            ),
        ),
    )
)
ENCRYPTED_KEY = Shape(
    _attributes("Id Recipient"),
    (
        _one(
            xenc("EncryptionMethod"),
            Shape(_attributes("Algorithm"), (_maybe(ds("DigestMethod"), _ALGORITHM),)),
        ),
        _maybe(ds("KeyInfo"), _RECIPIENT),
        _CIPHER_DATA,
    ),
)
ENCRYPTED_ASSERTION = Shape(
    groups=(
        _one(
            xenc("EncryptedData"),
            Shape(
                _attributes("Id Type MimeType Encoding"),
                (
                    _one(xenc("EncryptionMethod"), _ALGORITHM),
                    _one(ds("KeyInfo"), Shape(groups=(_one(xenc("EncryptedKey"), ENCRYPTED_KEY),))),
                    _CIPHER_DATA,
                ),
            ),
        ),
    ),
)


@cache
def response_shape(preset: str) -> Shape:
    """The shape of a Response that a kind of IdP may send, by the name of its preset: the same for all, but for its dialect."""
    dialect = PRESETS[preset].dialect
    content = Child(saml("Assertion"), _assertion(dialect)), Child(saml("EncryptedAssertion"), ENCRYPTED_ASSERTION)
    return Shape(
        _attributes("ID Version IssueInstant Destination InResponseTo Consent"),
        (_maybe(saml("Issuer"), ISSUER), _maybe(ds("Signature"), _signature(dialect)), _one(samlp("Status"), STATUS), content),
    )

# SAML core 3.7. By HTTP-Redirect the signature is in the address, and none may be in the message (bindings 3.4.4.1)
LOGOUT_REQUEST = Shape(
    _attributes("ID Version IssueInstant Destination Consent Reason NotOnOrAfter"),
    (_one(saml("Issuer"), ISSUER), _one(saml("NameID"), ISSUER), _many(samlp("SessionIndex"), Shape(text=True, longest=1024), most=32)),
)
LOGOUT_RESPONSE = Shape(
    _attributes("ID Version IssueInstant Destination Consent InResponseTo"),
    (_one(saml("Issuer"), ISSUER), _one(samlp("Status"), STATUS)),
)


def check_shape(element: _Element, shape: Shape) -> None:
    """Walks the tree along the table. Raises: AssertionRejected naming the element or attribute that is not in it.

    Every element of every response passes here before anything is known about it, so each costs one call, and no look-up twice.
    """
    attributes = element.items()
    if attributes:
        _check_attributes(attributes, element, shape)
    text = element.text
    if shape.text:
        if len(element):
            raise AssertionRejected(shape.reason, f"{_short(element[0].tag)} inside {_short(element.tag)}")
        if text is not None and len(text) > shape.longest:
            raise AssertionRejected(Reason.XML_LIMITS, f"text of {_short(element.tag)}")
        return
    if text is not None and text.strip(_BLANK):
        raise AssertionRejected(shape.reason, f"text inside {_short(element.tag)}")
    # children in the order of their groups, each no more often and no more seldom than its row says, with white space between
    places, current = shape.places, 0
    counts: dict[str, int] = {}
    for child in element:
        tag = child.tag
        place = places.get(tag)
        if place is None or place[0] < current:
            raise AssertionRejected(shape.reason, f"{_short(tag)} inside {_short(element.tag)}")
        current, row = place
        counts[tag] = count = counts.get(tag, 0) + 1
        if count > row.most:
            raise AssertionRejected(shape.reason, f"{_short(tag)} inside {_short(element.tag)}")
        tail = child.tail
        if tail is not None and tail.strip(_BLANK):
            raise AssertionRejected(shape.reason, f"text inside {_short(element.tag)}")
        check_shape(child, row.shape)
    for row in shape.needed:
        if counts.get(row.tag, 0) < row.least:
            raise AssertionRejected(shape.reason, f"{_short(row.tag)} missing inside {_short(element.tag)}")


def _check_attributes(attributes: list[tuple[str, str]], element: _Element, shape: Shape) -> None:
    for name, value in attributes:
        if name not in shape.attributes:
            raise AssertionRejected(shape.reason, f"attribute {_short(name)} on {_short(element.tag)}")
        if len(value) > MAX_ATTRIBUTE:
            raise AssertionRejected(Reason.XML_LIMITS, f"attribute {_short(name)} on {_short(element.tag)}")
        if name == _TYPE and not _is_of_type(value, element, shape.value_types):
            raise AssertionRejected(shape.reason, f"{_short(element.tag)} is of another type")


def _is_of_type(type_name: str, element: _Element, known: frozenset[str]) -> bool:
    """Whether an xsi:type is one of these of XML Schema. Asked here and not of the signed bytes: exclusive C14N does not see a prefix that
    stands in an attribute's value, and drops its declaration where that is further up (SimpleSAMLphp declares it on the Response)."""
    prefix, _, local = type_name.rpartition(":")
    return local in known and element.nsmap.get(prefix or None) == XS


def _short(name: object) -> str:
    """A tag or attribute name that is fit for a log line: the local name, bounded."""
    return str(name).rpartition("}")[2][:60]
