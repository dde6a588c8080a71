"""A browser for tests of sign-in: it calls WSGI apps, and withholds cookies from them as browsers do.

Flask's test client sends every cookie with every request. Chromium sends a site's Lax and Strict cookies not along with the POST
that another site's page makes, which is how every SAML response arrives, and Strict ones not along with redirects after it.

    browser = Browser({"https://app.example.com": app, "https://login.example.net": idp})
    page = browser.get("https://app.example.com/reports")
    page = browser.submit(page.forms[0], {"answer": "yes"})
    assert page.history[-1].cookies["session"]

Every request is a top-level navigation; there are no scripts, frames or sub-resources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit, urlunsplit

import lxml.html
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.test import EnvironBuilder, encode_multipart, run_wsgi_app

from samljit.testing.cookies import CookieJar

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MOST_HOPS: Final = 20
OUTSIDE: Final = 0  # the status of a page at an origin without an app
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORM_TYPE = "application/x-www-form-urlencoded"
_SAML_FIELDS = frozenset({"SAMLResponse", "SAMLRequest"})
_REFRESH = re.compile(r"""\s*0*(?:\.\d*)?\s*[;,]\s*(?:url\s*=\s*)?(['"]?)(?P<url>.+?)\1\s*""", re.IGNORECASE)


class TooManyHops(RuntimeError):
    """More redirects and refreshes in a row than a browser follows."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One request and the status it was answered with. `cookies` and `headers` are what the browser sent."""

    method: str
    url: str
    status: int
    cookies: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A link on a page, its address absolute."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Form:
    """A form with the values it is filled with; submit buttons are none of them. `action` is absolute."""

    action: str
    method: str = "POST"
    fields: tuple[tuple[str, str], ...] = ()
    id: str | None = None

    def value(self, name: str) -> str | None:
        """The first value of this field, or None."""
        return next((value for key, value in self.fields if key == name), None)

    def filled(self, values: Mapping[str, str]) -> Form:
        """The form with these values instead of, or besides, its own."""
        kept = tuple(pair for pair in self.fields if pair[0] not in values)
        return replace(self, fields=kept + tuple(values.items()))


@dataclass(frozen=True)
class Page:
    """What the browser shows. `history` are the hops that led here, redirects and refreshes included, the last one last.

    At an origin without an app `status` is 0 and the page is empty: only its `url` says where the app sent the browser.
    """

    url: str
    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    history: tuple[Hop, ...] = field(repr=False)

    @property
    def is_outside(self) -> bool:
        return self.status == OUTSIDE

    @cached_property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @cached_property
    def title(self) -> str:
        return "" if self._html is None else (self._html.findtext(".//title") or "").strip()

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        return () if self._html is None else tuple(_form(form, self.url) for form in self._html.forms)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        anchors = () if self._html is None else self._html.iterfind(".//a[@href]")
        return tuple(Link(" ".join(a.text_content().split()), urljoin(self.url, a.get("href"))) for a in anchors)

    @cached_property
    def refresh_url(self) -> str | None:
        """Where the page sends the browser on by itself without delay, or None."""
        metas = () if self._html is None else self._html.iterfind(".//meta[@http-equiv]")
        wanted = [meta.get("content", "") for meta in metas if meta.get("http-equiv").lower() == "refresh"]
        match = _REFRESH.fullmatch(self.headers.get("Refresh") or next(iter(wanted), ""))
        return urljoin(self.url, match["url"]) if match else None

    @cached_property
    def _html(self) -> Any:
        is_html = self.headers.get("Content-Type", "").startswith("text/html")
        if not is_html or not self.body.strip():
            return None
        return lxml.html.document_fromstring(self.body, parser=lxml.html.HTMLParser(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class _Navigation:
    """A request about to be made. `initiator` is the URL of the page that asks for it: None when a person typed the address.

    `chain` are the URLs that redirected here.
    """

    method: str
    url: str
    body: bytes = field(default=b"", repr=False)
    initiator: str | None = None
    by_user: bool = True
    referrer_policy: str = ""
    chain: tuple[str, ...] = ()
    content_type: str = _FORM_TYPE


class Browser:
    """One tab of a browser for the given apps, `{origin: WSGI app}`. Cookies are shared with the tabs made by `new_tab`.

    It stops at origins it has no app for. `now` is the browser's clock, aware. Without `follows_refresh` a page that sends the
    browser on by itself stays on show until `follow_refresh()`.
    """

    def __init__(
        self, apps: Mapping[str, WSGIApplication], *, now: Callable[[], datetime] | None = None, follows_refresh: bool = True
    ) -> None:
        self._apps = {origin_of(origin): app for origin, app in apps.items()}
        self._now = now or (lambda: datetime.now(UTC))
        self._follows_refresh = follows_refresh
        self._entries: list[tuple[_Navigation, Page]] = []
        self.jar = CookieJar()

    @property
    def page(self) -> Page:
        """The page on show. Raises: LookupError before the first one."""
        return self._entry[1]

    def get(self, url: str) -> Page:
        """The page at an address that a person typed: no other site has a hand in it, so every cookie goes along."""
        return self._go(_Navigation("GET", url))

    def click(self, target: str) -> Page:
        """Follows the link of this text on the page on show, or a link to this address, relative or absolute."""
        href = next((link.href for link in self.page.links if link.text == target), urljoin(self.page.url, target))
        return self._go(self._from_page("GET", href))

    def submit(
        self,
        form: Form,
        values: Mapping[str, str] | None = None,
        *,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        by_script: bool = False,
    ) -> Page:
        """Submits a form from the page on show, filled with `values` first; a button that was pressed is one of them.

        `files` are those chosen to be uploaded, by field: a name and the content. `by_script`: the page does so itself while it loads.
        Nobody clicked, and there is no going back to that page.
        """
        navigation = replace(self._submission(form.filled(values or {})), by_user=not by_script)
        if files:
            filled = form.filled(values or {}).fields
            content_type, body = _multipart([pair for pair in filled if pair[0] not in files], files)
            navigation = replace(navigation, body=body, content_type=content_type)
        return self._go(navigation, replaces=by_script)

    def submit_saml_form(self) -> Page:
        """Submits the form that carries a SAML message, as the script on an IdP's page does.

        Raises: LookupError where the page has no such form.
        """
        for form in self.page.forms:
            if _SAML_FIELDS & {name for name, _ in form.fields}:
                return self.submit(form, by_script=True)
        raise LookupError(f"No form with a SAML message on {self.page.url} (status {self.page.status}).")

    def follow_refresh(self) -> Page:
        """Goes where the page on show sends the browser by itself. Raises: LookupError where it does not."""
        if self.page.refresh_url is None:
            raise LookupError(f"No immediate refresh on {self.page.url} (status {self.page.status}).")
        return self._go(self._refresh(self.page), replaces=True)

    def reload(self) -> Page:
        """The page on show, requested again: a POST with the same form, and from the site that it first came from."""
        return self._go(replace(self._entry[0], by_user=True), replaces=True)

    def back(self) -> Page:
        """The page before, from memory; one that said `no-store` is requested again, a POST with the same form.

        A page that sent the browser on by itself is not gone back to. Raises: LookupError where there is none before.
        """
        if len(self._entries) < 2:
            raise LookupError("No page to go back to.")
        self._entries.pop()
        return self.reload() if "no-store" in self.page.headers.get("Cache-Control", "") else self.page

    def new_tab(self) -> Browser:
        """Another tab: no page yet, the same apps, clock and cookies."""
        tab = Browser(self._apps, now=self._now, follows_refresh=self._follows_refresh)
        tab.jar = self.jar
        return tab

    def clear_cookies(self) -> None:
        self.jar.clear()

    @property
    def _entry(self) -> tuple[_Navigation, Page]:
        if not self._entries:
            raise LookupError("The browser shows no page yet.")
        return self._entries[-1]

    def _submission(self, form: Form) -> _Navigation:
        encoded = urlencode(form.fields)
        if form.method.upper() == "GET":
            return self._from_page("GET", urlunsplit(urlsplit(form.action)._replace(query=encoded)))
        return self._from_page("POST", form.action, body=encoded.encode())

    def _from_page(self, method: str, url: str, *, body: bytes = b"") -> _Navigation:
        return _Navigation(method, url, body, initiator=self.page.url, referrer_policy=_referrer_policy(self.page))

    def _refresh(self, page: Page) -> _Navigation:
        """The page itself asks for this, so that to its own origin it is a same-origin request, wherever the page came from."""
        return _Navigation(
            "GET", page.refresh_url or "", initiator=page.url, by_user=False, referrer_policy=_referrer_policy(page)
        )

    def _go(self, navigation: _Navigation, *, replaces: bool = False) -> Page:
        hops: list[Hop] = []
        last, page = self._load(navigation, hops)
        while self._follows_refresh and page.refresh_url:
            last, page = self._load(self._refresh(page), hops)
        if replaces and self._entries:
            self._entries.pop()
        self._entries.append((last, page))
        return page

    def _load(self, navigation: _Navigation, hops: list[Hop]) -> tuple[_Navigation, Page]:
        """The page behind any redirects, and the request that gave it."""
        while True:
            if len(hops) >= MOST_HOPS:
                raise TooManyHops(" -> ".join(hop.url for hop in hops))
            navigation = replace(navigation, url=urldefrag(navigation.url).url)
            page = self._request(navigation, hops)
            location = page.headers.get("Location")
            if page.status not in _REDIRECTS or location is None:
                return navigation, page
            navigation = _redirected(navigation, page)

    def _request(self, navigation: _Navigation, hops: list[Hop]) -> Page:
        url = navigation.url
        app = self._apps.get(origin_of(url))
        if app is None:
            hops.append(Hop(navigation.method, url, OUTSIDE, {}, {}))
            return Page(url, OUTSIDE, Headers(), b"", tuple(hops))
        now = self._now()
        is_cross_site = navigation.initiator is not None and site_of(navigation.initiator) != site_of(url)
        cookies = self.jar.select(url=url, method=navigation.method, is_cross_site=is_cross_site, now=now)
        headers = _headers(navigation)
        if cookies:
            headers["Cookie"] = "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)
        status, answered, body = _call(app, navigation, headers)
        for header in answered.getlist("Set-Cookie"):
            self.jar.store(header, url=url, now=now)
        hops.append(Hop(navigation.method, url, status, {cookie.name: cookie.value for cookie in cookies}, headers))
        return Page(url, status, answered, body, tuple(hops))


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def site_of(url: str) -> tuple[str, str]:
    """Scheme and registrable domain, taken to be the last two labels; an IP address or a single label is a site of its own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme, host if _is_ip(host) else ".".join(host.split(".")[-2:])


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_trustworthy(url: str) -> bool:
    """Whether Chromium sends Sec-Fetch-* there: https, or http on loopback (W3C Secure Contexts, 3.1)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_loopback = host == "localhost" or host.endswith(".localhost") or (_is_ip(host) and ip_address(host).is_loopback)
    return parts.scheme == "https" or is_loopback


def _referrer_policy(page: Page) -> str:
    """The policy the page asks for; of several, the last one counts, older browsers' fallbacks come first."""
    return page.headers.get("Referrer-Policy", "").rpartition(",")[2].strip().lower()


def _redirected(navigation: _Navigation, page: Page) -> _Navigation:
    """The next request of a redirect. Who began the chain began this too: a redirect does not make a request same-site."""
    becomes_get = page.status == 303 or (page.status in (301, 302) and navigation.method == "POST")
    return replace(
        navigation,
        url=urljoin(navigation.url, page.headers["Location"]),
        method="GET" if becomes_get else navigation.method,
        body=b"" if becomes_get else navigation.body,
        referrer_policy=_referrer_policy(page) or navigation.referrer_policy,
        chain=(*navigation.chain, navigation.url),
    )


def _call(app: WSGIApplication, navigation: _Navigation, headers: Mapping[str, str]) -> tuple[int, Headers, bytes]:
    parts = urlsplit(navigation.url)
    builder = EnvironBuilder(
        path=parts.path or "/",
        base_url=origin_of(navigation.url),
        query_string=parts.query,
        method=navigation.method,
        headers=Headers(list(headers.items())),
        input_stream=BytesIO(navigation.body) if navigation.method == "POST" else None,
        content_type=navigation.content_type if navigation.method == "POST" else None,
        content_length=len(navigation.body) if navigation.method == "POST" else None,
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
    )
    try:
        chunks, status, answered = run_wsgi_app(app, builder.get_environ(), buffered=True)
    finally:
        builder.close()
    return int(status.split()[0]), answered, b"".join(chunks)


def _multipart(fields: Sequence[tuple[str, str]], files: Mapping[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """Content type and body of a form that uploads files."""
    data = MultiDict[str, Any](fields)
    for name, (file_name, content) in files.items():
        data.add(name, FileStorage(BytesIO(content), filename=file_name, content_type="application/octet-stream"))
    boundary, body = encode_multipart(data)
    return f'multipart/form-data; boundary="{boundary}"', body


def _headers(navigation: _Navigation) -> dict[str, str]:
    """The headers of a navigation in Chromium, as far as apps look at them."""
    headers = {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-US,en;q=0.9",
        "Upgrade-Insecure-Requests": "1",
    }
    if _is_trustworthy(navigation.url):
        headers |= {"Sec-Fetch-Site": _fetch_site(navigation), "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        if navigation.by_user:
            headers["Sec-Fetch-User"] = "?1"
    referer = _referer(navigation)
    if referer:
        headers["Referer"] = referer
    if navigation.method == "POST":
        headers["Origin"] = _origin_header(navigation)
    return headers


def _fetch_site(navigation: _Navigation) -> str:
    """The furthest that the request or any redirect before it went from where it began (Fetch Metadata, 2.4)."""
    if navigation.initiator is None:
        return "none"
    urls = (*navigation.chain, navigation.url)
    if all(origin_of(url) == origin_of(navigation.initiator) for url in urls):
        return "same-origin"
    return "same-site" if all(site_of(url) == site_of(navigation.initiator) for url in urls) else "cross-site"


def _referer(navigation: _Navigation) -> str | None:
    """The Referer under the page's Referrer-Policy (W3C Referrer Policy, 8.3)."""
    if navigation.initiator is None:
        return None
    whole = navigation.initiator
    origin = f"{origin_of(whole)}/"
    # What a redirect through another origin has cut the Referer to, it stays.
    is_same_origin = all(origin_of(whole) == origin_of(url) for url in (*navigation.chain, navigation.url))
    is_downgrade = whole.startswith("https:") and not _is_trustworthy(navigation.url)
    allowed = {
        "no-referrer": None,
        "unsafe-url": whole,
        "origin": origin,
        "same-origin": whole if is_same_origin else None,
        "strict-origin": None if is_downgrade else origin,
        "origin-when-cross-origin": whole if is_same_origin else origin,
        "no-referrer-when-downgrade": None if is_downgrade else whole,
    }
    usual = None if is_downgrade else whole if is_same_origin else origin  # strict-origin-when-cross-origin
    return allowed.get(navigation.referrer_policy, usual)


def _origin_header(navigation: _Navigation) -> str:
    """`null` where the Referrer-Policy hides the page, and once a redirect has led through another origin (Fetch, 3.2)."""
    if navigation.initiator is None:
        return "null"
    policy, own = navigation.referrer_policy, origin_of(navigation.initiator)
    is_hidden = policy == "no-referrer" or (policy == "same-origin" and own != origin_of(navigation.url))
    is_tainted = any(origin_of(url) not in (own, origin_of(navigation.url)) for url in navigation.chain)
    return "null" if is_hidden or is_tainted else own


def _form(form: Any, page_url: str) -> Form:
    for area in form.iter("textarea"):  # HTML, 13.1.2: a line break right behind the tag is none of the text
        area.text = re.sub(r"\A\r?\n", "", area.text or "")
    fields = tuple((name, value) for name, value in form.form_values())
    return Form(urljoin(page_url, form.get("action") or page_url), form.method, fields, form.get("id"))
