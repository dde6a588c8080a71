"""The pages of Northwind Reports: home, reports behind a login, and the list of its users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from sqlalchemy import select
from sqlalchemy.orm import Session, scoped_session
from werkzeug.wrappers import Response as AnyResponse

from samljit import SamlJit
from samljit.demo.directory import ADMIN_ROLE
from samljit.demo.history import SignInHistory, headline
from samljit.demo.models import User
from samljit.mapping.words import why
from samljit.model import FieldAction, Tenant

_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

LABELS = {
    "email": "E-mail",
    "first_name": "First name",
    "last_name": "Last name",
    "display_name": "Display name",
    "department": "Department",
    "job_title": "Job title",
    "locale": "Language",
    "app_roles": "App roles",
    "organization": "Organisation",
    "active": "Active",
    "created_at": "Created",
    "updated_at": "Updated",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a report's chart; `percent` is its share of the longest."""

    label: str
    amount: str
    percent: int


@dataclass(frozen=True, slots=True)
class Report:
    number: int
    title: str
    summary: str
    bars: tuple[Bar, ...]


REPORTS = {
    report.number: report
    for report in (
        Report(
            7,
            "Revenue by region",
            "Third quarter, in thousands. The north leads for the fourth quarter in a row.",
            (Bar("North", "€ 842", 100), Bar("West", "€ 655", 78), Bar("South", "€ 410", 49), Bar("East", "€ 287", 34)),
        ),
        Report(
            12,
            "Orders by month",
            "The last four months. August was quiet, as every year.",
            (Bar("July", "1,204", 82), Bar("August", "873", 59), Bar("September", "1,391", 95), Bar("October", "1,467", 100)),
        ),
        Report(
            23,
            "Open invoices by age",
            "Share of the amount outstanding. Most of it is not due yet.",
            (Bar("Not due", "64 %", 100), Bar("30 days", "21 %", 33), Bar("60 days", "11 %", 17), Bar("Older", "4 %", 6)),
        ),
    )
}


def make_pages(*, session: scoped_session[Session], saml: SamlJit, history: SignInHistory) -> Blueprint:
    """The blueprint `pages`."""
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def home() -> str:
        if not current_user.is_authenticated:
            wanted = request.args.get("next")
            buttons = [(tenant.name, saml.login_url(tenant.slug, next=wanted)) for tenant in tenants_of(current_app) if tenant.is_open]
            return render_template("northwind/welcome.html", buttons=buttons)
        last = history.of(current_user.id)
        return render_template(
            "northwind/home.html",
            record=[(label, getattr(current_user, name)) for name, label in LABELS.items()],
            last=last,
            headline=headline(last) if last else "",
            decisions=[] if last is None else [_told(decision) for decision in last.decisions],
            tenant=saml.current_tenant,
            admin_url=_admin_url(current_user),
        )

    @pages.get("/reports")
    @login_required  # type: ignore[untyped-decorator]
    def reports() -> str:
        return render_template("northwind/reports.html", reports=REPORTS.values())

    @pages.get("/reports/<int:number>")
    @login_required  # type: ignore[untyped-decorator]
    def report(number: int) -> str:
        return render_template("northwind/report.html", report=REPORTS.get(number) or abort(404))

    @pages.get("/people")
    @login_required  # type: ignore[untyped-decorator]
    def people() -> str:
        users: Sequence[User] = session.scalars(select(User).order_by(User.organization, User.id)).all()
        return render_template("northwind/people.html", users=users)

    @pages.post("/people/<int:user_id>/active")
    @login_required  # type: ignore[untyped-decorator]
    def set_active(user_id: int) -> AnyResponse:
        """Switches a colleague off or on again: only this app does that, a sign-in never does."""
        user = session.get(User, user_id)
        if user is None or user.organization != current_user.organization or user.id == current_user.id:
            abort(404)
        user.active = request.form.get("active") == "yes"
        session.commit()
        flash(f"{user.display_name or user.email} is switched {'on' if user.active else 'off'}.")
        return redirect(url_for("pages.people"), code=303)

    pages.record_once(lambda state: _dress(state.app))
    return pages


def is_admin(user: User) -> bool:
    """Whether this user looks after the sign-in of their organization: by an app role, which is a claim like any other."""
    return ADMIN_ROLE in (user.app_roles or ())


def _admin_url(user: User) -> str | None:
    """Where this user looks after the sign-in of their organization; None where they do not, or the pages are not mounted."""
    is_there = "samljit.admin.overview" in current_app.view_functions
    return url_for("samljit.admin.overview", tenant=user.organization) if is_there and is_admin(user) else None


def tenants_of(app: Flask) -> Iterator[Tenant]:
    """The organizations whose people sign in here, be they in the settings or in the database."""
    found: Iterator[Tenant] = app.extensions["samljit"].directory.all(now=datetime.now(UTC))
    return found


def _told(decision: Any) -> dict[str, Any]:
    return {
        "label": LABELS.get(decision.field, decision.field),
        "old": decision.old,
        "new": decision.new,
        "changed": decision.action in (FieldAction.SET, FieldAction.CLEARED),
        "why": str(why(decision)),
    }


_NOTHING = "\N{EN DASH}"


def shown(value: Any) -> str:
    """A value of the record for people: times in UTC, lists in a row, a dash for nothing."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _NOTHING
    return _NOTHING if value is None or value == "" else str(value)


def _dress(app: Any) -> None:
    """What all pages share: the filter, the headers, the page for what is not there."""
    assert isinstance(app, Flask)
    app.add_template_filter(shown)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        if response.mimetype == "text/html":
            response.headers.setdefault("Cache-Control", "no-store")  # after signing out, "back" shows nothing
        return response

    @app.errorhandler(404)
    def not_found(_: Exception) -> tuple[str, int]:
        return render_template("northwind/not_found.html"), 404
