"""Tenants from their documents: IdP metadata read, mapping documents checked against the host's columns, every problem collected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from samljit.errors import Problem
from samljit.mapping.compile import compile_mapping
from samljit.mapping.document import merge_documents
from samljit.mapping.origins import at_origin, inherited_places
from samljit.mapping.presets import DEFAULT_PRESET, PRESETS
from samljit.mapping.problems import nearest_hint, path_to, shorten
from samljit.model import IdentityProvider, MappingRules, Match, Tenant, Transform, UserShape
from samljit.saml.certificates import read_usable_certificates
from samljit.saml.idp_metadata import read_idp_metadata
from samljit.settings.endpoints import check_endpoints
from samljit.settings.read import MetadataFile, MetadataUrl, Settings, TenantSettings, TypedIdp
from samljit.settings.stored import in_stored_words, read_stored_tenant

_NO_RULES = MappingRules(identity_source="")
_LONGEST_LOGGED_VALUES = timedelta(days=90)
NO_ID = UUID(int=0)  # until the database has given the tenant its permanent one


@dataclass(frozen=True, slots=True)
class _Scene:
    """What building one tenant needs beside its own settings."""

    settings: Settings
    shape: UserShape
    transforms: Mapping[str, Transform]
    now: datetime
    has_others: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """The last good metadata that was fetched, and the address it came from."""

    xml: str = field(repr=False)
    url: str


def build_tenants(
    settings: Settings, *, shape: UserShape, transforms: Mapping[str, Transform], now: datetime
) -> tuple[dict[str, Tenant], list[Problem]]:
    """The tenants by slug, without their permanent ids, and every problem of all of them. One with a problem is left out."""
    scene = _Scene(settings, shape, transforms, now, has_others=len(settings.tenants) > 1)
    tenants: dict[str, Tenant] = {}
    found: dict[str, list[Problem]] = {}
    for slug, tenant in settings.tenants.items():
        built, found[slug] = _build(tenant, scene, path=path_to("$.tenants", slug))
        if built is not None:
            tenants[slug] = built
    return tenants, [*_unknown_guards(scene), *_at_their_origin(found, settings), *_shared_email(scene)]


def build_stored_tenant(
    slug: str,
    document: Mapping[str, Any],
    settings: Settings,
    *,
    shape: UserShape,
    transforms: Mapping[str, Transform],
    now: datetime,
) -> tuple[Tenant | None, list[Problem]]:
    """The tenant that a document of the database describes, without its permanent id, and every problem by its place in the document."""
    tenant, problems = read_stored_tenant(slug, document, settings=settings)
    if tenant is None:
        return None, problems
    built, found = _build(tenant, _Scene(settings, shape, transforms, now, has_others=True), path="$")
    return built, [*problems, *map(in_stored_words, found)]


def outline_tenant(slug: str, document: Mapping[str, Any], settings: Settings, *, tenant_id: UUID) -> Tenant:
    """A tenant of the database that cannot be used as its documents are: enough of it to name it. Nobody can sign in to it, and where
    only the IdP was a way in, that stays so."""
    place, name = f"{settings.base_url}{settings.url_prefix}/{slug}", document.get("name")
    exempt, entity_id, limit = (document.get(key) for key in ("break_glass", "entity_id", "max_users"))
    return Tenant(
        id=tenant_id,
        slug=slug,
        name=name if isinstance(name, str) else slug,
        enabled=document.get("enabled") is not False,
        revision="",
        preset=DEFAULT_PRESET,
        entity_id=entity_id if isinstance(entity_id, str) and entity_id.isprintable() else f"{place}/metadata",
        acs_url=f"{place}/acs",
        metadata_url=f"{place}/metadata",
        idp=None,
        mapping=_NO_RULES,
        domains=tuple(domain for domain in document.get("domains") or () if isinstance(domain, str)),
        max_users=limit if isinstance(limit, int) else None,
        offer_sso=document.get("offer_sso") is not False,
        require_sso=document.get("require_sso") is True,
        break_glass=tuple(one for one in exempt if isinstance(one, str)) if isinstance(exempt, list) else (),
    )


def with_fetched(tenant: Tenant, fetched: Fetched | None, *, base_url: str, now: datetime) -> Tenant:
    """A tenant whose IdP is known by an address, with what was fetched from there; not connected where that cannot be used."""
    if tenant.metadata_source is None:
        return tenant
    idp = None
    if fetched is not None and fetched.url == tenant.metadata_source:
        found = read_idp_metadata(fetched.xml.encode(), path="$.idp", now=now)[0]
        if found and not check_endpoints(found.endpoints, path="$.idp", preset=tenant.preset, base_url=base_url):
            idp = found
    mark = sha256(repr((tenant.revision, idp)).encode()).hexdigest()[:16]
    return replace(tenant, idp=idp, revision=mark)


def _build(tenant: TenantSettings, scene: _Scene, *, path: str) -> tuple[Tenant | None, list[Problem]]:
    settings = scene.settings
    document = merge_documents(settings.mapping, tenant.mapping)
    mapping, problems = compile_mapping(
        document,
        shape=scene.shape,
        path=path_to(path, "mapping"),
        transforms=scene.transforms,
        preset=PRESETS[tenant.preset],
    )
    idp, found = _read_idp(tenant, scene)
    problems = [*problems, *found, *_unproven_email(tenant, document, scene, path=path), *_logged_values(tenant, scene, path=path)]
    if mapping is not None:
        problems += _unsafe_match(tenant, mapping, scene, path=path)
    if mapping is None or any(not problem.is_warning for problem in problems):
        return None, problems
    place = f"{settings.base_url}{settings.url_prefix}/{tenant.slug}"
    built = Tenant(
        id=NO_ID,
        slug=tenant.slug,
        name=tenant.name,
        enabled=tenant.enabled,
        revision="",
        preset=tenant.preset,
        entity_id=tenant.entity_id or f"{place}/metadata",
        acs_url=f"{place}/acs",
        metadata_url=f"{place}/metadata",
        idp=idp,
        metadata_source=tenant.idp.url if isinstance(tenant.idp, MetadataUrl) else None,
        mapping=_limited(mapping, tenant.max_users),
        entra_tenant_id=tenant.entra_tenant_id,
        domains=tenant.domains,
        require_signature=tenant.require_signature,
        accept_expired_certificates=tenant.accept_expired_certificates,
        join_duplicate_attributes=tenant.join_duplicate_attributes,
        name_id_format=tenant.name_id_format,
        log_values_until=tenant.log_values_until,
        sign_requests=tenant.sign_requests,
        allow_idp_initiated=tenant.allow_idp_initiated,
        require_encryption=tenant.require_encryption,
        allow_rsa15=tenant.allow_rsa15,
        max_users=tenant.max_users,
        offer_sso=tenant.offer_sso,
        require_sso=tenant.require_sso,
        break_glass=tenant.break_glass,
    )
    return replace(built, revision=_revision(built, document)), problems


def _limited(mapping: MappingRules, max_users: int | None) -> MappingRules:
    """With the lower one of the two limits: what the tenant's admins may change is no way around the other."""
    limits = [limit for limit in (mapping.policy.max_users, max_users) if limit is not None]
    return replace(mapping, policy=replace(mapping.policy, max_users=min(limits, default=None)))


def _read_idp(tenant: TenantSettings, scene: _Scene) -> tuple[IdentityProvider | None, list[Problem]]:
    """The IdP, its addresses held against the hosts that the preset allows."""
    if isinstance(tenant.idp, MetadataFile):
        path = tenant.idp.json_path
        idp, problems = read_idp_metadata(tenant.idp.content, path=path, now=scene.now)
    elif isinstance(tenant.idp, TypedIdp):
        path = tenant.idp.json_path
        idp, problems = _read_typed(tenant.idp, now=scene.now)
    else:
        return None, []
    base_url, urls = scene.settings.base_url, idp.endpoints if idp else ()
    problems = [*problems, *check_endpoints(urls, path=path, preset=tenant.preset, base_url=base_url)]
    return idp, [*problems, *_wrong_directory(tenant, idp, path=path)]


def _read_typed(typed: TypedIdp, *, now: datetime) -> tuple[IdentityProvider | None, list[Problem]]:
    path = path_to(typed.json_path, "certificate_files")
    certificates, problems = read_usable_certificates(typed.certificates, path=path, now=now)
    if not certificates:
        return None, problems
    return IdentityProvider(typed.entity_id, typed.sso_url, certificates, typed.slo_url), problems


def _wrong_directory(tenant: TenantSettings, idp: IdentityProvider | None, *, path: str) -> list[Problem]:
    """A file taken from another directory shows in its entityID. Only a warning: Entra may append to it."""
    directory = tenant.entra_tenant_id
    if idp is None or directory is None or directory in idp.entity_id.lower():
        return []
    message = f'The IdP\'s entityID does not name the directory {directory} of "entra_tenant_id".'
    return [Problem(path, "other_directory", message, "Check that the metadata is of the right directory.", is_warning=True)]


def _unproven_email(tenant: TenantSettings, document: Mapping[str, object], scene: _Scene, *, path: str) -> list[Problem]:
    """Where an e-mail must be unique over all tenants, only proven domains may be claimed; with none, nobody could ever sign in."""
    email, fields = scene.shape.email_field, document.get("fields")
    if scene.settings.guards.allow_unproven_email or tenant.domains or email is None or not isinstance(fields, Mapping):
        return []
    if email not in fields or not scene.shape.columns[email].unique:
        return []
    return [
        Problem(
            path_to(path, "domains"),
            "domains_missing",
            f"The column {email!r} is unique over all tenants, so an address is only taken from a domain that its tenant has proved.",
            "List the tenant's domains, or make the column unique per tenant, or set guards.allow_unproven_email.",
        )
    ]


def _unsafe_match(tenant: TenantSettings, mapping: MappingRules, scene: _Scene, *, path: str) -> list[Problem]:
    """What `identity.match` needs of the tenant: that its users can be told from others', and for linking, domains of its own."""
    if mapping.match is Match.IDENTIFIER:
        return []
    problems, place = [], path_to(path, "mapping", "identity", "match")
    if scene.has_others and not scene.shape.host_fills:
        message = "There are several tenants, and samljit was not told whose users are whose."
        problems.append(Problem(place, "tenant_fields_missing", message, "Give SamlJit tenant_fields."))
    if mapping.match is Match.EMAIL_LINK and not tenant.domains:
        message = "Users are only linked by an address in a domain that the tenant has proved, and it has none."
        problems.append(Problem(path_to(path, "domains"), "domains_missing", message, "List the tenant's domains."))
    return problems


def _logged_values(tenant: TenantSettings, scene: _Scene, *, path: str) -> list[Problem]:
    until, today, place = tenant.log_values_until, scene.now.date(), path_to(path, "log_values_until")
    if until is None or until < today:
        return []
    if until > today + _LONGEST_LOGGED_VALUES:
        message = f"Is more than {_LONGEST_LOGGED_VALUES.days} days ahead."
        return [Problem(place, "too_far_ahead", message, "Values in the log are for finding a fault, not for keeping.")]
    message = f"The sign-in log holds what people's fields were and are, up to {until}."
    return [Problem(place, "values_logged", message, "Leave it out once the fault is found.", is_warning=True)]


def _at_their_origin(found: Mapping[str, list[Problem]], settings: Settings) -> list[Problem]:
    """The problems of all tenants; one that lies in the top-level mapping stands there, once.

    Where not all who inherit a place have the problem, it is theirs: the same words can be wrong for another kind of IdP.
    """
    if not any(found.values()):
        return []
    places = {
        slug: inherited_places(settings.mapping, tenant.mapping, path=path_to("$.tenants", slug, "mapping"), origin="$.mapping")
        for slug, tenant in settings.tenants.items()
    }
    pairs = [(slug, one, at_origin(one, places[slug])) for slug, problems in found.items() for one in problems]
    sufferers = Counter(origin for _, _, origin in pairs if origin)

    def is_everybodys(origin: Problem) -> bool:
        heirs = (inherited for inherited in places.values() if at_origin(origin, {place: place for place in inherited.values()}))
        return sufferers[origin] == len(list(heirs))

    return list(dict.fromkeys(origin if origin and is_everybodys(origin) else one for _, one, origin in pairs))


def _unknown_guards(scene: _Scene) -> list[Problem]:
    """A guard whose name is misspelt guards nothing. Only a warning: several apps may share one settings file."""
    shape = scene.shape
    return [
        Problem(
            "$.guards.protected_fields",
            "unknown_target",
            f'The user record has no column "{shorten(name)}", so nothing is protected by this.',
            nearest_hint(name, shape.columns),
            is_warning=True,
        )
        for name in sorted(scene.settings.guards.protected_fields - shape.columns.keys())
    ]


def _shared_email(scene: _Scene) -> list[Problem]:
    email = scene.shape.columns.get(scene.shape.email_field or "")
    if email is None or not email.unique or len(scene.settings.tenants) < 2:
        return []
    message = f"The column {email.name!r} is unique over all tenants: a person of two of them can have one user only."
    hint = "Make it unique together with the column that names the tenant."
    return [Problem("$.tenants", "unique_email_many_tenants", message, hint, is_warning=True)]


def _revision(tenant: Tenant, document: Mapping[str, object]) -> str:
    """A hash over all of the tenant: two apps that share a database may call two tenants by one id. The mapping stands in it as
    its document, because functions have no text of their own."""
    return sha256((repr(replace(tenant, mapping=_NO_RULES)) + json.dumps(document, sort_keys=True)).encode()).hexdigest()[:16]
