"""The first page of a tenant: how it stands, and what to do next."""

from __future__ import annotations

from flask import Response

from samljit.admin.frame import admin_page
from samljit.admin.visit import Visit, admin_view
from samljit.model import AdminAction


@admin_view(AdminAction.VIEW)
def overview(visit: Visit) -> Response:
    return admin_page(visit, "overview.html", section="overview")
