"""Mutants of what other IdPs write: what a preset lets through besides opens no way to anything that was not signed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from lxml import etree

from samljit.errors import AssertionRejected
from tests.trust.forge import DS, Desk
from tests.trust.test_mutants import BYTE_MUTATIONS, MUTANTS, TREE_MUTATIONS
from tests.trust.test_presets import PRODUCTS, desk


@cache
def genuine(name: str) -> tuple[Desk, datetime, bytes]:
    """The validator for one product, the time, and a genuine response of it."""
    at, write = desk(*PRODUCTS[name])
    now = datetime.now(UTC)
    return at, now, write(now)


def numbered(root: etree._Element, random: Random) -> None:
    """Some number on some part of a Signature: the one thing that a preset lets stand where no digest covers it."""
    parts = [found for found in root.iter() if str(found.tag).startswith(f"{{{DS}}}")]
    ids = [value for found in root.iter() for name, value in found.items() if name.casefold() == "id"]
    if parts:
        random.choice(parts).set(random.choice(("Id", "ID", "id")), random.choice([*ids, "Signature1", "_x"]))


@pytest.mark.parametrize("name", PRODUCTS)
@settings(max_examples=MUTANTS // 4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=MUTANTS <= 600, database=None)
@given(seed=st.integers(0, 2**48))
def test_what_is_accepted_says_what_was_signed_by_every_product(name: str, seed: int) -> None:
    random = Random(seed)
    at, now, xml = genuine(name)
    for _ in range(random.choice((1, 1, 2, 3))):
        if random.random() < 0.4:
            xml = random.choice(BYTE_MUTATIONS)(xml, random) or b"<"
            continue
        try:
            root = etree.fromstring(xml)
            random.choice((*TREE_MUTATIONS, numbered, numbered))(root, random)
            xml = etree.tostring(root)
        except (ValueError, TypeError, etree.XMLSyntaxError):  # lxml does not do everything that is asked of it
            continue
    product = PRODUCTS[name][1]
    try:
        read = at.validate(xml, now=now)
    except AssertionRejected as rejected:
        event(rejected.reason.value)
        return
    event("accepted")
    assert (dict(read.claims), read.name_id.value, read.issuer) == (product.claims, product.name_id, product.entity_id)
