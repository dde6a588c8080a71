"""Trust and tenancy (12 to 16): whose key, whose tenant, and what a signature covers."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from samljit.errors import AssertionRejected, ConfigError, Reason
from samljit.model import RequireSignature
from samljit.testing import Claim, FakeEntra, claims_of, make_key_pair, signing_key
from samljit.testing.people import TENANT_ID
from tests.host import ACS, ADELE, FIELDS, LOGIN, ORIGIN, Host, make_host, settings_for
from tests.trust.forge import NS, Desk, Edit, Flow, accepted, answer, attribute, drop, nothing_happened, post_fields, refused, swap

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ENTITY_FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"


# --- 12: keys ---------------------------------------------------------------------------------------------------------

VALID_UNTIL = NOW + timedelta(days=10)
VALID_FROM = NOW - timedelta(days=10)

DATES = {
    "12-the-last-second": (VALID_UNTIL, None),
    "12-a-second-after-the-last": (VALID_UNTIL + timedelta(seconds=1), Reason.CERTIFICATE_EXPIRED),
    "12-the-first-second": (VALID_FROM, None),
    "12-a-second-before-the-first": (VALID_FROM - timedelta(seconds=1), Reason.CERTIFICATE_EXPIRED),
    "12-years-after": (VALID_UNTIL + timedelta(days=2000), Reason.CERTIFICATE_EXPIRED),
}


@pytest.mark.parametrize(("now", "reason"), DATES.values(), ids=DATES)
def test_a_certificate_counts_only_while_it_is_in_date(now: datetime, reason: Reason | None) -> None:
    desk = Desk(keys=(signing_key("dated", valid_from=VALID_FROM, valid_until=VALID_UNTIL),))
    with time_machine.travel(now, tick=False):
        assert desk.reason(desk.respond(now=now), now=now) == reason


def test_12_a_tenant_may_opt_in_to_accept_an_expired_certificate() -> None:
    expired = signing_key("dated", valid_from=VALID_FROM, valid_until=VALID_UNTIL)
    desk = Desk(keys=(expired,), changes={"accept_expired_certificates": True})
    now = VALID_UNTIL + timedelta(days=1)
    with time_machine.travel(now, tick=False):
        assert desk.reason(desk.respond(now=now), now=now) is None


def test_12_an_expired_certificate_is_refused_at_the_acs(mount: Any, caplog: pytest.LogCaptureFixture) -> None:
    today = datetime.now(UTC).replace(microsecond=0)
    expired = signing_key("expired", valid_from=today - timedelta(days=30), valid_until=today - timedelta(days=1))
    refused(mount(entra=FakeEntra(keys=(expired,))), caplog, Reason.CERTIFICATE_EXPIRED)


def test_12_every_certificate_of_the_metadata_may_sign(mount: Any) -> None:
    old, new = signing_key(), signing_key("next")
    for signer in (old, new):
        accepted(mount(entra=FakeEntra(keys=(old, new))), key=signer)


def test_12_a_key_that_left_the_metadata_is_refused(mount: Any, caplog: pytest.LogCaptureFixture) -> None:
    refused(mount(entra=FakeEntra(keys=(signing_key("next"),))), caplog, Reason.SIGNATURE_INVALID, key=signing_key())


def test_12_a_short_key_or_none_is_a_configuration_error(tmp_path: Path) -> None:
    today = datetime.now(UTC)
    short = make_key_pair(valid_from=today - timedelta(days=1), valid_until=today + timedelta(days=1), bits=1024)
    with pytest.raises(ConfigError) as caught:
        make_host(tmp_path, entra=FakeEntra(keys=(short,)))
    assert [problem.code for problem in caught.value.problems] == ["certificate_unusable"]
    entra = FakeEntra()
    settings = settings_for(tmp_path, entra)
    Path(settings["tenants"]["contoso"]["idp"]["metadata_file"]).write_bytes(entra.metadata(keys=()))
    with pytest.raises(ConfigError) as caught:
        make_host(tmp_path, settings=settings)
    assert [problem.code for problem in caught.value.problems] == ["certificate_missing"]


def test_12_a_key_beside_the_library_or_the_process_is_not_looked_for(
    tmp_path: Path, mount: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """python3-saml falls back to certs/ files in the process's directory."""
    stranger = signing_key("stranger")
    (tmp_path / "certs").mkdir()
    for name in ("sp.crt", "idp.crt", "metadata.crt"):
        (tmp_path / "certs" / name).write_bytes(stranger.certificate_pem)
    monkeypatch.chdir(tmp_path)
    refused(mount(), caplog, Reason.SIGNATURE_INVALID, key=stranger)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda xml: xml.replace(b">Adele<", b">Admin<"), id="12-changed-value"),
        pytest.param(lambda xml: xml.replace(b"@contoso.example</NameID>", b"@fabrikam.example</NameID>"), id="12-changed-name-id"),
        pytest.param(lambda xml: xml.replace(b"2026-", b"2027-"), id="12-changed-times"),
        pytest.param(lambda xml: xml.replace(b"</AttributeStatement>", b"<Attribute Name='a'/></AttributeStatement>"), id="12-added-claim"),
        pytest.param(lambda xml: xml.replace(b"<SignatureValue>", b"<SignatureValue>AAAA"), id="12-longer-signature"),
    ],
)
@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
def test_a_change_after_signing_is_refused(host: Host, caplog: pytest.LogCaptureFixture, forge: Edit, sign: str) -> None:
    refused(host, caplog, Reason.SIGNATURE_INVALID, edit=forge, sign=sign)


def emptied(tag: str) -> Edit:
    return lambda xml: re.sub(f"<{tag}>[^<]*</{tag}>".encode(), f"<{tag}></{tag}>".encode(), xml)


@pytest.mark.parametrize("tag", ["DigestValue", "SignatureValue"])
def test_12_an_empty_digest_or_signature_is_refused(host: Host, caplog: pytest.LogCaptureFixture, tag: str) -> None:
    refused(host, caplog, Reason.SIGNATURE_INVALID, edit=emptied(tag))


# --- 13, 14: the tenant -----------------------------------------------------------------------------------------------

OWN = "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/"
OTHER_DIRECTORY = "bbbbcccc-1111-dddd-2222-eeee3333ffff"

ISSUERS: dict[str, dict[str, Any]] = {
    "13-other-directory": {"assertion_issuer": f"https://sts.windows.net/{OTHER_DIRECTORY}/"},
    "13-without-the-slash": {"assertion_issuer": OWN.rstrip("/")},
    "13-as-the-documentation-has-it": {"assertion_issuer": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/"},
    "13-upper-case": {"assertion_issuer": OWN.upper()},
    "13-padded": {"assertion_issuer": f" {OWN}"},
    "13-padded-by-a-line": {"assertion_issuer": f"{OWN}\n"},
    "13-blank": {"assertion_issuer": " "},
    "13-empty": {"assertion_issuer": ""},
    "13-longer": {"assertion_issuer": f"{OWN}saml"},
    "13-http": {"assertion_issuer": OWN.replace("https", "http")},
    "13-format": {"assertion_issuer_format": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"},
    "13-response-of-another": {"response_issuer": f"https://sts.windows.net/{OTHER_DIRECTORY}/"},
    "13-response-empty": {"response_issuer": ""},
    "13-response-format": {"response_issuer_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"},
    "13-signed-response-of-another": {"response_issuer": OWN.rstrip("/"), "sign": "both"},
}


@pytest.mark.parametrize("changes", ISSUERS.values(), ids=ISSUERS)
def test_an_issuer_that_is_not_byte_for_byte_the_tenants_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    refused(host, caplog, Reason.ISSUER_MISMATCH, **changes)


def test_13_an_assertion_without_issuer_is_refused(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    refused(host, caplog, Reason.SHAPE_UNEXPECTED, assertion_issuer=None)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_issuer": None}, id="13-response-without-issuer"),
        pytest.param({"assertion_issuer_format": ENTITY_FORMAT, "response_issuer_format": ENTITY_FORMAT}, id="13-format-entity"),
    ],
)
def test_an_issuer_as_saml_allows_it_is_taken(host: Host, changes: dict[str, Any]) -> None:
    accepted(host, **changes)


def two_tenants(tmp_path: Path, other: FakeEntra) -> dict[str, Any]:
    settings = settings_for(tmp_path, FakeEntra())
    metadata = tmp_path / "other.xml"
    metadata.write_bytes(other.metadata())
    settings["tenants"]["fabrikam"] = {
        "name": "Fabrikam",
        "entra_tenant_id": other.tenant_id,
        "domains": ["fabrikam.example"],
        "idp": {"metadata_file": str(metadata)},
        "mapping": {"fields": FIELDS},
    }
    return settings


def posted_at(host: Host, slug: str, **changes: Any) -> Flow:
    """An answer made for contoso, posted to another tenant's ACS."""
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    post = host.entra.respond(request, ADELE, now=datetime.now(UTC), **changes)
    return Flow(browser, post.xml, post_fields(browser, list(post.form.items()), acs=f"{ORIGIN}/saml/{slug}/acs"), post.form)


@pytest.mark.parametrize(
    ("directory", "key", "changes", "reason"),
    [
        pytest.param(OTHER_DIRECTORY, "other", {}, Reason.SIGNATURE_INVALID, id="13-another-tenants-key"),
        pytest.param(OTHER_DIRECTORY, "active", {}, Reason.ISSUER_MISMATCH, id="13-another-tenants-issuer"),
        pytest.param(
            OTHER_DIRECTORY,
            "active",
            {"assertion_issuer": f"https://sts.windows.net/{OTHER_DIRECTORY}/", "response_issuer": None},
            Reason.TENANT_MISMATCH,
            id="14-another-tenants-directory",
        ),
        pytest.param("aaaabbbb-0000-cccc-1111-dddd2222eeee", "active", {}, Reason.DESTINATION_MISMATCH, id="13-the-same-idp-another-app"),
        pytest.param(
            "aaaabbbb-0000-cccc-1111-dddd2222eeee",
            "active",
            {"destination": ACS.replace("contoso", "fabrikam")},
            Reason.RECIPIENT_MISMATCH,
            id="13-the-same-idp-another-app-destination-forged",
        ),
        pytest.param(
            "aaaabbbb-0000-cccc-1111-dddd2222eeee",
            "active",
            {"destination": ACS.replace("contoso", "fabrikam"), "recipient": ACS.replace("contoso", "fabrikam")},
            Reason.AUDIENCE_MISMATCH,
            id="13-the-same-idp-audience-of-another-app",
        ),
        pytest.param(
            "aaaabbbb-0000-cccc-1111-dddd2222eeee",
            "active",
            {
                "destination": ACS.replace("contoso", "fabrikam"),
                "recipient": ACS.replace("contoso", "fabrikam"),
                "audiences": ((f"{ORIGIN}/saml/fabrikam/metadata",),),
            },
            Reason.REQUEST_UNKNOWN,
            id="20-a-request-of-another-tenant",
        ),
    ],
)
def test_an_answer_for_one_tenant_is_nothing_to_another(
    tmp_path: Path, mount: Any, caplog: pytest.LogCaptureFixture, directory: str, key: str, changes: dict[str, Any], reason: Reason
) -> None:
    other = FakeEntra(directory, keys=(signing_key(key),))
    host = mount(settings=two_tenants(tmp_path, other))
    with nothing_happened(host, caplog, reason) as scene:
        scene.flow = posted_at(host, "fabrikam", **changes)


def without(name: str) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims_of(ADELE, "aaaabbbb-0000-cccc-1111-dddd2222eeee") if claim.name != name)


TENANT_IDS: dict[str, tuple[Claim, ...]] = {
    "14-absent": without(TENANT_ID),
    "14-other": (*without(TENANT_ID), Claim(TENANT_ID, (OTHER_DIRECTORY,))),
    "14-two-values": (*without(TENANT_ID), Claim(TENANT_ID, ("aaaabbbb-0000-cccc-1111-dddd2222eeee", OTHER_DIRECTORY))),
    "14-twice-the-same": (*without(TENANT_ID), Claim(TENANT_ID, ("aaaabbbb-0000-cccc-1111-dddd2222eeee",) * 2)),
    "14-no-value": (*without(TENANT_ID), Claim(TENANT_ID, ())),
    "14-blank": (*without(TENANT_ID), Claim(TENANT_ID, (" ",))),
    "14-longer": (*without(TENANT_ID), Claim(TENANT_ID, ("aaaabbbb-0000-cccc-1111-dddd2222eeee0",))),
    "14-without-hyphens": (*without(TENANT_ID), Claim(TENANT_ID, ("aaaabbbb0000cccc1111dddd2222eeee",))),
    "14-other-spelling-of-the-name": (*without(TENANT_ID), Claim(TENANT_ID.upper(), ("aaaabbbb-0000-cccc-1111-dddd2222eeee",))),
}


@pytest.mark.parametrize("claims", TENANT_IDS.values(), ids=TENANT_IDS)
def test_a_tenantid_claim_that_is_not_the_tenants_one_value_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, claims: tuple[Claim, ...]
) -> None:
    refused(host, caplog, Reason.TENANT_MISMATCH, claims=claims)


def test_14_a_tenantid_claim_in_two_attributes_is_refused(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    claims = (*claims_of(ADELE, "aaaabbbb-0000-cccc-1111-dddd2222eeee"), Claim(TENANT_ID, (OTHER_DIRECTORY,)))
    refused(host, caplog, Reason.ATTRIBUTE_DUPLICATE, claims=claims)


def test_14_a_tenant_whose_idp_has_no_directories_needs_no_tenantid() -> None:
    now = datetime.now(UTC)
    desk = Desk(changes={"preset": "generic", "entra_tenant_id": None})
    assert desk.reason(desk.respond(now=now, claims=without(TENANT_ID)), now=now) is None


# --- 15, 16: what must be signed --------------------------------------------------------------------------------------

SIGNED = {
    "assertion_or_response": {"assertion", "response", "both"},
    "assertion": {"assertion", "both"},
    "response": {"response", "both"},
    "both": {"both"},
}


@pytest.mark.parametrize("sign", ["none", "assertion", "response", "both"])
@pytest.mark.parametrize("require", SIGNED)
def test_15_the_part_that_the_tenant_requires_must_be_signed(
    mount: Any, caplog: pytest.LogCaptureFixture, require: str, sign: str
) -> None:
    host = mount(tenant={"require_signature": require})
    if sign in SIGNED[require]:
        accepted(host, sign=sign)
    else:
        refused(host, caplog, Reason.SIGNATURE_MISSING, sign=sign)


@pytest.mark.parametrize("inner", [True, False], ids=["15-assertion-signature-taken-out", "15-response-signature-taken-out"])
@pytest.mark.parametrize("require", ["assertion", "response", "both"])
def test_a_signature_taken_out_on_the_way_is_missed(
    mount: Any, caplog: pytest.LogCaptureFixture, require: str, inner: bool
) -> None:
    """Taking the inner one out breaks the outer one; where it was required itself, that is what is said."""
    host = mount(tenant={"require_signature": require})
    path = "//saml:Assertion/ds:Signature" if inner else "/samlp:Response/ds:Signature"
    if not inner and require == "assertion":
        accepted(host, sign="both", after_signing=drop(path))
        return
    needed = require == "both" or (require == "assertion") == inner
    refused(host, caplog, Reason.SIGNATURE_MISSING if needed else Reason.SIGNATURE_INVALID, sign="both", after_signing=drop(path))


@pytest.mark.parametrize("broken", ["//saml:Assertion/ds:Signature", "/samlp:Response/ds:Signature"], ids=["15-inner", "15-outer"])
@pytest.mark.parametrize("require", RequireSignature)
def test_a_signature_that_does_not_hold_is_refused_also_where_it_is_not_required(
    mount: Any, caplog: pytest.LogCaptureFixture, require: RequireSignature, broken: str
) -> None:
    def spoil(root: Any) -> None:
        found = root.xpath(f"{broken}/ds:SignatureValue", namespaces=NS)[0]
        value = bytearray(base64.b64decode(found.text))
        value[7] ^= 1
        found.text = base64.b64encode(value).decode()

    refused(mount(tenant={"require_signature": str(require)}), caplog, Reason.SIGNATURE_INVALID, sign="both", after_signing=spoil)


UNSIGNED: dict[str, tuple[dict[str, Any], Reason]] = {
    "16-status": ({"after_signing": attribute("//samlp:StatusCode", "Value", "urn:x:y")}, Reason.STATUS_NOT_SUCCESS),
    "16-destination": ({"after_signing": attribute(".", "Destination", "https://evil.example/")}, Reason.DESTINATION_MISMATCH),
    "16-in-response-to": ({"after_signing": attribute(".", "InResponseTo", "id00")}, Reason.IN_RESPONSE_TO_MISMATCH),
    "16-version": ({"after_signing": attribute(".", "Version", "1.1")}, Reason.VERSION_UNSUPPORTED),
    "16-issue-instant": ({"after_signing": attribute(".", "IssueInstant", "2999-01-01T00:00:00Z")}, Reason.NOT_YET_VALID),
    # right in the unsigned Response, wrong in the signed assertion: nothing can be put right from outside
    "16-recipient-not-rescued-by-destination": ({"recipient": "https://evil.example/"}, Reason.RECIPIENT_MISMATCH),
    "16-in-response-to-not-rescued": ({"confirmation_in_response_to": None}, Reason.IN_RESPONSE_TO_MISMATCH),
    "16-request-not-rescued": ({"confirmation_in_response_to": "id00"}, Reason.REQUEST_UNKNOWN),
    "16-issuer-not-rescued": ({"assertion_issuer": "https://evil.example/"}, Reason.ISSUER_MISMATCH),
}


@pytest.mark.parametrize(("changes", "reason"), UNSIGNED.values(), ids=UNSIGNED)
def test_what_is_not_signed_can_only_refuse(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


def test_16_claims_are_read_from_the_signed_bytes(host: Host) -> None:
    """White space and namespaces around the signed assertion may change on the way; what is read of it does not."""
    edits: list[Callable[[bytes], bytes]] = [
        swap("<samlp:Status>", "\r\n\t<samlp:Status>"),
        swap("<samlp:Response ", '<samlp:Response xmlns:unused="urn:x:y" '),
    ]

    def edit(xml: bytes) -> bytes:
        for change in edits:
            xml = change(xml)
        return xml

    accepted(host, edit=edit)
    assert host.users()[0]["first_name"] == "Adele"


# --- the library is in the path ---------------------------------------------------------------------------------------


def test_python3_saml_must_accept_also_what_our_signature_check_does_not_read(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """We never look at KeyInfo; the schema that python3-saml holds the message against wants base64 there."""
    refused(host, caplog, Reason.LIBRARY_REFUSED, edit=swap("<X509Certificate>", "<X509Certificate>A"))


def test_python3_saml_must_accept_what_our_checks_accepted() -> None:
    """It judges by the process's clock: an hour and a half later it must refuse what we, told that it is `now`, accept."""
    desk = Desk()
    now = datetime.now(UTC)
    xml = desk.respond(now=now)
    assert desk.reason(xml, now=now) is None
    with time_machine.travel(now + timedelta(minutes=90), tick=False):
        assert desk.reason(xml, now=now) == Reason.LIBRARY_REFUSED


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"entity_id": "https://other.example/metadata"}, id="audience"),
        pytest.param({"acs_url": "https://other.example/acs"}, id="acs"),
        pytest.param({"idp": Desk(keys=(signing_key("stranger"),)).tenant.idp}, id="key"),
    ],
)
def test_a_library_set_up_for_another_sp_refuses_what_our_checks_accept(other: dict[str, Any]) -> None:
    """The library is prepared once per tenant revision: here for a tenant that has the id and revision of this one."""
    now = datetime.now(UTC)
    desk = Desk()
    xml = desk.respond(now=now)
    with pytest.raises(AssertionRejected):
        desk.validator.validate(xml.replace(b">Adele<", b">Eve<"), tenant=replace(desk.tenant, **other), now=now)
    # our signature check uses the same keys, so where those are a stranger's it refuses first
    expected = Reason.SIGNATURE_INVALID if "idp" in other else Reason.LIBRARY_REFUSED
    assert desk.reason(xml, now=now) == expected


def test_the_answer_of_the_fake_is_refused_at_another_hosts_acs(mount: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Two apps with different SECRET_KEYs: a request of one is none of the other."""
    first, second = mount(), mount(configure=lambda app: app.config.update(SECRET_KEY="another key"))
    browser = second.browser()
    browser.get(LOGIN)
    request = first.entra.read_request(first.browser().get(LOGIN).url)
    post = first.entra.respond(request, ADELE, now=datetime.now(UTC))
    with nothing_happened(second, caplog, Reason.REQUEST_UNKNOWN) as scene:
        scene.flow = Flow(browser, post.xml, post_fields(browser, list(post.form.items())), post.form)
    assert answer(first).page.text == "user 1"
