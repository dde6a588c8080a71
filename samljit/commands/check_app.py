"""Checks of the host app: cookies, proxies, Flask-Login, keys, and whether strangers get through to the sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from samljit.commands.findings import Finding, ok, problem, warning
from samljit.saml.fit import require_fit
from samljit.store import Unavailable
from samljit.views.mounted import Mounted, utc_now

_SHORTEST_KEY = 16  # characters
_LIBRARIES = ("flask", "flask-login", "sqlalchemy", "python3-saml", "lxml", "xmlsec", "cryptography", "pydantic")


def check_cookies(app: Flask, mount: Mounted) -> Iterator[Finding]:
    """The session cookie of the host: ours are always set as they should be."""
    config, found = app.config, list[Finding]()
    if mount.is_https:
        for name in ("SESSION_COOKIE_SECURE", "REMEMBER_COOKIE_SECURE"):
            if not config.get(name):
                what = f"{name} is off, though base_url is https: the cookie also goes out unencrypted."
                found.append(warning("cookies", name.lower(), what, f"Set {name} = True."))
    elif config.get("SESSION_COOKIE_SECURE"):
        what = "SESSION_COOKIE_SECURE is on, though base_url is http: browsers may drop the session."
        found.append(problem("cookies", "session_cookie_secure", what, "Switch it off here, or use https."))
    same_site = config.get("SESSION_COOKIE_SAMESITE")
    if same_site is None:
        what = "SESSION_COOKIE_SAMESITE is not set: browsers disagree about what that means."
        remedy = 'Set SESSION_COOKIE_SAMESITE = "Lax"; samljit works with "Strict" too.'
        found.append(warning("cookies", "session_cookie_samesite", what, remedy))
    elif same_site == "None" and not config.get("SESSION_COOKIE_SECURE"):
        what = 'SESSION_COOKIE_SAMESITE is "None" without SESSION_COOKIE_SECURE: browsers drop the session.'
        found.append(problem("cookies", "session_cookie_samesite", what, 'Set it to "Lax".'))
    if not config.get("SESSION_COOKIE_HTTPONLY", True):
        what = "SESSION_COOKIE_HTTPONLY is off: scripts may read the session cookie."
        found.append(warning("cookies", "session_cookie_httponly", what, "Set SESSION_COOKIE_HTTPONLY = True."))
    yield from found or [ok("cookies", "cookies", "The session cookie is set as it should be.")]


def check_address(app: Flask, mount: Mounted) -> Iterator[Finding]:
    """Whether the app takes itself to be where people reach it."""
    host, found = urlsplit(mount.base_url).netloc, list[Finding]()
    server_name, root = app.config.get("SERVER_NAME"), app.config.get("APPLICATION_ROOT") or "/"
    if server_name and server_name != host:
        what = f"SERVER_NAME is {server_name}, but base_url is {mount.base_url}."
        found.append(warning("address", "server_name", what, f'Leave SERVER_NAME out, or set it to "{host}".'))
    if root != "/" and not f"{mount.url_prefix}/".startswith(f"{root.rstrip('/')}/"):
        what = f"APPLICATION_ROOT is {root}: the session cookie does not reach {mount.url_prefix or '/'}, where people sign in."
        found.append(problem("address", "application_root", what, "Set SESSION_COOKIE_PATH = '/', or leave APPLICATION_ROOT out."))
    if app.config.get("SESSION_COOKIE_PATH") == "/":
        found = [finding for finding in found if finding.code != "application_root"]
    if mount.is_https and not isinstance(app.wsgi_app, ProxyFix):
        what = "The app is not wrapped in ProxyFix. samljit needs none, as its addresses come from base_url; your own pages may."
        remedy = "Where a proxy ends https: app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)."
        found.append(warning("address", "proxy_fix", what, remedy))
    yield from found or [ok("address", "address", f"The app is at {mount.base_url}.")]


def check_login(app: Flask) -> Iterator[Finding]:
    """SECRET_KEY and Flask-Login, which a sign-in ends in."""
    key = app.config.get("SECRET_KEY")
    remedy = "Make one: python -c 'import secrets; print(secrets.token_hex(32))'"
    if not key:
        yield problem("login", "secret_key", "The app has no SECRET_KEY.", remedy)
    elif len(key) < _SHORTEST_KEY:
        yield problem("login", "secret_key", f"SECRET_KEY is shorter than {_SHORTEST_KEY} characters, and can be guessed.", remedy)
    else:
        yield ok("login", "secret_key", "SECRET_KEY is set.")
    manager = getattr(app, "login_manager", None)
    if manager is None:
        yield problem("login", "no_login_manager", "Flask-Login is not set up.", "Call LoginManager().init_app(app).")
    elif manager._user_callback is None and manager._request_callback is None:
        what = "Flask-Login has no user_loader: nobody would stay signed in."
        yield problem("login", "no_user_loader", what, "Register one with @login_manager.user_loader.")
    else:
        yield ok("login", "login_manager", "Flask-Login is set up.")


def check_reachable(app: Flask, mount: Mounted) -> Iterator[Finding]:
    """Whether our addresses lead to us, and a stranger gets the metadata: a real request, through all of the app."""
    tenant = next(iter(mount.directory.of_settings.values()), None)
    with suppress(Unavailable):
        tenant = tenant or next(mount.directory.all(now=utc_now()), None)
    if tenant is None:
        yield warning("address", "no_tenant", "There is no tenant yet.", "Add one: flask samljit tenant add SLUG.")
        return
    path = urlsplit(tenant.acs_url).path
    try:
        endpoint = app.url_map.bind(urlsplit(mount.base_url).netloc).match(path, method="POST")[0]
    except HTTPException:
        endpoint = None
    if endpoint != "samljit.acs":
        what = f"{path} leads to {endpoint or 'nothing'}, not to samljit."
        yield problem("address", "shadowed", what, "Rename that route, or choose another url_prefix.")
        return
    path = urlsplit(tenant.metadata_url).path
    try:
        status: int | str = app.test_client().get(path, base_url=mount.base_url).status_code
    except Exception as error:  # whatever the host's own hooks raise
        status = type(error).__name__
    if status == 200:
        yield ok("address", "reachable", f"{path} is served to strangers.")
    else:
        remedy = "Let the blueprint samljit through in your before_request functions."
        yield problem("address", "unreachable", f"{path} answers {status} to somebody who is not signed in.", remedy)


def check_libraries() -> Iterator[Finding]:
    try:
        require_fit()
    except ImportError as error:
        what, _, remedy = str(error).partition(". ")
        yield problem("libraries", "libraries", f"{what}.", remedy)
    else:
        yield ok("libraries", "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES) + ".")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
