"""What is mounted in one Flask app: the parts that the views work with, found again through the app's extensions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from flask import Flask, Request, Response, after_this_request, current_app
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy.orm import Session, scoped_session

from samljit.directory import Directory
from samljit.errors import ConfigError, Problem
from samljit.federation.fetch import Source
from samljit.federation.refresh import Feed
from samljit.model import AdminAction, Assertion, Tenant, Transform, UserShape
from samljit.saml.encryption import read_keys
from samljit.saml.request import RequestIds
from samljit.saml.validator import Validator
from samljit.settings.read import Settings
from samljit.sql.idp_sessions import IdpSessions
from samljit.sql.sessions import in_store_words
from samljit.sql.store import SqlStore
from samljit.sql.users import HostUsers
from samljit.store import Unavailable, WriteConflict
from samljit.views.flights import Flights
from samljit.views.watch import SessionWatch

# A host's own way to translate a text, which gives an unknown one back as it is (flask_babel.gettext, say), and to tell the language
Gettext = Callable[[str], Any]
Locale = Callable[[], Any]

# What a host may decide for itself: whether to read this POST at all, and whether a genuine assertion is good enough for it.
RateLimit = Callable[[Request], bool]
AcceptAssertion = Callable[[Tenant, Assertion], bool]
# Whether this user of Flask-Login's may do that for the tenant on its admin pages
Authorize = Callable[[Any, Tenant, AdminAction], bool]
# Whether the tenant has proved to the host that this domain, in lower-case A-labels, is its own
VerifyDomain = Callable[[Tenant, str], bool]


@dataclass(frozen=True, slots=True)
class Secrets:
    """All that is keyed from the app's SECRET_KEY and its fallbacks. `signing_key` is our own for requests, None where we have none."""

    requests: RequestIds
    validator: Validator
    pending: URLSafeTimedSerializer
    handover: URLSafeTimedSerializer
    question: URLSafeTimedSerializer
    sign_out: URLSafeTimedSerializer
    test: URLSafeTimedSerializer
    fetched: URLSafeTimedSerializer
    signing_key: RSAPrivateKey | None = field(repr=False)


@dataclass(frozen=True)
class Mounted:
    """One SamlJit in one app.

    `base_template` is the document around our pages, None for our own; `gettext` and `locale` are the host's, see `views.words`.
    `source` is where `settings` were read from; `factory` makes sessions of our own, apart from `host_session`. `watch` tells whether a
    session is still on, where the host asks for that.
    """

    base_url: str
    url_prefix: str
    directory: Directory
    store: SqlStore
    sessions: IdpSessions
    users: HostUsers
    shape: UserShape
    host_session: Any
    sp_certificates: tuple[bytes, ...]
    rate_limit: RateLimit | None
    accept_assertion: AcceptAssertion | None
    authorize: Authorize | None
    verify_domain: VerifyDomain | None
    base_template: str | None
    gettext: Gettext | None
    locale: Locale | None
    allow_unproven_email: bool
    watch: SessionWatch | None
    source: Path | Mapping[str, Any] = field(repr=False)
    settings: Settings = field(repr=False)
    transforms: Mapping[str, Transform]
    factory: Callable[[], Session]
    secrets: Callable[[Flask], Secrets] = field(repr=False)
    flights: Flights = field(default_factory=Flights, repr=False, compare=False)
    warned: set[tuple[UUID, str, int]] = field(default_factory=set, repr=False, compare=False)
    _purged: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https:")

    def find_feed(self, tenant: Tenant) -> Feed | None:
        """Where the tenant's metadata is fetched from; None where its IdP is named in another way.

        The settings file may name any address that its checks let through; what stands in the database may have come from a page.
        """
        if tenant.metadata_source is None:
            return None
        source = Source(tenant.metadata_source, "metadata_url", public_only=tenant.slug not in self.directory.of_settings)
        return Feed(tenant.id, tenant.slug, source, tenant.preset, self.base_url)

    def shape_for(self, tenant: Tenant) -> UserShape:
        """The shape to plan with: the columns that name the tenant are nobody's to map."""
        return replace(self.shape, protected=self.shape.protected | frozenset(self.users.fields_of(tenant)))

    def email_domains(self, tenant: Tenant) -> tuple[str, ...] | None:
        """Which domains an e-mail from this tenant may lie in, None for any."""
        return None if self.allow_unproven_email else tenant.domains

    def load_user(self, user_id: Any) -> Any:
        """The user as the database has it now, None if gone or inactive. Raises: store.Unavailable.

        In the host's own session where it has one; else in one that stays open for what the user class looks up in the request.
        """
        with in_store_words():
            if isinstance(self.host_session, scoped_session):
                return self.users.load(self.host_session, user_id)
            session = self.host_session()
            after_this_request(partial(_close, session))
            return self.users.load(session, user_id)

    def purge_now_and_then(self, app: Flask) -> None:
        """Forgets consumed assertions that have expired, at most once a minute in this process. A lost database is not its affair."""
        now = utc_now()
        minute = int(now.timestamp()) // 60
        if self._purged.get("minute") == minute:
            return
        self._purged["minute"] = minute
        # Flask-SQLAlchemy finds its engine through the app, and the request's own context is over
        with suppress(Unavailable, WriteConflict), app.app_context():
            self.store.purge_assertions(now=now)

    def user_id_of(self, user: Any) -> Any:
        return getattr(user, self.users.key, None)


def _close(session: Session, response: Response) -> Response:
    session.close()
    return response


def mounted() -> Mounted:
    """The SamlJit of the current app."""
    return cast(Mounted, current_app.extensions["samljit"])


def app_secrets() -> Secrets:
    """What the current app's SECRET_KEY keys. Raises: ConfigError where there is none."""
    return mounted().secrets(current_app)


def utc_now() -> datetime:
    """The clock of the views; everything below them is told the time."""
    return datetime.now(UTC)


def secrets_of(app: Flask, *, skew: timedelta, sp_keys: tuple[bytes, ...]) -> Secrets:
    """Keys for everything that must authenticate itself; made once for each value of SECRET_KEY and its fallbacks.

    `sp_keys` are the PEM keys that assertions may be encrypted to; the first of them signs.
    """
    key = app.config.get("SECRET_KEY")
    if not key:
        raise ConfigError([Problem("SECRET_KEY", "missing", "The app has no SECRET_KEY.", "Set app.config['SECRET_KEY'].")])
    keys = [key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    return _make_secrets(tuple(value.encode() if isinstance(value, str) else value for value in keys), skew, sp_keys)


@lru_cache(maxsize=64)
def _make_secrets(keys: tuple[bytes, ...], skew: timedelta, sp_keys: tuple[bytes, ...]) -> Secrets:
    requests = RequestIds(keys)

    def signer(use: str) -> URLSafeTimedSerializer:
        derived = [hmac.digest(key, f"samljit.{use}.v1".encode(), "sha256") for key in keys]
        # itsdangerous signs with the last key and accepts them all
        options: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeTimedSerializer(list(reversed(derived)), salt=f"samljit.{use}", signer_kwargs=options)

    own_keys = read_keys(sp_keys)
    return Secrets(
        requests=requests,
        validator=Validator(requests=requests, skew=skew, decryption_keys=own_keys),
        pending=signer("pending"),
        handover=signer("handover"),
        question=signer("question"),
        sign_out=signer("sign-out"),
        test=signer("test"),
        fetched=signer("fetched"),
        signing_key=own_keys[0] if own_keys else None,
    )
