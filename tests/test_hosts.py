"""Many host apps, each with sessions, settings and neighbours as some developer has them, and one sign-in through each."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask_login import UserMixin, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, String, event, inspect
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, scoped_session, sessionmaker

from samljit import ConfigError, SamlJit
from samljit.testing import FakeEntra
from tests.host import ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_host, settings_for
from tests.small_host import Small, app_with, assert_signs_in, base, int_model, make_small_host, settings
from tests.small_host import made_on_sqlite as made_on_sqlite
from tests.test_store import close, forms, post_at_once

# --- sessions ---------------------------------------------------------------------------------------------------------


def subclass_factory(engine: Engine) -> Any:
    class HostSession(Session):
        pass

    return sessionmaker(engine, class_=HostSession, expire_on_commit=False)


@pytest.mark.parametrize(
    "session_of",
    [
        pytest.param(lambda engine, model: sessionmaker(engine), id="sessionmaker"),
        pytest.param(lambda engine, model: scoped_session(sessionmaker(engine)), id="scoped_session"),
        pytest.param(lambda engine, model: subclass_factory(engine), id="own Session class"),
        pytest.param(lambda engine, model: sessionmaker(binds={model: engine}), id="binds by class"),
        pytest.param(lambda engine, model: sessionmaker(binds={model.__table__: engine}), id="binds by table"),
        pytest.param(lambda engine, model: lambda: Session(engine, autoflush=False), id="a function"),
    ],
)
def test_a_session_of_any_make_will_do(tmp_path: Path, engine: Engine, session_of: Any) -> None:
    model = int_model()
    session = session_of(engine, model)
    host = make_small_host(tmp_path, engine, model, session=session)
    assert_signs_in(host)
    if isinstance(session, scoped_session):
        session.remove()


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_a_host_whose_sqlite_transactions_hold_their_locks_signs_people_in(tmp_path: Path, begin: str) -> None:
    host = make_host(tmp_path, url=f"sqlite:///{tmp_path}/host.sqlite?timeout=0.2")
    host.engine.dispose()

    @event.listens_for(host.engine, "connect")
    def manual(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # what SQLAlchemy's documentation advises for real transactions

    @event.listens_for(host.engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    assert [host.sign_in(person).text for person in (ADELE, BIANCA, ADELE)] == ["user 1", "user 2", "user 1"]
    host.engine.dispose()


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_people_who_come_at_once_wait_for_each_other_where_a_sqlite_transaction_begins_with_what_is_read(
    tmp_path: Path, begin: str
) -> None:
    host = make_host(tmp_path)
    host.engine.dispose()
    event.listen(host.engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(host.engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    posts = [form for person in (ADELE, BIANCA) for form in forms(host, person, 6)]
    assert (post_at_once(host, posts), host.count("users")) == ({200: 12}, 2)
    close(host)


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(lambda: async_sessionmaker(), id="async_sessionmaker"),
        pytest.param(lambda: async_scoped_session(async_sessionmaker(), scopefunc=lambda: 1), id="async_scoped_session"),
        pytest.param(lambda: sessionmaker(class_=AsyncSession), id="sessionmaker of AsyncSession"),
        pytest.param(lambda: AsyncSession(), id="an AsyncSession"),
        pytest.param(lambda: Session(), id="a session, not a factory"),
        pytest.param(lambda: None, id="nothing"),
    ],
)
def test_what_makes_no_session_is_named_at_start_up(session: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        SamlJit(user_model=int_model(), session=session())
    assert [problem.code for problem in caught.value.problems] == ["not_a_session_factory"]


def test_two_phase_sessions_are_named_at_start_up(engine: Engine) -> None:
    for session in (sessionmaker(engine, twophase=True), scoped_session(sessionmaker(engine, twophase=True))):
        with pytest.raises(ConfigError) as caught:
            SamlJit(user_model=int_model(), session=session)
        assert [problem.code for problem in caught.value.problems] == ["twophase_session"]


def test_a_user_class_that_looks_up_others_while_it_signs_in_has_a_session_for_it(tmp_path: Path, engine: Engine) -> None:
    Base = base()

    class Organization(Base):
        __tablename__ = "organizations"
        id: Mapped[int] = mapped_column(primary_key=True)
        enabled: Mapped[bool]

    class User(UserMixin, Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
        organization: Mapped[Organization] = relationship()

        @property
        def is_active(self) -> bool:
            return self.organization.enabled

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Organization(id=1, enabled=True))
        session.commit()
    host = make_small_host(tmp_path, engine, User, tenant_fields=lambda tenant: {"organization_id": 1})
    assert host.sign_in().status == 200


# --- Flask-SQLAlchemy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["database first", "samljit first"])
@pytest.mark.parametrize("bind_key", [None, "people"])
@pytest.mark.parametrize("where", ["file", "memory"])
def test_flask_sqlalchemy_with_an_application_factory(tmp_path: Path, order: str, bind_key: str | None, where: str) -> None:
    db = SQLAlchemy()

    class User(UserMixin, db.Model):  # type: ignore[name-defined]
        __bind_key__ = bind_key
        id = db.Column(db.Integer, primary_key=True)
        email = db.Column(db.String(200), unique=True)
        active = db.Column(db.Boolean, default=True)

    saml = SamlJit(user_model=User, session=db.session, email_field="email", active_field="active")
    entra = FakeEntra()

    def create_app() -> Flask:
        def prepare(app: Flask) -> None:
            url = f"sqlite:///{tmp_path}/main.sqlite" if where == "file" else "sqlite://"
            app.config["SQLALCHEMY_DATABASE_URI"] = url
            app.config["SQLALCHEMY_BINDS"] = {"people": url.replace("main", "people")}
            for init in (db.init_app, saml.init_app) if order == "database first" else (saml.init_app, db.init_app):
                init(app)

        return app_with(settings(tmp_path, entra), load=lambda key: db.session.get(User, int(key)), prepare=prepare)

    app = create_app()
    with app.app_context():
        db.create_all()
        engine = db.engines[bind_key]
        host = Small(app, engine, entra, User)
        assert "samljit_identity" in inspect(engine).get_table_names()
        assert_signs_in(host)
        db.session.remove()
        for made in db.engines.values():
            made.dispose()


def test_flask_sqlalchemy_of_a_2_0_style_with_sessions_of_its_own_names(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Person(UserMixin, db.Model):  # type: ignore[name-defined]
        id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
        email: Mapped[str] = mapped_column(String(100))

    def prepare(app: Flask) -> None:
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/main.sqlite"
        db.init_app(app)

    entra, saml = FakeEntra(), SamlJit(user_model=Person, session=db.session, email_field="email")
    app = app_with(settings(tmp_path, entra), load=lambda key: db.session.get(Person, UUID(key)), prepare=prepare, saml=saml)
    with app.app_context():
        db.create_all()
        assert_signs_in(Small(app, db.engine, entra, Person))
        db.engine.dispose()


# --- several apps in one process --------------------------------------------------------------------------------------


def test_two_apps_share_one_samljit_and_one_database(tmp_path: Path, engine: Engine) -> None:
    model, entra = int_model(), FakeEntra()
    factory = sessionmaker(engine)
    saml = SamlJit(user_model=model, session=factory, email_field="email")
    model.metadata.create_all(engine)
    hosts = []
    for origin in ("https://one.example.com", "https://two.example.com"):
        given = settings(tmp_path, entra, base_url=origin)
        app = app_with(given, load=lambda key: factory().get(model, int(key)), saml=saml)
        hosts.append(Small(app, engine, entra, model, origin=origin))
    pages = [host.sign_in() for host in hosts]
    assert [(page.status, page.text) for page in pages] == [(200, "user 1"), (200, "user 1")]
    with hosts[0].app.test_request_context():
        assert saml.login_url() == "https://one.example.com/saml/contoso/login"
    with hosts[1].app.test_request_context():
        assert saml.login_url("contoso", next="/a?b=c") == "https://two.example.com/saml/contoso/login?next=%2Fa%3Fb%3Dc"


def test_two_apps_with_a_samljit_each_know_nothing_of_each_other(tmp_path: Path) -> None:
    hosts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        hosts.append(make_host(tmp_path / name))
    hosts[0].sign_in()
    assert [host.count("users") for host in hosts] == [1, 0]
    stranger = hosts[0].entra
    page = hosts[0].browser().get(LOGIN)
    post = stranger.respond(stranger.read_request(page.url), ADELE, now=datetime.now(UTC))
    assert hosts[1].app.test_client().post("/saml/contoso/acs", data=dict(post.form), base_url=ORIGIN).status_code == 403
    for host in hosts:
        host.session.remove()
        host.engine.dispose()


# --- what the host may ask --------------------------------------------------------------------------------------------


def test_settings_come_from_the_config_a_path_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings(tmp_path, FakeEntra())))
    saml = SamlJit(user_model=int_model(), session=sessionmaker())
    for config in (str(file), file, settings(tmp_path, FakeEntra())):
        app = Flask("configured")
        app.config["SAMLJIT_SETTINGS"] = config
        saml.init_app(app)
        assert "samljit.acs" in app.view_functions
    with pytest.raises(ConfigError) as caught:
        saml.init_app(Flask("nothing"))
    assert [problem.code for problem in caught.value.problems] == ["missing"]
    monkeypatch.setenv("SAMLJIT_SETTINGS", str(file))
    saml.init_app(Flask("environment"))


def test_warnings_are_logged_and_start_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mapping = {"identity": {"source": "emailaddress"}, "fields": FIELDS}
    with caplog.at_level(logging.WARNING, "samljit"):
        host = make_host(tmp_path, tenant={"mapping": mapping})
    assert "$.tenants.contoso.mapping.identity.source" in caplog.text
    assert host.sign_in().status == 200
    host.engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"tenant": "contoso"}, ""),
        ({"next": "/a b?c=d&e"}, "?next=%2Fa+b%3Fc%3Dd%26e"),
        ({"login_hint": "adele@contoso.example", "force": True}, "?login_hint=adele%40contoso.example&force=1"),
    ],
)
def test_login_url_leads_to_the_tenant(host: Host, arguments: dict[str, Any], query: str) -> None:
    with host.app.test_request_context("/", headers={"Host": "evil.example"}):
        assert host.saml.login_url(**arguments) == LOGIN + query


def test_login_url_knows_its_tenants(host: Host) -> None:
    with host.app.test_request_context(), pytest.raises(ValueError, match="fabrikam"):
        host.saml.login_url("fabrikam")


@pytest.mark.parametrize("slugs", [(), ("contoso", "fabrikam")], ids=["none", "two"])
def test_login_url_asks_for_the_work_email_where_no_tenant_is_the_only_one(tmp_path: Path, host: Host, slugs: tuple[str, ...]) -> None:
    given = settings_for(tmp_path, FakeEntra())
    given["tenants"] = {slug: {**given["tenants"]["contoso"], "domains": [f"{slug}.example"]} for slug in slugs}
    other = Flask("other")
    other.config["SAMLJIT_SETTINGS"] = given
    host.saml.init_app(other)
    with other.test_request_context():
        assert host.saml.login_url(next="/reports/7") == f"{ORIGIN}/saml/login?next=%2Freports%2F7"


@pytest.mark.parametrize(
    ("email", "slug"),
    [
        ("somebody@contoso.example", "contoso"),
        ("Some.Body@CONTOSO.Example", "contoso"),
        ("x@contoso.example.", "contoso"),
        ("x@mail.contoso.example", None),
        ("x@contoso.example@fabrikam.example", None),
        ("contoso.example", "contoso"),
        ("", None),
        ("@", None),
        ("x@", None),
        ("x@..", None),
        ("x@" + "a" * 300, None),
        ("x@\ud800", None),
        ("x@xn--", None),
    ],
)
def test_tenant_for_email_goes_by_the_proven_domain(host: Host, email: str, slug: str | None) -> None:
    with host.app.test_request_context():
        found = host.saml.tenant_for_email(email)
    assert (found and found.slug) == slug


def test_current_tenant_is_that_of_the_person_signed_in(host: Host) -> None:
    def tenant() -> str:
        found = host.saml.current_tenant
        return found.slug if found else "none"

    def log_in_by_password() -> str:
        login_user(host.session.query(host.user_model).filter_by(email=BIANCA.email).one())
        return tenant()

    def log_out() -> str:
        logout_user()
        return tenant()

    for rule, view in (("/tenant", tenant), ("/out", log_out), ("/password", log_in_by_password)):
        host.app.add_url_rule(rule, view.__name__, view)
    host.sign_in(BIANCA)
    browser = host.browser()
    seen = [browser.get(f"{ORIGIN}/tenant").text]
    host.sign_in(browser=browser)
    seen += [browser.get(f"{ORIGIN}{path}").text for path in ("/tenant", "/out", "/tenant", "/password", "/tenant")]
    assert seen == ["none", "contoso", "none", "none", "none", "none"]
