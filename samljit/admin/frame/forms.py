"""The form that all forms of the admin pages are made of: with a token against forgery, and a mark that tells stale edits.

Nothing typed is lost: a form that cannot be taken is shown again as it was filled in, with what is wrong, or what has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from werkzeug.datastructures import CombinedMultiDict, FileStorage, MultiDict
from wtforms import FileField, HiddenField

from samljit.admin.frame.visit import Visit
from samljit.sql.audit import AuditRecord, read_audit
from samljit.sql.sessions import open_session
from samljit.sql.stored import StoredTenant
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

_MOST_SHOWN = 10
_LONGEST_ID = 18  # digits of a record's number: any fits into a column of 64 bits, and Python reads none of more than 4300
_FORGED = N_("This page was open for too long, or belongs to another sign-in. Look at it once more, then send it again.")
_STALE = N_("Somebody has changed this tenant since you opened the page. What you filled in is still here; compare, then send it again.")


class AdminForm(FlaskForm):  # type: ignore[misc]  # flask_wtf ships no types
    """A form of a tenant. `changes` is what others did since it was opened, the newest first, once it turned out to be stale."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        csrf = True  # also where the host's own forms do without (WTF_CSRF_ENABLED)

        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Text, and files for the fields that are for files. Flask-WTF would take JSON too, and a file for any field: values that
            are no text, which only somebody sends who writes requests by hand."""
            if formdata is None or isinstance(formdata, MultiDict):
                return formdata
            if request.method != "POST":
                return None
            sent = request.files.items(multi=True)
            files = MultiDict[str, FileStorage]((name, file) for name, file in sent if isinstance(form._fields.get(name), FileField))
            return CombinedMultiDict([request.form, files])

        def render_field(self, field: Any, render_kw: dict[str, Any]) -> Any:
            """The control, tied to its hint and its error for those who hear the page."""
            about = [f"{field.id}-hint"] if render_kw.pop("has_hint", False) else []
            if field.errors:
                about.append(f"{field.id}-error1")
                render_kw["aria-invalid"] = "true"
            if about:
                render_kw["aria-describedby"] = " ".join(about)
            return super().render_field(field, render_kw)

    seen = HiddenField()

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.changes: list[AuditRecord] = []
        self.is_stale = False
        for field in self:
            field.id = field.label.field_id = f"samljit-{field.name}"  # a host's page around ours has ids of its own

    def is_sent(self, visit: Visit) -> bool:
        """Whether this is a good answer, to be acted on: sent by this very person, with nothing wrong, to what still stands.

        Raises: ReadOnlyTenant for any POST to a tenant of the settings.
        """
        stored = visit.stored if request.method != "POST" else visit.get_stored()
        if request.method != "POST":
            self.seen.data = _mark(stored) if stored else ""
            return False
        is_good = bool(self.validate())
        self.seen.data = self.seen.data or ""  # left out by whoever wrote the request by hand
        if self.seen.data.rpartition(".")[0] != _revisions(visit.get_stored()):
            self.show_changes(visit.get_stored())
        return is_good and not self.is_stale

    def show_changes(self, stored: StoredTenant) -> None:
        """Shown again, it says what others did; sent again, it is an answer to that."""
        last = str(self.seen.data or "").rpartition(".")[2]
        known = int(last) if last.isdecimal() and len(last) <= _LONGEST_ID else 0
        self.is_stale = True
        self.changes = [one for one in _audit(stored, limit=_MOST_SHOWN) if one.id > known]
        self.seen.data = _mark(stored)

    @property
    def token(self) -> Any:
        """The field of the token, which is called as the host's Flask-WTF calls it (WTF_CSRF_FIELD_NAME)."""
        return self[self.meta.csrf_field_name]

    @property
    def is_forged(self) -> bool:
        """Whether it came without a good token; to be asked once it was looked at."""
        return self.meta.csrf_field_name in self.errors

    @property
    def status(self) -> int:
        if self.is_forged:
            return 400
        return 409 if self.is_stale else 422 if self.errors else 200

    @property
    def summary(self) -> Iterator[tuple[str, str]]:
        """All errors, each with the id of its field."""
        if self.is_stale:
            yield "samljit-main", gettext(_STALE)
        for name, errors in self.errors.items():
            is_forged = name == self.meta.csrf_field_name
            for error in errors[:1] if is_forged else errors:
                yield ("samljit-main", gettext(_FORGED)) if is_forged else (self[name].id, self._named(name, str(error)))

    def _named(self, name: str, error: str) -> str:
        """An error away from its field, which it then names."""
        label = self[name].label.text if self[name].label else ""
        return gettext("%(field)s: %(error)s", field=gettext(label), error=gettext(error)) if label else gettext(error)


def _revisions(stored: StoredTenant) -> str:
    return f"{stored.revision}.{stored.draft_revision}"


def _mark(stored: StoredTenant) -> str:
    """What the form was opened on: the revisions, and the last change that was recorded by then."""
    last = next(iter(_audit(stored, limit=1)), None)
    return f"{_revisions(stored)}.{last.id if last else 0}"


def _audit(stored: StoredTenant, *, limit: int) -> list[AuditRecord]:
    mount = mounted()
    with open_session(mount.factory) as session:
        return read_audit(session, users=mount.users, tenant_id=stored.id, limit=limit)
