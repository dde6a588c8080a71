"""Serves Flask apps on loopback ports, all in one process, until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

_BACKLOG = 128
_PROBE_SECONDS = 0.5


class CannotListen(Exception):
    """A port cannot be had; `str()` says why in one sentence."""

    def __init__(self, port: int, why: str) -> None:
        super().__init__(f"Port {port} {why}")
        self.port = port


class _QuietHandler(WSGIRequestHandler):
    """Writes no line for every request; errors still show."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback host. Raises: CannotListen.

    Asked for by connecting first: on macOS a program that listens on every address does not stop us from listening on one, and
    browsers would reach the other program.
    """
    address = "127.0.0.1" if host == "localhost" else host
    for candidate in {host, address}:
        if _is_answered(candidate, port):
            raise CannotListen(port, "is in use by another program.")
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if sys.platform != "win32":  # elsewhere it only skips the wait after a restart, there it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(port, f"cannot be used: {error.strerror}.") from error
    return listener


def _is_answered(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def served(sites: Sequence[tuple[socket.socket, Flask]]) -> Iterator[None]:
    """Serves each app on its socket, in threads, while the context lasts."""
    with ExitStack() as stack:
        for listener, app in sites:
            server = _server(listener, app)
            stack.callback(server.server_close)
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield


def _server(listener: socket.socket, app: Flask) -> BaseWSGIServer:
    host, port = listener.getsockname()[:2]
    with listener:  # the server keeps a duplicate
        return make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())


def wait_for_end(*, when_ready: Callable[[], None]) -> None:
    """Returns at Ctrl-C, or when the process is asked to end."""
    ended = Event()

    def end(*_: Any) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        when_ready()
        while not ended.wait(0.5):  # in slices: an endless wait would not see Ctrl-C on Windows
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
