"""Files that were mixed up: what one holds that should hold something else, told by what stands at its beginning."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from enum import StrEnum

from samljit.errors import Problem


class Kind(StrEnum):
    """What a file that the settings name holds."""

    KEY = "a private key"
    CERTIFICATE = "a certificate"
    METADATA = "SAML metadata"


# "[ ]" keeps these lines from being taken for keys and certificates by whoever searches the code for such
_LOOKS = {
    Kind.KEY: re.compile(rb"-----BEGIN[ ]([A-Z]+ )?PRIVATE KEY-----"),
    Kind.CERTIFICATE: re.compile(rb"-----BEGIN[ ]CERTIFICATE-----"),
    Kind.METADATA: re.compile(rb"<([A-Za-z0-9_]+:)?EntityDescriptor[\s>]"),
}
_LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
# what belongs into none of the files, told by the beginning
_STRANGERS = (
    (re.compile(rb"\s*\Z"), "is empty"),
    (re.compile(rb"-----BEGIN (NEW )?CERTIFICATE REQUEST-----"), "holds a request for a certificate, not a certificate"),
    (re.compile(rb"\s*<!doctype html|\s*<html", re.IGNORECASE), "holds a web page, such as a sign-in page that answered a download"),
)
_BELONGS = {
    Kind.KEY: "It belongs into sp.key_files, and must never be given to anybody.",
    Kind.CERTIFICATE: "It belongs into certificate_files: of sp if it is ours, of idp if it is the IdP's.",
    Kind.METADATA: "It belongs into idp.metadata_file.",
}


def find_mixed_up(content: bytes, *, wanted: Kind, path: str) -> Problem | None:
    """What the file plainly holds in place of what is wanted, reported at `path`; None where it may well hold that.

    A guess for the message alone: whoever uses the file reads it strictly.
    """
    content = content.removeprefix(BOM_UTF8)
    if wanted is Kind.KEY and _LOCKED.search(content):
        hint = "Take the passphrase off (openssl pkey -in OLD -out NEW): nobody is there to type it when the app starts."
        return Problem(path, "file_mixed_up", "This file holds a private key behind a passphrase.", hint)
    if _LOOKS[wanted].search(content):
        return None
    for looks, words in _STRANGERS:
        if looks.match(content):
            return Problem(path, "file_mixed_up", f"This file {words}.", f"Name a file that holds {wanted}.")
    found = next((kind for kind, looks in _LOOKS.items() if looks.search(content)), None)
    return Problem(path, "file_mixed_up", f"This file holds {found}, not {wanted}.", _BELONGS[found]) if found else None
