"""How long the worst documents keep the validator busy, and how much memory they make it take.

    python -m tests.benchmarks.hostile

Runs in a child process with 2 GiB of address space; the requirement is under 0.5 s each and under 100 MiB of growth in all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        fifo = os.path.join(directory, "fifo")
        os.mkfifo(fifo)  # nobody writes to it: whoever opens it hangs
        command = [sys.executable, "-m", "tests.trust.hostile", fifo, "9"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(ran.stdout)
    answers = sorted(told["answers"], key=lambda answer: -answer["seconds"])
    print(f"{len(answers)} documents, memory grew by {told['growth_kib'] / 1024:.1f} MiB; the slowest:")
    for answer in answers[:10]:
        print(f"{answer['seconds'] * 1000:8.1f} ms  {answer['bytes'] / 1024:6.0f} KiB  {answer['reason']:<22} {answer['name']}")


if __name__ == "__main__":
    main()
