"""Encrypted assertions (trust: 8, 9): what is read, what is refused, and that no two faults look different from outside."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from samljit.errors import Reason
from samljit.model import RequireSignature
from samljit.saml import encryption
from samljit.testing import Encryption, FakeEntra, KeyPair, signing_key
from samljit.testing.encryption import XENC, XENC11
from tests.host import Host, key_files, make_host, settings_for
from tests.trust.forge import Desk, answer, public_face, refused

OWN, OLD, STRANGER = (lambda: signing_key("our own")), (lambda: signing_key("our older one")), (lambda: signing_key("a stranger's"))


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """A host with two key pairs: the current one, and an older one that an IdP may still use."""
    entra = FakeEntra()
    made = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, sp=key_files(tmp_path, new=OWN(), old=OLD())))
    yield made
    made.session.remove()
    made.engine.dispose()


def to(pair: KeyPair, **how: Any) -> Encryption:
    return Encryption(pair.certificate_der, **how)


OAEP = f"{XENC11}rsa-oaep"
SHA256 = f"{XENC}sha256"
WAYS = {
    "8-as-entra-sends": {},
    "8-aes128-cbc": {"data_algorithm": f"{XENC}aes128-cbc", "session_key_bits": 128},
    "8-aes128-gcm": {"data_algorithm": f"{XENC11}aes128-gcm", "session_key_bits": 128},
    "8-aes256-gcm": {"data_algorithm": f"{XENC11}aes256-gcm"},
    "8-oaep-sha256": {"digest": SHA256},
    "8-oaep-11": {"key_algorithm": OAEP, "digest": SHA256},
}


@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_an_encrypted_assertion_is_read(host: Host, how: dict[str, Any], sign: str) -> None:
    page = host.sign_in(encryption=to(OWN(), **how), sign=sign)
    assert (page.status, [user["first_name"] for user in host.users()]) == (200, ["Adele"])


@pytest.mark.parametrize("style", ["entra", "prefixed"])
def test_an_inner_signature_holds_whatever_prefixes_the_response_uses(host: Host, style: str) -> None:
    host.sign_in(encryption=to(OWN()), style=style, sign="both")
    assert host.count("users") == 1


def test_an_older_key_still_decrypts(host: Host) -> None:
    host.sign_in(encryption=to(OLD()))
    assert host.count("users") == 1


def test_metadata_offers_both_keys_for_encryption_the_current_one_first(host: Host) -> None:
    text = host.app.test_client().get("/saml/contoso/metadata").text
    assert re.findall(r'use="(\w+)"', text) == ["encryption", "encryption"]
    offered = re.findall(r"<ds:X509Certificate>([^<]+)<", text)
    assert [base64.b64decode(one) for one in offered] == [OWN().certificate_der, OLD().certificate_der]


def cipher(position: int, change: Any) -> Any:
    """A hook that changes the bytes of the first (the key's) or second (the data's) CipherValue."""

    def hook(root: Any) -> None:
        value = list(root.iter(f"{{{XENC}}}CipherValue"))[position]
        value.text = base64.b64encode(change(base64.b64decode(value.text))).decode()

    return hook


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


FAULTS = {
    "8-to-another-key": {"encryption": lambda: to(STRANGER())},
    "8-key-changed": {"after_signing": cipher(0, flip_last)},
    "8-key-cut": {"after_signing": cipher(0, lambda data: data[:-7])},
    "8-padding-broken": {"after_signing": cipher(1, flip_last)},
    "8-data-cut": {"after_signing": cipher(1, lambda data: data[:-16])},
    "8-data-not-whole-blocks": {"after_signing": cipher(1, lambda data: data[:-3])},
    "8-data-empty": {"after_signing": cipher(1, lambda data: b"")},
    "8-content-broken": {"after_signing": cipher(1, lambda data: data[:64] + bytes(64) + data[128:])},
    "8-gcm-tag-broken": {"encryption": lambda: to(OWN(), data_algorithm=f"{XENC11}aes256-gcm"), "after_signing": cipher(1, flip_last)},
}


@pytest.mark.parametrize("changes", FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_decrypted_is_refused_alike(host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]) -> None:
    encryption = changes.get("encryption", lambda: to(OWN()))()
    refused(host, caplog, Reason.DECRYPTION_FAILED, **{**changes, "encryption": encryption})


@pytest.mark.parametrize("position", [0, 1], ids=["key", "data"])
@pytest.mark.parametrize("require", [RequireSignature.RESPONSE, RequireSignature.BOTH])
def test_8_where_the_response_must_be_signed_nothing_else_is_decrypted(require: RequireSignature, position: int) -> None:
    """A ciphertext changed bit by bit tells an attacker what it holds, if only by the time that the answer takes."""
    desk, now = Desk(require=require, own_keys=(OWN(),)), datetime.now(UTC)
    signed = {"now": now, "encryption": to(OWN()), "sign": "both"}
    assert desk.reason(desk.respond(**signed), now=now) is None
    assert desk.reason(desk.respond(**signed, after_signing=cipher(position, flip_last)), now=now) is Reason.SIGNATURE_INVALID
    assert desk.reason(desk.respond(**{**signed, "sign": "assertion"}), now=now) is Reason.SIGNATURE_MISSING


ALGORITHMS = {
    "8-rsa15": {"key_algorithm": f"{XENC}rsa-1_5"},
    "8-triple-des": {"data_algorithm": f"{XENC}tripledes-cbc", "session_key_bits": 192},
    "8-aes192": {"data_algorithm": f"{XENC}aes192-cbc", "session_key_bits": 192},
}


@pytest.mark.parametrize("how", ALGORITHMS.values(), ids=ALGORITHMS)
def test_weak_encryption_is_refused(host: Host, caplog: pytest.LogCaptureFixture, how: dict[str, Any]) -> None:
    refused(host, caplog, Reason.ALGORITHM_NOT_ALLOWED, encryption=to(OWN(), **how))


def test_8_without_a_key_of_ours_nothing_is_decrypted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = make_host(tmp_path)
    refused(host, caplog, Reason.ENCRYPTION_UNEXPECTED, encryption=to(OWN()))
    host.engine.dispose()


RECIPIENTS = {
    "8-issuer-and-serial": (
        "<X509Data><X509IssuerSerial><X509IssuerName>CN=app</X509IssuerName><X509SerialNumber>7</X509SerialNumber></X509IssuerSerial>"
        "</X509Data>"
    ),
    "8-key-name": "<KeyName>the app's</KeyName>",
    "8-certificate": "<X509Data><X509Certificate>AAAA</X509Certificate></X509Data>",
}


@pytest.mark.parametrize("markup", RECIPIENTS.values(), ids=RECIPIENTS)
def test_whom_the_key_is_for_may_be_named_and_is_never_read(host: Host, markup: str) -> None:
    """ADFS names our certificate by its issuer and number (python-saml issue 180 shows one)."""

    def hook(root: Any) -> None:
        method = next(root.iter(f"{{{XENC}}}EncryptedKey"))[0]
        method.addnext(etree.fromstring(f'<KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#">{markup}</KeyInfo>'))

    assert host.sign_in(encryption=to(OLD()), after_signing=hook).text == "user 1"


def shape_changes() -> dict[str, Any]:
    def add(path: str, markup: str, *, index: int | None = None) -> Any:
        def hook(root: Any) -> None:
            parent = next(root.iter(path))
            parent.insert(len(parent) if index is None else index, etree.fromstring(markup))

        return hook

    data, key = f"{{{XENC}}}EncryptedData", f"{{{XENC}}}EncryptedKey"
    retrieval = '<RetrievalMethod xmlns="http://www.w3.org/2000/09/xmldsig#" URI="file:///dev/zero"/>'
    reference = f'<CipherReference xmlns="{XENC}" URI="file:///dev/zero"/>'
    return {
        "8-retrieval-method": add("{http://www.w3.org/2000/09/xmldsig#}KeyInfo", retrieval),
        "8-cipher-reference": add(f"{{{XENC}}}CipherData", reference, index=0),
        "8-second-encrypted-key": add("{http://www.w3.org/2000/09/xmldsig#}KeyInfo", f'<EncryptedKey xmlns="{XENC}"/>'),
        "8-encryption-properties": add(data, f'<EncryptionProperties xmlns="{XENC}"/>'),
        "8-reference-list": add(key, f'<ReferenceList xmlns="{XENC}"/>'),
        "8-another-mask": add(f"{{{XENC}}}EncryptionMethod", f'<MGF xmlns="{XENC11}" Algorithm="{XENC11}mgf1sha256"/>'),
        "8-oaep-params": add(f"{{{XENC}}}EncryptionMethod", f'<OAEPparams xmlns="{XENC}">AAAA</OAEPparams>'),
    }


@pytest.mark.parametrize("hook", shape_changes().values(), ids=shape_changes())
def test_encryption_of_any_other_shape_is_refused_before_decryption(host: Host, caplog: pytest.LogCaptureFixture, hook: Any) -> None:
    refused(host, caplog, Reason.SHAPE_UNEXPECTED, encryption=to(OWN()), after_signing=hook)


INNER = {
    "9-inner-unsigned": ({"sign": "none"}, Reason.SIGNATURE_MISSING),
    "9-inner-signed-by-a-stranger": ({"key": STRANGER}, Reason.SIGNATURE_INVALID),
    "9-inner-for-another-audience": ({"audiences": (("https://elsewhere.example",),)}, Reason.AUDIENCE_MISMATCH),
}


@pytest.mark.parametrize(("changes", "reason"), INNER.values(), ids=INNER)
def test_what_was_encrypted_is_checked_like_anything_else(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    changes = {name: value() if callable(value) else value for name, value in changes.items()}
    refused(host, caplog, reason, encryption=to(OWN()), **changes)


# --- RSA 1.5, where a tenant allows it ---------------------------------------------------------------------------------

RSA15 = f"{XENC}rsa-1_5"


def b2c(pair: KeyPair, **how: Any) -> Encryption:
    """As Azure AD B2C encrypts unless told otherwise (saml-service-provider-options): AES-256-CBC, RSA 1.5."""
    return to(pair, key_algorithm=RSA15, **how)


@pytest.fixture
def b2c_host(tmp_path: Path) -> Any:
    entra = FakeEntra()
    sp = key_files(tmp_path, new=OWN(), old=OLD())
    made = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, sp=sp, tenant={"allow_rsa15": True}))
    yield made
    made.session.remove()
    made.engine.dispose()


@pytest.mark.parametrize("pair", [OWN, OLD], ids=["current key", "older key"])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="8-aes256-cbc"),
        pytest.param({"data_algorithm": f"{XENC}aes128-cbc", "session_key_bits": 128}, id="8-aes128-cbc"),
        pytest.param({"data_algorithm": f"{XENC11}aes256-gcm"}, id="8-aes256-gcm"),
    ],
)
def test_8_rsa15_is_read_where_a_tenant_allows_it(b2c_host: Host, how: dict[str, Any], pair: Any) -> None:
    assert b2c_host.sign_in(encryption=b2c(pair(), **how)).text == "user 1"


def test_8_a_tenant_that_allows_rsa15_still_reads_oaep(b2c_host: Host) -> None:
    assert b2c_host.sign_in(encryption=to(OLD())).text == "user 1"


def wrapped_as(block: bytes) -> Any:
    """A hook that puts this block, in which the padding is whatever we like, through the RSA of our own certificate."""
    numbers = OWN().private_key.public_key().public_numbers()
    cipher_text = pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    return cipher(0, lambda data: cipher_text)


def block(head: bytes, *, filled_to: int, rest: bytes) -> bytes:
    return head + b"\x5a" * (filled_to - len(head) - len(rest)) + rest


KEY = bytes(range(1, 33))
RSA15_FAULTS = {
    "8-to-another-key": {"encryption": lambda: b2c(STRANGER())},
    "8-key-changed": {"after_signing": cipher(0, flip_last)},
    "8-key-cut": {"after_signing": cipher(0, lambda data: data[:-7])},
    "8-key-empty": {"after_signing": cipher(0, lambda data: b"")},
    "8-key-above-the-modulus": {"after_signing": cipher(0, lambda data: b"\xff" * 256)},
    "8-first-byte": {"after_signing": wrapped_as(block(b"\x01\x02", filled_to=256, rest=b"\0" + KEY))},
    "8-block-type-1": {"after_signing": wrapped_as(block(b"\0\x01", filled_to=256, rest=b"\0" + KEY))},
    "8-no-separator": {"after_signing": wrapped_as(block(b"\0\x02", filled_to=256, rest=KEY))},
    "8-short-padding": {"after_signing": wrapped_as(block(b"\0\x02\x5a\x5a\x5a\0", filled_to=256, rest=KEY))},
    "8-good-padding-of-another-key": {"after_signing": wrapped_as(block(b"\0\x02", filled_to=256, rest=b"\0" + KEY))},
    "8-good-padding-of-a-shorter-key": {"after_signing": wrapped_as(block(b"\0\x02", filled_to=256, rest=b"\0" + KEY[:16]))},
    "8-good-padding-of-no-key": {"after_signing": wrapped_as(block(b"\0\x02", filled_to=256, rest=b"\0"))},
    "8-padding-of-the-content": {"after_signing": cipher(1, flip_last)},
    "8-content-cut": {"after_signing": cipher(1, lambda data: data[:-16])},
    "8-content-of-one-block": {"after_signing": cipher(1, lambda data: data[:32])},
    "8-content-empty": {"after_signing": cipher(1, lambda data: b"")},
    "8-content-broken": {"after_signing": cipher(1, lambda data: data[:64] + bytes(64) + data[128:])},
    "8-content-broken-at-its-start": {"after_signing": cipher(1, lambda data: bytes([data[0] ^ 1]) + data[1:])},
    "8-gcm": {"encryption": lambda: b2c(OWN(), data_algorithm=f"{XENC11}aes256-gcm"), "after_signing": cipher(1, flip_last)},
    "8-gcm-key": {"encryption": lambda: b2c(OWN(), data_algorithm=f"{XENC11}aes256-gcm"), "after_signing": cipher(0, flip_last)},
}


@pytest.mark.parametrize("changes", RSA15_FAULTS.values(), ids=RSA15_FAULTS)
def test_with_rsa15_padding_key_and_content_fail_alike(b2c_host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]) -> None:
    """Bleichenbacher's question, whether a padding was right, is answered by nothing: not the page, not the reason, not the detail."""
    encryption = changes.get("encryption", lambda: b2c(OWN()))()
    page = refused(b2c_host, caplog, Reason.DECRYPTION_FAILED, **{**changes, "encryption": encryption})
    assert (page.status, [row.detail for row in b2c_host.rows("samljit_attempt")]) == (403, [""])


def test_42_a_failed_decryption_reads_like_a_wrong_signature_or_a_missing_encryption(b2c_host: Host, strict_host: Host) -> None:
    looks = {"signature": answer(b2c_host, encryption=b2c(OWN()), key=STRANGER()), "plain": answer(strict_host)}
    for name in ("8-to-another-key", "8-first-byte", "8-good-padding-of-another-key", "8-padding-of-the-content", "8-gcm"):
        changes = RSA15_FAULTS[name]
        encryption = changes.get("encryption", lambda: b2c(OWN()))()
        looks[name] = answer(b2c_host, **{**changes, "encryption": encryption})
    assert {flow.page.status for flow in looks.values()} == {403}
    assert len({public_face(flow.page) for flow in looks.values()}) == 1


def test_8_what_stands_in_for_a_bad_key_is_always_the_same_and_nobody_elses() -> None:
    own, other, wrapped = OWN().private_key, OLD().private_key, b"a ciphertext"
    made = [encryption._stand_in(key, text) for key, text in ((own, wrapped), (own, wrapped), (other, wrapped), (own, b"another"))]
    assert (made[0] == made[1], len(set(made)), {len(one) for one in made}) == (True, 3, {32})


def test_8_3des_is_refused_whatever_a_tenant_allows(b2c_host: Host, caplog: pytest.LogCaptureFixture) -> None:
    weak = {"data_algorithm": f"{XENC}tripledes-cbc", "session_key_bits": 192}
    refused(b2c_host, caplog, Reason.ALGORITHM_NOT_ALLOWED, encryption=b2c(OWN(), **weak))


# --- tenants that want nothing else -----------------------------------------------------------------------------------


@pytest.fixture
def strict_host(tmp_path: Path) -> Any:
    entra = FakeEntra()
    directory = tmp_path / "strict"
    directory.mkdir()
    given = settings_for(directory, entra, sp=key_files(directory, own=OWN()), tenant={"require_encryption": True})
    made = make_host(directory, entra=entra, settings=given)
    yield made
    made.session.remove()
    made.engine.dispose()


@pytest.mark.parametrize("changes", [{}, {"sign": "both"}, {"sign": "none"}, {"key": STRANGER}], ids=str)
def test_8_a_tenant_that_requires_encryption_refuses_plain_assertions(
    strict_host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    changes = {name: value() if callable(value) else value for name, value in changes.items()}
    refused(strict_host, caplog, Reason.ENCRYPTION_MISSING, **changes)


@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
def test_8_and_reads_encrypted_ones(strict_host: Host, sign: str) -> None:
    assert strict_host.sign_in(encryption=to(OWN()), sign=sign).text == "user 1"


@pytest.mark.parametrize(
    "markup",
    [
        pytest.param("<Advice xmlns='urn:oasis:names:tc:SAML:2.0:assertion'/>", id="9-advice"),
        pytest.param("<x xmlns='urn:x:y'/>", id="9-foreign"),
    ],
)
def test_what_was_encrypted_has_the_one_shape(host: Host, caplog: pytest.LogCaptureFixture, markup: str) -> None:
    def hook(root: Any) -> None:
        next(root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}Assertion")).append(etree.fromstring(markup))

    refused(host, caplog, Reason.SHAPE_UNEXPECTED, encryption=to(OWN()), before_signing=hook)
