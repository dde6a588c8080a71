"""Signing out: of this app, always; of the IdP where asked; and what the IdP has to say about it."""

from __future__ import annotations

import base64
import re
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from flask import redirect, session
from flask_login import login_user
from flask_wtf.csrf import CSRFProtect
from itsdangerous import URLSafeTimedSerializer
from lxml import etree

from samljit.model import RequireSignature
from samljit.saml.certificates import public_key, read_certificates
from samljit.saml.redirected import read_query, verify_redirected
from samljit.saml.signature import Trust, TrustedKey
from samljit.testing import Browser, FakeEntra, Form, Page, signing_key
from samljit.testing.messages import REQUESTER
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, ENTITY_ID, LOGIN, ORIGIN, Host, key_files, settings_for

LOGOUT = f"{ORIGIN}/saml/logout"
PARTIAL_LOGOUT = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"
SLS = f"{ORIGIN}/saml/contoso/sls"
ELSEWHERE = "https://elsewhere.example.net"


def who(browser: Browser) -> str:
    return browser.get(f"{ORIGIN}/").text


def signed_in(host: Host, **changes: Any) -> Browser:
    browser = host.browser()
    page = host.sign_in(browser=browser, **changes)
    assert page.text == "user 1", page.text
    return browser


def with_password(host: Host) -> None:
    """A host that lets people in by its own form too, and remembers them."""

    @host.app.get("/password/<int:number>")
    def password(number: int) -> Any:
        session["cart"] = "full"
        login_user(host.session.get(host.user_model, number), remember=True)
        return redirect("/")

    @host.app.get("/cart")
    def cart() -> str:
        return str(session.get("cart"))


def from_elsewhere(browser: Browser) -> None:
    """Another site's page is on show: what it leads to is cross-site."""
    browser._apps[ELSEWHERE] = lambda environ, start: (start("200 OK", [("Content-Type", "text/html")]), [b"<p>elsewhere</p>"])[1]
    browser.get(f"{ELSEWHERE}/")


def led(browser: Browser, url: str) -> Page:
    """Another site's page leads to this address, as the IdP's does."""
    from_elsewhere(browser)
    return browser.click(url)


def ask_everywhere(browser: Browser) -> Page:
    """A button of the app's own page that signs out of the IdP too."""
    browser.get(f"{ORIGIN}/")
    return browser.submit(Form(LOGOUT, fields=(("everywhere", "1"),)))


# --- out of this app --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_the_app_signs_out_at_once(host: Host, method: str) -> None:
    browser = signed_in(host)
    page = browser.submit(Form(LOGOUT, method))
    assert (page.status, page.title, who(browser)) == (200, "You are signed out", "nobody")


def test_somebody_who_came_by_password_is_signed_out_too_with_all_of_their_session(mount: Mount) -> None:
    host = mount()
    with_password(host)
    host.sign_in()
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    assert (who(browser), browser.get(f"{ORIGIN}/cart").text) == ("user 1", "full")
    assert browser.submit(Form(LOGOUT)).title == "You are signed out"
    assert (who(browser), browser.get(f"{ORIGIN}/cart").text) == ("nobody", "None")
    assert not any(name == "remember_token" for name in browser.page.history[-1].cookies)


def test_somebody_who_is_only_remembered_is_signed_out(mount: Mount) -> None:
    host = mount()
    with_password(host)
    host.sign_in()
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    remembered = browser.jar.find("remember_token")
    assert remembered is not None
    browser.clear_cookies()
    browser.jar.store(f"remember_token={remembered.value}; Path=/", url=ORIGIN, now=datetime.now(UTC))
    browser.get(f"{ORIGIN}/saml/contoso/metadata")
    assert browser.submit(Form(LOGOUT)).title == "You are signed out"
    assert who(browser) == "nobody"


@pytest.mark.parametrize("same_site", ["Lax", "Strict", "None", None])
@pytest.mark.parametrize("arrive", ["typed", "link", "form"])
def test_whoever_was_led_here_from_elsewhere_is_asked_first(mount: Mount, arrive: str, same_site: str | None) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site, SESSION_COOKIE_SECURE=True))
    browser = signed_in(host)
    if arrive == "typed":
        page = browser.get(LOGOUT)
    else:
        from_elsewhere(browser)
        page = browser.click(LOGOUT) if arrive == "link" else browser.submit(Form(LOGOUT))
    assert (page.title, who(browser.new_tab())) == ("Sign out?", "user 1")
    assert browser.submit(page.forms[0]).title == "You are signed out"
    assert who(browser) == "nobody"


# --- without the headers that a modern browser sends -------------------------------------------------------------------


def ask(host: Host, *, method: str = "GET", headers: dict[str, str], form: dict[str, str] | None = None) -> str:
    """One request with the cookies of somebody who is signed in; gives what became of them."""
    browser = signed_in(host)
    client = host.app.test_client()
    for cookie in browser.jar.select(url=ORIGIN, method="GET", is_cross_site=False, now=datetime.now(UTC)):
        client.set_cookie(cookie.name, cookie.value, domain="app.example.com", secure=cookie.secure)
    answered = client.open("/saml/logout", method=method, headers=headers, data=form, base_url=ORIGIN)
    assert answered.status_code == 200
    return client.get("/", base_url=ORIGIN).get_data(as_text=True)


@pytest.mark.parametrize(
    ("method", "headers", "after"),
    [
        pytest.param("GET", {}, "user 1", id="get-that-says-nothing"),
        pytest.param("POST", {}, "user 1", id="post-that-says-nothing"),
        pytest.param("GET", {"Referer": f"{ORIGIN}/reports"}, "nobody", id="get-referer-ours"),
        pytest.param("GET", {"Referer": f"{ELSEWHERE}/"}, "user 1", id="get-referer-elsewhere"),
        pytest.param("GET", {"Referer": "https://app.example.com.evil.example/"}, "user 1", id="get-referer-longer"),
        pytest.param("GET", {"Referer": "http://app.example.com/"}, "user 1", id="get-referer-plain-http"),
        pytest.param("POST", {"Origin": ORIGIN}, "nobody", id="post-origin-ours"),
        pytest.param("POST", {"Origin": "null"}, "user 1", id="post-origin-null"),
        pytest.param("POST", {"Origin": "null", "Referer": f"{ORIGIN}/"}, "user 1", id="post-origin-before-referer"),
        pytest.param("POST", {"Origin": ELSEWHERE}, "user 1", id="post-origin-elsewhere"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN}, "user 1", id="post-sister-domain"),
        pytest.param("POST", {"Sec-Fetch-Site": "cross-site", "Referer": ORIGIN}, "user 1", id="post-cross-site"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, "nobody", id="post-by-script"),
        pytest.param("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, "nobody", id="get-link"),
        pytest.param("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, "user 1", id="get-image"),
        pytest.param("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, "user 1", id="get-typed"),
        pytest.param(
            "GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"}, "user 1", id="get-prefetch"
        ),
        pytest.param("HEAD", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, "user 1", id="head"),
    ],
)
def test_only_what_a_page_of_the_app_asks_for_is_done_unasked(host: Host, method: str, headers: dict[str, str], after: str) -> None:
    assert ask(host, method=method, headers=headers) == after


def test_a_token_of_another_person_or_another_use_is_no_answer(host: Host) -> None:
    other = host.browser()
    signed_in(host)
    assert host.sign_in(BIANCA, browser=other).text == "user 2"
    token = other.get(LOGOUT).forms[0].value("token")
    assert ask(host, method="POST", headers={}, form={"token": token or ""}) == "user 1"
    assert ask(host, method="POST", headers={}, form={"token": "garbage"}) == "user 1"
    own = signed_in(host).get(LOGOUT).forms[0].value("token")
    assert ask(host, method="POST", headers={}, form={"token": own or ""}) == "nobody"


def test_with_flask_wtf_its_own_token_is_asked_for_and_ours_stands_beside_it(mount: Mount) -> None:
    host = mount(configure=lambda app: CSRFProtect(app) and None)
    browser = signed_in(host)
    assert browser.submit(Form(LOGOUT)).status == 400
    page = browser.get(LOGOUT)
    assert browser.submit(page.forms[0]).title == "You are signed out"
    assert who(browser) == "nobody"


# --- whatever else is wrong -------------------------------------------------------------------------------------------


def test_signing_out_works_while_the_database_is_lost(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    host = mount()
    browser = signed_in(host)
    for table in ("samljit_attempt", "samljit_identity", "users"):
        with host.engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO lost_{table}")
    page = browser.submit(Form(LOGOUT))
    assert (page.status, page.title, who(browser)) == (200, "You are signed out", "nobody")
    assert "the session is cleared all the same" in caplog.text


def test_a_visit_by_nobody_says_so_and_sets_nothing(host: Host) -> None:
    page: Page = host.browser().get(LOGOUT)
    assert (page.status, page.title, page.forms, page.headers.get("Set-Cookie")) == (200, "You are signed out", (), None)
    assert page.headers["Cache-Control"] == "no-store"


def test_the_page_after_signing_out_leads_nobody_straight_back_in(host: Host) -> None:
    browser = signed_in(host)
    page = browser.submit(Form(LOGOUT))
    assert page.refresh_url is None
    assert [link.href for link in page.links] == [f"{ORIGIN}/"]
    assert not any(link.href.startswith(LOGIN) for link in page.links)
    assert ADELE.email not in page.text


# --- out of the IdP too -----------------------------------------------------------------------------------------------


def test_the_idp_is_told_whose_session_it_is_and_its_answer_is_passed_on(host: Host) -> None:
    browser = signed_in(host)
    page = ask_everywhere(browser)
    assert page.url.partition("?")[0] == host.entra.slo_url
    asked = host.entra.read_logout(page.url)
    [row] = host.rows("samljit_session")
    assert (asked.issuer, asked.destination) == (ENTITY_ID, host.entra.slo_url)
    assert (asked.name_id, asked.session_indexes, asked.is_signed) == (ADELE.upn, (row.session_index,), False)
    assert row.session_index.startswith("_")
    assert who(browser) == "nobody"  # before anything came back
    done = led(browser, host.entra.answer_logout(asked, logout_url=SLS, now=datetime.now(UTC)))
    assert (done.status, done.title) == (200, "You are signed out")
    assert "You are signed out at Microsoft too" in done.text
    assert (done.refresh_url, [link.href for link in done.links]) == (None, [f"{ORIGIN}/"])
    assert "SAMLResponse" not in done.url


def test_a_name_id_goes_back_as_it_came(host: Host) -> None:
    browser = host.browser()

    def qualify(root: Any) -> None:
        [name_id] = root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}NameID")
        name_id.attrib.update({"NameQualifier": "https://idp.example/", "SPNameQualifier": ENTITY_ID})

    host.sign_in(browser=browser, name_id="a<b>&amp;'\"", name_id_format="urn:x:y", session_index="<s>&1", before_signing=qualify)
    xml = inflated(ask_everywhere(browser).url)
    name_id = xml.find("{urn:oasis:names:tc:SAML:2.0:assertion}NameID")
    assert (name_id.text, dict(name_id.attrib)) == (
        "a<b>&amp;'\"",
        {"Format": "urn:x:y", "NameQualifier": "https://idp.example/", "SPNameQualifier": ENTITY_ID},
    )
    assert xml.findtext("{urn:oasis:names:tc:SAML:2.0:protocol}SessionIndex") == "<s>&1"
    assert (xml.get("Version"), xml.get("ID")[:2]) == ("2.0", "id")


def inflated(url: str) -> Any:
    packed = base64.b64decode(parse_qs(urlsplit(url).query)["SAMLRequest"][0], validate=True)
    return etree.fromstring(zlib.decompress(packed, -15))


def test_the_request_is_signed_where_the_tenants_requests_are(tmp_path: Path, mount: Mount) -> None:
    ours = signing_key("our own")
    host = mount(
        settings=settings_for(tmp_path, FakeEntra(), sp=key_files(tmp_path, now=ours), tenant={"sign_requests": True}),
    )
    url = ask_everywhere(signed_in(host)).url
    assert host.entra.read_logout(url).is_signed
    message = read_query(urlsplit(url).query.encode())
    [certificate] = read_certificates(ours.certificate_pem)
    trust = Trust([TrustedKey(certificate, public_key(certificate))], RequireSignature.RESPONSE, datetime.now(UTC), accept_expired=False)
    assert verify_redirected(message, trust)


def test_after_signing_out_here_the_page_offers_the_idp_too(host: Host) -> None:
    browser = signed_in(host)
    page = browser.submit(Form(LOGOUT))
    assert "You are still signed in at Microsoft" in page.text
    page = browser.submit(page.forms[0])
    assert host.entra.read_logout(page.url).name_id == ADELE.upn


def test_the_offer_is_good_for_ten_minutes(host: Host) -> None:
    browser = signed_in(host)
    form = browser.submit(Form(LOGOUT)).forms[0]
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11), tick=False):
        page = browser.submit(form)
    assert (page.status, page.url, "This app could not take you to" in page.text) == (200, LOGOUT, True)


def test_whoever_is_asked_first_can_choose_the_idp_too(host: Host) -> None:
    browser = signed_in(host)
    page = browser.get(LOGOUT)
    assert host.entra.read_logout(browser.submit(page.forms[0], {"everywhere": "1"}).url).name_id == ADELE.upn
    assert who(browser) == "nobody"


def test_who_came_by_password_or_from_an_idp_without_logout_is_told_the_truth(tmp_path: Path, mount: Mount) -> None:
    metadata = tmp_path / "metadata.xml"
    metadata.write_bytes(re.sub(rb"<SingleLogoutService[^>]*>", b"", FakeEntra().metadata()))
    host = mount(tenant={"idp": {"metadata_file": str(metadata)}})
    with_password(host)
    page = ask_everywhere(signed_in(host))
    assert (page.url, "This app could not take you to Microsoft" in page.text) == (LOGOUT, True)
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    page = ask_everywhere(browser)
    assert (page.url, "This app could not take you to your organisation" in page.text) == (LOGOUT, True)
    page = signed_in(host).submit(Form(LOGOUT))
    assert ("You are still signed in at Microsoft" in page.text, page.forms) == (True, ())


def test_no_cookie_holds_what_the_idp_knows_a_person_as(host: Host) -> None:
    browser = signed_in(host, name_id="the name of a person", session_index="the index of a session")
    cookies = browser.jar.select(url=ORIGIN, method="GET", is_cross_site=False, now=datetime.now(UTC))
    read = URLSafeTimedSerializer("any").loads_unsafe(next(c.value for c in cookies if c.name == "session"))[1]
    held = repr([read, *[cookie.value for cookie in cookies]])
    assert not any(secret in held for secret in ("the name of a person", "the index of a session", ADELE.email or ""))


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, "You are signed out at Microsoft too", id="success"),
        pytest.param({"status": REQUESTER}, "does not say that you are signed out there", id="failure"),
        pytest.param({"status_detail": PARTIAL_LOGOUT}, "does not say that you are signed out there", id="partial"),
    ],
)
def test_the_page_says_what_the_answer_says(mount: Mount, changes: dict[str, Any], said: str, same_site: str) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site))
    browser = signed_in(host)
    asked = host.entra.read_logout(ask_everywhere(browser).url)
    answer = host.entra.answer_logout(asked, logout_url=SLS, now=datetime.now(UTC), **changes)
    page = led(browser, answer)
    assert (page.title, said in page.text) == ("You are signed out", True)
    host.sign_in(browser=browser)
    page = led(browser, answer)  # an answer signs nobody out
    assert (page.title, who(browser.new_tab())) == ("You are still signed in", "user 1")
    assert browser.submit(page.forms[0]).title == "You are signed out"


def test_a_deleted_user_takes_what_the_idp_knows_them_as_along(host: Host) -> None:
    signed_in(host)
    with host.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users")
    assert host.count("samljit_session") == 0


def test_a_refused_sign_in_begins_no_session(host: Host) -> None:
    signed_in(host)
    with host.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET active = 0")
    assert host.sign_in().status == 403
    assert host.count("samljit_session") == 1
