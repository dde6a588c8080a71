"""GET sls, the single logout service: what the IdP has to say about sign-outs, carried here by the browser (HTTP-Redirect).

Done in two requests like a sign-in. The first is led here by the IdP's site, perhaps in a frame, with few of the host's cookies or
none; it reads the message and ends what a signed one names in the database. The second is led here by our own tiny page: with all
cookies, and without the message in its address, so that a reload is no replay.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from flask import Response, make_response, redirect, request, url_for
from itsdangerous import BadSignature

from samljit.errors import CATALOGUE, LogoutRejected, Reason, SamlJitError, SignInRefused
from samljit.model import Tenant
from samljit.saml.logout import logout_response_url
from samljit.saml.logout_reader import LogoutRequest, LogoutResponse, read_logout
from samljit.sql.idp_sessions import EndOrder, name_id_key, session_key
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import log, printable
from samljit.views.departures import SamlSession, announce, depart, find_own_session, idp_name, leaving_page, question_page
from samljit.views.mounted import app_secrets, mounted, utc_now
from samljit.views.pages import page
from samljit.views.paths import HOME
from samljit.views.sessions import is_somebody_here

_STEP_SECONDS = 120


@dataclass(frozen=True, slots=True)
class _Asked:
    """A LogoutRequest once read, as the token between the two requests holds it: hashes of what it names, and what its answer needs.

    `was_here` says that it has ended the session of this browser, `left` how many sessions it may mean that are not known to be over.
    """

    id: str
    session_keys: tuple[str, ...]
    name_id_key: str
    is_signed: bool
    relay_state: str | None
    left: int
    was_here: bool = False


def sls(tenant: str) -> Response:
    """Signs out as the IdP asks, or says what became of the person's own sign-out. Answers 400, 403, 404 or 503 otherwise."""
    if request.method == "HEAD":
        return Response()
    now = utc_now()
    found: Tenant | None = None
    error: SamlJitError
    try:
        found = mounted().directory.get(tenant, now=now)
        if found.idp is None or not found.idp.is_usable(now):
            raise SignInRefused(Reason.TENANT_NOT_CONNECTED)
        return _second(found, now=now) if "step" in request.args else _first(found, now=now)
    except (Unavailable, WriteConflict) as lost:
        error = SignInRefused(Reason.DATABASE_UNAVAILABLE, str(lost))
    except (LogoutRejected, SignInRefused) as refused:
        error = refused
    slug = found.slug if found else None
    log.warning("logout message refused: %s tenant=%s %s", error.reason, slug, printable(error.detail))
    status = CATALOGUE[error.reason].status
    return page("logout_refused.html", status=status, action=url_for("samljit.logout"), idp_name=idp_name(found))


def _first(tenant: Tenant, *, now: datetime) -> Response:
    """The message itself. Raises: LogoutRejected; store.Unavailable."""
    mount = mounted()
    query = request.environ.get("QUERY_STRING", "").encode("latin-1", "replace")
    message = read_logout(query, tenant=tenant, requests=app_secrets().requests, now=now, skew=mount.settings.clock_skew)
    if isinstance(message, LogoutResponse):
        log.info("logout answered: tenant=%s success=%s signed=%s", tenant.slug, message.is_success, message.is_signed)
        return _hop(tenant, "answered", message.is_success)
    log.info("logout asked for: tenant=%s signed=%s", tenant.slug, message.is_signed)
    asked = _end_here(_end_everywhere(message, tenant, now=now), tenant, now=now)
    # In a frame nothing of ours is shown, and no refresh followed. What was done so far is all there is to answer with
    if request.headers.get("Sec-Fetch-Dest") in ("iframe", "frame"):
        return _send_answer(asked, tenant, now=now) or _done_page(asked)
    return _hop(tenant, "asked", asdict(asked))


def _second(tenant: Tenant, *, now: datetime) -> Response:
    """Our own tiny page has led here. Raises: LogoutRejected for a token that is too old, or not ours; store.Unavailable."""
    try:
        slug, kind, value = app_secrets().sign_out.loads(request.args["step"], max_age=_STEP_SECONDS)
    except (BadSignature, ValueError):
        raise LogoutRejected(Reason.LOGOUT_MALFORMED, "the second step is too old, or not ours") from None
    if slug != tenant.slug or kind not in ("asked", "answered"):
        raise LogoutRejected(Reason.LOGOUT_MALFORMED, "the second step is of another tenant or kind")
    if kind == "answered":
        return _tell(tenant, is_success=bool(value))
    asked = _end_here(_Asked(**value), tenant, now=now)
    if is_somebody_here():  # in a session that is not named, or that nobody we can believe has named
        return question_page(tenant, now=now, is_idp_asking=True)
    if not asked.is_signed:
        asked = replace(asked, left=0)  # it could only mean this browser, where nobody is
    return _send_answer(asked, tenant, now=now) or _done_page(asked)


def _hop(tenant: Tenant, kind: str, value: Any) -> Response:
    token = app_secrets().sign_out.dumps([tenant.slug, kind, value])
    return leaving_page(url_for("samljit.sls", tenant=tenant.slug, step=token))


def _end_everywhere(message: LogoutRequest, tenant: Tenant, *, now: datetime) -> _Asked:
    """Ends what a signed request names, wherever it is open, once; an unsigned one ends nothing in the database.

    Raises: LogoutRejected (replayed); store.Unavailable.
    """
    keys = tuple(session_key(tenant.id, index) for index in message.session_indexes)
    whose, left = name_id_key(tenant.id, message.name_id), 1
    if message.is_signed:
        ended = mounted().sessions.end_named(EndOrder(tenant.id, message.id, keys, whose, message.usable_until), now=now)
        if ended is None:
            raise LogoutRejected(Reason.REPLAYED)
        for one in ended:
            announce(SamlSession(tenant, one), by="idp")
        left = 0 if mounted().watch else len(ended)
    return _Asked(message.id, keys, whose, message.is_signed, message.relay_state, left)


def _end_here(asked: _Asked, tenant: Tenant, *, now: datetime) -> _Asked:
    """Signs out of this browser whom the message names: by SessionIndex, or where it is signed and has none, by NameID (trust: 52).

    Entra's NameID is reported to be another one here than in assertions, so where there is a SessionIndex nothing else counts.
    """
    own = find_own_session(now=now)
    if own is None or own.tenant.id != tenant.id:
        return asked
    index = own.at_idp.session_index
    if asked.session_keys:
        is_meant = index is not None and session_key(tenant.id, index) in asked.session_keys
    else:
        is_meant = asked.is_signed and name_id_key(tenant.id, own.at_idp.name_id) == asked.name_id_key
    if not is_meant:
        return asked
    depart(None if asked.is_signed else own, by="idp", now=now)  # a signed one has ended it in the database, and told the host
    return replace(asked, was_here=True, left=max(asked.left - 1, 0))


def _send_answer(asked: _Asked, tenant: Tenant, *, now: datetime) -> Response | None:
    """On to the IdP with our answer, where it wants one."""
    url = logout_response_url(
        tenant,
        in_response_to=asked.id,
        relay_state=asked.relay_state,
        is_done=asked.left == 0,
        now=now,
        signing_key=app_secrets().signing_key,
    )
    if url is None:
        return None
    response = make_response(redirect(url, code=303))
    response.headers["Cache-Control"] = "no-store"
    return response


def _done_page(asked: _Asked) -> Response:
    return page("signed_out.html", was_here=asked.was_here, home=HOME)


def _tell(tenant: Tenant, *, is_success: bool) -> Response:
    """The end of a sign-out that began here."""
    return page(
        "signed_out.html",
        was_here=not is_somebody_here(),
        is_here=is_somebody_here(),
        at_idp="ended" if is_success else "unsure",
        idp_name=idp_name(tenant),
        action=url_for("samljit.logout"),
        home=HOME,
    )
