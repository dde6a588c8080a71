"""Entra's certificates: how each stands, and what to do in Entra."""

from __future__ import annotations

from flask import Response, request

from samljit.admin.connection.setup import find_drafted_idp
from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.told import told_problem
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.federation.expiry import last_certificate
from samljit.federation.refresh import RefreshStatus, refresh
from samljit.model import AdminAction
from samljit.views.mounted import mounted
from samljit.views.refreshing import log_refreshed, metadata_of
from samljit.views.words import N_, gettext

_DONE = {
    RefreshStatus.CHANGED: ("ok", N_("Entra's metadata was read, and has changed: the new certificates are in use.")),
    RefreshStatus.UNCHANGED: ("ok", N_("Entra's metadata was read. It says the same as before.")),
    RefreshStatus.BUSY: ("warn", N_("It is being read just now. Look again in a few seconds.")),
}


@admin_view(AdminAction.VIEW)
def certificates(visit: Visit) -> Response:
    form = AdminForm()
    form.is_sent(visit)
    return _show(visit, form)


@admin_view(AdminAction.EDIT)
def certificates_refresh(visit: Visit) -> Response:
    """Reads the metadata at its address now. What was read last stays in use where that fails."""
    address, form = visit.url("certificates"), AdminForm()
    if request.method != "POST":
        return see_other(address)
    form.is_sent(visit)
    feed = mounted().find_feed(visit.tenant)
    if form.is_forged or feed is None:
        return _show(visit, form)
    found = refresh(feed, metadata=metadata_of(mounted()), author=visit.author)
    log_refreshed(found)
    if found.problem is not None:
        return done(address, told_problem(found.problem), kind="danger")
    kind, text = _DONE[found.status]
    return done(address, gettext(text), kind=kind)


def _show(visit: Visit, form: AdminForm) -> Response:
    tenant = visit.tenant
    idp, feed = tenant.idp, mounted().find_feed(tenant)
    found = sorted(idp.certificates, key=lambda one: one.not_after, reverse=True) if idp else []
    known = {one.fingerprint for one in found}
    drafted = find_drafted_idp(visit.stored, visit) if visit.stored else None
    coming = [one for one in (drafted.certificates if drafted else ()) if one.fingerprint not in known]
    return admin_page(
        visit,
        "certificates.html",
        section="certificates",
        form=form,
        certificates=found,
        coming=coming,
        last=last_certificate(tuple(found), visit.now),
        fetched=metadata_of(mounted()).find(tenant.id) if feed else None,
        may_refresh=feed is not None and not visit.is_read_only and visit.may(AdminAction.EDIT),
    )
