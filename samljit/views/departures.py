"""Sessions that end: in this browser, in the database, and in what is told to the host; and what the pages of it have in common."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from flask import Response, url_for

from samljit.model import IdpSession, Tenant
from samljit.signals import signed_out
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import log, tell_host
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import page
from samljit.views.paths import HOME
from samljit.views.sessions import end_session, find_own, session_mark
from samljit.views.words import N_

TOKEN_SECONDS = 600


@dataclass(frozen=True, slots=True)
class SamlSession:
    """The session of somebody who came by SAML: whose IdP began it, and as what that IdP knows it."""

    tenant: Tenant
    at_idp: IdpSession


def find_own_session(*, now: datetime) -> SamlSession | None:
    """The session of this browser; None for nobody, and for somebody who came in another way. Raises: store.Unavailable."""
    ours = find_own()
    return find_session(ours["tenant"], ours["reference"], now=now) if ours else None


def find_session(slug: str, reference: str, *, now: datetime) -> SamlSession | None:
    """The session that the attempt of this reference began. Raises: store.Unavailable."""
    tenant, found = mounted().directory.find(slug, now=now), mounted().sessions.find(reference)
    if tenant is None or found is None or found.tenant_id != tenant.id:
        return None
    return SamlSession(tenant, found)


def depart(session: SamlSession | None, *, by: str, now: datetime) -> bool:
    """Signs whoever is here out of the app. False where the host's own functions could not be told.

    `session` is what `find_own_session` gave: it ends in the database too, so that a copy of its cookie is worth nothing where ended
    sessions are looked for.
    """
    told = end_session()
    if session is not None:
        with suppress(Unavailable, WriteConflict):
            mounted().sessions.end(session.at_idp.reference, now=now)
        announce(session, by=by)
    return told


def announce(session: SamlSession, *, by: str) -> None:
    """Tells log and host that a session has ended in the database."""
    reference, slug = session.at_idp.reference, session.tenant.slug
    if watch := mounted().watch:
        watch.forget(reference)
    log.info("signed out: tenant=%s reference=%s by=%s", slug, reference, by)
    tell_host(signed_out, reference=reference, user_id=session.at_idp.user_id, tenant=slug, by=by)


def idp_name(tenant: Tenant | None) -> str:
    """What people call the other side."""
    return "Microsoft" if tenant is not None and tenant.preset.startswith("entra") else N_("your organisation's sign-in service")


def has_logout(tenant: Tenant | None, *, now: datetime) -> bool:
    """Whether the tenant's IdP offers to sign people out there too."""
    idp = tenant.idp if tenant is not None and tenant.is_open else None
    return idp is not None and idp.slo_url is not None and idp.is_usable(now)


def leaving_page(target: str) -> Response:
    """A tiny page that goes on by itself. To the IdP: a redirect would be stopped by the form-action of the page whose form led here.
    And to ourselves: what another site led here comes without Strict cookies, and what this page leads to with all of them."""
    return page("handover.html", heading=N_("Signing you out…"), onward=target)


def question_page(tenant: Tenant | None, *, now: datetime, is_idp_asking: bool = False) -> Response:
    """Asks whether to sign out here. The answer is good for the person who was asked."""
    return page(
        "sign_out.html",
        action=url_for("samljit.logout"),
        token=app_secrets().sign_out.dumps(["answer", session_mark()]),
        is_idp_asking=is_idp_asking,
        idp_name=idp_name(tenant),
        offers_idp=not is_idp_asking and has_logout(tenant, now=now),
        stay=HOME,
    )
