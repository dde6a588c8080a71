"""SamlJit: what a host app creates and mounts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, request, session
from flask_login import current_user, user_accessed
from flask_login.config import EXEMPT_METHODS
from sqlalchemy.orm import Session, scoped_session

from samljit.commands import make_commands
from samljit.directory import Directory
from samljit.errors import ConfigError, Problem
from samljit.mapping.aliases import short_name
from samljit.mapping.presets import PRESETS
from samljit.model import SyncMode, Tenant, Transform
from samljit.provision.plan import claims_for
from samljit.settings.read import read_settings
from samljit.sql.idp_sessions import IdpSessions
from samljit.sql.sessions import session_factory
from samljit.sql.store import SqlStore
from samljit.sql.tenants import SqlTenants
from samljit.sql.users import IsPrivileged, TenantFields, inspect_users
from samljit.tenants import build_tenants
from samljit.views.blueprint import make_blueprint
from samljit.views.cookies import was_tried_quietly
from samljit.views.mounted import (
    AcceptAssertion,
    Authorize,
    Gettext,
    Locale,
    Mounted,
    RateLimit,
    VerifyDomain,
    mounted,
    secrets_of,
    utc_now,
)
from samljit.views.passwords import is_password_allowed
from samljit.views.sessions import SESSION_KEY, end_expired_session
from samljit.views.unauthorized import answer_unauthorized, wanted_path
from samljit.views.watch import SessionWatch

log = logging.getLogger("samljit")

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class ManagedField:
    """A field that sign-ins overwrite: for which tenant's people, and from which claims, in the words of its mapping document.

    `claims` are in order of preference, and empty for a constant.
    """

    field: str
    tenant: Tenant
    claims: tuple[str, ...]


class SamlJit:
    """SAML just-in-time provisioning for one user class; mounts into any number of apps with `init_app`.

    `user_model` is the host's mapped class and `session` its sessionmaker, scoped_session or Flask-SQLAlchemy's `db.session`.
    `email_field` and `active_field` name columns of it, None where there is none. `tenant_fields` gives, for a tenant, columns that are
    set on every user created for it and required of every user found.
    `is_privileged` says of a user whether it is somebody whom no e-mail address may lead to. `roles_field` names the host's list of role
    names (a JSON or array column, a property, an association proxy), which is kept in step with the roles that the mapping grants.
    `transforms` are functions of the host that mapping documents may name: text in, list of texts out. `accept_assertion` is asked
    with the tenant and each genuine assertion whether it is good enough (its `authn_context`, its claims); `rate_limit` with each
    POST to the ACS, before its body is read. What is not True refuses. With `ends_sessions` every session is looked up now and then, and
    one that has ended elsewhere ends here too: by a signed LogoutRequest of the IdP, or by signing out of a copy of it.
    `authorize` is asked who may do what on the admin pages of a tenant (`AdminAction`); without it there are none. With
    `verify_domain`, which says of a tenant and a domain whether it was proved to be the tenant's own, admins may add such domains there.
    `base_template` names a template of the host to be the document around our pages; it has the blocks `title`, `head` and `content`.
    `gettext` is asked first for each text of them, and `locale` for the language; without it the browser says.
    Samljit's tables are made in the class's MetaData here, so that `create_all` and Alembic see them. Raises: ConfigError.
    """

    def __init__(
        self,
        *,
        user_model: type[Any],
        session: Callable[[], Session] | scoped_session[Any],
        email_field: str | None = None,
        active_field: str | None = None,
        tenant_fields: TenantFields | None = None,
        is_privileged: IsPrivileged | None = None,
        roles_field: str | None = None,
        transforms: Mapping[str, Transform] | None = None,
        accept_assertion: AcceptAssertion | None = None,
        rate_limit: RateLimit | None = None,
        authorize: Authorize | None = None,
        verify_domain: VerifyDomain | None = None,
        base_template: str | None = None,
        gettext: Gettext | None = None,
        locale: Locale | None = None,
        ends_sessions: bool = False,
    ) -> None:
        self._session = session
        self._factory = session_factory(session)
        self._transforms = dict(transforms or {})
        self._accept_assertion = accept_assertion
        self._rate_limit = rate_limit
        self._authorize, self._verify_domain = authorize, verify_domain
        self._base_template, self._gettext, self._locale = base_template, gettext, locale
        self._ends_sessions = ends_sessions
        self._users = inspect_users(
            user_model,
            email_field=email_field,
            active_field=active_field,
            tenant_fields=tenant_fields,
            is_privileged=is_privileged,
            roles_field=roles_field,
        )

    def init_app(self, app: Flask) -> None:
        """Reads `app.config["SAMLJIT_SETTINGS"]` (a path, or what the file would hold), else the file that the environment variable
        SAMLJIT_SETTINGS names, and mounts the blueprint. Raises: ConfigError with every problem at once."""
        source = app.config.get("SAMLJIT_SETTINGS") or os.environ.get("SAMLJIT_SETTINGS")
        if not source:
            hint = 'Set app.config["SAMLJIT_SETTINGS"], or the environment variable, to the path of settings.json.'
            raise ConfigError([Problem("SAMLJIT_SETTINGS", "missing", "No settings were given.", hint)])
        source = Path(source) if isinstance(source, str) else source
        settings, problems = read_settings(source)
        tenants: dict[str, Tenant] = {}
        if settings is not None:
            shape = self._users.shape(settings.guards.protected_fields, grantable_roles=settings.guards.grantable_roles)
            tenants, found = build_tenants(settings, shape=shape, transforms=self._transforms, now=datetime.now(UTC))
            problems = [*problems, *found]
        if settings is None or any(not problem.is_warning for problem in problems):
            raise ConfigError([problem for problem in problems if not problem.is_warning])
        for problem in problems:
            log.warning("%s", problem)
        skew, sp_keys = settings.clock_skew, tuple(pair.key for pair in settings.key_pairs)
        directory = Directory(
            tenants,
            settings=settings,
            shape=shape,
            transforms=self._transforms,
            rows=SqlTenants(factory=self._factory, users=self._users),
        )
        sessions = IdpSessions(factory=self._factory, users=self._users)
        app.extensions["samljit"] = Mounted(
            base_url=settings.base_url,
            url_prefix=settings.url_prefix,
            directory=directory,
            store=SqlStore(factory=self._factory, users=self._users),
            sessions=sessions,
            users=self._users,
            shape=shape,
            host_session=self._session,
            allow_unproven_email=settings.guards.allow_unproven_email,
            source=source,
            settings=settings,
            transforms=self._transforms,
            factory=self._factory,
            rate_limit=self._rate_limit,
            watch=SessionWatch(sessions) if self._ends_sessions else None,
            accept_assertion=self._accept_assertion,
            authorize=self._authorize,
            verify_domain=self._verify_domain,
            base_template=self._base_template,
            gettext=self._gettext,
            locale=self._locale,
            sp_certificates=tuple(pair.certificate for pair in settings.key_pairs),
            secrets=lambda app: secrets_of(app, skew=skew, sp_keys=sp_keys),
        )
        user_accessed.connect(end_expired_session, app)
        blueprint = make_blueprint()
        if self._authorize is not None:
            blueprint.register_blueprint(_make_admin(app))
        app.register_blueprint(blueprint, url_prefix=settings.url_prefix or None)
        app.cli.add_command(make_commands())

    # --- for the host -------------------------------------------------------------------------------------------------

    def login_url(
        self,
        tenant: str | None = None,
        *,
        next: str | None = None,
        login_hint: str | None = None,
        force: bool = False,
        passive: bool = False,
    ) -> str:
        """Where to send somebody who must sign in: an absolute URL under base_url.

        Without `tenant` it is that of the only one, or, where there are several, the page that finds it by work e-mail. `next` is a
        local path to come back to. `force` asks for a fresh sign-in at the IdP. `passive` asks the IdP to sign in whom it knows already,
        without a word: where it knows nobody the browser comes back to `next` as it was. Look at `tried_passive` before you ask again.
        Raises: ValueError for a tenant that does not exist, and where `passive` cannot be; store.Unavailable.
        """
        if force and passive:
            raise ValueError("who must sign in afresh must be asked: force and passive exclude each other")
        mount = mounted()
        if tenant is not None and mount.directory.find(tenant, now=utc_now()) is None:
            raise ValueError(f"no tenant {tenant!r}")
        tenant = tenant or mount.directory.find_only_slug()
        if passive and tenant is None:
            raise ValueError("name the tenant: where there are several, the person must be asked")
        query = {"next": next, "login_hint": login_hint, "force": "1" if force else None, "passive": "1" if passive else None}
        given = urlencode({name: value for name, value in query.items() if value})
        place = f"{mount.base_url}{mount.url_prefix}" + (f"/{tenant}" if tenant else "")
        return f"{place}/login" + (f"?{given}" if given else "")

    def login_required(self, view: Callable[P, Any]) -> Callable[P, Any]:
        """A view for people who are signed in, as Flask-Login's decorator of this name; others get what `unauthorized` gives."""

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            is_open = request.method in EXEMPT_METHODS or current_app.config.get("LOGIN_DISABLED")
            if not (is_open or current_user.is_authenticated):
                return self.unauthorized()
            return current_app.ensure_sync(view)(*args, **kwargs)

        return guarded

    def unauthorized(self, tenant: str | None = None) -> Response:
        """The answer to somebody who must sign in first; for Flask-Login's `unauthorized_handler` too.

        A redirect to `login_url`, that comes back to the page wanted. Where a script asks (JSON, XMLHttpRequest, fetch, HTMX), 401 with
        `login_url` in JSON, which HTMX follows by itself.
        """
        return answer_unauthorized(self.login_url(tenant, next=wanted_path()))

    @property
    def tried_passive(self) -> bool:
        """Whether this browser was sent to the IdP with `passive` within the last two minutes, and came back with nobody signed in."""
        return was_tried_quietly(request, mount=mounted())

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """The tenants of the current app's settings, by slug: a button for each on the login page. Those of the database are not here."""
        return mounted().directory.of_settings

    @property
    def current_tenant(self) -> Tenant | None:
        """The tenant whose IdP signed the current user in, or None: nobody is signed in, or in another way."""
        signed_in = session.get(SESSION_KEY)
        # Flask-Login's logout_user leaves what is ours in the session; the next person may come in by password
        if not signed_in or not current_user.is_authenticated or current_user.get_id() != signed_in["user"]:
            return None
        return mounted().directory.find(signed_in["tenant"], now=utc_now())

    def tenant_for_email(self, email: str) -> Tenant | None:
        """The tenant that proved the domain of this address, or None. Says nothing about whether such a person exists."""
        return mounted().directory.find_by_domain(email.rpartition("@")[2], now=utc_now())

    def roles(self, user: Any) -> frozenset[str]:
        """The roles that the mapping of the user's tenants has granted, as of the last sign-in. One query. Raises: store.Unavailable."""
        mount = mounted()
        return mount.store.find_roles(mount.user_id_of(user))

    def password_login_allowed(self, user: Any) -> bool:
        """Whether the app may take a password of this user: not where a tenant of the user's makes the IdP the only way in.

        False, too, while the database cannot be reached, as it cannot be told then. Never raises.
        """
        return is_password_allowed(user, mount=mounted(), now=utc_now())

    def managed_fields(self, user: Any) -> dict[str, ManagedField]:
        """The fields that the user's next sign-in may overwrite, by name: show them read-only. One query. Raises: store.Unavailable.

        Fields that are only written on creation, or while they are empty, are the user's own and not among them.
        """
        mount = mounted()
        found: dict[str, ManagedField] = {}
        slugs = mount.store.find_tenants_of(mount.user_id_of(user))
        tenants = (mount.directory.find(slug, now=utc_now()) for slug in slugs)
        for tenant in tenants:
            if tenant is None or not tenant.is_open or not tenant.mapping.policy.update_users:
                continue
            for rule in tenant.mapping.fields:
                if rule.sync_mode is SyncMode.ALWAYS:
                    names = tuple(short_name(name, PRESETS[tenant.preset].aliases) for name in claims_for(rule))
                    found.setdefault(rule.target, ManagedField(rule.target, tenant, names))
        return found


def _make_admin(app: Flask) -> Blueprint:
    """The blueprint of the admin pages; its package is imported only where they are mounted. Raises: ConfigError."""
    problems = []
    if find_spec("flask_wtf") is None:
        hint = "Install it: pip install 'samljit[admin]'."
        problems.append(Problem("authorize", "flask_wtf_missing", "The admin pages need Flask-WTF for their forms.", hint))
    if not hasattr(app, "login_manager"):
        hint = "Call LoginManager().init_app(app) before saml.init_app(app)."
        problems.append(Problem("authorize", "no_login_manager", "The admin pages need Flask-Login to know who asks.", hint))
    if problems:
        raise ConfigError(problems)
    from samljit.admin.blueprint import make_admin

    return make_admin()
