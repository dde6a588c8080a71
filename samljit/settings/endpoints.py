"""Which addresses may stand in settings and metadata: ours, and those of an IdP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, parse_qs, urlsplit

from samljit.errors import Problem
from samljit.mapping.presets import MICROSOFT_HOSTS, PRESETS

# whose metadata is that of the whole directory unless the address names the app (entra: federation-metadata); B2C's is a policy's
_APP_ID_HOSTS = tuple(host for host in MICROSOFT_HOSTS if host != "*.b2clogin.com")
_APP_ID = re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_URL_CHARACTERS = re.compile(r"[\x21-\x7e]+")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_COPY_URL = "In Entra: Single sign-on, SAML Certificates, copy App Federation Metadata Url."


def allowed_hosts(preset: str) -> tuple[str, ...] | None:
    """The hosts that an IdP of this preset may live on; None where any may do."""
    known = PRESETS.get(preset)
    return known.hosts if known else None


def check_endpoint(url: str, *, preset: str, base_url: str) -> str | None:
    """What is wrong with an address of an IdP, typed or found in its metadata; None where it may be used.

    https, on a host that the preset allows; a loopback address also without, where base_url is one too (the demo).
    """
    parts = _split(url)
    if isinstance(parts, str):
        return parts
    if is_loopback(parts.hostname) and is_loopback(urlsplit(base_url).hostname):
        return None
    if parts.scheme != "https":
        return "Must use https; http is only for loopback addresses, while base_url is one too."
    hosts = allowed_hosts(preset)
    if hosts is not None and not (parts.port in (None, 443) and any(_fits(parts.hostname or "", host) for host in hosts)):
        return f'Must lie on one of these hosts for preset "{preset}": {", ".join(hosts)}.'
    return None


def check_endpoints(urls: Iterable[str | None], *, path: str, preset: str, base_url: str) -> list[Problem]:
    """What is wrong with the addresses of an IdP, reported at `path`; None among them is passed over."""
    faults = (check_endpoint(url, preset=preset, base_url=base_url) for url in urls if url is not None)
    return [Problem(path, "endpoint_not_allowed", f"The IdP's address is not allowed. {fault}") for fault in faults if fault]


def check_metadata_url(
    url: str, *, path: str, preset: str, base_url: str, further_hosts: Sequence[str] = ()
) -> Problem | None:
    """What is wrong with the address of an IdP's metadata, reported at `path`; None where it may be fetched.

    https, on a host that the preset allows or one of `further_hosts`; for an app of Entra, the address of that app's own document.
    """
    parts = _split(url)
    if isinstance(parts, str):
        return Problem(path, "endpoint_not_allowed", parts, _COPY_URL)
    if parts.scheme != "https":
        return Problem(path, "endpoint_not_allowed", "Must use https.", _COPY_URL)
    if f"{parts.hostname}:{parts.port or 443}" not in map(_with_port, further_hosts):
        fault = check_endpoint(url, preset=preset, base_url=base_url)
        if fault:
            return Problem(path, "endpoint_not_allowed", fault, "Further hosts can be named in metadata_hosts.")
    app_ids = parse_qs(parts.query).get("appid", [])
    names_app = len(app_ids) == 1 and _APP_ID.fullmatch(app_ids[0])
    if not names_app and any(_fits(parts.hostname or "", host) for host in _APP_ID_HOSTS):
        message = (
            "Must end in ?appid= and the application ID: without it Microsoft sends the keys that the directory's apps share, "
            "and not the certificate that this app's sign-ins are signed with."
        )
        return Problem(path, "app_id_missing", message, _COPY_URL)
    return None


def is_host(text: str) -> bool:
    """Whether the text is a host, or host:port, in lower case."""
    parts = _split(f"https://{text}")
    return not isinstance(parts, str) and text == parts.netloc.lower()


def _with_port(host: str) -> str:
    parts = urlsplit(f"https://{host}")
    return f"{parts.hostname}:{parts.port or 443}"


def check_base_url(url: str) -> str | None:
    """What is wrong with a base_url; None where it is scheme, host and port alone, just as browsers send them."""
    parts = _split(url)
    if isinstance(parts, str):
        return parts
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        return "Must use https; http is only for localhost and loopback addresses."
    plain = f"{parts.scheme}://{host}{port}"
    if url != plain:
        return f'Must be scheme, host and port alone: write "{plain}". Paths belong in url_prefix.'
    return None


def check_url_prefix(prefix: str) -> str | None:
    """What is wrong with a url_prefix; None where it is empty or plain path segments."""
    if _PREFIX.fullmatch(prefix):
        return None
    likely = "/" + prefix.strip("/")
    example = f' Write "{likely}".' if _PREFIX.fullmatch(likely) and likely != "/" else ""
    return f'Must be "" or start with one "/", not end with one, and hold letters, digits and . _ ~ - between them.{example}'


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    address = _address(host or "")
    return address is not None and address.is_loopback


def _split(url: str) -> SplitResult | str:
    """The parts of an absolute http(s) URL, or what is wrong with it. Messages never repeat it."""
    # urlsplit drops tabs and line ends silently, and browsers read "\" as "/": neither may get so far
    if not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
        return "Must be a URL in ASCII, without spaces; write international host names in their xn-- form."
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its ValueError
    except ValueError:
        return "Must be a URL such as https://app.example.com."
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or not (_address(host) or _HOST.fullmatch(host)):
        return "Must be a URL such as https://app.example.com."
    if "@" in parts.netloc:
        return "Must not hold a user name or password."
    if "#" in url:
        return "Must not hold a fragment (#...)."
    return parts


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _fits(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern
