"""Many threads at once: libxml2 shares what it sets up, and python3-saml by itself fails when two threads read its schema together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from tests.trust.forge import Desk

desk, now, barrier = Desk(), datetime.now(UTC), Barrier(16)
answers = [desk.respond(now=now) for _ in range(16)]

def validate(xml):
    barrier.wait()
    return desk.reason(xml, now=now)

with ThreadPoolExecutor(16) as pool:
    print({str(reason) for reason in pool.map(validate, answers)})
"""


def test_the_first_responses_of_a_process_may_come_in_sixteen_threads_at_once() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", CODE], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "{'None'}"), done.stderr
