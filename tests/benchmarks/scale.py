"""How long the two steps of a sign-in take on a large PostgreSQL database and on an empty one, and while `prune` runs. Needs gunicorn.

    python -m tests.benchmarks.scale [--share 1.0] [--sign-ins N]

The large one holds 10,000 tenants, 1,000,000 users, each with an identity, and 5,000,000 attempts (times --share), of which 100,000 are
older than they are kept. Two gunicorns serve the same app on both; sign-ins alternate between them, one at a time, so that the machine's
drift hits both. Counted is the time of each request as its client sees it. Then sign-ins go on while `flask samljit prune` deletes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from samljit.testing import FakeEntra
from tests.benchmarks.sign_in import ROOT, Client, environment, make_person, served
from tests.servers import database

TENANTS, USERS, ATTEMPTS, EXPIRED = 10_000, 1_000_000, 5_000_000, 100_000
_REFERENCE = "'SJ-' || substr(lpad(to_hex(n), 8, '0'), 1, 4) || '-' || substr(lpad(to_hex(n), 8, '0'), 5, 4)"
_FILL = (
    """INSERT INTO samljit_tenant_state (id, slug, created_at, claims_seen)
       SELECT gen_random_uuid(), 't' || n, now(), '[]' FROM generate_series(0, {tenants} - 1) n""",
    """INSERT INTO users (id, email, first_name, is_active)
       SELECT 1000 + n, 'p' || n || '@t' || (n % {tenants}) || '.example', 'Ada', true FROM generate_series(1, {users}) n""",
    "SELECT setval(pg_get_serial_sequence('users', 'id'), 1000 + {users})",
    """INSERT INTO samljit_identity (subject_key, tenant_id, issuer, source, subject, user_id, created_at, signed_in_at)
       SELECT encode(sha256(n::text::bytea), 'hex'), t.id, 'https://sts.windows.net/x/', 'objectidentifier', n::text, 1000 + n, now(),
              now() - n % 90 * interval '1 day'
       FROM generate_series(1, {users}) n JOIN samljit_tenant_state t ON t.slug = 't' || (n % {tenants})""",
    """INSERT INTO samljit_attempt
              (reference, tenant_id, at, stage, outcome, detail, user_id, claim_names, decisions, roles, browser, times)
       SELECT """
    + _REFERENCE
    + """, t.id, now() - CASE WHEN n <= {expired} THEN interval '95 days' ELSE n % 7000000 * interval '1 second' END,
              'provision', 'unchanged', '', 1000 + n % {users} + 1, '["emailaddress", "givenname"]',
              '[{{"field": "email", "action": "unchanged", "why": "same", "source": "emailaddress", "detail": ""}}]', '[]', 'Firefox', 1
       FROM generate_series(1, {attempts}) n JOIN samljit_tenant_state t ON t.slug = 't' || (n % {tenants})""",
    "VACUUM ANALYZE",
)


@dataclass(frozen=True, slots=True)
class Site:
    """One served app, and its identity provider."""

    port: int
    entra: FakeEntra
    url: str
    directory: Path


def fill(url: str, *, share: float) -> None:
    sizes = {"tenants": TENANTS, "users": USERS, "attempts": ATTEMPTS, "expired": EXPIRED}
    sizes = {name: max(1, int(size * share)) for name, size in sizes.items()}
    there = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(there, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for statement in _FILL:
            began = time.perf_counter()
            connection.execute(statement.format(**sizes))
            print(f"  {time.perf_counter() - began:6.1f} s  {' '.join(statement.split()[:3])}", flush=True)


def sign_in(site: Site, number: int) -> tuple[float, float]:
    """Seconds of the POST to the ACS and of `finish`."""
    client = Client(site.port)
    body = client.begin(site.entra, make_person(number))
    began = time.perf_counter()
    status, _, content = client.send("POST", "/saml/contoso/acs", body)
    between = time.perf_counter()
    assert status == 200, content[:500]
    finish = content.split(b"url=")[1].split(b'"')[0].decode()
    assert client.send("GET", finish)[0] == 303
    return between - began, time.perf_counter() - between


def compare(empty: Site, full: Site, *, kind: str, first: int, count: int) -> None:
    times = [(sign_in(empty, first + number), sign_in(full, first + number)) for number in range(count)]
    for step, name in enumerate(("acs", "finish")):
        small, large = (statistics.median(pair[which][step] for pair in times) * 1000 for which in (0, 1))
        print(f"  {kind:<7} {name:<7} empty {small:6.2f} ms   large {large:6.2f} ms   large/empty {large / small:.2f}")


def prune_beside(site: Site, *, count: int) -> None:
    """Signs people in while `prune` runs, and tells how long they waited."""
    alone = sorted(sum(sign_in(site, number % count)) for number in range(count))
    metadata = site.directory / "metadata.xml"
    settings = environment(port=site.port, database=site.url, entra=site.entra, metadata=metadata)
    command = [sys.executable, "-m", "flask", "--app", "tests.benchmarks.apps:ours()", "samljit", "prune"]
    began, beside = time.perf_counter(), []
    pruning = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    while pruning.poll() is None:
        beside.append(sum(sign_in(site, len(beside) % count)))
    assert pruning.returncode == 0
    beside.sort()
    print(f"  prune took {time.perf_counter() - began:.1f} s; {len(beside)} sign-ins beside it, none refused")
    for name, times in (("alone", alone), ("beside", beside)):
        print(f"  {name:<7} median {statistics.median(times) * 1000:6.1f} ms   slowest {times[-1] * 1000:6.1f} ms")


def run(*, share: float, sign_ins: int) -> None:
    with ExitStack() as stack:
        sites = []
        for name in ("empty", "large"):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(database("postgres", directory))
            port, entra = stack.enter_context(served("ours", database=url, directory=directory))
            sites.append(Site(port, entra, url, directory))
            if name == "large":
                fill(url, share=share)
        for number in range(10):  # the workers warm up
            for site in sites:
                sign_in(site, 10**7 + number)
        compare(*sites, kind="create", first=2 * 10**7, count=sign_ins)
        compare(*sites, kind="repeat", first=2 * 10**7, count=sign_ins)
        prune_beside(sites[1], count=sign_ins)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--sign-ins", type=int, default=200)
    options = parser.parse_args()
    run(share=options.share, sign_ins=options.sign_ins)


if __name__ == "__main__":
    main()
