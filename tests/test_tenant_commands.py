"""`flask samljit tenant ...` for tenants that live in the database, as operators type it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from samljit.sql.audit import AuditAction, Author
from samljit.testing import FakeEntra
from samljit.testing.keys import signing_key
from tests.conftest import Mount
from tests.host import ADELE, FIELDS, ORIGIN, Host
from tests.host import settings_for as settings_of

LOGIN = f"{ORIGIN}/saml/fabrikam/login"


def run(host: Host, *words: str) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    done = host.app.test_cli_runner().invoke(args=["samljit", "tenant", *words])
    return done.exit_code, done.output


def mapping_file(tmp_path: Path) -> str:
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps({"fields": FIELDS}))
    return str(file)


def metadata_file(tmp_path: Path, entra: FakeEntra, name: str = "metadata.xml") -> str:
    file = tmp_path / name
    file.write_bytes(entra.metadata())
    return str(file)


def add(host: Host, tmp_path: Path, slug: str = "fabrikam", *more: str) -> tuple[int, str]:
    words = ["--name", "Fabrikam", "--entra-tenant-id", host.entra.tenant_id, "--mapping", mapping_file(tmp_path), "--by", "ops"]
    return run(host, "add", slug, *words, *more)


def test_a_tenant_is_added_connected_disabled_and_enabled_while_the_app_runs(host: Host, tmp_path: Path) -> None:
    code, told = add(host, tmp_path, "fabrikam", "--domain", "Fabrikam.example")
    assert (code, "tenant show fabrikam" in told) == (0, True)
    assert host.browser().get(LOGIN).status == 403
    assert run(host, "set", "fabrikam", "--metadata-file", metadata_file(tmp_path, host.entra))[0] == 0
    assert host.sign_in(login_url=LOGIN).status == 200
    assert run(host, "disable", "fabrikam")[0] == 0
    assert host.browser().get(LOGIN).status == 403
    assert run(host, "enable", "fabrikam")[0] == 0
    assert host.sign_in(ADELE, login_url=LOGIN).status == 200
    assert host.reasons() == ["tenant_not_connected", "tenant_disabled"]


def test_enabling_says_where_the_tenant_itself_is_off(host: Host, tmp_path: Path) -> None:
    add(host, tmp_path)
    assert "offer_sso" not in run(host, "enable", "fabrikam")[1]
    run(host, "set", "fabrikam", "--set", "offer_sso=false")
    assert "--set offer_sso=true" in run(host, "enable", "fabrikam")[1]
    [row] = [row for row in json.loads(run(host, "list", "--json")[1]) if row["tenant"] == "fabrikam"]
    assert (row["enabled"], row["offer_sso"]) == (True, False)


def test_history_tells_who_changed_what(host: Host, tmp_path: Path) -> None:
    add(host, tmp_path)
    run(host, "set", "fabrikam", "--name", "Fabrikam Inc", "--by", "erin")
    code, told = run(host, "history", "fabrikam", "--json")
    newest = json.loads(told)[0]
    assert (code, newest["by"], newest["action"]) == (0, "erin", "tenant_changed")
    assert (newest["before"], newest["after"]) == ({"name": "Fabrikam"}, {"name": "Fabrikam Inc"})


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "a slug of ours": (("add", "login", "--name", "x"), "address of our own"),
    "no slug": (("add", "No Slug", "--name", "x"), "cannot be this"),
    "one of the settings": (("add", "contoso", "--name", "x"), "settings file"),
    "no directory": (("add", "tailspin", "--name", "x"), "entra_tenant_id"),
    "an unknown key": (("set", "fabrikam", "--set", "colour=red"), "$.colour"),
    "a wrong type": (("set", "fabrikam", "--set", "enabled=perhaps"), "$.enabled"),
    "a domain of the settings": (("set", "fabrikam", "--domain", "contoso.example"), "contoso's"),
    "a required key": (("set", "fabrikam", "--unset", "name"), "$.name"),
}


@pytest.mark.parametrize(("words", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_named_and_nothing_is_written(host: Host, tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    add(host, tmp_path)
    before = (host.rows("samljit_tenant"), host.rows("samljit_domain"), host.count("samljit_audit"))
    code, told = run(host, *words)
    assert (code, named in told) == (1, True), told
    assert (host.rows("samljit_tenant"), host.rows("samljit_domain"), host.count("samljit_audit")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("set", "fabrikam"),
        ("set", "fabrikam", "--entity-id", "x"),
        ("set", "fabrikam", "--rekey", "--name", "x", "--entity-id", "y"),
        ("set", "contoso", "--name", "x"),
        ("set", "nobody", "--name", "x"),
        ("set", "fabrikam", "--set", "enabled"),
        ("disable", "contoso"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_apart_from_bad_tenants(host: Host, tmp_path: Path, words: tuple[str, ...]) -> None:
    add(host, tmp_path)
    assert run(host, *words)[0] == 2


def test_a_domain_that_another_tenant_of_the_database_proved_is_refused(host: Host, tmp_path: Path) -> None:
    add(host, tmp_path, "fabrikam", "--domain", "fabrikam.example")
    code, told = add(host, tmp_path, "tailspin", "--domain", "FABRIKAM.example")
    assert (code, "fabrikam's" in told, host.count("samljit_tenant")) == (1, True, 1)


def test_what_was_exported_can_be_imported_elsewhere(host: Host, mount: Mount, tmp_path: Path) -> None:
    add(host, tmp_path, "fabrikam", "--metadata-file", metadata_file(tmp_path, host.entra), "--domain", "fabrikam.example")
    add(host, tmp_path, "tailspin")
    exported = tmp_path / "export.json"
    exported.write_text(run(host, "export")[1])
    other = mount()
    assert run(other, "import", str(exported), "--dry-run")[0] == 0
    assert other.count("samljit_tenant") == 0
    assert run(other, "import", str(exported))[0] == 0
    assert json.loads(run(other, "export")[1]) == json.loads(exported.read_text())
    assert other.sign_in(login_url=LOGIN).status == 200
    assert run(other, "import", str(exported))[0] == 1
    assert json.loads(run(other, "import", str(exported), "--replace", "--json")[1])["written"] == {
        "fabrikam": "unchanged",
        "tailspin": "unchanged",
    }


def test_an_import_with_one_bad_tenant_writes_none(host: Host, tmp_path: Path) -> None:
    good = {"name": "A", "entra_tenant_id": host.entra.tenant_id, "mapping": {"fields": FIELDS}, "domains": ["a.example"]}
    for bad in ({**good, "name": ""}, good):  # the second takes the first one's domain
        file = tmp_path / "import.json"
        file.write_text(json.dumps({"tenants": {"aa": good, "bb": bad}}))
        assert run(host, "import", str(file))[0] == 1
        assert (host.count("samljit_tenant"), host.count("samljit_domain"), host.count("samljit_audit")) == (0, 0, 0)


def test_domains_can_change_hands_in_one_import(host: Host, tmp_path: Path) -> None:
    def written(**domains: list[str]) -> str:
        common: dict[str, Any] = {"name": "A", "entra_tenant_id": host.entra.tenant_id, "mapping": {"fields": FIELDS}}
        file = tmp_path / "import.json"
        file.write_text(json.dumps({"tenants": {slug: {**common, "domains": own} for slug, own in domains.items()}}))
        return str(file)

    assert run(host, "import", written(aa=["a.example"], bb=["b.example"]))[0] == 0
    code, told = run(host, "import", written(aa=["b.example"], bb=["a.example"]), "--replace")
    assert (code, told.split()) == (0, ["aa:", "replaced", "bb:", "replaced"])
    with host.app.app_context():
        found = host.saml.tenant_for_email("x@a.example")
    assert found is not None
    assert found.slug == "bb"


def test_a_tenant_moves_from_the_settings_to_the_database_and_everybody_stays_who_they_are(mount: Mount, tmp_path: Path) -> None:
    entra = FakeEntra()
    before = mount(entra=entra, settings=settings_of(tmp_path, entra))
    assert before.sign_in().status == 200
    exported = tmp_path / "contoso.json"
    exported.write_text(run(before, "export", "contoso")[1])
    url = str(before.engine.url)
    without = {**settings_of(tmp_path, entra), "tenants": {}}
    after = mount(entra=entra, settings=without, url=url)
    assert run(after, "import", str(exported))[0] == 1
    assert run(after, "import", str(exported), "--adopt")[0] == 0
    assert after.sign_in().status == 200
    assert (after.count("users"), after.count("samljit_identity")) == (1, 1)


def test_an_export_of_the_settings_holds_the_files_themselves(mount: Mount, tmp_path: Path) -> None:
    entra = FakeEntra(keys=[signing_key("typed")])
    certificate = tmp_path / "contoso.cer"
    certificate.write_bytes(entra.key.certificate_der)
    idp = {"entity_id": entra.entity_id, "sso_url": entra.sso_url, "certificate_files": [str(certificate)]}
    host = mount(entra=entra, tenant={"idp": idp})
    told = json.loads(run(host, "export", "contoso")[1])["tenants"]["contoso"]
    assert told["idp"]["certificates"][0].startswith("-----BEGIN CERTIFICATE-----")
    assert "certificate_files" not in told["idp"]


@pytest.mark.parametrize("misfit", [{"mapping": {"fields": {"no_such_column": "givenname"}}}, {"domains": ["contoso.example"]}], ids=str)
def test_a_tenant_is_disabled_whatever_is_wrong_with_it(host: Host, tmp_path: Path, misfit: dict[str, Any]) -> None:
    add(host, tmp_path, "fabrikam", "--metadata-file", metadata_file(tmp_path, host.entra))
    rows = host.app.extensions["samljit"].directory.rows

    def change(**patch: Any) -> None:
        author = Author("a deploy", datetime.now(UTC))
        rows.change(rows.get_stored("fabrikam"), patch, author=author, action=AuditAction.TENANT_CHANGED)

    change(**misfit)
    assert run(host, "set", "fabrikam", "--name", "F")[0] == 1
    code, told = run(host, "disable", "fabrikam")
    assert (code, told) == (0, "fabrikam is disabled.\n")
    assert rows.get_stored("fabrikam").live["enabled"] is False
    assert run(host, "enable", "fabrikam")[0] == 1
    change(domains=None, mapping={"fields": FIELDS})  # in order again, it is off all the same
    assert host.browser().get(LOGIN).status == 403
    assert host.reasons()[-1:] == ["tenant_disabled"]
