"""Ingress and structure (1 to 7): what is refused before any library sees the message."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from lxml import etree

from samljit.errors import Reason
from samljit.testing import signing_key
from samljit.testing.signing import sign_element
from tests.host import ACS, ADELE, LOGIN, Host
from tests.trust.forge import XSI, Edit, Flow, accepted, answer, at, attribute, drop, nothing_happened, post_fields, put, refused, swap

BIG = 256 * 1024
XML = "http://www.w3.org/XML/1998/namespace"


def begun(host: Host) -> tuple[Any, str, bytes]:
    """A browser that began a sign-in, and the genuine answer in base64 and as XML."""
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    post = host.entra.respond(request, ADELE, now=datetime.now(UTC))
    return browser, post.form["SAMLResponse"], post.xml


# --- 1: the form ------------------------------------------------------------------------------------------------------

FORMS = {
    "1-no-response": lambda good: [],
    "1-two-responses": lambda good: [("SAMLResponse", good), ("SAMLResponse", good)],
    "1-two-responses-one-empty": lambda good: [("SAMLResponse", good), ("SAMLResponse", "")],
    "1-two-relay-states": lambda good: [("SAMLResponse", good), ("RelayState", "a"), ("RelayState", "b")],
    "1-relay-state-of-513-bytes": lambda good: [("SAMLResponse", good), ("RelayState", "r" * 513)],
    "1-relay-state-of-257-two-byte-characters": lambda good: [("SAMLResponse", good), ("RelayState", "é" * 257)],
    "1-other-case": lambda good: [("samlresponse", good)],
    "1-a-hundred-fields": lambda good: [("SAMLResponse", good), *((f"f{i}", "x") for i in range(100))],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_with_anything_but_one_response_is_refused(host: Host, caplog: pytest.LogCaptureFixture, form: Any) -> None:
    browser, good, xml = begun(host)
    with nothing_happened(host, caplog, Reason.REQUEST_MALFORMED) as scene:
        scene.flow = Flow(browser, xml, post_fields(browser, form(good)), {})
    assert scene.flow.page.status == 400


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [
        pytest.param("application/json", lambda good: f'{{"SAMLResponse": "{good}"}}', id="1-json"),
        pytest.param("text/plain", lambda good: urlencode({"SAMLResponse": good}), id="1-text"),
        pytest.param("", lambda good: urlencode({"SAMLResponse": good}), id="1-no-content-type"),
        pytest.param(
            "multipart/form-data; boundary=b",
            lambda good: f'--b\r\nContent-Disposition: form-data; name="SAMLResponse"\r\n\r\n{good}\r\n--b--\r\n',
            id="1-multipart",
        ),
    ],
)
def test_only_a_url_encoded_form_is_read(host: Host, content_type: str, encode: Any) -> None:
    _, good, _ = begun(host)
    answered = host.app.test_client().post(ACS, data=encode(good), content_type=content_type)
    assert (answered.status_code, host.reasons(), host.users()) == (400, ["request_malformed"], [])


def test_1_a_response_in_the_query_is_not_read(host: Host) -> None:
    _, good, _ = begun(host)
    address = f"{ACS}?{urlencode({'SAMLResponse': good})}"
    client = host.app.test_client()
    assert client.get(address).status_code == 405
    assert client.post(address, content_type="application/x-www-form-urlencoded").status_code == 400
    assert (host.reasons(), host.users()) == (["request_malformed"], [])


class Unreadable:
    """A body that must not be read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = readinto = readlines = read


def test_1_a_body_over_the_limit_is_answered_413_unread(host: Host) -> None:
    answered = host.app.test_client().post(
        ACS,
        environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(512 * 1024 + 1)},
        content_type="application/x-www-form-urlencoded",
    )
    assert (answered.status_code, host.reasons()) == (413, ["too_large"])


def test_1_a_body_over_the_limit_that_hides_its_length_is_answered_413(host: Host) -> None:
    body = BytesIO(b"SAMLResponse=" + b"A" * (600 * 1024))
    answered = host.app.test_client().post(
        ACS,
        environ_overrides={"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        content_type="application/x-www-form-urlencoded",
    )
    assert (answered.status_code, host.reasons()) == (413, ["too_large"])
    assert body.tell() <= 520 * 1024


def test_1_the_longest_relay_state_is_taken(host: Host) -> None:
    browser, good, _ = begun(host)
    assert post_fields(browser, [("SAMLResponse", good), ("RelayState", "r" * 512)]).text == "user 1"


# --- 2: base64 --------------------------------------------------------------------------------------------------------


def deflated(xml: bytes) -> str:
    packer = zlib.compressobj(wbits=-15)
    return base64.b64encode(packer.compress(xml) + packer.flush()).decode()


PACKED = {
    "2-a-stray-character": (lambda good, xml: "*" + good[1:], Reason.NOT_BASE64),
    "2-url-safe-alphabet": (lambda good, xml: good[:-8] + "-_-_" + good[-4:], Reason.NOT_BASE64),
    "2-no-padding": (lambda good, xml: base64.b64encode(xml + b" " * (1 + -len(xml) % 3)).decode().rstrip("="), Reason.NOT_BASE64),
    "2-padding-inside": (lambda good, xml: base64.b64encode(xml[:4]).decode() + good, Reason.NOT_BASE64),
    "2-more-padding": (lambda good, xml: good + "====", Reason.NOT_BASE64),
    "2-form-feed": (lambda good, xml: good[:8] + "\f" + good[8:], Reason.NOT_BASE64),
    "2-no-break-space": (lambda good, xml: good[:8] + "\u00a0" + good[8:], Reason.NOT_BASE64),
    "2-full-width-letters": (lambda good, xml: "\uff21" + good[1:], Reason.NOT_BASE64),
    "2-surrogate": (lambda good, xml: "%ED%A0%80" + good, Reason.NOT_BASE64),
    "2-nul": (lambda good, xml: "\0" + good, Reason.NOT_BASE64),
    "2-plain-xml": (lambda good, xml: xml.decode(), Reason.NOT_BASE64),
    "2-deflated": (lambda good, xml: deflated(xml), Reason.XML_MALFORMED),
    "2-base64-twice": (lambda good, xml: base64.b64encode(good.encode()).decode(), Reason.XML_MALFORMED),
    "2-empty": (lambda good, xml: "", Reason.XML_MALFORMED),
    "2-blank": (lambda good, xml: " \r\n", Reason.XML_MALFORMED),
    "2-one-byte-over-the-limit": (lambda good, xml: base64.b64encode(b"<" + b" " * BIG).decode(), Reason.XML_LIMITS),
}


@pytest.mark.parametrize(("pack", "reason"), PACKED.values(), ids=PACKED)
def test_what_is_not_strict_base64_of_xml_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, pack: Any, reason: Reason
) -> None:
    browser, good, xml = begun(host)
    with nothing_happened(host, caplog, reason) as scene:
        scene.flow = Flow(browser, xml, post_fields(browser, [("SAMLResponse", pack(good, xml))]), {})
    assert scene.flow.page.status == 400


def test_2_base64_in_lines_is_taken(host: Host) -> None:
    browser, _, xml = begun(host)
    folded = base64.encodebytes(xml).decode().replace("\n", "\r\n\t ")
    assert post_fields(browser, [("SAMLResponse", folded)]).text == "user 1"


# --- 3: XML -----------------------------------------------------------------------------------------------------------


def declared(encoding: str, *, real: str = "utf-8") -> Edit:
    return lambda xml: f'<?xml version="1.0" encoding="{encoding}"?>{xml.decode()}'.encode(real)


DOCTYPE = '<!DOCTYPE Response [<!ENTITY e "x">]>'
LAUGHS = "".join(f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True))
BOMB = f"<!DOCTYPE r [<!ENTITY a 'ha'>{LAUGHS}]>"
NAMESPACES = " ".join(f"xmlns:n{number}='u:{number}'" for number in range(65))

DOCUMENTS: dict[str, tuple[Edit, Reason]] = {
    "3-doctype": (lambda xml: b"<!DOCTYPE Response>" + xml, Reason.XML_FORBIDDEN),
    "3-internal-subset": (lambda xml: DOCTYPE.encode() + xml, Reason.XML_FORBIDDEN),
    "3-external-subset": (lambda xml: b'<!DOCTYPE r SYSTEM "file:///etc/passwd">' + xml, Reason.XML_FORBIDDEN),
    "3-entity-in-a-value": (lambda xml: DOCTYPE.encode() + xml.replace(b">Adele<", b">&e;<"), Reason.XML_FORBIDDEN),
    "3-entity-bomb": (lambda xml: BOMB.encode() + xml.replace(b">Adele<", b">&i;<"), Reason.XML_FORBIDDEN),
    "3-entity-undeclared": (lambda xml: xml.replace(b">Adele<", b">&e;<"), Reason.XML_MALFORMED),
    "3-comment-before": (lambda xml: b"<!-- -->" + xml, Reason.XML_FORBIDDEN),
    "3-comment-after": (lambda xml: xml + b"<!-- -->", Reason.XML_FORBIDDEN),
    "3-comment-in-a-value": (swap(">Adele<", ">Ade<!---->le<"), Reason.XML_FORBIDDEN),
    "3-comment-in-name-id": (swap("adele.vance@", "adele.vance<!---->@"), Reason.XML_FORBIDDEN),
    "3-instruction-before": (lambda xml: b"<?xml-stylesheet href='file:///etc/passwd'?>" + xml, Reason.XML_FORBIDDEN),
    "3-instruction-in-a-value": (swap(">Adele<", ">Ade<?x?>le<"), Reason.XML_FORBIDDEN),
    "3-cdata": (swap(">Adele<", "><![CDATA[Adele]]><"), Reason.XML_FORBIDDEN),
    "3-relative-namespace": (swap("<samlp:Response ", '<samlp:Response xmlns:x="relative" '), Reason.XML_FORBIDDEN),
    "3-text-before": (lambda xml: b"x" + xml, Reason.XML_MALFORMED),
    "3-text-after": (lambda xml: xml + b"x", Reason.XML_MALFORMED),
    "3-two-roots": (lambda xml: xml + xml, Reason.XML_MALFORMED),
    "3-cut-off": (lambda xml: xml[:-5], Reason.XML_MALFORMED),
    "3-nul": (swap(">Adele<", ">Ade\0le<"), Reason.XML_MALFORMED),
    "3-nul-at-the-end": (lambda xml: xml + b"\0", Reason.XML_MALFORMED),
    "3-control-character": (swap(">Adele<", ">Ade\x01le<"), Reason.XML_MALFORMED),
    "3-control-character-reference": (swap(">Adele<", ">Ade&#1;le<"), Reason.XML_MALFORMED),
    "3-not-utf-8": (lambda xml: xml.replace(b">Adele<", b">Ad\xe8le<"), Reason.XML_MALFORMED),
    "3-overlong-utf-8": (lambda xml: xml.replace(b">Adele<", b">\xc0\xaeAdele<"), Reason.XML_MALFORMED),
    "3-utf-16": (declared("utf-16", real="utf-16"), Reason.XML_MALFORMED),
    "3-utf-16-le-without-mark": (declared("utf-16", real="utf-16-le"), Reason.XML_MALFORMED),
    "3-utf-16-be-without-mark": (declared("utf-16", real="utf-16-be"), Reason.XML_MALFORMED),
    "3-utf-16-undeclared-with-doctype": (
        lambda xml: f'<?xml version="1.0"?>{DOCTYPE}{xml.decode()}'.encode("utf-16-le"),
        Reason.XML_MALFORMED,
    ),
    "3-utf-16-undeclared-with-cdata": (
        lambda xml: f'<?xml version="1.0"?>{xml.decode()}'.replace(">Adele<", "><![CDATA[Adele]]><").encode("utf-16-be"),
        Reason.XML_MALFORMED,
    ),
    "3-utf-32-le-without-mark": (declared("utf-32", real="utf-32-le"), Reason.XML_MALFORMED),
    "3-utf-7-declared": (declared("utf-7"), Reason.XML_MALFORMED),
    "3-latin-1-declared": (declared("iso-8859-1"), Reason.XML_MALFORMED),
    "3-encoding-declared-twice": (
        lambda xml: b'<?xml version="1.0" encoding="utf-8" encoding="utf-7"?>' + xml,
        Reason.XML_MALFORMED,
    ),
    "3-encoding-hidden-in-version": (
        lambda xml: b"""<?xml version='1.0 encoding="utf-8"' encoding='utf-7'?>""" + xml,
        Reason.XML_MALFORMED,
    ),
    "3-long-declaration": (lambda xml: b"<?xml version='1.0'" + b" " * 200 + b"encoding='utf-7'?>" + xml, Reason.XML_FORBIDDEN),
    "3-deep": (lambda xml: b"<a>" * 300 + b"</a>" * 300, Reason.XML_MALFORMED),
    "3-many-elements": (lambda xml: b"<a>" + b"<b/>" * 9000 + b"</a>", Reason.XML_LIMITS),
    "3-many-attributes": (lambda xml: b"<a " + b" ".join(b"a%d=''" % i for i in range(11_000)) + b"/>", Reason.XML_LIMITS),
    "3-many-namespaces": (
        swap("<samlp:Response ", f"<samlp:Response {NAMESPACES} "),
        Reason.XML_LIMITS,
    ),
    "3-attribute-twice": (swap("<samlp:Response ", '<samlp:Response ID="_twice" '), Reason.XML_MALFORMED),
    "3-long-text": (swap("<Audience>", "<Audience>" + "x" * 17_000), Reason.XML_LIMITS),
    "3-long-attribute": (swap('Destination="', 'Destination="' + "x" * 5000), Reason.XML_LIMITS),
    "3-unbound-prefix": (swap("<samlp:Status>", "<nobody:Status>", times=1), Reason.XML_MALFORMED),
    "3-namespace-with-a-blank": (swap("SAML:2.0:protocol", "SAML:2.0:protocol "), Reason.XML_MALFORMED),
    "3-not-xml": (lambda xml: b"\x89PNG\r\n\x1a\n", Reason.XML_MALFORMED),
    "3-html": (lambda xml: b"<html><body></body></html>", Reason.NOT_A_RESPONSE),
}


@pytest.mark.parametrize(("edit", "reason"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_with_more_than_plain_elements_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, edit: Edit, reason: Reason
) -> None:
    assert refused(host, caplog, reason, edit=edit).status in (400, 403)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda xml: b"\xef\xbb\xbf" + xml, id="3-byte-order-mark"),
        pytest.param(lambda xml: b'<?xml version="1.0" encoding="UTF-8"?>\r\n' + xml + b"\r\n", id="3-declaration"),
        pytest.param(lambda xml: b"<?xml version='1.0' encoding='utf-8' standalone='no' ?>" + xml, id="3-declaration-standalone"),
    ],
)
def test_what_serializers_write_around_a_message_is_taken(host: Host, edit: Edit) -> None:
    accepted(host, edit=edit)


def test_3_a_comment_inside_signed_content_is_refused_even_where_the_signature_still_holds(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Exclusive C14N drops comments: the digest of adele@contoso.example<!---->.evil.example is that without the comment."""
    refused(host, caplog, Reason.XML_FORBIDDEN, name_id="adele@contoso.example.evil", edit=swap("example.evil", "example<!---->.evil"))


IDS: dict[str, tuple[dict[str, Any], Reason]] = {
    "3-response-id-is-the-assertions": ({"response_id": "_one", "assertion_id": "_one"}, Reason.SHAPE_UNEXPECTED),
    "3-assertion-id-missing": ({"assertion_id": None, "sign": "response"}, Reason.SHAPE_UNEXPECTED),
    "3-response-id-missing": ({"response_id": None}, Reason.SHAPE_UNEXPECTED),
    "3-id-begins-with-a-digit": ({"assertion_id": "1a"}, Reason.SHAPE_UNEXPECTED),
    "3-id-with-a-colon": ({"assertion_id": "a:b"}, Reason.SHAPE_UNEXPECTED),
    "3-id-blank": ({"after_signing": attribute("//saml:Assertion", "ID", "_a b")}, Reason.SHAPE_UNEXPECTED),
    "3-id-with-quotes": ({"after_signing": attribute("//saml:Assertion", "ID", "_a')or('1'='1")}, Reason.SHAPE_UNEXPECTED),
    "3-id-long": ({"assertion_id": "_" + "a" * 256}, Reason.SHAPE_UNEXPECTED),
    "3-xml-id": ({"before_signing": attribute("//saml:Assertion", f"{{{XML}}}id", "_x")}, Reason.SHAPE_UNEXPECTED),
    "3-lower-case-id": ({"before_signing": attribute("//saml:Assertion", "id", "_x")}, Reason.SHAPE_UNEXPECTED),
    "3-foreign-id": ({"before_signing": attribute("//saml:Subject", "{urn:x:y}Id", "_x")}, Reason.SHAPE_UNEXPECTED),
    "3-id-on-status": ({"after_signing": attribute("//samlp:Status", "ID", "_x")}, Reason.SHAPE_UNEXPECTED),
    "3-id-on-signature": ({"before_signing": attribute("//ds:Signature", "Id", "_x")}, Reason.SIGNATURE_SHAPE),
    "3-id-on-reference": ({"before_signing": attribute("//ds:Reference", "Id", "_x")}, Reason.SIGNATURE_SHAPE),
    "3-id-on-key-info": ({"before_signing": attribute("//ds:KeyInfo", "Id", "_x")}, Reason.SIGNATURE_SHAPE),
}


@pytest.mark.parametrize(("changes", "reason"), IDS.values(), ids=IDS)
def test_ids_stand_in_two_places_and_are_unique_names(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


# --- 4: the one shape -------------------------------------------------------------------------------------------------

EXTRA_ASSERTION = '<saml:Assertion ID="_evil" Version="2.0"><saml:Issuer>x</saml:Issuer></saml:Assertion>'
EXTRA_STATUS = "<samlp:Status><samlp:StatusCode Value='x'/></samlp:Status>"
VALUE = "//saml:Attribute[@Name='http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname']/saml:AttributeValue"


def moved(path: str, *, index: int) -> Any:
    def hook(root: Any) -> None:
        at(path, lambda found: found.getparent().insert(index, found))(root)

    return hook


SHAPES: dict[str, tuple[dict[str, Any], Reason]] = {
    "4-extensions": ({"after_signing": put(".", "<samlp:Extensions/>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "4-signed-extensions": ({"before_signing": put(".", "<samlp:Extensions/>", index=1), "sign": "response"}, Reason.SHAPE_UNEXPECTED),
    "4-foreign-element": ({"after_signing": put(".", "<x xmlns='urn:x:y'/>")}, Reason.SHAPE_UNEXPECTED),
    "4-element-without-namespace": ({"after_signing": put(".", "<Assertion/>")}, Reason.SHAPE_UNEXPECTED),
    "4-foreign-attribute": ({"after_signing": attribute(".", "{urn:x:y}a", "b")}, Reason.SHAPE_UNEXPECTED),
    "4-unknown-attribute": ({"before_signing": attribute("//saml:Assertion", "Unknown", "b")}, Reason.SHAPE_UNEXPECTED),
    "4-two-assertions": ({"after_signing": put(".", EXTRA_ASSERTION)}, Reason.SHAPE_UNEXPECTED),
    "4-two-assertions-evil-first": ({"after_signing": put(".", EXTRA_ASSERTION, index=2)}, Reason.SHAPE_UNEXPECTED),
    "4-two-signed-assertions": (
        {"before_signing": put(".", EXTRA_ASSERTION), "sign": "response"},
        Reason.SHAPE_UNEXPECTED,
    ),
    "4-encrypted-assertion-too": ({"after_signing": put(".", "<saml:EncryptedAssertion/>")}, Reason.SHAPE_UNEXPECTED),
    "4-encrypted-assertion-alone": (
        {"has_assertion": False, "sign": "none", "after_signing": put(".", "<saml:EncryptedAssertion/>")},
        Reason.SHAPE_UNEXPECTED,
    ),
    "4-no-assertion": ({"has_assertion": False, "sign": "response"}, Reason.ASSERTION_MISSING),
    "4-advice": ({"before_signing": put("//saml:Assertion", "<saml:Advice/>", index=4)}, Reason.SHAPE_UNEXPECTED),
    "4-advice-with-assertion": (
        {"before_signing": put("//saml:Assertion", f"<saml:Advice>{EXTRA_ASSERTION}</saml:Advice>", index=4)},
        Reason.SHAPE_UNEXPECTED,
    ),
    "4-status-after-assertion": ({"after_signing": moved("//samlp:Status", index=5)}, Reason.SHAPE_UNEXPECTED),
    "4-two-statuses": ({"after_signing": put(".", EXTRA_STATUS, index=1)}, Reason.STATUS_NOT_SUCCESS),
    "4-status-detail": ({"after_signing": put("//samlp:Status", "<samlp:StatusDetail/>")}, Reason.SHAPE_UNEXPECTED),
    "4-text-between": ({"after_signing": at("//samlp:Status", lambda status: setattr(status, "tail", "text"))}, Reason.SHAPE_UNEXPECTED),
    "4-text-inside": ({"before_signing": at("//saml:Subject", lambda subject: setattr(subject, "text", "text"))}, Reason.SHAPE_UNEXPECTED),
    "4-no-break-space-between": (
        {"after_signing": at("//samlp:Status", lambda status: setattr(status, "tail", "\u00a0"))},
        Reason.SHAPE_UNEXPECTED,
    ),
    "4-two-issuers": ({"before_signing": put("//saml:Assertion", "<saml:Issuer>x</saml:Issuer>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "4-two-subjects": ({"before_signing": put("//saml:Assertion", "<saml:Subject/>", index=3)}, Reason.SHAPE_UNEXPECTED),
    "4-no-subject": ({"before_signing": drop("//saml:Subject")}, Reason.SHAPE_UNEXPECTED),
    "4-no-conditions": ({"before_signing": drop("//saml:Conditions")}, Reason.SHAPE_UNEXPECTED),
    "4-two-conditions": ({"before_signing": put("//saml:Assertion", "<saml:Conditions/>", index=4)}, Reason.SHAPE_UNEXPECTED),
    "4-two-attribute-statements": ({"before_signing": put("//saml:Assertion", "<saml:AttributeStatement/>")}, Reason.SHAPE_UNEXPECTED),
    "4-authz-statement": ({"before_signing": put("//saml:Assertion", "<saml:AuthzDecisionStatement/>")}, Reason.SHAPE_UNEXPECTED),
    "4-base-id": ({"before_signing": put("//saml:Subject", "<saml:BaseID/>", index=0)}, Reason.SHAPE_UNEXPECTED),
    "4-name-id-in-confirmation": (
        {"before_signing": put("//saml:SubjectConfirmation", "<saml:NameID>root</saml:NameID>", index=0)},
        Reason.SHAPE_UNEXPECTED,
    ),
    "4-key-info-in-confirmation": ({"before_signing": put("//saml:SubjectConfirmationData", "<ds:KeyInfo/>")}, Reason.SHAPE_UNEXPECTED),
    "4-element-in-a-value": ({"before_signing": put(VALUE, "<saml:NameID>root</saml:NameID>")}, Reason.SHAPE_UNEXPECTED),
    "4-element-in-name-id": ({"before_signing": put("//saml:NameID", "<b xmlns='urn:x:y'>x</b>")}, Reason.SHAPE_UNEXPECTED),
    "4-element-in-audience": ({"before_signing": put("//saml:Audience", "<b xmlns='urn:x:y'>x</b>")}, Reason.SHAPE_UNEXPECTED),
    "4-nil-value": ({"before_signing": attribute(VALUE, f"{{{XSI}}}nil", "true")}, Reason.SHAPE_UNEXPECTED),
}


@pytest.mark.parametrize(("changes", "reason"), SHAPES.values(), ids=SHAPES)
def test_a_response_of_any_other_shape_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(swap("samlp:Response", "samlp:LogoutResponse"), id="4-logout-response"),
        pytest.param(swap("samlp:Response", "samlp:ArtifactResponse"), id="4-artifact-response"),
        pytest.param(swap("urn:oasis:names:tc:SAML:2.0:protocol", "urn:oasis:names:tc:SAML:1.0:protocol"), id="4-saml-1"),
        pytest.param(swap("SAML:2.0:protocol", "SAML:2.0:Protocol"), id="4-namespace-in-other-case"),
        pytest.param(lambda xml: xml[xml.index(b"<Assertion") : xml.index(b"</samlp:Response>")], id="4-bare-assertion"),
    ],
)
def test_another_kind_of_message_is_refused(host: Host, caplog: pytest.LogCaptureFixture, edit: Edit) -> None:
    refused(host, caplog, Reason.NOT_A_RESPONSE, edit=edit)


# --- 5 to 7: the signature's shape, algorithms and KeyInfo ------------------------------------------------------------

T = "//ds:Transform"
XSLT = (
    '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><xsl:stylesheet version="1.0" '
    'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/></ds:Transform>'
)
XPATH = '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>//*</ds:XPath></ds:Transform>'
XPATH2 = '<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"/>'
BASE64 = '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/>'
EXC = '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
REFERENCE = (
    '<ds:Reference URI="{uri}"><ds:Transforms/><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    "<ds:DigestValue>AAAA</ds:DigestValue></ds:Reference>"
)
MANIFEST = f"<ds:Object><ds:Manifest>{REFERENCE.format(uri='file:///dev/zero')}</ds:Manifest></ds:Object>"
LIST = '<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="{}"/>'
INFO = "//ds:SignedInfo"


def prefix_list(text: str) -> dict[str, Any]:
    return {"before_signing": put("//ds:Transform[2]", LIST.format(text))}


def uri(value: str | None) -> dict[str, Any]:
    """After signing: xmlsec would follow some of these."""

    def change(reference: Any) -> None:
        reference.attrib.pop("URI")
        if value is not None:
            reference.set("URI", value)

    return {"after_signing": at("//ds:Reference", change)}


SIGNATURES: dict[str, dict[str, Any]] = {
    "5-object": {"after_signing": put("//ds:Signature", "<ds:Object/>")},
    "5-object-with-assertion": {"after_signing": put("//ds:Signature", f"<ds:Object>{EXTRA_ASSERTION}</ds:Object>")},
    "5-manifest": {"after_signing": put("//ds:Signature", MANIFEST)},
    "5-second-reference": {"after_signing": put(INFO, REFERENCE.format(uri=""))},
    "5-file-reference": {"after_signing": put(INFO, REFERENCE.format(uri="file:///dev/zero"))},
    "5-thousand-references": {"after_signing": lambda root: [put(INFO, REFERENCE.format(uri="#x"))(root) for _ in range(700)]},
    "5-no-reference": {"after_signing": drop("//ds:Reference")},
    "5-uri-empty": uri(""),
    "5-uri-absent": uri(None),
    "5-uri-elsewhere": uri("#_other"),
    "5-uri-file": uri("file:///etc/hostname"),
    "5-uri-http": uri("http://127.0.0.1:9/"),
    "5-uri-xpointer": uri("#xpointer(/)"),
    "5-uri-without-hash": {"after_signing": at("//ds:Reference", lambda r: r.set("URI", r.get("URI")[1:]))},
    "5-uri-with-blank": {"after_signing": at("//ds:Reference", lambda r: r.set("URI", r.get("URI") + " "))},
    "5-uri-percent-encoded": {"after_signing": at("//ds:Reference", lambda r: r.set("URI", r.get("URI").replace("_", "%5F")))},
    "5-reference-type": {"before_signing": attribute("//ds:Reference", "Type", "http://www.w3.org/2000/09/xmldsig#Manifest")},
    "5-no-transforms": {"before_signing": drop("//ds:Transforms")},
    "5-enveloped-alone": {"before_signing": drop("//ds:Transform[2]")},
    "5-c14n-alone": {"before_signing": drop("//ds:Transform[1]")},
    "5-transforms-swapped": {"after_signing": at("//ds:Transforms", lambda parent: parent.append(parent[0]))},
    "5-transform-chain": {"after_signing": lambda root: [put("//ds:Transforms", EXC)(root) for _ in range(3000)]},
    "5-xslt": {"after_signing": put("//ds:Transforms", XSLT)},
    "5-xslt-in-place-of-c14n": {"after_signing": lambda root: (drop("//ds:Transform[2]")(root), put("//ds:Transforms", XSLT)(root))},
    "5-xpath": {"after_signing": put("//ds:Transforms", XPATH)},
    "5-xpath-in-place-of-c14n": {"after_signing": lambda root: (drop("//ds:Transform[2]")(root), put("//ds:Transforms", XPATH)(root))},
    "5-xpath-filter-2": {"after_signing": lambda root: (drop("//ds:Transform[2]")(root), put("//ds:Transforms", XPATH2)(root))},
    "5-base64": {"after_signing": lambda root: (drop("//ds:Transform[2]")(root), put("//ds:Transforms", BASE64)(root))},
    "5-c14n-with-comments": {"before_signing": attribute("//ds:Transform[2]", "Algorithm", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments")},
    "5-c14n-inclusive": {"before_signing": attribute("//ds:Transform[2]", "Algorithm", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")},
    "5-prefixes-on-enveloped": {"after_signing": put("//ds:Transform[1]", LIST.format("xs"))},
    "5-two-prefix-lists": {"after_signing": lambda root: [put("//ds:Transform[2]", LIST.format("xs"))(root) for _ in range(2)]},
    "5-prefix-list-in-canonicalization": {"before_signing": put("//ds:CanonicalizationMethod", LIST.format("xs"))},
    "5-prefix-list-of-17": prefix_list(" ".join(f"p{i}" for i in range(17))),
    "5-prefix-list-default": prefix_list("#default"),
    "5-prefix-list-not-names": prefix_list("a:b"),
    "5-prefix-list-long-name": prefix_list("p" * 33),
    "5-prefix-list-of-thousands": {"after_signing": put("//ds:Transform[2]", LIST.format("xs " * 1300))},
    "5-hmac-output-length": {"after_signing": put("//ds:SignatureMethod", "<ds:HMACOutputLength>8</ds:HMACOutputLength>")},
    "5-element-in-digest": {"after_signing": put("//ds:DigestValue", "<b xmlns='urn:x:y'/>")},
    "5-element-in-signature-value": {"after_signing": put("//ds:SignatureValue", "<b xmlns='urn:x:y'/>")},
    "5-digest-not-base64": {"after_signing": at("//ds:DigestValue", lambda found: setattr(found, "text", "*"))},
    "5-value-not-base64": {"after_signing": at("//ds:SignatureValue", lambda found: setattr(found, "text", "é"))},
    "5-text-in-signature": {"after_signing": at("//ds:SignedInfo", lambda found: setattr(found, "tail", "x"))},
    "5-two-signed-infos": {"after_signing": put("//ds:Signature", "<ds:SignedInfo/>", index=0)},
    "7-key-name": {"after_signing": put("//ds:KeyInfo", "<ds:KeyName>x</ds:KeyName>")},
    "7-key-value": {"after_signing": put("//ds:KeyInfo", "<ds:KeyValue/>")},
    "7-retrieval-method": {"after_signing": put("//ds:KeyInfo", "<ds:RetrievalMethod URI='file:///dev/zero'/>")},
    "7-key-info-reference": {"after_signing": put("//ds:KeyInfo", "<k:KeyInfoReference xmlns:k='http://www.w3.org/2009/xmldsig11#'/>")},
    "7-issuer-serial": {"after_signing": put("//ds:X509Data", "<ds:X509IssuerSerial/>")},
    "7-subject-name": {"after_signing": put("//ds:X509Data", "<ds:X509SubjectName>CN=x</ds:X509SubjectName>")},
    "7-two-x509-data": {"after_signing": put("//ds:KeyInfo", "<ds:X509Data/>")},
    "7-two-key-infos": {"after_signing": put("//ds:Signature", "<ds:KeyInfo/>")},
    "7-nine-certificates": {"embedded_certificates": (b"x",) * 9},
}


@pytest.mark.parametrize("changes", SIGNATURES.values(), ids=SIGNATURES)
def test_a_signature_of_any_other_shape_is_refused(host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]) -> None:
    refused(host, caplog, Reason.SIGNATURE_SHAPE, **changes)


PLACES: dict[str, dict[str, Any]] = {
    "5-before-the-issuer": {"before_signing": moved("//saml:Assertion/ds:Signature", index=0)},
    "5-at-the-end": {"before_signing": moved("//saml:Assertion/ds:Signature", index=9)},
    "5-of-the-response-after-status": {"sign": "response", "before_signing": moved("//samlp:Response/ds:Signature", index=3)},
    "5-in-the-subject": {"after_signing": put("//saml:Subject", "<ds:Signature/>")},
    "5-two-in-one-place": {"after_signing": put("//saml:Assertion", "<ds:Signature/>", index=2)},
    "5-in-a-value": {"before_signing": put(VALUE, "<ds:Signature/>")},
    "5-xsi-type-on-name-id": {"before_signing": attribute("//saml:NameID", f"{{{XSI}}}type", "xs:string")},
    "5-schema-location": {"before_signing": attribute("//saml:Assertion", f"{{{XSI}}}schemaLocation", "urn:x file:///dev/zero")},
}


@pytest.mark.parametrize("changes", PLACES.values(), ids=PLACES)
def test_a_signature_in_any_other_place_is_refused(host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]) -> None:
    refused(host, caplog, Reason.SHAPE_UNEXPECTED, **changes)


TYPE = f"{{{XSI}}}type"


@pytest.mark.parametrize(
    ("value", "namespace"),
    [
        pytest.param("xs:integer", "http://www.w3.org/2001/XMLSchema", id="5-xsi-type-integer"),
        pytest.param("xs:string", "urn:x:y", id="5-xsi-type-of-another-namespace"),
        pytest.param("nobody:string", "urn:x:y", id="5-xsi-type-unbound"),
        pytest.param("xs:anyType", "http://www.w3.org/2001/XMLSchema", id="5-xsi-type-any"),
    ],
)
def test_values_are_strings(host: Host, caplog: pytest.LogCaptureFixture, value: str, namespace: str) -> None:
    def typed(root: Any) -> None:
        found = root.xpath(VALUE, namespaces={"saml": "urn:oasis:names:tc:SAML:2.0:assertion"})[0]
        new = etree.Element(found.tag, nsmap={"xs": namespace, None: "urn:oasis:names:tc:SAML:2.0:assertion"})
        new.text = found.text
        new.set(TYPE, value)
        found.getparent().replace(found, new)

    refused(host, caplog, Reason.SHAPE_UNEXPECTED, before_signing=typed, inclusive_prefixes=("xs",))


@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
def test_a_type_whose_prefix_is_declared_on_the_response_is_read_though_no_digest_covers_it(host: Host, sign: str) -> None:
    def typed(root: Any) -> None:
        for value in root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}AttributeValue"):
            value.set(TYPE, "xs:string")
        prefixes = {"xs": "http://www.w3.org/2001/XMLSchema", "xsi": "http://www.w3.org/2001/XMLSchema-instance"}
        etree.cleanup_namespaces(root, top_nsmap=prefixes, keep_ns_prefixes=list(prefixes))
        assert root.nsmap["xs"] == prefixes["xs"]

    host.sign_in(before_signing=typed, sign=sign)
    assert [user["first_name"] for user in host.users()] == ["Adele"]


ALGORITHMS: dict[str, dict[str, Any]] = {
    "6-rsa-sha1": {"signature_algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"},
    "6-digest-sha1": {"digest_algorithm": "http://www.w3.org/2000/09/xmldsig#sha1"},
    "6-digest-sha224": {"digest_algorithm": "http://www.w3.org/2001/04/xmldsig-more#sha224"},
    "6-rsa-sha224": {"signature_algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha224"},
    "6-rsa-md5": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5")},
    "6-digest-md5": {"after_signing": attribute("//ds:DigestMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#md5")},
    "6-hmac": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")},
    "6-dsa": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "http://www.w3.org/2000/09/xmldsig#dsa-sha1")},
    "6-ecdsa": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256")},
    "6-pss": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1")},
    "6-none": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "")},
    "6-https-spelling": {"after_signing": attribute("//ds:SignatureMethod", "Algorithm", "https://www.w3.org/2001/04/xmldsig-more#rsa-sha256")},
    "6-inclusive-c14n": {"before_signing": attribute("//ds:CanonicalizationMethod", "Algorithm", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")},
    "6-c14n-with-comments": {"before_signing": attribute("//ds:CanonicalizationMethod", "Algorithm", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments")},
}


@pytest.mark.parametrize("changes", ALGORITHMS.values(), ids=ALGORITHMS)
@pytest.mark.parametrize("sign", ["assertion", "response"])
def test_an_algorithm_that_is_not_on_the_list_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], sign: str
) -> None:
    refused(host, caplog, Reason.ALGORITHM_NOT_ALLOWED, sign=sign, **changes)


def test_6_sha1_in_the_second_signature_is_refused_too(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """python3-saml looks at the first element of each kind."""

    def weaken_inner(root: Any) -> None:
        attribute("//saml:Assertion/ds:Signature//ds:DigestMethod", "Algorithm", "http://www.w3.org/2000/09/xmldsig#sha1")(root)

    refused(host, caplog, Reason.ALGORITHM_NOT_ALLOWED, sign="both", before_signing=weaken_inner)


@pytest.mark.parametrize("bits", ["256", "384", "512"])
def test_6_the_sha_2_family_is_taken(host: Host, bits: str) -> None:
    digest = {"256": "xmlenc#sha256", "384": "xmldsig-more#sha384", "512": "xmlenc#sha512"}[bits]
    accepted(
        host,
        signature_algorithm=f"http://www.w3.org/2001/04/xmldsig-more#rsa-sha{bits}",
        digest_algorithm=f"http://www.w3.org/2001/04/{digest}",
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"inclusive_prefixes": ("xs", "xsi", "saml")}, id="5-prefix-list"),
        pytest.param({"inclusive_prefixes": ("samlp",), "sign": "both"}, id="5-prefix-list-names-what-is-declared-outside"),
        pytest.param({"style": "prefixed"}, id="5-prefixed"),
        pytest.param({"style": "prefixed", "inclusive_prefixes": ("samlp", "ds"), "sign": "both"}, id="5-prefixed-with-list"),
        pytest.param({"embedded_certificates": ()}, id="7-no-key-info"),
        pytest.param({"embedded_certificates": (b"no certificate at all",)}, id="7-garbage-in-key-info"),
        pytest.param({"embedded_certificates": (signing_key("stranger").certificate_der,)}, id="7-a-strangers-certificate-in-key-info"),
    ],
)
def test_a_genuine_signature_is_taken_whatever_stands_in_its_key_info(host: Host, changes: dict[str, Any]) -> None:
    accepted(host, **changes)


@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
@pytest.mark.parametrize("certificates", ["own", "genuine", "none", "both"])
def test_7_a_strangers_key_is_not_trusted_by_any_key_info(
    host: Host, caplog: pytest.LogCaptureFixture, sign: str, certificates: str
) -> None:
    stranger = signing_key("stranger")
    embedded = {
        "own": (stranger.certificate_der,),
        "genuine": (host.entra.key.certificate_der,),
        "none": (),
        "both": (host.entra.key.certificate_der, stranger.certificate_der),
    }[certificates]
    refused(host, caplog, Reason.SIGNATURE_INVALID, key=stranger, embedded_certificates=embedded, sign=sign)


def test_5_both_signatures_must_hold(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A response signed by Entra around an assertion that somebody else signed."""

    def sign_again(root: Any) -> None:
        inner = root.find("{urn:oasis:names:tc:SAML:2.0:assertion}Assertion")
        sign_element(inner, signing_key("stranger"))

    refused(host, caplog, Reason.SIGNATURE_INVALID, sign="response", before_signing=sign_again)


def test_a_response_that_entra_refused_to_give_is_no_response(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    with nothing_happened(host, caplog, Reason.STATUS_NOT_SUCCESS) as scene:
        scene.flow = answer(host, status="urn:oasis:names:tc:SAML:2.0:status:Responder", has_assertion=False, sign="none")
