"""settings.json: read and checked once, with every problem named at once. Knows neither SAML nor SQL."""

from samljit.settings.document import RESERVED_SLUGS, SLUG_PATTERN, settings_schema
from samljit.settings.endpoints import allowed_hosts, check_endpoint, check_metadata_url, is_loopback
from samljit.settings.read import Guards, KeyPair, MetadataFile, MetadataUrl, Settings, TenantSettings, TypedIdp, read_settings

__all__ = [
    "RESERVED_SLUGS",
    "SLUG_PATTERN",
    "Guards",
    "KeyPair",
    "MetadataFile",
    "MetadataUrl",
    "Settings",
    "TenantSettings",
    "TypedIdp",
    "allowed_hosts",
    "check_endpoint",
    "check_metadata_url",
    "is_loopback",
    "read_settings",
    "settings_schema",
]
