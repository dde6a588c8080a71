"""Session, redirects, errors, logs, metadata and settings (39 to 53)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import time_machine
from flask import redirect, session
from flask_login import login_user
from flask_wtf.csrf import CSRFProtect
from lxml import etree

from samljit.errors import ConfigError, Reason
from samljit.saml.idp_metadata import read_idp_metadata
from samljit.saml.library import _settings
from samljit.saml.request import RequestIds
from samljit.testing import Browser, Claim, FakeEntra, Form, claims_of, signing_key
from samljit.views import attempts
from samljit.views.attempts import printable
from tests.conftest import Mount
from tests.host import ACS, ADELE, BIANCA, ENTITY_ID, LOGIN, ORIGIN, Host, make_host, settings_for
from tests.trust.forge import Desk, answer, attribute, post_fields, public_face, refused, swap

FINISH = f"{ORIGIN}/saml/contoso/finish"


# --- 39, 40: the session, and where to go -----------------------------------------------------------------------------


def with_old_session(host: Host) -> None:
    """Pages of a host that keeps things in the session, and remembers people."""

    @host.app.get("/keep")
    def keep() -> str:
        session["cart"] = "old"
        return "kept"

    @host.app.get("/cart")
    def cart() -> str:
        return str(session.get("cart"))

    @host.app.get("/remember/<int:number>")
    def remember(number: int) -> Any:
        login_user(host.session.get(host.user_model, number), remember=True)
        return redirect("/")


def test_39_the_session_is_a_new_one_after_a_sign_in(mount: Mount) -> None:
    host = mount()
    with_old_session(host)
    browser = host.browser()
    assert (browser.get(f"{ORIGIN}/keep").text, browser.get(f"{ORIGIN}/cart").text) == ("kept", "old")
    assert answer(host, browser=browser).page.text == "user 1"
    assert browser.get(f"{ORIGIN}/cart").text == "None"


def test_39_a_refused_sign_in_leaves_the_session_alone(mount: Mount) -> None:
    host = mount()
    with_old_session(host)
    browser = host.browser()
    browser.get(f"{ORIGIN}/keep")
    assert answer(host, browser=browser, recipient="https://evil.example/").page.status == 403
    assert browser.get(f"{ORIGIN}/cart").text == "old"


def test_39_whoever_was_remembered_here_is_not_any_more(mount: Mount) -> None:
    host = mount()
    with_old_session(host)
    answer(host, person=BIANCA)
    browser = host.browser()
    assert browser.get(f"{ORIGIN}/remember/1").text == "user 1"
    page = answer(host, browser=browser).page
    [form] = [form for form in page.forms if form.action.startswith(FINISH)]
    assert browser.submit(form).text == "user 2"
    sent = browser.get(f"{ORIGIN}/").history[-1].cookies
    assert "remember_token" not in sent


@pytest.mark.parametrize("state", ["/reports/9", "https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_39_relay_state_sends_nobody_anywhere(host: Host, state: str) -> None:
    browser = host.browser()
    asked = host.entra.read_request(browser.get(f"{LOGIN}?next=/reports/7").url)
    post = host.entra.respond(asked, ADELE, now=datetime.now(UTC))
    page = post_fields(browser, [*post.form.items(), ("RelayState", state)])
    assert page.url == f"{ORIGIN}/reports/7"
    assert all(hop.url.startswith(ORIGIN) for hop in page.history)


NEXTS = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "\t//evil.example/",
    " //evil.example/",
    "/%2F/evil.example/",
    "/%2Fevil.example/",
    "/%5Cevil.example/",
    "/%255Cevil.example/",
    "/%09/evil.example/",
    "%2F%2Fevil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "http:/evil.example",
    "https:evil.example",
    "/ok\r\nSet-Cookie: a=b",
    "/%0d%0aSet-Cookie:a=b",
    "/\u2028x",
    "/\x00",
    "//[::1",
    "/saml/contoso/login",
    "/saml/contoso/acs",
    "/%73aml/contoso/login",
    "/" + "x" * 2000,
]


@pytest.mark.parametrize("wanted", NEXTS, ids=[f"40-{quote(wanted[:24], safe='')}" for wanted in NEXTS])
def test_a_next_that_is_no_plain_path_leads_home(host: Host, wanted: str) -> None:
    page = answer(host, login_url=f"{LOGIN}?{urlencode({'next': wanted})}").page
    assert (page.status, page.url) == (200, f"{ORIGIN}/")
    assert page.headers.get("Set-Cookie", "") == "" or "a=b" not in page.headers["Set-Cookie"]


@pytest.mark.parametrize("wanted", ["/reports/7", "/reports/7?a=b&c=%20d", "/reports/7?next=/x"])
def test_40_a_plain_path_is_kept(host: Host, wanted: str) -> None:
    assert answer(host, login_url=f"{LOGIN}?{urlencode({'next': wanted})}").page.url == f"{ORIGIN}{wanted}"


def test_40_the_cookie_with_next_is_ours_or_nothing(host: Host) -> None:
    """A changed cookie is no cookie: no sign-in, and no way to evil.example."""
    browser = host.browser()
    asked = host.entra.read_request(browser.get(f"{LOGIN}?next=/reports/7").url)
    post = host.entra.respond(asked, ADELE, now=datetime.now(UTC))
    other = host.browser()
    nonce = asked.id[2 + 28 : 2 + 28 + 32]
    other.get(f"{ORIGIN}/")
    now = datetime.now(UTC)
    other.jar.store(f"__Host-samljit-pending-{nonce}=WyJ4Il0.forged; Path=/; Secure", url=ORIGIN, now=now)
    page = post_fields(other, list(post.form.items()))
    assert (page.status, host.reasons()) == (403, ["browser_mismatch"])


# --- 41: CSRF ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after"])
def test_41_only_the_acs_is_exempt(mount: Mount, order: str) -> None:
    csrf = CSRFProtect()
    host = mount(configure=(lambda app: csrf.init_app(app)) if order == "before" else (lambda app: None))
    if order == "after":
        csrf.init_app(host.app)

    @host.app.post("/transfer")
    def transfer() -> str:
        return "done"

    client = host.app.test_client()
    assert client.post("/transfer").status_code == 400
    assert client.post("/saml/contoso/finish", base_url=ORIGIN).status_code == 400
    assert answer(host).page.text == "user 1"
    assert client.post("/transfer").status_code == 400


# --- 42: one public answer --------------------------------------------------------------------------------------------

BEFORE = {
    "not-base64": lambda xml: None,
    "garbage": lambda xml: b"x",
    "doctype": lambda xml: b"<!DOCTYPE a>" + xml,
    "html": lambda xml: b"<html/>",
    "shape": swap("<samlp:Status>", "<samlp:Extensions/><samlp:Status>"),
    "version": swap('Version="2.0"', 'Version="1.1"'),
    "status": swap("status:Success", "status:Responder"),
    "status-no-passive": swap("status:Success", "status:NoPassive"),
    "encrypted": lambda xml: re.sub(rb"<Assertion (xmlns=\S+) .*</Assertion>", rb"<EncryptedAssertion \1/>", xml),
    "no-assertion": lambda xml: re.sub(rb"<Assertion .*</Assertion>", b"", xml),
    "unsigned": lambda xml: re.sub(rb"<Signature .*</Signature>", b"", xml),
    "signature-shape": swap("<X509Data>", "<KeyName>x</KeyName><X509Data>"),
    "sha1": swap("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha1"),
    "digest": swap(">Adele<", ">Mallory<"),
    "signature": swap("<SignatureValue>", "<SignatureValue>AAAA"),
}


def test_42_until_a_signature_was_verified_every_refusal_of_a_status_reads_the_same(host: Host) -> None:
    faces: dict[int, set[str]] = {}
    reasons = set()
    for edit in BEFORE.values():
        browser = host.browser()
        asked = host.entra.read_request(browser.get(LOGIN).url)
        xml = edit(host.entra.respond(asked, ADELE, now=datetime.now(UTC)).xml)
        packed = "*" if xml is None else base64.b64encode(xml).decode()
        page = post_fields(browser, [("SAMLResponse", packed)])
        faces.setdefault(page.status, set()).add(public_face(page))
        reasons.add(host.reasons()[-1])
    assert {status: len(texts) for status, texts in faces.items()} == {400: 1, 403: 1}
    assert len(reasons) >= 12


def test_42_an_expired_certificate_reads_like_any_wrong_signature(mount: Mount) -> None:
    expired = signing_key("expired", valid_from=datetime(2020, 1, 1, tzinfo=UTC), valid_until=datetime(2021, 1, 1, tzinfo=UTC))
    old = answer(mount(entra=FakeEntra(keys=(expired,)))).page
    wrong = answer(mount(), key=signing_key("stranger")).page
    assert (old.status, public_face(old)) == (wrong.status, public_face(wrong))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"recipient": "https://evil.example/"}, Reason.RECIPIENT_MISMATCH, id="42-recipient"),
        pytest.param({"audiences": (("https://adele.example",),)}, Reason.AUDIENCE_MISMATCH, id="42-audience"),
        pytest.param({"name_id": None}, Reason.NAME_ID_MISSING, id="42-name-id"),
    ],
)
def test_after_it_the_page_names_the_situation_and_no_value(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    page = refused(host, caplog, reason, **changes)
    assert "evil.example" not in page.text
    assert "adele" not in page.text.lower()


def test_42_a_status_message_is_shown_to_nobody(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    said = "<b>AADSTS50105: The signed in user adele is not assigned"
    page = refused(
        host, caplog, Reason.STATUS_NOT_SUCCESS, status="urn:x:y", status_message=said, has_assertion=False, sign="none"
    )
    assert "AADSTS" not in page.text + caplog.text


# --- 43, 44: no 5xx, quiet logs ---------------------------------------------------------------------------------------

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/saml/contoso/acs", {}),
    ("PUT", "/saml/contoso/acs", {}),
    ("POST", "/saml/contoso/acs", {"data": b"\xff\xfe", "content_type": "application/x-www-form-urlencoded"}),
    ("POST", "/saml/contoso/acs", {"data": b"SAMLResponse=%", "content_type": "application/x-www-form-urlencoded"}),
    ("POST", "/saml/contoso/acs", {"data": b"SAMLResponse=%ff%fe", "content_type": "application/x-www-form-urlencoded; charset=utf-16"}),
    ("POST", "/saml/contoso/acs", {"data": b"x", "content_type": "multipart/form-data"}),
    ("POST", "/saml/contoso/acs", {"data": b"x", "content_type": "\xff"}),
    ("POST", "/saml/contoso/acs", {"data": b"", "headers": {"Content-Length": "-1"}}),
    ("POST", "/saml/contoso/acs", {"data": b"", "headers": {"Content-Length": "x"}}),
    ("POST", "/saml/contoso/acs", {"data": b"SAMLResponse=a", "headers": {"User-Agent": "\x00\x1b[31m" + "u" * 9000}}),
    ("GET", "/saml/contoso/finish", {}),
    ("GET", "/saml/contoso/finish?n=%00%ff", {}),
    ("GET", "/saml/contoso/finish?n=" + "n" * 5000, {}),
    ("GET", "/saml/contoso/finish?n=x", {"headers": {"Cookie": "__Host-samljit-handover-x=a.b.c; __Host-samljit-pending-x=%00"}}),
    ("POST", "/saml/contoso/finish?n=x", {"data": {"token": "a.b.c"}}),
    ("POST", "/saml/contoso/finish", {"data": b"\xff", "content_type": "application/x-www-form-urlencoded"}),
    ("GET", "/saml/contoso/login?next=%ff%00", {}),
    ("GET", "/saml/contoso/login?again=%ff", {}),
    ("GET", "/saml/contoso/login?again=" + "a" * 5000, {}),
    ("GET", "/saml/contoso/login?login_hint=%0d%0aX:y", {}),
    ("GET", "/saml/contoso/login?force=%00&hop=1&hop=2", {}),
    ("GET", "/saml/contoso/login", {"headers": {"Host": "evil.example"}}),
    ("GET", "/saml/contoso/login", {"headers": {"Cookie": f"=; ;;=;__Host-samljit-pending-=x; __Host-samljit-pending-{'a' * 4000}=y"}}),
    ("GET", "/saml/nobody/login", {}),
    ("GET", "/saml/nobody/metadata", {}),
    ("POST", "/saml/nobody/acs", {"data": {"SAMLResponse": "x"}}),
    ("GET", "/saml/%00/login", {}),
    ("GET", "/saml/..%2f..%2fetc/login", {}),
    ("GET", "/saml/" + "a" * 5000 + "/login", {}),
    ("GET", "/saml/contoso/metadata?x=%ff", {}),
    *(("GET", f"/saml/contoso/{step}", {"environ_overrides": {"QUERY_STRING": "n=\xff"}}) for step in ("login", "finish", "metadata")),
    ("POST", "/saml/contoso/acs", {"environ_overrides": {"QUERY_STRING": "\xed\xa0\x80"}}),
    *(
        ("GET", "/saml/contoso/login", {"environ_overrides": {"HTTP_COOKIE": f"__Host-samljit-pending-{odd}=x"}})
        for odd in ("\n", "\0", "\x0b", "\xff", "0" * 32 + "\n")
    ),
]


REQUEST_IDS = [f"43-{number}-{method}-{path[:40]}" for number, (method, path, _) in enumerate(REQUESTS)]


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS, ids=REQUEST_IDS)
def test_nothing_that_a_client_sends_makes_a_5xx(host: Host, method: str, path: str, options: dict[str, Any]) -> None:
    host.app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    answered = host.app.test_client().open(path, method=method, base_url=ORIGIN, **options)
    assert answered.status_code < 500
    # servers answer 500 where a header is not fit to be sent
    assert all(value.isprintable() and value.isascii() for value in answered.headers.values())


def test_44_a_log_line_is_one_line_of_printable_text(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    evil = "x\r\nWARNING forged line\x1b[31m\u202e"
    answer(host, before_signing=attribute("//saml:Assertion", "Unknown", "x"))
    host.app.test_client().post(
        ACS, data={"SAMLResponse": "x"}, headers={"User-Agent": "a\x1b[31mb"}, content_type="application/x-www-form-urlencoded"
    )
    assert printable(evil) == "x\\r\\nWARNING forged line\\x1b[31m\\u202e"
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()
    for row in host.rows("samljit_attempt"):
        assert (row.browser + row.detail).isprintable()


def test_44_a_claims_name_is_escaped_in_the_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    name = "a\u202eb&#10;<c>"
    claims = (*claims_of(ADELE, host.entra.tenant_id), Claim(name, ("one",)), Claim(name, ("two",)))
    refused(host, caplog, Reason.ATTRIBUTE_DUPLICATE, claims=claims)
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_44_garbage_fills_no_table(host: Host) -> None:
    """At most 60 rows of unverified refusals a minute, then a counting one each time the rest has doubled."""
    client = host.app.test_client()
    for _ in range(150):
        client.post(ACS, data={"SAMLResponse": "x"})
    rows = host.rows("samljit_attempt")
    assert 60 < len(rows) <= 70
    assert sum(row.times for row in rows) <= 150


def test_44_one_genuine_response_posted_again_and_again_fills_no_table(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature holds for ever, so whoever signed in once could."""
    monkeypatch.setattr(attempts, "VERIFIED_ROWS", 20)
    with time_machine.travel(datetime.now(UTC), tick=False):
        posted = answer(host).posted
        again = [host.app.test_client().post(ACS, data=posted, base_url=ORIGIN) for _ in range(20 + 32)]
    rows = [row for row in host.rows("samljit_attempt") if row.reason]
    assert {row.reason for row in rows} == {"replayed"}
    assert (len(rows), sum(row.times for row in rows)) == (20 + 6, 20 + 32)
    # without a row there is nothing to hand over to the second step, and the refusal stands here
    assert [response.status_code for response in again[:21] + again[22:23]] == [200] * 21 + [403]


# --- 47, 49 to 51 -----------------------------------------------------------------------------------------------------


def headless(xml: bytes) -> bytes:
    """Without the byte order mark and the declaration, so that a DOCTYPE may come first."""
    return xml.split(b"?>", 1)[1]


METADATA: dict[str, Callable[[bytes], bytes]] = {
    "47-doctype": lambda xml: b"<!DOCTYPE a>" + headless(xml),
    "47-entity": lambda xml: b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + headless(xml),
    "47-no-idp": lambda xml: xml.replace(b"IDPSSODescriptor", b"SPSSODescriptor"),
    "47-other-protocol": lambda xml: xml.replace(b"SAML:2.0:protocol", b"SAML:1.1:protocol"),
    "47-no-entity-id": lambda xml: re.sub(rb' entityID="[^"]*"', b"", xml),
    "47-encryption-keys-alone": lambda xml: xml.replace(b'use="signing"', b'use="encryption"'),
    "47-not-xml": lambda xml: b"x",
    "47-huge": lambda xml: xml + b" " * 1024 * 1024,
}


@pytest.mark.parametrize("edit", METADATA.values(), ids=METADATA)
def test_metadata_that_is_not_one_idps_is_not_taken(edit: Callable[[bytes], bytes]) -> None:
    now = datetime.now(UTC)
    good = FakeEntra().metadata()
    assert read_idp_metadata(good, path="$", now=now)[0] is not None
    idp, problems = read_idp_metadata(edit(good), path="$", now=now)
    assert idp is None
    assert any(not problem.is_warning for problem in problems)


def test_47_nothing_but_the_idp_is_taken_from_its_metadata() -> None:
    """python3-saml's parser takes sp and security settings from there as well."""
    now = datetime.now(UTC)
    idp, _ = read_idp_metadata(FakeEntra().metadata(keys=(signing_key(), signing_key("next"))), path="$", now=now)
    assert idp is not None
    assert (idp.entity_id, idp.sso_url, len(idp.certificates)) == (FakeEntra().entity_id, FakeEntra().sso_url, 2)


def test_49_what_is_configured_cannot_break_out_of_the_xml(tmp_path: Path, mount: Mount) -> None:
    evil = 'https://app.example.com/"/><x/>&amp;<!--'
    host = mount(settings=settings_for(tmp_path, FakeEntra(), tenant={"entity_id": evil}))
    client = host.app.test_client()
    root = etree.fromstring(client.get(ENTITY_ID).data)
    assert (root.get("entityID"), len(root)) == (evil, 1)
    asked = host.entra.read_request(host.browser().get(LOGIN).url)
    assert asked.issuer == evil


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="51-host"),
        pytest.param({"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}, id="51-forwarded"),
        pytest.param({"Forwarded": "host=evil.example;proto=http"}, id="51-forwarded-standard"),
        pytest.param({"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"}, id="51-rewrite"),
    ],
)
def test_no_header_of_the_request_decides_an_address(host: Host, headers: dict[str, str]) -> None:
    client = host.app.test_client()
    metadata = client.get("/saml/contoso/metadata", headers=headers).text
    assert "evil" not in metadata
    assert ACS in metadata
    sent = client.get("/saml/contoso/login?hop=1", headers=headers).headers["Location"]
    assert "evil" not in parse_qs(urlsplit(sent).query)["SAMLRequest"][0]
    assert host.entra.read_request(sent).acs_url == ACS


@pytest.mark.parametrize("name", ["evil.example", "app.example.com.evil.example", "app.example.com:8443"])
def test_51_an_answer_meant_for_another_host_is_refused_whatever_host_header_comes_along(host: Host, name: str) -> None:
    browser = host.browser()
    asked = host.entra.read_request(browser.get(LOGIN).url)
    there = ACS.replace("app.example.com", name)
    post = host.entra.respond(asked, ADELE, now=datetime.now(UTC), destination=there, recipient=there)
    answered = host.app.test_client().post("/saml/contoso/acs", data=dict(post.form), headers={"Host": name})
    assert (answered.status_code, host.reasons(), host.users()) == (403, ["destination_mismatch"], [])


def test_50_the_library_is_set_up_strict_with_every_switch_written_out() -> None:
    made, again = _settings(Desk().tenant), _settings(Desk().tenant)
    assert made is not again
    assert (made["strict"], made["security"]["rejectDeprecatedAlgorithm"]) == (True, True)
    assert made["security"]["requestedAuthnContext"] is False
    assert made["security"]["rejectUnsolicitedResponsesWithInResponseTo"] is True


# --- 53: secrets ------------------------------------------------------------------------------------------------------


def test_53_no_repr_shows_a_key_or_a_value(host: Host) -> None:
    with host.app.app_context():
        mounted = host.app.extensions["samljit"]
        secrets = mounted.secrets(host.app)
    shown = repr(mounted) + repr(secrets) + repr(RequestIds([b"a key of this test run"])) + repr(host.saml)
    assert "a key of this test run" not in shown
    desk = Desk()
    now = datetime.now(UTC)
    assertion = desk.validate(desk.respond(now=now), now=now)
    assert "adele" not in repr(assertion).lower()


def test_an_app_without_a_secret_key_answers_nobody(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    host.app.config["SECRET_KEY"] = None
    with pytest.raises(ConfigError):
        Browser({ORIGIN: host.app}).get(LOGIN)
    host.engine.dispose()


def test_42_a_form_for_the_acs_cannot_be_read_as_html(host: Host) -> None:
    """Refusals and the hand-over page: framed by nobody, kept by nobody, no script."""
    browser = host.browser()
    browser.get(LOGIN)
    page = browser.submit(Form(ACS, fields=(("SAMLResponse", "<script>alert(1)</script>"),)), by_script=True)
    assert "alert(1)" not in page.text
    assert re.findall(r"<script(?! src=\"/saml/static/)", page.text) == []
    assert page.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
