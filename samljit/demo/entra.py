"""Fake Entra's pages: an account picker, a form to edit claims, and My Apps, around the signer of `samljit.testing`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from flask import Blueprint, Flask, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from samljit.demo.directory import DEPARTMENT, JOB_TITLE, Account, Directory, changed, first_value, new_account
from samljit.demo.mishaps import MISHAPS, Asked, NothingToRepeat
from samljit.mapping.aliases import short_name
from samljit.testing import AuthnRequest, FakeEntra, Person, RequestRefused, SamlPost, claims_of

RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"
NO_PASSIVE = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"
_MOST_VALUES_SHOWN = 3
_NOBODY = Account(Person(object_id=""))


@dataclass(frozen=True, slots=True)
class RegisteredApp:
    """The one app that is registered in this directory, as Entra's Basic SAML Configuration holds it."""

    name: str
    home_url: str
    entity_id: str
    acs_url: str
    logout_url: str


@dataclass(frozen=True)
class _Desk:
    """All that the pages work with, by account id: `last_posts` are each person's last good response, to be posted again on request, and
    `sessions` the SessionIndex of those who have not signed out since."""

    entra: FakeEntra
    app: RegisteredApp
    directory: Directory = field(default_factory=Directory)
    last_posts: dict[str, SamlPost] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)

    def read_request(self) -> AuthnRequest:
        """The AuthnRequest of this address, as Entra takes it. Raises: RequestRefused."""
        asked = self.entra.read_request(request.url)
        if asked.issuer != self.app.entity_id:
            raise RequestRefused(f"AADSTS700016: no application with the Identifier {asked.issuer!r} is registered here.")
        if asked.acs_url != self.app.acs_url:
            raise RequestRefused("AADSTS50011: the Reply URL of the request is not one of those registered for the application.")
        return asked

    def sign_out(self) -> str | None:
        """Where the browser goes after a LogoutRequest that this address carries, with the answer to it; None where it carries none."""
        try:
            asked = self.entra.read_logout(request.url)
        except RequestRefused:
            return None
        if asked.issuer != self.app.entity_id:
            return None
        for account_id in [who for who, index in self.sessions.items() if index in asked.session_indexes]:
            del self.sessions[account_id]
        return self.entra.answer_logout(asked, logout_url=self.app.logout_url, now=datetime.now(UTC))


def create_entra(*, entra: FakeEntra, app: RegisteredApp) -> Flask:
    """Fake Entra as a Flask app. `entra.sso_url` must lead to its `/<tenant id>/saml2`."""
    desk = _Desk(entra, app)
    flask_app = Flask(__name__)
    pages = Blueprint("entra", __name__)
    _add_sign_in(pages, desk)
    _add_sign_out(pages, desk)
    _add_people(pages, desk)
    flask_app.register_blueprint(pages)
    flask_app.after_request(_add_headers)

    @flask_app.errorhandler(404)
    def not_found(_: Exception) -> tuple[str, int]:
        return render_template("entra/not_found.html"), 404

    return flask_app


def _add_sign_in(pages: Blueprint, desk: _Desk) -> None:
    @pages.get("/")
    def my_apps() -> str:
        return render_template("entra/my_apps.html", app=desk.app, accounts=desk.directory.all(), sessions=desk.sessions)

    @pages.route("/<tenant_id>/saml2", methods=["GET", "POST"])
    def saml2(tenant_id: str) -> Response:
        """Where apps send people to sign in and to sign out, with their request in the query: one address for both, as Entra's is."""
        if tenant_id != desk.entra.tenant_id:
            return _trouble("AADSTS90002: there is no such directory here.")
        if answer := desk.sign_out():
            return make_response(redirect(answer, code=303))
        try:
            asked = desk.read_request()
        except RequestRefused as refused:
            return _trouble(str(refused))
        if asked.is_passive:  # it would have to ask who it is
            return _send(desk, desk.entra.refuse(asked, now=datetime.now(UTC), status=RESPONDER, status_detail=NO_PASSIVE))
        return _answer(desk, asked) if request.method == "POST" else _picker(desk, asked)

    @pages.route("/my-apps/start", methods=["GET", "POST"])
    def start() -> Response:
        """The tile in My Apps: a sign-in that the app did not ask for."""
        return _answer(desk, None) if request.method == "POST" else _picker(desk, None)


def _add_sign_out(pages: Blueprint, desk: _Desk) -> None:
    @pages.get("/people/<object_id>/sign-out")
    def sign_out(object_id: str) -> AnyResponse:
        """Somebody signs out of Entra: it sends their browser to the app's Logout URL."""
        index = desk.sessions.pop(object_id, None) or abort(404)
        asked = desk.entra.request_logout(logout_url=desk.app.logout_url, session_index=index, now=datetime.now(UTC))
        return redirect(asked, code=303)


def _session_index(post: SamlPost) -> str:
    """What the assertion calls the session; Fake Entra's own XML, so no parser is needed."""
    found = re.search(rb' SessionIndex="([^"]+)"', post.xml)
    return found[1].decode() if found else ""


def _picker(desk: _Desk, asked: AuthnRequest | None, *, chosen: str = "nothing", notice: str = "") -> Response:
    hint = (asked.login_hint or "").lower() if asked else ""
    accounts = desk.directory.all()
    if hint:
        accounts.sort(key=lambda account: hint not in (account.person.login_name or "", account.person.email or ""))
    page = render_template(
        "entra/picker.html",
        app=desk.app,
        accounts=accounts,
        mishaps=MISHAPS,
        chosen=chosen,
        notice=notice,
        fresh=asked is not None and asked.force_authn,
        query=_query() if asked else "?start",
    )
    return make_response(page)


def _answer(desk: _Desk, asked: AuthnRequest | None) -> Response:
    """The page that posts the response to the app by itself."""
    account = desk.directory.find(request.form.get("account", "")) or abort(404)
    chosen = request.form.get("mishap", "nothing")
    mishap = MISHAPS.get(chosen) or abort(404)
    question = Asked(
        entra=desk.entra,
        person=account.person,
        acs_url=desk.app.acs_url,
        audience=desk.app.entity_id,
        now=datetime.now(UTC),
        request=asked,
        last_post=desk.last_posts.get(account.id),
    )
    try:
        post = mishap.answer(question)
    except NothingToRepeat as nothing:
        return _picker(desk, asked, chosen=chosen, notice=str(nothing))
    if chosen == "nothing":
        desk.last_posts[account.id] = post
        desk.sessions[account.id] = _session_index(post)
        desk.directory.turn(account)
    return _send(desk, post, account=account)


def _send(desk: _Desk, post: SamlPost, *, account: Account | None = None) -> Response:
    """The page that posts by itself."""
    response = make_response(render_template("entra/post.html", post=post, app=desk.app, account=account))
    acs = urlsplit(post.acs_url)
    response.headers["Content-Security-Policy"] = _policy(form_action=f"{acs.scheme}://{acs.netloc}")
    return response


def _add_people(pages: Blueprint, desk: _Desk) -> None:
    @pages.route("/people/<object_id>", methods=["GET", "POST"])
    def edit(object_id: str) -> AnyResponse:
        account = desk.directory.find(object_id) or abort(404)
        if request.method == "GET":
            return _form(desk, account)
        desk.directory.save(changed(account, request.form))
        return redirect(_way_back(desk), code=303)

    @pages.route("/people/new", methods=["GET", "POST"])
    def add() -> AnyResponse:
        if request.method == "GET":
            return _form(desk, _NOBODY)
        account = new_account(request.form)
        if not account.person.display_name:
            return _form(desk, account, notice="Give the person a display name.")
        desk.directory.save(account)
        return redirect(_way_back(desk), code=303)


def _form(desk: _Desk, account: Account, *, notice: str = "") -> Response:
    person = account.person
    is_new = desk.directory.find(account.id) is None
    claims = [] if is_new else claims_of(person, desk.entra.tenant_id)
    page = render_template(
        "entra/person.html",
        account=account,
        person=person,
        is_new=is_new,
        notice=notice,
        department=first_value(person, DEPARTMENT),
        job_title=first_value(person, JOB_TITLE),
        claims=[(short_name(claim.name), claim.name, _shown(claim.values)) for claim in claims],
        back=_way_back(desk),
        query=_query(),
    )
    return make_response(page, 422 if notice else 200)


def _shown(values: tuple[str, ...]) -> list[str]:
    if len(values) <= _MOST_VALUES_SHOWN:
        return list(values)
    return [values[0], f"and {len(values) - 1} more"]


def _query() -> str:
    """The query of this address, to be carried along: it holds the app's request, so that a detour over a form does not lose it."""
    text = request.query_string.decode("ascii", "replace")
    return f"?{text}" if text else ""


def _way_back(desk: _Desk) -> str:
    if "SAMLRequest" in request.args:
        return url_for("entra.saml2", tenant_id=desk.entra.tenant_id) + _query()
    return url_for("entra.start") if "start" in request.args else url_for("entra.my_apps")


def _trouble(message: str) -> Response:
    """Entra's own error page: a request that it refuses never comes back to the app."""
    now = datetime.now(UTC)
    return make_response(render_template("entra/trouble.html", message=message, request_id=uuid4(), now=now), 400)


def _policy(*, form_action: str) -> str:
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"form-action 'self' {form_action}; base-uri 'none'; frame-ancestors 'none'"
    )


def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _policy(form_action=""))
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
