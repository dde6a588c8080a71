"""Tenants that live in the database: added, changed and tried out without a restart, on every worker at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from samljit.directory import Directory
from samljit.errors import Reason, SignInRefused
from samljit.sql.audit import AuditAction, Author
from samljit.sql.tenants import DomainTaken, SlugTaken, StaleEdit
from samljit.testing import FakeEntra, sign_in
from samljit.testing.keys import signing_key
from tests.conftest import Mount
from tests.host import ADELE, FIELDS, ORIGIN, Host
from tests.servers import KINDS, database

AUTHOR = Author("an operator", datetime.now(UTC))
PLACE = ("$.mapping.fields.no_such_column", "unknown_target")
LOGIN = f"{ORIGIN}/saml/fabrikam/login"


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


def test_a_draft_changes_nothing_until_it_goes_live_and_a_stale_edit_is_refused(any_host: Host) -> None:
    directory, entra = directory_of(any_host), FakeEntra()
    rows = directory.rows
    first = rows.add("fabrikam", document(entra), author=AUTHOR)
    drafted = rows.save_draft(first, {"name": "Renamed"}, author=AUTHOR)
    assert directory.get("fabrikam", now=AUTHOR.now).name == "Fabrikam"
    for edit in (
        lambda: rows.save_draft(first, {"name": "Other"}, author=AUTHOR),
        lambda: rows.go_live(first, author=AUTHOR),
        lambda: rows.change(first, {"name": "Other"}, author=AUTHOR, action=AuditAction.TENANT_CHANGED),
    ):
        with pytest.raises(StaleEdit):
            edit()
    assert rows.record_test("fabrikam", {"passed": True}, draft_revision=drafted.draft_revision, passed=True)
    tested = rows.get_stored("fabrikam")
    assert tested.tested_revision == drafted.draft_revision
    live = rows.go_live(tested, author=AUTHOR)
    assert (live.live["name"], live.draft, live.revision, live.tested_revision) == ("Renamed", None, 2, None)
    assert directory.get("fabrikam", now=AUTHOR.now).name == "Renamed"


def test_a_test_of_an_older_draft_counts_for_nothing(any_host: Host) -> None:
    rows, entra = directory_of(any_host).rows, FakeEntra()
    older = rows.save_draft(rows.add("fabrikam", document(entra), author=AUTHOR), {"name": "A"}, author=AUTHOR)
    rows.save_draft(older, {"name": "B"}, author=AUTHOR)
    assert not rows.record_test("fabrikam", {"passed": True}, draft_revision=older.draft_revision, passed=True)
    assert rows.get_stored("fabrikam").tested_revision is None


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


def test_a_document_that_came_along_with_its_address_is_good_until_it_is_fetched(host: Host) -> None:
    entra, other = FakeEntra(), FakeEntra(keys=[signing_key("other")])
    url = f"https://login.microsoftonline.com/{entra.tenant_id}/federationmetadata/2007-06/federationmetadata.xml?appid={uuid4()}"
    idp = {"metadata_url": url, "metadata": entra.metadata().decode()}
    directory = directory_of(host)
    stored = directory.rows.add("fabrikam", document(entra, idp=idp), author=AUTHOR)
    assert status_of(host, entra) == 200
    with host.engine.begin() as connection:
        values = {"metadata": other.metadata().decode("utf-8-sig"), "metadata_url": url, "metadata_hash": "1", "id": str(stored.id)}
        change = "SET metadata = :metadata, metadata_url = :metadata_url, metadata_hash = :metadata_hash WHERE id = :id"
        connection.execute(text(f"UPDATE samljit_tenant_state {change}"), values)
    found = directory.get("fabrikam", now=AUTHOR.now).idp
    assert found is not None
    assert [one.der for one in found.certificates] == [other.key.certificate_der]
    assert status_of(host, other) == 200
