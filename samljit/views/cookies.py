"""The two cookies of a sign-in: the pending request, which ties it to one browser, and the hand-over between its two steps.

Both are signed, HttpOnly and SameSite=Lax, named by the request's nonce so that several tabs work, and on https carry the
`__Host-` prefix, so that no sister domain can plant them. Neither is read by the ACS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from samljit.saml.request import REQUEST_LIFETIME
from samljit.views.mounted import Mounted, Secrets

PENDING_LIFETIME = timedelta(hours=2)  # longer than a request can be answered: whoever took too long still comes to the page wanted
HANDOVER_LIFETIME = timedelta(minutes=2)
RESTART_LIFETIME = timedelta(minutes=2)
ARRIVAL_LIFETIME = timedelta(seconds=30)
MOST_ARRIVALS = 2
MOST_PENDING = 5
_PENDING_BYTES = 3500  # of the Cookie header; gunicorn refuses a header of 8190 bytes, and the host has cookies too

_PENDING, _HANDOVER, _REFUSAL = "samljit-pending-", "samljit-handover-", "samljit-refusal-"
_RESTART, _QUIET, _ARRIVALS = "samljit-restarted", "samljit-tried-quietly", "samljit-arrivals"
_TEST = "samljit-test"
_ALL = (_PENDING, _HANDOVER, _REFUSAL, _RESTART, _QUIET, _ARRIVALS)
COOKIE_NAMES = tuple(prefix + name for prefix in ("", "__Host-") for name in _ALL)


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that this browser began, and whether with ForceAuthn or IsPassive."""

    nonce: str
    tenant_id: UUID
    next: str
    force: bool
    passive: bool = False


@dataclass(frozen=True, slots=True)
class Handover:
    """A sign-in that the ACS has committed, for this browser to finish. Holds nothing about the person.

    `next` is where one goes that the IdP has started: a local path. One that began here has it in its pending request.
    """

    reference: str
    tenant_id: UUID
    nonce: str
    next: str | None = None


def _name(mount: Mounted, name: str) -> str:
    return ("__Host-" if mount.is_https else "") + name


def _set(response: Response, mount: Mounted, name: str, value: str, *, lifetime: timedelta) -> None:
    response.set_cookie(
        _name(mount, name), value, max_age=lifetime, path="/", secure=mount.is_https, httponly=True, samesite="Lax"
    )


def _drop(response: Response, mount: Mounted, name: str) -> None:
    response.delete_cookie(_name(mount, name), path="/", secure=mount.is_https, httponly=True, samesite="Lax")


def _load(signer: URLSafeTimedSerializer, token: str, *, lifetime: timedelta) -> tuple[list[Any], datetime] | None:
    try:
        payload, made = signer.loads(token, max_age=int(lifetime.total_seconds()), return_timestamp=True)
    except BadSignature:
        return None
    return payload, made.astimezone(UTC)


# --- the pending request ----------------------------------------------------------------------------------------------


def set_pending(response: Response, request: Request, *, mount: Mounted, secrets: Secrets, pending: Pending) -> None:
    """Remembers a sign-in in this browser, and forgets the oldest where there are more than five."""
    token = secrets.pending.dumps([pending.nonce, str(pending.tenant_id), pending.next, pending.force, pending.passive])
    token = token if isinstance(token, str) else token.decode()
    ours = re.compile(re.escape(_name(mount, _PENDING)) + "[0-9a-f]{32}")  # any other name that was sent is not fit for a header of ours
    kept, stale, size = [], [], len(token)
    for name, value in request.cookies.items():
        if ours.fullmatch(name):
            loaded = _load(secrets.pending, value, lifetime=PENDING_LIFETIME)
            if loaded is None:
                stale.append(name)
            else:
                kept.append((loaded[1], name, len(value)))
    for position, (_, name, length) in enumerate(sorted(kept, reverse=True)):
        size += length
        if position + 1 >= MOST_PENDING or size > _PENDING_BYTES:
            stale.append(name)
    for name in stale:
        _drop(response, mount, name.removeprefix("__Host-"))
    _set(response, mount, _PENDING + pending.nonce, token, lifetime=PENDING_LIFETIME)


def find_pending(
    request: Request, nonce: str, *, mount: Mounted, secrets: Secrets, lifetime: timedelta = REQUEST_LIFETIME
) -> Pending | None:
    """The sign-in of that nonce, if this browser began it within the last 15 minutes, or another `lifetime`."""
    loaded = _load(secrets.pending, request.cookies.get(_name(mount, _PENDING + nonce), ""), lifetime=lifetime)
    if loaded is None or loaded[0][0] != nonce:
        return None
    _, tenant_id, next_path, force, passive = loaded[0]
    return Pending(nonce=nonce, tenant_id=UUID(tenant_id), next=next_path, force=force, passive=passive)


# --- the hand-over ----------------------------------------------------------------------------------------------------


def set_handover(response: Response, *, mount: Mounted, secrets: Secrets, handover: Handover) -> None:
    _hand_over(response, mount, _HANDOVER, secrets=secrets, handover=handover)


def set_refusal(response: Response, *, mount: Mounted, secrets: Secrets, handover: Handover) -> None:
    """Hands a refusal over, beside a hand-over that may be there: whoever reloads between the two steps posts the response a second
    time, and must not lose the sign-in that the first one made."""
    _hand_over(response, mount, _REFUSAL, secrets=secrets, handover=handover)


def _hand_over(response: Response, mount: Mounted, name: str, *, secrets: Secrets, handover: Handover) -> None:
    token = secrets.handover.dumps([handover.reference, str(handover.tenant_id), handover.nonce, handover.next])
    token = token if isinstance(token, str) else token.decode()
    _set(response, mount, name + handover.nonce, token, lifetime=HANDOVER_LIFETIME)


def find_handover(request: Request, nonce: str, *, mount: Mounted, secrets: Secrets) -> Handover | None:
    """What the ACS handed over for this nonce: the sign-in it made, else the refusal."""
    for name in (_HANDOVER, _REFUSAL):
        loaded = _load(secrets.handover, request.cookies.get(_name(mount, name + nonce), ""), lifetime=HANDOVER_LIFETIME)
        if loaded is not None and loaded[0][2] == nonce:
            return Handover(reference=loaded[0][0], tenant_id=UUID(loaded[0][1]), nonce=nonce, next=loaded[0][3])
    return None


def drop_sign_in(response: Response, request: Request, nonce: str, *, mount: Mounted) -> None:
    """All cookies of a sign-in that is over."""
    _drop_sent(response, request, mount, _PENDING + nonce)
    drop_handover(response, request, nonce, mount=mount)


def drop_handover(response: Response, request: Request, nonce: str, *, mount: Mounted) -> None:
    for name in (_HANDOVER, _REFUSAL):
        _drop_sent(response, request, mount, name + nonce)


def _drop_sent(response: Response, request: Request, mount: Mounted, name: str) -> None:
    """Drops a cookie that the browser has: all of ours are for every path."""
    if _name(mount, name) in request.cookies:
        _drop(response, mount, name)


# --- a test sign-in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PendingTest:
    """A test sign-in that this browser began, for an admin whom Flask-Login knows by `user`."""

    nonce: str
    tenant_id: UUID
    user: str
    draft_revision: int


def set_pending_test(response: Response, *, mount: Mounted, secrets: Secrets, pending: PendingTest) -> None:
    """Remembers a test in this browser, in place of the one before: an admin makes one at a time."""
    token = secrets.test.dumps([pending.nonce, str(pending.tenant_id), pending.user, pending.draft_revision])
    _set(response, mount, _TEST, token if isinstance(token, str) else token.decode(), lifetime=PENDING_LIFETIME)


def find_pending_test(request: Request, *, mount: Mounted, secrets: Secrets) -> PendingTest | None:
    loaded = _load(secrets.test, request.cookies.get(_name(mount, _TEST), ""), lifetime=PENDING_LIFETIME)
    if loaded is None:
        return None
    nonce, tenant_id, user, draft_revision = loaded[0]
    return PendingTest(nonce, UUID(tenant_id), user, draft_revision)


def drop_pending_test(response: Response, *, mount: Mounted) -> None:
    _drop(response, mount, _TEST)


# --- one restart ------------------------------------------------------------------------------------------------------


def was_restarted(request: Request, *, mount: Mounted) -> bool:
    return _name(mount, _RESTART) in request.cookies


def set_restarted(response: Response, *, mount: Mounted) -> None:
    """Marks this browser for two minutes, so that an IdP that answers nothing but unsolicited ends in a page, not in a loop."""
    _set(response, mount, _RESTART, "1", lifetime=RESTART_LIFETIME)


# --- one quiet try ----------------------------------------------------------------------------------------------------


def was_tried_quietly(request: Request, *, mount: Mounted) -> bool:
    return _name(mount, _QUIET) in request.cookies


def set_tried_quietly(response: Response, *, mount: Mounted) -> None:
    """Marks this browser for two minutes: the IdP has nobody here, and a page that asks again would send it round in circles."""
    _set(response, mount, _QUIET, "1", lifetime=RESTART_LIFETIME)


# --- sign-ins whose session was not kept ------------------------------------------------------------------------------


def is_session_lost(request: Request, *, mount: Mounted) -> bool:
    """Whether two sign-ins in a row, less than half a minute ago, each began without the session of the one before."""
    return _arrivals(request, mount) >= MOST_ARRIVALS


def count_arrival(response: Response, request: Request, *, mount: Mounted, is_kept: bool) -> None:
    """`is_kept` says whether the session of an earlier sign-in was there. Where the app's session cookie never comes back, the app
    sends people to sign in, Microsoft sends them back without a word, and that would go on for ever."""
    count = 1 if is_kept else min(_arrivals(request, mount) + 1, MOST_ARRIVALS)
    _set(response, mount, _ARRIVALS, str(count), lifetime=ARRIVAL_LIFETIME)


def drop_arrivals(response: Response, *, mount: Mounted) -> None:
    _drop(response, mount, _ARRIVALS)


def _arrivals(request: Request, mount: Mounted) -> int:
    value = request.cookies.get(_name(mount, _ARRIVALS), "")
    return int(value) if value in ("1", "2") else 0
