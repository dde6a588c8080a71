"""The draft: what would change if it went live, whether it may, and the two ways in which it ends: live, or dropped."""

from __future__ import annotations

from flask import Response, request

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.admin.going_live.check import check_draft, find_changes, find_concerned
from samljit.admin.going_live.differences import find_differences
from samljit.model import AdminAction
from samljit.sql.stored import DraftRefused, StaleEdit
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

_LIVE = N_("The draft is live: every sign-in goes by it from now on.")
_DROPPED = N_("The draft was dropped. What is live goes on unchanged.")
_NOT_READY = N_("The draft did not go live: something that it needs is missing. It says below what.")
_NOTHING = N_("There is no draft any more.")


@admin_view(AdminAction.VIEW)
def draft(visit: Visit) -> Response:
    form = AdminForm()
    form.is_sent(visit)
    return _show(visit, form)


@admin_view(AdminAction.GO_LIVE)
def draft_go_live(visit: Visit) -> Response:
    """Makes the draft live that was looked at, and no other one: what has changed since is caught, at the last moment in the database."""
    address, form = visit.url("draft"), AdminForm()
    if request.method != "POST":
        return see_other(address)
    if not form.is_sent(visit):
        return _show(visit, form)
    stored = visit.get_stored()
    if stored.draft is None:
        return done(address, gettext(_NOTHING), kind="warn")
    if not check_draft(visit).is_ready:
        return done(address, gettext(_NOT_READY), kind="danger")
    try:
        mounted().directory.rows.go_live(stored, author=visit.author)
    except DraftRefused:
        return done(address, gettext(_NOT_READY), kind="danger")
    except StaleEdit:
        return _show_changed(visit, form)
    return done(visit.url("overview"), gettext(_LIVE))


@admin_view(AdminAction.EDIT)
def draft_drop(visit: Visit) -> Response:
    """What would be lost; sent, the draft is dropped."""
    address, form = visit.url("draft"), AdminForm()
    is_good, stored = form.is_sent(visit), visit.stored
    if stored is None or stored.draft is None:
        return done(address, gettext(_NOTHING), kind="warn") if is_good else see_other(address)
    if is_good:
        try:
            mounted().directory.rows.save_draft(stored, None, author=visit.author)
        except StaleEdit:
            return _show_changed(visit, form)
        return done(address, gettext(_DROPPED))
    return admin_page(visit, "draft_drop.html", section="draft", form=form, parts=find_differences(visit))


def _show_changed(visit: Visit, form: AdminForm) -> Response:
    """What somebody else has made of it meanwhile."""
    stored = mounted().directory.rows.get_stored(visit.tenant.slug)
    form.show_changes(stored)
    return _show(Visit(visit.tenant, stored, visit.user, visit.now), form)


def _show(visit: Visit, form: AdminForm) -> Response:
    stored = visit.stored
    if stored is None or stored.draft is None:
        may_edit = stored is not None and visit.may(AdminAction.EDIT)
        return admin_page(visit, "draft.html", section="draft", form=form, check=None, may_edit=may_edit)
    check = check_draft(visit)
    return admin_page(
        visit,
        "draft.html",
        section="draft",
        form=form,
        check=check,
        parts=find_differences(visit),
        concerned=find_concerned(visit, check.tenant),
        changes=find_changes(visit),
        may_edit=visit.may(AdminAction.EDIT),
        may_test=visit.may(AdminAction.TEST),
        may_go_live=visit.may(AdminAction.GO_LIVE),
    )
