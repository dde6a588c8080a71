"""Who a genuine assertion is about, as one stable key (trust: 30)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from uuid import UUID

from samljit.errors import ProvisioningRefused, Reason
from samljit.mapping.aliases import NAME_ID, OBJECT_IDENTIFIER, short_name
from samljit.mapping.presets import PRESETS
from samljit.model import Assertion, NameId, Subject, Tenant

_TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def subject_of(assertion: Assertion, *, tenant: Tenant) -> Subject:
    """The subject of a genuine assertion. Raises: ProvisioningRefused (subject_missing, subject_transient)."""
    return find_subject(assertion.claims, name_id=assertion.name_id, issuer=assertion.issuer, tenant=tenant)


def find_subject(claims: Mapping[str, tuple[str, ...]], *, name_id: NameId, issuer: str, tenant: Tenant) -> Subject:
    """The subject that the tenant's mapping names: a claim or the NameID, exactly one non-blank value.

    Raises: ProvisioningRefused (subject_missing, subject_transient).
    """
    source = tenant.mapping.identity_source
    if source == NAME_ID:
        if (name_id.format or "").strip() == _TRANSIENT:
            raise ProvisioningRefused(Reason.SUBJECT_TRANSIENT, "the NameID is transient: it names nobody next time")
        values = [name_id.value]
    else:
        values = list(claims.get(source, ()))
    values = [value for value in values if value.strip()]
    if len(values) != 1:
        raise _missing(source, f"has {len(values)} values, not one", tenant=tenant)
    return make_subject(values[0], issuer=issuer, tenant=tenant)


def make_subject(value: str, *, issuer: str, tenant: Tenant) -> Subject:
    """The subject with this value.

    An object identifier of an Entra tenant is one GUID in lower case; every other value stays as it was signed, byte for byte.
    Raises: ProvisioningRefused (subject_missing).
    """
    source = tenant.mapping.identity_source
    if source == OBJECT_IDENTIFIER and PRESETS[tenant.preset].names_directory:
        value = value.strip().lower()
        if not _GUID.fullmatch(value):
            raise _missing(source, "is not a GUID", tenant=tenant)
    key = subject_key(tenant_id=tenant.id, issuer=issuer, source=source, value=value)
    return Subject(key=key, tenant_id=tenant.id, issuer=issuer, source=source, value=value)


def subject_key(*, tenant_id: UUID, issuer: str, source: str, value: str) -> str:
    """The key an identity is stored under: SHA-256 in lower-case hex of the four, each in UTF-8 behind its length in 8 bytes.

    The lengths keep ("ab", "c") apart from ("a", "bc"). A hash, because some databases compare text without case, accents and
    trailing blanks.
    """
    parts = (str(tenant_id), issuer, source, value)
    encoded = (part.encode("utf-8") for part in parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in encoded)).hexdigest()


def _missing(source: str, what: str, *, tenant: Tenant) -> ProvisioningRefused:
    return ProvisioningRefused(Reason.SUBJECT_MISSING, f"{short_name(source, PRESETS[tenant.preset].aliases)} {what}")
