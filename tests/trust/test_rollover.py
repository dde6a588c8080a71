"""trust 46, 48: sign-ins of a tenant whose IdP is known by the address of its metadata, while its certificates roll over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from samljit.errors import Reason
from samljit.federation import fetch
from samljit.model import Stage
from samljit.signals import certificate_expiring
from samljit.sql.audit import AuditAction, Author
from samljit.testing import FakeEntra, KeyPair, Page, SamlPost, signing_key
from samljit.views import refreshing
from tests.host import ACS, ADELE, FIELDS, LOGIN, ORIGIN, Host
from tests.https import Site, answer
from tests.servers import KINDS, database
from tests.workers import Workers, set_back

OLD, NEW, THIRD = signing_key("old"), signing_key("new"), signing_key("third")
EXPIRED = signing_key("expired", valid_until=datetime.now(UTC) - timedelta(days=1))
GOOD = (200, f"{ORIGIN}/")


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves it to the database to say how often: these processes are younger than their pause between two looks."""
    monkeypatch.setattr(refreshing, "_PAUSE", 0.0)


@pytest.fixture(params=KINDS)
def workers(request: pytest.FixtureRequest, tmp_path: Path, site: Site) -> Iterator[Workers]:
    with database(request.param, tmp_path) as url:
        made = Workers(tmp_path, url, site)
        yield made
        made.close()


@pytest.fixture
def worker(tmp_path: Path, site: Site) -> Iterator[Workers]:
    """The same on SQLite alone."""
    made = Workers(tmp_path, f"sqlite:///{tmp_path}/host.sqlite", site)
    yield made
    made.close()


def signs(host: Host, key: KeyPair) -> None:
    host.entra = FakeEntra(keys=[key])


def landed(page: Page) -> tuple[int, str]:
    return page.status, page.url


def answered(host: Host, key: KeyPair, **changes: Any) -> SamlPost:
    """The answer to a sign-in that has begun, signed with this key, yet to be posted."""
    begun = host.browser().get(LOGIN)
    request = host.entra.read_request(begun.url)
    return FakeEntra(keys=[key]).respond(request, ADELE, now=datetime.now(UTC), **changes)


def post(host: Host, sent: SamlPost) -> int:
    return host.app.test_client().post(ACS, base_url=ORIGIN, data=dict(sent.form)).status_code


def state(host: Host) -> Any:
    [row] = host.rows("samljit_tenant_state")
    return row


def eventually(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- the first use ----------------------------------------------------------------------------------------------------


def test_the_first_sign_in_fetches_and_the_next_ones_do_not(workers: Workers, site: Site) -> None:
    first, second = workers(), workers()
    site.shows(first.entra.metadata())

    assert landed(first.sign_in()) == GOOD
    assert landed(first.sign_in()) == GOOD
    assert landed(second.sign_in()) == GOOD

    assert site.fetches == 1
    assert [row.action for row in first.rows("samljit_audit")] == ["metadata_changed"]
    assert first.rows("samljit_audit")[0].changed_by == "samljit"


def test_sixteen_first_sign_ins_at_once_fetch_once(workers: Workers, site: Site) -> None:
    hosts = [workers(), workers()]
    site.shows(hosts[0].entra.metadata())
    barrier = Barrier(16)

    def begin(number: int) -> int:
        barrier.wait()
        return hosts[number % 2].app.test_client().get(LOGIN, base_url=ORIGIN).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(begin, range(16)))

    assert site.fetches == 1
    assert statuses.count(303) >= 4, "those that may wait for it"
    assert set(statuses) <= {303, 403}
    assert landed(hosts[1].sign_in()) == GOOD


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(FakeEntra(entity_id="https://sts.windows.net/{tenant}/").metadata(), id="common"),
        pytest.param(FakeEntra(sso_url="https://evil.example/saml2").metadata(), id="an address elsewhere"),
    ],
)
def test_a_tenant_without_good_metadata_is_not_connected_and_is_tried_seldom(worker: Workers, site: Site, content: bytes) -> None:
    site.shows(content)
    for _ in range(3):
        host = worker()
        assert host.browser().get(LOGIN).status == 403
    assert site.fetches == 1
    assert host.reasons() == [Reason.TENANT_NOT_CONNECTED] * 3
    assert state(host).metadata_error

    set_back(host, metadata_tried_at=timedelta(minutes=5))
    site.shows(host.entra.metadata())
    assert landed(worker().sign_in()) == GOOD
    assert site.fetches == 2


def test_a_disabled_tenant_and_one_of_another_kind_fetch_nothing(worker: Workers, site: Site) -> None:
    assert worker(enabled=False).browser().get(LOGIN).status == 403
    assert worker(offer_sso=False).browser().get(LOGIN).status == 403
    assert worker(idp=None).browser().get(LOGIN).status == 403
    assert site.fetches == 0


def stored(host: Host, url: str) -> None:
    """Another tenant, fabrikam, that lives in the database, as if a page had taken the address."""
    document = {"name": "Fabrikam", "entra_tenant_id": host.entra.tenant_id, "mapping": {"fields": FIELDS}, "idp": {"metadata_url": url}}
    host.app.extensions["samljit"].directory.rows.add("fabrikam", document, author=Author("a page", datetime.now(UTC)))


def move(host: Host, url: str) -> None:
    rows, author = host.app.extensions["samljit"].directory.rows, Author("a page", datetime.now(UTC))
    change = {"idp": {"metadata_url": url}}
    rows.change(rows.get_stored("fabrikam"), change, author=author, action=AuditAction.TENANT_CHANGED)


FABRIKAM = LOGIN.replace("contoso", "fabrikam")


def test_trust_46_an_address_in_the_database_leads_into_the_public_internet_alone(
    workers: Workers, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings may name any host; what a page took may not reach this machine, though its host is one of metadata_hosts."""
    host = workers()
    site.shows(host.entra.metadata())
    stored(host, site.server.url())

    assert host.browser().get(FABRIKAM).status == 403
    assert site.fetches == 0
    errors = {row.slug: row.metadata_error for row in host.rows("samljit_tenant_state")}
    assert "not of the public internet" in errors["fabrikam"]

    monkeypatch.setattr(fetch, "is_public", lambda _: True)
    set_back(host, metadata_tried_at=timedelta(minutes=5))
    assert landed(host.sign_in(login_url=FABRIKAM)) == GOOD


def test_another_address_means_another_idp_at_once(workers: Workers, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "is_public", lambda _: True)
    host = workers()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    stored(host, site.server.url())
    signs(host, OLD)
    assert landed(host.sign_in(login_url=FABRIKAM)) == GOOD

    site.shows(b"")
    move(host, site.server.url(path="/mistyped"))
    assert host.browser().get(FABRIKAM).status == 403
    site.shows(FakeEntra(keys=[NEW]).metadata())
    move(host, site.server.url(path="/other"))
    signs(host, NEW)
    assert landed(host.sign_in(login_url=FABRIKAM)) == GOOD
    signs(host, OLD)
    assert host.sign_in(login_url=FABRIKAM).status == 403


# --- rollover ---------------------------------------------------------------------------------------------------------


def test_trust_48_a_new_key_is_learnt_in_the_sign_in_that_brings_it_and_by_every_worker(workers: Workers, site: Site) -> None:
    first, second = workers(), workers()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    for host in (first, second):
        signs(host, OLD)
        assert landed(host.sign_in()) == GOOD
    set_back(first, metadata_tried_at=timedelta(minutes=5))

    site.shows(FakeEntra(keys=[NEW, OLD]).metadata())
    for host in (first, second):
        signs(host, NEW)
        assert landed(host.sign_in()) == GOOD
        signs(host, OLD)
        assert landed(host.sign_in()) == GOOD

    assert site.fetches == 2
    assert first.reasons() == []
    assert len(first.users()) == 1


def test_several_workers_meet_the_new_key_at_once(workers: Workers, site: Site) -> None:
    """One of them fetches; those on other workers wait for that, and for nothing else."""
    hosts = [workers(), workers(), workers()]
    site.shows(FakeEntra(keys=[OLD]).metadata())
    for host in hosts:
        signs(host, OLD)
        host.sign_in()
    set_back(hosts[0], metadata_tried_at=timedelta(minutes=5))
    posts = [answered(host, NEW) for host in hosts]
    site.script = lambda tls: (time.sleep(0.3), answer(FakeEntra(keys=[NEW]).metadata())(tls))[1]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(post, hosts, posts)) == [200, 200, 200]
    assert site.fetches == 2


def test_trust_48_a_key_that_is_no_longer_listed_verifies_nothing(workers: Workers, site: Site) -> None:
    first, second = workers(), workers()
    site.shows(FakeEntra(keys=[OLD, NEW]).metadata())
    for host in (first, second):
        signs(host, OLD)
        assert landed(host.sign_in()) == GOOD
    set_back(first, metadata_tried_at=timedelta(minutes=5))
    site.shows(FakeEntra(keys=[THIRD]).metadata())
    signs(second, THIRD)
    assert landed(second.sign_in()) == GOOD

    for host in (first, second):
        assert post(host, answered(host, OLD)) == 403
        assert post(host, answered(host, NEW)) == 403
    assert set(first.reasons()) == {Reason.SIGNATURE_INVALID}


@pytest.mark.parametrize("order", [(OLD, NEW, EXPIRED), (EXPIRED, NEW, OLD), (NEW, EXPIRED, OLD)], ids=["a", "b", "c"])
def test_any_listed_certificate_in_date_verifies_in_whatever_order(worker: Workers, site: Site, order: tuple[KeyPair, ...]) -> None:
    """Entra: metadata lists inactive certificates too, in no meaningful order; which one is active is not said."""
    host = worker()
    site.shows(FakeEntra(keys=order).metadata())
    for key in (OLD, NEW):
        signs(host, key)
        assert landed(host.sign_in()) == GOOD
    signs(host, EXPIRED)
    assert host.sign_in().status == 403
    assert host.reasons() == [Reason.CERTIFICATE_EXPIRED]


def test_an_expired_certificate_that_was_renewed_over_the_same_key_is_learnt(worker: Workers, site: Site) -> None:
    renewed = signing_key("expired")
    host = worker()
    site.shows(FakeEntra(keys=[EXPIRED]).metadata())
    signs(host, EXPIRED)
    assert host.sign_in().status == 403
    set_back(host, metadata_tried_at=timedelta(minutes=5))

    site.shows(FakeEntra(keys=[renewed]).metadata())
    assert post(host, answered(host, renewed)) == 200
    assert host.reasons() == [Reason.CERTIFICATE_EXPIRED]


# --- what strangers can make us do ------------------------------------------------------------------------------------


def test_unknown_keys_make_one_fetch_in_five_minutes_over_all_workers(workers: Workers, site: Site) -> None:
    hosts = [workers(), workers()]
    site.shows(FakeEntra(keys=[OLD]).metadata())
    for host in hosts:
        signs(host, OLD)
        assert landed(host.sign_in()) == GOOD
    set_back(hosts[0], metadata_tried_at=timedelta(minutes=5))

    for number in range(6):
        host = hosts[number % 2]
        assert post(host, answered(host, NEW)) == 403

    assert site.fetches == 2
    assert hosts[0].reasons() == [Reason.SIGNATURE_INVALID] * 6
    assert landed(hosts[0].sign_in()) == GOOD


def forge_a_value(root: Any) -> None:
    next(root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}AttributeValue")).text = "forged"


FAULTS: list[Any] = [
    pytest.param({"audiences": (("https://elsewhere.example",),)}, Reason.AUDIENCE_MISMATCH, id="of another audience"),
    pytest.param({"sign": "none"}, Reason.SIGNATURE_MISSING, id="unsigned"),
    pytest.param({"after_signing": forge_a_value}, Reason.SIGNATURE_INVALID, id="a value changed"),
    pytest.param({"after_signing": lambda root: root[-1].set("ID", "_x")}, Reason.SIGNATURE_SHAPE, id="changed on its way"),
]


@pytest.mark.parametrize(("changes", "reason"), FAULTS)
def test_other_faults_make_no_fetch(worker: Workers, site: Site, changes: dict[str, Any], reason: Reason) -> None:
    host = worker()
    site.shows(host.entra.metadata())
    host.sign_in()
    set_back(host, metadata_tried_at=timedelta(minutes=5))
    assert post(host, answered(host, host.entra.key, **changes)) == 403
    assert host.reasons() == [reason]
    time.sleep(0.2)
    assert site.fetches == 1


def test_a_message_that_names_no_request_of_ours_is_not_waited_for(worker: Workers, site: Site) -> None:
    host = worker()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    signs(host, OLD)
    host.sign_in()
    set_back(host, metadata_tried_at=timedelta(minutes=5))
    site.script = lambda tls: (time.sleep(4), answer(FakeEntra(keys=[NEW]).metadata())(tls))[1]
    stranger = FakeEntra(keys=[NEW]).unsolicited(ADELE, acs_url=ACS, audience=f"{ORIGIN}/saml/contoso/metadata", now=datetime.now(UTC))

    began = time.monotonic()
    assert post(host, stranger) == 403
    assert time.monotonic() - began < 3.5

    eventually(lambda: state(host).metadata_at == state(host).metadata_tried_at)
    assert post(host, answered(host, NEW)) == 200


def test_a_slow_server_is_waited_for_a_moment_only(worker: Workers, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_WAIT_AGAIN", 0.5)
    host = worker()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    signs(host, OLD)
    host.sign_in()
    set_back(host, metadata_tried_at=timedelta(minutes=5))
    site.script = lambda tls: (time.sleep(4), answer(FakeEntra(keys=[NEW]).metadata())(tls))[1]
    sent, again = answered(host, NEW), answered(host, NEW)

    began = time.monotonic()
    assert post(host, sent) == 403
    assert 0.5 <= time.monotonic() - began < 3.5

    eventually(lambda: state(host).metadata_at == state(host).metadata_tried_at)
    assert post(host, again) == 200


def test_only_some_requests_wait_at_a_time(worker: Workers, site: Site) -> None:
    """Strangers that make one fetch hang do not hold all of the app's threads."""
    host = worker()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    signs(host, OLD)
    host.sign_in()
    set_back(host, metadata_tried_at=timedelta(minutes=5))
    site.script = lambda tls: (time.sleep(2), answer(b"")(tls))[1]
    posts = [answered(host, NEW) for _ in range(12)]

    def timed(sent: SamlPost) -> float:
        began = time.monotonic()
        assert post(host, sent) == 403
        return time.monotonic() - began

    with ThreadPoolExecutor(12) as pool:
        times = sorted(pool.map(timed, posts))
    assert sum(seconds > 1.5 for seconds in times) <= 4, times


# --- once a day -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "fetches"), [(23, 1), (24, 2)])
def test_a_day_old_document_is_fetched_again_and_no_sign_in_waits_for_that(worker: Workers, site: Site, hours: int, fetches: int) -> None:
    host = worker()
    site.shows(FakeEntra(keys=[OLD]).metadata())
    signs(host, OLD)
    host.sign_in()
    age = timedelta(hours=hours)
    set_back(host, metadata_at=age, metadata_tried_at=age)
    site.script = lambda tls: (time.sleep(4), answer(FakeEntra(keys=[OLD, NEW]).metadata())(tls))[1]

    other = worker()
    signs(other, OLD)
    began = time.monotonic()
    assert landed(other.sign_in()) == GOOD
    assert time.monotonic() - began < 3.5

    if fetches == 2:
        eventually(lambda: state(host).metadata_at == state(host).metadata_tried_at)
    else:
        time.sleep(0.3)
    assert site.fetches == fetches


def test_a_tenant_whose_metadata_has_ended_is_not_connected_until_it_is_renewed(worker: Workers, site: Site) -> None:
    """validUntil passes while the app runs: nothing of the document may be used from then on."""
    host = worker()
    until = datetime.now(UTC) + timedelta(seconds=2)
    marked = f'<EntityDescriptor validUntil="{until.strftime("%Y-%m-%dT%H:%M:%S")}Z" '.encode()
    site.shows(host.entra.metadata().replace(b"<EntityDescriptor ", marked))
    assert host.app.test_client().get(LOGIN, base_url=ORIGIN).status_code == 303
    eventually(lambda: datetime.now(UTC) > until)
    assert host.app.test_client().get(LOGIN, base_url=ORIGIN).status_code == 403

    set_back(host, metadata_tried_at=timedelta(minutes=5))
    site.shows(host.entra.metadata())
    assert landed(worker().sign_in()) == GOOD


# --- before it ends ---------------------------------------------------------------------------------------------------


@pytest.fixture
def warned() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def receive(_: Any, **values: Any) -> None:
        found.append(values)

    with certificate_expiring.connected_to(receive):
        yield found


@pytest.mark.parametrize(
    ("days", "told"), [(61, None), (59, 60), (29, 30), (6, 7), (0.9, 1), (-1, None)], ids=["61", "59", "29", "6", "0.9", "expired"]
)
def test_the_host_is_warned_once_for_each_threshold(
    workers: Workers, site: Site, warned: list[dict[str, Any]], days: float, told: int | None
) -> None:
    ends = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    last = signing_key("last", valid_until=ends)
    site.shows(FakeEntra(keys=[last, EXPIRED]).metadata())
    for _ in range(2):
        host = workers()
        signs(host, last)
        for _ in range(2):
            host.sign_in()
    eventually(lambda: told is None or bool(warned))
    fingerprint = last.certificate.fingerprint(last.certificate.signature_hash_algorithm).hex()  # type: ignore[arg-type]
    expected = [{"tenant": "contoso", "days": told, "not_after": ends, "fingerprint": fingerprint}] if told else []
    assert warned == expected


def test_a_longer_lasting_certificate_beside_it_needs_no_warning(worker: Workers, site: Site, warned: list[dict[str, Any]]) -> None:
    host = worker()
    ending = signing_key("last", valid_until=datetime.now(UTC) + timedelta(days=5))
    site.shows(FakeEntra(keys=[ending, NEW]).metadata())
    signs(host, ending)
    assert landed(host.sign_in()) == GOOD
    assert warned == []


def test_a_receiver_that_fails_undoes_no_sign_in(worker: Workers, site: Site) -> None:
    host = worker()
    ending = signing_key("last", valid_until=datetime.now(UTC) + timedelta(days=5))
    site.shows(FakeEntra(keys=[ending]).metadata())
    signs(host, ending)

    def fail(_: Any, **__: Any) -> None:
        raise RuntimeError

    with certificate_expiring.connected_to(fail):
        assert landed(host.sign_in()) == GOOD
    assert [row.stage for row in host.rows("samljit_attempt")] == [Stage.PROVISION]
