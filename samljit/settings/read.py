"""Reads settings.json once and gives what the rest needs, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from pydantic import ValidationError

from samljit.errors import Problem
from samljit.mapping.presets import PRESETS
from samljit.mapping.problems import path_to, problems_of
from samljit.model import RequireSignature
from samljit.settings.checks import check_document, normal_domain
from samljit.settings.document import IdpDocument, SettingsDocument, TenantDocument
from samljit.settings.source import Files, read_document


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One key pair of this service provider, both PEM; they are known to belong together."""

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Guards:
    """Limits that no mapping can exceed. `grantable_roles` is None where any role may be granted."""

    protected_fields: frozenset[str] = frozenset()
    grantable_roles: frozenset[str] | None = None
    allow_unproven_email: bool = False


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """Metadata of an IdP, not read further yet. `path` is the file, `json_path` its place in the settings, for problems."""

    content: bytes = field(repr=False)
    path: Path
    json_path: str


@dataclass(frozen=True, slots=True)
class MetadataUrl:
    """Where an IdP publishes its metadata, an address that may be fetched. `json_path` is its place in the settings, for problems."""

    url: str
    json_path: str


@dataclass(frozen=True, slots=True)
class TypedIdp:
    """An IdP that the operator typed. `certificates` are the files' contents, `json_path` the section's place, for problems."""

    entity_id: str
    sso_url: str
    slo_url: str | None
    certificates: tuple[bytes, ...] = field(repr=False)
    json_path: str


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """One tenant as settings.json has it. `domains` are lower-case A-labels; `mapping` is the tenant's own document alone, unmerged.

    `entity_id` is None where ours is the address of the tenant's metadata; `idp` is None until the tenant is connected.
    """

    slug: str
    name: str
    enabled: bool
    preset: str
    entra_tenant_id: str | None
    domains: tuple[str, ...]
    entity_id: str | None
    require_signature: RequireSignature
    accept_expired_certificates: bool
    join_duplicate_attributes: bool
    name_id_format: str | None
    log_values_until: date | None
    sign_requests: bool
    allow_idp_initiated: bool
    require_encryption: bool
    allow_rsa15: bool
    max_users: int | None
    offer_sso: bool
    require_sso: bool
    break_glass: tuple[str, ...]
    mapping: Mapping[str, Any]
    idp: MetadataFile | MetadataUrl | TypedIdp | None


@dataclass(frozen=True, slots=True)
class Settings:
    """settings.json, checked. `mapping` is the default document for every tenant, as written.

    `metadata_hosts` are hosts, or host:port, that metadata may be fetched from beside those of a tenant's preset.
    """

    base_url: str
    url_prefix: str
    clock_skew: timedelta
    attempt_days: int
    metadata_hosts: tuple[str, ...]
    key_pairs: tuple[KeyPair, ...]
    guards: Guards
    mapping: Mapping[str, Any]
    tenants: Mapping[str, TenantSettings]


def read_settings(
    source: Path | str | Mapping[str, Any], *, base: Path | None = None
) -> tuple[Settings | None, list[Problem]]:
    """The settings, and every problem of them by path; None where one of the problems is more than a warning.

    `source` is the file's path, or what it would hold. Relative paths in it are relative to `base`: by default the file's
    directory, or the working directory where there is no file. Mapping documents are checked for their shape alone; the host's
    columns are not known here. Never raises for bad input.
    """
    document, problems = read_document(source)
    if document is None:
        return None, problems
    if base is None:
        base = Path.cwd() if isinstance(source, Mapping) else Path(source).absolute().parent
    files = Files(base)
    checked: SettingsDocument | None = None
    try:
        checked = SettingsDocument.model_validate(document)
    except ValidationError as error:
        problems += problems_of(error, prefix="$", known=SettingsDocument)
    # a value of the wrong shape is one problem, also where it is wrong in another way besides
    misshapen = {problem.path for problem in problems}
    problems += [problem for problem in check_document(document, files) if problem.path not in misshapen]
    problems.sort(key=lambda problem: problem.path)
    if checked is None or any(not problem.is_warning for problem in problems):
        return None, problems
    return _settings(checked, document=document, files=files), problems


def _settings(checked: SettingsDocument, *, document: Mapping[str, Any], files: Files) -> Settings:
    roles = checked.guards.grantable_roles
    mappings = {slug: tenant.get("mapping", {}) for slug, tenant in document.get("tenants", {}).items()}
    tenants = {
        slug: read_tenant(slug, tenant, mapping=mappings[slug], files=files, path=path_to("$.tenants", slug))
        for slug, tenant in checked.tenants.items()
    }
    return Settings(
        base_url=checked.base_url,
        url_prefix=checked.url_prefix,
        clock_skew=timedelta(seconds=checked.clock_skew_seconds),
        attempt_days=checked.attempt_days,
        metadata_hosts=tuple(checked.metadata_hosts),
        key_pairs=tuple(
            KeyPair(key=files.read(key), certificate=_first_certificate(files.read(certificate)))
            for key, certificate in zip(checked.sp.key_files, checked.sp.certificate_files, strict=True)
        ),
        guards=Guards(
            protected_fields=frozenset(checked.guards.protected_fields),
            grantable_roles=None if roles is None else frozenset(roles),
            allow_unproven_email=checked.guards.allow_unproven_email,
        ),
        mapping=document.get("mapping", {}),
        tenants=MappingProxyType(tenants),
    )


def _first_certificate(pem: bytes) -> bytes:
    """The certificate that was checked, alone: some keep the private key in the same file, and this is published."""
    return load_pem_x509_certificate(pem).public_bytes(Encoding.PEM)


def read_tenant(
    slug: str, tenant: TenantDocument, *, mapping: Mapping[str, Any], files: Files, path: str
) -> TenantSettings:
    """One tenant from its document, which has been checked. `mapping` is its own as written, `path` its place, for problems."""
    return TenantSettings(
        slug=slug,
        name=tenant.name,
        enabled=tenant.enabled,
        preset=tenant.preset,
        entra_tenant_id=tenant.entra_tenant_id.lower() if tenant.entra_tenant_id else None,
        domains=tuple(domain for domain in map(normal_domain, tenant.domains) if domain),
        entity_id=tenant.entity_id,
        require_signature=RequireSignature(tenant.require_signature),
        accept_expired_certificates=tenant.accept_expired_certificates,
        join_duplicate_attributes=_else(tenant.join_duplicate_attributes, PRESETS[tenant.preset].repeats_attributes),
        name_id_format=tenant.name_id_format,
        log_values_until=date.fromisoformat(tenant.log_values_until) if tenant.log_values_until else None,
        sign_requests=tenant.sign_requests,
        allow_idp_initiated=tenant.allow_idp_initiated,
        require_encryption=tenant.require_encryption,
        allow_rsa15=tenant.allow_rsa15,
        max_users=tenant.max_users,
        offer_sso=tenant.offer_sso,
        require_sso=tenant.require_sso,
        break_glass=tuple(tenant.break_glass),
        mapping=mapping,
        idp=_idp(tenant.idp, path=path_to(path, "idp"), files=files) if tenant.idp else None,
    )


def _else(written: bool | None, default: bool, /) -> bool:
    return default if written is None else written


def _idp(idp: IdpDocument, *, path: str, files: Files) -> MetadataFile | MetadataUrl | TypedIdp | None:
    if idp.metadata_url is not None:
        return MetadataUrl(url=idp.metadata_url, json_path=f"{path}.metadata_url")
    if idp.metadata_file is not None:
        name = idp.metadata_file
        return MetadataFile(content=files.read(name), path=files.path(name), json_path=f"{path}.metadata_file")
    if idp.entity_id is None or idp.sso_url is None:
        return None
    certificates = tuple(files.read(name) for name in idp.certificate_files)
    return TypedIdp(entity_id=idp.entity_id, sso_url=idp.sso_url, slo_url=idp.slo_url, certificates=certificates, json_path=path)
