"""Single logout with SimpleSAMLphp, over HTTP: begun here and begun there, in the window and in a frame."""

from __future__ import annotations

import base64
import html
import logging
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from samljit.testing import Browser, Page
from tests.interop.app import GENERIC, ORIGIN, X500, Connect, Connected
from tests.interop.idp import Idp
from tests.interop.visitor import Visitor, elsewhere

SECOND = "http://127.0.0.2:5000"  # a host of its own, with cookies of its own
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"


def generic(idp: Idp, connect: Connect, *, origin: str = ORIGIN, ends_sessions: bool = True, **tenant: Any) -> Connected:
    idp.set_up(remote=X500)
    return connect(origin=origin, tenant={**GENERIC, **tenant}, ends_sessions=ends_sessions)


def asks_again(app: Connected, person: Visitor) -> bool:
    """Whether the IdP wants the password when they come back."""
    before = person.asked
    app.signed_in(person)
    return person.asked > before


def status_of(url: str) -> str:
    """The StatusCode of the LogoutResponse in an address."""
    xml = zlib.decompress(base64.b64decode(parse_qs(urlsplit(url).query)["SAMLResponse"][0]), -15)
    return re.search(rb'<[\w:]*StatusCode Value="([^"]+)"', xml)[1].decode()  # type: ignore[index]


# --- begun here -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("preset", ["entra", "generic"])
def test_signing_out_here_signs_out_of_the_idp_too(
    idp: Idp, connect: Connect, caplog: pytest.LogCaptureFixture, preset: str, signs: bool
) -> None:
    tenant = GENERIC if preset == "generic" else {}
    app = connect(tenant={**tenant, "sign_requests": signs})
    idp.set_up({"redirect.validate": signs}, remote=X500 if tenant else {})
    alice = app.signed_in()
    assert not asks_again(app, alice)
    with caplog.at_level(logging.INFO, "samljit"):
        page = app.sign_out(alice)
    assert (page.title, app.who(alice), page.url.partition("?")[0]) == ("You are signed out", "nobody", f"{app.place}/sls")
    assert "logout answered: tenant=contoso success=True signed=True" in caplog.messages
    assert asks_again(app, alice)


def test_where_the_idp_will_not_have_our_request_people_are_signed_out_here_all_the_same(idp: Idp, connect: Connect) -> None:
    app = connect()
    alice = app.signed_in()
    idp.set_up({"redirect.validate": True})
    page = app.sign_out(alice)
    assert (page.url.partition("?")[0], app.who(alice)) == (idp.url("SingleLogoutService"), "nobody")
    idp.set_up()
    assert not asks_again(app, alice)


def test_signing_out_here_takes_the_other_apps_along(idp: Idp, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    app, other = generic(idp, connect), generic(idp, connect, origin=SECOND)
    alice = app.visitor(others=[other])
    app.signed_in(alice)
    other.signed_in(alice)
    assert alice.asked == 1
    with caplog.at_level(logging.INFO, "samljit"):
        page = app.sign_out(alice)
    assert (page.title, page.url.partition("?")[0]) == ("You are signed out", f"{app.place}/sls")
    assert (app.who(alice), other.who(alice)) == ("nobody", "nobody")
    assert "logout answered: tenant=contoso success=True signed=True" in caplog.messages


# --- begun there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends_sessions", [True, False])
def test_signing_out_of_the_idp_signs_out_here_and_the_idp_hears_of_it(idp: Idp, connect: Connect, ends_sessions: bool) -> None:
    app = generic(idp, connect, ends_sessions=ends_sessions)
    alice = app.signed_in()
    page = alice.open(idp.url("initSLO", RelayState=f"{ORIGIN}/?after"))
    assert (page.url, page.text, app.who(alice)) == (f"{ORIGIN}/?after", "nobody", "nobody")
    assert asks_again(app, alice)


def test_entra_is_given_no_answer_as_it_takes_none(idp: Idp, connect: Connect) -> None:
    app = connect()
    alice = app.signed_in()
    page = alice.open(idp.url("initSLO", RelayState=f"{ORIGIN}/?after"))
    assert (page.title, page.url.partition("?")[0], app.who(alice)) == ("You are signed out", f"{app.place}/sls", "nobody")


def test_only_the_session_that_has_ended_there_ends_here(idp: Idp, connect: Connect) -> None:
    app = generic(idp, connect)
    at_work, at_home = app.signed_in(), app.signed_in()
    at_work.open(idp.url("initSLO", RelayState=f"{ORIGIN}/"))
    assert (app.who(at_work), app.who(at_home)) == ("nobody", "user 1")


def test_somebody_else_who_is_signed_in_here_by_now_stays_so(idp: Idp, connect: Connect) -> None:
    app = generic(idp, connect)
    alice = app.signed_in()
    request = logout_request(alice, idp)
    bob = app.signed_in("bob")
    carried(bob, request, idp)
    assert (app.who(bob), app.who(alice)) == ("user 2", "nobody")


# --- in a frame -------------------------------------------------------------------------------------------------------


def frame_of(alice: Visitor, idp: Idp) -> str:
    """The address in the frame of the IdP's page that signs out of everything."""
    page = alice.open(idp.url("initSLO", RelayState=f"{ORIGIN}/?after"))
    [choice] = [form for form in page.forms if form.value("type") is not None]
    page = alice.browser.submit(choice, {"type": "js"})
    return html.unescape(re.search(r'<iframe[^>]* src="([^"]+)"', page.text)[1])  # type: ignore[index]


def load_frame(app: Connected, url: str) -> Any:
    """What a frame on another site's page gets: no cookie of ours goes along."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    parts = urlsplit(url)
    return app.host.app.test_client().get(f"{parts.path}?{parts.query}", base_url=app.origin, headers=headers)


@pytest.mark.parametrize(
    ("ends_sessions", "status", "told", "after"),
    [
        pytest.param(True, SUCCESS, "logoutCompleted", "nobody", id="ended"),
        pytest.param(False, RESPONDER, "logoutFailed", "user 1", id="not-looked-for"),
    ],
)
def test_a_frame_without_cookies_ends_the_session_in_the_database_and_says_honestly_what_that_is_worth(
    idp: Idp, connect: Connect, ends_sessions: bool, status: str, told: str, after: str
) -> None:
    app = generic(idp, connect, ends_sessions=ends_sessions)
    idp.set_up({"logouttype": "iframe"}, remote=X500)
    alice = app.signed_in()
    answered = load_frame(app, frame_of(alice, idp))
    assert (answered.status_code, status_of(answered.location)) == (303, status)
    page = alice.browser.new_tab().get(answered.location)
    assert f"window.parent.{told}(" in page.text
    assert app.who(alice) == after


# --- what somebody else made of it ------------------------------------------------------------------------------------


def logout_request(alice: Visitor, idp: Idp) -> str:
    """The address with the IdP's LogoutRequest, which has reached nobody yet."""
    blind = Browser({idp.base: elsewhere(idp.base)})
    blind.jar = alice.browser.jar
    page = blind.get(idp.url("initSLO", RelayState=f"{ORIGIN}/"))
    assert page.is_outside
    assert "SAMLRequest=" in page.url
    return page.url


def carried(person: Visitor, url: str, idp: Idp) -> Page:
    """What becomes of it where the IdP's page leads their browser there."""
    person.browser.get(f"{idp.base}/")
    return person.browser.click(url)


def with_xml(url: str, old: bytes, new: bytes) -> str:
    packed = parse_qs(urlsplit(url).query)["SAMLRequest"][0]
    xml = zlib.decompress(base64.b64decode(packed), -15)
    assert old in xml
    packer = zlib.compressobj(wbits=-15)
    changed = base64.b64encode(packer.compress(xml.replace(old, new, 1)) + packer.flush()).decode()
    return re.sub(r"SAMLRequest=[^&]+", lambda _: f"SAMLRequest={quote(changed, safe='')}", url)


def without(url: str, *names: str) -> str:
    return re.sub(rf"&(?:{'|'.join(names)})=[^&]*", "", url)


FORGED: dict[str, tuple[Callable[[str, str], str], str]] = {
    "another-session": (lambda url, index: with_xml(url, index.encode(), b"_another"), "signature_invalid"),
    "somebody-else": (lambda url, _: with_xml(url, b"</saml:NameID>", b"x</saml:NameID>"), "signature_invalid"),
    "another-relay-state": (lambda url, _: re.sub(r"RelayState=[^&]+", "RelayState=elsewhere", url), "signature_invalid"),
    "no-relay-state": (lambda url, _: without(url, "RelayState"), "signature_invalid"),
    "half-a-signature": (lambda url, _: without(url, "SigAlg"), "logout_malformed"),
}


@pytest.mark.parametrize(("change", "reason"), [pytest.param(*given, id=name) for name, given in FORGED.items()])
def test_a_logout_request_that_has_been_tampered_with_ends_nothing(
    idp: Idp, connect: Connect, caplog: pytest.LogCaptureFixture, change: Callable[[str, str], str], reason: str
) -> None:
    app = generic(idp, connect)
    alice = app.signed_in()
    request = logout_request(alice, idp)
    assert carried(alice, change(request, str(app.host.rows("samljit_session")[0].session_index)), idp).status in (400, 403)
    assert f"logout message refused: {reason} tenant=contoso" in caplog.text
    assert (app.who(alice), app.host.rows("samljit_session")[0].ended_at) == ("user 1", None)
    carried(alice, request, idp)
    assert app.who(alice) == "nobody"


def test_a_logout_request_to_another_app_ends_nothing_here(idp: Idp, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    app, other = generic(idp, connect), generic(idp, connect, origin=SECOND)
    alice = app.visitor(others=[other])
    app.signed_in(alice)
    other.signed_in(alice)
    request = logout_request(alice, idp)  # the IdP begins with the last one
    assert request.startswith(f"{other.place}/sls?")
    assert carried(alice, request.replace(SECOND, ORIGIN, 1), idp).status == 403
    assert "logout message refused: destination_mismatch tenant=contoso" in caplog.text
    assert (app.who(alice), other.who(alice)) == ("user 1", "user 1")


def test_without_its_signature_it_ends_the_session_of_the_browser_that_carries_it_and_no_other(idp: Idp, connect: Connect) -> None:
    app = generic(idp, connect)
    alice, bob = app.signed_in(), app.signed_in("bob")
    unsigned = without(logout_request(alice, idp), "SigAlg", "Signature")
    load_frame(app, unsigned)
    assert (app.who(bob), app.who(alice)) == ("user 2", "user 1")
    asked, _ = carried(bob, unsigned, idp), carried(alice, unsigned, idp)
    assert (asked.title, app.who(bob), app.who(alice)) == ("Sign out?", "user 2", "nobody")


def test_it_is_good_once(idp: Idp, connect: Connect) -> None:
    app = generic(idp, connect)
    alice = app.signed_in()
    request = logout_request(alice, idp)
    assert [load_frame(app, request).status_code for _ in range(2)] == [303, 403]
