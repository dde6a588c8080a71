"""What we send to the IdP: request IDs that prove themselves, and the AuthnRequest as Entra wants it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from lxml import etree

from samljit.errors import AssertionRejected, Reason
from samljit.model import IdentityProvider, MappingRules, Purpose, RequireSignature, Tenant
from samljit.saml.request import REQUEST_LIFETIME, RequestIds, build_authn_request, redirect_url
from samljit.testing import FakeEntra
from tests.host import LOGIN, ORIGIN, Host, make_host, settings_for

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TENANT = UUID("00000000-0000-4000-8000-000000000001")
IDS = RequestIds([b"a key of this test"])
FRESH = IDS.issue(TENANT, now=NOW)

CONTOSO = Tenant(
    id=TENANT,
    slug="contoso",
    name="Contoso",
    enabled=True,
    revision="1",
    preset="entra",
    entity_id="https://app.example.com/saml/contoso/metadata",
    acs_url="https://app.example.com/saml/contoso/acs",
    metadata_url="https://app.example.com/saml/contoso/metadata",
    idp=IdentityProvider("https://sts.windows.net/x/", "https://login.microsoftonline.com/x/saml2", ()),
    mapping=MappingRules("NameID"),
    require_signature=RequireSignature.ASSERTION,
)


# --- request IDs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("force", "passive"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("purpose", "draft"), [(Purpose.SIGN_IN, 0), (Purpose.TEST, 7), (Purpose.LOGOUT, 0)])
def test_a_request_id_says_all_it_was_made_with(force: bool, passive: bool, purpose: Purpose, draft: int) -> None:
    made = IDS.issue(TENANT, now=NOW, force_authn=force, is_passive=passive, purpose=purpose, draft_revision=draft)
    assert IDS.read(made.id, tenant_id=TENANT, now=NOW) == made
    said = (made.force_authn, made.is_passive, made.purpose, made.draft_revision, made.issued_at)
    assert said == (force, passive, purpose, draft, NOW)


def test_a_request_id_is_an_xml_name_that_begins_with_a_letter_and_no_two_are_alike() -> None:
    ids = {IDS.issue(TENANT, now=NOW).id for _ in range(100)}
    assert len(ids) == 100
    assert all(made.isascii() and made.isalnum() and made[0].isalpha() for made in ids)


FORGERIES: dict[str, Callable[[str], str]] = {
    "empty": lambda made: "",
    "another prefix": lambda made: "ID" + made[2:],
    "no prefix": lambda made: made[2:],
    "capitals": lambda made: "id" + made[2:].upper(),
    "blanks": lambda made: f"id{made[2:4]} {made[4:]}",
    "padded": lambda made: made + "00",
    "cut": lambda made: made[:-2],
    "twice": lambda made: "id" + made,
    "not hex": lambda made: "id" + "z" * (len(made) - 2),
    "not ASCII": lambda made: made[:-1] + "\uff11",
    "long": lambda made: "id" + "0" * 100_000,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_any_other_spelling_is_no_request_of_ours(forge: Callable[[str], str]) -> None:
    assert IDS.find(forge(FRESH.id), tenant_id=TENANT) is None


def test_no_single_digit_can_be_changed() -> None:
    for position in range(2, len(FRESH.id)):
        digit = "0" if FRESH.id[position] != "0" else "1"
        assert IDS.find(FRESH.id[:position] + digit + FRESH.id[position + 1 :], tenant_id=TENANT) is None


def test_a_request_of_one_tenant_is_none_of_another() -> None:
    with pytest.raises(AssertionRejected) as caught:
        IDS.read(FRESH.id, tenant_id=uuid4(), now=NOW)
    assert caught.value.reason is Reason.REQUEST_UNKNOWN


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (timedelta(), None),
        (REQUEST_LIFETIME - timedelta(seconds=1), None),
        (REQUEST_LIFETIME, Reason.REQUEST_EXPIRED),
        (timedelta(days=365), Reason.REQUEST_EXPIRED),
        (timedelta(seconds=-1), Reason.REQUEST_EXPIRED),
    ],
    ids=str,
)
def test_a_request_may_be_answered_for_fifteen_minutes(age: timedelta, reason: Reason | None) -> None:
    try:
        IDS.read(FRESH.id, tenant_id=TENANT, now=NOW + age)
        found = None
    except AssertionRejected as rejected:
        found = rejected.reason
    assert found is reason


def test_keys_roll_over() -> None:
    old, new = b"old", b"new"
    made = RequestIds([old]).issue(TENANT, now=NOW)
    assert RequestIds([new, old]).find(made.id, tenant_id=TENANT) == made
    assert RequestIds([new]).find(made.id, tenant_id=TENANT) is None
    assert RequestIds([old]).find(RequestIds([new, old]).issue(TENANT, now=NOW).id, tenant_id=TENANT) is None


def test_no_key_shows_in_a_repr() -> None:
    assert "a key" not in repr(IDS)


# --- the AuthnRequest -------------------------------------------------------------------------------------------------


def request_in(url: str) -> etree._Element:
    packed = base64.b64decode(parse_qs(urlsplit(url).query)["SAMLRequest"][0], validate=True)
    return etree.fromstring(zlib.decompress(packed, -15))


def test_the_request_holds_what_entra_reads_and_nothing_else() -> None:
    root = request_in(redirect_url(CONTOSO, FRESH))
    assert dict(root.attrib) == {
        "ID": FRESH.id,
        "Version": "2.0",
        "IssueInstant": "2026-11-22T09:00:00Z",
        "Destination": "https://login.microsoftonline.com/x/saml2",
        "AssertionConsumerServiceURL": CONTOSO.acs_url,
        "ProtocolBinding": "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
    }
    assert [(etree.QName(child).localname, child.text) for child in root] == [("Issuer", CONTOSO.entity_id)]


def test_force_and_a_name_id_format_are_asked_for_only_where_wanted() -> None:
    persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    forced = IDS.issue(TENANT, now=NOW, force_authn=True)
    root = etree.fromstring(build_authn_request(replace(CONTOSO, name_id_format=persistent), forced))
    assert (root.get("ForceAuthn"), [dict(child.attrib) for child in root]) == ("true", [{}, {"Format": persistent}])


def test_an_entity_id_with_markup_in_it_comes_out_as_text() -> None:
    root = etree.fromstring(build_authn_request(replace(CONTOSO, entity_id='a<b>&"c"'), FRESH))
    assert [child.text for child in root] == ['a<b>&"c"']


@pytest.mark.parametrize(
    ("sso_url", "start"),
    [("https://idp.example/sso", "https://idp.example/sso?S"), ("https://idp.example/sso?app=1", "https://idp.example/sso?app=1&S")],
)
def test_the_idps_address_may_have_a_query_of_its_own(sso_url: str, start: str) -> None:
    tenant = replace(CONTOSO, idp=IdentityProvider("https://idp.example/", sso_url, ()))
    assert redirect_url(tenant, FRESH).startswith(start)


def test_a_tenant_without_an_idp_sends_nothing() -> None:
    with pytest.raises(ValueError, match="not connected"):
        redirect_url(replace(CONTOSO, idp=None), FRESH)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("", None),
        ("?login_hint=adele%40contoso.example", "adele@contoso.example"),
        ("?login_hint=a%26b%3Dc", "a&b=c"),
        ("?login_hint=", None),
        ("?login_hint=a%0d%0ab", None),
        ("?login_hint=" + "a" * 400, None),
    ],
)
def test_login_passes_the_hint_on(host: Host, query: str, hint: str | None) -> None:
    page = host.browser().get(LOGIN + query)
    assert host.entra.read_request(page.url).login_hint == hint


@pytest.mark.parametrize(("query", "forced"), [("", False), ("?force=1", True), ("?force=0", False), ("?force=true", False)])
def test_login_asks_for_a_fresh_sign_in_where_told_to(host: Host, query: str, forced: bool) -> None:
    page = host.browser().get(LOGIN + query)
    assert host.entra.read_request(page.url).force_authn is forced


def test_every_sign_in_is_a_request_of_its_own(host: Host) -> None:
    browser = host.browser()
    assert len({host.entra.read_request(browser.get(LOGIN).url).id for _ in range(5)}) == 5


# --- names that come from configuration only --------------------------------------------------------------------------

ATTACKS: list[dict[str, str]] = [
    {"Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "8080", "X-Forwarded-Prefix": "/evil"},
    {"Forwarded": "host=evil.example;proto=http"},
    {"X-Original-URL": "https://evil.example/", "X-Rewrite-URL": "/evil"},
    {"Host": "app.example.com:8443"},
    {"Host": "app.example.com@evil.example"},
]


@pytest.mark.parametrize("headers", ATTACKS, ids=lambda headers: " ".join(headers))
@pytest.mark.parametrize("path", ["metadata", "login", "login?hop=1"])
def test_no_header_changes_an_address_of_ours(host: Host, headers: dict[str, str], path: str) -> None:
    response = host.app.test_client().get(f"/saml/contoso/{path}", headers=headers, base_url=ORIGIN)
    location = response.headers.get("Location", "")
    assert response.status_code in (200, 303, 400)
    assert "evil" not in response.get_data(as_text=True) + str(response.headers)
    assert location == "" or location.startswith((f"{LOGIN}?", host.entra.sso_url))
    if location.startswith(host.entra.sso_url):
        assert host.entra.read_request(location).acs_url == f"{ORIGIN}/saml/contoso/acs"


def test_the_entity_id_may_be_a_name_that_is_no_address(tmp_path: Path) -> None:
    given = settings_for(tmp_path, FakeEntra(), tenant={"entity_id": "contoso-app"})
    host = make_host(tmp_path, settings=given)
    assert host.entra.read_request(host.browser().get(LOGIN).url).issuer == "contoso-app"
    assert host.sign_in().status == 200
    host.engine.dispose()
