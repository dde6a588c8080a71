"""What our metadata says to an IdP's admin and to their software, always valid against the SAML schema."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import onelogin.saml2
import pytest
from lxml import etree

from samljit.model import (
    FieldRule,
    Guests,
    IdentityProvider,
    MappingRules,
    Policy,
    Requirement,
    RequireSignature,
    RoleRules,
    Tenant,
    ValueType,
)
from samljit.saml.sp_metadata import build_sp_metadata
from samljit.settings import read_settings
from samljit.tenants import outline_tenant
from samljit.testing import signing_key
from tests.test_requests import CONTOSO

MD = {"md": "urn:oasis:names:tc:SAML:2.0:metadata", "ds": "http://www.w3.org/2000/09/xmldsig#"}
OURS, NEXT = signing_key("our own"), signing_key("our next one")
PEMS = (OURS.certificate_pem, NEXT.certificate_pem)
EMAIL = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
GIVEN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname"
OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
SCHEMA = etree.XMLSchema(etree.parse(Path(onelogin.saml2.__file__).parent / "schemas" / "saml-schema-metadata-2.0.xsd"))


def rule(target: str, *sources: str, **more: Any) -> FieldRule:
    return FieldRule(target, ValueType.STRING, sources, **more)


FULL = replace(
    CONTOSO,
    mapping=MappingRules(
        OBJECT_ID,
        fields=(
            rule("email", EMAIL, required=True),
            rule("name", GIVEN, "NameID", required=True),
            rule("shown", template_parts=(("", GIVEN), (" ", "dept & <co>"), ("!", None))),
            rule("origin", value="entra", has_value=True),
        ),
        roles=RoleRules(sources=(ROLE, EMAIL), map={}),
    ),
)


def described(tenant: Tenant, certificates: tuple[bytes, ...] = PEMS) -> etree._Element:
    root = etree.fromstring(build_sp_metadata(tenant, certificates=certificates))
    SCHEMA.assertValid(root)
    return root


def keys(root: etree._Element) -> list[tuple[str, bytes]]:
    found = root.iterfind(".//md:KeyDescriptor", MD)
    return [(key.get("use"), base64.b64decode(key.findtext(".//ds:X509Certificate", namespaces=MD))) for key in found]


CURRENT_AND_NEXT = [OURS.certificate_der, NEXT.certificate_der]


@pytest.mark.parametrize(
    ("sign_requests", "uses", "said"),
    [(False, ["encryption"], "false"), (True, ["signing", "encryption"], "true")],
    ids=["unsigned requests", "signed requests"],
)
def test_keys_stand_there_by_their_use_the_current_one_first(sign_requests: bool, uses: list[str], said: str) -> None:
    root = described(replace(FULL, sign_requests=sign_requests))
    assert keys(root) == [(use, der) for use in uses for der in CURRENT_AND_NEXT]
    assert root.find("md:SPSSODescriptor", MD).get("AuthnRequestsSigned") == said


def test_without_keys_there_are_none() -> None:
    assert keys(described(FULL, ())) == []


@pytest.mark.parametrize("require", RequireSignature)
def test_assertions_are_wanted_signed_but_where_only_the_response_counts(require: RequireSignature) -> None:
    role = described(replace(FULL, require_signature=require)).find("md:SPSSODescriptor", MD)
    assert role.get("WantAssertionsSigned") == ("false" if require is RequireSignature.RESPONSE else "true")


IDP = IdentityProvider("https://idp.example/", "https://idp.example/sso", ())


@pytest.mark.parametrize(
    ("idp", "is_there"),
    [(None, True), (IDP, False), (replace(IDP, slo_url="https://idp.example/slo"), True)],
    ids=["not connected yet", "an IdP without single logout", "an IdP with single logout"],
)
def test_single_logout_is_offered_where_the_idp_may_know_it(idp: IdentityProvider | None, is_there: bool) -> None:
    services = described(replace(FULL, idp=idp)).findall(".//md:SingleLogoutService", MD)
    place = {"Binding": "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", "Location": "https://app.example.com/saml/contoso/sls"}
    assert [dict(service.attrib) for service in services] == ([place] if is_there else [])


def test_the_acs_is_the_default_one_with_the_index_0() -> None:
    [service] = described(FULL).findall(".//md:AssertionConsumerService", MD)
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
    assert dict(service.attrib) == {"Binding": binding, "Location": FULL.acs_url, "index": "0", "isDefault": "true"}


def test_the_claims_that_the_mapping_reads_are_asked_for() -> None:
    asked = described(FULL).findall(".//md:RequestedAttribute", MD)
    assert [(one.get("Name"), one.get("FriendlyName"), one.get("isRequired")) for one in asked] == [
        (OBJECT_ID, "objectidentifier", "true"),
        (EMAIL, "emailaddress", "true"),
        (GIVEN, "givenname", "false"),
        ("dept & <co>", None, "false"),
        (ROLE, "role", "false"),
    ]
    formats = {one.get("Name"): one.get("NameFormat") for one in asked}
    assert (formats[EMAIL], formats["dept & <co>"]) == ("urn:oasis:names:tc:SAML:2.0:attrname-format:uri", None)


def test_what_the_tenant_fence_and_the_policy_read_is_asked_for_too() -> None:
    policy = Policy(guests=Guests.DENY, require=(Requirement(("department",), frozenset({"it"})),))
    tenant = replace(CONTOSO, entra_tenant_id="aaaabbbb-0000-cccc-1111-dddd2222eeee", mapping=MappingRules("NameID", policy=policy))
    asked = described(tenant).findall(".//md:RequestedAttribute", MD)
    names = {one.get("Name").rpartition("/")[2]: one.get("isRequired") for one in asked}
    assert names == {"tenantid": "true", "department": "false", "acct": "false", "identityprovider": "false"}


def test_a_mapping_that_reads_the_name_id_alone_asks_for_nothing() -> None:
    root = described(replace(CONTOSO, mapping=MappingRules("NameID")))
    assert root.find(".//md:AttributeConsumingService", MD) is None


def test_a_tenant_that_cannot_be_used_as_it_stands_has_metadata_all_the_same(tmp_path: Path) -> None:
    settings, _ = read_settings({"base_url": "https://app.example.com"}, base=tmp_path)
    assert settings is not None
    root = described(outline_tenant("broken", {"preset": "nonsense"}, settings, tenant_id=UUID(int=7)))
    assert root.find(".//md:RequestedAttribute", MD) is None


@pytest.mark.parametrize(("written", "told"), [("urn:x", "urn:x"), ("\x00", None), (["x"], None)], ids=["text", "control", "list"])
def test_its_identifier_stays_the_one_that_entra_knows(tmp_path: Path, written: object, told: str | None) -> None:
    settings, _ = read_settings({"base_url": "https://app.example.com"}, base=tmp_path)
    assert settings is not None
    root = described(outline_tenant("broken", {"entity_id": written}, settings, tenant_id=UUID(int=7)))
    assert root.get("entityID") == (told or "https://app.example.com/saml/broken/metadata")


def test_a_name_id_format_is_named_where_it_is_configured() -> None:
    persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    tenants = [replace(FULL, name_id_format=wanted) for wanted in (persistent, None)]
    assert [described(tenant).findtext(".//md:NameIDFormat", namespaces=MD) for tenant in tenants] == [persistent, None]
