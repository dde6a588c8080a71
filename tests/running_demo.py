"""`samljit demo` as the real command, in a process of its own."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_SECONDS = 30
STOP_SECONDS = 10


@dataclass(frozen=True)
class Demo:
    """A running demo: the app's address, Fake Entra's, and the process."""

    host: str
    entra: str
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """Presses Ctrl-C and gives the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)


def command() -> str:
    """The path of the installed command `samljit`."""
    found = shutil.which("samljit", path=str(Path(sys.executable).parent)) or shutil.which("samljit")
    assert found, "samljit is not installed here: pip install -e '.[test]'"
    return found


def free_port() -> int:
    """A port that is free, and the next one too."""
    while True:
        port = random.randrange(20000, 60000, 2)
        if all(_is_free(number) for number in (port, port + 1)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextmanager
def running_demo(*arguments: str, port: int | None = None) -> Iterator[Demo]:
    """Starts the command, waits until it answers, and ends it after. Without `port`, on free ones."""
    own = () if port else ("--port", str(port := free_port()))
    with subprocess.Popen(
        [command(), "demo", "--no-browser", *own, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        demo = Demo(f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}", process)
        try:
            _wait(demo)
            yield demo
        finally:
            process.kill()


def _wait(demo: Demo) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if demo.process.poll() is not None:
            raise AssertionError(f"samljit demo ended by itself: {demo.process.communicate()[0]}")
        try:
            with urlopen(demo.host, timeout=2):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("samljit demo does not answer.")
