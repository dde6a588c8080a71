"""The e-mail domains that the tenant has proved to be its own: listed, and added where the host can tell."""

from __future__ import annotations

import logging

from flask import Response, request
from wtforms import StringField

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.visit import Visit, admin_view
from samljit.model import AdminAction
from samljit.settings.checks import normal_domain
from samljit.sql.audit import AuditAction
from samljit.sql.stored import DomainTaken, StaleEdit
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

log = logging.getLogger("samljit")

_NO_DOMAIN = N_("Enter what follows the @ in your people's addresses, such as contoso.com.")
_KNOWN = N_("This domain is in the list already.")
_NOT_PROVED = N_("This domain has not been proved to be yours. Follow what the app told you for it, and try again.")
_TAKEN = N_("This domain belongs to another tenant of this app. Ask whoever runs the app.")
_ADDED = N_("Added. People with an address in it are now led to your Microsoft Entra sign-in.")


class DomainForm(AdminForm):
    domain = StringField(N_("Domain"))


@admin_view(AdminAction.VIEW, sent=AdminAction.EDIT)
def domains(visit: Visit) -> Response:
    """The list; sent with a domain that the host's `verify_domain` says is the tenant's, that domain is added. None is taken away here."""
    form, can_add = DomainForm(), mounted().verify_domain is not None
    if request.method == "POST" and can_add and form.is_sent(visit):
        error = _add(visit, form)
        if error is None and not form.is_stale:
            return done(visit.url("domains"), gettext(_ADDED))
        form.domain.errors = [error] if error else []
    elif request.method != "POST":
        form.is_sent(visit)
    may_add = can_add and not visit.is_read_only and visit.may(AdminAction.EDIT)
    return admin_page(visit, "domains.html", section="domains", form=form, may_add=may_add)


def _add(visit: Visit, form: DomainForm) -> str | None:
    """Adds the domain, or says why not."""
    stored, mount = visit.get_stored(), mounted()
    domain = normal_domain((form.domain.data or "").strip().removeprefix("@"))
    if domain is None:
        return _NO_DOMAIN
    here = list(stored.live.get("domains", ()))
    if domain in here:
        return _KNOWN
    if not _is_proved(visit, domain):
        return _NOT_PROVED
    changed = {"domains": [*here, domain]}
    _, problems = mount.directory.check_stored(stored.slug, {**stored.live, **changed}, now=visit.now)
    if any(problem.code == "domain_not_unique" for problem in problems):
        return _TAKEN
    try:
        mount.directory.rows.change(stored, changed, author=visit.author, action=AuditAction.DOMAIN_PROVED)
    except DomainTaken:
        return _TAKEN
    except StaleEdit:
        form.show_changes(mount.directory.rows.get_stored(stored.slug))
    return None


def _is_proved(visit: Visit, domain: str) -> bool:
    """What the host says; what raises, or is not True, is no proof."""
    verify = mounted().verify_domain
    try:
        return verify is not None and verify(visit.tenant, domain) is True
    except Exception:
        log.exception("verify_domain failed: tenant=%s", visit.tenant.slug)
        return False
