"""A host app as small as one can be, around any user class and any session, for tests of what hosts may be made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager, current_user
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

from samljit import SamlJit
from samljit.testing import Browser, FakeEntra, Page, sign_in
from tests.host import ADELE, BIANCA, ORIGIN, make_user_model, settings_for
from tests.servers import database


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


@pytest.fixture(name="any_engine", params=["sqlite", "postgres"])
def made_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with database(request.param, tmp_path) as url:
        made = create_engine(url)
        yield made
        made.dispose()


@pytest.fixture(name="postgres")
def made_on_postgres(tmp_path: Path) -> Iterator[Engine]:
    with database("postgres", tmp_path) as url:
        made = create_engine(url)
        yield made
        made.dispose()


@pytest.fixture(name="engine")
def made_on_sqlite(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/small.sqlite")
    yield made
    made.dispose()


def make_small_host(
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


def base() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    return Base


def int_model(**columns: Any) -> type[Any]:
    return make_user_model(is_active=True, **columns)
