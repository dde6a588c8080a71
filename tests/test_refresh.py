"""trust 46, 48: one worker fetches a tenant's metadata at a time, and what it finds replaces the last good document, or does not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from sqlalchemy import text

from samljit.errors import Problem
from samljit.federation.fetch import Source
from samljit.federation.refresh import SELDOM, Feed, Refreshed, RefreshStatus, refresh
from samljit.saml.idp_metadata import LARGEST_METADATA, read_idp_metadata
from samljit.sql.audit import Author
from samljit.sql.metadata import SqlMetadata, StoredMetadata, Turn
from samljit.store import Unavailable
from samljit.testing import FakeEntra, KeyPair, signing_key
from samljit.views.mounted import mounted, utc_now
from tests.conftest import Mount
from tests.host import ORIGIN, Host, make_host
from tests.https import Script, Site, answer
from tests.servers import KINDS, database

THREADS = 16
NOW = datetime.now(UTC).replace(microsecond=123456)
LATER = NOW + SELDOM
URL = "https://idp.example.test/metadata"
OLD, NEW = signing_key("old"), signing_key("new")
EXPIRED = signing_key("expired", valid_until=NOW - timedelta(days=1))


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with database(request.param, tmp_path) as url:
        made = make_host(tmp_path, url=url)
        yield made
        made.session.remove()
        made.engine.dispose()


def tenant_id(host: Host) -> UUID:
    with host.app.app_context():
        return mounted().directory.get("contoso", now=utc_now()).id


def metadata_of(host: Host) -> SqlMetadata:
    mount = host.app.extensions["samljit"]
    return SqlMetadata(factory=mount.factory, users=mount.users)


def feed_of(host: Host, site: Site, path: str = "/metadata") -> Feed:
    source = Source(site.server.url(path=path), "$.here", public_only=False)
    return Feed(tenant_id(host), "contoso", source, "entra", ORIGIN)


def at_once(action: Callable[[], Any]) -> list[Any]:
    barrier = Barrier(THREADS)

    def run(_: int) -> Any:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_of_sixteen_at_once_one_gets_the_turn(host: Host) -> None:
    whose, metadata = tenant_id(host), metadata_of(host)

    for now in (NOW, LATER):
        turns = at_once(lambda now=now: metadata.take_turn(whose, URL, now=now, every=SELDOM))  # type: ignore[misc]
        assert Counter(turns) == {Turn(whose, URL, now): 1, None: THREADS - 1}

    assert metadata.take_turn(whose, URL, now=LATER + SELDOM - timedelta(seconds=1), every=SELDOM) is None
    assert metadata.find(whose) == StoredMetadata(tried_at=LATER)


def test_a_clock_far_ahead_does_not_stop_the_others_for_good(host: Host) -> None:
    whose, metadata = tenant_id(host), metadata_of(host)
    metadata.take_turn(whose, URL, now=NOW + timedelta(days=400), every=SELDOM)
    assert metadata.take_turn(whose, URL, now=NOW, every=SELDOM) == Turn(whose, URL, NOW)


def test_only_what_is_old_is_taken_where_that_is_asked(host: Host, site: Site) -> None:
    whose, metadata, day = tenant_id(host), metadata_of(host), timedelta(days=1)
    site.shows(host.entra.metadata())
    feed = feed_of(host, site)
    assert refresh(feed, metadata=metadata, author=Author("a", NOW), older_than=day).status is RefreshStatus.CHANGED
    for moment, is_old in ((day - timedelta(minutes=1), False), (day, True)):
        assert (metadata.take_turn(whose, feed.source.url, now=NOW + moment, every=SELDOM, older_than=day) is not None) == is_old


def test_another_address_is_tried_at_once_and_then_as_seldom(host: Host) -> None:
    """Whoever has mistyped it need not wait for the right one."""
    whose, metadata = tenant_id(host), metadata_of(host)
    tries = [(URL, True), (URL, False), (URL + "?right", True), (URL + "?right", False)]
    for number, (url, is_free) in enumerate(tries):
        now = NOW + timedelta(seconds=number)
        assert (metadata.take_turn(whose, url, now=now, every=SELDOM) is not None) == is_free


def test_the_turn_of_one_tenant_is_not_that_of_another(mount: Mount) -> None:
    host = mount()
    metadata, first = metadata_of(host), tenant_id(host)
    assert metadata.take_turn(first, URL, now=NOW, every=SELDOM) is not None
    assert metadata.take_turn(UUID(int=1), URL, now=NOW, every=SELDOM) is None, "no such tenant"


def test_who_comes_late_overwrites_nothing(host: Host, site: Site) -> None:
    """A worker that was held up (a paused machine) for longer than a fetch may take."""
    feed, metadata = feed_of(host, site), metadata_of(host)
    begun, go_on = Event(), Event()

    def slowly(tls: Any) -> None:
        begun.set()
        assert go_on.wait(4)
        answer(FakeEntra(keys=[OLD]).metadata())(tls)

    site.script = slowly
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(refresh, feed, metadata=metadata, author=Author("late", NOW))
        assert begun.wait(4)
        site.shows(FakeEntra(keys=[NEW]).metadata())
        assert refresh(feed, metadata=metadata, author=Author("quick", LATER)).status is RefreshStatus.CHANGED
        go_on.set()
        assert late.result().status is RefreshStatus.BUSY

    assert fingerprints(metadata.find(feed.tenant_id).xml) == {fingerprint(NEW)}
    assert [row.changed_by for row in host.rows("samljit_audit")] == ["quick"]


def test_sixteen_refreshes_at_once_ask_once(host: Host, site: Site) -> None:
    site.shows(host.entra.metadata())
    feed, metadata = feed_of(host, site), metadata_of(host)

    found = at_once(lambda: refresh(feed, metadata=metadata, author=Author("a", NOW)))

    assert Counter(one.status for one in found) == {RefreshStatus.CHANGED: 1, RefreshStatus.BUSY: THREADS - 1}
    assert site.server.connections == 1


# --- what is kept -----------------------------------------------------------------------------------------------------


def fingerprint(key: KeyPair) -> str:
    return key.certificate.fingerprint(hashes.SHA256()).hex()


def fingerprints(xml: str | None) -> set[str]:
    assert xml is not None
    idp, _ = read_idp_metadata(xml.encode(), path="$", now=NOW)
    assert idp is not None
    return {certificate.fingerprint for certificate in idp.certificates}


def refreshed(host: Host, site: Site, content: bytes | Script, *, now: datetime = NOW, **options: Any) -> Refreshed:
    site.script = content if callable(content) else answer(content)
    return refresh(feed_of(host, site), metadata=metadata_of(host), author=Author("cron", now), **options)


def test_trust_48_a_rollover_replaces_the_set_as_a_whole_and_is_recorded(host: Host, site: Site) -> None:
    both, after = FakeEntra(keys=[NEW, OLD, EXPIRED]).metadata(), FakeEntra(keys=[NEW]).metadata()
    steps = [(FakeEntra(keys=[OLD]).metadata(), {OLD}), (both, {OLD, NEW, EXPIRED}), (after, {NEW})]
    hashes = set()
    for number, (content, keys) in enumerate(steps):
        now = NOW + number * SELDOM
        assert refreshed(host, site, content, now=now).status is RefreshStatus.CHANGED
        stored = metadata_of(host).find(tenant_id(host))
        assert fingerprints(stored.xml) == set(map(fingerprint, keys))
        assert (stored.fetched_at, stored.tried_at, stored.error) == (now, now, None)
        hashes.add(stored.hash)
    assert len(hashes) == 3

    rows = host.rows("samljit_audit")
    assert [(row.changed_by, row.action) for row in rows] == [("cron", "metadata_changed")] * 3
    listed = [tuple(side and {one["fingerprint"] for one in side["certificates"]} for side in (row.before, row.after)) for row in rows]
    old, new, expired = map(fingerprint, (OLD, NEW, EXPIRED))
    assert listed == [(None, {old}), ({old}, {old, new, expired}), ({old, new, expired}, {new})]
    assert rows[0].after["entity_id"] == host.entra.entity_id
    assert rows[0].after["certificates"][0]["not_after"] == OLD.certificate.not_valid_after_utc.isoformat()


def test_what_says_the_same_in_another_order_or_signed_anew_is_no_change(host: Host, site: Site) -> None:
    assert refreshed(host, site, FakeEntra(keys=[OLD, NEW]).metadata()).status is RefreshStatus.CHANGED
    before = metadata_of(host).find(tenant_id(host))

    again = FakeEntra(keys=[OLD, NEW]).metadata(keys=[NEW, OLD])
    assert refreshed(host, site, again, now=LATER).status is RefreshStatus.UNCHANGED

    after = metadata_of(host).find(tenant_id(host))
    assert (after.xml, after.hash) == (before.xml, before.hash)
    assert (after.fetched_at, after.tried_at) == (LATER, LATER)
    assert host.count("samljit_audit") == 1


ENDED = FakeEntra().metadata().replace(b"<EntityDescriptor ", b'<EntityDescriptor validUntil="2020-01-01T00:00:00Z" ')
ANSWERS_ELSEWHERE = FakeEntra().metadata().replace(
    b"<SingleLogoutService ", b'<SingleLogoutService ResponseLocation="https://evil.example/phish" '
)
FAULTS = [
    pytest.param(b"", "empty", id="nothing"),
    pytest.param(b"<html>sign in</html>", "not_metadata", id="a page"),
    pytest.param(b"<EntityDescriptor", "xml_malformed", id="no XML"),
    pytest.param(answer(b"", status="503 Service Unavailable"), "http_status", id="an error"),
    pytest.param(answer(b"", "Location: https://evil.example/", status="302 Found"), "redirected", id="a redirect"),
    pytest.param(b" " * (LARGEST_METADATA + 1), "too_large", id="too large"),
    pytest.param(FakeEntra(entity_id="https://sts.windows.net/{tenant}/").metadata(), "common_metadata", id="common"),
    pytest.param(FakeEntra(entity_id="https://sts.windows.net/elsewhere/").metadata(), "entity_id_mismatch", id="another entity ID"),
    pytest.param(FakeEntra(sso_url="https://evil.example/saml2").metadata(), "endpoint_not_allowed", id="an address elsewhere"),
    pytest.param(FakeEntra(slo_url="https://evil.example/saml2").metadata(), "endpoint_not_allowed", id="a logout elsewhere"),
    pytest.param(ANSWERS_ELSEWHERE, "endpoint_not_allowed", id="answers to a logout elsewhere"),
    pytest.param(FakeEntra().metadata(keys=[]), "certificate_missing", id="no certificate"),
    pytest.param(ENDED, "metadata_expired", id="no longer valid"),
    pytest.param(b'<!DOCTYPE a [<!ENTITY b "c">]>' + FakeEntra().metadata().split(b"?>", 1)[1], "xml_forbidden", id="a DOCTYPE"),
]


@pytest.mark.parametrize(("content", "code"), FAULTS)
def test_trust_48_a_failing_or_empty_fetch_keeps_the_last_good_one(mount: Mount, site: Site, content: Any, code: str) -> None:
    host = mount()
    refreshed(host, site, host.entra.metadata())
    good = metadata_of(host).find(tenant_id(host))

    found = refreshed(host, site, content, now=LATER)

    assert (found.status, found.problem and found.problem.code) == (RefreshStatus.FAILED, code)
    after = metadata_of(host).find(tenant_id(host))
    assert (after.xml, after.hash, after.fetched_at) == (good.xml, good.hash, good.fetched_at)
    assert after.tried_at == LATER
    assert isinstance(found.problem, Problem)
    assert after.error
    assert after.error.startswith(found.problem.message[:100])
    assert host.count("samljit_audit") == 1

    assert refreshed(host, site, host.entra.metadata(), now=LATER + SELDOM).status is RefreshStatus.UNCHANGED
    assert metadata_of(host).find(tenant_id(host)).error is None


@pytest.mark.parametrize(("content", "code"), [fault for fault in FAULTS if fault.id != "another entity ID"])
def test_a_bad_document_is_not_taken_for_want_of_a_better_one(mount: Mount, site: Site, content: Any, code: str) -> None:
    host = mount()
    found = refreshed(host, site, content)
    assert (found.status, found.problem and found.problem.code) == (RefreshStatus.FAILED, code)
    stored = metadata_of(host).find(tenant_id(host))
    assert (stored.xml, stored.hash, stored.fetched_at) == (None, None, None)


def test_only_an_operator_changes_the_entity_id(mount: Mount, site: Site) -> None:
    host = mount()
    appended = f"{host.entra.entity_id}00001111-aaaa-2222-bbbb-3333cccc4444/"
    refreshed(host, site, host.entra.metadata())
    changed = FakeEntra(entity_id=appended).metadata()

    assert refreshed(host, site, changed, now=LATER).status is RefreshStatus.FAILED
    wrong = refreshed(host, site, changed, now=LATER + SELDOM, entity_id=appended + "x")
    assert (wrong.status, wrong.problem and wrong.problem.code) == (RefreshStatus.FAILED, "entity_id_mismatch")
    right = refreshed(host, site, changed, now=LATER + 2 * SELDOM, entity_id=appended)
    assert (right.status, right.idp and right.idp.entity_id) == (RefreshStatus.CHANGED, appended)
    assert refreshed(host, site, changed, now=LATER + 3 * SELDOM).status is RefreshStatus.UNCHANGED


def test_the_document_of_another_address_says_nothing_of_this_one(mount: Mount, site: Site) -> None:
    host = mount()
    elsewhere = FakeEntra("22220000-bbbb-4444-8888-000000000001")
    refreshed(host, site, host.entra.metadata())
    site.shows(elsewhere.metadata())

    moved = refresh(feed_of(host, site, path="/other"), metadata=metadata_of(host), author=Author("a", LATER))

    assert (moved.status, moved.idp and moved.idp.entity_id) == (RefreshStatus.CHANGED, elsewhere.entity_id)
    assert host.rows("samljit_audit")[1].before is None


@contextmanager
def broken(host: Host) -> Iterator[None]:
    """A database in which nothing can be recorded: of a change and its record there must be both, or neither."""
    with host.engine.begin() as connection:
        connection.execute(text("ALTER TABLE samljit_audit RENAME TO elsewhere"))
    try:
        yield
    finally:
        with host.engine.begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO samljit_audit"))


def test_there_is_no_change_without_its_record(host: Host, site: Site) -> None:
    with broken(host), pytest.raises(Unavailable):
        refreshed(host, site, host.entra.metadata())
    assert metadata_of(host).find(tenant_id(host)).xml is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16"])
def test_a_document_of_any_encoding_is_kept_and_read_again(host: Host, site: Site, encoding: str) -> None:
    written = host.entra.metadata().decode("utf-8-sig").split("?>", 1)[1]
    named = written.replace("Mutable user name.", "Anmeldename für Müller, 名前 🙂")
    content = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>{named}'.encode(encoding)

    assert refreshed(host, site, content).status is RefreshStatus.CHANGED
    assert fingerprints(metadata_of(host).find(tenant_id(host)).xml) == {fingerprint(host.entra.key)}
    assert refreshed(host, site, content, now=LATER).status is RefreshStatus.UNCHANGED


# --- who is warned ----------------------------------------------------------------------------------------------------


def test_of_sixteen_at_once_one_is_told_to_warn(host: Host) -> None:
    whose, metadata = tenant_id(host), metadata_of(host)
    old, new = fingerprint(OLD), fingerprint(NEW)
    for print_, days, expected in ((old, 60, 1), (old, 60, 0), (old, 30, 1), (old, 60, 0), (old, 1, 1), (old, 7, 0), (new, 60, 1)):
        told = at_once(lambda p=print_, d=days: metadata.warn_once(whose, fingerprint=p, days=d))  # type: ignore[misc]
        assert Counter(told)[True] == expected, (days, json.dumps(told))
