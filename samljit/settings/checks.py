"""What the shape of settings.json cannot say: addresses, slugs, domains, files and keys.

The checks walk the document as it was written, and pass over values of a wrong type: those are reported by its shape. So one
start names every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import idna

from samljit.errors import Problem
from samljit.mapping.mail import check_address
from samljit.mapping.presets import DEFAULT_PRESET, PRESETS
from samljit.mapping.problems import nearest_hint, path_to
from samljit.settings.document import RESERVED_SLUGS, SLUG_PATTERN
from samljit.settings.endpoints import check_base_url, check_endpoint, check_metadata_url, check_url_prefix, is_host
from samljit.settings.key_files import check_key_pairs, check_rsa15
from samljit.settings.mixed_up import Kind
from samljit.settings.source import Files
from samljit.settings.written import object_of, text_of, texts_of

# what makes a tenant less safe: said at every start
_OPENED = {
    "accept_expired_certificates": (
        "expired_accepted",
        "Certificates that are out of date are trusted for this tenant.",
        "Renew them in Entra, then leave this out.",
    ),
    "allow_idp_initiated": (
        "login_csrf",
        "Sign-ins that the IdP starts are accepted. They are without protection from login CSRF: a page of somebody else's can sign a "
        "person in as somebody else.",
        "Leave this out: a tile can open our login address (in Entra: Basic SAML Configuration, Sign on URL).",
    ),
    "allow_rsa15": (
        "rsa15_allowed",
        "Assertions may be encrypted with RSA 1.5, which has a long history of attacks on whoever decrypts it.",
        "Have the IdP use RSA-OAEP (Azure AD B2C: KeyEncryptionMethod Rsa-Oaep), then leave this out.",
    ),
}
# what a tenant may switch on only where we have a key of our own
_NEED_A_KEY = ("sign_requests", "require_encryption", "allow_rsa15")

_TYPED_REQUIRED = ("entity_id", "sso_url", "certificate_files")
_TYPED = (*_TYPED_REQUIRED, "slo_url")


@dataclass(frozen=True, slots=True)
class Top:
    """What of the top level the checks of one tenant need."""

    base_url: str
    metadata_hosts: tuple[str, ...]
    files: Files
    has_key: bool


def check_document(document: Mapping[str, Any], files: Files) -> list[Problem]:
    """All problems of the document besides those of its shape."""
    problems = _check_addresses(document) + _check_metadata_hosts(document)
    problems += check_key_pairs(object_of(document, "sp"), files)
    base_url = text_of(document, "base_url")
    if base_url is None or check_base_url(base_url) is not None:
        base_url = "http://localhost"  # reported already; the most lenient one keeps it from being reported for every tenant
    tenants = object_of(document, "tenants")
    hosts = tuple(host for _, host in texts_of(document, "metadata_hosts") if is_host(host))
    top = Top(base_url, hosts, files, has_key=bool(object_of(document, "sp").get("key_files")))
    for slug, tenant in tenants.items():
        path = path_to("$.tenants", slug)
        problems += check_slug(slug, path=path)
        if isinstance(tenant, dict):
            problems += _check_tenant(tenant, path=path, top=top)
    return problems + _check_domains(tenants) + _check_identifiers(tenants)


def check_one_tenant(tenant: Mapping[str, Any], *, path: str, top: Top) -> list[Problem]:
    """All problems of one tenant's document besides those of its shape, for one that stands in no settings file."""
    return _check_tenant(tenant, path=path, top=top) + _check_domains({"": tenant}, only_at=path)


def check_slug(slug: str, *, path: str) -> list[Problem]:
    """Whether a slug can stand in addresses, and is none of ours."""
    if slug in RESERVED_SLUGS:
        return [Problem(path, "reserved_slug", "This slug is an address of our own.", "Choose another one.")]
    if not re.fullmatch(SLUG_PATTERN, slug):
        hint = "Use 1 to 63 of a-z, 0-9 and -, not beginning with -."
        likely = slug.lower().replace("_", "-").replace(" ", "-")
        if likely not in RESERVED_SLUGS and re.fullmatch(SLUG_PATTERN, likely):
            hint = f'{hint} For example "{likely}".'
        return [Problem(path, "invalid_slug", "A tenant's key stands in its addresses and cannot be this.", hint)]
    return []


def normal_domain(domain: str) -> str | None:
    """The domain in lower-case ASCII (IDNA A-labels), as it is compared; None where it is no domain name."""
    try:
        ascii_form = idna.encode(domain, uts46=True, std3_rules=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return None
    parent, _, last_label = ascii_form.rpartition(".")
    # a last label of digits makes it an IPv4 address; an empty one is the root's, which addresses are not written with
    return ascii_form if parent and last_label and not last_label.isdigit() else None


def _check_addresses(document: Mapping[str, Any]) -> list[Problem]:
    checks = (("base_url", check_base_url, "invalid_base_url"), ("url_prefix", check_url_prefix, "invalid_url_prefix"))
    problems = []
    for key, check, code in checks:
        value = text_of(document, key)
        message = check(value) if value is not None else None
        if message:
            problems.append(Problem(f"$.{key}", code, message))
    return problems


def _check_metadata_hosts(document: Mapping[str, Any]) -> list[Problem]:
    hint = "Write a host, or host:port, in lower case: metadata.contoso.com."
    return [
        Problem(path_to("$.metadata_hosts", index), "invalid_host", "Is not a host.", hint)
        for index, host in texts_of(document, "metadata_hosts")
        if not is_host(host)
    ]


def _check_tenant(tenant: Mapping[str, Any], *, path: str, top: Top) -> list[Problem]:
    name = tenant.get("preset", DEFAULT_PRESET)
    preset = PRESETS.get(name) if isinstance(name, str) else None
    problems = []
    if isinstance(name, str) and preset is None:
        hint = f"{nearest_hint(name, PRESETS)} For any other IdP: generic."
        problems.append(Problem(f"{path}.preset", "unknown_preset", "There is no preset of this name.", hint))
    if preset is not None and not preset.starts_sign_ins and tenant.get("allow_idp_initiated") is True:
        message = f"{preset.product} starts no sign-ins itself."
        problems.append(Problem(f"{path}.allow_idp_initiated", "not_started_there", message, "Leave it out.", is_warning=True))
    if preset is not None and preset.names_directory and tenant.get("entra_tenant_id") is None:
        hint = "Write the directory (tenant) ID from Entra's overview page: every sign-in must name it."
        message = 'The key "entra_tenant_id" is required for Entra.'
        problems.append(Problem(f"{path}.entra_tenant_id", "missing", message, hint))
    for key, (code, message, hint) in _OPENED.items():
        if tenant.get(key) is True:
            problems.append(Problem(f"{path}.{key}", code, message, hint, is_warning=True))
    problems += [] if top.has_key else _check_needs_key(tenant, path=path)
    problems += check_rsa15(path=f"{path}.allow_rsa15") if tenant.get("allow_rsa15") is True else []
    problems += _check_break_glass(tenant, path=path)
    until = text_of(tenant, "log_values_until")
    if until is not None and not _is_date(until):
        problems.append(Problem(f"{path}.log_values_until", "invalid", "Is not a date.", 'For example "2026-12-31".'))
    idp = tenant.get("idp")
    if isinstance(idp, dict):
        problems += _check_idp(idp, path=f"{path}.idp", preset=name if isinstance(name, str) else DEFAULT_PRESET, top=top)
    return problems


def _check_needs_key(tenant: Mapping[str, Any], *, path: str) -> list[Problem]:
    hint = "Make a key pair with flask samljit cert new, and name its files in sp; or leave this out."
    return [
        Problem(f"{path}.{key}", "key_missing", "Needs a key of ours, and sp.key_files names none.", hint)
        for key in _NEED_A_KEY
        if tenant.get(key) is True
    ]


def _check_break_glass(tenant: Mapping[str, Any], *, path: str) -> list[Problem]:
    """Addresses that are none, and a tenant whose people are all locked out on the day on which the IdP cannot be used."""
    problems = []
    for index, address in texts_of(tenant, "break_glass"):
        try:
            check_address(address)
        except ValueError:
            hint = "Write the address as it stands in the user record: it-emergency@contoso.com."
            problems.append(Problem(path_to(path, "break_glass", index), "invalid_address", "Is not an e-mail address.", hint))
    if tenant.get("require_sso") is True and not tenant.get("break_glass"):
        message = "Only the IdP is a way in, and nobody is left who could sign in without it."
        hint = "List at least one user in break_glass."
        problems.append(Problem(f"{path}.require_sso", "break_glass_missing", message, hint, is_warning=True))
    return problems


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_idp(idp: Mapping[str, Any], *, path: str, preset: str, top: Top) -> list[Problem]:
    problems = _check_idp_kind(idp, path=path)
    entity_id = text_of(idp, "entity_id")
    if entity_id is not None and "{tenant}" in entity_id:
        hint = "Take the Microsoft Entra Identifier of the tenant's own directory."
        problems.append(Problem(f"{path}.entity_id", "common_metadata", "This stands for every directory of the world.", hint))
    for key in ("sso_url", "slo_url"):
        url = text_of(idp, key)
        message = check_endpoint(url, preset=preset, base_url=top.base_url) if url is not None else None
        if message:
            problems.append(Problem(f"{path}.{key}", "endpoint_not_allowed", message))
    source = text_of(idp, "metadata_url")
    if source is not None:
        place, hosts = f"{path}.metadata_url", top.metadata_hosts
        fault = check_metadata_url(source, path=place, preset=preset, base_url=top.base_url, further_hosts=hosts)
        problems += [fault] if fault else []
    if (name := text_of(idp, "metadata_file")) is not None:
        problems += top.files.check(name, path=f"{path}.metadata_file", wanted=Kind.METADATA)[1]
    for index, name in texts_of(idp, "certificate_files"):
        problems += top.files.check(name, path=path_to(f"{path}.certificate_files", index), wanted=Kind.CERTIFICATE)[1]
    return problems


def _check_idp_kind(idp: Mapping[str, Any], *, path: str) -> list[Problem]:
    """Whether it is one of the ways to name an IdP, whole and alone."""
    given = {key for key, value in idp.items() if value not in (None, [])}
    typed = [key for key in _TYPED if key in given]
    for whole in ("metadata_url", "metadata_file"):
        if whole in given:
            others = [key for key in ("metadata_file", *typed) if key in given and key != whole]
            hint = f"The metadata says this already; leave it out, or leave {whole} out."
            return [Problem(f"{path}.{key}", "idp_conflict", f"Cannot stand beside {whole}.", hint) for key in others]
    if not typed:
        hint = "Write metadata_url or metadata_file, or entity_id, sso_url and certificate_files; or leave idp out until you have them."
        return [Problem(path, "idp_incomplete", "Names no IdP.", hint)]
    hint = "Typed by hand, an IdP needs entity_id, sso_url and certificate_files."
    return [Problem(f"{path}.{key}", "missing", f'The key "{key}" is required.', hint) for key in _TYPED_REQUIRED if key not in given]


def _check_domains(tenants: Mapping[str, Any], *, only_at: str | None = None) -> list[Problem]:
    """Domains that are none, or that two tenants name. `only_at` is the place of the tenant, where there is one alone."""
    owners: dict[str, str] = {}
    problems = []
    for slug, tenant in tenants.items():
        place = only_at or path_to("$.tenants", slug)
        for index, written in texts_of(tenant, "domains"):
            path = path_to(place, "domains", index)
            domain = normal_domain(written)
            if domain is None:
                message = "Is not a domain name."
                problems.append(Problem(path, "invalid_domain", message, "Write what follows the @, for example contoso.com."))
            elif domain in owners:
                hint = "A domain belongs to one tenant."
                problems.append(Problem(path, "domain_not_unique", f"This domain stands in {owners[domain]} too.", hint))
            else:
                owners[domain] = path
    return problems


def _check_identifiers(tenants: Mapping[str, Any]) -> list[Problem]:
    """Two tenants of one directory with one Identifier are one app in Entra: who is let in there, is let into both."""
    owners: dict[tuple[str, str], str] = {}
    problems = []
    for slug in tenants:
        section = object_of(tenants, slug)
        identifier, directory = text_of(section, "entity_id"), text_of(section, "entra_tenant_id")
        if identifier is None or directory is None:
            continue
        path = path_to("$.tenants", slug, "entity_id")
        owner = owners.setdefault((identifier, directory.lower()), path)
        if owner != path:
            message = f"Stands in {owner} too, for the same directory: whoever is assigned to that app in Entra gets into both."
            hint = "Give each tenant an app of its own in Entra, and leave entity_id out."
            problems.append(Problem(path, "identifier_shared", message, hint, is_warning=True))
    return problems
