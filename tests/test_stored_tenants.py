"""Tenants that live in the database: added, changed and tried out without a restart, on every worker at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, event, text
from sqlalchemy.orm import mapped_column

from samljit.directory import Directory
from samljit.errors import Reason, SignInRefused
from samljit.sql.audit import AuditAction, Author
from samljit.sql.stored import DomainTaken, DraftRefused, SlugTaken, StaleEdit
from samljit.testing import Browser, FakeEntra, Form, sign_in
from samljit.testing.keys import signing_key
from tests.conftest import Mount
from tests.host import ADELE, FIELDS, ORIGIN, Host, make_user_model
from tests.servers import KINDS, database

AUTHOR = Author("an operator", datetime.now(UTC))
PLACE = ("$.mapping.fields.no_such_column", "unknown_target")
LOGIN = f"{ORIGIN}/saml/fabrikam/login"
OTHER_DIRECTORY = "ddddeeee-3333-ffff-4444-000000000000"


@pytest.fixture(params=KINDS)
def any_host(request: pytest.FixtureRequest, mount: Mount, tmp_path: Path) -> Iterator[Host]:
    with database(request.param, tmp_path) as url:
        made = mount(url=url)
        yield made
        made.session.remove()
        made.engine.dispose()


def directory_of(host: Host) -> Directory:
    found: Directory = host.app.extensions["samljit"].directory
    return found


def document(entra: FakeEntra, **changes: Any) -> dict[str, Any]:
    usual = {"name": "Fabrikam", "entra_tenant_id": entra.tenant_id, "idp": {"metadata": entra.metadata().decode()}}
    return {**usual, "domains": ["fabrikam.example"], "mapping": {"fields": FIELDS}, **changes}


def status_of(host: Host, entra: FakeEntra) -> int:
    return sign_in(host.browser(), entra, ADELE, LOGIN).status


def test_a_tenant_of_the_database_signs_its_people_in_and_is_changed_without_a_restart(any_host: Host) -> None:
    rows, entra, renewed = directory_of(any_host).rows, FakeEntra(), FakeEntra(keys=[signing_key("renewed")])
    stored = rows.add("fabrikam", document(entra), author=AUTHOR)
    assert status_of(any_host, entra) == 200
    with_new_idp = {"idp": {"metadata": renewed.metadata().decode()}}
    stored = rows.change(stored, with_new_idp, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    assert (status_of(any_host, entra), status_of(any_host, renewed)) == (403, 200)
    rows.change(stored, {"enabled": False}, author=AUTHOR, action=AuditAction.TENANT_DISABLED)
    assert any_host.browser().get(LOGIN).status == 403
    assert any_host.reasons()[-1] == Reason.TENANT_DISABLED
    actions = [row.action for row in any_host.rows("samljit_audit")]
    assert actions == ["tenant_added", "tenant_changed", "tenant_disabled"]


def metadata_of(entra: FakeEntra) -> dict[str, Any]:
    return {"idp": {"metadata": entra.metadata().decode()}}


RENEWED = FakeEntra(keys=[signing_key("renewed")])


@pytest.mark.parametrize(
    ("change", "signer", "ends"),
    [
        pytest.param({"enabled": False}, FakeEntra(), (403, Reason.TENANT_DISABLED), id="disabled"),
        pytest.param({"offer_sso": False}, FakeEntra(), (403, Reason.TENANT_DISABLED), id="switched off by its own rules"),
        pytest.param({"idp": None}, FakeEntra(), (403, Reason.TENANT_NOT_CONNECTED), id="no longer connected"),
        pytest.param(metadata_of(RENEWED), FakeEntra(), (403, Reason.SIGNATURE_INVALID), id="the key is no longer its IdP's"),
        pytest.param(metadata_of(RENEWED), RENEWED, (200, None), id="the key is new"),
        pytest.param({"mapping": {"fields": {**FIELDS, "last_name": "nickname"}}}, FakeEntra(), (200, None), id="mapping"),
        pytest.param(
            {"mapping": {"fields": FIELDS, "policy": {"create_users": False}}}, FakeEntra(), (403, Reason.CREATE_DISABLED), id="policy"
        ),
    ],
)
def test_a_change_of_a_tenant_holds_for_a_sign_in_that_has_begun_before_it(
    any_host: Host, change: dict[str, Any], signer: FakeEntra, ends: tuple[int, Reason | None]
) -> None:
    """Without the tenant being looked up in between, as on a worker that has not heard of the change."""
    rows = directory_of(any_host).rows
    stored = rows.add("fabrikam", document(FakeEntra()), author=AUTHOR)
    browser = any_host.browser()
    response = signer.respond(signer.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
    rows.change(stored, change, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    page = browser.submit(Form(f"{ORIGIN}/saml/fabrikam/acs", fields=tuple(response.form.items())), by_script=True)
    [attempt] = any_host.rows("samljit_attempt")
    assert (page.status, attempt.reason) == ends, page.text
    assert [user["last_name"] for user in any_host.users()] == ([] if ends[1] else [None if "mapping" in change else "Vance"])
    assert any_host.count("samljit_assertion") == any_host.count("samljit_identity") == len(any_host.users())


def test_a_tenant_that_is_disabled_between_the_two_steps_signs_nobody_in_until_it_is_enabled_again(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    stored = rows.add("fabrikam", document(entra), author=AUTHOR)
    browser = Browser({ORIGIN: any_host.app}, follows_refresh=False)
    response = entra.respond(entra.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
    page = browser.submit(Form(f"{ORIGIN}/saml/fabrikam/acs", fields=tuple(response.form.items())), by_script=True)
    stored = rows.change(stored, {"enabled": False}, author=AUTHOR, action=AuditAction.TENANT_DISABLED)
    assert browser.get(page.refresh_url or "").status == 403
    assert any_host.reasons() == [Reason.TENANT_DISABLED]
    assert not any(row.finished_at for row in any_host.rows("samljit_attempt"))
    rows.change(stored, {"enabled": True}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    assert browser.get(page.refresh_url or "").text == "user 1"
    assert [row.reason for row in any_host.rows("samljit_attempt") if row.finished_at] == [None]


def test_a_tenant_that_is_let_in_again_is_let_in_by_a_worker_that_knew_it_as_disabled(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    stored = rows.add("fabrikam", document(entra), author=AUTHOR)
    browser = any_host.browser()
    response = entra.respond(entra.read_request(browser.get(LOGIN).url), ADELE, now=datetime.now(UTC))
    stored = rows.change(stored, {"enabled": False}, author=AUTHOR, action=AuditAction.TENANT_DISABLED)
    assert any_host.browser().get(LOGIN).status == 403
    rows.change(stored, {"enabled": True}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    page = browser.submit(Form(f"{ORIGIN}/saml/fabrikam/acs", fields=tuple(response.form.items())), by_script=True)
    assert page.status == 200


def test_the_record_of_a_change_holds_fingerprints_and_only_what_changed(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    stored = rows.add("fabrikam", document(entra), author=AUTHOR)
    rows.change(stored, {"name": "Fabrikam Inc", "idp": None}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    change = any_host.rows("samljit_audit")[-1]
    assert (set(change.before), change.after) == ({"name", "idp"}, {"name": "Fabrikam Inc"})
    assert change.before["idp"]["metadata"].startswith("sha256:")


def test_a_slug_is_never_used_again_and_a_domain_has_one_owner(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    stored = rows.add("fabrikam", document(entra), author=AUTHOR)
    with pytest.raises(SlugTaken):
        rows.add("fabrikam", document(entra), author=AUTHOR)
    with pytest.raises(SlugTaken):
        rows.add("fabrikam", document(entra), author=AUTHOR, adopts=True)
    with pytest.raises(DomainTaken) as taken:
        rows.add("tailspin", document(entra), author=AUTHOR)
    assert (taken.value.domain, taken.value.slug) == ("fabrikam.example", "fabrikam")
    rows.change(stored, {"domains": ["fabrikam.test"]}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    rows.add("tailspin", document(entra), author=AUTHOR)
    with any_host.app.app_context():
        owners = [any_host.saml.tenant_for_email(f"x@{domain}") for domain in ("FABRIKAM.example", "fabrikam.test", "other.test")]
    assert [owner and owner.slug for owner in owners] == ["tailspin", "fabrikam", None]


def test_a_domain_that_the_settings_give_to_another_tenant_proves_nothing_any_more(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    """The database had it first; the settings, which know nothing of the database, count."""
    unique = make_user_model(email=mapped_column(String(200), nullable=False, unique=True))
    host = mount(user_model=unique)
    mine = FakeEntra(keys=[signing_key("fabrikam")])
    domains = ["fabrikam.example", *host.app.extensions["samljit"].directory.of_settings["contoso"].domains]
    directory_of(host).rows.add("fabrikam", document(mine, domains=domains), author=AUTHOR)
    assert ADELE.email.rpartition("@")[2] in domains
    assert status_of(host, mine) == 403
    assert (host.reasons(), host.count("users")) == ([Reason.DOMAIN_NOT_ALLOWED], 0)
    assert "domain_not_unique" in caplog.text
    assert directory_of(host).get("fabrikam", now=AUTHOR.now).domains == ("fabrikam.example",)


def test_a_draft_changes_nothing_until_it_goes_live_and_a_stale_edit_is_refused(any_host: Host) -> None:
    directory, entra = directory_of(any_host), FakeEntra()
    rows = directory.rows
    first = rows.add("fabrikam", document(entra), author=AUTHOR)
    drafted = rows.save_draft(first, {"entra_tenant_id": OTHER_DIRECTORY}, author=AUTHOR)
    assert directory.get("fabrikam", now=AUTHOR.now).entra_tenant_id == entra.tenant_id
    for edit in (
        lambda: rows.save_draft(first, {"name": "Other"}, author=AUTHOR),
        lambda: rows.go_live(replace(drafted, tested_revision=drafted.draft_revision), author=AUTHOR),
        lambda: rows.change(first, {"name": "Other"}, author=AUTHOR, action=AuditAction.TENANT_CHANGED),
    ):
        with pytest.raises(StaleEdit):
            edit()
    number = drafted.draft_revision
    assert rows.record_test("fabrikam", {"a": 1}, nonce="n1", draft_revision=number, replaces=True)
    assert rows.get_stored("fabrikam").tested_revision is None
    assert not rows.confirm_test(rows.get_stored("fabrikam"), nonce="n2", author=AUTHOR)
    assert rows.confirm_test(rows.get_stored("fabrikam"), nonce="n1", author=AUTHOR)
    tested = rows.get_stored("fabrikam")
    assert (tested.tested_revision, tested.last_test) == (number, {"a": 1})
    with pytest.raises(DraftRefused):
        rows.go_live(drafted, author=AUTHOR)
    live = rows.go_live(tested, author=AUTHOR)
    assert (live.live["entra_tenant_id"], live.draft, live.revision, live.tested_revision) == (OTHER_DIRECTORY, None, 2, None)
    assert directory.get("fabrikam", now=AUTHOR.now).entra_tenant_id == OTHER_DIRECTORY


def test_a_test_of_an_older_draft_counts_for_nothing(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    older = rows.save_draft(rows.add("fabrikam", document(entra), author=AUTHOR), {"name": "A"}, author=AUTHOR)
    rows.save_draft(older, {"name": "B"}, author=AUTHOR)
    assert not rows.record_test("fabrikam", {"a": 1}, nonce="n1", draft_revision=older.draft_revision, replaces=True)
    now = rows.get_stored("fabrikam")
    assert (now.last_test, now.tested_revision) == (None, None)


def test_what_anybody_can_post_never_takes_the_place_of_a_genuine_answer(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    rows.add("fabrikam", document(entra), author=AUTHOR)
    kept = []
    posts = (("junk", "n1", False), ("junk", "n1", False), ("good", "n1", True), ("junk", "n1", False), ("new", "n2", False))
    for result, nonce, replaces in posts:
        rows.record_test("fabrikam", {"is": result}, nonce=nonce, draft_revision=0, replaces=replaces)
        kept.append((rows.get_stored("fabrikam").last_test or {})["is"])
    assert kept == ["junk", "junk", "good", "good", "new"]


def test_a_change_of_the_live_document_voids_what_was_tested_over_it(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    drafted = rows.save_draft(rows.add("fabrikam", document(entra), author=AUTHOR), {"name": "A"}, author=AUTHOR)
    rows.record_test("fabrikam", {}, nonce="n1", draft_revision=drafted.draft_revision, replaces=True)
    assert rows.confirm_test(drafted, nonce="n1", author=AUTHOR)
    tested = rows.get_stored("fabrikam")
    changed = rows.change(tested, {"sign_requests": False, "name": "C"}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    assert (changed.draft, changed.tested_revision) == ({"name": "A"}, None)
    assert not rows.confirm_test(tested, nonce="n1", author=AUTHOR)
    assert not rows.record_test("fabrikam", {}, nonce="n2", draft_revision=drafted.draft_revision, replaces=True)


def test_a_tenant_that_the_user_class_no_longer_fits_is_refused_and_the_others_run(host: Host) -> None:
    directory, entra = directory_of(host), FakeEntra()
    broken = document(entra, mapping={"fields": {"no_such_column": "givenname"}})
    directory.rows.add("fabrikam", broken, author=AUTHOR)
    with pytest.raises(SignInRefused) as refused:
        directory.get("fabrikam", now=AUTHOR.now)
    assert refused.value.reason is Reason.TENANT_MISCONFIGURED
    assert host.browser().get(LOGIN).status == 403
    assert host.sign_in().status == 200
    tenant, problems = directory.check_stored("fabrikam", broken, now=AUTHOR.now)
    assert (tenant, [(one.path, one.code) for one in problems]) == (None, [PLACE, ("$.mapping.fields", "unfilled_column")])


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({"idp": {"metadata": "<x/>"}}, [("$.idp.metadata", "not_metadata")], id="no metadata"),
        pytest.param({"idp": {"metadata_file": "/etc/passwd"}}, [("$.idp.metadata", "missing_file")], id="a file of the server"),
        pytest.param({"domains": ["contoso.example"]}, [("$.domains[0]", "domain_not_unique")], id="a domain of the settings"),
        pytest.param({"name": 3}, [("$.name", "wrong_type")], id="a name that is none"),
        pytest.param({"colour": "red"}, [("$.colour", "unknown_key")], id="an unknown key"),
    ],
)
def test_a_stored_document_is_held_to_the_rules_of_the_settings(
    host: Host, changes: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    tenant, found = directory_of(host).check_stored("fabrikam", document(FakeEntra(), **changes), now=AUTHOR.now)
    assert (tenant, [(one.path, one.code) for one in found if not one.is_warning]) == (None, problems)


def test_a_tenant_is_looked_up_in_one_statement(host: Host) -> None:
    directory, entra = directory_of(host), FakeEntra()
    directory.rows.add("fabrikam", document(entra), author=AUTHOR)
    directory.get("fabrikam", now=AUTHOR.now)
    statements: list[str] = []
    event.listen(host.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for slug in ("fabrikam", "contoso"):
        directory.get("contoso", now=AUTHOR.now)
        statements.clear()
        directory.get(slug, now=AUTHOR.now)
        assert len(statements) == 1


def test_a_database_tenant_that_was_seen_is_named_also_while_the_database_is_lost(host: Host) -> None:
    directory = directory_of(host)
    directory.rows.add("fabrikam", document(FakeEntra()), author=AUTHOR)
    directory.get("fabrikam", now=AUTHOR.now)
    with host.engine.begin() as connection:
        connection.execute(text("ALTER TABLE samljit_tenant_state RENAME TO elsewhere"))
    known = directory.find_known("fabrikam")
    assert known is not None
    assert known.name == "Fabrikam"
    assert host.browser().get(LOGIN).status == 503


@pytest.mark.parametrize("way", ["moved away and back", "live there already"])
def test_metadata_that_a_draft_was_tested_with_is_what_goes_live_unless_newer_was_fetched_since(host: Host, way: str) -> None:
    directory, entra, url = directory_of(host), FakeEntra(), "https://login.microsoftonline.com/x/federationmetadata.xml?appid=1"
    rows = directory.rows
    fetched, tested = ((xml.decode(), url) for xml in (entra.metadata(), FakeEntra(entra.tenant_id, keys=[signing_key("n")]).metadata()))
    first = rows.add("fabrikam", document(entra), author=AUTHOR)
    with host.engine.begin() as connection:
        values = {"xml": fetched[0], "url": url, "id": str(first.id)}
        connection.execute(text("UPDATE samljit_tenant_state SET metadata = :xml, metadata_url = :url WHERE id = :id"), values)
    rows.save_draft(first, {"idp": {"metadata_url": url}}, author=AUTHOR, metadata=tested)
    if way == "live there already":
        rows.change(rows.get_stored("fabrikam"), {"idp": {"metadata_url": url}}, author=AUTHOR, action=AuditAction.TENANT_CHANGED)
    now = rows.get_stored("fabrikam")
    rows.record_test("fabrikam", {}, nonce="n1", draft_revision=now.draft_revision, replaces=True)
    assert rows.confirm_test(now, nonce="n1", author=AUTHOR)
    rows.go_live(rows.get_stored("fabrikam"), author=AUTHOR)
    assert rows.find_metadata(first.id) == (tested if way == "moved away and back" else fetched)
