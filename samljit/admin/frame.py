"""What all admin pages share: the page around them, and the notice after something was done."""

from __future__ import annotations

from typing import Any

from flask import Response, session

from samljit.admin.forms import AdminForm
from samljit.admin.sections import find_section, groups_for
from samljit.admin.visit import Visit, see_other
from samljit.views.pages import page

# in the host's session, as Flask's own flash is; apart from it, because not every host shows what is flashed
_NOTICE = "_samljit_notice"
_LONGEST_NOTICE = 500


def admin_page(visit: Visit, template: str, *, section: str, form: AdminForm | None = None, **values: Any) -> Response:
    """A page of a tenant. `template` lies in `samljit/admin/` and extends its `frame.html`; `section` is marked in the navigation.

    A `form` with errors gives the page its status and its error summary.
    """
    return page(
        f"admin/{template}",
        status=form.status if form is not None else 200,
        visit=visit,
        tenant=visit.tenant,
        section=find_section(section),
        groups=list(groups_for(visit)),
        notice=session.pop(_NOTICE, None),
        form=form,
        **values,
    )


def done(address: str, text: str, *, kind: str = "ok") -> Response:
    """On to that address, whose page says `text` once. `kind` is ok, warn or danger."""
    session[_NOTICE] = {"kind": kind, "text": text[:_LONGEST_NOTICE]}
    return see_other(address)
