"""The command `samljit`. Exit codes: 0 good, 1 the thing checked is bad, 2 wrong usage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from samljit.errors import ConfigError
from samljit.settings import settings_schema

DEFAULT_PORT = 5000
_LAST_PORT = 65534  # the next one is Fake Entra's


@click.group()
@click.version_option(package_name="samljit", prog_name="samljit")
def main() -> None:
    """SAML just-in-time provisioning for Flask."""


@main.command()
def schema() -> None:
    """Print the JSON Schema of settings.json."""
    click.echo(json.dumps(settings_schema(), indent=2))


@main.command()
@click.option(
    "--port",
    type=click.IntRange(1, _LAST_PORT),
    metavar="N",
    help=f"Where the app listens; Fake Entra takes the next port. Default: {DEFAULT_PORT}.",
)
@click.option(
    "--settings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Serve the tenants of this settings.json against their real IdP, at its base_url, without Fake Entra.",
)
@click.option(
    "--database",
    metavar="URL",
    help="An SQLAlchemy URL of a database to use and keep. Default: a temporary SQLite file.",
    callback=lambda _, __, value: _checked_url(value),
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def demo(*, port: int | None, settings: Path | None, database: str | None, no_browser: bool) -> None:
    """Run a small app with samljit mounted in it, and an identity provider to sign in with."""
    if settings is not None and port is not None:
        raise click.UsageError("--port does not go with --settings: the port is that of base_url.")
    # here, and not above: other commands need no Flask, xmlsec or lxml
    from samljit.demo.run import run_demo, run_with_settings

    if settings is None:
        with _one_clear_sentence(other_port="Choose another one: samljit demo --port N takes N and N + 1."):
            run_demo(port=port or DEFAULT_PORT, database_url=database, opens_browser=not no_browser)
    else:
        with _one_clear_sentence(other_port=f"It is that of base_url in {settings}."):
            run_with_settings(settings, database_url=database, opens_browser=not no_browser)


def _checked_url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        make_url(text).get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise click.BadParameter("is no SQLAlchemy URL, such as sqlite:///northwind.sqlite.") from None
    except ModuleNotFoundError as error:
        raise click.BadParameter(f"needs a driver that is not installed: {error.name}.") from None
    return text


@contextmanager
def _one_clear_sentence(*, other_port: str) -> Iterator[None]:
    """Turns what a person can put right into a message and exit code 1, without a traceback."""
    from samljit.demo.servers import CannotListen

    try:
        yield
    except ConfigError as error:
        message = str(error)
    except CannotListen as error:
        message = f"{error} {other_port}"
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        message = f"The database cannot be used: {cause}"
    else:
        return
    click.echo(message, err=True)
    sys.exit(1)
