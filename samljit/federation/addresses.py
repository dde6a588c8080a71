"""Where a host name leads: its addresses, found within a time limit, and whether they lie in the public internet."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread

# Further networks that lead elsewhere than into the public internet: by the IANA special-purpose registries, where the Python at hand
# may be older than they are (CVE-2024-4032), and NAT64 of the operator's own network (RFC 8215).
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address stands in the last 32 bits


def resolve(host: str, *, within: float) -> tuple[str, ...]:
    """The addresses of a host, in the order to try them; none where there is no such host, or none was found `within` so many seconds.

    Asked in a thread: the system's resolver takes as long as it likes, and cannot be told otherwise.
    """
    if is_address(host):
        return (host,)
    answers: Queue[tuple[str, ...]] = Queue()
    Thread(target=_ask, args=(host, answers), daemon=True, name="samljit-resolve").start()
    try:
        return answers.get(timeout=within)
    except Empty:
        return ()


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet: not of this machine, of a network around it, or of any special purpose."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        embedded = _embedded(found)
        if embedded is None and found.is_site_local:
            return False
        found = embedded or found
    special = found.is_multicast or found.is_reserved or any(found in network for network in _SPECIAL)
    return found.is_global and not special


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this one end up at."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _ask(host: str, answers: Queue[tuple[str, ...]]) -> None:
    found: tuple[str, ...] = ()
    with suppress(OSError, UnicodeError):
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = tuple(dict.fromkeys(str(address[0]) for *_, address in rows))
    answers.put(found)
