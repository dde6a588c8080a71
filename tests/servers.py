"""Databases for the tests that must hold on more than SQLite: made for one test module, dropped after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

SERVERS = {
    "postgres": ("SAMLJIT_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("SAMLJIT_MARIADB_URL", "mariadb+pymysql://root@127.0.0.1:3306/mysql"),
}
KINDS = ("sqlite", *SERVERS)


@contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """The URL of an empty database of this kind. Where the server is missing: a failure under CI=true, else a skip."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/host.sqlite"
        return
    variable, usual = SERVERS[kind]
    url, name = make_url(os.environ.get(variable, usual)), f"samljit_test_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no {kind} at {url.render_as_string()} ({type(error.orig).__name__}): start one, or name it in {variable}")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgres" else "")))
        admin.dispose()
