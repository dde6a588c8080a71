"""Certificates: what is read, and which keys may check a signature."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from samljit.model import Certificate
from samljit.saml.certificates import CertificateError, public_key, read_certificates, read_usable_certificates, usable_certificates
from samljit.testing.keys import KeyPair, make_key_pair

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
FROM, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)


@cache
def pair(name: str, *, bits: int = 2048, begins: datetime = FROM, ends: datetime = UNTIL) -> KeyPair:
    return make_key_pair(common_name=name, valid_from=begins, valid_until=ends, bits=bits)


@cache
def other_algorithm(kind: str) -> bytes:
    """A self-signed certificate, DER, of a key that is not RSA."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    hash_algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.not_valid_before(FROM).not_valid_after(UNTIL).sign(key, hash_algorithm).public_bytes(Encoding.DER)


def read_one(der: bytes) -> Certificate:
    (certificate,) = read_certificates(der)
    return certificate


def wrapped(text: str) -> str:
    return "\r\n".join(text[start : start + 64] for start in range(0, len(text), 64))


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda a: a.certificate_pem, id="PEM"),
        pytest.param(lambda a: b"\xef\xbb\xbf" + a.certificate_pem, id="PEM with a BOM"),
        pytest.param(lambda a: b"Bag Attributes\n    friendlyName: a\n" + a.certificate_pem, id="PEM with text before it"),
        pytest.param(lambda a: a.private_key_pem + a.certificate_pem, id="PEM beside a private key"),
        pytest.param(lambda a: a.certificate_pem * 2, id="PEM twice"),
        pytest.param(lambda a: a.certificate_der, id="DER"),
        pytest.param(lambda a: a.certificate_base64.encode(), id="base64 in one line"),
        pytest.param(lambda a: f"\n  {wrapped(a.certificate_base64)}\n  ".encode(), id="base64 wrapped and indented"),
    ],
)
def test_a_certificate_is_read_in_every_form_that_entra_and_people_hand_it_out(encode) -> None:
    a = pair("a")

    certificate = read_one(encode(a))

    assert certificate == Certificate(
        der=a.certificate_der,
        fingerprint=a.certificate.fingerprint(hashes.SHA256()).hex(),
        subject="CN=a",
        not_before=FROM,
        not_after=UNTIL,
    )


def test_a_bundle_gives_all_its_certificates_in_their_order() -> None:
    bundle = pair("b").certificate_pem + pair("a").certificate_pem + pair("b").certificate_pem

    assert [certificate.subject for certificate in read_certificates(bundle)] == ["CN=b", "CN=a"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\x30\x82\xff\xff", id="DER that ends early"),
        pytest.param(base64.b64encode(b"hello"), id="base64 of something else"),
        pytest.param(b"TUlJ=", id="base64 with wrong padding"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n", id="PEM that ends early"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", id="PEM of something else"),
        pytest.param(pair("a").private_key_pem, id="a private key"),
        pytest.param(pair("a").certificate_der + b"\x00", id="DER with a byte too many"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
    ],
)
def test_what_is_no_certificate_is_one_plain_error_that_repeats_nothing(content: bytes) -> None:
    with pytest.raises(CertificateError) as caught:
        read_certificates(content)

    assert str(caught.value) == "These are not the bytes of X.509 certificates (PEM, DER or base64)."
    assert caught.value.__cause__ is None


def test_the_public_key_is_the_one_of_the_certificate() -> None:
    a = pair("a")

    assert public_key(read_one(a.certificate_der)) == a.private_key.public_key()


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(lambda: pair("small", bits=1024).certificate_der, id="RSA 1024"),
        pytest.param(lambda: pair("almost", bits=2040).certificate_der, id="RSA 2040"),
        pytest.param(lambda: other_algorithm("ec"), id="elliptic curve"),
        pytest.param(lambda: other_algorithm("ed25519"), id="Ed25519"),
    ],
)
def test_trust_12_a_key_that_may_not_check_signatures_is_refused(der) -> None:
    with pytest.raises(CertificateError):
        public_key(read_one(der()))


def test_trust_12_a_key_of_exactly_2048_bits_is_taken() -> None:
    assert public_key(read_one(pair("a").certificate_der)).key_size == 2048


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("now", "warnings"),
    [
        pytest.param(FROM - SECOND, ["certificate_not_yet_valid", "no_certificate_in_date"], id="a second before it begins"),
        pytest.param(FROM, [], id="as it begins"),
        pytest.param(UNTIL, [], id="as it ends"),
        pytest.param(UNTIL + SECOND, ["certificate_expired", "no_certificate_in_date"], id="a second after it ended"),
    ],
)
def test_a_certificate_out_of_date_is_kept_with_a_warning(now: datetime, warnings: list[str]) -> None:
    certificate = read_one(pair("a").certificate_der)

    usable, problems = usable_certificates([certificate], path="$.here", now=now)

    assert usable == (certificate,)
    assert [(problem.path, problem.code, problem.is_warning) for problem in problems] == [("$.here", code, True) for code in warnings]


def test_one_certificate_in_date_is_enough() -> None:
    old = read_one(pair("old", ends=NOW - SECOND).certificate_der)
    new = read_one(pair("a").certificate_der)

    usable, problems = usable_certificates([old, new, old], path="$", now=NOW)

    assert usable == (old, new)
    assert [problem.code for problem in problems] == ["certificate_expired"]


def test_an_unusable_key_is_a_warning_while_another_is_left() -> None:
    weak, good = read_one(pair("small", bits=1024).certificate_der), read_one(pair("a").certificate_der)

    usable, problems = usable_certificates([weak, good], path="$", now=NOW)

    assert usable == (good,)
    assert [(problem.code, problem.is_warning) for problem in problems] == [("certificate_unusable", True)]


def test_unusable_keys_alone_are_an_error() -> None:
    weak, curve = read_one(pair("small", bits=1024).certificate_der), read_one(other_algorithm("ec"))

    usable, problems = usable_certificates([weak, curve], path="$", now=NOW)

    assert usable == ()
    assert [(problem.code, problem.is_warning) for problem in problems] == [("certificate_unusable", False)] * 2


def test_of_more_certificates_than_any_idp_has_none_is_taken() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "many")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(FROM).not_valid_after(UNTIL)
    made = [builder.serial_number(number).sign(key, hashes.SHA256()).public_bytes(Encoding.DER) for number in range(1, 22)]
    many = [read_one(der) for der in made]

    assert usable_certificates([*many[:20], many[0]], path="$", now=NOW) == (tuple(many[:20]), [])
    usable, problems = usable_certificates(many, path="$", now=NOW)

    assert usable == ()
    assert [(problem.code, problem.is_warning) for problem in problems] == [("too_many_certificates", False)]


def test_no_certificate_at_all_is_an_error() -> None:
    usable, problems = usable_certificates([], path="$", now=NOW)

    assert usable == ()
    assert [(problem.code, problem.is_warning) for problem in problems] == [("certificate_missing", False)]


@pytest.mark.parametrize(
    ("files", "subjects", "expected"),
    [
        pytest.param(["a", "b"], ["CN=a", "CN=b"], [], id="two good files"),
        pytest.param(["a", "junk"], ["CN=a"], [("$.files[1]", "certificate_malformed", False)], id="one that holds none"),
        pytest.param(["junk"], [], [("$.files[0]", "certificate_malformed", False)], id="none that holds one"),
        pytest.param(["small", "a"], ["CN=a"], [("$.files", "certificate_unusable", True)], id="a weak key beside a good one"),
        pytest.param([], [], [("$.files", "certificate_missing", False)], id="no file"),
    ],
)
def test_typed_certificates_are_read_file_by_file(files: list[str], subjects: list[str], expected: list[tuple[str, str, bool]]) -> None:
    contents = {
        "a": pair("a").certificate_pem,
        "b": pair("b").certificate_base64.encode(),
        "small": pair("small", bits=1024).certificate_der,
        "junk": b"junk",
    }

    usable, problems = read_usable_certificates([contents[name] for name in files], path="$.files", now=NOW)

    assert [certificate.subject for certificate in usable] == subjects
    assert [(problem.path, problem.code, problem.is_warning) for problem in problems] == expected
