"""settings.json: every rule, every problem at once, and no secret in any of them."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel

from samljit.model import RequireSignature
from samljit.saml.idp_metadata import read_idp_metadata
from samljit.settings import (
    Guards,
    KeyPair,
    MetadataFile,
    MetadataUrl,
    Settings,
    TypedIdp,
    allowed_hosts,
    check_endpoint,
    check_metadata_url,
    key_files,
    read_settings,
    settings_schema,
)
from samljit.settings.document import IdpDocument, SettingsDocument, TenantDocument
from samljit.testing.__main__ import main as make_files
from samljit.testing.keys import make_key_pair

GUID = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
ENTRA_URL = f"https://login.microsoftonline.com/{GUID}/saml2"
METADATA_URL = f"https://login.microsoftonline.com/{GUID}/federationmetadata/2007-06/federationmetadata.xml?appid={GUID}"
ENTITY_ID = f"https://sts.windows.net/{GUID}/"
ROOT = Path(__file__).parent.parent

DATES = {"valid_from": datetime(2026, 1, 1, tzinfo=UTC), "valid_until": datetime(2029, 1, 1, tzinfo=UTC)}
OURS, OTHERS = make_key_pair(common_name="ours", **DATES), make_key_pair(common_name="others", **DATES)
SMALL = make_key_pair(common_name="small", bits=1024, **DATES)
TYPED = {"entity_id": ENTITY_ID, "sso_url": ENTRA_URL, "certificate_files": ["certs/idp.cer"]}

REMOVED = object()
Change = tuple[tuple[str | int, ...], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory as settings.json finds it: certs/ with our key pair, some wrong ones, and an IdP's files."""
    certs = tmp_path / "certs"
    certs.mkdir()
    encrypted = OURS.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    contents = {
        "sp.key": OURS.private_key_pem,
        "sp.crt": OURS.certificate_pem,
        "next.key": OTHERS.private_key_pem,
        "next.crt": OTHERS.certificate_pem,
        "both.pem": OURS.private_key_pem + OURS.certificate_pem,
        "encrypted.key": encrypted,
        "curve.key": curve,
        "small.key": SMALL.private_key_pem,
        "small.crt": SMALL.certificate_pem,
        "text": b"no key",
        "contoso-metadata.xml": b"<EntityDescriptor/>",
        "idp.cer": OTHERS.certificate_pem,
    }
    for name, content in contents.items():
        (certs / name).write_bytes(content)
        (certs / name).chmod(0o600)
    return tmp_path


def document(*changes: Change) -> dict[str, Any]:
    """Good settings, with values changed at the given paths."""
    made: dict[str, Any] = {
        "base_url": "https://app.example.com",
        "sp": {"key_files": ["certs/sp.key"], "certificate_files": ["certs/sp.crt"]},
        "mapping": {"fields": {"email": "emailaddress"}},
        "tenants": {
            "contoso": {
                "name": "Contoso Ltd",
                "entra_tenant_id": GUID,
                "domains": ["contoso.com"],
                "idp": {"metadata_file": "certs/contoso-metadata.xml"},
            }
        },
    }
    for path, value in changes:
        section: Any = made
        for part in path[:-1]:
            section = section.setdefault(part, {}) if isinstance(section, dict) else section[part]
        if value is REMOVED:
            del section[path[-1]]
        else:
            section[path[-1]] = copy.deepcopy(value)
    return made


def read(folder: Path, *changes: Change) -> Settings:
    settings, problems = read_settings(document(*changes), base=folder)
    assert problems == []
    assert settings is not None
    return settings


def faults(folder: Path, *changes: Change) -> list[tuple[str, str]]:
    settings, problems = read_settings(document(*changes), base=folder)
    assert settings is None
    assert all(problem.message for problem in problems)
    return [(problem.path, problem.code) for problem in problems]


def tenant(*path: str | int) -> tuple[str | int, ...]:
    return ("tenants", "contoso", *path)


# --- good settings ----------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract(folder: Path) -> None:
    settings = read(folder, (("sp",), REMOVED), (("mapping",), REMOVED), (tenant("idp"), REMOVED), (tenant("domains"), REMOVED))

    assert settings.url_prefix == "/saml"
    assert settings.clock_skew == timedelta(seconds=120)
    assert settings.attempt_days == 90
    assert settings.key_pairs == ()
    assert settings.guards == Guards(protected_fields=frozenset(), grantable_roles=None, allow_unproven_email=False)
    assert settings.mapping == {}
    contoso = settings.tenants["contoso"]
    assert (contoso.enabled, contoso.offer_sso, contoso.max_users) == (True, True, None)
    assert contoso.preset == "entra"
    assert contoso.require_signature is RequireSignature.ASSERTION_OR_RESPONSE
    assert (contoso.accept_expired_certificates, contoso.join_duplicate_attributes) == (False, False)
    assert (contoso.entity_id, contoso.name_id_format, contoso.idp, contoso.domains) == (None, None, None, ())
    assert contoso.mapping == {}


def test_everything_written_reaches_the_settings(folder: Path) -> None:
    settings = read(
        folder,
        (("url_prefix",), ""),
        (("clock_skew_seconds",), 300),
        (("attempt_days",), 1),
        (("guards",), {"grantable_roles": ["viewer"], "protected_fields": ["is_admin"], "allow_unproven_email": True}),
        (tenant("enabled"), False),
        (tenant("entra_tenant_id"), GUID.upper()),
        (tenant("domains"), ["Contoso.COM", "bücher.example", "xn--strae-oqa.example"]),
        (tenant("max_users"), 250),
        (tenant("offer_sso"), False),
        (tenant("entity_id"), "urn:app:contoso"),
        (tenant("require_signature"), "both"),
        (tenant("join_duplicate_attributes"), True),
        (tenant("name_id_format"), "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
        (tenant("mapping"), {"fields": {"email": None}}),
    )

    assert (settings.base_url, settings.url_prefix) == ("https://app.example.com", "")
    assert (settings.clock_skew, settings.attempt_days) == (timedelta(seconds=300), 1)
    assert settings.key_pairs == (KeyPair(key=OURS.private_key_pem, certificate=OURS.certificate_pem),)
    assert settings.guards == Guards(
        protected_fields=frozenset({"is_admin"}), grantable_roles=frozenset({"viewer"}), allow_unproven_email=True
    )
    assert settings.mapping == {"fields": {"email": "emailaddress"}}
    contoso = settings.tenants["contoso"]
    assert (contoso.slug, contoso.name, contoso.enabled, contoso.entra_tenant_id) == ("contoso", "Contoso Ltd", False, GUID)
    assert contoso.domains == ("contoso.com", "xn--bcher-kva.example", "xn--strae-oqa.example")
    assert (contoso.entity_id, contoso.require_signature) == ("urn:app:contoso", RequireSignature.BOTH)
    assert contoso.join_duplicate_attributes
    assert (contoso.max_users, contoso.offer_sso) == (250, False)
    assert contoso.name_id_format == "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    assert contoso.mapping == {"fields": {"email": None}}
    assert contoso.idp == MetadataFile(
        content=b"<EntityDescriptor/>",
        path=folder / "certs/contoso-metadata.xml",
        json_path="$.tenants.contoso.idp.metadata_file",
    )


def test_an_idp_can_be_typed(folder: Path) -> None:
    settings = read(folder, (tenant("idp"), {**TYPED, "slo_url": ENTRA_URL}))

    assert settings.tenants["contoso"].idp == TypedIdp(
        entity_id=ENTITY_ID,
        sso_url=ENTRA_URL,
        slo_url=ENTRA_URL,
        certificates=(OTHERS.certificate_pem,),
        json_path="$.tenants.contoso.idp",
    )


def test_an_idp_can_be_named_by_the_address_of_its_metadata(folder: Path) -> None:
    settings = read(folder, (tenant("idp"), {"metadata_url": METADATA_URL}), (("metadata_hosts",), ["idp.contoso.com"]))

    assert settings.tenants["contoso"].idp == MetadataUrl(METADATA_URL, "$.tenants.contoso.idp.metadata_url")
    assert settings.metadata_hosts == ("idp.contoso.com",)


PATH = f"/{GUID}/federationmetadata/2007-06/federationmetadata.xml"
APP = f"?appid={GUID}"
FURTHER = ("idp.contoso.com", "idp.contoso.com:8443")
METADATA_URLS: list[Any] = [
    pytest.param(f"https://login.microsoftonline.com{PATH}{APP}", None, id="Entra"),
    pytest.param(f"https://login.microsoftonline.com{PATH}?a=b&appid={GUID.upper()}", None, id="appid not first, upper case"),
    pytest.param(f"https://login.microsoftonline.us{PATH}{APP}", None, id="US government"),
    pytest.param(f"https://login.partner.microsoftonline.cn{PATH}{APP}", None, id="China"),
    pytest.param(f"https://contoso.ciamlogin.com{PATH}{APP}", None, id="External ID"),
    pytest.param("https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1A_saml/Samlp/metadata", None, id="B2C names a policy"),
    pytest.param("https://idp.contoso.com/metadata", None, id="a further host"),
    pytest.param("https://idp.contoso.com:8443/metadata", None, id="a further host with a port"),
    pytest.param(f"https://login.microsoftonline.com{PATH}", "app_id_missing", id="no appid"),
    pytest.param(f"https://login.microsoftonline.com{PATH}?appid=", "app_id_missing", id="an empty appid"),
    pytest.param(f"https://login.microsoftonline.com{PATH}?appid=" + "{appid}", "app_id_missing", id="a placeholder"),
    pytest.param(f"https://login.microsoftonline.com{PATH}{APP}&appid={GUID}", "app_id_missing", id="two appids"),
    pytest.param(f"https://login.microsoftonline.com{PATH}?APPID={GUID}", "app_id_missing", id="another parameter"),
    pytest.param(f"https://login.microsoftonline.us{PATH}", "app_id_missing", id="no appid, US government"),
    pytest.param(f"https://contoso.ciamlogin.com{PATH}", "app_id_missing", id="no appid, External ID"),
    pytest.param(f"http://login.microsoftonline.com{PATH}{APP}", "endpoint_not_allowed", id="http"),
    pytest.param(f"https://login.microsoftonline.com:8443{PATH}{APP}", "endpoint_not_allowed", id="another port"),
    pytest.param(f"https://login.microsoftonline.com.evil.example{PATH}{APP}", "endpoint_not_allowed", id="begins like Microsoft"),
    pytest.param(f"https://a.b.ciamlogin.com{PATH}{APP}", "endpoint_not_allowed", id="two labels"),
    pytest.param("https://idp.contoso.com:8444/metadata", "endpoint_not_allowed", id="a further host, another port"),
    pytest.param("https://sub.idp.contoso.com/metadata", "endpoint_not_allowed", id="below a further host"),
    pytest.param("https://169.254.169.254/metadata", "endpoint_not_allowed", id="an address"),
    pytest.param("https://localhost/metadata", "endpoint_not_allowed", id="loopback"),
    pytest.param("https://user:pass@idp.contoso.com/metadata", "endpoint_not_allowed", id="a password"),
    pytest.param("file:///etc/passwd", "endpoint_not_allowed", id="a file"),
]


@pytest.mark.parametrize(("url", "code"), METADATA_URLS)
def test_trust_46_metadata_is_fetched_by_https_from_known_hosts_and_of_the_app(folder: Path, url: str, code: str | None) -> None:
    changes = ((tenant("idp"), {"metadata_url": url}), (("metadata_hosts",), list(FURTHER)))
    if code is None:
        read(folder, *changes)
    else:
        assert faults(folder, *changes) == [(f"{CONTOSO}.idp.metadata_url", code)]


def test_metadata_lies_on_this_machine_only_where_the_app_does(folder: Path) -> None:
    url = "https://127.0.0.1:8443/metadata"
    read(folder, (tenant("idp"), {"metadata_url": url}), (("base_url",), "http://localhost:5000"))

    here = check_metadata_url(url, path="$", preset="other", base_url="https://app.example.com")
    assert here is None, "a preset that allows any host leaves it to the fetch to look at where it leads"
    plain = check_metadata_url(url.replace("https", "http"), path="$", preset="entra", base_url="http://localhost:5000")
    assert plain is not None


@pytest.mark.parametrize("host", ["https://idp.contoso.com", "idp.contoso.com/", "IDP.contoso.com", "a b", "a@b", "*.contoso.com", "a:b"])
def test_further_hosts_of_metadata_are_hosts(folder: Path, host: str) -> None:
    assert faults(folder, (("metadata_hosts",), ["good.example", host])) == [("$.metadata_hosts[1]", "invalid_host")]


def test_key_pairs_keep_their_order(folder: Path) -> None:
    settings = read(
        folder,
        (("sp",), {"key_files": ["certs/next.key", "certs/sp.key"], "certificate_files": ["certs/next.crt", "certs/sp.crt"]}),
    )

    assert [pair.certificate for pair in settings.key_pairs] == [OTHERS.certificate_pem, OURS.certificate_pem]


def test_a_private_key_in_the_certificate_file_is_not_carried_on(folder: Path) -> None:
    settings = read(folder, (("sp", "certificate_files"), ["certs/both.pem"]))

    assert settings.key_pairs[0].certificate == OURS.certificate_pem


def test_paths_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "settings.json").write_text(json.dumps(document()))
    monkeypatch.chdir(folder.parent)

    for source in (folder / "settings.json", str(folder / "settings.json"), f"{folder.name}/settings.json"):
        settings, problems = read_settings(source)
        assert (settings is not None, problems) == (True, [])


def test_absolute_paths_stay_as_they_are(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    changes: list[Change] = [
        (("sp",), {"key_files": [str(folder / "certs/sp.key")], "certificate_files": [str(folder / "certs/sp.crt")]}),
        (tenant("idp", "metadata_file"), str(folder / "certs/contoso-metadata.xml")),
    ]

    read(elsewhere, *changes)


def test_what_the_host_changes_later_changes_nothing(folder: Path) -> None:
    source = document()
    settings, _ = read_settings(source, base=folder)
    source["mapping"]["fields"]["email"] = "name"
    source["tenants"]["contoso"]["name"] = "Fabrikam"
    (folder / "certs/contoso-metadata.xml").write_bytes(b"changed")

    assert settings is not None
    assert settings.mapping == {"fields": {"email": "emailaddress"}}
    assert settings.tenants["contoso"].name == "Contoso Ltd"
    idp = settings.tenants["contoso"].idp
    assert isinstance(idp, MetadataFile)
    assert idp.content == b"<EntityDescriptor/>"


# --- JSON itself ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        pytest.param(b"", "json_malformed", "line 1, column 1", id="nothing"),
        pytest.param(b'{\n  "base_url": "x",\n}', "json_malformed", "line 3, column 1", id="a comma too many"),
        pytest.param(b'{"base_url": "x"} // note', "json_malformed", "line 1, column 19", id="a comment"),
        pytest.param(b'{"clock_skew_seconds": NaN}', "json_malformed", "", id="NaN"),
        pytest.param(b'{"clock_skew_seconds": ' + b"9" * 5000 + b"}", "json_malformed", "", id="a number of 5000 digits"),
        pytest.param(b"[" * 100_000, "json_malformed", "", id="very deep"),
        pytest.param(b'{"base_url": "\xe9"}', "json_malformed", "UTF-8", id="Latin-1"),
        pytest.param(b"[]", "wrong_type", "one object", id="a list"),
        pytest.param(b"null", "wrong_type", "one object", id="null"),
    ],
)
def test_what_is_no_json_is_one_problem_with_its_place(tmp_path: Path, content: bytes, code: str, says: str) -> None:
    (tmp_path / "settings.json").write_bytes(content)

    settings, (problem,) = read_settings(tmp_path / "settings.json")

    assert settings is None
    assert (problem.path, problem.code) == ("$", code)
    assert says in problem.message


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    for source in (tmp_path / "settings.json", tmp_path, "nul\0"):
        settings, problems = read_settings(source)
        assert settings is None
        assert [(problem.path, problem.code) for problem in problems] == [("$", "missing_file")]


def test_a_byte_order_mark_is_no_problem(folder: Path) -> None:
    (folder / "settings.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(document()).encode())

    assert read_settings(folder / "settings.json")[1] == []


def test_repeated_keys_are_found_wherever_they_are(folder: Path) -> None:
    text = json.dumps(document()).replace('"name": "Contoso Ltd"', '"name": "A", "name": "B"')
    text = text.replace('"emailaddress"', '"x", "email": "y"')
    (folder / "settings.json").write_text("{" + '"base_url": "https://a.example", ' + text[1:])

    settings, problems = read_settings(folder / "settings.json")

    assert settings is None
    assert {(problem.path, problem.code) for problem in problems} == {
        ("$.base_url", "duplicate_key"),
        ("$.mapping.fields.email", "duplicate_key"),
        ("$.tenants.contoso.name", "duplicate_key"),
    }


# --- one rule at a time -----------------------------------------------------------------------------------------------

CONTOSO = "$.tenants.contoso"
SHAPE: list[Any] = [
    pytest.param((("base_url",), REMOVED), "$.base_url", "missing", id="no base_url"),
    pytest.param((("base_urls",), "x"), "$.base_urls", "unknown_key", id="unknown key"),
    pytest.param((tenant("domain"), []), f"{CONTOSO}.domain", "unknown_key", id="unknown key of a tenant"),
    pytest.param((tenant("idp", "metadata"), "x"), f"{CONTOSO}.idp.metadata", "unknown_key", id="unknown key of an idp"),
    pytest.param((("sp", "keys"), []), "$.sp.keys", "unknown_key", id="unknown key of sp"),
    pytest.param((("guards", "fields"), []), "$.guards.fields", "unknown_key", id="unknown key of guards"),
    pytest.param((("mapping", "field"), {}), "$.mapping.field", "unknown_key", id="unknown key of the mapping"),
    pytest.param((tenant("mapping"), {"field": {}}), f"{CONTOSO}.mapping.field", "unknown_key", id="unknown key of a tenant's mapping"),
    pytest.param((("clock_skew_seconds",), "120"), "$.clock_skew_seconds", "wrong_type", id="a number as text"),
    pytest.param((("clock_skew_seconds",), 1.5), "$.clock_skew_seconds", "wrong_type", id="a fraction"),
    pytest.param((("clock_skew_seconds",), True), "$.clock_skew_seconds", "wrong_type", id="true for a number"),
    pytest.param((("clock_skew_seconds",), 301), "$.clock_skew_seconds", "invalid", id="skew of 301 s"),
    pytest.param((("clock_skew_seconds",), -1), "$.clock_skew_seconds", "invalid", id="negative skew"),
    pytest.param((("attempt_days",), 0), "$.attempt_days", "invalid", id="no days"),
    pytest.param((("tenants",), []), "$.tenants", "wrong_type", id="tenants as a list"),
    pytest.param((("tenants", "contoso"), "x"), CONTOSO, "wrong_type", id="a tenant as text"),
    pytest.param((("sp", "key_files"), "certs/sp.key"), "$.sp.key_files", "wrong_type", id="text for a list"),
    pytest.param((tenant("enabled"), "yes"), f"{CONTOSO}.enabled", "wrong_type", id="text for a switch"),
    pytest.param((tenant("enabled"), 1), f"{CONTOSO}.enabled", "wrong_type", id="1 for a switch"),
    pytest.param((tenant("max_users"), 0), f"{CONTOSO}.max_users", "invalid", id="nobody at all"),
    pytest.param((tenant("max_users"), "5"), f"{CONTOSO}.max_users", "wrong_type", id="text for a number of users"),
    pytest.param((tenant("name"), REMOVED), f"{CONTOSO}.name", "missing", id="no name"),
    pytest.param((tenant("name"), ""), f"{CONTOSO}.name", "invalid", id="empty name"),
    pytest.param((tenant("require_signature"), "none"), f"{CONTOSO}.require_signature", "invalid", id="no signature"),
    pytest.param((tenant("entity_id"), "a b"), f"{CONTOSO}.entity_id", "invalid", id="a space in entity_id"),
    pytest.param((tenant("entity_id"), "urn:" + "a" * 1021), f"{CONTOSO}.entity_id", "invalid", id="entity_id too long"),
    pytest.param((tenant("entra_tenant_id"), "contoso.onmicrosoft.com"), f"{CONTOSO}.entra_tenant_id", "invalid", id="no GUID"),
    pytest.param((tenant("entra_tenant_id"), f"{{{GUID}}}"), f"{CONTOSO}.entra_tenant_id", "invalid", id="GUID in braces"),
    pytest.param((tenant("entra_tenant_id"), f"{GUID}\n"), f"{CONTOSO}.entra_tenant_id", "invalid", id="GUID and a line end"),
    pytest.param((tenant("entra_tenant_id"), REMOVED), f"{CONTOSO}.entra_tenant_id", "missing", id="no entra_tenant_id"),
    pytest.param(
        (tenant("name_id_format"), "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"),
        f"{CONTOSO}.name_id_format",
        "invalid",
        id="transient NameID",
    ),
]


@pytest.mark.parametrize(("change", "path", "code"), SHAPE)
def test_a_wrong_shape_is_one_problem_at_its_place(folder: Path, change: Change, path: str, code: str) -> None:
    assert faults(folder, change) == [(path, code)]


NEAREST = [
    (("base_ulr",), "x", "base_url"),
    (("sp", "keyfiles"), [], "key_files"),
    (tenant("entra_tenantid"), GUID, "entra_tenant_id"),
    (tenant("idp", "metadata_fil"), "x", "metadata_file"),
]


@pytest.mark.parametrize(("path", "value", "nearest"), NEAREST, ids=[str(row[0][-1]) for row in NEAREST])
def test_an_unknown_key_comes_with_the_nearest_known_one(folder: Path, path: tuple[str, ...], value: Any, nearest: str) -> None:
    _, (problem,) = read_settings(document((path, value)), base=folder)

    assert problem.code == "unknown_key"
    assert f'"{nearest}"' in problem.hint


BASE_URLS_REFUSED = {
    "http": "http://app.example.com",
    "no scheme": "app.example.com",
    "another scheme": "ftp://app.example.com",
    "no host": "https://",
    "a slash": "https://app.example.com/",
    "a path": "https://app.example.com/app",
    "a query": "https://app.example.com?x",
    "an empty query": "https://app.example.com?",
    "a fragment": "https://app.example.com#x",
    "an empty fragment": "https://app.example.com#",
    "a user": "https://user:secret@app.example.com",
    "upper case": "https://App.example.com",
    "upper-case scheme": "HTTPS://app.example.com",
    "the default port": "https://app.example.com:443",
    "an empty port": "https://app.example.com:",
    "no such port": "https://app.example.com:99999",
    "a space": "https://app.example.com ",
    "a line end": "https://app.example.com\n",
    "a tab inside": "https://app.exa\tmple.com",
    "a backslash": "https://app.example.com\\",
    "not ASCII": "https://bücher.example",
    "an underscore": "https://my_app.example.com",
    "two dots": "https://app..example.com",
    "loopback by another name": "http://127.0.0.1.example.com",
    "loopback in short": "http://127.1",
    "any address": "http://0.0.0.0:8000",
    "half a bracket": "https://[::1",
}


@pytest.mark.parametrize("url", BASE_URLS_REFUSED.values(), ids=BASE_URLS_REFUSED.keys())
def test_a_base_url_that_browsers_would_see_differently_is_refused(folder: Path, url: str) -> None:
    assert faults(folder, (("base_url",), url)) == [("$.base_url", "invalid_base_url")]


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com:8443",
        "https://xn--bcher-kva.example",
        "https://intranet",
        "https://192.0.2.7",
        "https://[2001:db8::1]:8443",
        "http://localhost",
        "http://localhost:5000",
        "http://127.0.0.1:5000",
        "http://127.8.9.10",
        "http://[::1]:5000",
    ],
)
def test_a_base_url_is_scheme_host_and_port(folder: Path, url: str) -> None:
    assert read(folder, (("base_url",), url)).base_url == url


PREFIXES_REFUSED = ["/", "saml", "/saml/", "//saml", "/saml//x", "/saml/../x", "/./saml", "/sa ml", "/saml?", "/s%61ml", "/<", "/ü"]


@pytest.mark.parametrize("prefix", PREFIXES_REFUSED)
def test_a_url_prefix_that_is_no_plain_path_is_refused(folder: Path, prefix: str) -> None:
    assert faults(folder, (("url_prefix",), prefix)) == [("$.url_prefix", "invalid_url_prefix")]


@pytest.mark.parametrize("prefix", ["", "/saml", "/auth/saml", "/a-b_c.d~e"])
def test_a_url_prefix_is_empty_or_a_path(folder: Path, prefix: str) -> None:
    assert read(folder, (("url_prefix",), prefix)).url_prefix == prefix


SLUGS_REFUSED = {
    "admin": "reserved_slug",
    "login": "reserved_slug",
    "logout": "reserved_slug",
    "static": "reserved_slug",
    "": "invalid_slug",
    "-a": "invalid_slug",
    "Contoso": "invalid_slug",
    "a_b": "invalid_slug",
    "a.b": "invalid_slug",
    "a/b": "invalid_slug",
    "contoso\n": "invalid_slug",
    "ä": "invalid_slug",
    "a" * 64: "invalid_slug",
}


@pytest.mark.parametrize(("slug", "code"), SLUGS_REFUSED.items())
def test_a_slug_that_cannot_stand_in_an_address_is_refused(folder: Path, slug: str, code: str) -> None:
    assert [found for _, found in faults(folder, (("tenants", slug), {"name": "x", "entra_tenant_id": GUID}))] == [code]


@pytest.mark.parametrize("slug", ["a", "0", "contoso-2", "a-", "administrators", "a" * 63])
def test_a_slug_is_lower_case_letters_digits_and_hyphens(folder: Path, slug: str) -> None:
    assert slug in read(folder, (("tenants", slug), {"name": "x", "entra_tenant_id": GUID})).tenants


DOMAINS_REFUSED = ["a", "@a.com", "*.a.com", "a@a.com", "a.com.", ".a.com", "a..com", "a b.com", "10.0.0.1", "a_b.com"]


@pytest.mark.parametrize("domain", DOMAINS_REFUSED)
def test_what_is_no_domain_name_is_refused(folder: Path, domain: str) -> None:
    assert faults(folder, (tenant("domains"), [domain])) == [(f"{CONTOSO}.domains[0]", "invalid_domain")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("contoso.com", "contoso.com", id="the same"),
        pytest.param("contoso.com", "CONTOSO.com", id="in another case"),
        pytest.param("bücher.example", "xn--bcher-kva.example", id="in another form"),
        pytest.param("bücher.example", "bu\u0308cher.example", id="in another normal form"),
        pytest.param("contoso.com", "contoso\uff0ecom", id="with a wide dot"),
    ],
)
def test_no_two_tenants_share_a_domain(folder: Path, first: str, second: str) -> None:
    fabrikam = {"name": "Fabrikam", "entra_tenant_id": GUID, "domains": ["fabrikam.com", second]}

    found = faults(folder, (tenant("domains"), [first]), (("tenants", "fabrikam"), fabrikam))

    assert found == [("$.tenants.fabrikam.domains[1]", "domain_not_unique")]


IDPS_REFUSED: list[Any] = [
    pytest.param({}, [("", "idp_incomplete")], id="empty"),
    pytest.param({"metadata_file": None}, [("", "idp_incomplete")], id="null"),
    pytest.param({"entity_id": ENTITY_ID}, [(".certificate_files", "missing"), (".sso_url", "missing")], id="entity_id alone"),
    pytest.param({**TYPED, "certificate_files": []}, [(".certificate_files", "missing")], id="no certificate"),
    pytest.param({**TYPED, "metadata_file": "certs/text"}, [(f".{key}", "idp_conflict") for key in sorted(TYPED)], id="both"),
    pytest.param({"metadata_file": "certs/none.xml"}, [(".metadata_file", "missing_file")], id="no such metadata"),
    pytest.param({"metadata_file": "certs"}, [(".metadata_file", "missing_file")], id="a directory"),
    pytest.param({"metadata_file": "a" * 999}, [(".metadata_file", "missing_file")], id="a name too long"),
    pytest.param({"metadata_file": "a\0b"}, [(".metadata_file", "missing_file")], id="a NUL in a name"),
    pytest.param({**TYPED, "certificate_files": ["certs/none"]}, [(".certificate_files[0]", "missing_file")], id="no such certificate"),
    pytest.param(
        {"metadata_url": METADATA_URL, "metadata_file": "certs/text"}, [(".metadata_file", "idp_conflict")], id="URL and file"
    ),
    pytest.param(
        {**TYPED, "metadata_url": METADATA_URL}, [(f".{key}", "idp_conflict") for key in sorted(TYPED)], id="URL and typed"
    ),
    pytest.param({**TYPED, "sso_url": "https://evil.example/"}, [(".sso_url", "endpoint_not_allowed")], id="another host"),
    pytest.param({**TYPED, "slo_url": "https://evil.example/"}, [(".slo_url", "endpoint_not_allowed")], id="another host for logout"),
    pytest.param({**TYPED, "entity_id": "https://sts.windows.net/{tenant}/"}, [(".entity_id", "common_metadata")], id="common"),
]


@pytest.mark.parametrize(("idp", "expected"), IDPS_REFUSED)
def test_an_idp_is_named_in_one_way_and_wholly(folder: Path, idp: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert faults(folder, (tenant("idp"), idp)) == [(f"{CONTOSO}.idp{path}", code) for path, code in expected]



SWITCHES = {
    "allow_idp_initiated": ("login_csrf",),
    "sign_requests": (),
    "require_encryption": (),
    "allow_rsa15": ("rsa15_allowed",),
    "require_sso": ("break_glass_missing",),
}


@pytest.mark.parametrize("key", SWITCHES)
def test_a_switch_of_a_tenant_is_off_and_what_makes_it_less_safe_is_said(folder: Path, key: str) -> None:
    assert getattr(read(folder).tenants["contoso"], key) is False
    settings, problems = read_settings(document((tenant(key), True)), base=folder)
    assert settings is not None
    assert getattr(settings.tenants["contoso"], key) is True
    assert [(problem.code, problem.is_warning) for problem in problems] == [(code, True) for code in SWITCHES[key]]


@pytest.mark.parametrize("key", ["sign_requests", "require_encryption", "allow_rsa15"])
def test_what_needs_a_key_of_ours_is_refused_without_one(folder: Path, key: str) -> None:
    assert (f"{CONTOSO}.{key}", "key_missing") in faults(folder, (("sp",), REMOVED), (tenant(key), True))


def test_rsa15_is_refused_where_openssl_tells_a_bad_padding_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert key_files.hides_bad_padding()
    monkeypatch.setattr(key_files, "hides_bad_padding", lambda: False)
    assert (f"{CONTOSO}.allow_rsa15", "rsa15_unsafe") in faults(folder, (tenant("allow_rsa15"), True))


def test_the_day_until_which_values_are_logged_is_a_date(folder: Path) -> None:
    key = tenant("log_values_until")
    assert read(folder, (key, "2026-12-01")).tenants["contoso"].log_values_until == date(2026, 12, 1)
    assert read(folder, (key, None)).tenants["contoso"].log_values_until is None
    for wrong, code in (("2026-13-01", "invalid"), ("2026-02-30", "invalid"), ("1 December", "invalid"), (20261201, "wrong_type")):
        assert faults(folder, (key, wrong)) == [(f"{CONTOSO}.log_values_until", code)]


# --- our own keys -----------------------------------------------------------------------------------------------------

KEYS_REFUSED: list[Any] = [
    pytest.param(["sp.key"], [], [("", "key_files_uneven")], id="a key without certificate"),
    pytest.param([], ["sp.crt"], [("", "key_files_uneven")], id="a certificate without key"),
    pytest.param(["none"], ["sp.crt"], [(".key_files[0]", "missing_file")], id="no key file"),
    pytest.param(["sp.key"], ["none"], [(".certificate_files[0]", "missing_file")], id="no certificate file"),
    pytest.param(["text"], ["sp.crt"], [(".key_files[0]", "key_invalid")], id="no key"),
    pytest.param(["sp.crt"], ["sp.crt"], [(".key_files[0]", "file_mixed_up")], id="a certificate for a key"),
    pytest.param(["encrypted.key"], ["sp.crt"], [(".key_files[0]", "file_mixed_up")], id="an encrypted key"),
    pytest.param(["curve.key"], ["sp.crt"], [(".key_files[0]", "key_invalid")], id="not RSA"),
    pytest.param(["small.key"], ["small.crt"], [(".key_files[0]", "key_too_small")], id="RSA 1024"),
    pytest.param(["sp.key"], ["text"], [(".certificate_files[0]", "certificate_invalid")], id="no certificate"),
    pytest.param(["sp.key"], ["sp.key"], [(".certificate_files[0]", "file_mixed_up")], id="a key for a certificate"),
    pytest.param(["sp.key"], ["next.crt"], [(".certificate_files[0]", "key_mismatch")], id="another key's certificate"),
    pytest.param(
        ["sp.key", "next.key"],
        ["next.crt", "sp.crt"],
        [(".certificate_files[0]", "key_mismatch"), (".certificate_files[1]", "key_mismatch")],
        id="the wrong order",
    ),
]


@pytest.mark.parametrize(("keys", "certificates", "expected"), KEYS_REFUSED)
def test_keys_and_certificates_belong_together(
    folder: Path, keys: list[str], certificates: list[str], expected: list[tuple[str, str]]
) -> None:
    sp = {"key_files": [f"certs/{name}" for name in keys], "certificate_files": [f"certs/{name}" for name in certificates]}

    assert faults(folder, (("sp",), sp)) == [(f"$.sp{path}", code) for path, code in expected]


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)], ids=oct)
def test_a_key_that_others_may_read_is_a_warning(folder: Path, mode: int, warns: bool) -> None:
    (folder / "certs/sp.key").chmod(mode)

    settings, problems = read_settings(document(), base=folder)

    assert settings is not None
    expected = [("$.sp.key_files[0]", "key_file_open", True)] if warns else []
    assert [(problem.path, problem.code, problem.is_warning) for problem in problems] == expected


def test_trusting_expired_certificates_is_a_warning(folder: Path) -> None:
    settings, problems = read_settings(document((tenant("accept_expired_certificates"), True)), base=folder)

    assert settings is not None
    assert settings.tenants["contoso"].accept_expired_certificates
    assert [(problem.code, problem.is_warning) for problem in problems] == [("expired_accepted", True)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "fifo")

    assert faults(folder, (tenant("idp", "metadata_file"), "fifo")) == [(f"{CONTOSO}.idp.metadata_file", "missing_file")]


# --- which hosts an IdP may live on -----------------------------------------------------------------------------------

ENTRA_GOOD = [
    ENTRA_URL,
    f"https://login.microsoftonline.com:443/{GUID}/saml2",
    f"https://LOGIN.microsoftonline.com/{GUID}/saml2",
    f"https://login.microsoftonline.us/{GUID}/saml2",
    f"https://login.partner.microsoftonline.cn/{GUID}/saml2",
    f"https://login.chinacloudapi.cn/{GUID}/saml2",
    f"https://contoso.ciamlogin.com/{GUID}/saml2",
    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/policy/samlp/sso/login?x=y",
]
ENTRA_BAD = [
    "http://login.microsoftonline.com/x",
    "https://login.microsoftonline.com.evil.example/x",
    "https://login.microsoftonline.com@evil.example/x",
    "https://evil.example\\@login.microsoftonline.com/x",
    "https://evil.example/login.microsoftonline.com",
    "https://login.microsoftonline.com./x",
    "https://login.microsoftonline.com:8443/x",
    "https://xlogin.microsoftonline.com/x",
    "https://microsoftonline.com/x",
    "https://ciamlogin.com/x",
    "https://.ciamlogin.com/x",
    "https://evilciamlogin.com/x",
    "https://a.b.ciamlogin.com/x",
    "https://login.microsoftonline.com/x#y",
    "https://login.microsoftonline.com/x y",
    "https://login.microsoftonline.com/x\n",
    "https://user@login.microsoftonline.com/x",
    "https://127.0.0.1/x",
    "https://localhost/x",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "//login.microsoftonline.com/x",
    "",
]


@pytest.mark.parametrize("preset", ["entra", "entra_external_id"])
@pytest.mark.parametrize("url", ENTRA_GOOD)
def test_entra_lives_on_microsofts_hosts(url: str, preset: str) -> None:
    assert check_endpoint(url, preset=preset, base_url="https://app.example.com") is None


@pytest.mark.parametrize("url", ENTRA_BAD)
def test_entra_lives_nowhere_else(url: str) -> None:
    assert check_endpoint(url, preset="entra", base_url="https://app.example.com") is not None


@pytest.mark.parametrize(
    ("url", "base_url", "is_good"),
    [
        pytest.param("http://127.0.0.1:8001/x/saml2", "http://localhost:8000", True, id="both loopback"),
        pytest.param("https://127.0.0.1:8001/x/saml2", "https://localhost", True, id="both loopback with https"),
        pytest.param("http://[::1]:8001/x", "http://127.0.0.1", True, id="both loopback, two families"),
        pytest.param("http://127.0.0.1:8001/x", "https://app.example.com", False, id="base_url elsewhere"),
        pytest.param("http://192.0.2.1/x", "http://localhost", False, id="IdP elsewhere"),
        pytest.param(ENTRA_URL, "http://localhost:8000", True, id="real Entra for a loopback app"),
    ],
)
@pytest.mark.parametrize("preset", ["entra", "generic"])
def test_loopback_is_for_loopback_alone(url: str, base_url: str, is_good: bool, preset: str) -> None:
    assert (check_endpoint(url, preset=preset, base_url=base_url) is None) == is_good


@pytest.mark.parametrize(
    ("url", "is_good"),
    [("https://idp.example.com/sso?idpid=7", True), ("https://idp.example.com:8443/sso", True), ("http://idp.example.com/sso", False)],
)
def test_other_presets_live_anywhere_on_https(url: str, is_good: bool) -> None:
    assert allowed_hosts("generic") is None
    assert (check_endpoint(url, preset="generic", base_url="https://app.example.com") is None) == is_good


# --- all at once, and in silence --------------------------------------------------------------------------------------


def test_all_problems_are_named_in_one_go(folder: Path) -> None:
    found = faults(
        folder,
        (("base_url",), "http://app.example.com/"),
        (("url_prefix",), "saml/"),
        (("clock_skew_seconds",), 900),
        (("attempt_days",), "90"),
        (("guard",), {}),
        (("sp",), {"key_files": ["certs/sp.key", "certs/none"], "certificate_files": ["certs/next.crt"]}),
        (("mapping", "fields", "x"), {"sorce": "y"}),
        (tenant("nmae"), "x"),
        (tenant("name"), REMOVED),
        (tenant("domains"), ["contoso", 7, "contoso.com"]),
        (tenant("allow_rsa15"), "yes"),
        (tenant("break_glass"), ["ada@contoso.example", "ada", 7]),
        (tenant("idp"), {"entity_id": ENTITY_ID, "sso_url": "https://evil.example"}),
        (("tenants", "login"), {"name": "x", "preset": "oktaa", "domains": ["CONTOSO.com"]}),
    )

    assert found == sorted(
        [
            ("$.base_url", "invalid_base_url"),
            ("$.url_prefix", "invalid_url_prefix"),
            ("$.clock_skew_seconds", "invalid"),
            ("$.attempt_days", "wrong_type"),
            ("$.guard", "unknown_key"),
            ("$.sp", "key_files_uneven"),
            ("$.sp.key_files[1]", "missing_file"),
            ("$.sp.certificate_files[0]", "key_mismatch"),
            ("$.mapping.fields.x.sorce", "unknown_key"),
            (f"{CONTOSO}.nmae", "unknown_key"),
            (f"{CONTOSO}.name", "missing"),
            (f"{CONTOSO}.domains[0]", "invalid_domain"),
            (f"{CONTOSO}.domains[1]", "wrong_type"),
            (f"{CONTOSO}.allow_rsa15", "wrong_type"),
            (f"{CONTOSO}.break_glass[1]", "invalid_address"),
            (f"{CONTOSO}.break_glass[2]", "wrong_type"),
            (f"{CONTOSO}.idp.sso_url", "endpoint_not_allowed"),
            (f"{CONTOSO}.idp.certificate_files", "missing"),
            ("$.tenants.login", "reserved_slug"),
            ("$.tenants.login.preset", "unknown_preset"),
            ("$.tenants.login.domains[0]", "domain_not_unique"),
        ]
    )


def test_a_bad_base_url_is_not_reported_again_for_every_loopback_idp(folder: Path) -> None:
    idp = {**TYPED, "sso_url": "http://127.0.0.1:8001/x/saml2"}

    assert faults(folder, (("base_url",), "localhost:8000"), (tenant("idp"), idp)) == [("$.base_url", "invalid_base_url")]


JUNK: list[Any] = [None, True, 0, 1.5, "x", "\ud800", "a\0", [], [[]], [None], {}, {"": {}}, {"x": []}, {1: 2}, b"x", Path("x"), object()]
PLACES: list[tuple[str | int, ...]] = [
    *[(field.alias or name,) for name, field in SettingsDocument.model_fields.items()],
    ("sp", "key_files"),
    ("sp", "certificate_files"),
    ("guards", "grantable_roles"),
    ("tenants", "contoso"),
    ("tenants", "\ud800"),
    ("tenants", ""),
    *[tenant(name) for name in TenantDocument.model_fields],
    *[tenant("idp", name) for name in IdpDocument.model_fields],
    tenant("domains", 0),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(".".join(map(str, place))))
def test_no_value_anywhere_raises(folder: Path, place: tuple[str | int, ...]) -> None:
    keys: list[Change] = [] if place[0] == "sp" else [(("sp",), {})]  # loading a key is slow
    for junk in JUNK:
        settings, problems = read_settings(document(*keys, (place, junk)), base=folder)
        assert (settings is None) == any(not problem.is_warning for problem in problems)
        assert all(str(problem).isprintable() for problem in problems)


def secret_lines() -> list[str]:
    return [line for line in OURS.private_key_pem.decode().splitlines() if not line.startswith("---")]


@pytest.mark.parametrize("name", ["both.pem", "sp.key", "encrypted.key", "next.key"])
def test_trust_53_no_key_is_ever_shown(folder: Path, name: str) -> None:
    pem = OURS.private_key_pem.decode()
    shown = ""
    for changes in (
        [],
        [(("sp", "key_files"), [f"certs/{name}"])],
        [(("sp", "certificate_files"), [f"certs/{name}"])],
        [(("sp", "key_files"), [pem])],
        [(("sp", "key_files"), pem)],
        [(("base_url",), pem)],
        [(tenant("idp", "metadata_file"), f"certs/{name}")],
        [(tenant("idp"), {**TYPED, "certificate_files": [pem], "sso_url": pem})],
    ):
        settings, problems = read_settings(document(*changes), base=folder)
        shown += repr(settings) + repr(problems) + "".join(map(str, problems))

    assert not [line for line in secret_lines() if line in shown]
    assert "PRIVATE KEY" not in shown


def test_a_key_pair_shows_nothing_of_itself() -> None:
    assert repr(KeyPair(key=b"k", certificate=b"c")) == "KeyPair()"
    assert [field.name for field in fields(KeyPair)] == ["key", "certificate"]


# --- schema and example -----------------------------------------------------------------------------------------------


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= models(part)
    return found


def test_every_key_says_what_it_is() -> None:
    own = {model for model in models(SettingsDocument) if model.__module__.startswith("samljit.settings")} | {TenantDocument}

    assert [f"{model.__name__}.{name}" for model in own for name, field in model.model_fields.items() if not field.description] == []


def test_the_schema_is_complete() -> None:
    schema = settings_schema()

    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "samljit settings.json"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["base_url"]
    assert set(schema["properties"]) == {
        "$schema", "base_url", "url_prefix", "clock_skew_seconds", "attempt_days", "metadata_hosts", "sp", "mapping", "guards", "tenants",
    }  # fmt: skip
    assert {"MappingDocument", "FieldDocument", "TenantDocument", "IdpDocument"} <= set(schema["$defs"])
    assert set(schema["$defs"]["TenantDocument"]["properties"]) == set(TenantDocument.model_fields)


def test_a_settings_file_may_name_its_schema(folder: Path) -> None:
    read(folder, (("$schema",), "./settings.schema.json"))


def test_the_example_loads_as_it_is_once_the_files_it_names_were_made(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes((ROOT / "settings.json.example").read_bytes())
    assert make_files([str(tmp_path / "certs")]) == 0

    settings, problems = read_settings(tmp_path / "settings.json")

    assert problems == []
    assert settings is not None
    contoso = settings.tenants["contoso"]
    assert contoso.domains == ("contoso.com",)
    assert isinstance(contoso.idp, MetadataFile)
    idp, problems = read_idp_metadata(contoso.idp.content, path=contoso.idp.json_path, now=datetime.now(UTC))
    assert problems == []
    assert idp is not None
    assert check_endpoint(idp.sso_url, preset=contoso.preset, base_url=settings.base_url) is None
