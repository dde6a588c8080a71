"""Where to go after the sign-in: a path of this app, or home (trust: 39, 40)."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

HOME = "/"
LONGEST = 1000  # characters; the path travels in a cookie


def local_path(text: str | None, *, url_prefix: str) -> str:
    """`text` where it is a plain path of this app, else home.

    A path starts with one "/", and neither as written nor percent-decoded (twice, as proxies do) names a scheme or host, holds a
    backslash, which browsers read as a slash, or a control character. Our own sign-in pages are no place to come back to.
    """
    if not text or len(text) > LONGEST:
        return HOME
    forms = [text, unquote(text), unquote(unquote(text))]
    if not all(_is_plain(form) for form in forms):
        return HOME
    own = url_prefix + "/"
    if any(urlsplit(form).path.startswith(own) for form in forms):
        return HOME
    return text


def _is_plain(text: str) -> bool:
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
