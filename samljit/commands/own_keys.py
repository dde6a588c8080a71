"""Makes key pairs of our own, and says what to do with them."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import click

from samljit.commands.base import fail, in_app, json_option, print_json
from samljit.saml.certificates import read_certificates
from samljit.saml.own_keys import make_key_pair
from samljit.views.mounted import Mounted, mounted, utc_now

_PRIVATE, _PUBLIC, _DIRECTORY = 0o600, 0o644, 0o755


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=1095, show_default=True, help="For how many days its certificate is good.")
@click.option("--directory", metavar="DIR", default="certs", show_default=True, help="Where to write, seen from the settings file.")
@json_option
@in_app
def new(*, days: int, directory: str, as_json: bool) -> None:
    """Make a key pair of our own: for IdPs to encrypt to, and to sign requests with. Nothing that is there is ever overwritten.

    Nothing uses it before sp in the settings names it.
    """
    mount, now = mounted(), utc_now()
    base = mount.source.absolute().parent if isinstance(mount.source, Path) else Path.cwd()
    name = urlsplit(mount.base_url).hostname or "samljit"
    key, certificate = make_key_pair(name=name, now=now, lifetime=timedelta(days=days))
    try:
        key_file, certificate_file = _write(base / directory, key=key, certificate=certificate)
    except OSError as error:
        fail(f"Cannot write to {base / directory}: {error.strerror}.")
    [made] = read_certificates(certificate)
    written = {"key_file": f"{directory}/{key_file}", "certificate_file": f"{directory}/{certificate_file}"}
    if as_json:
        print_json({**written, "fingerprint": made.fingerprint, "not_before": made.not_before, "not_after": made.not_after})
        return
    click.echo(f"Written, seen from {base}: {written['key_file']} (private, for you alone) and {written['certificate_file']}.")
    click.echo(f"Good until {made.not_after:%Y-%m-%d}, SHA-256 {made.fingerprint}.\n")
    click.echo(_what_next(mount, **written))


def _write(directory: Path, *, key: bytes, certificate: bytes) -> tuple[str, str]:
    """Writes both under the first free name; gives the files' names. Raises: OSError."""
    directory.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
    for number in count(1):
        stem = "sp" if number == 1 else f"sp-{number}"
        names = f"{stem}.key", f"{stem}.crt"
        # one name is taken with the other: a key beside somebody else's certificate would be taken for its own
        if any(os.path.lexists(directory / name) for name in names):
            continue
        try:
            _create(directory / names[0], key, mode=_PRIVATE)
        except FileExistsError:
            continue
        _create(directory / names[1], certificate, mode=_PUBLIC)
        return names
    raise AssertionError("unreachable: count() has no end")


def _create(path: Path, content: bytes, *, mode: int) -> None:
    """With its rights from the first moment, and never over what is there, links included."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def _what_next(mount: Mounted, *, key_file: str, certificate_file: str) -> str:
    if not mount.sp_certificates:
        return (
            f'Name it in the settings:\n\n  "sp": {{"key_files": ["{key_file}"], "certificate_files": ["{certificate_file}"]}}\n\n'
            "Restart the app, then give the IdPs our metadata again, or the certificate (in Entra: Token encryption, import and "
            "activate it; for signed requests, Verification certificates)."
        )
    return (
        f'Roll over without anybody noticing:\n\n'
        f'1. Name it last in sp.key_files ("{key_file}") and sp.certificate_files ("{certificate_file}"). Restart: our metadata shows '
        "both, and both decrypt.\n"
        "2. Give the IdPs our metadata again, or the certificate (in Entra: Token encryption, import and activate it; for signed requests, "
        "Verification certificates). Wait until all of them have it.\n"
        "3. Move it to the front. Restart: requests are signed with it now.\n"
        "4. Take the old one out once no IdP encrypts to it any more."
    )
