"""E-mail addresses and their domains, without any network."""

from __future__ import annotations

from collections.abc import Iterable

import idna
from email_validator import EmailNotValidError, validate_email


def check_address(address: str) -> str:
    """The address, its domain in normal form where it is not ASCII. The local part stays as it is, case included.

    Raises: ValueError where it is not the address of a mailbox.
    """
    try:
        # Whether mail can be delivered is not asked: directories hold addresses such as ada@contoso.local.
        valid = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    local, _, domain = address.rpartition("@")
    return address if domain.isascii() else f"{local}@{valid.domain}"


def domain_key(domain: str) -> str:
    """The one form in which two spellings of a domain are equal: lower-case A-labels (RFC 5891)."""
    plain = domain.strip().rstrip(".")
    try:
        return idna.encode(plain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return plain.lower()  # names that DNS knows and IDNA does not, as with an underscore


def is_in_domains(address: str, domains: Iterable[str]) -> bool:
    """Whether the address lies in exactly one of these domains; a sub-domain is another domain."""
    return domain_key(address.rpartition("@")[2]) in {domain_key(domain) for domain in domains}
