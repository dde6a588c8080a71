"""What people get wrong in settings and mapping: told where it stands, in plain words, with what to write instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from samljit.errors import Problem
from samljit.settings import read_settings
from samljit.sql.users import inspect_users
from samljit.tenants import build_tenants
from samljit.testing import FakeEntra
from samljit.testing.keys import signing_key
from tests.host import ACS, ADELE, ENTITY_ID, FIELDS, Host, make_host, make_user_model, settings_for
from tests.test_tenant_commands import run as run_tenant

OTHER_DIRECTORY = "bbbbcccc-1111-dddd-2222-eeee3333ffff"
PLACE = "$.tenants.contoso"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the files that get mixed up."""
    pair = signing_key("A")
    locked = pair.private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(pair.private_key, hashes.SHA256())
    contents = {
        "key.pem": pair.private_key_pem,
        "certificate.pem": pair.certificate_pem,
        "locked.pem": locked,
        "request.pem": request.public_bytes(Encoding.PEM),
        "metadata.xml": FakeEntra().metadata(),
        "bom.xml": b"\xef\xbb\xbf" + FakeEntra().metadata().removeprefix(b"\xef\xbb\xbf"),
        "page.html": b"<!DOCTYPE html>\n<html><title>Sign in</title></html>",
        "empty": b"\n",
    }
    for file, content in contents.items():
        (tmp_path / file).write_bytes(content)
        (tmp_path / file).chmod(0o600)
    (tmp_path / "directory").mkdir()
    return tmp_path


def problems_of(settings: dict[str, Any], folder: Path) -> list[Problem]:
    return read_settings(settings, base=folder)[1]


def with_idp(folder: Path, idp: dict[str, Any]) -> dict[str, Any]:
    return settings_for(folder, FakeEntra(), tenant={"idp": idp})


# --- files ------------------------------------------------------------------------------------------------------------

MIXED_UP = {
    "a certificate for metadata": ("metadata_file", "certificate.pem", "a certificate, not SAML metadata"),
    "a key for metadata": ("metadata_file", "key.pem", "a private key, not SAML metadata"),
    "a web page for metadata": ("metadata_file", "page.html", "a web page"),
    "nothing for metadata": ("metadata_file", "empty", "is empty"),
    "metadata for a certificate": ("certificate_files", "metadata.xml", "SAML metadata, not a certificate"),
    "a key for a certificate": ("certificate_files", "key.pem", "a private key, not a certificate"),
    "a request for a certificate": ("certificate_files", "request.pem", "a request for a certificate"),
    "nothing for a certificate": ("certificate_files", "empty", "is empty"),
}


@pytest.mark.parametrize(("key", "file", "said"), MIXED_UP.values(), ids=MIXED_UP)
def test_files_that_were_mixed_up_are_called_by_what_they_hold(folder: Path, key: str, file: str, said: str) -> None:
    typed = {"entity_id": "https://sts.windows.net/x/", "sso_url": "https://login.microsoftonline.com/x/saml2"}
    idp = {"metadata_file": file} if key == "metadata_file" else {**typed, key: [file]}
    place = f"{PLACE}.idp.{key}" if key == "metadata_file" else f"{PLACE}.idp.{key}[0]"
    [problem] = problems_of(with_idp(folder, idp), folder)
    assert (problem.path, problem.code, said in problem.message, bool(problem.hint)) == (place, "file_mixed_up", True, True)


def test_keys_and_certificates_that_were_swapped_are_both_named(folder: Path) -> None:
    settings = settings_for(folder, FakeEntra(), sp={"key_files": ["certificate.pem"], "certificate_files": ["key.pem"]})
    assert [(one.path, one.message) for one in problems_of(settings, folder)] == [
        ("$.sp.certificate_files[0]", "This file holds a private key, not a certificate."),
        ("$.sp.key_files[0]", "This file holds a certificate, not a private key."),
    ]


def test_a_key_behind_a_passphrase_is_called_that(folder: Path) -> None:
    settings = settings_for(folder, FakeEntra(), sp={"key_files": ["locked.pem"], "certificate_files": ["certificate.pem"]})
    [problem] = problems_of(settings, folder)
    assert (problem.code, "passphrase" in problem.message) == ("file_mixed_up", True)


def test_metadata_behind_a_byte_order_mark_is_what_it_is(folder: Path) -> None:
    assert problems_of(with_idp(folder, {"metadata_file": "bom.xml"}), folder) == []


NO_FILES = {
    "nothing there": ("nowhere.xml", "There is no file of this name"),
    "a directory": ("directory", "This is a directory"),
    "an address": ("https://login.microsoftonline.com/x/metadata.xml", "not an address"),
    "pasted XML": ("<EntityDescriptor/>", "not its contents"),
    "a pasted key": ("-----BEGIN PRIVATE KEY-----", "not its contents"),
}


@pytest.mark.parametrize(("name", "said"), NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_told_apart(folder: Path, name: str, said: str) -> None:
    [problem] = problems_of(with_idp(folder, {"metadata_file": name}), folder)
    assert (problem.path, problem.code) == (f"{PLACE}.idp.metadata_file", "missing_file")
    assert said in problem.message
    assert problem.hint


def test_a_settings_file_that_is_not_there_is_named_with_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = [read_settings(Path(name))[1][0].message for name in ("settings.json", ".")]
    assert said == [f"{tmp_path}/settings.json does not exist.", f"{tmp_path} is a directory, not a file."]


# --- words ------------------------------------------------------------------------------------------------------------

# what to change at contoso, where it is told, and what the message or the hint says
TENANT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a directory ID in braces": ({"entra_tenant_id": "{x}"}, f"{PLACE}.entra_tenant_id", '"aaaabbbb-0000-cccc-1111-dddd2222eeee"'),
    "a German date": ({"log_values_until": "31.12.2026"}, f"{PLACE}.log_values_until", '"2026-12-31"'),
    "text for a list": ({"domains": "contoso.com"}, f"{PLACE}.domains", '["contoso.com"]'),
    "an empty name": ({"name": ""}, f"{PLACE}.name", "Must not be empty."),
    "a space in the Identifier": ({"entity_id": "a b"}, f"{PLACE}.entity_id", "without spaces"),
    "fields outside the mapping": ({"fields": {}}, f"{PLACE}.fields", 'belongs into "mapping"'),
    "metadata outside idp": ({"metadata_file": "x"}, f"{PLACE}.metadata_file", 'belongs into "idp"'),
    "no domains to allow": (
        {"mapping": {"policy": {"allowed_domains": []}}}, f"{PLACE}.mapping.policy.allowed_domains", "Must not be empty."
    ),
}
TOP: dict[str, tuple[dict[str, Any], str, str]] = {
    "a guard outside guards": ({"grantable_roles": []}, "$.grantable_roles", 'belongs into "guards"'),
    "ten minutes of skew": ({"clock_skew_seconds": 600}, "$.clock_skew_seconds", "Must be 300 or less."),
    "a prefix without a slash": ({"url_prefix": "saml"}, "$.url_prefix", 'Write "/saml".'),
    "a prefix with one too many": ({"url_prefix": "/saml/"}, "$.url_prefix", 'Write "/saml".'),
    "a slug in capitals": ({"tenants": {"Con_Toso": {}}}, "$.tenants.Con_Toso", 'For example "con-toso".'),
}


@pytest.mark.parametrize(("change", "path", "said"), TENANT.values(), ids=TENANT)
def test_a_mistake_in_a_tenant_comes_with_what_to_write_instead(
    folder: Path, change: dict[str, Any], path: str, said: str
) -> None:
    [problem] = problems_of(settings_for(folder, FakeEntra(), tenant=change), folder)
    assert (problem.path, said in str(problem), "pattern" in str(problem)) == (path, True, False)


@pytest.mark.parametrize(("change", "path", "said"), TOP.values(), ids=TOP)
def test_a_mistake_at_the_top_comes_with_what_to_write_instead(folder: Path, change: dict[str, Any], path: str, said: str) -> None:
    found = problems_of({**settings_for(folder, FakeEntra()), **change}, folder)
    assert [said in str(problem) for problem in found if problem.path == path] == [True]


@pytest.mark.parametrize("text", ["", "{'base_url': 'x'}", '{"a": True}', '{"a": 1,}', "// note"])
def test_what_is_nearly_json_is_told_what_json_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    [problem] = read_settings(file)[1]
    assert (problem.code, "double quotes" in problem.hint, "empty" in problem.message) == ("json_malformed", True, not text)


# --- where ------------------------------------------------------------------------------------------------------------


def two_tenants(folder: Path, *, mapping: dict[str, Any], **fabrikam: Any) -> dict[str, Any]:
    """Contoso and Fabrikam, both with the top-level mapping, but for what Fabrikam says itself."""
    settings = settings_for(folder, FakeEntra(), tenant={"mapping": {}}, mapping=mapping)
    settings["tenants"]["fabrikam"] = {"name": "Fabrikam", "entra_tenant_id": OTHER_DIRECTORY, **fabrikam}
    return settings


def told(settings: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """All that is found, warnings included, as place and code."""
    read, problems = read_settings(settings, base=folder)
    assert read is not None, problems
    users = inspect_users(
        make_user_model(), email_field="email", active_field="active", tenant_fields=None, is_privileged=None, roles_field=None
    )
    shape = users.shape(read.guards.protected_fields, grantable_roles=read.guards.grantable_roles)
    found = build_tenants(read, shape=shape, transforms={}, now=datetime.now(UTC))[1]
    return [(one.path, one.code) for one in (*problems, *found)]


def test_a_mistake_in_the_top_level_mapping_is_told_there_and_once(folder: Path) -> None:
    settings = two_tenants(folder, mapping={"fields": {**FIELDS, "frist_name": "givenname"}})
    assert told(settings, folder) == [("$.mapping.fields.frist_name", "unknown_target")]


def test_so_it_is_where_only_one_tenant_inherits_the_place(folder: Path) -> None:
    own = {"fields": {"email": "name", "frist_name": None}}
    settings = two_tenants(folder, mapping={"fields": {**FIELDS, "frist_name": "givenname"}})
    settings["tenants"]["fabrikam"]["mapping"] = own
    assert told(settings, folder) == [("$.mapping.fields.frist_name", "unknown_target")]


def test_a_mistake_of_a_tenants_own_stays_there(folder: Path) -> None:
    settings = two_tenants(folder, mapping={"fields": FIELDS})
    settings["tenants"]["fabrikam"]["mapping"] = {"fields": {"email": {"source": "name", "transform": ["lower"]}}}
    assert told(settings, folder) == [("$.tenants.fabrikam.mapping.fields.email.transform[0]", "unknown_transform")]


def test_what_is_only_wrong_for_one_kind_of_idp_is_told_at_that_tenant(folder: Path) -> None:
    settings = two_tenants(folder, mapping={"fields": FIELDS, "policy": {"guests": "deny"}}, preset="okta")
    assert ("$.tenants.fabrikam.mapping.policy.guests", "guests_unknown") in told(settings, folder)


def test_what_nothing_fills_is_told_at_each_tenant_with_fields_of_its_own(folder: Path) -> None:
    settings = two_tenants(folder, mapping={"fields": {"first_name": "givenname"}})
    settings["tenants"]["fabrikam"]["mapping"] = {"fields": {"email": "name"}}
    assert told(settings, folder) == [("$.mapping.fields", "unfilled_column")]


# --- guards -----------------------------------------------------------------------------------------------------------


def test_a_protected_field_that_is_misspelt_is_warned_about(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_host(folder, settings=settings_for(folder, FakeEntra(), guards={"protected_fields": ["is_admn", "is_admin"]}))
    assert [(record.args[0].path, record.args[0].code) for record in caplog.records if isinstance(record.args, tuple)] == [
        ("$.guards.protected_fields", "unknown_target")
    ]
    assert 'Did you mean "is_admin"?' in caplog.text


@pytest.mark.parametrize(
    ("directory", "identifier", "found"),
    [
        pytest.param(FakeEntra().tenant_id.upper(), "urn:app", [("$.tenants.fabrikam.entity_id", "identifier_shared")], id="one app"),
        pytest.param(OTHER_DIRECTORY, "urn:app", [], id="an app in each directory"),
        pytest.param(FakeEntra().tenant_id, "urn:other", [], id="two apps in one directory"),
    ],
)
def test_two_tenants_behind_one_app_of_entra_are_warned_about(
    folder: Path, directory: str, identifier: str, found: list[tuple[str, str]]
) -> None:
    settings = two_tenants(folder, mapping={"fields": FIELDS}, entity_id=identifier)
    settings["tenants"]["contoso"]["entity_id"] = "urn:app"
    settings["tenants"]["fabrikam"]["entra_tenant_id"] = directory
    assert told(settings, folder) == found


# --- commands ---------------------------------------------------------------------------------------------------------


def test_the_history_of_a_tenant_that_is_not_there_is_wrong_usage(host: Host) -> None:
    assert run_tenant(host, "history", "nosuch")[0] == 2
    assert run_tenant(host, "history", "contoso")[0] == 0


IMPORTED = {
    "a key twice": ('{"tenants": {"a": {"name": "A", "name": "B"}}}', "$.tenants.a.name"),
    "no JSON": ('{"tenants": {"a": {"name": "A",}}}', "no comma after the last item"),
    "another encoding": ('{"tenants": {"a": {"name": "\xe4"}}}', "UTF-8"),
    "another version's key": ('{"tenants": {"a": {"name": "A", "domain_s": []}}}', '"domains"'),
    "the name of a file": ('{"tenants": {"a": {"name": "A", "idp": {"metadata_file": "a.xml"}}}}', "not its name"),
}


@pytest.mark.parametrize(("text", "said"), IMPORTED.values(), ids=IMPORTED)
def test_a_file_that_cannot_be_imported_says_why(host: Host, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tenants.json"
    file.write_bytes(text.encode("latin-1"))
    code, told = run_tenant(host, "import", str(file))
    assert (code in (1, 2), said in told, host.count("samljit_tenant")) == (True, True, 0)


SHEETS = {
    "semicolons": ("tenant;subject;email\n", "separated by commas"),
    "capitals": ("Tenant,Subject,Email\n", "Tenant,Subject,Email"),
    "a column twice": ("tenant,subject,email,email\n", "each once"),
    "nothing": ("", "empty"),
}


@pytest.mark.parametrize(("text", "said"), SHEETS.values(), ids=SHEETS)
def test_a_first_line_that_is_not_ours_is_shown(host: Host, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "people.csv"
    file.write_text(text)
    done = host.app.test_cli_runner().invoke(args=["samljit", "identity", "import", str(file)])
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_a_mapping_is_tried_with_the_names_of_the_tenants_own_kind_of_idp(tmp_path: Path) -> None:
    change = {"preset": "okta", "entra_tenant_id": None, "mapping": {"fields": FIELDS}}
    host = make_host(tmp_path, tenant=change)
    file = tmp_path / "claims.json"
    file.write_text(json.dumps({"NameID": "u1", "email": "a@contoso.example", "firstName": "Adele"}))
    done = host.app.test_cli_runner().invoke(args=["samljit", "mapping", "test", "--tenant", "contoso", "--claims", str(file)])
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("first_name"))
    assert row[:3] == ["first_name", "givenname", "Adele"]


def test_a_saved_response_may_begin_with_a_byte_order_mark(host: Host, tmp_path: Path) -> None:
    post = host.entra.unsolicited(ADELE, acs_url=ACS, audience=ENTITY_ID, now=datetime.now(UTC))
    file = tmp_path / "response.xml"
    file.write_bytes(b"\xef\xbb\xbf" + post.xml)
    done = host.app.test_cli_runner().invoke(args=["samljit", "mapping", "test", "--tenant", "contoso", "--response", str(file)])
    assert (done.exit_code, "Signature verified" in done.stdout) == (0, True)
