"""One request to an admin page: who asks, for which tenant, and whether they may.

Whoever is not signed in goes to the host's login. Everybody else whom the host's `authorize` does not say True to gets the very 404
that a tenant which does not exist gives, so that nobody learns from us which tenants there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any

from flask import Response, abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from samljit.model import AdminAction, Tenant
from samljit.sql.audit import Author
from samljit.sql.stored import StoredTenant
from samljit.store import Unavailable, WriteConflict
from samljit.views.attempts import printable
from samljit.views.mounted import mounted, utc_now
from samljit.views.pages import page

log = logging.getLogger("samljit")

_LONGEST_AUTHOR = 255

# whoever changes something is shown what it is: only tests and the log are pages by themselves
_SHOWS_TENANT = frozenset({AdminAction.EDIT, AdminAction.GO_LIVE, AdminAction.RULES})


class ReadOnlyTenant(Exception):
    """A tenant of the settings file, which no page changes."""


@dataclass(frozen=True)
class Visit:
    """One request to an admin page. `stored` is None for a tenant of the settings, `tenant` what sign-ins go by now.

    Where the app can make nothing of what is stored, `tenant` is an outline of it, and `is_outline` says so.
    """

    tenant: Tenant
    stored: StoredTenant | None
    user: Any
    now: datetime
    is_outline: bool = False
    _answers: dict[AdminAction, bool] = field(default_factory=dict, repr=False)

    @property
    def is_read_only(self) -> bool:
        return self.stored is None

    def may(self, action: AdminAction) -> bool:
        """What the host's `authorize` says of this user, tenant and action. What raises, or is not True, refuses."""
        if action not in self._answers:
            authorize = mounted().authorize
            try:
                self._answers[action] = authorize is not None and authorize(self.user, self.tenant, action) is True
            except Exception:
                log.exception("authorize failed: tenant=%s action=%s", self.tenant.slug, action)
                self._answers[action] = False
        return self._answers[action]

    def must(self, action: AdminAction) -> None:
        """Where the visitor may not, the page is not there (404)."""
        if not self.may(action):
            abort(404)

    def get_stored(self) -> StoredTenant:
        """The tenant's documents, to be changed. Raises: ReadOnlyTenant."""
        if self.stored is None:
            raise ReadOnlyTenant
        return self.stored

    @property
    def author(self) -> Author:
        """Who makes a change, for the record: by Flask-Login's id, and by e-mail where the host has told us the column."""
        users = mounted().users
        email = getattr(self.user, users.email_field, None) if users.email_field else None
        name = f"{email} (user {self.user.get_id()})" if email else f"user {self.user.get_id()}"
        return Author(printable(name, longest=_LONGEST_AUTHOR)[:_LONGEST_AUTHOR], self.now)

    def url(self, name: str, /, **values: Any) -> str:
        """The address of another admin page of this tenant, by the name of its view."""
        return url_for(f"samljit.admin.{name}", tenant=self.tenant.slug, **values)


View = Callable[..., ResponseReturnValue]


def admin_view(action: AdminAction, *, sent: AdminAction | None = None) -> Callable[[View], View]:
    """Makes a view of one admin page: `view(visit, ...)`. Turns a lost database into a page, never a 500.

    `sent` is what whoever sends the page's form must be allowed besides.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(tenant: str, **values: Any) -> ResponseReturnValue:
            if not current_user.is_authenticated:
                answer: ResponseReturnValue = current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
                return answer
            try:
                visit = _find_visit(tenant)
                if visit is None or not visit.may(action) or (action in _SHOWS_TENANT and not visit.may(AdminAction.VIEW)):
                    abort(404)
                if sent is not None and request.method == "POST":
                    visit.must(sent)
                return view(visit, **values)
            except ReadOnlyTenant:
                return see_other(request.path)  # the page says so, and has no form: nobody's browser sent this by itself
            except Unavailable as lost:
                log.error("admin page: the database cannot be used: %s tenant=%s", lost, printable(tenant))
                return page("admin/lost.html", status=503, is_busy=False)
            except WriteConflict as conflict:
                log.warning("admin page: the database refused a change: %s tenant=%s", conflict, printable(tenant))
                return page("admin/lost.html", status=409, is_bare=True, is_busy=True)

        return wrapper

    return decorate


def see_other(address: str) -> Response:
    """The answer to every POST that did something: a page that can be reloaded."""
    response = redirect(address, code=303)
    response.headers["Cache-Control"] = "no-store"
    return response  # type: ignore[return-value]


def _find_visit(slug: str) -> Visit | None:
    directory, now = mounted().directory, utc_now()
    usable = directory.find(slug, now=now)
    tenant = usable or directory.find_or_outline(slug, now=now)
    if tenant is None:
        return None
    stored = None if slug in directory.of_settings else directory.rows.find_stored(slug)
    return Visit(tenant, stored, current_user._get_current_object(), now, is_outline=usable is None)
