"""Fetches an IdP's metadata over https, within bounds that hold against whoever answers (trust: 46).

urllib3 speaks TLS and HTTP; here stand the bounds: one time limit for all of it, one address that was looked at and no other, no
redirects, no proxy of the environment, nothing compressed, so many bytes.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import SplitResult, urlsplit

from urllib3 import BaseHTTPResponse, HTTPSConnectionPool, Timeout
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeout

from samljit.errors import Problem
from samljit.federation.addresses import is_public, resolve
from samljit.saml.idp_metadata import LARGEST_METADATA

SECONDS = 5.0  # for all of it: look-up, connection, TLS, answer
_MOST_ADDRESSES = 4
_CHUNK = 64 * 1024
_HEADERS = {
    "Accept": "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "samljit",
}
_AGAIN = "What was fetched last stays in use; it is tried again later."


@dataclass(frozen=True, slots=True)
class Source:
    """An address that passed `check_metadata_url`. `path` is its place in the settings, for problems.

    `public_only` is for one that came from a page: whoever typed it must not reach the machines around this one.
    """

    url: str
    path: str
    public_only: bool = True


class _Failed(Exception):
    """Why nothing was fetched. Messages never repeat the address, nor anything that was answered."""

    def __init__(self, code: str, message: str, hint: str = _AGAIN) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def fetch(source: Source, *, seconds: float = SECONDS) -> bytes | Problem:
    """What stands at the address, 1 MiB at most, or why it was not fetched, in at most so many seconds. Never raises for what is there."""
    deadline = _Deadline(seconds)
    try:
        return _fetch(source, deadline)
    except (_Failed, HTTPError, HTTPException, OSError, ValueError) as error:
        failed = error if isinstance(error, _Failed) else _explain(error, deadline)
        return Problem(source.path, failed.code, failed.message, failed.hint)


class _Deadline:
    """The one moment by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._end

    def left(self) -> float:
        """Seconds, more than none. Raises: TimeoutError."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _fetch(source: Source, deadline: _Deadline) -> bytes:
    parts = urlsplit(source.url)
    if parts.scheme != "https" or not parts.hostname:
        raise _Failed("not_https", "This is not an https address.")
    addresses = _addresses(parts.hostname, source, deadline)
    for number, address in enumerate(addresses, start=1):
        try:
            return _ask(address, parts, deadline, share=len(addresses) - number + 1)
        except (NewConnectionError, HTTPTimeout):
            if number == len(addresses) or deadline.has_passed:
                raise
    raise AssertionError("there is always an address")


def _addresses(host: str, source: Source, deadline: _Deadline) -> tuple[str, ...]:
    """Where to connect to. All addresses are looked at, and then connected to as they are: what the name leads to a moment later, to
    somebody who answers each question differently (DNS rebinding), is never asked."""
    addresses = resolve(host, within=deadline.left())
    if not addresses:
        deadline.left()
        raise _Failed("host_unknown", "The host name leads to no address.")
    if source.public_only and not all(map(is_public, addresses)):
        raise _Failed("address_not_public", "The host name leads to an address that is not of the public internet.", "")
    return addresses[:_MOST_ADDRESSES]


def _ask(address: str, parts: SplitResult, deadline: _Deadline, *, share: int) -> bytes:
    """Asks at this address, by the name that stands in the URL: that is whose certificate must be shown. A connection has its share of
    the time that is left."""
    assert parts.hostname is not None
    port = parts.port or 443
    limit = Timeout(connect=deadline.left() / share, read=deadline.left())
    options: dict[str, Any] = {"ssl_context": _tls(deadline), "cert_reqs": "CERT_REQUIRED", "server_hostname": parts.hostname}
    with HTTPSConnectionPool(address, port, maxsize=1, timeout=limit, retries=False, **options) as pool:
        response = pool.urlopen(
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers={"Host": parts.netloc, **_HEADERS},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            assert_same_host=False,
        )
        try:
            return _read(response)
        finally:
            response.close()


def _tls(deadline: _Deadline) -> ssl.SSLContext:
    """The system's certificate authorities, TLS 1.2 or newer, and sockets on which no read outlasts the deadline: a time-out of its own
    for each read would be met for ever by a server that sends a byte now and then."""

    class Bounded(ssl.SSLSocket):
        def recv_into(self, *arguments: Any, **options: Any) -> int:
            self.settimeout(deadline.left())
            return super().recv_into(*arguments, **options)

        def sendall(self, *arguments: Any, **options: Any) -> None:
            self.settimeout(deadline.left())
            return super().sendall(*arguments, **options)

    context = ssl.create_default_context()
    context.sslsocket_class = Bounded
    return context


def _read(response: BaseHTTPResponse) -> bytes:
    if 300 <= response.status < 400:
        message = f"The server answers with a redirect (HTTP status {response.status}), which is not followed."
        raise _Failed("redirected", message, "Write the address where the metadata itself stands.")
    if response.status != 200:
        raise _Failed("http_status", f"The server answers with HTTP status {response.status}.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise _Failed("compressed", "The answer is compressed, which was not asked for.")
    content = b"".join(_chunks(response))
    if not content.strip():
        raise _Failed("empty", "The answer is empty.")
    return content


def _chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    total = 0
    while chunk := response.read(_CHUNK, decode_content=False):
        total += len(chunk)
        if total > LARGEST_METADATA:
            raise _Failed("too_large", f"The answer has more than {LARGEST_METADATA} bytes.")
        yield chunk


def _explain(error: Exception, deadline: _Deadline) -> _Failed:
    if isinstance(error, NewConnectionError) and not deadline.has_passed:  # urllib3 counts it among the time-outs
        return _Failed("unreachable", "No connection could be made.")
    if isinstance(error, HTTPTimeout) or deadline.has_passed:
        return _Failed("too_slow", "There was no whole answer in time.")
    if isinstance(error, SSLError | ssl.SSLError):
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (error, *error.args)):
            message = "The server's certificate is not one of this host that this machine's certificate authorities vouch for."
            return _Failed("certificate_not_trusted", message)
        return _Failed("tls_failed", "No TLS connection could be made.")
    return _Failed("broke_off", "The answer broke off, or was not HTTP.")
