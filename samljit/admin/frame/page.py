"""The page around every admin page, and the notice after something was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, session

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.sections import find_section, groups_for
from samljit.admin.frame.standing import Validity, validity_of
from samljit.admin.frame.visit import Visit, see_other
from samljit.views.pages import page
from samljit.views.words import N_

# in the host's session, as Flask's own flash is; apart from it, because not every host shows what is flashed
_NOTICE = "_samljit_notice"
_LONGEST_NOTICE = 500


def admin_page(visit: Visit, template: str, *, section: str, form: AdminForm | None = None, **values: Any) -> Response:
    """A page of a tenant. `template` lies in `samljit/admin/` and extends its `frame.html`; `section` is marked in the navigation.

    A `form` with errors gives the page its status and its error summary.
    """
    groups = list(groups_for(visit))
    return page(
        f"admin/{template}",
        status=form.status if form is not None else 200,
        visit=visit,
        tenant=visit.tenant,
        section=find_section(section),
        groups=groups,
        open_sections={one.name for group in groups for one in group.sections},
        state=_state(visit),
        notice=session.pop(_NOTICE, None),
        form=form,
        **values,
    )


@dataclass(frozen=True, slots=True)
class State:
    """How the tenant stands, in a word or two for the head of every page. `kind` is that of a badge."""

    kind: str
    text: str


_MISFIT = State("danger", N_("Not usable"))
_OFF = State("quiet", N_("Switched off"))
_NOT_CONNECTED = State("warn", N_("Not connected"))
_EXPIRED = State("danger", N_("Certificate expired"))
_ON = State("ok", N_("Switched on"))


def _state(visit: Visit) -> State:
    tenant = visit.tenant
    if visit.is_outline:
        return _MISFIT
    if not tenant.is_open:
        return _OFF
    if tenant.idp is None or not tenant.idp.is_usable(visit.now):
        return _NOT_CONNECTED
    return _EXPIRED if validity_of(visit) is Validity.EXPIRED and not tenant.accept_expired_certificates else _ON


def done(address: str, text: str, *, kind: str = "ok") -> Response:
    """On to that address, whose page says `text` once. `kind` is ok, warn or danger."""
    session[_NOTICE] = {"kind": kind, "text": text[:_LONGEST_NOTICE]}
    return see_other(address)
