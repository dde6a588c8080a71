"""The fence around provisioning (30 to 38): a genuine assertion reaches its own person's row and no other."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, event, text
from sqlalchemy.orm import mapped_column

from samljit.errors import ConfigError, Reason
from samljit.testing import Claim, FakeEntra, claims_of
from samljit.testing.people import DISPLAY_NAME, EMAIL_ADDRESS, GIVEN_NAME, OBJECT_ID
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_user_model, settings_for
from tests.trust.forge import Flow, answer, nothing_happened, post_fields, refused

DIRECTORY = "aaaabbbb-0000-cccc-1111-dddd2222eeee"


def run(host: Host, statement: str, **values: Any) -> None:
    with host.engine.begin() as connection:
        connection.execute(text(statement), values)


def changed(name: str, *values: str) -> tuple[Claim, ...]:
    """Adele's claims with this one's values changed, or without it."""
    return tuple(
        Claim(claim.name, values) if claim.name == name else claim
        for claim in claims_of(ADELE, DIRECTORY)
        if claim.name != name or values
    )


# --- 30: identity -----------------------------------------------------------------------------------------------------

SUBJECTS: dict[str, tuple[Claim, ...]] = {
    "30-absent": changed(OBJECT_ID),
    "30-empty": changed(OBJECT_ID, ""),
    "30-blank": changed(OBJECT_ID, " \t"),
    "30-two": changed(OBJECT_ID, ADELE.object_id, BIANCA.object_id),
    "30-twice-the-same": changed(OBJECT_ID, ADELE.object_id, ADELE.object_id),
    "30-no-guid": changed(OBJECT_ID, "adele"),
    "30-guid-in-braces": changed(OBJECT_ID, f"{{{ADELE.object_id}}}"),
    "30-guid-without-hyphens": changed(OBJECT_ID, ADELE.object_id.replace("-", "")),
    "30-longer": changed(OBJECT_ID, f"{ADELE.object_id}0"),
    "30-full-width-digits": changed(OBJECT_ID, ADELE.object_id.replace("1", "\uff11")),
    "30-line-break-inside": changed(OBJECT_ID, ADELE.object_id.replace("-", "-\n", 1)),
}


@pytest.mark.parametrize("claims", SUBJECTS.values(), ids=SUBJECTS)
def test_a_subject_that_is_not_one_guid_is_refused(host: Host, caplog: pytest.LogCaptureFixture, claims: tuple[Claim, ...]) -> None:
    answer(host, person=BIANCA)
    refused(host, caplog, Reason.SUBJECT_MISSING, claims=claims)


def test_30_a_guid_is_one_subject_however_it_is_written(host: Host) -> None:
    answer(host)
    answer(host, claims=changed(OBJECT_ID, ADELE.object_id.upper()))
    assert (len(host.users()), host.count("samljit_identity")) == (1, 1)


@pytest.mark.parametrize("delete", ["orm", "bulk", "sql"])
def test_30_a_deleted_users_id_never_signs_in_the_next_person(mount: Mount, delete: str) -> None:
    host = mount()
    assert answer(host).page.text == "user 1"
    if delete == "orm":
        host.session.delete(host.session.get(host.user_model, 1))
        host.session.commit()
    elif delete == "bulk":
        host.session.query(host.user_model).delete()
        host.session.commit()
    else:
        run(host, "DELETE FROM users")
    run(host, "INSERT INTO users (id, email, is_admin, active) VALUES (1, 'next@contoso.example', 1, 1)")
    assert answer(host).page.text == "user 2"
    assert {user["id"]: user["email"] for user in host.users()} == {1: "next@contoso.example", 2: "adele.vance@contoso.example"}


def test_30_a_person_renamed_stays_the_same_user(host: Host) -> None:
    answer(host)
    renamed = replace(ADELE, email="adele.smith@contoso.example", upn="adele.smith@contoso.example", surname="Smith")
    assert answer(host, person=renamed).page.text == "user 1"
    [user] = host.users()
    assert (user["email"], user["last_name"]) == ("adele.smith@contoso.example", "Smith")


# --- 31: no linking ---------------------------------------------------------------------------------------------------

VICTIM = "victim@contoso.example"
LOOKALIKES = {
    "31-equal": VICTIM,
    "31-upper-case": VICTIM.upper(),
    "31-padded": f" {VICTIM} ",
    "31-full-width": VICTIM.translate({ord(c): chr(ord(c) + 0xFEE0) for c in "victm"}),
    "31-homoglyph": VICTIM.replace("i", "\u0456"),
    "31-dotless": VICTIM.replace("i", "\u0131"),
    "31-decomposed": unicodedata.normalize("NFD", VICTIM.replace("i", "\u00ed")),
    "31-zero-width": VICTIM.replace("@", "\u200b@"),
    "31-soft-hyphen": VICTIM.replace("v", "v\u00ad"),
    "31-trailing-dot": f"{VICTIM}.",
}


@pytest.mark.parametrize("mail", LOOKALIKES.values(), ids=LOOKALIKES)
@pytest.mark.parametrize("where", ["mail", "upn", "name-id"])
def test_another_ones_address_never_reaches_that_one(host: Host, mail: str, where: str) -> None:
    run(host, "INSERT INTO users (email, is_admin, active) VALUES (:mail, 1, 1)", mail=VICTIM)
    before = host.users()
    changes: dict[str, Any] = {
        "mail": {"person": replace(ADELE, email=mail)},
        "upn": {"person": replace(ADELE, email=None, upn=mail)},
        "name-id": {"name_id": mail},
    }[where]
    page = answer(host, **changes).page
    assert page.text != "user 1"
    assert host.users()[:1] == before
    assert {row.user_id for row in host.rows("samljit_identity")} <= {2}


@pytest.mark.parametrize("mail", [VICTIM, VICTIM.upper()], ids=["31-equal", "31-upper-case"])
def test_where_addresses_are_unique_another_ones_is_refused(mount: Mount, caplog: pytest.LogCaptureFixture, mail: str) -> None:
    model = make_user_model(email=mapped_column(String(200), nullable=False, unique=True))
    host = mount(user_model=model)
    run(host, "INSERT INTO users (email, is_admin, active) VALUES (:mail, 1, 1)", mail=VICTIM)
    refused(host, caplog, Reason.VALUE_CONFLICT, person=replace(ADELE, email=mail))


# --- 32: what may be written ------------------------------------------------------------------------------------------

TARGETS = ["id", "active", "is_admin", "password_hash", "no_such_column", "samljit_identity", "metadata", "__class__"]


@pytest.mark.parametrize("target", TARGETS, ids=[f"32-{target}" for target in TARGETS])
def test_a_target_that_claims_must_not_fill_is_refused_at_load(mount: Mount, tmp_path: Path, target: str) -> None:
    model = make_user_model(password_hash=mapped_column(String(200)))
    settings = settings_for(tmp_path, FakeEntra(), tenant={"mapping": {"fields": {**FIELDS, target: "givenname"}}})
    settings["guards"] = {"protected_fields": ["is_admin"]}
    with pytest.raises(ConfigError) as caught:
        mount(user_model=model, settings=settings)
    assert [problem.code for problem in caught.value.problems] in (["protected_target"], ["unknown_target"])


def test_32_claims_named_like_columns_write_nothing(host: Host) -> None:
    names = ("is_admin", "active", "id", "password", "role", "email", "departments")
    claims = (*claims_of(ADELE, DIRECTORY), *(Claim(name, ("true",)) for name in names))
    answer(host, claims=claims)
    [user] = host.users()
    expected = {"is_admin": False, "active": True, "id": 1, "email": "adele.vance@contoso.example", "departments": None}
    assert {name: user[name] for name in expected} == expected


# --- 33: values are data ----------------------------------------------------------------------------------------------

VALUES = {
    "33-markup": "<script>alert(1)</script>",
    "33-sql": "'; DROP TABLE users; --",
    "33-template": "{{ config }}{% raw %}",
    "33-format": "{0.__class__} %s %(x)s",
    "33-header": "x\r\nSet-Cookie: a=b",
    "33-path": "../../etc/passwd",
    "33-long": "x" * 90,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_markup_and_syntax_come_out_as_text(host: Host, value: str) -> None:
    page = answer(host, person=replace(ADELE, given_name=value)).page
    assert page.text == "user 1"
    assert host.users()[0]["first_name"].replace(" ", "") == "".join(value.split())


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\u2066", "\ufeff", "\u200f"], ids=["rlo", "zwsp", "lri", "bom", "rlm"])
def test_33_characters_that_nobody_sees_are_taken_out(host: Host, hidden: str) -> None:
    answer(host, person=replace(ADELE, given_name=f"Ad{hidden}ele"))
    assert host.users()[0]["first_name"] == "Adele"


def test_33_a_value_longer_than_its_column_is_refused_before_the_database(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    refused(host, caplog, Reason.VALUE_INVALID, person=replace(ADELE, given_name="y" * 101))


# --- 36 to 38 ---------------------------------------------------------------------------------------------------------


def test_36_an_inactive_user_stays_so(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    answer(host)
    run(host, "UPDATE users SET active = 0")
    refused(host, caplog, Reason.USER_INACTIVE, person=replace(ADELE, given_name="Adelheid"))
    [user] = host.users()
    assert (user["active"], user["first_name"]) == (False, "Adele")


def test_36_a_user_switched_off_between_the_steps_is_not_signed_in(host: Host) -> None:
    answer(host)
    browser = host.browser()
    browser._follows_refresh = False
    page = answer(host, browser=browser).page
    assert page.refresh_url is not None
    run(host, "UPDATE users SET active = 0")
    assert browser.follow_refresh().status == 403
    assert (host.reasons(), browser.get(f"{ORIGIN}/").text) == (["user_gone"], "nobody")


def test_37_two_first_sign_ins_at_once_make_one_user(host: Host) -> None:
    flows = []
    for _ in range(4):
        browser = host.browser()
        request = host.entra.read_request(browser.get(LOGIN).url)
        flows.append((browser, host.entra.respond(request, ADELE, now=datetime.now(UTC))))
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda flow: post_fields(flow[0], list(flow[1].form.items())), flows))
    assert {page.status for page in pages} == {200}
    assert (len(host.users()), host.count("samljit_identity"), host.reasons()) == (1, 1, [])


def test_37_the_same_answer_posted_at_once_is_used_once(host: Host) -> None:
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    post = host.entra.respond(request, ADELE, now=datetime.now(UTC))
    others = [host.browser() for _ in range(4)]
    for other in others:
        other.get(LOGIN)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda other: post_fields(other, list(post.form.items())), others))
    assert (len(host.users()), host.count("samljit_assertion")) == (1, 1)
    assert host.reasons().count("replayed") == 3


@pytest.mark.parametrize("how", [(), ("",), (" \t",), ("\u200b",)], ids=["38-absent", "38-empty", "38-blank", "38-invisible"])
def test_a_missing_value_blanks_nothing(host: Host, how: tuple[str, ...]) -> None:
    answer(host)
    before = host.users()
    answer(host, claims=changed(GIVEN_NAME, *how))
    assert (host.users(), host.reasons()) == (before, [])


def test_38_an_unchanged_user_is_not_written(host: Host) -> None:
    answer(host)
    written: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "users" in statement and not statement.startswith("SELECT"):
            written.append(statement)

    answer(host)
    assert [row.outcome for row in host.rows("samljit_attempt")] == ["create", "unchanged"]
    assert written == []


def test_no_sign_in_deletes_or_switches_off_anybody(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    statements: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    first = answer(host)
    answer(host, person=replace(ADELE, given_name="Adelheid"))
    answer(host, claims=changed(DISPLAY_NAME))
    answer(host, claims=changed(EMAIL_ADDRESS))
    other = host.browser()
    other.get(LOGIN)
    with nothing_happened(host, caplog, Reason.REPLAYED) as scene:
        scene.flow = Flow(other, first.xml, post_fields(other, list(first.posted.items())), first.posted)
    assert [statement for statement in statements if "DELETE FROM users" in statement] == []
    assert [statement for statement in statements if statement.startswith("UPDATE users") and "active=" in statement] == []
