"""Where to go after the sign-in: a path of this app, or home (trust: 39, 40)."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

HOME = "/"
LONGEST = 1000  # bytes in UTF-8; the path travels in a cookie
_DOTS = frozenset({".", ".."})
# of ours, what only works in the course of a sign-in; the admin pages are as good a place to come back to as any
_STEP = re.compile(r"/+[^/]+/+(metadata|login|acs|finish|sls)/*|/+(login|logout)/*")


def local_path(text: str | None, *, url_prefix: str) -> str:
    """`text` where it is a plain path of this app, else home.

    A path starts with one "/", and neither as written nor percent-decoded (twice, as proxies do) names a scheme or host, holds a
    backslash, which browsers read as a slash, a control character, or a segment "." or "..", which browsers take out (URL Standard
    4.4): what they ask for in the end would be another path than was looked at here. The steps of a sign-in are no place to come back to.
    """
    if not text or len(text.encode()) > LONGEST:
        return HOME
    forms = [text, unquote(text), unquote(unquote(text))]
    if not all(_is_plain(form) for form in forms):
        return HOME
    return HOME if any(_is_step(urlsplit(form).path, url_prefix) for form in forms) else text


def _is_step(path: str, url_prefix: str) -> bool:
    return path.startswith(url_prefix) and _STEP.fullmatch(path.removeprefix(url_prefix)) is not None


def _is_plain(text: str) -> bool:
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc and _DOTS.isdisjoint(parts.path.split("/"))
