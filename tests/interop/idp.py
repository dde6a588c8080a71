"""SimpleSAMLphp on this machine: on PHP's own web server, set up afresh for each test by files that it reads at every request."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from samljit.testing import KeyPair, signing_key

PAGES = Path("/usr/share/simplesamlphp/www")  # where Debian's package has it
CONFIG = Path(__file__).parent / "simplesamlphp"
INSTALL = "apt-get install --no-install-recommends php-cgi mini-httpd php-cli php-xml simplesamlphp"
START_SECONDS = 30

_MICROSOFT = "http://schemas.microsoft.com/"
_XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
CLAIMS = {
    "tenantid": f"{_MICROSOFT}identity/claims/tenantid",
    "objectidentifier": f"{_MICROSOFT}identity/claims/objectidentifier",
    "displayname": f"{_MICROSOFT}identity/claims/displayname",
    "groups": f"{_MICROSOFT}ws/2008/06/identity/claims/groups",
    "role": f"{_MICROSOFT}ws/2008/06/identity/claims/role",
    **{name: _XMLSOAP + name for name in ("givenname", "surname", "emailaddress", "name")},
}
DIRECTORY_ID = "11112222-aaaa-4bbb-8ccc-333344445555"
GROUP_A, GROUP_B = "0a0a0a0a-0000-4000-8000-00000000000a", "0a0a0a0a-0000-4000-8000-00000000000b"
PEOPLE: dict[str, dict[str, Sequence[str]]] = {
    "alice": {
        "objectidentifier": ["a11ce000-0000-4000-8000-000000000001"],
        "displayname": ["Alice Ångström"],
        "givenname": ["Alice"],
        "surname": ["Ångström"],
        "emailaddress": ["alice@contoso.example"],
        "name": ["alice@contoso.example"],
        "groups": [GROUP_A, GROUP_B],
        "role": ["Admin", "Editor"],
    },
    "bob": {
        "objectidentifier": ["b0b00000-0000-4000-8000-000000000002"],
        "displayname": ["Bob O'Neil & <Sons>"],
        "givenname": ["Bob"],
        "surname": ["O'Neil"],
        "emailaddress": ["Bob.ONeil@Contoso.example"],
        "name": ["bob@contoso.example"],
        "groups": [GROUP_B],
        "role": ["User"],
    },
}


@dataclass
class Idp:
    """The running IdP, and what it is set up with. `log` is the file that its messages go to."""

    base: str
    state: Path
    log: Path
    people: dict[str, dict[str, Sequence[str]]] = field(default_factory=dict)

    def reset(self) -> None:
        """As every test finds it: alice and bob, the usual key, no service provider, everything as the product has it."""
        for known in self.state.glob("sp-*.xml"):
            known.unlink()
        self.set_up()
        self.use_key(signing_key("interop"))
        self.people = deepcopy(PEOPLE)
        self.keep_people()

    def set_up(self, hosted: Mapping[str, Any] | None = None, *, remote: Mapping[str, Any] | None = None) -> None:
        """Options of SimpleSAMLphp by their own names: of the IdP, and of the service providers, where they go before their metadata."""
        self._keep("hosted", hosted or {})
        self._keep("remote", remote or {})

    def use_key(self, key: KeyPair, *, name: str = "idp") -> None:
        (self.state / f"{name}.key").write_bytes(key.private_key_pem)
        (self.state / f"{name}.crt").write_bytes(key.certificate_pem)

    def change(self, person: str, **claims: Sequence[str]) -> None:
        """Changes what is known of somebody; it is sent from their next time with a password on."""
        self.people[person] |= claims
        self.keep_people()

    def keep_people(self) -> None:
        self._keep("people", {name: _record(name, claims) for name, claims in self.people.items()})

    def register(self, metadata: bytes, *, name: str = "localhost") -> None:
        """Takes up a service provider, as an admin does who was sent its metadata."""
        (self.state / f"sp-{name}.xml").write_bytes(metadata)

    def metadata(self) -> bytes:
        with urlopen(self.url("metadata"), timeout=START_SECONDS) as answered:
            return bytes(answered.read())

    def url(self, page: str, **query: str) -> str:
        """A page of the IdP: `SSOService`, `SingleLogoutService`, `initSLO`, `metadata`."""
        return f"{self.base}/saml2/idp/{page}.php" + (f"?{urlencode(query)}" if query else "")

    def _keep(self, name: str, content: Mapping[str, Any]) -> None:
        (self.state / f"{name}.json").write_text(json.dumps(content))


def _record(name: str, claims: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {"password": f"{name}-pw", "claims": {CLAIMS[key]: values for key, values in {"tenantid": [DIRECTORY_ID], **claims}.items()}}


def find_missing() -> str | None:
    """What these tests need and this machine lacks, and how to get it; None where nothing is missing."""
    lacking = _find_lacking()
    return f"no {lacking} here; these tests need SimpleSAMLphp 1: {INSTALL}" if lacking else None


def _find_lacking() -> str | None:
    if not PAGES.is_dir():
        return str(PAGES)
    php = shutil.which("php")
    if php is None:
        return "php"
    modules = subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout.split()
    return next((f"php module {name}" for name in ("dom", "openssl", "session", "zlib") if name not in modules), None)


@contextmanager
def served_idp(state: Path) -> Iterator[Idp]:
    """The running server, which keeps all that it writes in this empty directory."""
    for name in ("sessions", "tmp"):
        (state / name).mkdir()
    port = free_port()
    idp = Idp(f"http://127.0.0.1:{port}", state, state / "log")
    idp.reset()
    known = {"SIMPLESAMLPHP_CONFIG_DIR": str(CONFIG), "INTEROP_STATE": str(state), "INTEROP_BASE": idp.base}
    ends_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []  # even if we are killed
    command = [*ends_with_us, "php", "-d", "display_errors=0", "-d", "log_errors=1", "-S", f"127.0.0.1:{port}", "-t", str(PAGES)]
    with idp.log.open("wb") as log, subprocess.Popen(
        command, env=os.environ | known, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    ) as server:
        try:
            _wait(idp, server)
            yield idp
        finally:
            server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(idp: Idp, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError):
            idp.metadata()
            return
        time.sleep(0.05)
    raise AssertionError(f"SimpleSAMLphp does not answer: {idp.log.read_text()[-2000:]}")
