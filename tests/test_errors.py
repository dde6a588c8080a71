"""The error catalogue: one row for every reason, and nothing in it that tells a stranger too much."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from samljit import ConfigError, Reason, SamlJitError
from samljit.errors import CATALOGUE, AssertionRejected, Card, Fixer, Problem, catalogue_markdown

BEFORE_A_SIGNATURE = list(Reason)[: list(Reason).index(Reason.ISSUER_MISMATCH)]


def test_every_reason_has_a_row_and_no_row_lacks_a_reason() -> None:
    assert list(CATALOGUE) == list(Reason)


def test_the_values_are_stable_names() -> None:
    assert all(reason.value == reason.name.lower() for reason in Reason)
    assert max(len(reason.value) for reason in Reason) <= 64  # the column


def test_no_reason_makes_a_500() -> None:
    statuses = {row.status for row in CATALOGUE.values()}
    assert statuses == {400, 401, 403, 404, 409, 413, 429, 503}
    assert [reason for reason, row in CATALOGUE.items() if row.status >= 500] == [Reason.DATABASE_UNAVAILABLE]


def test_all_reasons_before_a_verified_signature_are_anonymous_and_read_alike_for_each_status() -> None:
    texts = defaultdict(set)
    for reason in BEFORE_A_SIGNATURE:
        assert CATALOGUE[reason].anonymous, reason
        texts[CATALOGUE[reason].status].add(CATALOGUE[reason].person)
    assert {status: len(said) for status, said in texts.items()} == {400: 1, 403: 1, 413: 1, 429: 1}


def test_no_reason_after_it_is_anonymous() -> None:
    assert {reason for reason, row in CATALOGUE.items() if row.anonymous} == set(BEFORE_A_SIGNATURE)


@pytest.mark.parametrize("reason", Reason)
def test_what_the_person_reads_is_plain_and_what_the_admin_reads_is_there(reason: Reason) -> None:
    row = CATALOGUE[reason]
    assert [text[-1] in ".?!" for text in (row.person.title, row.person.text, row.person.next_step)] == [False, True, True]
    assert row.admin.endswith(".")
    assert not any(word in row.person.title + str(row.person) for word in ("SAML", "assertion", "Entra", "claim", "XML", "{", "<"))
    assert row.fixer in Fixer


@pytest.mark.parametrize("reason", Reason)
def test_an_error_shows_the_catalogues_sentence_and_keeps_its_detail_to_itself(reason: Reason) -> None:
    error = SamlJitError(reason, "a detail")
    assert (str(error), error.detail) == (str(CATALOGUE[reason].person), "a detail")
    assert reason.value in repr(error)


def test_a_rejection_is_unverified_unless_said_otherwise() -> None:
    assert (AssertionRejected(Reason.EXPIRED).verified, AssertionRejected(Reason.EXPIRED, verified=True).verified) == (False, True)


def test_a_configuration_error_lists_every_problem() -> None:
    problems = [Problem("$.a", "missing", "No a.", "Write a."), Problem("$.b", "invalid", "Bad b.")]
    error = ConfigError(problems)
    assert error.problems == tuple(problems)
    assert str(error).splitlines()[1:] == ["  - $.a: No a. Write a.", "  - $.b: Bad b."]


def test_the_catalogue_as_a_table_has_a_row_each() -> None:
    lines = catalogue_markdown().splitlines()
    assert len(lines) == len(Reason) + 2
    assert all(line.count("|") == 7 for line in lines)


@pytest.mark.parametrize("reason", Reason)
def test_a_row_that_names_a_card_of_entras_is_the_tenant_admins_to_fix_and_in_that_card(reason: Reason) -> None:
    row = CATALOGUE[reason]
    named = [card for card in Card if f"In Entra: {card}" in row.admin]
    assert named in ([], [row.card])
    assert row.card is None or row.fixer is Fixer.TENANT_ADMIN


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_looked_for_in_some_test(reason: Reason) -> None:
    tests = Path(__file__).parent
    texts = [file.read_text() for file in tests.rglob("*.py") if file.name != Path(__file__).name]
    wanted = (f'"{reason.value}"', f"Reason.{reason.name}")
    assert any(word in text for text in texts for word in wanted)
