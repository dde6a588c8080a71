"""trust 46: how metadata is fetched, from servers on this machine that mean well and that do not."""

from __future__ import annotations

import gzip
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from samljit.errors import Problem
from samljit.federation import fetch as module
from samljit.federation.addresses import is_public, resolve
from samljit.federation.fetch import SECONDS, Source, fetch
from samljit.saml.idp_metadata import LARGEST_METADATA
from tests.https import DAY, Authority, HttpsServer, Script, answer, drip, https_server, raw, wait

GOOD = b"<EntityDescriptor/>"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


pytestmark = pytest.mark.usefixtures("trusted_authority")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.certify(["localhost", "idp.example.test", "127.0.0.1"])


@pytest.fixture
def serve(certificate: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda script, **options: stack.enter_context(https_server(options.pop("certificate", certificate), script, **options))


def get(url: str, *, public_only: bool = False, seconds: float = SECONDS) -> bytes | str:
    """What was fetched, or the code of the problem, within its time."""
    began = time.monotonic()
    found = fetch(Source(url, "$.here", public_only=public_only), seconds=seconds)
    assert time.monotonic() - began < seconds + 1
    if not isinstance(found, Problem):
        return found
    assert (found.path, found.is_warning) == ("$.here", False)
    assert found.message.endswith(".")
    assert url not in str(found)
    return found.code


# --- what is fetched --------------------------------------------------------------------------------------------------


def test_metadata_is_fetched_by_name_uncompressed_and_past_any_proxy(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server: HttpsServer = serve(answer(GOOD))

    assert get(server.url(path="/a/b.xml?appid=1&x=%20y")) == GOOD

    [request] = server.requests
    lines = request.split("\r\n")
    assert lines[0] == "GET /a/b.xml?appid=1&x=%20y HTTP/1.1"
    assert {"Host: localhost:" + str(server.port), "Accept-Encoding: identity"} <= set(lines)
    assert not any(line.lower().startswith(("cookie", "authorization")) for line in lines)
    assert server.names == ["localhost"]


def test_five_seconds_are_all_it_may_take() -> None:
    assert SECONDS == 5


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(answer(b"x" * LARGEST_METADATA), b"x" * LARGEST_METADATA, id="1 MiB"),
        pytest.param(answer(GOOD, "Content-Encoding: identity"), GOOD, id="identity"),
        pytest.param(raw(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD), GOOD, id="without a length, up to the end"),
        pytest.param(raw(CHUNKED + b"13\r\n" + GOOD + b"\r\n0\r\n\r\n"), GOOD, id="in chunks"),
        pytest.param(raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + GOOD), GOOD, id="after a 100"),
    ],
)
def test_an_answer_may_come_in_any_honest_form(serve: Any, script: Script, expected: bytes) -> None:
    assert get(serve(script).url()) == expected


# --- what is refused --------------------------------------------------------------------------------------------------

BOMB = gzip.compress(b" " * 50_000_000)
REFUSED = [
    pytest.param(answer(b"", "Location: /elsewhere", status="302 Found"), "redirected", id="a redirect"),
    pytest.param(answer(GOOD, "Location: /elsewhere", status="301 Moved Permanently"), "redirected", id="a redirect with a body"),
    pytest.param(answer(GOOD, status="304 Not Modified"), "redirected", id="not modified"),
    pytest.param(answer(GOOD, status="404 Not Found"), "http_status", id="not found"),
    pytest.param(answer(GOOD, status="500 Internal Server Error"), "http_status", id="an error"),
    pytest.param(answer(GOOD, status="206 Partial Content"), "http_status", id="a part"),
    pytest.param(answer(b"", status="204 No Content"), "http_status", id="no content"),
    pytest.param(answer(b""), "empty", id="nothing"),
    pytest.param(answer(b" \r\n"), "empty", id="blank"),
    pytest.param(answer(b"x" * (LARGEST_METADATA + 1)), "too_large", id="a byte too many"),
    pytest.param(answer(BOMB, "Content-Encoding: gzip"), "compressed", id="a compressed bomb"),
    pytest.param(answer(gzip.compress(GOOD), "Content-Encoding: gzip"), "compressed", id="compressed"),
    pytest.param(answer(GOOD, "Content-Encoding: identity", "Content-Encoding: br"), "compressed", id="two encodings"),
    pytest.param(drip(CHUNKED, then=b"10000\r\n" + b"x" * 65536 + b"\r\n", pause=0), "too_large", id="endless chunks"),
    pytest.param(drip(b"HTTP/1.0 200 OK\r\n\r\n", then=b"x" * 65536, pause=0), "too_large", id="endless"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"), "broke_off", id="cut off"),
    pytest.param(raw(CHUNKED + b"ff\r\nshort"), "broke_off", id="cut off in a chunk"),
    pytest.param(raw(CHUNKED + b"zz\r\n"), "broke_off", id="a chunk of no size"),
    pytest.param(raw(b""), "broke_off", id="hangs up"),
    pytest.param(raw(b"220 smtp.example.com ESMTP\r\n"), "broke_off", id="not HTTP"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n"), "broke_off", id="a thousand headers"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"), "broke_off", id="a long header"),
    pytest.param(wait, "too_slow", id="silent after the request"),
    pytest.param(drip(b"HTTP/1.1 200 OK\r\nA: "), "too_slow", id="drips a header"),
    pytest.param(drip(b"HTTP/1.1 200 OK\r\n", then=b"A: b\r\n"), "too_slow", id="drips headers"),
    pytest.param(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"), "too_slow", id="drips the body"),
    pytest.param(drip(CHUNKED, then=b"1\r\nx\r\n"), "too_slow", id="drips chunks"),
    pytest.param(drip(b"", then=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0), "too_slow", id="says continue for ever"),
]


@pytest.mark.parametrize(("script", "code"), REFUSED)
def test_trust_46_an_answer_is_bounded_in_time_and_size_and_comes_from_the_address_itself(
    serve: Any, script: Script, code: str
) -> None:
    server = serve(script)
    tracemalloc.start()
    try:
        assert get(server.url(), seconds=1.0) == code
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.connections == 1
    assert most < 16 * LARGEST_METADATA


def test_a_server_that_never_shakes_hands_is_not_waited_for(serve: Any) -> None:
    assert get(serve(wait, handshake=False).url(), seconds=1.0) == "too_slow"


def test_trust_46_only_a_certificate_of_the_host_that_is_trusted_and_in_date_will_do(serve: Any, authority: Authority) -> None:
    other = Authority(authority.directory)
    wrong = {
        "of another host": authority.certify(["idp.example.test"]),
        "of the name in the subject alone": authority.certify(["127.0.0.1"]),
        "expired": authority.certify(["localhost"], until=datetime.now(UTC) - DAY),
        "of an unknown authority": other.certify(["localhost"]),
    }
    for what, certificate in wrong.items():
        server = serve(answer(GOOD), certificate=certificate)
        assert get(server.url()) == "certificate_not_trusted", what
        assert server.requests == []


def test_what_does_not_speak_tls_gets_no_request(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]
        plain.settimeout(5)
        def talk() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        Thread(target=talk, daemon=True).start()
        assert get(f"https://localhost:{port}/") == "tls_failed"
    assert get(f"http://localhost:{port}/") == "not_https"
    assert get("file:///etc/passwd") == "not_https"


def test_where_nobody_listens_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert get(f"https://127.0.0.1:{port}/") == "unreachable"
    monkeypatch.setattr(socket, "getaddrinfo", _raise_unknown)
    assert get("https://no-such-host.example.test/") == "host_unknown"


def _raise_unknown(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    assert get("https://idp.example.test/", seconds=0.5) == "too_slow"


# --- where a name leads -----------------------------------------------------------------------------------------------


def lead(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Makes host names lead to these addresses, a list for each time somebody asks, the last one for ever. Gives the names asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *arguments: Any, **options: Any) -> Any:
        if host[0].isdigit():
            return real(host, port, *arguments, **options)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_trust_46_the_address_that_was_looked_at_is_the_one_connected_to(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good: HttpsServer = serve(answer(GOOD))
    evil: HttpsServer = serve(answer(b"evil"), address="127.0.0.2", port=good.port)
    monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1")
    asked = lead(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])

    assert get(good.url("idp.example.test"), public_only=True) == GOOD

    assert asked == ["idp.example.test"]
    assert (good.names, evil.connections) == (["idp.example.test"], 0)
    assert get(good.url("idp.example.test"), public_only=True) == "address_not_public"


def test_trust_46_one_address_that_is_not_public_is_enough_to_refuse(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server: HttpsServer = serve(answer(GOOD))
    monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1")
    lead(monkeypatch, ["127.0.0.1", "127.0.0.2"])

    assert get(server.url("idp.example.test"), public_only=True) == "address_not_public"
    assert server.connections == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_trust_46_a_page_cannot_make_us_talk_to_this_machine(serve: Any, host: str) -> None:
    server: HttpsServer = serve(answer(GOOD))

    assert get(server.url(host), public_only=True) == "address_not_public"
    assert server.connections == 0
    assert get(server.url(host), public_only=False) == GOOD


def test_the_next_address_is_tried_where_one_does_not_answer(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server: HttpsServer = serve(answer(GOOD))
    lead(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    assert get(server.url("idp.example.test")) == GOOD


def test_a_literal_address_is_asked_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _raise_unknown)
    assert resolve("127.0.0.1", within=1) == ("127.0.0.1",)
    assert resolve("::1", within=1) == ("::1",)


NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.0.0.9", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_trust_46_addresses_of_this_machine_and_of_networks_around_it_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "20.190.128.1", "2603:1006:2000::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)
