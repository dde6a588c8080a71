"""HTTPS servers on this machine for tests, each with a script of its own, under a certificate authority that lives as long as the run."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from time import sleep

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass
class Authority:
    """A certificate authority: `file` holds its certificate, for SSL_CERT_FILE."""

    directory: Path
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    _served: int = 0

    def __post_init__(self) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test authority {id(self)}")])
        usage = {"digital_signature": True, "key_cert_sign": True, "crl_sign": True}
        usage |= {"content_commitment": False, "key_encipherment": False, "data_encipherment": False, "key_agreement": False}
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.KeyUsage(**usage, encipher_only=False, decipher_only=False), critical=True)
        self.file = self.directory / f"authority-{id(self)}.pem"
        self.file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certify(self, names: Sequence[str], *, until: datetime | None = None) -> Path:
        """A file with a fresh key and a certificate of these host names and addresses."""
        key = rsa.generate_private_key(65537, 2048)
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, key, until=until).add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._served += 1
        file = self.directory / f"server-{id(self)}-{self._served}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _builder(self, subject: x509.Name, key: rsa.RSAPrivateKey, *, until: datetime | None = None) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        until = until or now + DAY
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(min(now, until) - DAY).not_valid_after(until)
        return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _general_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


Script = Callable[[ssl.SSLSocket], None]


@dataclass
class HttpsServer:
    """What a server saw: the requests as they came, and the host names asked for in the TLS handshakes."""

    port: int
    requests: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    connections: int = 0
    stopped: Event = field(default_factory=Event)

    def url(self, host: str = "localhost", path: str = "/metadata") -> str:
        return f"https://{host}:{self.port}{path}"


@contextmanager
def https_server(
    certificate: Path, script: Script, *, address: str = "127.0.0.1", port: int = 0, handshake: bool = True
) -> Iterator[HttpsServer]:
    """A server that reads the head of each request and then does what the script says; without `handshake`, it accepts and is silent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server((address, port)) as listening:
        server = HttpsServer(listening.getsockname()[1])
        context.sni_callback = lambda _, name, __: server.names.append(name)

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError, ValueError):
                if not handshake:
                    server.stopped.wait(20)
                    return
                connection.settimeout(20)
                with context.wrap_socket(connection, server_side=True) as tls:
                    head = b""
                    while b"\r\n\r\n" not in head and (more := tls.recv(4096)):
                        head += more
                    server.requests.append(head.decode())
                    script(tls)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    server.connections += 1
                    Thread(target=serve, args=(connection,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        try:
            yield server
        finally:
            server.stopped.set()
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Script:
    """A script that answers with a body and its length."""
    head = [f"HTTP/1.1 {status}", "Content-Type: application/samlmetadata+xml", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda tls: tls.sendall("\r\n".join(head).encode() + body)


def raw(content: bytes) -> Script:
    return lambda tls: tls.sendall(content)


def drip(content: bytes, *, then: bytes = b" ", pause: float = 0.05) -> Script:
    """A script that sends the content at once, and then one more piece every now and then without end."""

    def send(tls: ssl.SSLSocket) -> None:
        tls.sendall(content)
        while True:
            tls.sendall(then)
            sleep(pause)

    return send


def wait(tls: ssl.SSLSocket) -> None:
    tls.recv(1)


class Site:
    """An address with metadata, which a test changes as Entra's admins do. `script` answers each request."""

    def __init__(self) -> None:
        self.script: Script = answer(b"", status="404 Not Found")
        self.server: HttpsServer

    def shows(self, content: bytes) -> None:
        self.script = answer(content)

    @property
    def fetches(self) -> int:
        return self.server.connections
