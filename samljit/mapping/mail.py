"""E-mail addresses and their domains, without any network."""

from __future__ import annotations

from collections.abc import Iterable

import idna
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

_ASCII_LOWER = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def check_address(address: str) -> str:
    """The address, its domain in normal form where it is not ASCII. The local part stays as it is, case included.

    Whether mail can be delivered there is not asked. Raises: ValueError where it is not the address of a mailbox.
    """
    local, at, domain = address.rpartition("@")
    above, dot, top = domain.rpartition(".")
    # The library refuses reserved names with the rest of bad syntax, and directories are full of ada@contoso.local:
    # another name stands in for the top one while it looks.
    stand_in = "example" if top.lower() in SPECIAL_USE_DOMAIN_NAMES else top
    try:
        valid = validate_email(f"{local}{at}{above}{dot}{stand_in}", check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    if domain.isascii():
        return address
    return f"{local}@{valid.domain}" if stand_in == top else f"{local}@{valid.domain.removesuffix(stand_in)}{top}"


def domain_key(domain: str) -> str:
    """The one form in which two spellings of a domain are equal: lower-case A-labels (RFC 5891)."""
    plain = domain.strip().rstrip(".")
    try:
        return idna.encode(plain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return plain.lower()  # names that DNS knows and IDNA does not, as with an underscore


def address_key(address: str) -> str:
    """The form in which two spellings of one mailbox are equal: ASCII letters in lower case, the domain as DNS has it.

    Nothing else is folded: to Unicode's case folding a long s ("\u017f") is an "s", to a mail server another letter.
    """
    local, at, domain = ascii_lower(address).rpartition("@")
    return f"{local}{at}{domain_key(domain)}"


def ascii_lower(text: str) -> str:
    """The text with the letters A to Z in lower case, and no others."""
    return text.translate(_ASCII_LOWER)


def is_in_domains(address: str, domains: Iterable[str]) -> bool:
    """Whether the address lies in exactly one of these domains; a sub-domain is another domain."""
    return domain_key(address.rpartition("@")[2]) in {domain_key(domain) for domain in domains}
