"""Where a sign-in may lead: paths of this app and nothing else."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samljit.views.paths import HOME, LONGEST, local_path
from tests.host import LOGIN, ORIGIN, Host

KEPT = [
    "/",
    "/reports/7",
    "/reports/7?page=2&sort=name",
    "/search?q=a%20b%26c",
    "/r\u00e9sum\u00e9/\u65e5\u672c",
    "/a?back=https://elsewhere.example/",
    "/a:b",
    "/@somebody",
    "/samlish/page",
    "/saml/admin/contoso/mapping",
    "/contoso/login-help",
    "/.well-known/x",
    "/a..b/...?c=/../d",
    "/" + "a" * (LONGEST - 1),
]

HOSTILE = [
    "",
    "reports",
    "?next=1",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/a\\b",
    "/%5Cevil.example",
    "/%5cevil.example",
    "/%255Cevil.example",
    "/%2Fevil.example",
    "/%2f%2fevil.example",
    "/%252Fevil.example",
    "%2F%2Fevil.example",
    "https://evil.example",
    "https:evil.example",
    "HTTPS://evil.example/",
    "http:///evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " //evil.example",
    " /reports",
    "\t//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nSet-Cookie: a=b",
    "/%0d%0aSet-Cookie:%20a=b",
    "/%250d%250a",
    "/%09/evil.example",
    "/%00",
    "/\x00",
    "/\x7f",
    "/\u2028",
    "/\u202ereports",
    "/\u200b/evil.example",
    "/a\u0085b",
    "//[",
    "/" + "a" * LONGEST,
    "/" + "\u65e5" * (LONGEST // 2),
]

OWN_STEPS = [
    "/saml/contoso/login",
    "/saml/contoso/acs",
    "/saml/contoso/finish?n=1",
    "/saml/contoso/metadata",
    "/saml/contoso/login/",
    "/saml//contoso/login",
    "/saml/contoso/l%6Fgin",
    "/saml/logout",
    "/saml/login?email=a",
    "/saml/./logout",
    "/reports/../saml/logout?everywhere=1",
    "/saml/contoso/../logout",
    "/reports/%2e%2e/saml/logout",
    "/reports/.%2E/saml/contoso/login",
    "/reports/%252e%252e/saml/logout",
    "/saml/logout/.",
]


@pytest.mark.parametrize("path", KEPT)
def test_a_path_of_the_app_is_kept_as_it_is(path: str) -> None:
    assert local_path(path, url_prefix="/saml") == path


@pytest.mark.parametrize("path", [None, *HOSTILE, *OWN_STEPS], ids=repr)
def test_anything_else_leads_home(path: str | None) -> None:
    assert local_path(path, url_prefix="/saml") == HOME


@pytest.mark.parametrize("path", ["/", "/reports/7", "/contoso/reports", "/a/b/login"])
def test_with_no_prefix_the_apps_own_paths_are_still_the_apps(path: str) -> None:
    assert local_path(path, url_prefix="") == path


@pytest.mark.parametrize("path", ["/contoso/login", "/contoso/finish?n=1", "//contoso/login", "/logout"])
def test_with_no_prefix_the_steps_of_a_sign_in_are_still_none(path: str) -> None:
    assert local_path(path, url_prefix="") == HOME


@pytest.mark.parametrize("step", ["/saml/logout", "/saml/./logout", "/reports/../saml/logout", "/x/%2e%2e/saml/logout?everywhere=1"])
def test_no_link_to_the_login_signs_out_whom_it_signs_in(host: Host, step: str) -> None:
    """The last redirect of a sign-in comes from a page of ours: to /logout, it would look like the app's own button."""
    browser = host.browser()
    host.sign_in(browser=browser, login_url=f"{LOGIN}?next={quote(step)}")
    assert browser.get(f"{ORIGIN}/").text == "user 1"


PIECES = st.sampled_from(
    ["/", "//", "\\", "%2f", "%5c", "%25", ":", "@", "evil.example", "http:", "\t", "\n", "a", "?", "#", "..", ";", "%0d"]
)


@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=40))
def test_whatever_is_given_the_browser_stays_in_the_app(text: str) -> None:
    path = local_path(text, url_prefix="/saml")
    for form in (path, quote(path, safe="/?%#:;@&=+$,!~*'()[]"), path.replace("\\", "/")):
        parts = urlsplit(urljoin(f"{ORIGIN}/saml/contoso/finish", form))
        assert (parts.scheme, parts.netloc) == ("https", "app.example.com")


@pytest.mark.parametrize("path", ["/reports/7", "/reports/7?a=b%26c"])
def test_the_page_that_was_wanted_is_reached_through_the_whole_sign_in(host: Host, path: str) -> None:
    page = host.sign_in(login_url=f"{LOGIN}?next={quote(path, safe='')}")
    assert (page.status, page.url) == (200, ORIGIN + path)


@pytest.mark.parametrize("path", HOSTILE + OWN_STEPS, ids=repr)
def test_a_hostile_next_leads_home_through_the_whole_sign_in(host: Host, path: str) -> None:
    page = host.sign_in(login_url=f"{LOGIN}?next={quote(path, safe='')}")
    assert (page.status, page.url, page.history[-1].url) == (200, f"{ORIGIN}/", f"{ORIGIN}/")


def test_the_longest_path_of_any_script_fits_into_its_cookie(host: Host) -> None:
    text = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range((LONGEST - 1) // 3))
    browser = host.browser()
    page = host.sign_in(browser=browser, login_url=f"{LOGIN}?next={quote('/' + text, safe='')}")
    assert (page.url, browser.jar.refused) == (ORIGIN + "/" + quote(text), [])

