"""The shape of settings.json: its keys, their types and their meaning. JSON Schema and problem hints are made from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from samljit.mapping.document import MappingDocument
from samljit.mapping.presets import DEFAULT_PRESET, PRESETS

SLUG_PATTERN = "^[a-z0-9][a-z0-9-]{0,62}$"
RESERVED_SLUGS = frozenset({"admin", "login", "logout", "static"})

_GUID_PATTERN = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
_LONGEST_ENTITY_ID = 1024  # SAML metadata 2.2.1

Text = Annotated[str, Field(min_length=1, max_length=1024)]
EntityId = Annotated[str, Field(pattern=r"^\S+$", max_length=_LONGEST_ENTITY_ID)]

# What Entra accepts as NameIDPolicy (single-sign-on-saml-protocol), without transient: it names nobody twice.
NameIdFormat = Literal[
    "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SpDocument(_Document):
    """The key pairs of this service provider, current one first."""

    key_files: list[Text] = Field(
        default_factory=list, description="PEM files with one RSA private key each, at least 2048 bits.", examples=[["certs/sp.key"]]
    )
    certificate_files: list[Text] = Field(
        default_factory=list, description="PEM files with the certificate of each key, in the same order.", examples=[["certs/sp.crt"]]
    )


class GuardsDocument(_Document):
    """Limits that no mapping can exceed, whoever writes it."""

    grantable_roles: list[Text] | None = Field(
        default=None, description="The only roles that a mapping may grant; absent: any.", examples=[["viewer", "editor"]]
    )
    protected_fields: list[Text] = Field(
        default_factory=list, description="Columns of the user record that no mapping may fill.", examples=[["is_admin"]]
    )
    allow_unproven_email: bool = Field(
        default=False,
        description="Where the e-mail column is unique over all tenants: take addresses outside the tenant's proven domains too.",
    )


class IdpDocument(_Document):
    """What is trusted: metadata_url or metadata_file alone, or entity_id, sso_url and certificate_files (and slo_url) typed by hand."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["metadata_url"]},
                {"required": ["metadata_file"]},
                {"required": ["entity_id", "sso_url", "certificate_files"]},
            ],
        }
    )

    metadata_file: Text | None = Field(
        default=None, description='Entra\'s "Federation Metadata XML" of the app.', examples=["certs/contoso-metadata.xml"]
    )
    metadata_url: Text | None = Field(
        default=None,
        description='Entra\'s "App Federation Metadata Url", with its appid; fetched and kept up to date.',
        examples=[
            "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/federationmetadata/2007-06/federationmetadata.xml"
            "?appid=00001111-aaaa-2222-bbbb-3333cccc4444"
        ],
    )
    entity_id: EntityId | None = Field(
        default=None,
        description='Entra\'s "Microsoft Entra Identifier", exactly as shown there.',
        examples=["https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/"],
    )
    sso_url: Text | None = Field(
        default=None,
        description='Entra\'s "Login URL".',
        examples=["https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/saml2"],
    )
    slo_url: Text | None = Field(
        default=None,
        description='Entra\'s "Logout URL".',
        examples=["https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/saml2"],
    )
    certificate_files: list[Text] = Field(
        default_factory=list, description='Files with Entra\'s "Certificate (Base64)".', examples=[["certs/contoso.cer"]]
    )


class TenantDocument(_Document):
    """One customer of the app: one IdP, one mapping."""

    name: Text = Field(description="What people call this customer; shown on pages.", examples=["Contoso Ltd"])
    enabled: bool = Field(default=True, description="false refuses every sign-in of this tenant. Only you can change it.")
    preset: Text = Field(
        default=DEFAULT_PRESET,
        description="The kind of IdP: its claim names, by what it knows people, where it lives, how its messages differ.",
        json_schema_extra={"enum": [*PRESETS]},
    )
    entra_tenant_id: Annotated[str, Field(pattern=_GUID_PATTERN)] | None = Field(
        default=None,
        description="The directory (tenant) ID in Entra; every sign-in must name it. Required for the presets of Entra.",
        examples=["aaaabbbb-0000-cccc-1111-dddd2222eeee"],
    )
    domains: list[Text] = Field(
        default_factory=list,
        description="E-mail domains that this tenant has proved to you to be its own; no two tenants share one.",
        examples=[["contoso.com"]],
    )
    idp: IdpDocument | None = Field(
        default=None, description="The IdP to trust. Absent: our metadata is served, and sign-in says the tenant is not connected."
    )
    entity_id: EntityId | None = Field(
        default=None,
        description="Our Identifier (Entity ID) for this tenant, without spaces, where it is not the address of our metadata.",
        examples=["urn:example:app"],
    )
    require_signature: Literal["assertion_or_response", "assertion", "response", "both"] = Field(
        default="assertion_or_response", description="Which part of a response must be signed."
    )
    accept_expired_certificates: bool = Field(
        default=False, description="true also trusts signing certificates that are out of date. Entra's gallery demands false."
    )
    join_duplicate_attributes: bool | None = Field(
        default=None,
        description="true makes one list of a claim that a response holds twice; false refuses the response. Absent: true for keycloak.",
    )
    name_id_format: NameIdFormat | None = Field(
        default=None, description="The NameID format to ask for. Absent: what the tenant's admin chose in Entra."
    )
    mapping: MappingDocument = Field(
        default_factory=MappingDocument, description="Which claims fill which fields, laid over the mapping of the top level."
    )
    allow_idp_initiated: bool = Field(
        default=False,
        description="true accepts sign-ins that the IdP starts (tiles). They are without protection from login CSRF.",
    )
    sign_requests: bool = Field(
        default=False, description="true signs our requests to the IdP with the first of sp.key_files (RSA-SHA256)."
    )
    require_encryption: bool = Field(default=False, description="true refuses assertions that are not encrypted to us.")
    allow_rsa15: bool = Field(
        default=False, description="true also reads assertions whose key is wrapped with RSA 1.5, as Azure AD B2C does."
    )
    max_users: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="How many users the tenant may have, whatever policy.max_users of its mapping says. Only you can change it.",
        examples=[250],
    )
    offer_sso: bool = Field(
        default=True, description="false: the tenant has switched sign-in off, and its admins can switch it on again on their pages."
    )
    require_sso: bool = Field(
        default=False,
        description="true makes the IdP the only way in: saml.password_login_allowed says no to the tenant's people, break_glass aside.",
    )
    break_glass: list[Text] = Field(
        default_factory=list,
        description="E-mail addresses of users who may always sign in with a password: for the day on which the IdP cannot be used.",
        examples=[["it-emergency@contoso.com"]],
    )
    log_values_until: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = Field(
        default=None,
        description="Up to the end of this day (UTC) the sign-in log also holds the old and new values of fields. At most 90 days ahead.",
        examples=["2026-12-31"],
    )


class SettingsDocument(_Document):
    """settings.json as a whole. Relative paths in it are relative to the file itself."""

    schema_: str | None = Field(default=None, alias="$schema", description="Where an editor finds this schema; not read here.")
    base_url: Text = Field(
        description="Where people reach the app: scheme, host and port alone. Every address of ours is made from it.",
        examples=["https://app.example.com"],
    )
    url_prefix: str = Field(default="/saml", description='The path under which sign-in is mounted, "" for none.', examples=["/saml"])
    clock_skew_seconds: int = Field(default=120, ge=0, le=300, description="How far the IdP's clock may be off, at most 300.")
    attempt_days: int = Field(default=90, ge=1, le=36500, description="For how many days the sign-in log is kept.")
    metadata_hosts: list[Text] = Field(
        default_factory=list,
        description="Further hosts, host or host:port, that an idp.metadata_url may name beside those of its preset.",
        examples=[["metadata.contoso.com"]],
    )
    sp: SpDocument = Field(default_factory=SpDocument, description="Our own keys; may be left out.")
    mapping: MappingDocument = Field(
        default_factory=MappingDocument, description="Which claims fill which fields, for every tenant that says nothing else."
    )
    guards: GuardsDocument = Field(default_factory=GuardsDocument, description="Limits that no mapping can exceed.")
    tenants: dict[str, TenantDocument] = Field(
        default_factory=dict,
        description="The customers, each by the slug that stands in its addresses.",
        json_schema_extra={"propertyNames": {"pattern": SLUG_PATTERN, "not": {"enum": [*sorted(RESERVED_SLUGS)]}}},
    )


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of settings.json, complete with the mapping document, for editors and scripts."""
    schema = SettingsDocument.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "samljit settings.json"}
