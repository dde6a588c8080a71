"""Change history: who changed what of the tenant, and when, what stood there before and what after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from flask import Response, request

from samljit.admin.frame.page import admin_page
from samljit.admin.frame.visit import Visit, admin_view
from samljit.model import AdminAction
from samljit.sql.audit import AuditRecord
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

_PAGE = 25
_MOST_LINES = 40  # of one change
_LONGEST_VALUE = 300

_NAMES = {
    "name": N_("Name"),
    "enabled": N_("Sign-in, as whoever runs the app has it"),
    "offer_sso": N_("Sign-in with Microsoft Entra"),
    "preset": N_("Kind of identity provider"),
    "entra_tenant_id": N_("Tenant ID"),
    "domains": N_("Domains"),
    "max_users": N_("Users at most"),
    "require_sso": N_("Microsoft Entra as the only way in"),
    "break_glass": N_("Emergency accounts"),
    "idp.metadata": N_("Federation Metadata XML"),
    "idp.metadata_url": N_("App Federation Metadata Url"),
    "idp.entity_id": N_("Microsoft Entra Identifier"),
    "idp.sso_url": N_("Login URL"),
    "idp.slo_url": N_("Logout URL"),
    "idp.certificates": N_("Certificate"),
    "entity_id": N_("Identifier (Entity ID)"),
    "user": N_("User"),
    "issuer": N_("Microsoft Entra Identifier"),
}
_FINGERPRINT = "sha256:"


@dataclass(frozen=True, slots=True)
class Line:
    """One value that changed. `name` is in words, or where there are none the place in the document, with `is_place`."""

    name: str
    is_place: bool
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as the page tells it. `is_cut` says that it had more lines than are shown."""

    record: AuditRecord
    lines: tuple[Line, ...]
    is_cut: bool

    @property
    def has_before(self) -> bool:
        return any(line.before is not None for line in self.lines)


@admin_view(AdminAction.VIEW)
def history(visit: Visit) -> Response:
    before = request.args.get("before", "")
    before_id = int(before) if before.isdecimal() and len(before) < 19 else None
    rows = mounted().directory.rows
    records = rows.read_history(visit.tenant.id, limit=_PAGE + 1, before_id=before_id)
    shown = records[:_PAGE]
    return admin_page(
        visit,
        "history.html",
        section="history",
        entries=[told_entry(record) for record in shown],
        older=shown[-1].id if len(records) > _PAGE else None,
        is_first=before_id is None,
    )


def told_entry(record: AuditRecord) -> Entry:
    found = list(islice(_lines("", record.before, record.after), _MOST_LINES + 1))
    return Entry(record, tuple(found[:_MOST_LINES]), len(found) > _MOST_LINES)


def _lines(place: str, before: Any, after: Any) -> Iterator[Line]:
    """The values that differ, objects taken apart; keys of our own that say nothing to people are left out."""
    if before == after:
        return
    if isinstance(before or after, Mapping) and isinstance(before or {}, Mapping) and isinstance(after or {}, Mapping):
        before, after = before or {}, after or {}
        for key in {**before, **after}:
            if not (place == "" and key in ("subject_key", "draft_revision")):
                yield from _lines(f"{place}.{key}" if place else key, before.get(key), after.get(key))
        return
    named = _NAMES.get(place) or _NAMES.get(f"idp.{place}")
    yield Line(gettext(named) if named else place, named is None, _told(before), _told(after))


def _told(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return gettext(N_("on")) if value else gettext(N_("off"))
    if isinstance(value, list):
        return _short(", ".join(_told(one) or "" for one in value)) or gettext(N_("none"))
    if isinstance(value, Mapping):  # a certificate among others
        return _short(str(value.get("fingerprint") or ", ".join(f"{key}: {_told(one)}" for key, one in value.items())))
    return _short(str(value))


def _short(text: str) -> str:
    if text.startswith(_FINGERPRINT):
        return gettext("document %(mark)s…", mark=text.removeprefix(_FINGERPRINT)[:12])
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
