"""`flask samljit ...`, through the app's own command line and on real databases."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import time_machine
from sqlalchemy import event, insert, text, update

from samljit.commands import make_commands
from samljit.errors import CATALOGUE, Card, Reason
from samljit.sql.attempts import new_reference
from samljit.sql.audit import Author
from samljit.testing import FakeEntra
from tests.commands import add_user, audit, object_id, read, run, write_csv
from tests.commands import made_on_each as made_on_each
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_user_model, settings_for

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def execute(host: Host, statement: str, **values: Any) -> None:
    with host.engine.begin() as connection:
        connection.execute(text(statement), values)


# --- usage ------------------------------------------------------------------------------------------------------------

WRONG_USAGE = {
    "unknown-command": ["chekc"],
    "no-such-tenant": ["identity", "list", "--tenant", "nosuch"],
    "no-reference": ["explain", "hello"],
    "unknown-reason": ["log", "--reason", "nosuch"],
    "no-time": ["log", "--since", "yesterday"],
    "no-user-key": ["log", "--user", "adele"],
    "days-missing": ["stale"],
    "no-days": ["prune", "--days", "0"],
    "no-claims": ["mapping", "test", "--tenant", "contoso"],
    "no-such-file": ["identity", "import", "/nowhere.csv"],
    "nothing-to-set": ["tenant", "set", "contoso", "--entity-id", "https://x"],
}


@pytest.mark.parametrize("arguments", WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_is_2_and_says_why_on_stderr(host: Host, arguments: list[str]) -> None:
    result = run(host, *arguments)
    assert (result.exit_code, result.stdout, bool(result.stderr)) == (2, "", True)


NOTHING_THERE = {
    "attempt": ["explain", "SJ-AAAA-AAAA"],
    "identity": ["identity", "show", "7"],
    "identity-to-unlink": ["identity", "unlink", "7"],
    "user-to-link": ["identity", "link", "--tenant", "contoso", "--user", "7", "--subject", ADELE.object_id],
}


@pytest.mark.parametrize("arguments", NOTHING_THERE.values(), ids=NOTHING_THERE)
def test_what_is_not_there_is_1(host: Host, arguments: list[str]) -> None:
    result = run(host, *arguments)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("arguments", [["log"], ["stale", "--days", "1"], ["prune"], ["tenant", "list"], ["identity", "list"]])
def test_a_database_without_tables_is_one_sentence(host: Host, arguments: list[str]) -> None:
    host.user_model.metadata.drop_all(host.engine)
    result = run(host, *arguments)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)


# --- log and explain --------------------------------------------------------------------------------------------------


def test_the_log_shows_the_newest_first_and_is_narrowed_by_every_option(any_host: Host) -> None:
    with time_machine.travel(NOW - timedelta(days=3)):
        any_host.sign_in(ADELE)
    with time_machine.travel(NOW):
        any_host.sign_in(BIANCA)
        any_host.sign_in(replace(ADELE, email="adele@elsewhere.example"), audiences=(("https://elsewhere.example",),))
        [adele, bianca] = any_host.users()
        shown = {
            arguments: [(row["outcome"], row["user"]) for row in read(any_host, "log", *arguments)]
            for arguments in [
                (),
                ("--limit", "1"),
                ("--user", str(adele["id"])),
                ("--since", "1d"),
                ("--since", "2026-11-22"),
                ("--reason", "audience_mismatch"),
                ("--tenant", "contoso", "--reason", "expired"),
            ]
        }
    refused, second, first = ("refuse", None), ("create", bianca["id"]), ("create", adele["id"])
    assert list(shown.values()) == [[refused, second, first], [refused], [first], [refused, second], [refused, second], [refused], []]
    assert run(any_host, "log").stdout.splitlines()[1].split()[3:7] == ["contoso", "acs", "refuse", "audience_mismatch"]


def test_the_log_names_fields_and_claims_and_no_value(host: Host) -> None:
    host.sign_in(ADELE)
    [row] = read(host, "log")
    assert {field["field"]: field["action"] for field in row["fields"]} == dict.fromkeys(FIELDS, "set")
    assert not any(value in json.dumps(row) for value in ("adele", "Adele", "Vance"))


def test_what_a_stranger_sent_as_browser_cannot_write_to_the_terminal(host: Host) -> None:
    host.app.test_client().post(
        "/saml/contoso/acs", data={"SAMLResponse": "AAAA"}, base_url=ORIGIN, headers={"User-Agent": "\x1b[2J evil"}
    )
    [row] = read(host, "log")
    assert "\x1b" not in run(host, "explain", row["reference"]).stdout


def test_a_good_attempt_is_explained_field_by_field_without_values(host: Host) -> None:
    host.sign_in(ADELE)
    [row] = host.rows("samljit_attempt")
    told = read(host, "explain", row.reference)
    assert [field["claim"].rpartition("/")[2] for field in told["fields"]][:3] == ["emailaddress", "givenname", "surname"]
    result = run(host, "explain", row.reference.lower().replace("-", ""))
    assert (result.exit_code, "A new user was made." in result.stdout, "Adele" in result.stdout) == (0, True, False)


CARDS = {
    Reason.AUDIENCE_MISMATCH: ({"audiences": (("https://elsewhere.example",),)}, f"{ORIGIN}/saml/contoso/metadata"),
    Reason.SIGNATURE_MISSING: ({"sign": "none"}, "SHA-256"),
    Reason.ISSUER_MISMATCH: ({"assertion_issuer": "https://sts.windows.net/elsewhere/"}, "https://sts.windows.net/"),
    Reason.REQUIRED_CLAIM_MISSING: ({"person": replace(ADELE, email=None, upn="")}, "emailaddress, name"),
}


@pytest.mark.parametrize("reason", CARDS)
def test_a_refusal_is_explained_with_whose_turn_it_is_and_what_belongs_into_which_card(host: Host, reason: Reason) -> None:
    changes, put = CARDS[reason]
    host.sign_in(**changes)
    [row] = read(host, "log")
    told = read(host, "explain", row["reference"])["explanation"]
    assert (row["reason"], told["where_in_entra"], told["that_means"]) == (reason, CATALOGUE[reason].card, CATALOGUE[reason].admin)
    assert put in told["what_to_put"]
    assert told["where_in_entra"] in [*Card]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_explained(host: Host, reason: Reason) -> None:
    host.app.test_client().post("/saml/contoso/acs", data={"SAMLResponse": "AAAA"}, base_url=ORIGIN)
    attempts = host.user_model.metadata.tables["samljit_attempt"]
    with host.engine.begin() as connection:
        connection.execute(update(attempts).values(reason=reason.value))
    [row] = host.rows("samljit_attempt")
    told = read(host, "explain", row.reference)["explanation"]
    assert (told["that_means"], told["what_to_put"] is None) == (CATALOGUE[reason].admin, CATALOGUE[reason].card is None)


def test_a_refused_plan_is_kept_with_its_claims_and_fields(any_host: Host) -> None:
    any_host.sign_in(replace(ADELE, email="no address"))
    [row] = read(any_host, "log")
    assert (row["reason"], {field["field"]: field["action"] for field in row["fields"]}["email"]) == ("value_invalid", "refused")
    assert any(claim.endswith("/surname") for claim in row["claims"])
    assert "no address" not in json.dumps(row)
    told = run(any_host, "explain", row["reference"]).stdout
    assert "email" in told.splitlines()[-4]
    assert len(row["subject_key"]) == 64


def test_a_refusal_of_somebody_known_is_found_under_their_user(host: Host) -> None:
    host.sign_in(ADELE)
    execute(host, "UPDATE users SET active = 0")
    host.sign_in(ADELE)
    assert [row["reason"] for row in read(host, "log", "--user", "1")] == ["user_inactive", None]


# --- retention --------------------------------------------------------------------------------------------------------


def fill(host: Host, count: int, *, days: int) -> None:
    """So many attempts and used assertions, evenly spread over so many days before NOW."""
    tables = host.user_model.metadata.tables
    with host.app.app_context():
        tenant_id = str(host.app.extensions["samljit"].directory.get("contoso", now=NOW).id)
    span = timedelta(days=days) / count
    common = {"tenant_id": tenant_id, "stage": "acs", "outcome": "refuse", "detail": "", "claim_names": [], "decisions": []}
    attempts = [
        {**common, "reference": new_reference(), "at": (NOW - span * n).replace(tzinfo=None), "browser": "", "times": 1}
        for n in range(count)
    ]
    used = [
        {"tenant_id": tenant_id, "assertion_hash": f"{n:064}", "expires_at": (NOW - span * n).replace(tzinfo=None)}
        for n in range(count // 10)
    ]
    with host.engine.begin() as connection:
        connection.execute(insert(tables["samljit_attempt"]), attempts)
        connection.execute(insert(tables["samljit_assertion"]), used)


def test_prune_deletes_what_is_older_than_the_settings_say_and_nothing_else(any_host: Host) -> None:
    any_host.sign_in(ADELE)
    fill(any_host, 100, days=100)
    with time_machine.travel(NOW, tick=False):
        any_host_kept = read(any_host, "prune", "--batch", "3")
    assert any_host_kept == {"days": 90, "attempts": 9, "assertions": 9, "sessions": 0}
    assert (any_host.count("samljit_attempt"), any_host.count("samljit_identity"), any_host.count("users")) == (92, 1, 1)


def test_a_hundred_thousand_rows_go_in_batches_that_let_sign_ins_through(host: Host) -> None:
    fill(host, 100_000, days=100)
    batches: list[int] = []
    pages: list[int] = []
    is_done = Event()

    @event.listens_for(host.engine, "after_cursor_execute")
    def listen(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.startswith("DELETE FROM samljit_attempt"):
            batches.append(cursor.rowcount)

    def keep_signing_in() -> None:
        while not is_done.is_set():
            pages.append(host.sign_in(ADELE).status)

    with time_machine.travel(NOW, tick=False), ThreadPoolExecutor(1) as pool:
        signing_in = pool.submit(keep_signing_in)
        result = run(host, "prune", "--days", "10", "--batch", "5000")
        is_done.set()
        signing_in.result()
    assert (result.exit_code, max(batches), sum(batches), len(batches)) == (0, 5000, 89_999, 18)
    assert (set(pages), host.count("samljit_attempt")) == ({200}, 10_001 + len(pages))
    assert len(pages) > 3


def test_progress_goes_to_stderr(host: Host) -> None:
    fill(host, 10, days=100)
    result = run(host, "prune", "--json")
    assert (json.loads(result.stdout)["attempts"], "attempts (1)" in result.stderr) == (1, True)


# --- who has not been here for long -----------------------------------------------------------------------------------


def test_who_has_not_signed_in_for_long_is_listed_also_after_the_log_was_pruned(any_host: Host) -> None:
    with time_machine.travel(NOW - timedelta(days=200)) as clock:
        any_host.sign_in(ADELE)
        any_host.sign_in(BIANCA)
        clock.shift(timedelta(days=190))
        any_host.sign_in(BIANCA)
    user = add_user(any_host, "ned@contoso.example")
    with time_machine.travel(NOW):
        run(any_host, "prune")
        linked = ["identity", "link", "--tenant", "contoso", "--user", str(user), "--subject", "11110000-aaaa-4444-8888-00000000000f"]
        assert run(any_host, *linked).exit_code == 0
        [adele, bianca] = any_host.users()[:2]
        found = {days: [row["user"] for row in read(any_host, "stale", "--days", days)] for days in ("201", "90", "9")}
        assert found == {"201": [], "90": [adele["id"]], "9": [adele["id"], bianca["id"]]}
        [row] = read(any_host, "stale", "--days", "90")
        assert (row["email"], row["active"], row["last_sign_in"][:10]) == (adele["email"], True, "2026-05-06")
    with time_machine.travel(NOW + timedelta(days=2)):
        assert user in [row["user"] for row in read(any_host, "stale", "--days", "1")]


def test_an_index_serves_it(host: Host) -> None:
    plans: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def listen(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "signed_in_at <" in statement:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in cursor.fetchall())

    read(host, "stale", "--days", "30")
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    assert any("ix_samljit_identity_signed_in_at" in plan for plan in plans)


# --- tenants and certificates -----------------------------------------------------------------------------------------


def test_a_tenant_is_shown_with_what_entra_needs(host: Host) -> None:
    host.sign_in(ADELE)
    [row] = read(host, "tenant", "list")
    assert (row["tenant"], row["enabled"], row["connected"], row["identities"]) == ("contoso", True, True, 1)
    shown = read(host, "tenant", "show", "contoso")
    assert (shown["reply_url"], shown["idp_entity_id"]) == (f"{ORIGIN}/saml/contoso/acs", host.entra.entity_id)
    assert f"{ORIGIN}/saml/contoso/login" in run(host, "tenant", "show", "contoso").stdout


def with_new_issuer(host: Host, mount: Mount, issuer: str) -> Host:
    """The same app and database, its settings naming the IdP by another entity ID, as after a restart."""
    entra = FakeEntra(host.entra.tenant_id, entity_id=issuer, keys=host.entra.keys)
    return mount(user_model=make_user_model(), url=host.engine.url.render_as_string(hide_password=False), entra=entra)


def appended(host: Host) -> str:
    return f"https://sts.windows.net/{host.entra.tenant_id}/66660000-aaaa-4444-8888-000000000001"


def test_everybody_stays_who_they_are_when_the_application_id_is_appended_to_the_issuer(any_host: Host, mount: Mount) -> None:
    old = any_host
    old.sign_in(ADELE)
    old.sign_in(BIANCA)
    new = with_new_issuer(old, mount, appended(old))
    told = read(new, "tenant", "set", "contoso", "--entity-id", appended(old), "--rekey", "--by", "Ada")
    assert (told["rekeyed"], told["from"], told["left"]) == (2, [old.entra.entity_id], [])
    assert [new.sign_in(person).text for person in (ADELE, BIANCA)] == ["user 1", "user 2"]
    assert audit(new) == [("Ada", "identities_rekeyed", {old.entra.entity_id: 2}, {appended(old): 2})]
    assert read(new, "tenant", "set", "contoso", "--entity-id", appended(old), "--rekey")["rekeyed"] == 0


def test_only_the_entity_id_that_the_settings_have_by_now_is_taken(host: Host) -> None:
    host.sign_in(ADELE)
    before = host.rows("samljit_identity")
    result = run(host, "tenant", "set", "contoso", "--entity-id", appended(host), "--rekey")
    assert (result.exit_code, host.rows("samljit_identity"), audit(host)) == (1, before, [])


def test_identities_never_move_to_another_directory(mount: Mount) -> None:
    old = mount()
    old.sign_in(ADELE)
    before = old.rows("samljit_identity")
    elsewhere = "https://sts.windows.net/77770000-aaaa-4444-8888-000000000001/"
    new = with_new_issuer(old, mount, elsewhere)
    assert run(new, "tenant", "set", "contoso", "--entity-id", elsewhere, "--rekey").exit_code == 1
    execute(old, "UPDATE samljit_identity SET issuer = :issuer", issuer=elsewhere)
    new = with_new_issuer(old, mount, appended(old))
    told = read(new, "tenant", "set", "contoso", "--entity-id", appended(old), "--rekey")
    assert (told["rekeyed"], told["left"]) == (0, [elsewhere])
    assert [row.subject_key for row in old.rows("samljit_identity")] == [row.subject_key for row in before]


def test_where_somebody_has_come_under_the_new_entity_id_already_nothing_is_changed(any_host: Host, mount: Mount) -> None:
    old = any_host
    old.sign_in(BIANCA)
    old.sign_in(ADELE)
    new = with_new_issuer(old, mount, appended(old))
    new.sign_in(ADELE)
    before = new.rows("samljit_identity")
    result = run(new, "tenant", "set", "contoso", "--entity-id", appended(old), "--rekey")
    assert (result.exit_code, "identity 2" in result.stderr, "identity 3" in result.stderr) == (1, True, True)
    assert (new.rows("samljit_identity"), audit(new)) == (before, [])


def test_certificates_are_listed_with_their_dates(host: Host) -> None:
    [row] = read(host, "cert", "list")
    until = datetime.fromisoformat(row["not_after"])
    assert (row["of"], row["status"], row["fingerprint"]) == ("contoso", "in_date", sha256(host.entra.key.certificate_der).hexdigest())
    with time_machine.travel(until + timedelta(days=1)):
        [row] = read(host, "cert", "list", code=1)
        assert (row["status"], row["days_left"]) == ("expired", -1)


# --- the README -------------------------------------------------------------------------------------------------------

README = (Path(__file__).parent.parent / "README.md").read_text()
GROUPS = ("identity", "tenant", "mapping", "cert")
LINES = re.findall(r"^flask samljit (.*)$", README.partition("## Run it")[2].partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_readme_works_as_it_stands_there(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    entra = FakeEntra()
    settings = settings_for(tmp_path, entra, mapping={"fields": FIELDS})
    key = "0123456789abcdef0123456789abcdef"
    host = mount(entra=entra, settings=settings, configure=lambda app: app.config.update(SECRET_KEY=key))
    host.sign_in(ADELE)
    add_user(host, "ned@contoso.example", id=17)
    execute(host, "UPDATE samljit_attempt SET reference = 'SJ-7K2M-9QXD'")
    monkeypatch.chdir(tmp_path)
    page = host.browser().get(LOGIN)
    post = host.entra.respond(host.entra.read_request(page.url), BIANCA, now=datetime.now(UTC))
    Path("response.txt").write_text(post.form["SAMLResponse"])
    Path("claims.json").write_text(json.dumps({"objectidentifier": ADELE.object_id, "emailaddress": "ned@contoso.example"}))
    Path("draft.json").write_text(json.dumps({"fields": {"email": "emailaddress"}}))
    write_csv(tmp_path, ("contoso", object_id(1), "17"))
    add_stored_tenant(host)
    Path("tenants.json").write_text(json.dumps({"tenants": {"adatum": STORED}}))
    result = run(host, *shlex.split(line))
    assert (result.exit_code, bool(result.stdout)) == (0, True), result.output


STORED = {"name": "Fabrikam", "entra_tenant_id": "aaaabbbb-0000-cccc-1111-dddd2222eeee"}


def add_stored_tenant(host: Host) -> None:
    mapping = {"mapping": {"fields": FIELDS}}
    host.app.extensions["samljit"].directory.rows.add("fabrikam", {**STORED, **mapping}, author=Author("ops", NOW))


def test_no_command_writes_to_a_user(mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = mount()
    host.sign_in(ADELE)
    add_user(host, "ned@contoso.example", id=17)
    monkeypatch.chdir(tmp_path)
    Path("claims.json").write_text(json.dumps({"objectidentifier": ADELE.object_id, "emailaddress": "ned@contoso.example"}))
    Path("draft.json").write_text(json.dumps({"fields": {"email": "emailaddress"}}))
    Path("response.txt").write_text("AAAA")
    write_csv(tmp_path, ("contoso", object_id(1), "17"))
    seen: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        if re.match(r"(INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) users\b", statement):
            seen.append(statement)

    for line in LINES:
        run(host, *shlex.split(line))
    assert (seen, host.count("users"), len(audit(host))) == ([], 2, 3)


def test_settings_that_cannot_work_are_told_whole_before_any_command(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"base_url": "ftp://x", "tenants": {}, "nosuch": 1}))
    app = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    (tmp_path / "app.py").write_text(app)
    names = {"FLASK_SECRET_KEY": "k" * 32, "FLASK_SQLALCHEMY_DATABASE_URI": "sqlite://", "FLASK_SAMLJIT_SETTINGS": str(settings)}
    flask = [sys.executable, "-m", "flask", "--app", "app.py", "samljit", "check"]
    done = subprocess.run(flask, cwd=tmp_path, env=os.environ | names, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert all(place in done.stderr for place in ("$.base_url", "$.nosuch"))


def test_the_readme_shows_every_command() -> None:
    group = make_commands()
    shown = {words[0] if words[0] not in GROUPS else " ".join(words[:2]) for words in map(str.split, LINES)}
    assert shown == {
        name if name not in GROUPS else f"{name} {inner}"
        for name, command in group.commands.items()
        for inner in (getattr(command, "commands", None) or [""])
    }
