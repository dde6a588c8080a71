"""Many host apps, each made as some developer makes theirs, and one sign-in through each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
    validates,
)

from samljit import ConfigError, SamlJit, signed_in
from samljit.testing import Browser, FakeEntra, Page, sign_in
from tests.host import ADELE, BIANCA, FIELDS, LOGIN, ORIGIN, Host, make_host, make_user_model, settings_for
from tests.servers import database
from tests.test_store import close, forms, post_at_once


@dataclass
class Small:
    """The smallest host: an app, and a way to read its users."""

    app: Flask
    engine: Engine
    entra: FakeEntra
    model: type[Any]
    origin: str = ORIGIN

    def sign_in(self, person: Any = ADELE, *, browser: Browser | None = None) -> Page:
        return sign_in(browser or Browser({self.origin: self.app}), self.entra, person, f"{self.origin}/saml/contoso/login")

    def users(self) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.scalars(select(self.model)).unique())


def settings(directory: Path, entra: FakeEntra, *, fields: Mapping[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    return settings_for(directory, entra, tenant={"mapping": {"fields": fields or {"email": "emailaddress"}}}, **top)


def app_with(
    given: Mapping[str, Any],
    *,
    load: Callable[[str], Any],
    saml: SamlJit | None = None,
    prepare: Callable[[Flask], None] = lambda app: None,
) -> Flask:
    app = Flask("small")
    app.config.update(SECRET_KEY="a key of this test run", TESTING=True, SAMLJIT_SETTINGS=given)
    prepare(app)
    LoginManager(app).user_loader(load)
    app.add_url_rule("/", "home", lambda: f"user {current_user.get_id()}" if current_user.is_authenticated else "nobody")
    if saml is not None:
        saml.init_app(app)
    return app


@pytest.fixture(params=["sqlite", "postgres"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with database(request.param, tmp_path) as url:
        made = create_engine(url)
        yield made
        made.dispose()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Engine]:
    with database("postgres", tmp_path) as url:
        made = create_engine(url)
        yield made
        made.dispose()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/small.sqlite")
    yield made
    made.dispose()


def mount(
    directory: Path, engine: Engine, model: type[Any], *, session: Any = None, fields: Mapping[str, Any] | None = None, **options: Any
) -> Small:
    """A host around this class, with a plain sessionmaker unless given something else."""
    entra, factory = FakeEntra(), sessionmaker(engine)
    key = inspect(model).primary_key[0].type.python_type

    own = scoped_session(factory)
    saml = SamlJit(user_model=model, session=session or factory, email_field="email", **options)
    model.metadata.create_all(engine)
    app = app_with(settings(directory, entra, fields=fields), load=lambda user_id: own.get(model, key(user_id)), saml=saml)
    app.teardown_appcontext(lambda _: own.remove())
    return Small(app, engine, entra, model)


def assert_signs_in(host: Small) -> Any:
    """Two people become two users, the first comes again, and is who they were."""
    browser = Browser({host.origin: host.app})
    first = host.sign_in(browser=browser)
    assert first.status == 200, first.text
    host.sign_in(BIANCA)
    assert host.sign_in().text == first.text == browser.get(host.origin).text
    users = {user.email: user for user in host.users()}
    assert set(users) == {ADELE.email, BIANCA.email}
    assert first.text == f"user {users[ADELE.email].get_id()}"
    return users[ADELE.email]


# --- sessions ---------------------------------------------------------------------------------------------------------


def base() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    return Base


def int_model(**columns: Any) -> type[Any]:
    return make_user_model(is_active=True, **columns)


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
    host = mount(tmp_path, engine, model, session=session)
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
    host = mount(tmp_path, engine, User, tenant_fields=lambda tenant: {"organization_id": 1})
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


# --- user classes -----------------------------------------------------------------------------------------------------


def uuid_key() -> type[Any]:
    class User(UserMixin, base()):
        __tablename__ = "users"
        id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
        email: Mapped[str] = mapped_column(String(200), unique=True)

    return User


def string_key() -> type[Any]:
    class User(UserMixin, base()):
        __tablename__ = "users"
        id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: f"u-{uuid4().hex[:8]}")
        email: Mapped[str] = mapped_column(String(200), unique=True)

    return User


def other_names() -> type[Any]:
    class User(UserMixin, base()):
        __tablename__ = "user"  # a reserved word
        number: Mapped[int] = mapped_column("Id", primary_key=True)
        email: Mapped[str] = mapped_column("e-mail address", String(200), unique=True)

        def get_id(self) -> str:
            return str(self.number)

    return User


def joined() -> type[Any]:
    class Party(base()):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}  # noqa: RUF012

    class User(UserMixin, Party):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
        email: Mapped[str] = mapped_column(String(200), unique=True)
        __mapper_args__ = {"polymorphic_identity": "user"}  # noqa: RUF012

    return User


def single_table() -> type[Any]:
    class Party(UserMixin, base()):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        email: Mapped[str | None] = mapped_column(String(200), unique=True)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}  # noqa: RUF012

    class User(Party):
        __mapper_args__ = {"polymorphic_identity": "user"}  # noqa: RUF012

    return User


def data_class() -> type[Any]:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class User(UserMixin, Base, unsafe_hash=True):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        nickname: Mapped[str | None]
        email: Mapped[str] = mapped_column(String(200), unique=True, init=False)

    return User


def classical() -> type[Any]:
    Base = base()

    class User(UserMixin, Base):
        __table__ = Table("users", Base.metadata, Column("id", Integer, primary_key=True), Column("email", String(200), unique=True))

    return User


def positional_constructor() -> type[Any]:
    class User(UserMixin, base()):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(String(200), unique=True)

        def __init__(self, email: str, **others: Any) -> None:
            super().__init__(email=email, **others)

    return User


def in_a_schema_of_its_own() -> type[Any]:
    class User(UserMixin, base()):
        __tablename__ = "users"
        __table_args__ = {"schema": "main"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(String(200), unique=True)

    return User


MODELS = [
    uuid_key,
    string_key,
    other_names,
    joined,
    single_table,
    data_class,
    classical,
    positional_constructor,
    in_a_schema_of_its_own,
]


@pytest.mark.parametrize("model_of", MODELS)
def test_a_user_class_of_any_make_will_do(tmp_path: Path, engine: Engine, model_of: Callable[[], type[Any]]) -> None:
    host = mount(tmp_path, engine, model_of(), fields={"email": {"source": "emailaddress", "required": True}})
    assert_signs_in(host)


@pytest.mark.parametrize("model_of", [model_of for model_of in MODELS if model_of is not in_a_schema_of_its_own])
def test_a_user_class_of_any_make_will_do_on_postgresql_which_loads_it_by_other_statements(
    tmp_path: Path, postgres: Engine, model_of: Callable[[], type[Any]]
) -> None:
    host = mount(tmp_path, postgres, model_of(), fields={"email": {"source": "emailaddress", "required": True}})
    assert_signs_in(host)


def with_an_organization() -> type[Any]:
    """A user class that loads two relationships with every user: one that is written through and one that is only looked at."""
    Base = base()

    class Organization(Base):
        __tablename__ = "organizations"
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(String(63))
        members: Mapped[list[Any]] = relationship("User", viewonly=True, primaryjoin="Organization.id == User.region_id")

    class User(UserMixin, Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(String(200), unique=True)
        organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), default=1)
        region_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), default=2)
        organization: Mapped[Any] = relationship(Organization, lazy="joined", innerjoin=True, foreign_keys=organization_id)
        region: Mapped[Any] = relationship(Organization, lazy="subquery", foreign_keys=region_id, viewonly=True)

    return User


@pytest.mark.parametrize("is_in_use", [False, True], ids=["the host's session is fresh", "the host's session is in use"])
def test_who_has_signed_in_is_in_the_hosts_session_with_all_that_the_class_loads(
    tmp_path: Path, any_engine: Engine, is_in_use: bool
) -> None:
    model = with_an_organization()
    model.metadata.create_all(any_engine)
    session = scoped_session(sessionmaker(any_engine))
    with any_engine.begin() as connection:
        connection.execute(text("INSERT INTO organizations (id, slug) VALUES (1, 'contoso'), (2, 'emea')"))
    host = mount(tmp_path, any_engine, model, session=session)
    if is_in_use:
        host.app.before_request(lambda: print(session.scalars(select(model)).unique().all()))
    seen: list[Any] = []

    def look(_: Flask, user_id: Any, **__: Any) -> None:
        user = current_user._get_current_object()
        members = [member.email for member in user.region.members]  # a look-up from what was loaded along
        seen.append((user.id == user_id, user in session, user.organization in session, user.organization.slug, members))
        user.organization.slug = "renamed"  # what a host's own code may do here
        session.commit()

    with signed_in.connected_to(look):
        assert [host.sign_in().status for _ in range(2)] == [200, 200]
    assert seen == [(True, True, True, slug, [ADELE.email]) for slug in ("contoso", "renamed")]
    session.remove()


@pytest.mark.parametrize("model_of", MODELS)
def test_a_conflict_is_named_in_a_user_class_of_any_make(tmp_path: Path, engine: Engine, model_of: Callable[[], type[Any]]) -> None:
    model = model_of()
    host = mount(tmp_path, engine, model, fields={"email": {"source": "emailaddress", "required": True}})
    host.sign_in()
    page = host.sign_in(replace(BIANCA, email=ADELE.email))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, detail FROM samljit_attempt WHERE reason IS NOT NULL")).all()
    assert (page.status, [tuple(row) for row in rows]) == (409, [("value_conflict", "field email")])


def test_a_unique_column_of_an_inherited_table_needs_proven_domains_too(tmp_path: Path, engine: Engine) -> None:
    host = mount(tmp_path, engine, joined())
    page = host.sign_in(replace(ADELE, email="adele@fabrikam.example"))
    assert (page.status, host.users()) == (403, [])


def test_a_deleted_user_of_an_inherited_class_takes_the_identity_along(tmp_path: Path, engine: Engine) -> None:
    host = mount(tmp_path, engine, joined())
    host.sign_in()
    with Session(engine) as session:
        session.delete(session.scalars(select(host.model)).one())
        session.commit()
        assert session.execute(text("SELECT count(*) FROM samljit_identity")).scalar() == 0
    host.sign_in(BIANCA)
    assert [user.email for user in host.users()] == [BIANCA.email]


def composite() -> type[Any]:
    class User(base()):
        __tablename__ = "users"
        a: Mapped[int] = mapped_column(primary_key=True)
        b: Mapped[int] = mapped_column(primary_key=True)

    return User


def second_of_one_metadata() -> type[Any]:
    Base = base()

    class First(Base):
        __tablename__ = "firsts"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Second(Base):
        __tablename__ = "seconds"
        id: Mapped[int] = mapped_column(primary_key=True)

    SamlJit(user_model=First, session=sessionmaker())
    return Second


@pytest.mark.parametrize(
    ("model", "options", "codes"),
    [
        pytest.param(composite, {}, ["composite_key"], id="composite key"),
        pytest.param(lambda: object, {}, ["not_mapped"], id="not mapped"),
        pytest.param(lambda: "User", {}, ["not_mapped"], id="a name"),
        pytest.param(second_of_one_metadata, {}, ["second_user_model"], id="second class"),
        pytest.param(
            int_model, {"email_field": "mail", "active_field": "enabled"}, ["unknown_field", "unknown_field"], id="unknown fields"
        ),
    ],
)
def test_a_user_class_that_cannot_work_is_named_at_start_up(model: Any, options: dict[str, Any], codes: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        SamlJit(user_model=model(), session=sessionmaker(), **options)
    assert [problem.code for problem in caught.value.problems] == codes


def test_the_tables_are_made_once_for_a_metadata() -> None:
    model = int_model()
    for _ in range(2):
        SamlJit(user_model=model, session=sessionmaker())
    names = {name for name in model.metadata.tables if name.startswith("samljit_")}
    kinds = ("tenant_state", "tenant", "domain", "identity", "role_grant", "assertion", "attempt", "audit", "session")
    assert names == {f"samljit_{kind}" for kind in kinds}


# --- what the host's class may do ---------------------------------------------------------------------------------------


class Forbidden(Exception):
    pass


def raise_forbidden(*_: Any) -> None:
    raise Forbidden("secret text of the host, adele.vance@contoso.example")


def refuses_in_validator() -> type[Any]:
    def check(self: Any, key: str, value: str) -> str:
        raise ValueError(f"never {value}")

    return make_user_model(check=validates("email")(check))


def refuses_with(name: str) -> Callable[[], type[Any]]:
    def make() -> type[Any]:
        model = make_user_model()
        event.listen(model, name, raise_forbidden)
        return model

    return make


def asks_for_what_is_not_there() -> type[Any]:
    model = make_user_model()

    @event.listens_for(model, "before_insert")
    def look(_: Any, connection: Any, __: Any) -> None:
        connection.execute(text("SELECT 1 WHERE 1 = 0")).one()  # NoResultFound is an error of SQLAlchemy's

    return model


@pytest.mark.parametrize(
    ("model", "error"),
    [
        pytest.param(refuses_in_validator, "ValueError", id="@validates"),
        pytest.param(refuses_with("before_insert"), "Forbidden", id="before_insert"),
        pytest.param(refuses_with("after_insert"), "Forbidden", id="after_insert"),
        pytest.param(refuses_with("init"), "Forbidden", id="init"),
        pytest.param(asks_for_what_is_not_there, "NoResultFound", id="an error of SQLAlchemy's own"),
    ],
)
def test_what_the_hosts_class_raises_refuses_the_sign_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, model: Callable[[], type[Any]], error: str
) -> None:
    host = make_host(tmp_path, user_model=model())
    page = host.sign_in()
    assert (page.status, host.reasons(), host.rows("samljit_attempt")[0].detail) == (403, ["host_refused"], error)
    assert (host.count("users"), host.count("samljit_assertion")) == (0, 0)
    assert "adele" not in page.text + caplog.text
    host.engine.dispose()


@pytest.mark.parametrize("name", ["before_flush", "after_flush", "before_commit"])
def test_what_an_event_of_the_hosts_session_raises_refuses_the_sign_in(tmp_path: Path, name: str) -> None:
    host = make_host(tmp_path)

    @event.listens_for(host.session.session_factory, name)
    def refuse(session: Session, *_: Any) -> None:
        if name != "before_commit" or session.execute(select(host.user_model)).first():
            raise_forbidden()

    page = host.sign_in()
    assert (page.status, host.reasons(), host.count("users")) == (403, ["host_refused"], 0)
    host.engine.dispose()


def test_tenant_fields_that_raises_refuses_the_sign_in(tmp_path: Path) -> None:
    host = make_host(tmp_path, tenant_fields=raise_forbidden)
    page = host.sign_in()
    detail = host.rows("samljit_attempt")[0].detail
    assert (page.status, host.reasons(), detail) == (403, ["host_refused"], "tenant_fields raised Forbidden")
    host.engine.dispose()


def test_columns_that_the_class_fills_by_itself_are_filled(tmp_path: Path) -> None:
    columns = {
        "created": mapped_column(DateTime, server_default=func.now()),
        "changed": mapped_column(DateTime, onupdate=func.now()),
        "token": mapped_column(String(32), nullable=False, default=lambda: uuid4().hex),
    }
    host = make_host(tmp_path, user_model=make_user_model(**columns))
    host.sign_in()
    [first] = host.users()
    host.sign_in()
    [second] = host.users()
    host.sign_in(replace(ADELE, surname="Ito"))
    [third] = host.users()
    assert first["created"] is not None
    assert (first["changed"], second["changed"], third["changed"] is not None) == (None, None, True)
    assert first["token"] == third["token"]
    host.engine.dispose()


# --- tenant fields, the active flag -----------------------------------------------------------------------------------


def in_organization(directory: Path, **changes: Any) -> Host:
    model = make_user_model(organization=mapped_column(String(50)))
    return make_host(directory, user_model=model, tenant_fields=lambda tenant: {"organization": tenant.slug}, **changes)


def test_tenant_fields_are_set_on_create_and_required_of_whoever_is_found(tmp_path: Path) -> None:
    host = in_organization(tmp_path)
    host.sign_in()
    assert host.users()[0]["organization"] == "contoso"
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET organization = 'fabrikam'"))
    page = host.sign_in(replace(ADELE, surname="Ito"))
    assert (page.status, host.reasons(), host.users()[0]["last_name"]) == (403, ["user_outside_tenant"], "Vance")
    host.engine.dispose()


@pytest.mark.parametrize("when", ["create", "update"])
def test_tenant_fields_are_never_filled_from_claims(tmp_path: Path, when: str) -> None:
    fields = {**FIELDS, "organization": "companyname"}
    host = in_organization(tmp_path, tenant={"mapping": {"fields": fields}})
    person = replace(ADELE, extra={"companyname": ["fabrikam"]})
    for _ in range(1 if when == "create" else 2):
        assert host.sign_in(person).status == 200
    assert [user["organization"] for user in host.users()] == ["contoso"]
    host.engine.dispose()


def test_without_an_active_field_everybody_found_is_active(tmp_path: Path) -> None:
    host = make_host(tmp_path, active_field=None, user_model=int_model(active=mapped_column(Boolean, default=False)))
    assert host.sign_in().status == host.sign_in().status == 200
    assert host.users()[0]["active"] is False
    host.engine.dispose()


def test_a_new_user_is_active_whatever_the_columns_default_says(tmp_path: Path) -> None:
    host = make_host(tmp_path, user_model=make_user_model(active=mapped_column(Boolean, nullable=False, default=False)))
    assert (host.sign_in().status, host.users()[0]["active"]) == (200, True)
    host.engine.dispose()


def test_whom_flask_login_does_not_take_is_refused(tmp_path: Path) -> None:
    host = make_host(tmp_path, user_model=make_user_model(is_active=False))
    browser = host.browser()
    page = host.sign_in(browser=browser)
    assert (page.status, host.reasons(), browser.get(ORIGIN).text) == (403, ["login_refused"], "nobody")
    host.engine.dispose()


# --- what the database refuses ----------------------------------------------------------------------------------------


def test_a_column_that_nobody_fills_is_save_failed(tmp_path: Path) -> None:
    model = make_user_model(country=mapped_column(String(2), nullable=False))
    host = make_host(tmp_path, user_model=model, tenant_fields=lambda tenant: {})
    page = host.sign_in()
    assert (page.status, host.reasons(), host.count("users")) == (409, ["save_failed"], 0)
    host.engine.dispose()


def test_a_value_longer_than_its_column_is_refused_before_the_database_sees_it(tmp_path: Path) -> None:
    host = make_host(tmp_path, user_model=make_user_model(first_name=mapped_column(String(5))))
    assert host.sign_in(replace(ADELE, given_name="Adeles")).status == 403
    assert (host.reasons(), host.count("users")) == (["value_invalid"], 0)
    assert host.sign_in().status == 200
    host.engine.dispose()


def unique_email() -> type[Any]:
    return make_user_model(email=mapped_column(String(200), nullable=False, unique=True))


def test_an_address_outside_the_proven_domains_is_refused_where_addresses_are_unique(tmp_path: Path) -> None:
    host = make_host(tmp_path, user_model=unique_email())
    page = host.sign_in(replace(ADELE, email="ceo@fabrikam.example"))
    assert (page.status, host.reasons(), host.count("users")) == (403, ["domain_not_allowed"], 0)
    host.engine.dispose()


def test_an_address_outside_the_proven_domains_is_taken_where_the_operator_says_so(tmp_path: Path) -> None:
    given = settings_for(tmp_path, FakeEntra(), tenant={"domains": []}, guards={"allow_unproven_email": True})
    host = make_host(tmp_path, user_model=unique_email(), settings=given)
    assert host.sign_in(replace(ADELE, email="ceo@fabrikam.example")).status == 200
    host.engine.dispose()


def test_an_address_is_anybodys_where_it_is_unique_within_an_organization(tmp_path: Path) -> None:
    host = in_organization(tmp_path, tenant={"domains": []})
    assert host.sign_in(replace(ADELE, email="ceo@fabrikam.example")).status == 200
    host.engine.dispose()


@pytest.mark.parametrize(
    "columns",
    [
        {"email": mapped_column(String(200), unique=True)},
        {"__table_args__": (UniqueConstraint("email"),)},
    ],
    ids=["column", "constraint"],
)
def test_unique_addresses_and_no_proven_domain_are_named_at_start_up(tmp_path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_host(tmp_path, user_model=make_user_model(**columns), tenant={"domains": []})
    found = [(problem.path, problem.code) for problem in caught.value.problems]
    assert found == [("$.tenants.contoso.domains", "domains_missing")]


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
