"""Reads what an admin gives of Entra: an address, a file, or typed values. Nothing is kept here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ssl import DER_cert_to_PEM_cert
from typing import Any

from samljit.errors import Problem
from samljit.federation.fetch import Source, fetch
from samljit.mapping.presets import PRESETS
from samljit.model import Certificate, IdentityProvider
from samljit.saml.certificates import CertificateError, read_certificates, usable_certificates
from samljit.saml.idp_metadata import metadata_text, read_idp_metadata
from samljit.settings.endpoints import check_endpoint, check_endpoints, check_metadata_url
from samljit.settings.read import Settings

# Entra: single-sign-on-saml-protocol, Issuer. Followed by the application ID where that is appended
_DIRECTORY = re.compile(r"https://sts\.(?:windows\.net|chinacloudapi\.cn)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Given:
    """What was given, one of three ways; the other ones are empty. `xml` is a file, or what was found at `url` when it was first read."""

    url: str = ""
    xml: bytes = field(default=b"", repr=False)
    entity_id: str = ""
    sso_url: str = ""
    slo_url: str = ""
    certificates: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. `idp` is the section of the tenant's document, `provider` what it says.

    `metadata` is what stands in `given.xml`, or was fetched, as text. `directory` is named by the issuer. `problems` are warnings alone.
    """

    given: Given
    idp: Mapping[str, Any] = field(repr=False)
    provider: IdentityProvider
    metadata: str = field(default="", repr=False)
    directory: str | None = None
    problems: tuple[Problem, ...] = ()


def read_given(given: Given, *, preset: str, settings: Settings, now: datetime) -> Reading | list[Problem]:
    """What was given, read; or why it cannot be, as problems at `url`, `xml`, `entity_id`, `sso_url`, `slo_url` or `certificates`.

    Fetches what stands at an address within the bounds of `federation.fetch`, from the public internet alone.
    """
    if given.url and not given.xml:
        fetched = _fetch(given.url, preset=preset, settings=settings)
        if isinstance(fetched, Problem):
            return [fetched]
        given = Given(url=given.url, xml=fetched)
    if given.xml:
        return _read_metadata(given, preset=preset, settings=settings, now=now)
    return _read_typed(given, preset=preset, settings=settings, now=now)


def directory_of(entity_id: str) -> str | None:
    """The directory (tenant) ID that an issuer of Entra's names."""
    found = _DIRECTORY.fullmatch(entity_id)
    return found[1].lower() if found else None


def names_directory(preset: str) -> bool:
    """Whether a tenant of this preset must name its directory."""
    return preset in PRESETS and PRESETS[preset].names_directory


def _fetch(url: str, *, preset: str, settings: Settings) -> bytes | Problem:
    hosts = settings.metadata_hosts
    fault = check_metadata_url(url, path="url", preset=preset, base_url=settings.base_url, further_hosts=hosts)
    return fault or fetch(Source(url, "url", public_only=True))


def _read_metadata(given: Given, *, preset: str, settings: Settings, now: datetime) -> Reading | list[Problem]:
    place = "url" if given.url else "xml"
    if given.url:  # also where it was fetched before: what is kept is what was checked
        hosts = settings.metadata_hosts
        fault = check_metadata_url(given.url, path=place, preset=preset, base_url=settings.base_url, further_hosts=hosts)
        if fault:
            return [fault]
    text = metadata_text(given.xml, path=place)
    if isinstance(text, Problem):
        return [text]
    provider, problems = read_idp_metadata(text.encode(), path=place, now=now)
    if provider is not None:
        problems = [*problems, *check_endpoints(provider.endpoints, path=place, preset=preset, base_url=settings.base_url)]
    if provider is None or any(not problem.is_warning for problem in problems):
        return problems
    idp = {"metadata_url": given.url} if given.url else {"metadata": text}
    return Reading(given, idp, provider, text, directory_of(provider.entity_id), tuple(problems))


def _read_typed(given: Given, *, preset: str, settings: Settings, now: datetime) -> Reading | list[Problem]:
    problems = [
        Problem(name, "missing", "Fill this in.")
        for name, value in (("entity_id", given.entity_id), ("sso_url", given.sso_url), ("certificates", given.certificates))
        if not value
    ]
    for name, url in (("sso_url", given.sso_url), ("slo_url", given.slo_url)):
        fault = check_endpoint(url, preset=preset, base_url=settings.base_url) if url else None
        problems += [Problem(name, "endpoint_not_allowed", fault)] if fault else []
    certificates: tuple[Certificate, ...] = ()
    found: list[Problem] = []
    if given.certificates:
        try:
            read = read_certificates(given.certificates)
        except CertificateError as error:
            found = [Problem("certificates", "certificate_malformed", str(error))]
        else:
            certificates, found = usable_certificates(read, path="certificates", now=now)
    problems += found
    if any(not problem.is_warning for problem in problems):
        return problems
    provider = IdentityProvider(given.entity_id, given.sso_url, certificates, given.slo_url or None)
    idp = {"entity_id": given.entity_id, "sso_url": given.sso_url, "certificates": [DER_cert_to_PEM_cert(one.der) for one in certificates]}
    idp |= {"slo_url": given.slo_url} if given.slo_url else {}
    return Reading(given, idp, provider, "", directory_of(given.entity_id), tuple(problems))
