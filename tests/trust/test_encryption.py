"""Encrypted assertions (trust: 8, 9): what is read, what is refused, and that no two faults look different from outside."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from samljit.errors import Reason
from samljit.model import RequireSignature
from samljit.testing import Encryption, FakeEntra, KeyPair, signing_key
from samljit.testing.encryption import XENC, XENC11
from tests.host import Host, key_files, make_host, settings_for
from tests.trust.forge import Desk, refused

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


def shape_changes() -> dict[str, Any]:
    def add(path: str, markup: str, *, index: int | None = None) -> Any:
        from lxml import etree

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


@pytest.mark.parametrize(
    "markup",
    [
        pytest.param("<Advice xmlns='urn:oasis:names:tc:SAML:2.0:assertion'/>", id="9-advice"),
        pytest.param("<x xmlns='urn:x:y'/>", id="9-foreign"),
    ],
)
def test_what_was_encrypted_has_the_one_shape(host: Host, caplog: pytest.LogCaptureFixture, markup: str) -> None:
    from lxml import etree

    def hook(root: Any) -> None:
        next(root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}Assertion")).append(etree.fromstring(markup))

    refused(host, caplog, Reason.SHAPE_UNEXPECTED, encryption=to(OWN()), before_signing=hook)
