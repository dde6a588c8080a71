"""`flask samljit cert new`: key pairs of our own, and what is said about them."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from samljit.model import RequireSignature
from samljit.testing import Encryption, FakeEntra, signing_key
from tests.host import Host, key_files, make_host, settings_for


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a settings.json in it, as `certs` is found from there."""
    (tmp_path / "settings.json").write_text(json.dumps(settings_for(tmp_path, FakeEntra())))
    return tmp_path


def host_of(place: Path) -> Host:
    return make_host(place, configure=lambda app: app.config.update(SAMLJIT_SETTINGS=str(place / "settings.json")))


def run(place: Path, *arguments: str) -> Any:
    host = host_of(place)
    done = host.app.test_cli_runner().invoke(args=["samljit", "cert", "new", *arguments])
    host.engine.dispose()
    return done


def load(place: Path, name: str = "sp") -> tuple[RSAPrivateKey, x509.Certificate]:
    key = load_pem_private_key((place / f"certs/{name}.key").read_bytes(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key, x509.load_pem_x509_certificate((place / f"certs/{name}.crt").read_bytes())


def test_the_key_is_rsa_3072_and_its_certificate_is_good_for_three_years_from_now(place: Path) -> None:
    assert run(place).exit_code == 0
    (key, certificate), now = load(place), datetime.now(UTC)
    assert (key.key_size, key.public_key() == certificate.public_key()) == (3072, True)
    certificate.verify_directly_issued_by(certificate)
    assert [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["app.example.com"]
    assert timedelta(minutes=59) < now - certificate.not_valid_before_utc < timedelta(minutes=65)
    assert timedelta(days=1094) < certificate.not_valid_after_utc - now <= timedelta(days=1095)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, True, False)


@pytest.mark.parametrize(("days", "code"), [("1", 0), ("3650", 0), ("0", 2), ("3651", 2), ("soon", 2)])
def test_its_days_can_be_chosen(place: Path, days: str, code: int) -> None:
    assert run(place, "--days", days).exit_code == code
    if code == 0:
        left = load(place)[1].not_valid_after_utc - datetime.now(UTC)
        assert int(days) - 1 <= left.days <= int(days)


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's; run it on Linux or macOS")
@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_nobody_else_may_read_the_key(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        run(place)
    finally:
        os.umask(before)
    assert (place / "certs/sp.key").stat().st_mode & 0o777 == 0o600


def test_nothing_is_ever_overwritten(place: Path) -> None:
    (place / "certs").mkdir()
    (place / "certs/sp.crt").write_text("somebody's")
    (place / "certs/sp-2.key").symlink_to(place / "nowhere")
    assert [run(place).exit_code for _ in range(2)] == [0, 0]
    names = sorted(path.name for path in (place / "certs").iterdir())
    assert names == ["sp-2.key", "sp-3.crt", "sp-3.key", "sp-4.crt", "sp-4.key", "sp.crt"]
    assert ((place / "certs/sp.crt").read_text(), (place / "nowhere").exists()) == ("somebody's", False)


def test_a_place_that_cannot_be_written_to_is_said_in_a_sentence(place: Path) -> None:
    (place / "certs").write_text("a file")
    done = run(place)
    assert (done.exit_code, "Cannot write to" in done.output) == (1, True)


def test_what_it_says_to_write_into_the_settings_loads_and_decrypts(place: Path) -> None:
    said = re.search(r'"sp": (\{.*\})', run(place).output)
    assert said is not None
    settings = json.loads((place / "settings.json").read_text())
    (place / "settings.json").write_text(json.dumps({**settings, "sp": json.loads(said[1])}))
    host = host_of(place)
    assert host.sign_in(encryption=Encryption(x509_der(place))).text == "user 1"
    host.engine.dispose()


def x509_der(place: Path) -> bytes:
    return load(place)[1].public_bytes(Encoding.DER)


def test_with_a_key_in_use_it_says_how_to_roll_over(place: Path) -> None:
    settings = json.loads((place / "settings.json").read_text())
    (place / "settings.json").write_text(json.dumps({**settings, "sp": key_files(place, now=signing_key("our own"))}))
    done = run(place)
    assert done.exit_code == 0
    assert [line[:2] for line in done.output.splitlines() if re.match(r"\d\.", line)] == ["1.", "2.", "3.", "4."]


def test_json_names_the_files_and_the_certificate(place: Path) -> None:
    made = json.loads(run(place, "--json").output)
    assert (made["key_file"], made["certificate_file"]) == ("certs/sp.key", "certs/sp.crt")
    assert made["fingerprint"] == load(place)[1].fingerprint(load(place)[1].signature_hash_algorithm).hex()


@pytest.mark.parametrize(
    ("require", "has_key", "warns"),
    [(require, True, require in ("assertion", "assertion_or_response")) for require in RequireSignature]
    + [(RequireSignature.ASSERTION_OR_RESPONSE, False, False)],
)
def test_check_warns_where_strangers_can_have_us_decrypt(tmp_path: Path, require: RequireSignature, has_key: bool, warns: bool) -> None:
    top = {"sp": key_files(tmp_path, now=signing_key("our own"))} if has_key else {}
    host = make_host(tmp_path, settings=settings_for(tmp_path, FakeEntra(), tenant={"require_signature": str(require)}, **top))
    found = json.loads(host.app.test_cli_runner().invoke(args=["samljit", "check", "--json"]).output)["findings"]
    assert ("ciphertext_unsigned" in [one["code"] for one in found]) is warns
    host.engine.dispose()
