"""`flask samljit ...`: what operators ask and repair. The commands run in the host app, on its database."""

from __future__ import annotations

import click

from samljit.commands.cert import cert
from samljit.commands.check import check
from samljit.commands.configure import COMMANDS as CONFIGURE
from samljit.commands.explain import explain
from samljit.commands.identity import identity
from samljit.commands.log import log, prune, stale
from samljit.commands.mapping import mapping
from samljit.commands.own_keys import new
from samljit.commands.refresh import refresh
from samljit.commands.tenant import tenant


def make_commands() -> click.Group:
    """A fresh group `samljit`, to be added to an app's commands. Exit codes: 0 good, 1 the thing checked is bad, 2 wrong usage."""
    cert.add_command(new)
    for command in (*CONFIGURE, refresh):
        tenant.add_command(command)
    group = click.Group("samljit", help="SAML sign-in: check it, explain it, repair it.")
    for command in (check, explain, log, stale, mapping, identity, tenant, cert, prune):
        group.add_command(command)
    return group
