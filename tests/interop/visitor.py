"""Somebody at a browser, before an app of this process and an IdP of the network."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from samljit.testing import Browser, Form, Page
from tests.interop.idp import Idp

_MOST_PAGES = 12
_SECONDS = 30
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host"})


def elsewhere(address: str) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """A WSGI app that hands every request on to the server at this address, and its answer back."""
    parts = urlsplit(address)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        target = quote(environ["PATH_INFO"].encode("latin-1")) + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else "")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
        try:
            connection.request(environ["REQUEST_METHOD"], target, body or None, {**headers, "Connection": "close"})
            answered = connection.getresponse()
            content = answered.read()
        finally:
            connection.close()
        kept = [(name, value) for name, value in answered.getheaders() if name.lower() not in _HOP_BY_HOP]
        start_response(f"{answered.status} {answered.reason}", kept)
        return [content]

    return app


@dataclass
class Visitor:
    """One person with a browser. They type their password where the IdP asks for it, `asked` times so far; `posted` are the forms with
    SAML messages that the IdP's pages have sent by themselves. With `tamper` the last of them is changed before it leaves."""

    browser: Browser
    name: str
    asked: int = 0
    posted: list[Form] = field(default_factory=list)
    tamper: Callable[[Form], Form] = lambda form: form

    def open(self, url: str) -> Page:
        self.browser.get(url)
        return self.go_on()

    def press(self, form: Form) -> Page:
        self.browser.submit(form)
        return self.go_on()

    def go_on(self) -> Page:
        """Where the page on show leads, by what it does itself and by the password."""
        for _ in range(_MOST_PAGES):
            page = self.browser.page
            saml = next((form for form in page.forms if form.value("SAMLResponse") or form.value("SAMLRequest")), None)
            login = next((form for form in page.forms if form.value("username") is not None), None)
            if saml is not None:
                self.posted.append(self.tamper(saml))
                self.browser.submit(self.posted[-1], by_script=True)
            elif login is not None:
                self.asked += 1
                self.browser.submit(login, {"username": self.name, "password": f"{self.name}-pw"})
            else:
                return page
        raise AssertionError(f"no end to it: {self.browser.page.url}")


def visitor(apps: Mapping[str, Any], idp: Idp, *, name: str) -> Visitor:
    return Visitor(Browser({**apps, idp.base: elsewhere(idp.base)}), name)
