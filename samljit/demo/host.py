"""Northwind Reports: a host app with samljit mounted in it, as a developer would do it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Flask, redirect, request, url_for
from flask_login import LoginManager
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from werkzeug.wrappers import Response

from samljit import AdminAction, SamlJit
from samljit.demo.history import SignInHistory
from samljit.demo.models import Base, User
from samljit.demo.pages import is_admin, make_pages, tenants_of
from samljit.model import Tenant


def _may_administer(user: User, tenant: Tenant, _: AdminAction) -> bool:
    return user.organization == tenant.slug and is_admin(user)


def create_host(*, settings: Path | Mapping[str, Any], database_url: str) -> Flask:
    """The app, its tables made. `settings` is the path of a settings.json, or what it would hold.

    Raises: ConfigError; what SQLAlchemy raises for a database that cannot be used.
    """
    engine = create_engine(database_url)
    session = scoped_session(sessionmaker(engine))

    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_hex(32),  # the demo forgets its sessions at each start; a real app keeps its key
        SESSION_COOKIE_SAMESITE="Lax",
        SAMLJIT_SETTINGS=settings,
    )

    # --- the mount: all that samljit needs to know -------------------------------------------------------------------
    saml = SamlJit(
        user_model=User,
        session=session,
        email_field="email",
        active_field="active",
        tenant_fields=lambda tenant: {"organization": tenant.slug},
        authorize=_may_administer if find_spec("flask_wtf") else None,  # the admin pages come with samljit[admin]
    )
    login_manager = LoginManager(app)
    saml.init_app(app)
    Base.metadata.create_all(engine)  # users, and samljit's own tables beside them

    # --- Flask-Login: who is signed in, and where to send who is not -------------------------------------------------
    @login_manager.user_loader  # type: ignore[untyped-decorator]
    def load_user(user_id: str) -> User | None:
        user = session.get(User, int(user_id))
        return user if user and user.active else None

    @login_manager.unauthorized_handler  # type: ignore[untyped-decorator]
    def sign_in_first() -> Response:
        wanted = request.full_path.removesuffix("?")
        if len(list(tenants_of(app))) == 1:
            return redirect(saml.login_url(next=wanted))
        return redirect(url_for("pages.home", next=wanted))  # several organizations: a button for each

    @app.teardown_appcontext
    def end_session(_: BaseException | None) -> None:
        session.remove()

    # --- the product -------------------------------------------------------------------------------------------------
    app.register_blueprint(make_pages(session=session, saml=saml, history=SignInHistory(app)))
    app.extensions["northwind.engine"] = engine
    return app
