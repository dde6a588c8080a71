"""`flask samljit identity ...`: who is which user, tied and untied by hand and from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from samljit.testing import Person
from tests.commands import add_user, audit, object_id, read, run, write_csv
from tests.commands import made_on_each as made_on_each
from tests.conftest import Mount
from tests.host import ADELE, Host, make_user_model

# --- identities -------------------------------------------------------------------------------------------------------


def link(host: Host, user: int, subject: str, *more: str, code: int = 0) -> Result:
    result = run(host, "identity", "link", "--tenant", "contoso", "--user", str(user), "--subject", subject, *more)
    assert result.exit_code == code, result.output
    return result


def test_somebody_who_was_here_before_single_sign_on_is_linked_and_signs_in_as_themselves(any_host: Host) -> None:
    user = add_user(any_host, "old@contoso.example")
    link(any_host, user, ADELE.object_id.upper(), "--by", "Ada L.")
    assert any_host.sign_in(ADELE).text == f"user {user}"
    [identity] = read(any_host, "identity", "list", "--user", str(user))
    assert (identity["tenant"], identity["subject"], identity["signed_in_at"] is not None) == ("contoso", ADELE.object_id, True)
    [(who, action, before, after)] = audit(any_host)
    assert (who, action, before) == ("Ada L.", "identity_linked", None)
    assert (after["user"], after["subject_key"]) == (str(user), identity["subject_key"])


def test_a_person_made_anew_in_entra_keeps_their_user(host: Host) -> None:
    host.sign_in(ADELE)
    anew = replace(ADELE, object_id="22220000-aaaa-4444-8888-000000000001")
    link(host, 1, anew.object_id)
    assert (host.sign_in(anew).text, host.count("users"), host.count("samljit_identity")) == ("user 1", 1, 2)


def test_linking_twice_changes_nothing_the_second_time(host: Host) -> None:
    user = add_user(host, "old@contoso.example")
    link(host, user, ADELE.object_id)
    link(host, user, ADELE.object_id)
    assert (host.count("samljit_identity"), len(audit(host))) == (1, 1)


@pytest.mark.parametrize("subject", ["", "adele", ADELE.object_id + "0"])
def test_what_is_no_subject_is_not_linked(host: Host, subject: str) -> None:
    link(host, add_user(host, "old@contoso.example"), subject, code=1)
    assert host.count("samljit_identity") == 0


def test_a_subject_that_is_somebody_already_is_not_linked_to_another(host: Host) -> None:
    host.sign_in(ADELE)
    link(host, add_user(host, "old@contoso.example"), ADELE.object_id, code=1)
    assert (host.count("samljit_identity"), audit(host)) == (1, [])


def test_a_user_of_another_tenant_is_not_linked(mount: Mount) -> None:
    model = make_user_model(organization=mapped_column(String(50)))
    host = mount(user_model=model, tenant_fields=lambda tenant: {"organization": tenant.slug})
    refused = link(host, add_user(host, "old@contoso.example", organization="fabrikam"), ADELE.object_id, code=1)
    assert ("not of this tenant" in refused.output, host.count("samljit_identity")) == (True, 0)
    link(host, add_user(host, "old@contoso.example", organization="contoso"), ADELE.object_id)


def test_unlinking_keeps_the_user_and_makes_the_person_a_newcomer(any_host: Host) -> None:
    any_host.sign_in(ADELE)
    [identity] = read(any_host, "identity", "list")
    assert run(any_host, "identity", "unlink", str(identity["identity"]), "--by", "Ada").exit_code == 0
    assert (any_host.count("users"), any_host.count("samljit_identity")) == (1, 0)
    [(who, action, before, after)] = audit(any_host)
    assert (who, action, before["subject_key"], after) == ("Ada", "identity_unlinked", identity["subject_key"], None)
    any_host.sign_in(ADELE)
    assert any_host.count("users") == 2


def test_one_identity_is_shown_by_its_number(host: Host) -> None:
    host.sign_in(ADELE)
    shown = run(host, "identity", "show", "1").stdout
    assert all(text in shown for text in (ADELE.object_id, "contoso", host.entra.entity_id))


def test_who_did_it_is_the_user_of_this_machine_unless_said_otherwise(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "operator")
    link(host, add_user(host, "old@contoso.example"), ADELE.object_id)
    assert audit(host)[0][0] == "operator"


# --- import -----------------------------------------------------------------------------------------------------------


def test_many_people_are_tied_to_their_users_at_once(any_host: Host, tmp_path: Path) -> None:
    users = [add_user(any_host, f"p{n}@contoso.example") for n in range(12)]
    file = write_csv(tmp_path, *(("contoso", object_id(n), str(user)) for n, user in enumerate(users)))
    assert read(any_host, "identity", "import", file) == {"linked": 12, "already": 0, "faults": []}
    assert read(any_host, "identity", "import", file) == {"linked": 0, "already": 12, "faults": []}
    assert (any_host.count("samljit_identity"), len(audit(any_host))) == (12, 12)
    person = Person(object_id=object_id(3), given_name="P3", email="p3@contoso.example")
    assert any_host.sign_in(person).text == f"user {users[3]}"


def test_people_are_found_by_their_e_mail_too(host: Host, tmp_path: Path) -> None:
    users = [add_user(host, f"p{n}@contoso.example") for n in range(2)]
    rows = [("contoso", object_id(n), f"p{n}@contoso.example") for n in range(2)]
    file = write_csv(tmp_path, *rows, head=("tenant", "subject", "email"))
    assert run(host, "identity", "import", file).exit_code == 0
    assert [row.user_id for row in host.rows("samljit_identity")] == users


def test_every_bad_row_is_named_and_nothing_is_half_done(any_host: Host, tmp_path: Path) -> None:
    any_host.sign_in(ADELE)
    users = [str(add_user(any_host, f"p{n}@contoso.example")) for n in range(3)]
    twin = "twin@contoso.example"
    add_user(any_host, twin), add_user(any_host, twin)
    file = write_csv(
        tmp_path,
        ("contoso", object_id(1), users[0], ""),  # line 2, good
        ("nosuch", object_id(2), users[1], ""),
        ("contoso", "no-guid", users[1], ""),
        ("contoso", "", users[1], ""),
        ("contoso", object_id(1), users[1], ""),  # twice
        ("contoso", object_id(3), "99999", ""),
        ("contoso", object_id(4), "somebody", ""),
        ("contoso", object_id(5), "", ""),
        ("contoso", object_id(6), users[1], "both@contoso.example"),
        ("contoso", object_id(7), "", twin),
        ("contoso", object_id(8), "", "nobody@contoso.example"),
        ("contoso", ADELE.object_id, users[2], ""),  # is Adele
        ("contoso", object_id(9)),
        head=("tenant", "subject", "user", "email"),
    )
    told = read(any_host, "identity", "import", file, code=1)
    assert ([fault["line"] for fault in told["faults"]], told["linked"]) == (list(range(3, 15)), 0)
    assert (any_host.count("samljit_identity"), any_host.count("samljit_audit")) == (1, 0)
    lines = run(any_host, "identity", "import", file).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"line {n}" for n in range(3, 15)]


@pytest.mark.parametrize(
    "content",
    [b"", b"tenant;subject;user\n", b"tenant,subject\n", b"tenant,subject,user,is_admin\n", b"\xff\xfe", b'tenant,subject,user\n"a'],
    ids=["empty", "semicolons", "no user", "unknown column", "not utf-8", "open quote"],
)
def test_a_file_that_is_no_such_csv_is_wrong_usage(host: Host, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    assert run(host, "identity", "import", str(file)).exit_code == 2
