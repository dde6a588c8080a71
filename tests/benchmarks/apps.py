"""Three apps that sign the same people in, for `sign_in.py` to compare. Each is served by gunicorn as `tests.benchmarks.apps:NAME()`.

`ours` is samljit. `bare` does by hand what python3-saml's and Flask-SQLAlchemy's documentation show: process_response, find or create
by e-mail, log in. `equal` is the same, but in the same transaction remembers used assertions and writes a sign-in log, with the columns
and indexes that ours have: no assertion and no request is good twice, what has expired can be purged, and an attempt is found by its
reference, tenant, time or person. It has neither our identities nor our sessions at the IdP, and no second step.
On SQLite all of them keep a write-ahead log, as `flask samljit check` advises.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, redirect, request, session
from flask_login import LoginManager, UserMixin, login_user
from flask_sqlalchemy import SQLAlchemy
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from sqlalchemy import event

from samljit import SamlJit

_EMAIL = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
_GIVEN_NAME = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname"


def ours() -> Flask:
    app, db, user = _base()
    app.config["SAMLJIT_SETTINGS"] = json.loads(os.environ["BENCH_SETTINGS"])
    SamlJit(user_model=user, session=db.session, email_field="email", active_field="is_active").init_app(app)
    return _created(app, db)


def bare() -> Flask:
    return _by_hand(keeps_record=False)


def equal() -> Flask:
    return _by_hand(keeps_record=True)


def _base() -> tuple[Flask, SQLAlchemy, Any]:
    app = Flask("bench")
    app.config["SECRET_KEY"] = os.environ["BENCH_SECRET"]
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BENCH_DATABASE"]
    db = SQLAlchemy(app)
    login_manager = LoginManager(app)

    class User(UserMixin, db.Model):
        __tablename__ = "users"
        id = db.Column(db.Integer, primary_key=True)
        email = db.Column(db.String(254), nullable=False, index=True)
        first_name = db.Column(db.String(100))
        is_active = db.Column(db.Boolean, nullable=False, default=True)

    login_manager.user_loader(lambda key: db.session.get(User, int(key)))
    app.add_url_rule("/", "home", lambda: "home")
    return app, db, User


def _by_hand(*, keeps_record: bool) -> Flask:
    app, db, user = _base()
    settings = json.loads(os.environ["BENCH_LIBRARY"])

    record = _recorder(db) if keeps_record else None

    def auth() -> Any:
        place = {"https": "off", "http_host": request.host, "script_name": request.path}
        return OneLogin_Saml2_Auth({**place, "get_data": request.args.copy(), "post_data": request.form.copy()}, old_settings=settings)

    @app.get("/saml/contoso/login")
    def login() -> Any:
        made = auth()
        url = made.login()
        session["request_id"] = made.get_last_request_id()
        return redirect(url)

    @app.post("/saml/contoso/acs")
    def acs() -> Any:
        made = auth()
        made.process_response(request_id=session.get("request_id"))
        if not made.is_authenticated():
            return str(made.get_last_error_reason()), 403
        claims = made.get_attributes()
        email = claims[_EMAIL][0]
        found = db.session.execute(db.select(user).filter_by(email=email)).scalar_one_or_none()
        is_new, has_new_name = found is None, found is None or found.first_name != claims[_GIVEN_NAME][0]
        if found is None:
            found = user(email=email)
            db.session.add(found)
        if has_new_name:
            found.first_name = claims[_GIVEN_NAME][0]
        if record is not None:
            db.session.flush()
            record(made, found, is_new=is_new, has_new_name=has_new_name)
        db.session.commit()
        login_user(found)
        return redirect("/")

    return _created(app, db)


def _recorder(db: SQLAlchemy) -> Callable[..., None]:
    """What remembers an assertion and logs an attempt, in tables that it makes."""

    class Used(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        tenant_id = db.Column(db.String(36), nullable=False)
        assertion_hash = db.Column(db.String(64), nullable=False)
        request_id = db.Column(db.String(100))
        expires_at = db.Column(db.DateTime, nullable=False, index=True)
        __table_args__ = (db.UniqueConstraint("tenant_id", "assertion_hash"), db.UniqueConstraint("tenant_id", "request_id"))

    class SignIn(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        reference = db.Column(db.String(12), nullable=False, unique=True)
        tenant_id = db.Column(db.String(36), nullable=False, index=True)
        at = db.Column(db.DateTime, nullable=False, index=True)
        outcome = db.Column(db.String(16), nullable=False)
        reason = db.Column(db.String(64))
        user_id = db.Column(db.ForeignKey("users.id"), index=True)
        subject = db.Column(db.String(64))
        request_id = db.Column(db.String(100))
        claim_names = db.Column(db.JSON, nullable=False)
        decisions = db.Column(db.JSON, nullable=False)
        browser = db.Column(db.String(255), nullable=False)

    def record(made: Any, found: Any, *, is_new: bool, has_new_name: bool) -> None:
        common = {"tenant_id": "contoso", "request_id": session.get("request_id")}
        used = hashlib.sha256(made.get_last_assertion_id().encode()).hexdigest()
        expires = datetime.fromtimestamp(made.get_last_assertion_not_on_or_after(), UTC).replace(tzinfo=None)
        db.session.add(Used(assertion_hash=used, expires_at=expires, **common))
        row = {
            "reference": secrets.token_hex(6),
            "at": datetime.now(UTC).replace(tzinfo=None),
            "outcome": "create" if is_new else "update" if has_new_name else "unchanged",
            "user_id": found.id,
            "subject": hashlib.sha256(made.get_nameid().encode()).hexdigest(),
            "claim_names": list(made.get_attributes()),
            "decisions": [{"field": "email", "action": _told(is_new)}, {"field": "first_name", "action": _told(has_new_name)}],
            "browser": str(request.user_agent),
        }
        db.session.add(SignIn(**row, **common))

    return record


def _told(is_set: bool) -> str:
    return "set" if is_set else "unchanged"


def _created(app: Flask, db: SQLAlchemy) -> Flask:
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode = WAL"))
        db.create_all()
        db.engine.dispose()  # gunicorn forks its workers from here
    return app
