"""Our own key pairs: files that must hold what their names promise, and a machine that must be fit to decrypt with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from samljit.errors import Problem
from samljit.mapping.problems import path_to
from samljit.settings.mixed_up import Kind
from samljit.settings.source import Files
from samljit.settings.written import texts_of

SMALLEST_RSA_BITS = 2048


def check_key_pairs(sp: Mapping[str, Any], files: Files) -> list[Problem]:
    """What is wrong with the key pairs that the section `sp` names."""
    keys, certificates = dict(texts_of(sp, "key_files")), dict(texts_of(sp, "certificate_files"))
    problems = []
    listed = sp.get("key_files", []), sp.get("certificate_files", [])
    if all(isinstance(names, list) for names in listed) and len(listed[0]) != len(listed[1]):
        message = f"{len(listed[0])} key file(s) and {len(listed[1])} certificate file(s)."
        problems.append(Problem("$.sp", "key_files_uneven", message, "Name the certificate of each key, in the same order."))
    for index in sorted(keys.keys() | certificates.keys()):
        key, found = _load_key(keys[index], path=path_to("$.sp.key_files", index), files=files) if index in keys else (None, [])
        problems += found
        path = path_to("$.sp.certificate_files", index)
        certificate, found = _load_certificate(certificates[index], path=path, files=files) if index in certificates else (None, [])
        problems += found
        if key and certificate and key.public_key() != certificate.public_key():
            problems.append(Problem(path, "key_mismatch", "Is not the certificate of the key with the same number."))
    return problems


def _load_key(name: str, *, path: str, files: Files) -> tuple[RSAPrivateKey | None, list[Problem]]:
    content, problems = files.check(name, path=path, wanted=Kind.KEY)
    if content is None:
        return None, problems
    if files.is_open_to_others(name):
        message = "Others on this machine may read this private key."
        problems.append(Problem(path, "key_file_open", message, "chmod 600 it.", is_warning=True))
    hint = "Name a PEM file with one unencrypted RSA private key."
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # the library's own words are not passed on: nothing that was read from a key file is ever repeated
        return None, [*problems, Problem(path, "key_invalid", "Holds no private key that can be read.", hint)]
    if not isinstance(key, RSAPrivateKey):
        return None, [*problems, Problem(path, "key_invalid", "Is not an RSA key.", hint)]
    if key.key_size < SMALLEST_RSA_BITS:
        problems.append(Problem(path, "key_too_small", f"Has fewer than {SMALLEST_RSA_BITS} bits.", "Make a new key pair."))
    return key, problems


def _load_certificate(name: str, *, path: str, files: Files) -> tuple[x509.Certificate | None, list[Problem]]:
    content, problems = files.check(name, path=path, wanted=Kind.CERTIFICATE)
    if content is None:
        return None, problems
    try:
        certificate = x509.load_pem_x509_certificate(content)
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        hint = "Name a PEM file with the certificate of the key."
        return None, [Problem(path, "certificate_invalid", "Holds no certificate that can be read.", hint)]
    return certificate, problems


def check_rsa15(*, path: str) -> list[Problem]:
    """Whether RSA 1.5 can be decrypted here without becoming an oracle (Bleichenbacher): to be asked where a tenant allows it."""
    if hides_bad_padding():
        return []
    message = "The OpenSSL of this machine shows whether an RSA 1.5 padding was right, which lets strangers decrypt with our key."
    hint = 'Install the wheel of "cryptography" (OpenSSL 3.2 or newer), or leave this out.'
    return [Problem(path, "rsa15_unsafe", message, hint)]


@cache
def hides_bad_padding() -> bool:
    """Whether this machine's OpenSSL gives a made-up text for a bad padding, instead of an error (implicit rejection)."""
    key = generate_private_key(public_exponent=65537, key_size=SMALLEST_RSA_BITS)
    try:
        # 1 to the power of the private exponent is 1, which is no padding of any kind
        key.decrypt((1).to_bytes(SMALLEST_RSA_BITS // 8, "big"), PKCS1v15())
    except ValueError:
        return False
    return True
