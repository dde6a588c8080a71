"""A host app as the tests mount samljit in it: plain SQLAlchemy on SQLite, Flask-Login, one page behind a login."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required
from sqlalchemy import JSON, Boolean, String, create_engine, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from samljit import SamlJit
from samljit.testing import Browser, FakeEntra, KeyPair, Page, Person, sign_in

ORIGIN = "https://app.example.com"
ACS = f"{ORIGIN}/saml/contoso/acs"
LOGIN = f"{ORIGIN}/saml/contoso/login"
ENTITY_ID = f"{ORIGIN}/saml/contoso/metadata"

ADELE = Person(
    object_id="11110000-aaaa-4444-8888-000000000001",
    display_name="Adele Vance",
    given_name="Adele",
    surname="Vance",
    email="adele.vance@contoso.example",
    upn="adele.vance@contoso.example",
    groups=("0a0a0a0a-0000-4000-8000-000000000001",),
)
BIANCA = Person(
    object_id="11110000-aaaa-4444-8888-000000000002",
    display_name="Bianca Pisani",
    given_name="Bianca",
    surname="Pisani",
    email="bianca.pisani@contoso.example",
    upn="bianca.pisani@contoso.example",
)

FIELDS: dict[str, Any] = {
    "email": {"source": ["emailaddress", "name"], "transform": ["lowercase"], "required": True},
    "first_name": "givenname",
    "last_name": "surname",
    "display_name": {"template": "{givenname} {surname}", "sync_mode": "if_empty"},
}


@dataclass
class Host:
    """One running host app. `user_count`, `rows` and `user` read what is committed."""

    app: Flask
    engine: Engine
    session: Any
    user_model: type[Any]
    saml: SamlJit
    entra: FakeEntra
    browsers: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        return Browser({ORIGIN: self.app})

    def sign_in(self, person: Person = ADELE, *, browser: Browser | None = None, login_url: str = LOGIN, **changes: Any) -> Page:
        return sign_in(browser or self.browser(), self.entra, person, login_url, **changes)

    def rows(self, table: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(self.user_model.metadata.tables[table])))

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(self.user_model.metadata.tables[table])).scalar_one())

    def users(self) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in self.rows("users")]

    def reasons(self) -> list[str]:
        return [row.reason for row in self.rows("samljit_attempt") if row.reason]


def make_user_model(**columns: Any) -> type[Any]:
    """A fresh user class in a MetaData of its own; `columns` replace or add to the usual ones."""

    class Base(DeclarativeBase):
        pass

    usual: dict[str, Any] = {
        "__tablename__": "users",
        "id": mapped_column(primary_key=True),
        "email": mapped_column(String(200), nullable=False),
        "first_name": mapped_column(String(100)),
        "last_name": mapped_column(String(100)),
        "display_name": mapped_column(String(200)),
        "departments": mapped_column(JSON),
        "is_admin": mapped_column(Boolean, nullable=False, default=False),
        "active": mapped_column(Boolean, nullable=False, default=True),
        "is_active": property(lambda self: self.active),
    }
    types: dict[str, Any] = {"id": int, "email": str, "first_name": str | None, "last_name": str | None, "display_name": str | None}
    types |= {"departments": list | None, "is_admin": bool, "active": bool}
    annotations = {name: Mapped[kind] for name, kind in types.items() if name not in columns}
    return type("User", (UserMixin, Base), {**usual, **columns, "__annotations__": annotations})


def settings_for(directory: Path, entra: FakeEntra, *, tenant: Mapping[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """Settings with one tenant, contoso, connected to `entra`; `tenant` and `top` replace or add keys."""
    metadata = directory / f"{entra.tenant_id}.xml"
    metadata.write_bytes(entra.metadata())
    contoso = {
        "name": "Contoso Ltd",
        "entra_tenant_id": entra.tenant_id,
        "domains": ["contoso.example"],
        "idp": {"metadata_file": str(metadata)},
        "mapping": {"fields": FIELDS},
    }
    return {"base_url": ORIGIN, "tenants": {"contoso": {**contoso, **(tenant or {})}}, **top}


def key_files(directory: Path, **pairs: KeyPair) -> dict[str, list[str]]:
    """The `sp` section of settings with these key pairs, written to files of their names, the first one current."""
    for name, pair in pairs.items():
        key = directory / f"{name}.key"
        key.write_bytes(pair.private_key_pem)
        key.chmod(0o600)
        (directory / f"{name}.crt").write_bytes(pair.certificate_pem)
    ends = {"key_files": "key", "certificate_files": "crt"}
    return {kind: [str(directory / f"{name}.{end}") for name in pairs] for kind, end in ends.items()}


def make_host(
    directory: Path,
    *,
    entra: FakeEntra | None = None,
    user_model: type[Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    configure: Callable[[Flask], None] = lambda app: None,
    tenant: Mapping[str, Any] | None = None,
    url: str | None = None,
    **options: Any,
) -> Host:
    """A host app with an empty database, at `url` or on SQLite. `tenant` changes the tenant's settings, `configure` sees the app before
    samljit is mounted, `options` go to SamlJit."""
    entra = entra or FakeEntra()
    user_model = user_model or make_user_model()
    engine = create_engine(url or f"sqlite:///{directory}/host.sqlite", pool_size=20)
    session = scoped_session(sessionmaker(engine))
    saml = SamlJit(user_model=user_model, session=session, **{"email_field": "email", "active_field": "active", **options})
    user_model.metadata.create_all(engine)
    app = Flask("host")
    app.config.update(SECRET_KEY="a key of this test run", TESTING=True)
    app.config["SAMLJIT_SETTINGS"] = dict(settings or settings_for(directory, entra, tenant=tenant))
    login_manager = LoginManager(app)
    login_manager.user_loader(lambda key: session.get(user_model, int(key)))
    configure(app)
    saml.init_app(app)
    login_manager.unauthorized_handler(lambda: ("sign in first", 401))
    app.teardown_appcontext(lambda _: session.remove())
    _add_pages(app)
    return Host(app, engine, session, user_model, saml, entra)


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def home() -> str:
        return f"user {current_user.get_id()}" if current_user.is_authenticated else "nobody"

    @app.get("/reports/<int:number>")
    @login_required
    def report(number: int) -> str:
        return f"report {number} for user {current_user.get_id()}"
