"""Signature wrapping: what is signed stays in the message, and something else is put where an application would look."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from lxml import etree

from samljit.errors import Reason
from samljit.testing import signing_key
from tests.host import ADELE, Host
from tests.trust.forge import NS, Edit, refused

EVIL = "Mallory"
Wrap = Callable[[Any], Any]


def evil_twin(signed: Any) -> Any:
    """A copy without its Signature, under another ID, that speaks of somebody else."""
    twin = deepcopy(signed)
    twin.tail = None
    for found in twin.findall(f"{{{NS['ds']}}}Signature"):
        twin.remove(found)
    twin.set("ID", "_evil")
    for value in twin.iter(f"{{{NS['saml']}}}AttributeValue", f"{{{NS['saml']}}}NameID"):
        value.text = value.text.replace("Adele", EVIL).replace("adele", "mallory").replace("000000000001", "00000000000f")
    return twin


def signature_of(element: Any) -> Any:
    return element.find(f"{{{NS['ds']}}}Signature")


def assertion_of(root: Any) -> Any:
    return root.find(f"{{{NS['saml']}}}Assertion")


def detached(element: Any) -> Any:
    element.getparent().remove(element)
    return element


def xsw1(root: Any) -> Any:
    """The evil Response carries the Signature, and the genuine Response inside it."""
    evil, signature = evil_twin(root), detached(signature_of(root))
    evil.insert(1, signature)
    signature.append(root)
    return evil


def xsw2(root: Any) -> Any:
    """The genuine Response before the Signature, in the evil Response."""
    evil, signature = evil_twin(root), detached(signature_of(root))
    evil.insert(1, root)
    evil.insert(2, signature)
    return evil


def xsw3(root: Any) -> Any:
    """The evil assertion before the genuine one."""
    genuine = assertion_of(root)
    genuine.addprevious(evil_twin(genuine))
    return root


def xsw4(root: Any) -> Any:
    """The genuine assertion inside the evil one."""
    genuine = assertion_of(root)
    evil = evil_twin(genuine)
    root.replace(genuine, evil)
    evil.append(genuine)
    return root


def xsw5(root: Any) -> Any:
    """The evil assertion carries the Signature; the genuine one follows."""
    genuine = assertion_of(root)
    evil = evil_twin(genuine)
    evil.insert(1, detached(signature_of(genuine)))
    genuine.addprevious(evil)
    return root


def xsw6(root: Any) -> Any:
    """The genuine assertion inside the Signature of the evil one."""
    genuine = assertion_of(root)
    evil, signature = evil_twin(genuine), detached(signature_of(genuine))
    root.replace(genuine, evil)
    evil.insert(1, signature)
    signature.append(genuine)
    return root


def xsw7(root: Any) -> Any:
    """The evil assertion in Extensions, which any content may stand in."""
    extensions = etree.Element(f"{{{NS['samlp']}}}Extensions")
    extensions.append(evil_twin(assertion_of(root)))
    root.insert(1, extensions)
    return root


def xsw8(root: Any) -> Any:
    """The genuine assertion in an Object of the evil one's Signature."""
    root = xsw6(root)
    signature = signature_of(assertion_of(root))
    holder = etree.SubElement(signature, f"{{{NS['ds']}}}Object")
    holder.append(signature.find(f"{{{NS['saml']}}}Assertion"))
    return root


def same_id(wrap: Wrap) -> Wrap:
    def wrapped(root: Any) -> Any:
        genuine = (root if signature_of(root) is not None else assertion_of(root)).get("ID")
        made = wrap(root)
        for element in made.iter():
            if element.get("ID") == "_evil":
                element.set("ID", genuine)
        return made

    return wrapped


def in_advice(root: Any) -> Any:
    genuine = assertion_of(root)
    evil = evil_twin(genuine)
    evil.insert(1, detached(signature_of(genuine)))
    advice = etree.Element(f"{{{NS['saml']}}}Advice")
    root.replace(genuine, evil)
    evil.insert(4, advice)
    advice.append(genuine)
    return root


def in_the_subject(root: Any) -> Any:
    genuine = assertion_of(root)
    evil = evil_twin(genuine)
    evil.insert(1, detached(signature_of(genuine)))
    root.replace(genuine, evil)
    evil.find(".//saml:SubjectConfirmationData", NS).append(genuine)
    return root


def in_status_detail(root: Any) -> Any:
    genuine = assertion_of(root)
    root.replace(genuine, evil_twin(genuine))
    detail = etree.SubElement(root.find("samlp:Status", NS), f"{{{NS['samlp']}}}StatusDetail")
    detail.append(genuine)
    return root


def moved_signature_up(root: Any) -> Any:
    """The assertion's Signature in the place of the Response's, the assertion changed."""
    genuine = assertion_of(root)
    signature = detached(signature_of(genuine))
    root.replace(genuine, evil_twin(genuine))
    root.insert(1, signature)
    return root


def signature_taken_along(root: Any) -> Any:
    """The evil assertion with the genuine Signature and nothing else."""
    genuine = assertion_of(root)
    evil = evil_twin(genuine)
    evil.insert(1, detached(signature_of(genuine)))
    root.replace(genuine, evil)
    return root


def edited(wrap: Wrap) -> Edit:
    def edit(xml: bytes) -> bytes:
        made: bytes = etree.tostring(wrap(etree.fromstring(xml)))
        assert EVIL.encode() in made
        return made

    return edit


SHAPE, SIGNATURE = Reason.SHAPE_UNEXPECTED, Reason.SIGNATURE_SHAPE
ATTACKS: list[tuple[str, Wrap, str, Reason]] = [
    ("xsw1", xsw1, "response", SIGNATURE),
    ("xsw2", xsw2, "response", SHAPE),
    ("xsw3", xsw3, "assertion", SHAPE),
    ("xsw3", xsw3, "response", SHAPE),
    ("xsw4", xsw4, "assertion", SHAPE),
    ("xsw4", xsw4, "response", SHAPE),
    ("xsw5", xsw5, "assertion", SHAPE),
    ("xsw6", xsw6, "assertion", SIGNATURE),
    ("xsw7", xsw7, "assertion", SHAPE),
    ("xsw7", xsw7, "response", SHAPE),
    ("xsw8", xsw8, "assertion", SIGNATURE),
    ("same-id-xsw1", same_id(xsw1), "response", SIGNATURE),
    ("same-id-xsw2", same_id(xsw2), "response", SHAPE),
    ("same-id-xsw3", same_id(xsw3), "assertion", SHAPE),
    ("same-id-xsw4", same_id(xsw4), "assertion", SHAPE),
    ("same-id-xsw5", same_id(xsw5), "assertion", SHAPE),
    ("same-id-xsw6", same_id(xsw6), "assertion", SIGNATURE),
    ("same-id-xsw8", same_id(xsw8), "assertion", SIGNATURE),
    ("advice", in_advice, "assertion", SHAPE),
    ("subject", in_the_subject, "assertion", SHAPE),
    ("status-detail", in_status_detail, "assertion", SHAPE),
    ("signature-moved-up", moved_signature_up, "assertion", SIGNATURE),
    ("signature-taken-along", signature_taken_along, "assertion", SIGNATURE),
    ("signature-taken-along-same-id", same_id(signature_taken_along), "assertion", Reason.SIGNATURE_INVALID),
]


@pytest.mark.parametrize(
    ("wrap", "sign", "reason"), [row[1:] for row in ATTACKS], ids=[f"4-{name}-{sign}-signed" for name, _, sign, _ in ATTACKS]
)
def test_a_wrapped_message_is_refused(host: Host, caplog: pytest.LogCaptureFixture, wrap: Wrap, sign: str, reason: Reason) -> None:
    refused(host, caplog, reason, sign=sign, edit=edited(wrap))


# --- keys that are not the tenant's -----------------------------------------------------------------------------------


def hmac_with(secret: Callable[[Host], bytes]) -> Callable[[Host], Edit]:
    """HMAC confusion: the public certificate taken for a shared secret."""

    def make(host: Host) -> Edit:
        def edit(xml: bytes) -> bytes:
            root = etree.fromstring(xml)
            signature = signature_of(assertion_of(root))
            info = signature[0]
            info[1].set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
            signed = etree.tostring(info, method="c14n", exclusive=True)
            signature[1].text = base64.b64encode(hmac.digest(secret(host), signed, "sha256")).decode()
            return bytes(etree.tostring(root))

        return edit

    return make


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(lambda host: host.entra.key.certificate_der, id="6-hmac-keyed-with-the-certificate"),
        pytest.param(lambda host: host.entra.key.certificate_pem, id="6-hmac-keyed-with-the-pem"),
        pytest.param(lambda host: b"", id="6-hmac-keyed-with-nothing"),
    ],
)
def test_an_hmac_is_no_signature(host: Host, caplog: pytest.LogCaptureFixture, secret: Callable[[Host], bytes]) -> None:
    refused(host, caplog, Reason.ALGORITHM_NOT_ALLOWED, edit=hmac_with(secret)(host))


def keyed_by_value(xml: bytes) -> bytes:
    """The stranger's public key in the message itself."""
    numbers = signing_key("stranger").private_key.public_key().public_numbers()
    modulus = base64.b64encode(numbers.n.to_bytes(256, "big")).decode()
    root = etree.fromstring(xml)
    key_info = signature_of(assertion_of(root))[2]
    for child in list(key_info):
        key_info.remove(child)
    value = etree.SubElement(etree.SubElement(key_info, f"{{{NS['ds']}}}KeyValue"), f"{{{NS['ds']}}}RSAKeyValue")
    etree.SubElement(value, f"{{{NS['ds']}}}Modulus").text = modulus
    etree.SubElement(value, f"{{{NS['ds']}}}Exponent").text = "AQAB"
    return bytes(etree.tostring(root))


def test_7_a_key_that_the_message_brings_along_is_not_used(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    refused(host, caplog, Reason.SIGNATURE_SHAPE, key=signing_key("stranger"), edit=keyed_by_value)


def test_12_a_certificate_of_the_same_name_and_number_is_not_the_same_key(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    stranger = signing_key("stranger")
    assert stranger.certificate.subject == host.entra.key.certificate.subject
    refused(host, caplog, Reason.SIGNATURE_INVALID, key=stranger, person=ADELE)
