"""Encrypted assertions: decrypted with `cryptography` from one exact shape, and put back as the bytes that were encrypted (trust: 8, 9).

xmlsec is not asked: it would follow references and run transforms to find keys. And python3-saml moves what it decrypts into another
tree, where a prefix can change its name and a good inner signature breaks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.padding import OAEP as OAEPPadding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.saml.names import XENC, XENC11, ds, xenc

# key size in bytes, by algorithm (xmlenc-core1 5.2); triple DES is not among them
CBC_ALGORITHMS = {f"{XENC}aes128-cbc": 16, f"{XENC}aes256-cbc": 32}
GCM_ALGORITHMS = {f"{XENC11}aes128-gcm": 16, f"{XENC11}aes256-gcm": 32}
_KEY_SIZES = CBC_ALGORITHMS | GCM_ALGORITHMS
OAEP = (f"{XENC}rsa-oaep-mgf1p", f"{XENC11}rsa-oaep")
RSA15 = f"{XENC}rsa-1_5"

_SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    _SHA1: hashes.SHA1(),  # noqa: S303 - as above; what Entra and ADFS send
    f"{XENC}sha256": hashes.SHA256(),
    "http://www.w3.org/2001/04/xmldsig-more#sha384": hashes.SHA384(),
    f"{XENC}sha512": hashes.SHA512(),
}
_BLOCK = 16
_ASSERTION = re.compile(rb"\s*<(?:[\w.-]+:)?Assertion[\s>]")
# a "<" cannot stand in text or attribute values, and the gate has seen that there is one such element: the first tag and the last
_ELEMENT = re.compile(rb"<(?:[\w.-]+:)?EncryptedAssertion[\s>].*</(?:[\w.-]+:)?EncryptedAssertion\s*>", re.DOTALL)


def read_keys(pems: Sequence[bytes]) -> tuple[RSAPrivateKey, ...]:
    """Our private keys from PEM, which settings have found readable. Raises: ValueError where one is not an RSA key."""
    keys = [load_pem_private_key(pem, password=None) for pem in pems]
    if not all(isinstance(key, RSAPrivateKey) for key in keys):
        raise ValueError("a decryption key is not an RSA key")
    return tuple(key for key in keys if isinstance(key, RSAPrivateKey))


def decrypt_response(xml: bytes, encrypted: _Element, *, keys: Sequence[RSAPrivateKey], allow_rsa15: bool) -> bytes:
    """The response with the plain assertion in the place of the encrypted one, every other byte as it was.

    `encrypted` is the EncryptedAssertion, of the known shape. Any of our `keys` may fit. What was wrong - padding, key, content - is not
    told. Raises: AssertionRejected (encryption_unexpected, algorithm_not_allowed, decryption_failed).
    """
    if not keys:
        raise AssertionRejected(Reason.ENCRYPTION_UNEXPECTED)
    data = encrypted.find(xenc("EncryptedData"))
    cipher = _algorithm(data)
    if cipher not in _KEY_SIZES:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "EncryptionMethod of the data")
    encrypted_key = data.find(ds("KeyInfo"))[0]
    method = encrypted_key.find(xenc("EncryptionMethod"))
    wrapped, content = _cipher_value(encrypted_key), _cipher_value(data)
    if allow_rsa15 and method.get("Algorithm") == RSA15:
        plain = _open_rsa15(cipher, wrapped, content, keys=keys)
    else:
        padding = _padding(method)
        unwrapped = (_unwrap(key, wrapped, padding) for key in keys)
        plain = next((found for key in unwrapped if (found := _decrypt(cipher, key, content)) is not None), None)
    if plain is None:
        raise AssertionRejected(Reason.DECRYPTION_FAILED)
    return _put_back(xml, plain)


def _open_rsa15(cipher: str, wrapped: bytes, content: bytes, *, keys: Sequence[RSAPrivateKey]) -> bytes | None:
    """Decrypts what was wrapped with RSA 1.5, in the same steps whether its padding, its key or its content is wrong.

    Whoever could tell a bad padding from a bad content could decrypt with us as the oracle, without our key (Bleichenbacher 1998; XML
    Encryption 1.1, section 5.5.1, has the remedy). So a bad padding gives a key too, one that depends on the ciphertext and our
    key alone: OpenSSL 3.2 makes it up (`settings` asks whether it does), and where its length is not the cipher's, another takes its
    place. Every one of our keys is tried to the end, and what comes out counts only where it begins as an assertion does: no
    wrong key gets as far as the parser.
    """
    size, found = _KEY_SIZES[cipher], None
    for key in keys:
        unwrapped, stand_in = _unwrap(key, wrapped, PKCS1v15()) or b"", _stand_in(key, wrapped)[:size]
        plain = _decrypt(cipher, (stand_in, unwrapped)[len(unwrapped) == size], content) or b""
        found = plain if _ASSERTION.match(plain) else found
    return found


def _stand_in(key: RSAPrivateKey, wrapped: bytes) -> bytes:
    """32 bytes that nobody without our key can foretell, always the same for the same ciphertext: one that changed from try to try would
    tell itself from a real one."""
    return hmac.digest(_secret_of(key), wrapped, "sha256")


@lru_cache(maxsize=16)
def _secret_of(key: RSAPrivateKey) -> bytes:
    private = key.private_numbers().d
    return hashlib.sha256(b"samljit.stand-in.v1" + private.to_bytes((private.bit_length() + 7) // 8, "big")).digest()


def _algorithm(element: _Element) -> str:
    return str(element.find(xenc("EncryptionMethod")).get("Algorithm"))


def _padding(method: _Element) -> AsymmetricPadding:
    """RSA-OAEP with the digest that is named, SHA-1 where none is, and MGF1 with SHA-1 (xmlenc-core1 5.5.2).

    An MGF element, which names another mask, is not in the shape: python3-saml's schemas do not know it.
    """
    digest = method.find(ds("DigestMethod"))
    hashed = _DIGESTS.get(_SHA1 if digest is None else digest.get("Algorithm"))
    if method.get("Algorithm") not in OAEP or hashed is None:
        raise AssertionRejected(Reason.ALGORITHM_NOT_ALLOWED, "EncryptionMethod of the key")
    return OAEPPadding(mgf=MGF1(hashes.SHA1()), algorithm=hashed, label=None)  # noqa: S303 - in OAEP no collision helps anybody


def _cipher_value(element: _Element) -> bytes:
    value = element.find(xenc("CipherData"))[0].text or ""
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise AssertionRejected(Reason.DECRYPTION_FAILED) from None


def _unwrap(key: RSAPrivateKey, wrapped: bytes, padding: AsymmetricPadding) -> bytes | None:
    try:
        return key.decrypt(wrapped, padding)
    except ValueError:
        return None


def _decrypt(algorithm: str, key: bytes | None, content: bytes) -> bytes | None:
    if key is None or len(key) != _KEY_SIZES[algorithm]:
        return None
    if algorithm in GCM_ALGORITHMS:
        try:
            return AESGCM(key).decrypt(content[:12], content[12:], None)
        except (InvalidTag, ValueError):
            return None
    if len(content) < 2 * _BLOCK or len(content) % _BLOCK:
        return None
    decryptor = Cipher(AES(key), CBC(content[:_BLOCK])).decryptor()
    padded = decryptor.update(content[_BLOCK:]) + decryptor.finalize()
    # only the last byte of the padding says anything (xmlenc-core1 5.2)
    return padded[: -padded[-1]] if 1 <= padded[-1] <= _BLOCK else None


def _put_back(xml: bytes, plain: bytes) -> bytes:
    found = _ELEMENT.search(xml)
    if found is None:
        raise AssertionRejected(Reason.DECRYPTION_FAILED)
    return xml[: found.start()] + plain.strip() + xml[found.end() :]
