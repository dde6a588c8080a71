"""Mutants of genuine responses: nothing but AssertionRejected ever comes out, and what is accepted says exactly what was signed.

SAMLJIT_MUTANTS=20000 runs that many; the normal run some hundreds.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from itertools import cycle
from random import Random
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from lxml import etree

from samljit.errors import AssertionRejected
from samljit.saml.gate import MAX_XML, decode_response
from samljit.testing import Claim, Encryption, claims_of, signing_key
from samljit.testing.encryption import XENC, XENC11
from tests.host import ADELE
from tests.trust.forge import DS, SAML, SAMLP, Desk, cut_out, sealed

MUTANTS = int(os.environ.get("SAMLJIT_MUTANTS", "600"))
KINDS: list[dict[str, Any]] = [
    {"sign": "assertion"},
    {"sign": "response"},
    {"sign": "both"},
    {"sign": "both", "style": "prefixed", "inclusive_prefixes": ("saml", "samlp")},
]
CIPHERS: list[dict[str, Any]] = [{}, {"data_algorithm": f"{XENC11}aes256-gcm"}, {"digest": f"{XENC}sha256"}]
BITS = (
    b"<!---->", b"<?x?>", b"<![CDATA[x]]>", b"<!DOCTYPE a>", b"&amp;", b"&#x41;", b"&e;", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b"\r\n",
    b"<x/>", b'ID="_x" ', b'xmlns="urn:x:y" ', b'xmlns:saml="urn:x:y" ', b"xml:base='/' ", b"0", b"A", b">", b"<", b'"', b"'", b"=",
)  # fmt: skip


@cache
def genuine() -> tuple[Desk, datetime, tuple[bytes, ...]]:
    """The validator, the time, and one response of each kind, plain ones first; all say the same about the same person."""
    desk, now = Desk(own_keys=(signing_key("our own"),)), datetime.now(UTC)
    claims = (*claims_of(ADELE, desk.entra.tenant_id), Claim("odd", ("a & b", "<c>", " d\t\r\n", "é\u202e")))
    ciphers = [Encryption(desk.own_keys[0].certificate_der, **how) for how in CIPHERS]
    encrypted = [{**kind, "encryption": cipher} for kind, cipher in zip(KINDS, cycle(ciphers), strict=False)]
    return desk, now, tuple(desk.respond(now=now, claims=claims, **kind) for kind in (*KINDS, *encrypted))


@cache
def signed_facts() -> tuple[dict[str, tuple[str, ...]], str]:
    desk, now, messages = genuine()
    found = {(tuple(sorted(read.claims.items())), read.name_id.value) for read in (desk.validate(xml, now=now) for xml in messages)}
    [(claims, name_id)] = found
    return dict(claims), name_id


def judge(xml: bytes) -> None:
    """Accepted with exactly what was signed, or AssertionRejected; every other exception fails the test."""
    desk, now, _ = genuine()
    try:
        read = desk.validate(xml, now=now)
    except AssertionRejected as rejected:
        event(rejected.reason.value)
        return
    event("accepted")
    assert (dict(read.claims), read.name_id.value) == signed_facts()
    assert read.issuer == desk.entra.entity_id


# --- bytes ------------------------------------------------------------------------------------------------------------


def flipped(xml: bytes, random: Random) -> bytes:
    at = random.randrange(len(xml))
    return xml[:at] + bytes([xml[at] ^ (1 << random.randrange(8))]) + xml[at + 1 :]


def cut(xml: bytes, random: Random) -> bytes:
    at = random.randrange(len(xml))
    return xml[:at] + xml[at + random.choice((1, 2, 8, 64, 512)) :]


def repeated(xml: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(xml)), random.choice((1, 16, 256, 4096))
    return xml[:at] + xml[at : at + length] * 2 + xml[at + length :]


def swapped(xml: bytes, random: Random) -> bytes:
    """Two pieces between angle brackets change places."""
    pieces = xml.split(b"<")
    first, second = random.randrange(1, len(pieces)), random.randrange(1, len(pieces))
    pieces[first], pieces[second] = pieces[second], pieces[first]
    return b"<".join(pieces)


def inserted(xml: bytes, random: Random) -> bytes:
    at = random.randrange(len(xml) + 1)
    return xml[:at] + random.choice(BITS) + xml[at:]


def spaced(xml: bytes, random: Random) -> bytes:
    """White space before some tag: harmless outside the signature, a change inside."""
    tags = [at for at in range(len(xml)) if xml[at : at + 1] == b"<"]
    at = random.choice(tags)
    return xml[:at] + b"\n  " + xml[at:]


def crossed(xml: bytes, random: Random) -> bytes:
    """The head of one genuine message and the tail of another."""
    other = random.choice(genuine()[2])
    at = random.randrange(len(xml))
    return xml[:at] + other[at:]


BYTE_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (flipped, cut, repeated, swapped, inserted, spaced, crossed)


@settings(max_examples=MUTANTS // 2, deadline=None, suppress_health_check=list(HealthCheck), derandomize=MUTANTS <= 600, database=None)
@given(seed=st.integers(0, 2**48))
def test_bytes_changed_at_random_are_refused_or_change_nothing(seed: int) -> None:
    random = Random(seed)
    xml = random.choice(genuine()[2])
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        xml = random.choice(BYTE_MUTATIONS)(xml, random) or b"<"
    judge(xml)


# --- trees ------------------------------------------------------------------------------------------------------------


def any_element(root: Any, random: Random) -> Any:
    return random.choice([found for found in root.iter() if isinstance(found.tag, str)])


def removed(root: Any, random: Random) -> None:
    found = any_element(root, random)
    if found is not root:
        found.getparent().remove(found)


def doubled(root: Any, random: Random) -> None:
    found = any_element(root, random)
    if found is not root:
        twin = deepcopy(found)
        if random.random() < 0.5 and twin.get("ID"):
            twin.set("ID", "_twin")
        found.addprevious(twin)


def moved(root: Any, random: Random) -> None:
    found, target = any_element(root, random), any_element(root, random)
    if found is not root and found not in target.iterancestors() and found is not target:
        target.insert(random.randrange(len(target) + 1), found)


def wrapped(root: Any, random: Random) -> None:
    found = any_element(root, random)
    if found is not root:
        holder = etree.Element(random.choice((f"{{{SAMLP}}}Extensions", f"{{{DS}}}Object", f"{{{SAML}}}Advice", found.tag)))
        found.getparent().replace(found, holder)
        holder.append(found)


def renamed(root: Any, random: Random) -> None:
    any_element(root, random).tag = any_element(root, random).tag


def retold(root: Any, random: Random) -> None:
    any_element(root, random).text = any_element(root, random).text or random.choice(("", "x", " "))


def attribute_changed(root: Any, random: Random) -> None:
    found, other = any_element(root, random), any_element(root, random)
    name = random.choice([*other.attrib, "ID", "Id", "{urn:x:y}id", "Algorithm", "URI"])
    found.set(name, random.choice([*other.attrib.values(), "", "#", "http://127.0.0.1:1/", "file:///etc/hostname"]))


def attribute_removed(root: Any, random: Random) -> None:
    found = any_element(root, random)
    if found.attrib:
        found.attrib.pop(random.choice(list(found.attrib)))


def annotated(root: Any, random: Random) -> None:
    any_element(root, random).append(random.choice((etree.Comment("x"), etree.ProcessingInstruction("x", "y"), etree.Element("x"))))


def claims_forged(root: Any, random: Random) -> None:
    """Another person's words, in a copy that stands where it might be read."""
    assertion = root.find(f".//{{{SAML}}}Assertion")
    if assertion is None or assertion.getparent() is None:
        return
    twin = deepcopy(assertion)
    for value in twin.iter(f"{{{SAML}}}AttributeValue", f"{{{SAML}}}NameID"):
        value.text = "mallory"
    any_element(root, random).addnext(twin) if random.random() < 0.5 and len(root) else root.append(twin)


TREE_MUTATIONS = (
    removed, doubled, moved, wrapped, renamed, retold, attribute_changed, attribute_removed, annotated, claims_forged
)  # fmt: skip


@settings(max_examples=MUTANTS // 2, deadline=None, suppress_health_check=list(HealthCheck), derandomize=MUTANTS <= 600, database=None)
@given(seed=st.integers(0, 2**48))
def test_trees_changed_at_random_are_refused_or_change_nothing(seed: int) -> None:
    random = Random(seed)
    root = etree.fromstring(random.choice(genuine()[2]))
    for _ in range(random.choice((1, 1, 2, 3))):
        try:
            random.choice(TREE_MUTATIONS)(root, random)
        except (ValueError, TypeError):  # lxml does not do everything that is asked of it
            continue
    judge(etree.tostring(root))


# --- what was encrypted -----------------------------------------------------------------------------------------------


@settings(max_examples=MUTANTS // 2, deadline=None, suppress_health_check=list(HealthCheck), derandomize=MUTANTS <= 600, database=None)
@given(seed=st.integers(0, 2**48))
def test_a_mutant_gets_in_encrypted_where_it_gets_in_plain_and_nowhere_else(seed: int) -> None:
    """Anybody can encrypt to our key: bytes and trees are changed before that is done."""
    random = Random(seed)
    desk, now, messages = genuine()
    before, assertion, after = cut_out(messages[0])
    for _ in range(random.choice((1, 1, 2, 3))):
        if random.random() < 0.6:
            assertion = random.choice(BYTE_MUTATIONS)(assertion, random) or b"<"
            continue
        try:
            root = etree.fromstring(assertion)
            random.choice(TREE_MUTATIONS)(root, random)
            assertion = etree.tostring(root, with_tail=False)
        except (ValueError, TypeError, etree.XMLSyntaxError):
            continue
    encrypted = before + sealed(assertion, desk.own_keys[0]) + after
    judge(encrypted)
    assert (desk.reason(encrypted, now=now) is None) == (desk.reason(before + assertion + after, now=now) is None)


# --- the form field ---------------------------------------------------------------------------------------------------


@settings(max_examples=max(100, MUTANTS // 10), deadline=None, derandomize=MUTANTS <= 600, database=None)
@given(text=st.one_of(st.text(), st.text("ABCDabcd+/=-_ \r\n\t\f\u00a0%"), st.binary().map(lambda raw: base64.b64encode(raw).decode())))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        decoded = decode_response(text)
    except AssertionRejected:
        return
    assert len(decoded) <= MAX_XML
    assert base64.b64decode("".join(text.split())) == decoded


@settings(max_examples=max(100, MUTANTS // 10), deadline=None, derandomize=MUTANTS <= 600, database=None)
@given(xml=st.binary(max_size=200))
def test_any_bytes_are_refused(xml: bytes) -> None:
    desk, now, _ = genuine()
    assert desk.reason(xml, now=now) is not None
