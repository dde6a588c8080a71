"""A cookie jar with the rules of a browser: which cookies it takes, and which it sends along with which request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from werkzeug.http import parse_date

# Chromium sends a cookie without SameSite along with a cross-site POST for this long after it was set ("Lax+POST").
LAX_ALLOWS_POST = timedelta(minutes=2)
_LONGEST_LIFE = timedelta(days=400)  # RFC 6265bis, 5.5: what browsers cap Expires and Max-Age to
_MOST_BYTES = 4096  # of name and value together
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie as the browser keeps it. `same_site` None: the attribute was absent, or none a browser knows."""

    name: str
    value: str = field(repr=False)
    host: str
    path: str
    created: datetime
    expires: datetime | None = None
    is_host_only: bool = True
    secure: bool = False
    http_only: bool = False
    same_site: Literal["lax", "strict", "none"] | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, self.host, self.path


class RefusedCookie(NamedTuple):
    """A Set-Cookie header that the browser did not take, and why."""

    name: str
    why: str


class CookieJar:
    """The cookies of one browser. Ports make no difference to cookies: hosts do."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        self.refused: list[RefusedCookie] = []

    def store(self, header: str, *, url: str, now: datetime) -> None:
        """Takes one Set-Cookie header of the response from `url`, or notes in `refused` why not."""
        cookie, attributes = _read(header, url=url, now=now)
        why = _fault(cookie, attributes=attributes, url=url) or self._overlay_fault(cookie, url=url)
        if why:
            self.refused.append(RefusedCookie(cookie.name, why))
            return
        old = self._cookies.pop(cookie.key, None)
        if old is not None and old.value == cookie.value:
            # As Chromium does: setting the same value again does not start the two minutes of Lax+POST afresh.
            cookie = replace(cookie, created=old.created)
        if cookie.expires is None or cookie.expires > now:
            self._cookies[cookie.key] = cookie

    def select(self, *, url: str, method: str, is_cross_site: bool, now: datetime) -> tuple[Cookie, ...]:
        """The cookies that go along with a top-level navigation to `url`, in the order of the Cookie header."""
        chosen = [
            cookie
            for cookie in self._cookies.values()
            if (cookie.expires is None or cookie.expires > now)
            and _reaches(cookie, url)
            and (not is_cross_site or _may_cross(cookie, method=method, now=now))
        ]
        return tuple(sorted(chosen, key=lambda cookie: (-len(cookie.path), cookie.created)))

    def find(self, name: str, *, host: str | None = None) -> Cookie | None:
        """The cookie of this name, of any host where none is given, or None."""
        return next((c for c in self._cookies.values() if c.name == name and host in (None, c.host)), None)

    def clear(self) -> None:
        self._cookies.clear()

    def _overlay_fault(self, cookie: Cookie, *, url: str) -> str | None:
        """RFC 6265bis 5.7: plain http must not shadow a Secure cookie."""
        is_shadow = any(c.secure and c.name == cookie.name and c.host == cookie.host for c in self._cookies.values())
        return "http must not overwrite a Secure cookie" if is_shadow and not _is_https(url) else None


def _read(header: str, *, url: str, now: datetime) -> tuple[Cookie, dict[str, str]]:
    """The cookie as the header puts it, and its attributes by lower-case name."""
    pair, *rest = header.split(";")
    name, _, value = pair.partition("=")
    attributes = {key.strip().lower(): given.strip() for key, _, given in (part.partition("=") for part in rest)}
    parts = urlsplit(url)
    host = parts.hostname or ""
    domain = _domain(attributes)
    path = attributes.get("path", "")
    same_site = attributes.get("samesite", "").lower()
    cookie = Cookie(
        name=name.strip(),
        value=value.strip(),
        host=domain or host,
        path=path if path.startswith("/") else parts.path.rpartition("/")[0] or "/",
        created=now,
        expires=_expiry(attributes, now),
        is_host_only=not domain,
        secure="secure" in attributes,
        http_only="httponly" in attributes,
        same_site=same_site if same_site in ("lax", "strict", "none") else None,  # type: ignore[arg-type]
    )
    return cookie, attributes


def _domain(attributes: dict[str, str]) -> str:
    return attributes.get("domain", "").lower().lstrip(".")


def _expiry(attributes: dict[str, str], now: datetime) -> datetime | None:
    """Max-Age goes before Expires, whichever came first (RFC 6265, 5.3)."""
    max_age = attributes.get("max-age", "")
    if max_age.removeprefix("-").isdecimal():
        seconds = max(0, min(int(max_age), int(_LONGEST_LIFE.total_seconds())))
        return now + timedelta(seconds=seconds)
    expires = parse_date(attributes.get("expires"))
    return None if expires is None else min(expires, now + _LONGEST_LIFE)


def _fault(cookie: Cookie, *, attributes: dict[str, str], url: str) -> str | None:
    """Why no browser would take this cookie, or None. Prefixes are compared without case, as Chromium does."""
    name = cookie.name.lower()
    domain = _domain(attributes)
    faults = {
        "no name": not name,
        "longer than 4096 bytes": len(cookie.name.encode()) + len(cookie.value.encode()) > _MOST_BYTES,
        "Secure needs https": cookie.secure and not _is_https(url),
        "SameSite=None needs Secure": cookie.same_site == "none" and not cookie.secure,
        "Domain is not that of the page": bool(domain) and not _is_within(urlsplit(url).hostname or "", domain),
        "__Secure- needs Secure": name.startswith("__secure-") and not cookie.secure,
        "__Host- needs Secure": name.startswith("__host-") and not cookie.secure,
        "__Host- needs Path=/": name.startswith("__host-") and attributes.get("path") != "/",
        "__Host- allows no Domain": name.startswith("__host-") and bool(domain),
    }
    return next((why for why, is_so in faults.items() if is_so), None)


def _reaches(cookie: Cookie, url: str) -> bool:
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    in_host = host == cookie.host if cookie.is_host_only else _is_within(host, cookie.host)
    in_path = path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/")
    return in_host and in_path and (_is_https(url) or not cookie.secure)


def _may_cross(cookie: Cookie, *, method: str, now: datetime) -> bool:
    """Whether a cookie goes along with a top-level navigation that another site began (RFC 6265bis, 5.8.3)."""
    if cookie.same_site in ("none", "strict"):
        return cookie.same_site == "none"
    is_fresh = cookie.same_site is None and now - cookie.created <= LAX_ALLOWS_POST
    return method in _SAFE_METHODS or is_fresh


def _is_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _is_https(url: str) -> bool:
    return url.startswith("https:")
