"""Many user classes, each made as some developer makes theirs: what is written to them, and what they and the database refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask_login import UserMixin, current_user
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
    event,
    func,
    select,
    text,
)
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
from samljit.testing import FakeEntra
from tests.host import ADELE, BIANCA, FIELDS, ORIGIN, Host, make_host, make_user_model, settings_for
from tests.small_host import assert_signs_in, base, int_model, make_small_host
from tests.small_host import made_anywhere as made_anywhere
from tests.small_host import made_on_postgres as made_on_postgres
from tests.small_host import made_on_sqlite as made_on_sqlite

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
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}  # noqa: RUF012  # SQLAlchemy reads it, and takes a plain dict

    class User(UserMixin, Party):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
        email: Mapped[str] = mapped_column(String(200), unique=True)
        __mapper_args__ = {"polymorphic_identity": "user"}  # noqa: RUF012  # SQLAlchemy reads it, and takes a plain dict

    return User


def single_table() -> type[Any]:
    class Party(UserMixin, base()):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        email: Mapped[str | None] = mapped_column(String(200), unique=True)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}  # noqa: RUF012  # SQLAlchemy reads it, and takes a plain dict

    class User(Party):
        __mapper_args__ = {"polymorphic_identity": "user"}  # noqa: RUF012  # SQLAlchemy reads it, and takes a plain dict

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
        __table_args__ = {"schema": "main"}  # noqa: RUF012  # SQLAlchemy reads it, and takes a plain dict
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
    host = make_small_host(tmp_path, engine, model_of(), fields={"email": {"source": "emailaddress", "required": True}})
    assert_signs_in(host)


@pytest.mark.parametrize("model_of", [model_of for model_of in MODELS if model_of is not in_a_schema_of_its_own])
def test_a_user_class_of_any_make_will_do_on_postgresql_which_loads_it_by_other_statements(
    tmp_path: Path, postgres: Engine, model_of: Callable[[], type[Any]]
) -> None:
    host = make_small_host(tmp_path, postgres, model_of(), fields={"email": {"source": "emailaddress", "required": True}})
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
    host = make_small_host(tmp_path, any_engine, model, session=session)
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
    host = make_small_host(tmp_path, engine, model, fields={"email": {"source": "emailaddress", "required": True}})
    host.sign_in()
    page = host.sign_in(replace(BIANCA, email=ADELE.email))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, detail FROM samljit_attempt WHERE reason IS NOT NULL")).all()
    assert (page.status, [tuple(row) for row in rows]) == (409, [("value_conflict", "field email")])


def test_a_unique_column_of_an_inherited_table_needs_proven_domains_too(tmp_path: Path, engine: Engine) -> None:
    host = make_small_host(tmp_path, engine, joined())
    page = host.sign_in(replace(ADELE, email="adele@fabrikam.example"))
    assert (page.status, host.users()) == (403, [])


def test_a_deleted_user_of_an_inherited_class_takes_the_identity_along(tmp_path: Path, engine: Engine) -> None:
    host = make_small_host(tmp_path, engine, joined())
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
