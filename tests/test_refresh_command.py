"""`flask samljit tenant refresh`, `cert list` and `check` for tenants whose IdP is known by the address of its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from samljit.signals import certificate_expiring
from samljit.testing import FakeEntra, signing_key
from tests.commands import read, run
from tests.conftest import Mount
from tests.host import ADELE, LOGIN, ORIGIN, Host
from tests.https import Site, answer
from tests.servers import KINDS, database
from tests.workers import Workers, set_back

OLD, NEW = signing_key("old"), signing_key("new")
ENDING = signing_key("ending", valid_until=(datetime.now(UTC) + timedelta(days=5)).replace(microsecond=0))


@pytest.fixture(params=KINDS)
def workers(request: pytest.FixtureRequest, tmp_path: Path, site: Site) -> Iterator[Workers]:
    with database(request.param, tmp_path) as url:
        made = Workers(tmp_path, url, site)
        yield made
        made.close()


@pytest.fixture
def host(tmp_path: Path, site: Site) -> Iterator[Host]:
    made = Workers(tmp_path, f"sqlite:///{tmp_path}/host.sqlite", site)
    yield made()
    made.close()


def refreshed(host: Host, *arguments: str, code: int = 0) -> list[tuple[str, str]]:
    return [(row["tenant"], row["status"]) for row in read(host, "tenant", "refresh", *(arguments or ("--all",)), code=code)]


def test_cron_fetches_for_every_worker(workers: Workers, site: Site) -> None:
    cron, worker = workers(), workers()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    assert refreshed(cron) == [("contoso", "changed")]
    worker.entra = FakeEntra(keys=[OLD])
    assert worker.sign_in().status == 200

    set_back(cron, metadata_tried_at=timedelta(minutes=1))
    assert refreshed(cron, "contoso") == [("contoso", "unchanged")]
    set_back(cron, metadata_tried_at=timedelta(minutes=1))
    site.shows(FakeEntra(keys=[NEW]).metadata())
    assert refreshed(cron, "--all") == [("contoso", "changed")]

    fetches = site.fetches
    worker.entra = FakeEntra(keys=[NEW])
    assert worker.sign_in().status == 200
    assert site.fetches == fetches


def test_who_comes_while_another_is_at_it_goes_away(workers: Workers, site: Site) -> None:
    first, second = workers(), workers()
    site.shows(first.entra.metadata())
    assert refreshed(first) == [("contoso", "changed")]
    assert refreshed(second) == [("contoso", "busy")]
    assert site.fetches == 1


def test_a_fetch_that_fails_says_why_and_changes_nothing(host: Host, site: Site) -> None:
    site.shows(host.entra.metadata())
    refreshed(host)
    set_back(host, metadata_tried_at=timedelta(minutes=1))
    site.script = answer(b"", status="503 Service Unavailable")

    [row] = read(host, "tenant", "refresh", "contoso", code=1)

    assert (row["status"], "HTTP status 503" in row["error"]) == ("failed", True)
    assert host.sign_in().status == 200
    shown = read(host, "tenant", "show", "contoso")
    assert (shown["metadata_source"], "503" in shown["metadata_error"]) == (site.server.url(), True)
    assert shown["metadata_fetched_at"] is not None
    codes = {finding["code"] for finding in read(host, "check")["findings"] if finding["status"] == "warning"}
    assert "metadata_not_refreshed" in codes


def test_other_tenants_are_passed_over(mount: Mount) -> None:
    host = mount()
    assert refreshed(host) == [("contoso", "not_by_url")]
    assert run(host, "tenant", "refresh", "contoso").exit_code == 2


@pytest.mark.parametrize("arguments", [[], ["contoso", "--all"], ["--all", "--entity-id", "x"], ["nosuch"]], ids=" ".join)
def test_wrong_usage_is_told(host: Host, site: Site, arguments: list[str]) -> None:
    assert run(host, "tenant", "refresh", *arguments).exit_code == 2
    assert site.fetches == 0


def test_a_disabled_tenant_is_fetched_by_name_alone(tmp_path: Path, site: Site) -> None:
    workers = Workers(tmp_path, f"sqlite:///{tmp_path}/host.sqlite", site)
    host = workers(enabled=False)
    site.shows(host.entra.metadata())
    assert refreshed(host) == []
    assert refreshed(host, "contoso") == [("contoso", "changed")]
    workers.close()


def test_a_new_entity_id_is_taken_when_an_operator_says_so_and_everybody_stays_who_they_are(host: Host, site: Site) -> None:
    """Entra: "Append application ID to issuer" changes the entity ID of one app."""
    site.shows(host.entra.metadata())
    assert host.sign_in(ADELE).status == 200
    appended = f"{host.entra.entity_id}00001111-aaaa-2222-bbbb-3333cccc4444/"
    host.entra = FakeEntra(entity_id=appended)
    site.shows(host.entra.metadata())
    set_back(host, metadata_tried_at=timedelta(minutes=1))
    assert refreshed(host, "contoso", code=1) == [("contoso", "failed")]
    assert host.sign_in(ADELE).status == 403

    assert read(host, "tenant", "set", "contoso", "--entity-id", appended, "--rekey")["rekeyed"] == 1
    set_back(host, metadata_tried_at=timedelta(minutes=1))
    assert refreshed(host, "contoso", "--entity-id", appended) == [("contoso", "changed")]

    assert host.sign_in(ADELE).status == 200
    assert len(host.users()) == 1


def test_certificates_are_listed_with_where_they_came_from(host: Host, site: Site) -> None:
    site.shows(FakeEntra(keys=[OLD, ENDING]).metadata())
    before = datetime.now(UTC)
    refreshed(host)

    rows = read(host, "cert", "list")

    assert [(row["of"], row["status"], row["source"]) for row in rows] == [("contoso", "in_date", site.server.url())] * 2
    assert {row["days_left"] for row in rows} == {4, (OLD.certificate.not_valid_after_utc - before).days}
    assert all(datetime.fromisoformat(row["fetched_at"]) >= before for row in rows)
    assert site.server.url() in run(host, "cert", "list").stdout


def test_cron_warns_once_of_what_ends_and_check_each_time(workers: Workers, site: Site) -> None:
    told: list[Any] = []

    def receive(_: Any, **values: Any) -> None:
        told.append((values["tenant"], values["days"]))

    site.shows(FakeEntra(keys=[ENDING]).metadata())
    with certificate_expiring.connected_to(receive):
        hosts = [workers(), workers()]
        rows = [read(host, "tenant", "refresh", "--all")[0] for host in hosts]
    assert told == [("contoso", 7)]
    assert [row["warned_days"] for row in rows] == [7, None]
    codes = {finding["code"] for finding in read(hosts[0], "check")["findings"]}
    assert "certificate_expires_in_7" in codes


def test_check_tells_of_a_tenant_whose_metadata_was_never_fetched(host: Host) -> None:
    found = {finding["code"]: finding["remedy"] for finding in read(host, "check")["findings"]}
    assert "tenant refresh" in found["not_connected"]
    assert host.app.test_client().get(LOGIN, base_url=ORIGIN).status_code == 403
