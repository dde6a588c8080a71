"""The test tools themselves: what Fake Entra signs is genuine, and the browser is as strict about cookies as Chromium."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest
import xmlsec
from cryptography import x509
from flask import Flask, Response, redirect, request
from lxml import etree
from onelogin.saml2.errors import OneLogin_Saml2_ValidationError
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from werkzeug.serving import WSGIRequestHandler, make_server

from samljit.testing import (
    AuthnRequest,
    Browser,
    Claim,
    FakeEntra,
    Form,
    KeyPair,
    Person,
    RequestRefused,
    build,
    claims_of,
    documented_times,
    make_key_pair,
    people,
    sign_in,
    sign_templates,
    signing_key,
)
from samljit.testing.browser import TooManyHops
from samljit.testing.messages import format_time
from samljit.testing.people import GROUPS_LINK, MULTIPLE_AUTHN, PASSWORD
from tests.chromium import launched as launched

SAMPLES = Path(__file__).parent / "samples"
TENANT = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
ENTITY_ID = "https://app.example.com/saml/contoso/metadata"
ACS = "https://app.example.com/saml/contoso/acs"
APP = "https://app.example.com"
IDP = "https://login.example.net"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"

REQUEST = AuthnRequest(id="id6c1c178c166d486687be4aaf5e482730", issuer=ENTITY_ID, acs_url=ACS, relay_state="token")
METHODS = "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod"
XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"

ADELE = Person(
    object_id="11110000-aaaa-4444-8888-000000000001",
    display_name="Adele Vance",
    given_name="Adele",
    surname="Vance",
    email="adele.vance@contoso.example",
    groups=("0a0a0a0a-0000-4000-8000-000000000001", "0a0a0a0a-0000-4000-8000-000000000002"),
    authn_methods=(PASSWORD, f"{METHODS}/x509", MULTIPLE_AUTHN),
)
JAMES = Person(
    object_id="22220000-bbbb-4444-8888-000000000002",
    display_name="James (Fabrikam)",
    email="james@fabrikam.example",
    guest=True,
    home_tenant_id="bbbbcccc-1111-dddd-2222-eeee3333ffff",
)
GRADY = Person(
    object_id="33330000-cccc-4444-8888-000000000003",
    display_name="Grady Archie",
    given_name="Grady",
    surname="Archie",
    email="grady.archie@contoso.example",
    overage=True,
    authn_methods=(PASSWORD, MULTIPLE_AUTHN),
)
MEGAN = Person(
    object_id="44440000-dddd-4444-8888-000000000004",
    display_name="Megan Bowen & Co",
    upn="megan.bowen@contoso.example",
    roles=("Administrator", "Billing.Reader"),
    authn_methods=(f"{METHODS}/windows",),
    extra={
        people.WIDS: ("62e90394-69f5-4237-9190-012177145e10", "b79fbf4d-3ef9-4689-8143-76b194e85509"),
        "groups": ("CONTOSO\\Engineering", "CONTOSO\\Löhne & Gehälter"),
        "Department": ("Finance",),
        f"{XMLSOAP}/employeeid": ("000451",),
        "costcenters": ("CC-100", "CC-200"),
    },
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def verify(xml: bytes, key: KeyPair) -> int:
    """How many signatures there are, all of them good. Raises: xmlsec.Error."""
    root = etree.fromstring(xml)
    signatures = list(root.iter(f"{DS}Signature"))
    for signature in signatures:
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(key.certificate_pem, xmlsec.constants.KeyDataFormatCertPem)
        context.register_id(signature.getparent(), "ID")
        context.verify(signature)
    return len(signatures)


def accept(xml: bytes, entra: FakeEntra, *, request_id: str | None = REQUEST.id, **security: bool) -> OneLogin_Saml2_Response:
    """The response as python3-saml reads it, strict, set up as its README says. Raises: OneLogin_Saml2_ValidationError."""
    settings = OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {"entityId": ENTITY_ID, "assertionConsumerService": {"url": ACS}},
            "idp": {
                "entityId": entra.entity_id,
                "singleSignOnService": {"url": entra.sso_url},
                "x509cert": entra.key.certificate_base64,
            },
            "security": security,
        }
    )
    response = OneLogin_Saml2_Response(settings, base64.b64encode(xml).decode())
    asked = {"https": "on", "http_host": "app.example.com", "script_name": "/saml/contoso/acs", "get_data": {}, "post_data": {}}
    response.is_valid(asked, request_id, raise_exceptions=True)
    return response


def redirect_url(entra: FakeEntra, xml: str, **query: str) -> str:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = base64.b64encode(deflate.compress(xml.encode()) + deflate.flush()).decode()
    return f"{entra.sso_url}?{urlencode({'SAMLRequest': packed} | query)}"


def authn_request(attributes: str = "", children: str = "", *, request_id: str = REQUEST.id) -> str:
    return (
        f'<samlp:AuthnRequest xmlns:samlp="{SAMLP[1:-1]}" xmlns:saml="{SAML[1:-1]}" ID="{request_id}" Version="2.0"'
        f' IssueInstant="2026-11-22T09:00:00Z" AssertionConsumerServiceURL="{ACS}" {attributes}>'
        f"<saml:Issuer>{ENTITY_ID}</saml:Issuer>{children}</samlp:AuthnRequest>"
    )


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_key_of_a_name_is_made_once_and_another_name_has_another_key():
    assert FakeEntra().key == FakeEntra().key
    assert signing_key("next").private_key is not signing_key().private_key
    assert signing_key().private_key.key_size == 2048


def test_the_certificate_is_entras_and_its_dates_can_be_chosen():
    begins, ends = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    usual, expired, last_year = (
        signing_key().certificate,
        signing_key(valid_until=ends).certificate,
        signing_key(valid_from=begins).certificate,
    )
    assert usual.subject.rfc4514_string() == "CN=Microsoft Azure Federated SSO Certificate"
    assert usual.not_valid_before_utc < utc_now() < usual.not_valid_after_utc
    assert expired.not_valid_after_utc == ends
    for certificate in (usual, expired, last_year):
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=3 * 365)


def test_a_private_key_is_not_in_the_repr_of_what_holds_it():
    spec = FakeEntra().spec_for(REQUEST, ADELE, now=utc_now())
    assert "private_key" not in repr(FakeEntra().key)
    assert "KeyPair" not in repr(spec)


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "person"),
    [("member", ADELE), ("guest", JAMES), ("overage", GRADY), ("roles", MEGAN)],
    ids=["member", "guest", "overage", "roles"],
)
def test_claims_are_those_of_the_samples_in_the_same_order(sample: str, person: Person):
    root = etree.parse(SAMPLES / f"entra-response-{sample}.xml").getroot()
    expected = [(a.get("Name"), tuple(v.text for v in a)) for a in root.iter(f"{SAML}Attribute")]
    assert [(claim.name, claim.values) for claim in claims_of(person, TENANT)] == expected


@pytest.mark.parametrize(
    ("person", "name", "values"),
    [
        (replace(ADELE, email=None), people.EMAIL_ADDRESS, None),
        (replace(ADELE, groups=()), people.GROUPS, None),
        (replace(ADELE, extra={people.NAME: ("other",)}), people.NAME, ("other",)),
        (replace(ADELE, extra={people.DISPLAY_NAME: ()}), people.DISPLAY_NAME, None),
        (replace(ADELE, groups=tuple(f"group-{n}" for n in range(151))), people.GROUPS, None),
        (replace(ADELE, identity_provider="live.com"), people.IDENTITY_PROVIDER, ("live.com",)),
    ],
    ids=["no mail", "no groups", "extra replaces", "extra removes", "151 groups", "Microsoft account"],
)
def test_a_claim_has_these_values_or_is_left_out(person: Person, name: str, values: tuple[str, ...] | None):
    assert {claim.name: claim.values for claim in claims_of(person, TENANT)}.get(name) == values


def test_a_hundred_and_fifty_groups_are_sent_and_one_more_is_a_link():
    names = [{claim.name for claim in claims_of(replace(ADELE, groups=("g",) * n), TENANT)} for n in (150, 151)]
    assert [GROUPS_LINK in each for each in names] == [False, True]


# --- responses --------------------------------------------------------------------------------------------------------

VARIANTS: dict[str, Any] = {
    "as Entra": {},
    "response signed": {"sign": "response"},
    "both signed": {"sign": "both"},
    "prefixed": {"sign": "both", "style": "prefixed"},
    "inclusive prefixes": {"style": "prefixed", "inclusive_prefixes": ("saml", "samlp")},
    "SHA-512": {
        "signature_algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
        "digest_algorithm": "http://www.w3.org/2001/04/xmlenc#sha512",
    },
    "no fraction": {"fraction_digits": 0},
    "seven digits": {"fraction_digits": 7},
    "no KeyInfo": {"embedded_certificates": ()},
    "documented times": documented_times,  # asked when the test runs: its confirmation is good for five minutes
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_response_verifies_and_python3_saml_accepts_it(changes: Any):
    entra, now = FakeEntra(), utc_now()
    changes = changes(now) if callable(changes) else changes
    xml = entra.respond(REQUEST, ADELE, now=now, **changes).xml
    assert verify(xml, entra.key) == (2 if changes.get("sign") == "both" else 1)
    response = accept(xml, entra, wantAttributeStatement=True)
    assert response.get_nameid() == ADELE.email
    assert response.get_attributes()[people.GROUPS] == list(ADELE.groups)


def test_a_response_is_laid_out_as_entras_sample():
    sample = etree.fromstring((SAMPLES / "entra-response-member.xml").read_bytes(), etree.XMLParser(remove_blank_text=True))
    xml = FakeEntra().respond(REQUEST, ADELE, now=utc_now()).xml
    built = etree.fromstring(xml)
    assert [(e.tag, e.prefix, sorted(e.attrib)) for e in built.iter() if e.tag != f"{DS}X509Certificate"] == [
        (e.tag, e.prefix, sorted(e.attrib)) for e in sample.iter()
    ]
    assert b"> <" not in xml
    assert b"\n" not in xml


def test_times_are_those_observed_at_entra():
    now = datetime(2026, 11, 22, 9, 0, 0, 120_000, tzinfo=UTC)
    root = etree.fromstring(FakeEntra().respond(REQUEST, ADELE, now=now).xml)
    conditions = root.find(f".//{SAML}Conditions")
    assert root.get("IssueInstant") == "2026-11-22T09:00:00.120Z"
    assert dict(conditions.attrib) == {"NotBefore": "2026-11-22T08:55:00.120Z", "NotOnOrAfter": "2026-11-22T10:00:00.120Z"}
    assert root.find(f".//{SAML}SubjectConfirmationData").get("NotOnOrAfter") == conditions.get("NotOnOrAfter")
    assert root.find(f".//{SAML}AuthnStatement").get("SessionIndex") == root.find(f"{SAML}Assertion").get("ID")
    assert root.find(f".//{SAML}AuthnStatement").get("AuthnInstant") == "2026-11-02T09:00:00.120Z"


def test_a_forced_sign_in_is_a_fresh_one():
    now = utc_now()
    assert FakeEntra().spec_for(replace(REQUEST, force_authn=True), ADELE, now=now).authn_instant == now


@pytest.mark.parametrize(
    ("digits", "text"), [(0, "2026-11-22T09:00:00Z"), (3, "2026-11-22T09:00:00.999Z"), (7, "2026-11-22T09:00:00.9999990Z")]
)
def test_times_are_cut_to_the_digits_asked_for(digits: int, text: str):
    assert format_time(datetime(2026, 11, 22, 9, 0, 0, 999_999, tzinfo=UTC), fraction_digits=digits) == text


@pytest.mark.parametrize(
    "tamper",
    [
        lambda xml: xml.replace(b"adele.vance@contoso.example", b"admin@contoso.example"),
        lambda xml: xml.replace(b"NotOnOrAfter", b"NotOnOrAftes"),
        lambda xml: xml.replace(b"<AttributeStatement>", b"<AttributeStatement> "),
    ],
    ids=["value", "attribute name", "white space"],
)
def test_what_is_changed_in_a_signed_assertion_is_noticed(tamper: Callable[[bytes], bytes]):
    entra = FakeEntra()
    xml = tamper(entra.respond(REQUEST, ADELE, now=utc_now()).xml)
    with pytest.raises(xmlsec.Error):
        verify(xml, entra.key)
    with pytest.raises(OneLogin_Saml2_ValidationError):
        accept(xml, entra)


def _name_another(root: Any) -> None:
    root.find(f".//{SAML}NameID").text = "other@contoso.example"


def test_a_change_before_signing_is_signed_and_one_after_it_is_forged():
    entra = FakeEntra()
    genuine = entra.respond(REQUEST, ADELE, now=utc_now(), before_signing=_name_another).xml
    forged = entra.respond(REQUEST, ADELE, now=utc_now(), after_signing=_name_another).xml
    assert accept(genuine, entra).get_nameid() == "other@contoso.example"
    with pytest.raises(xmlsec.Error):
        verify(forged, entra.key)


def test_another_key_signs_and_is_not_accepted():
    entra, other = FakeEntra(), make_key_pair(valid_from=utc_now(), valid_until=utc_now() + timedelta(days=1))
    xml = entra.respond(REQUEST, ADELE, now=utc_now(), key=other).xml
    assert verify(xml, other) == 1
    with pytest.raises(OneLogin_Saml2_ValidationError):
        accept(xml, entra)


FORGERIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "response issuer": ({"response_issuer": "x"}, "saml:Issuer", "x"),
    "assertion issuer": ({"assertion_issuer": "x"}, "saml:Assertion/saml:Issuer", "x"),
    "issuer format": ({"assertion_issuer_format": "x"}, "saml:Assertion/saml:Issuer/@Format", "x"),
    "version": ({"assertion_version": "1.1"}, "saml:Assertion/@Version", "1.1"),
    "destination": ({"destination": None}, "@Destination", ""),
    "recipient": ({"recipient": None}, "//saml:SubjectConfirmationData/@Recipient", ""),
    "confirmation not before": ({"confirmation_not_before": "x"}, "//saml:SubjectConfirmationData/@NotBefore", "x"),
    "malformed time": ({"not_on_or_after": "tomorrow"}, "//saml:Conditions/@NotOnOrAfter", "tomorrow"),
    "session end": ({"session_not_on_or_after": "x"}, "//saml:AuthnStatement/@SessionNotOnOrAfter", "x"),
    "only the confirmation answers": ({"response_in_response_to": None}, "@InResponseTo", ""),
    "only the response answers": ({"confirmation_in_response_to": None}, "//saml:SubjectConfirmationData/@InResponseTo", ""),
    "NameFormat": ({"claims": (Claim("a", ("1", "2"), "x"),)}, "//saml:Attribute/@NameFormat", "x"),
    "no claims": ({"claims": ()}, "//saml:AttributeStatement", ""),
    "no name": ({"name_id": None}, "//saml:NameID", ""),
}


@pytest.mark.parametrize(("changes", "where", "expected"), FORGERIES.values(), ids=FORGERIES.keys())
def test_one_value_can_be_forged_under_a_genuine_signature(changes: dict[str, Any], where: str, expected: str):
    entra = FakeEntra()
    xml = entra.respond(REQUEST, ADELE, now=utc_now(), **changes).xml
    assert verify(xml, entra.key) == 1
    assert etree.fromstring(xml).xpath(f"string({where})", namespaces={"saml": SAML[1:-1]}) == expected


def test_audiences_can_stand_in_several_restrictions():
    spec = FakeEntra().spec_for(REQUEST, ADELE, now=utc_now(), audiences=((ENTITY_ID, "b"), ("c",)))
    restrictions = etree.fromstring(build(spec)).iter(f"{SAML}AudienceRestriction")
    assert [[audience.text for audience in each] for each in restrictions] == [[ENTITY_ID, "b"], ["c"]]


def test_an_entity_id_that_is_no_uri_comes_back_as_spn():
    spec = FakeEntra().spec_for(replace(REQUEST, issuer="contoso-app"), ADELE, now=utc_now())
    assert spec.audiences == (("spn:contoso-app",),)


def test_an_unsolicited_response_answers_nothing():
    entra = FakeEntra()
    post = entra.unsolicited(ADELE, acs_url=ACS, audience=ENTITY_ID, now=utc_now(), relay_state="/start")
    assert b"InResponseTo" not in post.xml
    assert post.form["RelayState"] == "/start"
    assert accept(post.xml, entra, request_id=None).get_nameid() == ADELE.email


def test_a_refusal_has_a_status_and_no_assertion():
    post = FakeEntra().refuse(REQUEST, now=utc_now(), message="AADSTS1: <no> & never")
    root = etree.fromstring(post.xml)
    assert [code.get("Value").rpartition(":")[2] for code in root.iter(f"{SAMLP}StatusCode")] == ["Requester", "RequestUnsupported"]
    assert root.findtext(f".//{SAMLP}StatusMessage") == "AADSTS1: <no> & never"
    assert root.find(f"{SAML}Assertion") is None
    assert post.form["RelayState"] == "token"


@pytest.mark.parametrize("sample", ["member", "guest", "overage", "roles"])
def test_a_sample_can_be_signed_and_loses_its_white_space(sample: str):
    key = signing_key()
    xml = sign_templates((SAMPLES / f"entra-response-{sample}.xml").read_bytes(), key)
    assert verify(xml, key) == 1
    assert b">\n" not in xml


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_has_entras_shape_and_a_good_signature():
    entra = FakeEntra(keys=[signing_key(), signing_key("next")])
    xml = entra.metadata()
    assert xml.startswith(b"\xef\xbb\xbf<?xml")
    assert verify(xml, entra.key) == 1
    sample = etree.fromstring((SAMPLES / "entra-federation-metadata.xml").read_bytes())
    built = etree.fromstring(xml)
    assert [e.tag for e in built.iter() if e.getparent() is None or e.getparent().tag != f"{DS}X509Data"] == [
        e.tag for e in sample.iter() if e.getparent() is None or e.getparent().tag != f"{DS}X509Data"
    ]
    texts = [e.text for e in sample.iter() if len(e) == 0 and e.text and not e.text.startswith("{{")]
    assert [text for text in texts if text not in {e.text for e in built.iter()}] == []


def test_metadata_lists_certificates_in_the_order_asked_for_and_is_signed_by_the_active_key():
    active, following = signing_key(), signing_key("next")
    entra = FakeEntra(keys=[active, following])
    xml = entra.metadata(keys=[following, active])
    listed = etree.fromstring(xml).findall(f"{MD}IDPSSODescriptor//{DS}X509Certificate")
    assert [e.text for e in listed] == [following.certificate_base64, active.certificate_base64]
    assert verify(xml, active) == 1


def test_metadata_can_be_read_by_python3_saml():
    entra = FakeEntra()
    idp = OneLogin_Saml2_IdPMetadataParser.parse(entra.metadata())["idp"]
    assert (idp["entityId"], idp["singleSignOnService"]["url"], idp["x509cert"]) == (
        "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/",
        "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/saml2",
        entra.key.certificate_base64,
    )


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_request_is_read_from_a_redirect():
    entra = FakeEntra()
    xml = authn_request(f'ForceAuthn="true" Destination="{entra.sso_url}"')
    assert entra.read_request(redirect_url(entra, xml, RelayState="t", login_hint="a@contoso.com")) == AuthnRequest(
        id=REQUEST.id,
        issuer=ENTITY_ID,
        acs_url=ACS,
        force_authn=True,
        is_passive=False,
        destination=entra.sso_url,
        login_hint="a@contoso.com",
        relay_state="t",
    )


CONTEXT = "<samlp:RequestedAuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:{}</saml:AuthnContextClassRef>"
REFUSED = {
    "ID begins with a digit": authn_request(request_id="1abc"),
    "other destination": authn_request('Destination="https://login.example.net/"'),
    "subject": authn_request(children="<saml:Subject/>"),
    "unknown NameID format": authn_request(children='<samlp:NameIDPolicy Format="urn:x"/>'),
    "SPNameQualifier": authn_request(children='<samlp:NameIDPolicy SPNameQualifier="x"/>'),
    "authentication context": authn_request(
        children=CONTEXT.format("PasswordProtectedTransport") + "</samlp:RequestedAuthnContext>"
    ),
    "not a request": "<Response/>",
    "not XML": "<samlp:AuthnRequest",
    "a bomb": authn_request(children=" " * 200_000),
}


@pytest.mark.parametrize("xml", REFUSED.values(), ids=REFUSED.keys())
def test_what_entra_refuses_is_refused(xml: str):
    entra = FakeEntra()
    with pytest.raises(RequestRefused):
        entra.read_request(redirect_url(entra, xml))


@pytest.mark.parametrize("query", ["", "SAMLRequest=%21", "SAMLRequest=YWJj", "SAMLRequest=a&SAMLRequest=b"])
def test_a_url_without_one_readable_request_is_refused(query: str):
    entra = FakeEntra()
    with pytest.raises(RequestRefused):
        entra.read_request(f"{entra.sso_url}?{query}")


# --- the browser ------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def make_app(*cookies: str) -> Flask:
    """An app that sets these cookies at /set and shows at every other address what it was sent."""
    app = Flask(__name__)

    @app.get("/set")
    def set_cookies() -> Response:
        return Response("set", headers=[("Set-Cookie", cookie) for cookie in cookies], mimetype="text/html")

    @app.route("/seen", methods=["GET", "POST"])
    def seen() -> Response:
        shown = {"form": request.form.to_dict(flat=False), "args": request.args.to_dict(), "method": request.method}
        return Response(json.dumps(shown), mimetype="application/json")

    @app.route("/to", methods=["GET", "POST"])
    def to() -> Any:
        return redirect(request.args["url"], int(request.args.get("code", 303)))

    @app.route("/refresh", methods=["GET", "POST"])
    def refresh() -> str:
        return '<title>Signing you in</title><meta http-equiv="Refresh" content="0; URL=\'/seen?from=refresh&amp;n=1\'">'

    @app.get("/form")
    def form() -> Response:
        body = (
            f'<title> A form </title><a href="/seen?n=1">Go <b>on</b></a><form id="f" action="{request.args["action"]}" method="post">'
            '<input name="SAMLResponse" value="x+y="><input name="a" value="1"><input type="submit" name="go" value="2"></form>'
        )
        body += "<script>onload = () => document.forms[0].submit()</script>" if "auto" in request.args else ""
        headers = {"Referrer-Policy": request.args["policy"]} if "policy" in request.args else {}
        return Response(body, headers=headers, mimetype="text/html")

    return app


ALL = (
    "lax=1; Path=/; SameSite=Lax; Secure",
    "strict=1; Path=/; SameSite=Strict",
    "none=1; Path=/; SameSite=None; Secure",
    "absent=1; Path=/",
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def browser(clock: Clock) -> Browser:
    """A browser that has got all kinds of cookies from the app, and then went to the IdP's page."""
    browser = Browser({APP: make_app(*ALL), IDP: make_app(), "https://www.example.com": make_app()}, now=clock)
    browser.get(f"{APP}/set")
    clock.now += timedelta(seconds=10)
    browser.get(f"{IDP}/form?action={APP}/seen")
    return browser


def sent(page: Any, hop: int = -1) -> set[str]:
    return set(page.history[hop].cookies)


def test_a_cross_site_post_carries_no_lax_and_no_strict_cookie(browser: Browser):
    assert sent(browser.submit_saml_form()) == {"none", "absent"}


@pytest.mark.parametrize(("seconds", "is_sent"), [(110, True), (120, False)], ids=["120 s old", "130 s old"])
def test_a_cookie_without_samesite_is_lax_once_it_is_two_minutes_old(browser: Browser, clock: Clock, seconds: int, is_sent: bool):
    clock.now += timedelta(seconds=seconds)
    assert ("absent" in sent(browser.submit_saml_form())) is is_sent
    assert "absent" in sent(browser.get(f"{APP}/seen"))


def test_setting_the_same_value_again_does_not_make_a_cookie_young(browser: Browser, clock: Clock):
    clock.now += timedelta(seconds=120)
    browser.new_tab().get(f"{APP}/set")
    assert "absent" not in sent(browser.submit_saml_form())


def test_a_redirect_after_a_cross_site_post_carries_lax_cookies_and_not_strict_ones(browser: Browser):
    page = browser.submit(Form(f"{APP}/to?url=/seen"))
    assert [hop.method for hop in page.history] == ["POST", "GET"]
    assert sent(page) == {"lax", "none", "absent"}


def test_a_refresh_after_a_cross_site_post_carries_every_cookie(browser: Browser):
    page = browser.submit(Form(f"{APP}/refresh"))
    assert [hop.url for hop in page.history] == [f"{APP}/refresh", f"{APP}/seen?from=refresh&n=1"]
    assert sent(page, 0) == {"none", "absent"}
    assert sent(page) == {"lax", "strict", "none", "absent"}
    assert page.history[-1].headers["Sec-Fetch-Site"] == "same-origin"


def test_a_link_from_another_site_carries_no_strict_cookie_and_a_typed_address_every_one(browser: Browser):
    assert sent(browser.click(f"{APP}/seen")) == {"lax", "none", "absent"}
    assert sent(browser.get(f"{APP}/seen")) == {"lax", "strict", "none", "absent"}


def test_a_sub_domain_is_the_same_site_and_plain_http_is_another(browser: Browser):
    browser.get("https://www.example.com/form?action=/")
    page = browser.submit(Form(f"{APP}/seen"))
    assert sent(page) == {"lax", "strict", "none", "absent"}
    assert page.history[-1].headers["Sec-Fetch-Site"] == "same-site"
    browser.get("http://www.example.com/")
    assert sent(browser.submit(Form(f"{APP}/seen"))) == {"none", "absent"}


def test_hosts_on_loopback_are_sites_of_their_own_and_ports_are_not():
    app, idp, neighbour = "http://localhost:5000", "http://127.0.0.1:5001", "http://localhost:5001"
    browser = Browser({app: make_app("lax=1; SameSite=Lax"), idp: make_app(), neighbour: make_app()})
    browser.get(f"{app}/set")
    browser.get(f"{idp}/form?action=/")
    assert sent(browser.submit(Form(f"{app}/seen"))) == set()
    browser.get(f"{neighbour}/form?action=/")
    page = browser.submit(Form(f"{app}/seen"))
    assert sent(page) == {"lax"}
    assert page.history[-1].headers["Sec-Fetch-Site"] == "same-site"


COOKIES = {
    "__Host- as it must be": ("__Host-a=1; Secure; Path=/; HttpOnly", APP, True),
    "__Host- without Secure": ("__Host-a=1; Path=/", APP, False),
    "__Host- with another path": ("__Host-a=1; Secure; Path=/saml", APP, False),
    "__Host- without a path": ("__Host-a=1; Secure", APP, False),
    "__Host- with a domain": ("__Host-a=1; Secure; Path=/; Domain=app.example.com", APP, False),
    "__host- in small letters": ("__host-a=1; Path=/", APP, False),
    "__Host- over http": ("__Host-a=1; Secure; Path=/", "http://localhost", False),
    "__Secure- without Secure": ("__Secure-a=1", APP, False),
    "Secure over http": ("a=1; Secure", "http://localhost", False),
    "SameSite=None without Secure": ("a=1; SameSite=None", APP, False),
    "a parent's domain": ("a=1; Domain=.example.com", APP, True),
    "another's domain": ("a=1; Domain=example.net", APP, False),
    "too long": (f"a={'x' * 4096}", APP, False),
    "expired": ("a=1; Max-Age=0", APP, False),
    "Max-Age before Expires": ("a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", APP, True),
}


@pytest.mark.parametrize(("header", "origin", "is_kept"), COOKIES.values(), ids=COOKIES.keys())
def test_a_cookie_is_kept_only_where_a_browser_keeps_it(header: str, origin: str, is_kept: bool, clock: Clock):
    browser = Browser({origin: make_app(header)}, now=clock)
    browser.get(f"{origin}/set")
    assert bool(sent(browser.get(f"{origin}/seen"))) is is_kept
    assert bool(browser.jar.refused) is (not is_kept and "Max-Age=0" not in header)


def test_a_cookie_ends_with_its_max_age_and_reaches_only_its_path(clock: Clock):
    browser = Browser({APP: make_app("a=1; Max-Age=60; Path=/", "b=1; Path=/seen", "c=1; Path=/see")}, now=clock)
    browser.get(f"{APP}/set")
    assert sent(browser.get(f"{APP}/seen")) == {"a", "b"}
    clock.now += timedelta(seconds=60)
    assert sent(browser.get(f"{APP}/seen")) == {"b"}


def test_plain_http_neither_gets_nor_overwrites_a_secure_cookie(clock: Clock):
    http = "http://app.example.com"
    browser = Browser({APP: make_app("a=1; Secure; Path=/"), http: make_app("a=2; Path=/")}, now=clock)
    browser.get(f"{APP}/set")
    browser.get(f"{http}/set")
    assert sent(browser.get(f"{http}/seen")) == set()
    assert browser.get(f"{APP}/seen").history[-1].cookies == {"a": "1"}


def test_tabs_share_cookies_until_they_are_cleared(browser: Browser):
    tab = browser.new_tab()
    assert sent(tab.get(f"{APP}/seen")) == {"lax", "strict", "none", "absent"}
    tab.clear_cookies()
    assert sent(browser.submit_saml_form()) == set()


def test_a_navigation_says_where_it_comes_from(browser: Browser):
    typed = browser.page.history[-1].headers
    posted = browser.submit_saml_form().history[-1].headers
    assert (typed["Sec-Fetch-Site"], typed["Sec-Fetch-User"], "Origin" in typed, "Referer" in typed) == ("none", "?1", False, False)
    assert (posted["Sec-Fetch-Site"], posted["Sec-Fetch-Mode"], posted["Sec-Fetch-Dest"]) == ("cross-site", "navigate", "document")
    assert (posted["Origin"], posted["Referer"], "Sec-Fetch-User" in posted) == (IDP, f"{IDP}/", False)


@pytest.mark.parametrize(
    ("policy", "referer", "origin"),
    [("no-referrer", None, "null"), ("same-origin", None, "null"), ("unsafe-url", f"{IDP}/form", IDP), ("origin, bogus", f"{IDP}/", IDP)],
)
def test_a_referrer_policy_hides_the_page(browser: Browser, policy: str, referer: str | None, origin: str):
    browser.get(f"{IDP}/form?{urlencode({'action': f'{APP}/seen', 'policy': policy})}")
    headers = browser.submit_saml_form().history[-1].headers
    assert (headers.get("Referer", "").partition("?")[0] or None, headers["Origin"]) == (referer, origin)


@pytest.mark.parametrize(("code", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirect_keeps_the_method_or_becomes_get(browser: Browser, code: int, method: str):
    page = browser.submit(Form(f"{APP}/to?url=/seen&code={code}", fields=(("a", "ä&="),)))
    shown = json.loads(page.text)
    assert shown["method"] == method
    assert shown["form"] == ({"a": ["ä&="]} if method == "POST" else {})


def test_redirects_without_end_are_given_up():
    app = Flask("loop")
    app.add_url_rule("/loop", "loop", lambda: redirect("/loop"))
    with pytest.raises(TooManyHops):
        Browser({APP: app}).get(f"{APP}/loop")


def test_the_browser_stops_at_an_origin_without_an_app(browser: Browser):
    page = browser.get(f"{APP}/to?url=https://elsewhere.example/x%3Fy=1")
    assert (page.url, page.is_outside, page.text, page.forms) == ("https://elsewhere.example/x?y=1", True, "", ())


def test_forms_and_links_are_read_from_the_page(browser: Browser):
    page = browser.page
    assert page.title == "A form"
    assert [(link.text, link.href) for link in page.links] == [("Go on", f"{IDP}/seen?n=1")]
    assert page.forms == (Form(f"{APP}/seen", "POST", (("SAMLResponse", "x+y="), ("a", "1")), "f"),)
    shown = json.loads(browser.submit(page.forms[0], {"a": "3", "go": "2"}).text)
    assert shown["form"] == {"SAMLResponse": ["x+y="], "a": ["3"], "go": ["2"]}
    browser.back()
    assert json.loads(browser.click("Go on").text)["args"] == {"n": "1"}


def test_a_get_form_puts_its_fields_into_the_address(browser: Browser):
    page = browser.submit(Form(f"{APP}/seen?old=1", "GET", (("a", "b c"),)))
    assert page.url == f"{APP}/seen?a=b+c"


def test_reload_repeats_a_post_as_it_was(browser: Browser):
    first = browser.submit_saml_form()
    second = browser.reload()
    assert second.text == first.text
    assert second.history[0].headers == first.history[0].headers | {"Sec-Fetch-User": "?1"}


def test_back_skips_pages_that_sent_the_browser_on():
    browser = Browser({APP: make_app(), IDP: make_app()})
    browser.get(f"{APP}/set")
    browser.click(f"{IDP}/form?action={APP}/refresh")
    assert browser.submit_saml_form().url == f"{APP}/seen?from=refresh&n=1"
    assert browser.back().url == f"{APP}/set"
    with pytest.raises(LookupError):
        browser.back()


def test_a_browser_can_be_told_to_stay_on_a_refreshing_page():
    browser = Browser({APP: make_app()}, follows_refresh=False)
    page = browser.get(f"{APP}/refresh")
    assert (page.title, page.refresh_url) == ("Signing you in", f"{APP}/seen?from=refresh&n=1")
    assert browser.follow_refresh().url == page.refresh_url


# --- the browser beside a real one ------------------------------------------------------------------------------------

WATCHED = ("Cookie", "Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User")


class Servers:
    """An app on localhost and an IdP on 127.0.0.1, two sites that note what every request brought along."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.apps: dict[str, Flask] = {}
        self._servers = []
        for host in ("localhost", "127.0.0.1"):
            app = make_app("lax=1; Path=/; SameSite=Lax", "strict=1; Path=/; SameSite=Strict", "absent=1; Path=/")
            app.before_request(self._note)
            app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
            server = make_server(host, 0, app, threaded=True, request_handler=QuietHandler)
            self._servers.append(server)
            self.apps[f"http://{host}:{server.port}"] = app
        self.app_url, self.idp_url = self.apps

    def _note(self) -> None:
        if request.path != "/favicon.ico":
            self.log.append((request.method, request.url, *(request.headers.get(name) for name in WATCHED)))

    def __enter__(self) -> Servers:
        for server in self._servers:
            Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        """Nothing: pytest shows what matters."""


class RealBrowser:
    """Chromium with the verbs of the test browser."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def get(self, url: str) -> None:
        self.page.goto(url)

    def click(self, url: str) -> None:
        script = "url => document.body.append(Object.assign(document.createElement('a'), {href: url, id: 'added', text: 'x'}))"
        self.page.evaluate(script, url)
        self.page.click("#added")

    def press(self) -> None:
        self.page.click("[type=submit]")

    def click_through(self, url: str) -> None:
        self.click(url)

    def reload(self) -> None:
        self.page.reload()

    def back(self) -> None:
        self.page.go_back()


class PressingBrowser(Browser):
    """The test browser with verbs for what Chromium does by a button, or by a script on the page."""

    def press(self) -> None:
        self.submit(self.page.forms[0], {"go": "2"})

    def click_through(self, url: str) -> None:
        self.click(url)
        self.submit_saml_form()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


# Steps are (verb, address?); {app} and {idp} stand for the two servers' origins.
START: tuple[tuple[str, ...], ...] = (("get", "{app}/set"),)
WAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "posted from elsewhere": (("click", "{idp}/form?action={app}/seen"), ("press",)),
    "posted by script": (("click_through", "{idp}/form?auto=1&action={app}/seen"),),
    "posted by script, then back": (("click_through", "{idp}/form?auto=1&action={app}/refresh"), ("back",)),
    "posted, then refreshed": (("click", "{idp}/form?action={app}/refresh"), ("press",)),
    "posted, then reloaded": (("click", "{idp}/form?action={app}/seen"), ("press",), ("reload",)),
    "refreshed, then reloaded": (("click", "{idp}/form?action={app}/refresh"), ("press",), ("reload",)),
    "linked from elsewhere, then reloaded": (("get", "{idp}/form?action=x"), ("click", "{app}/seen"), ("reload",)),
    "typed, then reloaded": (("get", "{app}/seen"), ("reload",)),
    "through elsewhere and back": (("click", "{idp}/to?url={app}/seen"),),
    "typed, through elsewhere and back": (("get", "{idp}/to?url={app}/seen"),),
    **{
        f"posted, then redirected by {code}": (("get", f"{{idp}}/form?action={{app}}/to?url=/seen%26code={code}"), ("press",))
        for code in (302, 303, 307)
    },
    **{
        f"posted elsewhere, which answers {code}": (
            ("get", f"{{app}}/form?action={{idp}}/to?url={{app}}/seen%26code={code}"),
            ("press",),
        )
        for code in (303, 307)
    },
    **{
        f"Referrer-Policy {policy}": (("get", f"{{idp}}/form?action={{app}}/seen&policy={policy}"), ("press",))
        for policy in ("no-referrer", "same-origin", "origin", "strict-origin", "unsafe-url")
    },
    "own form without referrer": (("get", "{app}/form?action=/seen&policy=no-referrer"), ("press",)),
}


@pytest.mark.parametrize("steps", WAYS.values(), ids=WAYS.keys())
def test_requests_are_those_that_chromium_makes(chromium: Any, servers: Servers, steps: tuple[tuple[str, ...], ...]):
    ours = PressingBrowser(servers.apps)
    context = chromium.new_context()
    real = RealBrowser(context.new_page())
    logs: list[list[tuple[Any, ...]]] = [[], []]
    for verb, *address in START + steps:
        urls = [url.format(app=servers.app_url, idp=servers.idp_url) for url in address]
        for browser, log in zip((ours, real), logs, strict=True):
            servers.log.clear()
            getattr(browser, verb)(*urls)
            if browser is real:
                real.page.wait_for_url(ours.page.url)
            log.extend(servers.log)
    context.close()
    assert logs[0] == logs[1]


# --- hosts ------------------------------------------------------------------------------------------------------------


def make_host(entra: FakeEntra) -> Flask:
    """A service provider in a few lines of python3-saml, so that `sign_in` is tested with nothing of ours behind it."""
    app = Flask("host")

    @app.get("/login")
    def login() -> Any:
        return redirect(redirect_url(entra, authn_request(), RelayState="/reports"))

    @app.post("/saml/contoso/acs")
    def acs() -> Any:
        response = accept(base64.b64decode(request.form["SAMLResponse"]), entra)
        return redirect(f"{request.form['RelayState']}?user={response.get_nameid()}", 303)

    app.add_url_rule("/reports", "reports", lambda: f"Hello {request.args['user']}")
    return app


def test_a_host_tests_its_sign_in_in_one_call(fake_entra: FakeEntra, saml_browser: Callable[..., Browser]):
    browser = saml_browser({APP: make_host(fake_entra)})
    page = sign_in(browser, fake_entra, ADELE, f"{APP}/login")
    assert (page.status, page.text) == (200, "Hello adele.vance@contoso.example")
    assert [hop.method for hop in page.history] == ["POST", "GET"]


def test_signing_in_where_no_sign_in_begins_says_where_it_led(fake_entra: FakeEntra, saml_browser: Callable[..., Browser]):
    with pytest.raises(AssertionError, match=r"/reports\?user=x \(status 200\)"):
        sign_in(saml_browser({APP: make_host(fake_entra)}), fake_entra, ADELE, f"{APP}/reports?user=x")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_loading_the_plugin_loads_none_of_the_tools():
    code = "import sys, samljit.testing.plugin; print(*sorted(name for name in sys.modules if name.startswith('samljit.testing')))"
    assert run_python("-c", code).stdout.split() == ["samljit.testing", "samljit.testing.plugin"]


def test_the_command_writes_a_key_a_certificate_and_metadata(tmp_path: Path):
    certs = tmp_path / "new" / "certs"
    done = run_python("-m", "samljit.testing", str(certs))
    assert (done.returncode, done.stdout.split()) == (0, [str(certs / n) for n in ("sp.key", "sp.crt", "contoso-metadata.xml")])
    assert (certs / "sp.key").stat().st_mode & 0o777 == 0o600
    assert x509.load_pem_x509_certificate((certs / "sp.crt").read_bytes()).not_valid_after_utc > utc_now()
    idp = OneLogin_Saml2_IdPMetadataParser.parse((certs / "contoso-metadata.xml").read_bytes())["idp"]
    assert idp["entityId"] == f"https://sts.windows.net/{TENANT}/"


def test_the_command_replaces_files_only_when_told_to(tmp_path: Path):
    (tmp_path / "sp.crt").write_text("mine")
    refused = run_python("-m", "samljit.testing", str(tmp_path))
    assert (refused.returncode, sorted(path.name for path in tmp_path.iterdir())) == (1, ["sp.crt"])
    assert run_python("-m", "samljit.testing", str(tmp_path), "--force").returncode == 0
    assert (tmp_path / "sp.crt").read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    assert run_python("-m", "samljit.testing", str(tmp_path / "sp.crt")).returncode == 1
    assert run_python("-m", "samljit.testing").returncode == 2
