"""trust 47: what is taken from an IdP's metadata, and what never is."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from samljit.model import IdentityProvider
from samljit.saml.certificates import read_certificates
from samljit.saml.idp_metadata import LARGEST_METADATA, read_idp_metadata
from samljit.testing.keys import KeyPair, make_key_pair
from samljit.testing.metadata import write_metadata

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TENANT = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
ENTITY_ID = f"https://sts.windows.net/{TENANT}/"
SAML2_URL = f"https://login.microsoftonline.com/{TENANT}/saml2"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"


@cache
def pair(name: str, *, bits: int = 2048, ends: datetime = datetime(2029, 1, 1, tzinfo=UTC)) -> KeyPair:
    return make_key_pair(common_name=name, valid_from=datetime(2026, 1, 1, tzinfo=UTC), valid_until=ends, bits=bits)


def key_info(content: str) -> str:
    return (
        '<KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data>'
        f"<X509Certificate>{content}</X509Certificate></X509Data></KeyInfo>"
    )


def key(name: str, *, use: str | None = "signing", **kind: object) -> str:
    written = f' use="{use}"' if use else ""
    return f"<KeyDescriptor{written}>{key_info(pair(name, **kind).certificate_base64)}</KeyDescriptor>"  # type: ignore[arg-type]


def endpoint(kind: str, *, binding: str = REDIRECT, location: str = SAML2_URL) -> str:
    return f'<{kind} Binding="{binding}" Location="{location}"/>'


SSO, SLO = endpoint("SingleSignOnService"), endpoint("SingleLogoutService")


def role(*, keys: str = "", endpoints: str = SLO + SSO, protocol: str = PROTOCOL, attributes: str = "") -> str:
    return (
        f'<IDPSSODescriptor protocolSupportEnumeration="{protocol}"{attributes}>{keys or key("active")}{endpoints}</IDPSSODescriptor>'
    )


def document(*roles: str, entity_id: str = ENTITY_ID, attributes: str = "", before: str = "") -> bytes:
    return (
        f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" ID="_1" entityID="{entity_id}"{attributes}>'
        f"{before}{''.join(roles or (role(),))}</EntityDescriptor>"
    ).encode()


def read(xml: bytes, *, expected: str | None = None) -> tuple[IdentityProvider | None, list[tuple[str, bool]]]:
    idp, problems = read_idp_metadata(xml, path="$.here", expected_entity_id=expected, now=NOW)
    assert {problem.path for problem in problems} <= {"$.here"}
    return idp, [(problem.code, problem.is_warning) for problem in problems]


def subjects(xml: bytes) -> set[str]:
    idp, _ = read(xml)
    assert idp is not None
    return {certificate.subject for certificate in idp.certificates}


# --- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("active", "next"), ("next", "active"), ("next", "active", "next")], ids="-".join)
def test_entras_own_shape_is_read_with_all_certificates_in_any_order(order: tuple[str, ...]) -> None:
    keys = [pair(name) for name in order]
    xml = write_metadata(entity_id=ENTITY_ID, sso_url=SAML2_URL, slo_url=SAML2_URL + "?slo", keys=keys, signer=pair("active"))
    assert xml.startswith(codecs.BOM_UTF8)

    idp, problems = read(xml, expected=ENTITY_ID)

    once = list(dict.fromkeys(order))
    certificates = tuple(read_certificates(pair(name).certificate_der)[0] for name in once)
    assert idp == IdentityProvider(entity_id=ENTITY_ID, sso_url=SAML2_URL, slo_url=SAML2_URL + "?slo", certificates=certificates)
    assert problems == []


def test_the_sample_of_an_entra_document_is_read() -> None:
    sample = (Path(__file__).parent / "samples/entra-federation-metadata.xml").read_text()
    for place, name in (("CURRENT", "active"), ("NEXT", "next")):
        sample = sample.replace(f"{{{{SIGNING_CERT_{place}}}}}", pair(name).certificate_base64)

    idp, problems = read(sample.encode())

    assert problems == []
    assert idp is not None
    assert (idp.entity_id, idp.sso_url, idp.slo_url) == (ENTITY_ID, SAML2_URL, SAML2_URL)
    assert [certificate.subject for certificate in idp.certificates] == ["CN=active", "CN=next"]


def test_trust_47_keys_come_from_the_idp_role_alone() -> None:
    wsfed = (
        '<RoleDescriptor xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" xsi:type="fed:SecurityTokenServiceType" '
        f'protocolSupportEnumeration="{PROTOCOL}">{key("wsfed")}</RoleDescriptor>'
    )
    signature = f'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{key_info(pair("signer").certificate_base64)}</Signature>'
    other_roles = (
        f'<SPSSODescriptor protocolSupportEnumeration="{PROTOCOL}">{key("sp")}</SPSSODescriptor>'
        f'<AttributeAuthorityDescriptor protocolSupportEnumeration="{PROTOCOL}">{key("attributes")}</AttributeAuthorityDescriptor>'
    )
    extensions = f"<Extensions>{key('extension')}{role(keys=key('nested'))}</Extensions>"
    old_protocol = role(keys=key("saml11"), protocol="urn:oasis:names:tc:SAML:1.1:protocol")
    keys = key("active") + key("unnamed", use=None) + key("encryption", use="encryption")

    xml = document(old_protocol, role(keys=keys), other_roles, before=signature + extensions + wsfed)

    assert subjects(xml) == {"CN=active", "CN=unnamed"}


def utf16(xml: bytes) -> bytes:
    return ('<?xml version="1.0" encoding="utf-16"?>' + xml.decode()).encode("utf-16")


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda xml: xml, id="UTF-8"),
        pytest.param(lambda xml: codecs.BOM_UTF8 + xml, id="UTF-8 with a BOM"),
        pytest.param(lambda xml: codecs.BOM_UTF8 + b'<?xml version="1.0" encoding="utf-8"?>\r\n' + xml, id="BOM and declaration"),
        pytest.param(utf16, id="UTF-16"),
        pytest.param(lambda xml: xml.replace(b"<X509Cert", b"<!-- a --><?b?><X509Cert"), id="comments and instructions"),
        pytest.param(lambda xml: xml.replace(b"urn:oasis:names:tc:SAML:2.0:protocol", PROTOCOL.encode() + b" urn:x"), id="two protocols"),
    ],
)
def test_the_same_document_is_read_in_other_clothes(encode) -> None:
    idp, problems = read(encode(document()))

    assert (idp is not None, problems) == (True, [])


def test_a_comment_inside_a_value_cuts_nothing_off() -> None:
    content = pair("active").certificate_base64
    keys = f"<KeyDescriptor>{key_info(content[:40] + '<!-- -->' + content[40:])}</KeyDescriptor>"

    assert subjects(document(role(keys=keys))) == {"CN=active"}


def test_an_idp_without_logout_is_an_idp() -> None:
    idp, problems = read(document(role(endpoints=SSO + endpoint("SingleLogoutService", binding=POST))))

    assert problems == []
    assert idp is not None
    assert idp.slo_url is None


# --- what is refused --------------------------------------------------------------------------------------------------

OTHER_URL = "https://login.microsoftonline.com/other/saml2"
FEDERATION = b'<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">' + document() + b"</EntitiesDescriptor>"
SP_ONLY = f'<SPSSODescriptor protocolSupportEnumeration="{PROTOCOL}"/>'


def with_doctype(declarations: str, *, entity_id: str = ENTITY_ID) -> bytes:
    return f"<!DOCTYPE EntityDescriptor {declarations}>".encode() + document(entity_id=entity_id)


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        pytest.param(b"", "xml_malformed", id="nothing"),
        pytest.param(b"\x00\xff", "xml_malformed", id="bytes"),
        pytest.param(document()[:-3], "xml_malformed", id="cut off"),
        pytest.param(document() + b"<a/>", "xml_malformed", id="something behind it"),
        pytest.param(b"<a>" * 5_000, "xml_malformed", id="very deep"),
        pytest.param(document() + b" " * LARGEST_METADATA, "too_large", id="too large"),
        pytest.param(b"<html><body>Sign in</body></html>", "not_metadata", id="a web page"),
        pytest.param(document().replace(b"SAML:2.0:metadata", b"SAML:1.0:metadata"), "not_metadata", id="another namespace"),
        pytest.param(FEDERATION, "several_entities", id="a federation"),
        pytest.param(with_doctype(""), "xml_forbidden", id="DOCTYPE"),
        pytest.param(with_doctype('SYSTEM "file:///etc/passwd"'), "xml_forbidden", id="external DTD"),
        pytest.param(with_doctype('[<!ENTITY a "b">]', entity_id="&a;"), "xml_forbidden", id="entity in an attribute"),
        pytest.param(with_doctype('[<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]'), "xml_forbidden", id="parameter entity"),
        pytest.param(document(entity_id=""), "entity_id_missing", id="no entityID"),
        pytest.param(document(entity_id=" "), "entity_id_missing", id="blank entityID"),
        pytest.param(document(entity_id="https://x/" + "a" * 1015), "entity_id_missing", id="entityID of 1025 characters"),
        pytest.param(document(entity_id="https://sts.windows.net/{tenant}/"), "common_metadata", id="common"),
        pytest.param(document(SP_ONLY), "no_idp", id="metadata of a service provider"),
        pytest.param(document(role(protocol="urn:oasis:names:tc:SAML:1.1:protocol")), "no_idp", id="SAML 1.1 only"),
        pytest.param(document(role(protocol=PROTOCOL + "x")), "no_idp", id="a protocol that begins like SAML 2.0"),
        pytest.param(document(f"<Extensions>{role()}</Extensions>"), "no_idp", id="an IdP role in the wrong place"),
        pytest.param(document(role(), role()), "several_idps", id="two IdP roles"),
        pytest.param(document(role(endpoints="")), "endpoint_missing", id="no endpoint"),
        pytest.param(
            document(role(endpoints=endpoint("SingleSignOnService", binding=POST))), "endpoint_missing", id="no redirect endpoint"
        ),
        pytest.param(document(role(endpoints=endpoint("SingleSignOnService", location=""))), "endpoint_missing", id="no Location"),
        pytest.param(
            document(role(endpoints=SSO + endpoint("SingleSignOnService", location=OTHER_URL))),
            "several_endpoints",
            id="two sign-on endpoints",
        ),
        pytest.param(
            document(role(endpoints=SSO + SLO + endpoint("SingleLogoutService", location=OTHER_URL))),
            "several_endpoints",
            id="two logout endpoints",
        ),
        pytest.param(document(role(keys="<KeyDescriptor/>")), "certificate_missing", id="no certificate"),
        pytest.param(document(role(keys=key("active", use="encryption"))), "certificate_missing", id="a key for encryption alone"),
        pytest.param(document(role(keys=key("active", use="Signing"))), "certificate_missing", id="an unknown use"),
        pytest.param(document(role(keys=key("small", bits=1024))), "certificate_unusable", id="RSA 1024 alone"),
        pytest.param(document(attributes=' validUntil="soon"'), "valid_until_malformed", id="validUntil is no time"),
        pytest.param(document(attributes=' validUntil="2026-13-01T00:00:00Z"'), "valid_until_malformed", id="validUntil never is"),
    ],
)
def test_trust_47_a_document_that_says_something_else_is_refused(xml: bytes, code: str) -> None:
    assert read(xml) == (None, [(code, False)])


def test_trust_47_another_entity_id_than_expected_is_refused() -> None:
    assert read(document(), expected=ENTITY_ID.rstrip("/")) == (None, [("entity_id_mismatch", False)])


def test_the_common_document_is_explained() -> None:
    _, (problem,) = read_idp_metadata(document(entity_id="https://sts.windows.net/{tenant}/"), path="$", now=NOW)

    assert "/common/" in problem.hint


def test_all_that_is_wrong_with_an_idp_role_is_said_at_once() -> None:
    xml = document(role(keys=key("small", bits=1024), endpoints=""))

    assert read(xml) == (None, [("endpoint_missing", False), ("certificate_unusable", False)])


def test_entities_that_multiply_are_refused_before_they_grow() -> None:
    levels = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 50}">' for level in range(1, 10))
    xml = with_doctype(f'[<!ENTITY e0 "{"a" * 1000}">{levels}]', entity_id="&e9;")

    assert read(xml) in [(None, [("xml_malformed", False)]), (None, [("xml_forbidden", False)])]


def test_nothing_outside_the_bytes_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("https://sts.windows.net/secret/")
    xml = with_doctype(f'[<!ENTITY a SYSTEM "{secret.as_uri()}">]').replace(b"</EntityDescriptor>", b"&a;</EntityDescriptor>")
    include = document(f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{secret.as_uri()}" parse="text"/>')

    assert read(xml) == (None, [("xml_forbidden", False)])
    assert read(include) == (None, [("no_idp", False)])


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("valid_until", "is_good"),
    [
        pytest.param("2026-11-22T09:00:01Z", True, id="a second ahead"),
        pytest.param("2026-11-22T09:00:00Z", False, id="now"),
        pytest.param("2026-11-22T10:00:01+01:00", True, id="ahead in another zone"),
        pytest.param("2026-11-22T10:00:00+01:00", False, id="now in another zone"),
        pytest.param("2026-11-22T09:00:00.5000000Z", True, id="half a second ahead"),
        pytest.param("2026-11-22T09:00:00", False, id="now, no zone"),
    ],
)
@pytest.mark.parametrize("place", ["entity", "role"])
def test_trust_47_valid_until_is_honoured(valid_until: str, is_good: bool, place: str) -> None:
    attribute = f' validUntil="{valid_until}"'
    xml = document(attributes=attribute) if place == "entity" else document(role(attributes=attribute))

    idp, problems = read(xml)

    # over is a warning, not an error: this tenant refuses, the others run
    assert (idp is not None, problems) == ((True, []) if is_good else (False, [("metadata_expired", True)]))


def test_an_expired_certificate_is_kept_and_said() -> None:
    xml = document(role(keys=key("old", ends=NOW - timedelta(days=1)) + key("active")))

    idp, problems = read(xml)

    assert idp is not None
    assert [certificate.subject for certificate in idp.certificates] == ["CN=old", "CN=active"]
    assert problems == [("certificate_expired", True)]


def test_expired_certificates_alone_stop_nobody_else() -> None:
    idp, problems = read(document(role(keys=key("old", ends=NOW - timedelta(days=1)))))

    assert idp is not None
    assert problems == [("certificate_expired", True), ("no_certificate_in_date", True)]


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        pytest.param(key("small", bits=1024), "certificate_unusable", id="RSA 1024"),
        pytest.param(f"<KeyDescriptor>{key_info('AAAA')}</KeyDescriptor>", "certificate_malformed", id="no certificate"),
    ],
)
def test_a_spoilt_certificate_beside_a_good_one_is_a_warning(spoilt: str, code: str) -> None:
    idp, problems = read(document(role(keys=spoilt + key("active"))))

    assert idp is not None
    assert [certificate.subject for certificate in idp.certificates] == ["CN=active"]
    assert problems == [(code, True)]


def test_a_spoilt_certificate_alone_is_an_error() -> None:
    idp, problems = read(document(role(keys=f"<KeyDescriptor>{key_info('AAAA')}</KeyDescriptor>")))

    assert idp is None
    assert problems == [("certificate_malformed", False), ("certificate_missing", False)]
