"""Sign-ins per second over HTTP, through gunicorn, beside two apps that do the same by hand. Needs `pip install gunicorn`.

    python -m tests.benchmarks.sign_in [--sign-ins N] [--rounds N] [--database sqlite|postgresql|mariadb]
    python -m tests.benchmarks.sign_in --memory 20000

What is compared: `ours`, samljit with its two steps; `equal`, by hand in one step, which remembers used assertions and writes a log in
the same transaction; `bare`, by hand in one step, which remembers and logs nothing, and so writes nothing at all when somebody comes
again. All three are Flask with Flask-Login and Flask-SQLAlchemy, behind the same gunicorn, on a database of the same kind and set-up.

Each round asks the three apps the same, one after the other, each first in its turn: N people sign in for the first time, then the same
N again. Many short rounds, because a shared machine is now faster and now slower, and that must not fall on one app alone. Counted is
what the server does once the identity provider has answered: the POST to the ACS, and for samljit its second hop, `finish`, as well. The
responses are signed before the clock starts. The medians of the rounds and the ratios within a round count; beside the rates stands what
CPU the workers took, which says more on a busy machine. With --memory, so many sign-ins of ours in a row on PostgreSQL, and what memory
the workers take meanwhile.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from samljit.testing import FakeEntra, Person
from tests.servers import database as made_database

ROOT = Path(__file__).parents[2]
APPS = ("ours", "equal", "bare")
KINDS = {"sqlite": "sqlite", "postgresql": "postgres", "mariadb": "mariadb"}
CLIENTS = 8


class Client:
    """One browser's cookies, and nothing else that could cost time: it shares the two cores with what is measured."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}

    def send(self, method: str, path: str, body: str = "") -> tuple[int, str, bytes]:
        """Status, Location and body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", "Connection: close"]
        lines += ["Cookie: " + "; ".join(f"{name}={value}" for name, value in self._cookies.items())] if self._cookies else []
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"] if body else []
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", self._port))
            connection.sendall("\r\n".join([*lines, "", body]).encode())
            answer = connection.recv(65536)
            while _is_cut_short(answer):
                answer += connection.recv(65536)
        head, _, content = answer.partition(b"\r\n\r\n")
        for cookie, value in _COOKIE.findall(head):
            self._cookies[cookie.decode()] = value.decode()
        location = _LOCATION.search(head)
        return int(head[9:12]), location[1].decode() if location else "", content

    def begin(self, entra: FakeEntra, person: Person) -> str:
        """Goes as far as the identity provider, and gives the body of the POST that its answer makes."""
        _, url, _ = self.send("GET", "/saml/contoso/login")
        return urlencode(entra.respond(entra.read_request(url), person, now=datetime.now(UTC)).form)

    def end(self, body: str) -> None:
        """What is measured. Raises: AssertionError where the person is not signed in."""
        status, location, content = self.send("POST", "/saml/contoso/acs", body)
        if status == 200:  # the tiny page between the two hops
            finish = content.split(b"url=")[1].split(b'"')[0].decode()
            status, location, content = self.send("GET", finish)
        assert (status, urlsplit(location).path) in ((302, "/"), (303, "/")), (status, content[:500])


_COOKIE = re.compile(rb"\r\nSet-Cookie: ([^=]+)=([^;\r]*)")
_LOCATION = re.compile(rb"\r\nLocation: ([^\r]*)")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)")


def _is_cut_short(answer: bytes) -> bool:
    """Whether more of an answer is to come. Whoever waits for the server to close keeps a worker from its next request."""
    head, end, content = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return not end or length is None or len(content) < int(length[1])


def environment(*, port: int, database: str, entra: FakeEntra, metadata: Path) -> dict[str, str]:
    base = f"http://127.0.0.1:{port}"
    fields = {"email": "emailaddress", "first_name": "givenname"}
    tenant = {"name": "Contoso", "entra_tenant_id": entra.tenant_id, "mapping": {"fields": fields}}
    certificate = base64.b64encode(entra.key.certificate_der).decode()
    acs, entity_id = f"{base}/saml/contoso/acs", f"{base}/saml/contoso/metadata"
    library = {
        "strict": True,
        "sp": {"entityId": entity_id, "assertionConsumerService": {"url": acs}},
        "idp": {"entityId": entra.entity_id, "singleSignOnService": {"url": entra.sso_url}, "x509cert": certificate},
        "security": {"requestedAuthnContext": False},
    }
    settings = {"base_url": base, "tenants": {"contoso": {**tenant, "idp": {"metadata_file": str(metadata)}}}}
    return {
        **os.environ,
        "BENCH_SECRET": secrets.token_hex(16),
        "BENCH_DATABASE": database,
        "BENCH_SETTINGS": json.dumps(settings),
        "BENCH_LIBRARY": json.dumps(library),
    }


@contextmanager
def app_under_test(app: str, database: str) -> Iterator[tuple[int, FakeEntra]]:
    """The app on an empty database of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(made_database(KINDS[database], directory))
        yield stack.enter_context(served(app, database=url, directory=directory))


@contextmanager
def served(app: str, *, database: str, directory: Path) -> Iterator[tuple[int, FakeEntra]]:
    """The app behind gunicorn with two workers, as many as the machine has cores; gives its port, and its identity provider.

    Without threads: python3-saml by itself reads its schema at every response, and libxml2 lets that fail in two threads at once.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    entra, metadata = FakeEntra(), directory / "metadata.xml"
    metadata.write_bytes(entra.metadata())
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "--preload"]
    command += ["--log-level", "error", f"tests.benchmarks.apps:{app}()"]
    running = subprocess.Popen(command, cwd=ROOT, env=environment(port=port, database=database, entra=entra, metadata=metadata))
    try:
        wait_for(port)
        yield port, entra
    finally:
        running.terminate()
        running.wait(20)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("gunicorn did not start; is it installed?")


def measure(port: int, entra: FakeEntra, people: list[Person]) -> tuple[float, float]:
    """Sign-ins per second of these people, each in a browser of its own, and the workers' milliseconds of CPU for each."""
    clients = [Client(port) for _ in people]
    with ThreadPoolExecutor(CLIENTS) as pool:
        bodies = list(pool.map(lambda pair: pair[0].begin(entra, pair[1]), zip(clients, people, strict=True)))
        start, before = time.perf_counter(), cpu(port)
        list(pool.map(lambda pair: pair[0].end(pair[1]), zip(clients, bodies, strict=True)))
        return len(people) / (time.perf_counter() - start), (cpu(port) - before) / len(people)


def run(database: str, *, sign_ins: int, rounds: int) -> None:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {(app, kind): [] for app in APPS for kind in ("create", "repeat")}
    people = [[make_person(turn * sign_ins + index) for index in range(sign_ins)] for turn in range(rounds + 1)]
    with ExitStack() as stack:
        running = {app: stack.enter_context(app_under_test(app, database)) for app in APPS}
        for app in APPS * 2:
            measure(*running[app], people[rounds])  # the workers warm up
        for turn in range(rounds):
            for app in APPS[turn % 3 :] + APPS[: turn % 3]:
                found[app, "create"].append(measure(*running[app], people[turn]))
                found[app, "repeat"].append(measure(*running[app], people[turn]))
    print(f"{database}: {sign_ins} sign-ins in each of {rounds} rounds; medians")
    for kind in ("create", "repeat"):
        rates = {app: [rate for rate, _ in found[app, kind]] for app in APPS}
        busy = {app: [spent for _, spent in found[app, kind]] for app in APPS}
        print(f"  {kind}  sign-ins per second     {compared(rates, '6.1f')}")
        print(f"          workers' CPU in ms      {compared(busy, '6.2f')}")


def compared(found: dict[str, list[float]], form: str) -> str:
    """The medians, and those of the ratios within a round."""
    told = "  ".join(f"{app} {statistics.median(found[app]):{form}}" for app in APPS)
    for control in ("equal", "bare"):
        ratios = [ours / other for ours, other in zip(found["ours"], found[control], strict=True)]
        told += f"   ours/{control} {statistics.median(ratios):.2f}"
    return told


def watch_memory(sign_ins: int) -> None:
    """Tells the resident memory of the workers ten times on the way."""
    with app_under_test("ours", "postgresql") as (port, entra):
        part = max(1, sign_ins // 10)
        people = [make_person(index) for index in range(part)]
        measure(port, entra, people[:100])
        for done in range(0, sign_ins + 1, part):
            print(f"  {done:6} sign-ins: workers {' and '.join(f'{kib / 1024:.1f}' for kib in resident(port))} MiB", flush=True)
            if done < sign_ins:
                measure(port, entra, people)


def resident(port: int) -> list[int]:
    """KiB of the workers that serve this port."""
    return [int(one["VmRSS"].split()[0]) for one in map(status_of, workers(port))]


def cpu(port: int) -> float:
    """Milliseconds of CPU that these workers have taken so far."""
    return sum(int((one / "schedstat").read_text().split()[0]) for one in workers(port)) / 1e6


def workers(port: int) -> list[Path]:
    """The processes that serve this port, their master left out."""
    served_here = f"127.0.0.1:{port}".encode()
    found = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and served_here in command_of(entry)]
    return sorted(entry for entry in found if status_of(entry)["PPid"].strip() in {other.name for other in found})


def command_of(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:  # has ended since
        return b""


def status_of(entry: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines())


def make_person(index: int) -> Person:
    return Person(object_id=f"11110000-aaaa-4444-8888-{index:012d}", given_name="Ada", email=f"ada{index}@contoso.example")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sign-ins", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--database", action="append", choices=tuple(KINDS))
    parser.add_argument("--memory", type=int, metavar="N", help="so many sign-ins, and the memory of the workers")
    options: Any = parser.parse_args()
    if options.memory:
        watch_memory(options.memory)
        return
    for database in options.database or ("sqlite", "postgresql"):
        run(database, sign_ins=options.sign_ins, rounds=options.rounds)


if __name__ == "__main__":
    main()
