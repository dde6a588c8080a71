"""Looks the whole set-up over, and says for each thing whether it is well and what to do if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import click
from flask import Flask, current_app

from samljit.commands.base import in_app, json_option, print_json
from samljit.commands.check_app import check_address, check_cookies, check_libraries, check_login, check_reachable
from samljit.commands.check_database import check_database, check_email
from samljit.commands.check_metadata import check_metadata
from samljit.commands.check_settings import check_certificates, check_settings, check_stored
from samljit.commands.findings import Finding, Status
from samljit.views.mounted import mounted, utc_now


@click.command()
@json_option
@in_app
def check(*, as_json: bool) -> None:
    """Check settings, mappings, certificates, the app and the database. Exit code 1 where something is a problem."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    findings = list(_all(app, utc_now()))
    counts = Counter(finding.status for finding in findings)
    if as_json:
        rows = [{"status": f.status, "area": f.area, "code": f.code, "what": f.what, "remedy": f.remedy} for f in findings]
        print_json({"ok": not counts[Status.PROBLEM], "findings": rows})
    else:
        for finding in findings:
            click.echo(f"{finding.status:<9}{finding.area:<14}{finding.what}")
            if finding.remedy:
                click.echo(f"{'':<23}-> {finding.remedy}")
        click.echo(f"\n{counts[Status.PROBLEM]} problem(s), {counts[Status.WARNING]} warning(s), {counts[Status.OK]} ok.")
    if counts[Status.PROBLEM]:
        raise click.exceptions.Exit(1)


def _all(app: Flask, now: datetime) -> Iterator[Finding]:
    mount = mounted()
    yield from check_settings(mount, now)
    yield from check_metadata(mount, now)
    yield from check_certificates(mount, now)
    yield from check_cookies(app, mount)
    yield from check_address(app, mount)
    yield from check_login(app)
    yield from check_reachable(app, mount)
    about_database = list(check_database(mount))
    has_database = not any(finding.code in ("unavailable", "tables_missing", "columns_missing") for finding in about_database)
    yield from about_database
    if has_database:
        yield from check_stored(mount, now)
    yield from check_email(mount)
    yield from check_libraries()
