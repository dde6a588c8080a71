"""Who an assertion is about: one stable value, one key (trust: 30)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samljit.errors import ProvisioningRefused, Reason
from samljit.mapping.aliases import ALIASES, NAME_ID, OBJECT_IDENTIFIER
from samljit.model import Assertion, MappingRules, NameId, Tenant
from samljit.provision.subject import subject_key, subject_of

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
GUID = "aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb"
ISSUER = "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

TENANT = Tenant(
    id=UUID("00000000-0000-4000-8000-000000000001"),
    slug="contoso",
    name="Contoso Ltd",
    enabled=True,
    revision="1",
    preset="entra",
    entity_id="https://app.example.com/saml/contoso/metadata",
    acs_url="https://app.example.com/saml/contoso/acs",
    metadata_url="https://app.example.com/saml/contoso/metadata",
    idp=None,
    mapping=MappingRules(identity_source=OBJECT_IDENTIFIER),
)


def assertion(claims: dict[str, tuple[str, ...]], *, name_id: NameId | None = None) -> Assertion:
    return Assertion(
        id="_1",
        hash="00",
        issuer=ISSUER,
        name_id=name_id or NameId("ada@contoso.com"),
        claims=claims,
        request=None,
        usable_until=NOW,
        authn_instant=NOW,
    )


def known_by(source: str, *, preset: str = "entra") -> Tenant:
    return replace(TENANT, preset=preset, mapping=MappingRules(identity_source=source))


@pytest.mark.parametrize(
    ("tenant", "claims", "name_id", "value"),
    [
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (GUID,)}, None, GUID, id="the object identifier"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (GUID.upper(),)}, None, GUID, id="an object identifier in capitals"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (f"\n {GUID} ",)}, None, GUID, id="an object identifier with padding"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (" ", GUID)}, None, GUID, id="a blank beside it"),
        pytest.param(known_by("employeeid"), {"employeeid": ("0042",)}, None, "0042", id="another claim, zeros kept"),
        pytest.param(known_by("employeeid"), {"employeeid": (" Ab ",)}, None, " Ab ", id="another claim, byte for byte"),
        pytest.param(
            known_by(OBJECT_IDENTIFIER, preset="generic"), {OBJECT_IDENTIFIER: ("u-1",)}, None, "u-1", id="no GUID outside Entra presets"
        ),
        pytest.param(known_by(NAME_ID), {}, NameId("p-17", PERSISTENT), "p-17", id="a persistent NameID"),
        pytest.param(known_by(NAME_ID), {NAME_ID: ("x",)}, NameId("p-17"), "p-17", id="a claim called NameID is not the NameID"),
    ],
)
def test_the_subject_is_the_one_value_of_the_source(
    tenant: Tenant, claims: dict[str, tuple[str, ...]], name_id: NameId | None, value: str
) -> None:
    subject = subject_of(assertion(claims, name_id=name_id), tenant=tenant)
    assert (subject.value, subject.source, subject.issuer, subject.tenant_id) == (value, tenant.mapping.identity_source, ISSUER, tenant.id)
    assert subject.key == subject_key(tenant_id=tenant.id, issuer=ISSUER, source=subject.source, value=value)


@pytest.mark.parametrize(
    ("tenant", "claims", "name_id", "reason"),
    [
        pytest.param(TENANT, {}, None, Reason.SUBJECT_MISSING, id="no such claim"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: ()}, None, Reason.SUBJECT_MISSING, id="no value"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: ("", " \t")}, None, Reason.SUBJECT_MISSING, id="blanks only"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (GUID, GUID)}, None, Reason.SUBJECT_MISSING, id="the value twice"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: ("ada@contoso.com",)}, None, Reason.SUBJECT_MISSING, id="not a GUID"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: ("{" + GUID + "}",)}, None, Reason.SUBJECT_MISSING, id="a GUID in braces"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (GUID + " " + GUID,)}, None, Reason.SUBJECT_MISSING, id="two GUIDs in one value"),
        pytest.param(TENANT, {OBJECT_IDENTIFIER: (GUID.replace("1", "\u0661"),)}, None, Reason.SUBJECT_MISSING, id="foreign digits"),
        pytest.param(TENANT, {"objectidentifier": (GUID,)}, None, Reason.SUBJECT_MISSING, id="the bare name is not the URI"),
        pytest.param(TENANT, {ALIASES["emailaddress"]: ("a@b.c",)}, None, Reason.SUBJECT_MISSING, id="never the address instead"),
        pytest.param(known_by(NAME_ID), {}, NameId("_x", TRANSIENT), Reason.SUBJECT_TRANSIENT, id="a transient NameID"),
        pytest.param(known_by(NAME_ID), {}, NameId(" "), Reason.SUBJECT_MISSING, id="a blank NameID"),
    ],
)
def test_anything_else_is_refused_without_naming_values(
    tenant: Tenant, claims: dict[str, tuple[str, ...]], name_id: NameId | None, reason: Reason
) -> None:
    with pytest.raises(ProvisioningRefused) as refused:
        subject_of(assertion(claims, name_id=name_id), tenant=tenant)
    assert refused.value.reason is reason
    texts = [value for values in claims.values() for value in values if value.strip()]
    assert not any(text in refused.value.detail for text in texts)


def test_the_key_is_a_sha256_of_length_prefixed_parts_in_utf8() -> None:
    parts = (str(TENANT.id), "ï", OBJECT_IDENTIFIER, GUID)
    encoded = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
    key = subject_key(tenant_id=TENANT.id, issuer="ï", source=OBJECT_IDENTIFIER, value=GUID)
    assert key == hashlib.sha256(encoded).hexdigest()


PARTS = st.tuples(st.sampled_from([TENANT.id, UUID(int=7)]), *[st.text(alphabet="abAB: é\u0301", max_size=3)] * 3)


@given(PARTS, PARTS)
def test_two_different_tuples_never_give_the_same_key(one: tuple[UUID, str, str, str], other: tuple[UUID, str, str, str]) -> None:
    keys = [subject_key(tenant_id=tenant, issuer=issuer, source=source, value=value) for tenant, issuer, source, value in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


@given(st.text(alphabet="ab", min_size=2, max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_the_border_between_two_parts_matters(text: str, cut: int, other_cut: int) -> None:
    cut, other_cut = min(cut, len(text)), min(other_cut, len(text))
    keys = {
        subject_key(tenant_id=TENANT.id, issuer=ISSUER, source=text[:border], value=text[border:]) for border in (cut, other_cut)
    }
    assert len(keys) == len({cut, other_cut})
