"""The one shape of each SAML message that may go on, as a table. What is not described here is refused (trust: 3, 4, 5, 7, 52).

Checked on the parsed tree before any cryptography, transform or schema is touched. Reading it top to bottom is reading the answer
to "what do we accept?".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
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

# XML Signature, core 4; one reference, no Object, no Manifest, a KeyInfo that can name nothing but certificates
SIGNATURE = _signature_part(
    _one(
        ds("SignedInfo"),
        _signature_part(
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
        ),
    ),
    _one(ds("SignatureValue"), _signature_part(text=True)),
    _maybe(
        ds("KeyInfo"),
        _signature_part(
            _one(ds("X509Data"), _signature_part(_many(ds("X509Certificate"), _signature_part(text=True), least=1, most=8)))
        ),
    ),
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
ATTRIBUTE_STATEMENT = Shape(
    groups=(
        _many(
            saml("Attribute"),
            Shape(
                _attributes("Name NameFormat FriendlyName"),
                (_many(saml("AttributeValue"), Shape(frozenset({_TYPE}), text=True)),),
            ),
        ),
    )
)

ASSERTION = Shape(
    _attributes("ID Version IssueInstant"),
    (
        _one(saml("Issuer"), ISSUER),
        _maybe(ds("Signature"), SIGNATURE),
        _one(saml("Subject"), SUBJECT),
        _one(saml("Conditions"), CONDITIONS),
        (Child(saml("AttributeStatement"), ATTRIBUTE_STATEMENT), Child(saml("AuthnStatement"), AUTHN_STATEMENT, least=1)),
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

RESPONSE = Shape(
    _attributes("ID Version IssueInstant Destination InResponseTo Consent"),
    (
        _maybe(saml("Issuer"), ISSUER),
        _maybe(ds("Signature"), SIGNATURE),
        _one(samlp("Status"), STATUS),
        (Child(saml("Assertion"), ASSERTION), Child(saml("EncryptedAssertion"), ENCRYPTED_ASSERTION)),
    ),
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
        if name == _TYPE and not _is_string(value, element):
            raise AssertionRejected(shape.reason, f"{_short(element.tag)} is not of type xs:string")


def _is_string(type_name: str, element: _Element) -> bool:
    """Whether an xsi:type means xs:string. Asked here and not of the signed bytes: exclusive C14N does not see a prefix that stands
    in an attribute's value, and drops its declaration where that is further up (SimpleSAMLphp declares it on the Response)."""
    prefix, _, local = type_name.rpartition(":")
    return local == "string" and element.nsmap.get(prefix or None) == XS


def _short(name: object) -> str:
    """A tag or attribute name that is fit for a log line: the local name, bounded."""
    return str(name).rpartition("}")[2][:60]
