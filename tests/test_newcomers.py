"""Somebody new, as policy and identity.match have it: links by e-mail, limits, and new users who wait; on three databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import String, text
from sqlalchemy.orm import mapped_column

from samljit import ConfigError, sign_in_refused, user_created
from samljit.testing import FakeEntra, Person
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, Host, make_host, make_user_model, settings_for
from tests.servers import KINDS, database
from tests.test_store import THREADS, close, forms, outcomes, post_at_once

EMAIL = "adele.vance@contoso.example"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


def tenant(*, match: str = "email_link", **policy: Any) -> dict[str, Any]:
    return {"mapping": {"identity": {"match": match}, "fields": FIELDS, "policy": policy}}


def model() -> type[Any]:
    return make_user_model(organization=mapped_column(String(50)))


OPTIONS: dict[str, Any] = {
    "tenant_fields": lambda tenant: {"organization": tenant.slug},
    "is_privileged": lambda user: user.is_admin,
}


def host_with(directory: Path, *users: dict[str, Any], url: str | None = None, **options: Any) -> Host:
    """A host with these users; each is of the tenant and active unless it says otherwise."""
    host = make_host(directory, url=url, **{"user_model": model(), "tenant": tenant(), **OPTIONS, **options})
    for user in users:
        host.session.add(host.user_model(**{"email": EMAIL, "organization": "contoso", **user}))
        host.session.commit()
    return host


def seen_by(host: Host) -> tuple[int, int, str]:
    """How many users and identities there are, and what came of the last attempt."""
    row = host.rows("samljit_attempt")[-1]
    return host.count("users"), host.count("samljit_identity"), row.reason or row.outcome


# --- links by e-mail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [EMAIL, "Adele.Vance@Contoso.EXAMPLE"], ids=["the same", "ASCII letters in another case"])
def test_the_user_with_the_address_becomes_theirs_once_and_then_by_subject(url: str, tmp_path: Path, stored: str) -> None:
    host = host_with(tmp_path, {"email": stored, "display_name": "By hand"}, url=url)
    assert host.sign_in(ADELE).text == "user 1"
    assert seen_by(host) == (1, 1, "update")
    assert host.rows("samljit_attempt")[0].detail == "linked to the user with this e-mail"
    assert (host.users()[0]["first_name"], host.users()[0]["display_name"]) == ("Adele", "By hand")
    host.sign_in(replace(ADELE, email="adele@elsewhere.example"))
    assert (seen_by(host), host.users()[0]["email"]) == ((1, 1, "update"), "adele@elsewhere.example")
    close(host)


LONG_S = "\u017fam@contoso.example"  # an "s" to Unicode's case folding, and to some collations
ATTACKS: list[Any] = [
    pytest.param({"email": "\u0430dele.vance@contoso.example"}, {}, "create", id="a homoglyph"),
    pytest.param({"email": "\uff41dele.vance@contoso.example"}, {}, "create", id="full width"),
    pytest.param({"email": "ad\u00e9le.vance@contoso.example"}, {}, "create", id="an accent"),
    pytest.param({"email": " adele.vance@contoso.example"}, {}, "create", id="padding"),
    pytest.param({"email": "adele.vance@mail.contoso.example"}, {}, "create", id="a sub-domain"),
    pytest.param({"email": "sam@contoso.example"}, {"email": LONG_S}, "create", id="a letter that folds to ASCII"),
    pytest.param({"email": "x@y.z"}, {"email": EMAIL, "upn": "x@y.z"}, "create", id="a login name is no address"),
    pytest.param({"first_name": "Adele", "last_name": "Vance", "email": "a@contoso.example"}, {}, "create", id="a name is no address"),
    pytest.param({"organization": "fabrikam"}, {}, "create", id="another tenant's user"),
    pytest.param({"organization": "Contoso"}, {}, "create", id="a tenant that MariaDB takes for this one"),
    pytest.param({"organization": None}, {}, "create", id="nobody's user"),
    pytest.param({"active": False}, {}, "account_conflict", id="inactive"),
    pytest.param({"is_admin": True}, {}, "account_conflict", id="privileged"),
    pytest.param({"email": "ada@evil.example"}, {"email": "ada@evil.example"}, "account_conflict", id="unverified domain"),
    pytest.param({"email": "a@mail.contoso.example"}, {"email": "a@mail.contoso.example"}, "account_conflict", id="unverified sub-domain"),
]


@pytest.mark.parametrize(("user", "claims", "outcome"), ATTACKS)
def test_nobody_else_is_ever_reached(url: str, tmp_path: Path, user: dict[str, Any], claims: dict[str, Any], outcome: str) -> None:
    host = host_with(tmp_path, user, url=url)
    [before] = host.users()
    host.sign_in(replace(ADELE, **claims))
    made = int(outcome == "create")
    assert seen_by(host) == (1 + made, made, outcome)
    assert host.users()[0] == before
    assert {row.user_id for row in host.rows("samljit_identity")} == ({2} if made else set())
    close(host)


def test_two_users_with_the_address_are_too_many(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, {}, {"email": EMAIL.upper()}, url=url)
    host.sign_in(ADELE)
    assert seen_by(host) == (2, 0, "account_conflict")
    close(host)


@pytest.mark.parametrize("match", ["email_link", "email_deny"])
def test_a_second_person_with_the_address_is_refused(url: str, tmp_path: Path, match: str) -> None:
    host = host_with(tmp_path, url=url, tenant=tenant(match=match))
    host.sign_in(ADELE)
    page = host.sign_in(replace(BIANCA, email=EMAIL.title()))
    assert (page.status, seen_by(host)) == (409, (1, 1, "account_conflict"))
    assert EMAIL not in page.text
    close(host)


def test_email_deny_refuses_beside_a_user_whom_nobody_linked(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, {"is_admin": True}, url=url, tenant=tenant(match="email_deny"))
    host.sign_in(ADELE)
    assert seen_by(host) == (1, 0, "account_conflict")
    host.sign_in(BIANCA)
    assert seen_by(host) == (2, 1, "create")
    close(host)


def test_identifier_makes_a_user_of_their_own(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, {}, url=url, tenant=tenant(match="identifier"))
    host.sign_in(ADELE)
    assert seen_by(host) == (2, 1, "create")
    close(host)


@pytest.mark.parametrize("match", ["email_link", "email_deny"])
def test_sixteen_first_sign_ins_of_one_person_at_once_are_one_person(url: str, tmp_path: Path, match: str) -> None:
    users = ({},) if match == "email_link" else ()
    host = host_with(tmp_path, *users, url=url, tenant=tenant(match=match))
    assert post_at_once(host, forms(host, ADELE, THREADS)) == {200: THREADS}
    assert (host.count("users"), host.count("samljit_identity")) == (1, 1)
    close(host)


def test_two_people_with_one_address_at_once_do_not_both_become_the_user(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, {}, url=url)
    people = [replace(ADELE, object_id=str(uuid4())) for _ in range(8)]
    assert post_at_once(host, [form for person in people for form in forms(host, person, 1)]) == {200: 1, 409: 7}
    assert (host.count("users"), host.count("samljit_identity")) == (1, 1)
    close(host)


def test_a_tenant_without_fields_of_its_own_has_no_users_to_link(tmp_path: Path) -> None:
    host = host_with(tmp_path, {}, tenant_fields=lambda tenant: {})
    host.sign_in(ADELE)
    assert seen_by(host) == (2, 1, "create")
    close(host)


def test_the_only_tenant_of_a_host_needs_no_fields(tmp_path: Path) -> None:
    host = host_with(tmp_path, {}, tenant_fields=None)
    assert host.sign_in(ADELE).text == "user 1"
    assert seen_by(host) == (1, 1, "update")
    close(host)


def is_privileged_that_fails(user: Any) -> bool:
    raise ValueError(user.email)


@pytest.mark.parametrize(
    ("is_privileged", "reason"), [(is_privileged_that_fails, "host_refused"), (lambda user: None, "account_conflict")]
)
def test_whom_the_host_cannot_tell_is_not_linked(tmp_path: Path, is_privileged: Any, reason: str) -> None:
    host = host_with(tmp_path, {}, is_privileged=is_privileged)
    host.sign_in(ADELE)
    assert seen_by(host) == (1, 0, reason)
    close(host)


@pytest.mark.parametrize(
    ("changes", "options", "code"),
    [
        pytest.param({"domains": []}, {}, "domains_missing", id="no domains"),
        pytest.param({}, {"is_privileged": None}, "is_privileged_missing", id="no is_privileged"),
        pytest.param({}, {"email_field": None}, "email_field_missing", id="no e-mail column"),
    ],
)
def test_what_a_link_needs_is_asked_for_at_start_up(mount: Mount, changes: dict[str, Any], options: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mount(**{"user_model": model(), "tenant": {**tenant(), **changes}, **OPTIONS, **options})
    assert [problem.code for problem in caught.value.problems] == [code]


def two_tenants(directory: Path, **own: Any) -> dict[str, Any]:
    entra, other = FakeEntra(), FakeEntra(tenant_id="bbbbbbbb-0000-cccc-1111-dddd2222eeee")
    settings = settings_for(directory, entra, tenant=own)
    fabrikam = {**settings_for(directory, other)["tenants"]["contoso"], "domains": ["fabrikam.example"]}
    return {**settings, "tenants": {**settings["tenants"], "fabrikam": fabrikam}}


@pytest.mark.parametrize("match", ["email_link", "email_deny"])
def test_several_tenants_without_tenant_fields_cannot_go_by_email(mount: Mount, tmp_path: Path, match: str) -> None:
    settings = two_tenants(tmp_path, **tenant(match=match))
    with pytest.raises(ConfigError) as caught:
        mount(user_model=model(), settings=settings, is_privileged=OPTIONS["is_privileged"])
    assert [problem.code for problem in caught.value.problems] == ["tenant_fields_missing"]


def test_one_address_for_all_tenants_is_warned_about(mount: Mount, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mount(settings=two_tenants(tmp_path), user_model=make_user_model(email=mapped_column(String(200), unique=True)))
    assert [record.message.partition(":")[0] for record in caplog.records] == ["$.tenants"]


# --- limits -----------------------------------------------------------------------------------------------------------


def somebody(number: int) -> Person:
    return Person(object_id=str(uuid4()), given_name=f"P{number}", email=f"p{number}@contoso.example")


def test_a_tenant_never_has_more_users_than_it_may_however_many_come_at_once(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, url=url, tenant=tenant(match="identifier", max_users=5))
    posts = [form for number in range(THREADS) for form in forms(host, somebody(number), 1)]
    assert post_at_once(host, posts) == {200: 5, 403: THREADS - 5}
    assert (host.count("users"), host.count("samljit_identity")) == (5, 5)
    assert outcomes(host) == {"create": 5, "user_limit": THREADS - 5}
    close(host)


@pytest.mark.parametrize(("limit", "of_the_mapping"), [(1, None), (1, 5), (5, 1)])
def test_of_the_operators_limit_and_the_tenants_own_the_lower_one_counts(tmp_path: Path, limit: int, of_the_mapping: int | None) -> None:
    host = host_with(tmp_path, tenant={**tenant(match="identifier", max_users=of_the_mapping), "max_users": limit})
    assert [host.sign_in(person).status for person in (ADELE, BIANCA, ADELE)] == [200, 403, 200]
    assert outcomes(host) == {"create": 1, "user_limit": 1, "unchanged": 1}
    close(host)


def test_who_has_a_place_comes_in_and_a_deleted_users_place_is_free_again(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, url=url, tenant=tenant(match="identifier", max_users=1))
    host.sign_in(ADELE)
    assert host.sign_in(BIANCA).status == 403
    assert host.sign_in(replace(ADELE, surname="Other")).status == 200
    with host.engine.begin() as connection:
        connection.execute(text("DELETE FROM users"))
    assert host.sign_in(BIANCA).status == 200
    assert outcomes(host) == {"create": 2, "user_limit": 1, "update": 1}
    close(host)


# --- the rest of the policy, through a whole sign-in ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "person", "reason"),
    [
        ({"guests": "deny"}, replace(ADELE, guest=True), "guest_not_allowed"),
        ({"guests": "deny"}, replace(ADELE, identity_provider="live.com"), "guest_not_allowed"),
        ({"require": [{"source": "groups", "any_of": ["x"]}]}, ADELE, "requirement_not_met"),
        ({"require": [{"source": "groups", "any_of": ["x"]}]}, replace(ADELE, overage=True), "groups_overage"),
        ({"allowed_domains": ["other.example"]}, ADELE, "domain_not_allowed"),
        ({"create_users": False}, ADELE, "create_disabled"),
    ],
)
def test_who_is_not_let_in_leaves_nothing_but_a_line_in_the_log(
    tmp_path: Path, policy: dict[str, Any], person: Person, reason: str
) -> None:
    host = host_with(tmp_path, tenant=tenant(**policy))
    page = host.sign_in(person)
    assert (page.status, seen_by(host)) == (403, (0, 0, reason))
    assert host.count("samljit_assertion") == 0
    close(host)


def test_members_pass_every_policy(tmp_path: Path) -> None:
    group = ADELE.groups[0]
    policy = {"guests": "deny", "require": [{"source": "groups", "any_of": [group]}], "allowed_domains": ["contoso.example"]}
    host = host_with(tmp_path, tenant=tenant(**policy, max_users=1))
    assert host.sign_in(ADELE).text == "user 1"
    close(host)


def test_a_new_user_who_must_wait_is_made_logged_and_not_signed_in(url: str, tmp_path: Path) -> None:
    host = host_with(tmp_path, url=url, tenant=tenant(new_user_state="inactive"))
    created: list[Any] = []
    refused: list[Any] = []
    with (
        user_created.connected_to(lambda _, **values: created.append(values["reference"])),
        sign_in_refused.connected_to(lambda _, **values: refused.append((values["reference"], values["reason"]))),
    ):
        browser = host.browser()
        page = host.sign_in(ADELE, browser=browser)
        assert (page.status, browser.get("https://app.example.com/").text) == (403, "nobody")
    [row] = host.rows("samljit_attempt")
    assert (row.outcome, row.reason, row.user_id) == ("create", "user_inactive", 1)
    assert (created, refused) == ([row.reference], [(row.reference, "user_inactive")])
    assert row.reference in page.text
    assert (host.users()[0]["active"], host.count("samljit_identity")) == (False, 1)
    assert host.sign_in(ADELE).status == 403
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET active = :on"), {"on": True})
    assert host.sign_in(ADELE).text == "user 1"
    close(host)
