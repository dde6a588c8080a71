"""The Entra-shaped samples, signed at test time: what Entra sends is accepted, with exactly its claims."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from lxml import etree

from samljit.errors import Reason
from samljit.model import RequireSignature
from samljit.testing import sign_templates
from samljit.testing.signing import add_signature, serialize, sign_element
from tests.trust.forge import DS, NS, SAML, Desk

SAMPLES = Path(__file__).parent.parent / "samples"
ISSUED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
NOW = ISSUED + timedelta(minutes=1)
GUEST_HOME = "bbbbcccc-1111-dddd-2222-eeee3333ffff"
DIRECTORY = "aaaabbbb-0000-cccc-1111-dddd2222eeee"


def observed(xml: str) -> str:
    return xml


def documented(xml: str) -> str:
    """0 to +70 minutes, and five for the confirmation."""
    return (
        xml.replace('NotBefore="2026-11-22T08:54:59.990Z"', 'NotBefore="2026-11-22T09:00:00.115Z"')
        .replace('NotOnOrAfter="2026-11-22T09:59:59.990Z" Recipient', 'NotOnOrAfter="2026-11-22T09:05:00.115Z" Recipient')
        .replace('NotOnOrAfter="2026-11-22T09:59:59.990Z"', 'NotOnOrAfter="2026-11-22T10:10:00.115Z"')
    )


TIMES = {"observed": observed, "documented": documented}


def signed_sample(name: str, desk: Desk, *, times: str = "observed", sign: str = "assertion") -> bytes:
    """The sample as an answer to a request of ours: request IDs authenticate themselves, so the one in the file is replaced."""
    xml = TIMES[times]((SAMPLES / f"entra-response-{name}.xml").read_text())
    assert times == "observed" or 'NotOnOrAfter="2026-11-22T10:10' in xml
    root = etree.fromstring(xml.encode())
    request_id = desk.request_id(ISSUED)
    for found in root.iter():
        if found.get("InResponseTo"):
            found.set("InResponseTo", request_id)
    assertion = root.find(f"{{{SAML}}}Assertion")
    if sign == "response":
        assertion.remove(assertion.find(f"{{{DS}}}Signature"))
    signed = etree.fromstring(sign_templates(serialize(root), desk.entra.key))
    if sign != "assertion":
        add_signature(signed, certificates=[desk.entra.key.certificate_der])
        sign_element(signed, desk.entra.key)
    return serialize(signed)


def claims_in(name: str) -> dict[str, tuple[str, ...]]:
    """Read from the file by another hand than the validator's."""
    root = etree.parse(SAMPLES / f"entra-response-{name}.xml")
    return {
        found.get("Name"): tuple(value.text for value in found.findall("saml:AttributeValue", NS))
        for found in root.iterfind(".//saml:Attribute", NS)
    }


@pytest.fixture(autouse=True)
def _frozen() -> object:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", ["member", "guest", "overage"])
def test_what_entra_sends_is_accepted_with_exactly_its_claims(name: str, times: str) -> None:
    desk = Desk()
    assertion = desk.validate(signed_sample(name, desk, times=times), now=NOW)
    assert dict(assertion.claims) == claims_in(name)


def test_the_samples_say_what_they_are_there_for() -> None:
    claims = "http://schemas.microsoft.com/identity/claims/"
    groups = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
    link = "http://schemas.microsoft.com/claims/groups.link"
    desk = Desk()
    member, guest, overage = (desk.validate(signed_sample(name, desk), now=NOW).claims for name in ("member", "guest", "overage"))
    assert (member[f"{claims}tenantid"], len(member[groups])) == ((DIRECTORY,), 2)
    assert (guest[f"{claims}acct"], guest[f"{claims}identityprovider"]) == (("1",), (f"https://sts.windows.net/{GUEST_HOME}/",))
    assert guest[f"{claims}tenantid"] == (DIRECTORY,)
    assert groups not in overage
    assert link in overage


@pytest.mark.parametrize("name", ["member", "overage"])
def test_the_rest_of_a_sample_is_read_as_it_stands(name: str) -> None:
    desk = Desk()
    assertion = desk.validate(signed_sample(name, desk), now=NOW)
    root = etree.parse(SAMPLES / f"entra-response-{name}.xml")
    name_id = root.find(".//saml:NameID", NS)
    assert (assertion.name_id.value, assertion.name_id.format) == (name_id.text, name_id.get("Format"))
    assert (assertion.id, assertion.session_index) == (root.find(".//saml:Assertion", NS).get("ID"),) * 2
    instant = root.find(".//saml:AuthnStatement", NS).get("AuthnInstant")
    assert assertion.authn_instant == datetime.fromisoformat(instant).replace(microsecond=0)


def test_20_the_sample_that_nobody_asked_for_is_unsolicited() -> None:
    desk = Desk()
    assert desk.reason(signed_sample("roles", desk), now=NOW) == Reason.UNSOLICITED


def test_25_the_sample_of_an_error_is_a_refusal_of_the_idp() -> None:
    desk = Desk()
    xml = serialize(etree.parse(SAMPLES / "entra-response-error.xml", etree.XMLParser(remove_blank_text=True)).getroot())
    assert desk.reason(xml, now=NOW) == Reason.STATUS_NOT_SUCCESS


SIGNED = {
    "assertion_or_response": {"assertion", "response", "both"},
    "assertion": {"assertion", "both"},
    "response": {"response", "both"},
    "both": {"both"},
}


@pytest.mark.parametrize("sign", ["assertion", "response", "both"])
@pytest.mark.parametrize("require", RequireSignature)
def test_15_each_signing_option_of_entra_meets_what_a_tenant_may_require(require: RequireSignature, sign: str) -> None:
    desk = Desk(require=require)
    expected = None if sign in SIGNED[require] else Reason.SIGNATURE_MISSING
    assert desk.reason(signed_sample("member", desk, sign=sign), now=NOW) == expected


@pytest.mark.parametrize("name", ["member", "guest", "overage"])
def test_a_sample_that_was_changed_by_one_letter_is_refused(name: str) -> None:
    desk = Desk()
    xml = signed_sample(name, desk)
    changed = xml.replace(b"</AttributeValue>", b"x</AttributeValue>", 1)
    assert changed != xml
    assert desk.reason(changed, now=NOW) == Reason.SIGNATURE_INVALID
