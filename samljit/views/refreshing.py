"""Metadata that is fetched in the course of a sign-in: in a thread of its own, for which a request waits a moment at most (trust: 48)."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

from flask import current_app

from samljit.errors import AssertionRejected, Reason
from samljit.federation.fetch import SECONDS
from samljit.federation.refresh import SELDOM, SHORTLY, STALE, Feed, Refreshed, RefreshStatus, refresh
from samljit.model import Tenant
from samljit.saml.signature import UNKNOWN_KEY
from samljit.sql.audit import Author
from samljit.sql.metadata import SqlMetadata
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import Step
from samljit.views.expiry import warn_of_expiry
from samljit.views.mounted import Mounted, app_secrets, mounted, utc_now

log = logging.getLogger("samljit")

_NOBODY = "samljit"  # who the record names for what nobody asked for
_WAIT_FIRST = SECONDS + 1  # seconds; nobody of the tenant can sign in before
_WAIT_AGAIN = 3.0  # seconds
_PAUSE = 15.0  # seconds between two tries of this process; the database holds all workers to every 5 minutes
_LOOK = timedelta(hours=1).total_seconds()  # between two looks of this process whether a tenant's metadata is a day old


def connect(step: Step) -> None:
    """Fetches the metadata of a tenant that has none yet, and waits for it; the step's tenant is connected after, if that went well.

    For all others, looks in the background whether theirs is a day old.
    """
    tenant = step.tenant
    feed = mounted().find_feed(tenant) if tenant is not None and tenant.is_open else None
    if tenant is None or feed is None:
        return
    if tenant.idp is not None and tenant.idp.is_usable(step.now):
        _begin(feed, is_routine=True)
    elif _wait(_begin(feed), _WAIT_FIRST):
        step.tenant = mounted().directory.get(tenant.slug, now=step.now)


def renew(rejected: AssertionRejected, step: Step) -> bool:
    """Whether the step's tenant has other metadata by now, by which a refused message is to be judged once more.

    Only a message that names a request of ours is waited for: any other may come from anybody.
    """
    tenant = step.tenant
    feed = mounted().find_feed(tenant) if tenant is not None and _is_about_keys(rejected) else None
    if tenant is None or feed is None:
        return False
    done = _begin(feed)
    if not _answers_us(rejected, tenant) or not _wait(done, _WAIT_AGAIN):
        return False
    step.tenant = mounted().directory.get(tenant.slug, now=step.now)
    return step.tenant.idp is not None and step.tenant.idp != tenant.idp


def _is_about_keys(rejected: AssertionRejected) -> bool:
    is_unknown = rejected.reason is Reason.SIGNATURE_INVALID and rejected.detail == UNKNOWN_KEY
    return is_unknown or rejected.reason is Reason.CERTIFICATE_EXPIRED


def _answers_us(rejected: AssertionRejected, tenant: Tenant) -> bool:
    asked = rejected.unverified_request_id
    return asked is not None and app_secrets().requests.find(asked, tenant_id=tenant.id) is not None


def _begin(feed: Feed, *, is_routine: bool = False) -> Event | None:
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    work = partial(_work, app, feed, is_routine=is_routine)
    return mounted().flights.begin(feed.tenant_id, work, pause=_LOOK if is_routine else _PAUSE)


def _wait(done: Event | None, seconds: float) -> bool:
    """Whether there is something new to look at: a fetch ended while it was waited for, or a moment ago."""
    if done is None:
        return True
    with mounted().flights.place() as got:
        return got and done.wait(seconds)


def _work(app: Any, feed: Feed, *, is_routine: bool) -> None:
    """A thread's: whatever happens is logged here, as nobody else would hear of it."""
    try:
        with app.app_context():
            _refresh(feed, older_than=STALE if is_routine else None)
    except (Unavailable, WriteConflict) as lost:
        log.warning("metadata not refreshed: %s tenant=%s", lost, feed.slug)
    except Exception:
        log.exception("metadata not refreshed, tenant=%s", feed.slug)


def _refresh(feed: Feed, *, older_than: timedelta | None) -> None:
    mount, now = mounted(), utc_now()
    metadata = metadata_of(mount)
    found = refresh(feed, metadata=metadata, author=Author(_NOBODY, now), every=SELDOM, older_than=older_than)
    log_refreshed(found)
    if found.status is RefreshStatus.BUSY and older_than is None:
        _await_other(feed, metadata)
    if found.idp is not None:
        warn_of_expiry(mount.directory.get(feed.slug, now=now), now=now)


def _await_other(feed: Feed, metadata: SqlMetadata) -> None:
    """Waits for the worker whose turn it is, while it may still be fetching."""
    while True:
        known = metadata.find(feed.tenant_id)
        if known.tried_at is None or utc_now() - known.tried_at > SHORTLY:
            return
        if known.fetched_at is not None and known.fetched_at >= known.tried_at:
            return
        time.sleep(0.2)


def metadata_of(mount: Mounted) -> SqlMetadata:
    return SqlMetadata(factory=mount.factory, users=mount.users)


def log_refreshed(found: Refreshed) -> None:
    if found.status is RefreshStatus.FAILED:
        log.warning("metadata not refreshed: tenant=%s %s", found.slug, found.problem)
    elif found.status is RefreshStatus.CHANGED:
        log.info("metadata changed: tenant=%s", found.slug)
