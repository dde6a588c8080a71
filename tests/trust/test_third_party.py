"""Messages from a hand that is not ours: pysaml2 as the IdP, and our metadata in its parser and under the SAML schema."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onelogin.saml2
import pytest
from lxml import etree

from samljit.testing import FakeEntra, Form, signing_key
from tests.conftest import Mount
from tests.host import ACS, ADELE, ENTITY_ID, FIELDS, LOGIN, ORIGIN, Host, make_host

IDP = "https://idp.example.org/idp"
SSO = "https://idp.example.org/sso"
URI_FORMAT = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
MICROSOFT = "http://schemas.microsoft.com/identity/claims/"


@pytest.fixture
def xmlsec1() -> str:
    """pysaml2 signs with this program."""
    found = shutil.which("xmlsec1")
    if found is None:
        how = "pysaml2 needs the program xmlsec1; to switch this test on: apt-get install xmlsec1"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return found


@pytest.fixture
def third_party_host(tmp_path: Path) -> Iterator[Host]:
    entra = FakeEntra(entity_id=IDP, sso_url="https://login.microsoftonline.com/third/saml2")
    host = make_host(tmp_path, entra=entra, tenant={"mapping": {"fields": FIELDS}})
    yield host
    host.session.remove()
    host.engine.dispose()


def make_idp(directory: Path, host: Host, xmlsec1: str) -> Any:
    """pysaml2's IdP with Fake Entra's key, and our metadata as it is served."""
    from saml2 import BINDING_HTTP_REDIRECT
    from saml2.config import IdPConfig
    from saml2.server import Server

    key, certificate, metadata = (directory / name for name in ("idp.key", "idp.crt", "sp.xml"))
    key.write_bytes(signing_key().private_key_pem)
    certificate.write_bytes(signing_key().certificate_pem)
    metadata.write_bytes(host.app.test_client().get(ENTITY_ID).data)
    config = {
        "entityid": IDP,
        "xmlsec_binary": xmlsec1,
        "key_file": str(key),
        "cert_file": str(certificate),
        "metadata": {"local": [str(metadata)]},
        "service": {
            "idp": {
                "endpoints": {"single_sign_on_service": [(SSO, BINDING_HTTP_REDIRECT)]},
                "name_id_format": ["urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"],
                "policy": {"default": {"lifetime": {"minutes": 15}, "attribute_restrictions": None, "name_form": URI_FORMAT}},
            }
        },
    }
    return Server(config=IdPConfig().load(config))


CLAIMS = {
    f"{MICROSOFT}tenantid": "aaaabbbb-0000-cccc-1111-dddd2222eeee",
    f"{MICROSOFT}objectidentifier": ADELE.object_id,
    f"{XMLSOAP}givenname": "Adèle & <Co>",
    f"{XMLSOAP}surname": "Vance",
    f"{XMLSOAP}emailaddress": "adele.vance@contoso.example",
}


def signed_by_pysaml2(response: Any, idp: Any, *, parts: str) -> str:
    """The response signed by pysaml2, innermost first.

    Its own `create_authn_response(sign_assertion=True)` numbers the Signatures (`Id="Signature1"`), and a second kind of ID is what
    the gate refuses (trust: 3); so its two steps are called without the number.
    """
    from saml2.sigver import class_name, pre_signature_part, signed_instance_factory

    elements = {"assertion": [response.assertion], "response": [response], "both": [response.assertion, response]}[parts]
    for element in elements:
        element.signature = pre_signature_part(
            element.id,
            idp.sec.my_cert,
            digest_alg="http://www.w3.org/2001/04/xmlenc#sha256",
            sign_alg="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        )
    return str(signed_instance_factory(response, idp.sec, [(class_name(element), element.id) for element in elements]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("signed", ["assertion", "response", "both"])
def test_a_response_that_pysaml2_made_and_signed_signs_its_person_in(
    tmp_path: Path, third_party_host: Host, xmlsec1: str, signed: str
) -> None:
    from saml2.authn_context import PASSWORD
    from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID

    host = third_party_host
    idp = make_idp(tmp_path, host, xmlsec1)
    browser = host.browser()
    request = host.entra.read_request(browser.get(f"{LOGIN}?next=/reports/7").url)
    response = idp.create_authn_response(
        identity={name: [value] for name, value in CLAIMS.items()},
        in_response_to=request.id,
        destination=ACS,
        sp_entity_id=ENTITY_ID,
        name_id=NameID(format=NAMEID_FORMAT_EMAILADDRESS, text="adele.vance@contoso.example"),
        authn={"class_ref": PASSWORD, "authn_instant": int(datetime.now(UTC).timestamp())},
        sign_assertion=False,
        sign_response=False,
    )
    xml = signed_by_pysaml2(response, idp, parts=signed)
    assert "ns0:Response" in xml  # prefixes as no Entra writes them
    assert 'NameFormat="' in xml
    assert 'type="xs:string"' in xml
    page = browser.submit(Form(ACS, fields=(("SAMLResponse", encoded(xml)),)), by_script=True)
    assert host.reasons() == [], [row.detail for row in host.rows("samljit_attempt")]
    assert (page.status, page.url) == (200, f"{ORIGIN}/reports/7")
    [user] = host.users()
    assert (user["email"], user["first_name"]) == ("adele.vance@contoso.example", "Adèle & <Co>")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("assertion", "response"), [(True, False), (False, True), (True, True)])
def test_the_preset_generic_takes_what_pysaml2_signs_by_itself(
    tmp_path: Path, mount: Mount, xmlsec1: str, assertion: bool, response: bool
) -> None:
    """With its numbered Signatures, and the OIDs that it makes of attributes by itself."""
    from saml2.authn_context import PASSWORD
    from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID

    tenant = {"preset": "generic", "entra_tenant_id": None, "mapping": {"fields": FIELDS}}
    host = mount(entra=FakeEntra(entity_id=IDP, sso_url=SSO, slo_url=SSO), tenant=tenant)
    idp = make_idp(tmp_path, host, xmlsec1)
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    xml = idp.create_authn_response(
        identity={"mail": ["adele.vance@contoso.example"], "givenName": ["Ad\u00e8le & <Co>"], "sn": ["Vance"]},
        in_response_to=request.id,
        destination=ACS,
        sp_entity_id=ENTITY_ID,
        name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text="a lasting one"),
        authn={"class_ref": PASSWORD, "authn_instant": int(datetime.now(UTC).timestamp())},
        sign_assertion=assertion,
        sign_response=response,
        sign_alg="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        digest_alg="http://www.w3.org/2001/04/xmlenc#sha256",
    )
    assert 'Id="Signature' in str(xml)
    page = browser.submit(Form(ACS, fields=(("SAMLResponse", encoded(str(xml))),)), by_script=True)
    assert host.reasons() == [], [row.detail for row in host.rows("samljit_attempt")]
    assert page.text == "user 1"
    [user] = host.users()
    assert (user["email"], user["first_name"]) == ("adele.vance@contoso.example", "Ad\u00e8le & <Co>")


def encoded(xml: str) -> str:
    return base64.b64encode(xml.encode()).decode()


@pytest.mark.filterwarnings("ignore")
def test_49_pysaml2_reads_our_metadata(host: Host) -> None:
    from saml2.mdstore import InMemoryMetaData

    metadata = InMemoryMetaData(None, host.app.test_client().get(ENTITY_ID).text)
    metadata.load()
    services = metadata.service(ENTITY_ID, "spsso_descriptor", "assertion_consumer_service")
    found = {binding: [service["location"] for service in offered] for binding, offered in services.items()}
    assert found == {"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST": [ACS]}


def test_49_our_metadata_is_valid_against_the_saml_schema(host: Host) -> None:
    schemas = Path(onelogin.saml2.__file__).parent / "schemas"
    schema = etree.XMLSchema(etree.parse(schemas / "saml-schema-metadata-2.0.xsd"))
    answered = host.app.test_client().get(ENTITY_ID)
    schema.assertValid(etree.fromstring(answered.data))
    assert answered.mimetype == "application/samlmetadata+xml"
