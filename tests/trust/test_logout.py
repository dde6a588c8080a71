"""Single logout (52): what a message from outside may end, and what is wrong with those that may end nothing."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import time_machine
from lxml import etree
from sqlalchemy import event, text
from werkzeug.test import EnvironBuilder, run_wsgi_app

from samljit import signed_out
from samljit.errors import CATALOGUE, Reason
from samljit.testing import Browser, FakeEntra, Form, make_key_pair, signing_key
from samljit.testing import logout as testing_logout
from samljit.testing.entra import CONTOSO
from samljit.views.mounted import app_secrets
from samljit.views.watch import KEPT_SECONDS
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, ENTITY_ID, ORIGIN, Host, settings_for
from tests.test_logout import LOGOUT, SLS, ask_everywhere, led, signed_in, who, with_password
from tests.trust.forge import SAML, SAMLP, element

MINUTE = timedelta(minutes=1)
XMLDSIG_MORE = "http://www.w3.org/2001/04/xmldsig-more#"


def now() -> datetime:
    return datetime.now(UTC)


def index_of(host: Host, number: int = 0) -> str:
    return str(host.rows("samljit_session")[number].session_index)


def signed_request(host: Host, session_index: str | None = None, **changes: Any) -> str:
    """A LogoutRequest as an IdP sends it that signs: for the first session unless another is named."""
    changes = {"key": host.entra.key, "destination": SLS, "issuer": host.entra.entity_id, **changes}
    return host.entra.request_logout(logout_url=SLS, session_index=session_index or index_of(host), now=now(), **changes)


def unsigned_request(host: Host, session_index: str | None, **changes: Any) -> str:
    """As Entra sends it."""
    return host.entra.request_logout(logout_url=SLS, session_index=session_index, now=now(), **changes)


def is_ended(host: Host, number: int = 0) -> bool:
    return host.rows("samljit_session")[number].ended_at is not None


@dataclass
class Frame:
    """A frame on the IdP's page, to which a browser gives no cookie of the host."""

    host: Host

    def load(self, url: str, *, dest: str = "iframe") -> Any:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}
        parts = urlsplit(url)
        return self.host.app.test_client().get(f"{parts.path}?{parts.query}", base_url=ORIGIN, headers=headers)


# --- what is wrong with a signed request ------------------------------------------------------------------------------

Change = Callable[[str], str]


def swap(old: str, new: str) -> Change:
    def change(query: str) -> str:
        assert old in query, (old, query)
        return query.replace(old, new, 1)

    return change


def value_of(query: str, name: str) -> str:
    return re.search(rf"(?:^|&){name}=([^&]*)", query)[1]  # type: ignore[index]


def with_xml(query: str, xml: bytes) -> str:
    packer = zlib.compressobj(wbits=-15)
    packed = base64.b64encode(packer.compress(xml) + packer.flush()).decode()
    return query.replace(value_of(query, "SAMLRequest"), quote(packed, safe=""), 1)


def xml_in(query: str) -> bytes:
    return zlib.decompress(base64.b64decode(parse_qs(query)["SAMLRequest"][0]), -15)


def put(xml: str, *, index: int | None = None) -> Callable[[Any], None]:
    return lambda root: root.insert(len(root) if index is None else index, element(xml))


def drop(name: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        for found in [child for child in root if etree.QName(child).localname == name]:
            root.remove(found)

    return change


OTHER = signing_key("somebody else's")
EXPIRED = make_key_pair(valid_from=datetime(2020, 1, 1, tzinfo=UTC), valid_until=datetime(2021, 1, 1, tzinfo=UTC))
BOMB = base64.b64encode(zlib.compress(b"<a>" + b" " * 129 * 1024 + b"</a>")[2:-4]).decode()

QUERY_FAULTS: dict[str, Change] = {
    "52-no-message": lambda q: q.replace("SAMLRequest=", "Request=", 1),
    "52-request-twice": lambda q: f"{q}&SAMLRequest={value_of(q, 'SAMLRequest')}",
    "52-request-twice-encoded-name": lambda q: f"SAML%52equest={value_of(q, 'SAMLRequest')}&{q}",
    "52-encoded-name": swap("SAMLRequest=", "SAML%52equest="),
    "52-request-and-response": lambda q: f"{q}&SAMLResponse={value_of(q, 'SAMLRequest')}",
    "52-signature-twice": lambda q: f"{q}&Signature={value_of(q, 'Signature')}",
    "52-algorithm-twice": lambda q: f"{q}&SigAlg={value_of(q, 'SigAlg')}",
    "52-relay-state-twice": lambda q: f"{q}&RelayState=a&RelayState=b",
    "52-signature-without-algorithm": lambda q: re.sub(r"&SigAlg=[^&]*", "", q),
    "52-algorithm-without-signature": lambda q: re.sub(r"&Signature=[^&]*", "", q),
    "52-other-encoding": lambda q: f"{q}&SAMLEncoding=urn:example:plain",
    "52-relay-state-long": lambda q: f"{q}&RelayState={'a' * 513}",
    "52-relay-state-not-utf-8": lambda q: f"{q}&RelayState=%ff",
    "52-not-base64": swap("SAMLRequest=", "SAMLRequest=*"),
    "52-not-deflated": lambda q: with_text(q, base64.b64encode(b"<a/>").decode()),
    "52-inflates-to-129-kib": lambda q: with_text(q, BOMB),
    "52-cut-off": lambda q: with_text(q, parse_qs(q)["SAMLRequest"][0][:40]),
    "52-something-behind-the-stream": lambda q: with_text(
        q, base64.b64encode(base64.b64decode(parse_qs(q)["SAMLRequest"][0]) + b"more").decode()
    ),
    "52-signature-not-base64": lambda q: re.sub(r"&Signature=[^&]*", "&Signature=***", q),
}


def with_text(query: str, text: str) -> str:
    return query.replace(value_of(query, "SAMLRequest"), quote(text, safe=""), 1)


SIGNATURE_FAULTS: dict[str, tuple[dict[str, Any], Reason]] = {
    "52-somebody-elses-key": ({"key": OTHER}, Reason.SIGNATURE_INVALID),
    "52-certificate-expired": ({"key": EXPIRED}, Reason.CERTIFICATE_EXPIRED),
    "52-sha1": ({"algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, Reason.ALGORITHM_NOT_ALLOWED),
    "52-relay-state-added": ({"on_query": lambda q: f"{q}&RelayState=x"}, Reason.SIGNATURE_INVALID),
    "52-relay-state-taken-away": ({"relay_state": "x", "on_query": swap("&RelayState=x", "")}, Reason.SIGNATURE_INVALID),
    "52-relay-state-changed": ({"relay_state": "x", "on_query": swap("&RelayState=x", "&RelayState=y")}, Reason.SIGNATURE_INVALID),
    "52-encoded-otherwise-than-signed": ({"on_query": swap("%3A", "%3a")}, Reason.SIGNATURE_INVALID),
    "52-algorithm-changed": ({"on_query": swap("rsa-sha256", "rsa-sha512")}, Reason.SIGNATURE_INVALID),
    "52-signature-changed": (
        {"on_query": lambda q: q.replace(value_of(q, "Signature"), quote(base64.b64encode(b"x" * 256).decode(), safe=""))},
        Reason.SIGNATURE_INVALID,
    ),
    "52-signature-empty": ({"on_query": lambda q: re.sub(r"&Signature=[^&]*", "&Signature=", q)}, Reason.SIGNATURE_INVALID),
    "52-message-changed": ({"on_query": lambda q: with_xml(q, xml_in(q).replace(b"pairwise", b"somebody"))}, Reason.SIGNATURE_INVALID),
    "52-hmac-in-place-of-rsa": (
        {"on_query": swap(quote(f"{XMLDSIG_MORE}rsa-sha256", safe=""), quote(f"{XMLDSIG_MORE}hmac-sha256", safe=""))},
        Reason.ALGORITHM_NOT_ALLOWED,
    ),
}

CONTENT_FAULTS: dict[str, tuple[dict[str, Any], Reason]] = {
    "52-issuer-other": ({"issuer": "https://sts.windows.net/other/"}, Reason.ISSUER_MISMATCH),
    "52-issuer-without-slash": ({"issuer": f"https://login.microsoftonline.com/{CONTOSO}"}, Reason.ISSUER_MISMATCH),
    "52-issuer-other-cloud": ({"issuer": f"https://login.microsoftonline.us/{CONTOSO}/"}, Reason.ISSUER_MISMATCH),
    "52-issuer-empty": ({"issuer": ""}, Reason.ISSUER_MISMATCH),
    "52-issuer-absent": ({"issuer": None}, Reason.SHAPE_UNEXPECTED),
    "52-destination-absent": ({"destination": None}, Reason.DESTINATION_MISMATCH),
    "52-destination-longer": ({"destination": f"{SLS}/"}, Reason.DESTINATION_MISMATCH),
    "52-destination-query": ({"destination": f"{SLS}?x"}, Reason.DESTINATION_MISMATCH),
    "52-destination-the-acs": ({"destination": f"{ORIGIN}/saml/contoso/acs"}, Reason.DESTINATION_MISMATCH),
    "52-destination-case": ({"destination": SLS.replace("app.", "APP.")}, Reason.DESTINATION_MISMATCH),
    "52-old": ({"issue_instant": lambda: now() - 8 * MINUTE}, Reason.EXPIRED),
    "52-future": ({"issue_instant": lambda: now() + 3 * MINUTE}, Reason.NOT_YET_VALID),
    "52-past-its-end": ({"not_on_or_after": lambda: now() - 3 * MINUTE}, Reason.EXPIRED),
    "52-no-time": ({"on_root": lambda root: root.attrib.pop("IssueInstant")}, Reason.TIME_MALFORMED),
    "52-local-time": ({"on_root": lambda root: root.set("IssueInstant", "2026-11-22T09:00:00")}, Reason.TIME_MALFORMED),
    "52-end-malformed": ({"on_root": lambda root: root.set("NotOnOrAfter", "soon")}, Reason.TIME_MALFORMED),
    "52-version": ({"version": "1.1"}, Reason.VERSION_UNSUPPORTED),
    "52-id-absent": ({"on_root": lambda root: root.attrib.pop("ID")}, Reason.SHAPE_UNEXPECTED),
    "52-no-name-id": ({"name_id": None}, Reason.SHAPE_UNEXPECTED),
    "52-name-id-twice": ({"on_root": put("<saml:NameID>x</saml:NameID>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "52-name-id-after-index": ({"on_root": lambda root: root.append(root[1])}, Reason.SHAPE_UNEXPECTED),
    "52-encrypted-id": ({"on_root": put("<saml:EncryptedID/>")}, Reason.SHAPE_UNEXPECTED),
    "52-extensions": ({"on_root": put("<samlp:Extensions/>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "52-signature-inside": ({"on_root": put("<ds:Signature/>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "52-element-in-an-index": ({"on_root": lambda root: root[-1].append(element("<saml:x/>"))}, Reason.SHAPE_UNEXPECTED),
    "52-foreign-attribute": ({"on_root": lambda root: root.set("{urn:x}y", "z")}, Reason.SHAPE_UNEXPECTED),
    "52-comment-in-an-index": ({"on_root": lambda root: root[-1].append(etree.Comment("x"))}, Reason.XML_FORBIDDEN),
    "52-33-indexes": ({"session_indexes": ("x",) * 33}, Reason.SHAPE_UNEXPECTED),
    "52-index-long": ({"session_indexes": ("x" * 1025,)}, Reason.XML_LIMITS),
    "52-another-message": ({"on_root": lambda root: setattr(root, "tag", f"{{{SAMLP}}}AuthnRequest")}, Reason.LOGOUT_MALFORMED),
    "52-a-response-as-request": ({"on_root": lambda root: setattr(root, "tag", f"{{{SAMLP}}}LogoutResponse")}, Reason.LOGOUT_MALFORMED),
}


@pytest.fixture
def scene(mount: Mount, caplog: pytest.LogCaptureFixture) -> Host:
    """A tenant that trusts two certificates, one of them expired, in a host that ends sessions."""
    caplog.set_level("DEBUG", logger="samljit")
    entra = FakeEntra(keys=[signing_key(), EXPIRED])
    host = mount(entra=entra, ends_sessions=True)
    seconds = count(step=2 * KEPT_SECONDS)
    host.app.extensions["samljit"].watch._clock = lambda: next(seconds)  # every look is one at the database
    return host


def ends_nothing(host: Host, caplog: pytest.LogCaptureFixture, url: str, reason: Reason) -> None:
    """From the IdP's page in the person's own browser: refused with this reason, and the person is as signed in as before."""
    browser = host.browsers[0]
    consumed = host.count("samljit_assertion")
    caplog.clear()
    page = led(browser, url)
    assert f"logout message refused: {reason.value} " in caplog.text, caplog.text
    assert (page.status, page.title) == (CATALOGUE[reason].status, "Nothing was signed out")
    assert (who(browser.new_tab()), is_ended(host), host.count("samljit_assertion")) == ("user 1", False, consumed)
    for value in (ADELE.email or "", index_of(host), "pairwise"):
        assert value not in page.text + caplog.text


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Times are made when the test runs."""
    timed = ("issue_instant", "not_on_or_after")
    return {name: value() if name in timed else value for name, value in changes.items()}


@pytest.mark.parametrize("name", QUERY_FAULTS)
def test_a_query_string_that_is_not_one_message_ends_nothing(scene: Host, caplog: pytest.LogCaptureFixture, name: str) -> None:
    scene.browsers.append(signed_in(scene))
    ends_nothing(scene, caplog, signed_request(scene, on_query=QUERY_FAULTS[name]), Reason.LOGOUT_MALFORMED)


@pytest.mark.parametrize("name", SIGNATURE_FAULTS)
def test_a_signature_that_does_not_hold_is_not_taken_for_none(scene: Host, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """The browser's own session is named, so that it would end were the message unsigned."""
    scene.browsers.append(signed_in(scene))
    changes, reason = SIGNATURE_FAULTS[name]
    ends_nothing(scene, caplog, signed_request(scene, **changes), reason)


@pytest.mark.parametrize("name", CONTENT_FAULTS)
def test_a_signed_request_that_is_not_for_us_now_ends_nothing(scene: Host, caplog: pytest.LogCaptureFixture, name: str) -> None:
    scene.browsers.append(signed_in(scene))
    changes, reason = CONTENT_FAULTS[name]
    ends_nothing(scene, caplog, signed_request(scene, **changed(changes)), reason)


@pytest.mark.parametrize("name", [name for name in CONTENT_FAULTS if name != "52-destination-absent"])
def test_nor_does_an_unsigned_one(scene: Host, caplog: pytest.LogCaptureFixture, name: str) -> None:
    scene.browsers.append(signed_in(scene))
    changes, reason = CONTENT_FAULTS[name]
    ends_nothing(scene, caplog, unsigned_request(scene, None, **{"session_indexes": (index_of(scene),), **changed(changes)}), reason)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        pytest.param(lambda xml: b"<!DOCTYPE a [<!ENTITY e 'x'>]>" + xml, Reason.XML_FORBIDDEN, id="52-doctype"),
        pytest.param(lambda xml: b"<?x y?>" + xml, Reason.XML_FORBIDDEN, id="52-instruction"),
        pytest.param(lambda xml: xml + b"<a/>", Reason.XML_MALFORMED, id="52-two-roots"),
        pytest.param(lambda xml: xml.decode().encode("utf-16"), Reason.XML_MALFORMED, id="52-utf-16"),
        pytest.param(lambda xml: b"", Reason.XML_MALFORMED, id="52-empty"),
        pytest.param(lambda xml: b"<a>" * 5000 + b"</a>" * 5000, Reason.XML_LIMITS, id="52-deep"),
    ],
)
def test_xml_that_is_no_plain_message_ends_nothing(
    scene: Host, caplog: pytest.LogCaptureFixture, edit: Callable[[bytes], bytes], reason: Reason
) -> None:
    scene.browsers.append(signed_in(scene))
    url = unsigned_request(scene, index_of(scene), on_query=lambda query: with_xml(query, edit(xml_in(query))))
    ends_nothing(scene, caplog, url, reason)


NASTY = {
    "nothing": "",
    "names-alone": "SAMLRequest&SigAlg&Signature",
    "percent": "SAMLRequest=%&Signature=%zz&SigAlg=%",
    "not-utf-8": "SAMLRequest=%ff%fe&SigAlg=%ff&Signature=%ff",
    "raw-octets": "SAMLRequest=\xff\xfe\x00",
    "null": "SAMLRequest=%00&RelayState=%00",
    "ampersands": "&" * 20_000,
    "long": "SAMLRequest=" + "A" * 300_000,
    "empty-stream": "SAMLRequest=AwA%3D",
    "no-deflate-block": "SAMLRequest=Bw%3D%3D",
    "many-steps": "step=" + "A." * 5000,
    "step-not-utf-8": "step=%ff",
    "step-of-another-shape": "STEP",
}


@pytest.mark.parametrize("name", NASTY)
def test_43_no_query_string_makes_a_5xx(host: Host, name: str) -> None:
    query = NASTY[name]
    if query == "STEP":
        with host.app.test_request_context():
            query = f"step={app_secrets().sign_out.dumps(['answer', 'x', 'y', 'z'])}"
    environ = EnvironBuilder(path="/saml/contoso/sls", base_url=ORIGIN).get_environ() | {"QUERY_STRING": query}
    chunks, status, _ = run_wsgi_app(host.app, environ, buffered=True)
    assert (status[:1], b"".join(chunks) != b"") == ("4", True)


@pytest.mark.parametrize("path", ["/saml/nobody/sls?SAMLRequest=x", "/saml/logout?token=%ff", "/saml/logout?everywhere=1"])
def test_43_nor_does_any_other_visit(host: Host, path: str) -> None:
    client = host.app.test_client()
    for options in ({"method": "GET"}, {"method": "POST", "data": {"token": "\0" * 9, "after": "x"}}, {"method": "POST", "data": b"\xff"}):
        assert client.open(path, base_url=ORIGIN, **options).status_code < 500


# --- what a signed request may end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "rsa-sha384", "rsa-sha512"])
@pytest.mark.parametrize("issuer", [f"https://login.microsoftonline.com/{CONTOSO}/", None])
def test_52_a_signed_request_ends_the_session_it_names_where_no_cookie_comes_along(scene: Host, algorithm: str, issuer: str | None) -> None:
    browser, other = signed_in(scene), scene.browser()
    assert scene.sign_in(BIANCA, browser=other).text == "user 2"
    url = signed_request(scene, algorithm=f"{XMLDSIG_MORE}{algorithm}", issuer=issuer or scene.entra.entity_id)
    assert Frame(scene).load(url).status_code == 200
    assert (is_ended(scene), is_ended(scene, 1)) == (True, False)
    assert (who(browser), who(other)) == ("nobody", "user 2")


def test_52_a_request_without_an_index_ends_all_sessions_of_the_name_id_when_signed_only(scene: Host) -> None:
    first, second, other = signed_in(scene), signed_in(scene), scene.browser()
    scene.sign_in(BIANCA, browser=other)
    for name_id in ("nobody@contoso.example", (ADELE.upn or "").upper(), f"{ADELE.upn} "):
        Frame(scene).load(signed_request(scene, session_indexes=(), name_id=name_id))
        assert not is_ended(scene)
    led(first, unsigned_request(scene, None, name_id=ADELE.upn))
    assert not is_ended(scene)
    Frame(scene).load(signed_request(scene, session_indexes=(), name_id=ADELE.upn))
    assert [who(browser.new_tab()) for browser in (first, second, other)] == ["nobody", "nobody", "user 2"]


def test_52_no_idp_ends_the_session_of_another_tenant(mount: Mount, tmp_path: Any) -> None:
    contoso, fabrikam = FakeEntra(), FakeEntra("bbbbcccc-1111-dddd-2222-eeee3333ffff", keys=[OTHER])
    settings = settings_for(tmp_path, contoso)
    theirs = settings_for(tmp_path, fabrikam)["tenants"]["contoso"]
    settings["tenants"]["fabrikam"] = {**theirs, "domains": ["fabrikam.example"], "name": "Fabrikam"}
    host = mount(entra=contoso, settings=settings, ends_sessions=True)
    browser = signed_in(host)
    sls = SLS.replace("contoso", "fabrikam")
    named = {"session_index": index_of(host), "now": now(), "key": OTHER, "issuer": fabrikam.entity_id}
    assert Frame(host).load(fabrikam.request_logout(logout_url=sls, destination=sls, **named)).status_code == 200
    led(browser, fabrikam.request_logout(logout_url=sls, destination=sls, **{**named, "key": None}))
    assert (who(browser.new_tab()), is_ended(host)) == ("user 1", False)


def test_52_a_signed_request_is_good_once(scene: Host, caplog: pytest.LogCaptureFixture) -> None:
    signed_in(scene)
    url = signed_request(scene)
    assert Frame(scene).load(url).status_code == 200
    signed_in(scene, session_index=index_of(scene))  # an IdP that gives all sign-ins of its session one index
    assert Frame(scene).load(url).status_code == CATALOGUE[Reason.REPLAYED].status
    assert "logout message refused: replayed " in caplog.text
    assert not is_ended(scene, 1)
    expires = max(row.expires_at for row in scene.rows("samljit_assertion") if row.request_nonce is None)
    assert timedelta(minutes=6) < expires.replace(tzinfo=UTC) - now() <= timedelta(minutes=7)  # as long as it could be accepted


def test_52_an_octet_is_verified_as_it_came_and_not_as_it_would_be_written_here(scene: Host) -> None:
    """Some IdPs (.NET) write percent-encoding in lower case, and sign that."""
    signed_in(scene)
    def lower(text: str, **_: Any) -> str:
        return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(text, safe=""))

    encode = testing_logout.urlencode
    try:
        testing_logout.urlencode = lambda fields, **_: "&".join(f"{name}={lower(value)}" for name, value in fields.items())  # type: ignore[assignment]
        url = signed_request(scene, relay_state="a=b+c")
    finally:
        testing_logout.urlencode = encode  # type: ignore[assignment]
    assert "%3a" in url
    assert Frame(scene).load(url).status_code == 200
    assert is_ended(scene)


@pytest.mark.parametrize("same_site", ["Lax", "Strict"])
def test_52_a_signed_request_in_the_persons_own_browser_ends_the_session_there_and_then(mount: Mount, same_site: str) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site))
    browser = signed_in(host)
    page = led(browser, signed_request(host))
    assert (page.status, page.title, "SAMLRequest" in page.url) == (200, "You are signed out", False)
    assert (who(browser.new_tab()), is_ended(host)) == ("nobody", True)
    assert browser.reload().title == "You are signed out"


def test_52_a_signed_request_for_another_session_leaves_this_browser_alone(scene: Host) -> None:
    signed_in(scene)
    other = scene.browser()
    scene.sign_in(BIANCA, browser=other)
    page = led(other, signed_request(scene))
    assert (page.title, who(other.new_tab()), is_ended(scene), is_ended(scene, 1)) == ("Sign out?", "user 2", True, False)


def test_52_the_host_is_told_of_every_session_once(scene: Host) -> None:
    told: list[dict[str, Any]] = []

    @signed_out.connect_via(scene.app)
    def note(_: Any, **values: Any) -> None:
        told.append(values)

    browser = signed_in(scene)
    led(browser, signed_request(scene))
    second = signed_in(scene)
    led(second, unsigned_request(scene, index_of(scene, 1)))
    rows = scene.rows("samljit_session")
    common = {"user_id": 1, "tenant": "contoso", "by": "idp"}
    assert told == [{**common, "reference": row.reference} for row in rows]


# --- what an unsigned one may end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_site", ["Lax", "Strict", "None", None])
@pytest.mark.parametrize("destination", [None, SLS])
def test_52_an_unsigned_request_ends_the_session_of_the_browser_that_carries_it(
    mount: Mount, same_site: str | None, destination: str | None
) -> None:
    host = mount(configure=lambda app: app.config.update(SESSION_COOKIE_SAMESITE=same_site, SESSION_COOKIE_SECURE=True))
    browser = signed_in(host)
    page = led(browser, unsigned_request(host, index_of(host), destination=destination))
    assert (page.status, page.title, page.refresh_url) == (200, "You are signed out", None)
    assert (who(browser.new_tab()), is_ended(host)) == ("nobody", True)
    assert browser.reload().title == "You are signed out"


@pytest.mark.parametrize(
    "index", [None, "", "_another", "OTHER", "%5f"], ids=["absent", "empty", "another", "somebody-elses", "encoded"]
)
def test_52_unless_it_names_another_session_or_none(host: Host, index: str | None) -> None:
    browser, other = signed_in(host), host.browser()
    host.sign_in(BIANCA, browser=other)
    named = index_of(host, 1) if index == "OTHER" else index
    page = led(browser, unsigned_request(host, named, name_id=ADELE.upn))
    assert (page.status, page.title) == (200, "Sign out?")
    assert (who(browser.new_tab()), who(other)) == ("user 1", "user 2")
    assert [is_ended(host), is_ended(host, 1)] == [False, False]
    assert browser.submit(page.forms[0]).title == "You are signed out"  # the page with a button
    assert who(browser) == "nobody"


def test_52_an_unsigned_request_ends_nothing_where_no_cookie_comes_along(host: Host) -> None:
    browser = signed_in(host)
    assert Frame(host).load(unsigned_request(host, index_of(host))).status_code == 200
    assert Frame(host).load(unsigned_request(host, index_of(host)), dest="image").status_code == 200
    assert (who(browser), is_ended(host)) == ("user 1", False)


def test_52_nobody_who_came_by_password_is_signed_out_by_an_idp(mount: Mount) -> None:
    host = mount()
    with_password(host)
    signed_in(host)
    browser = host.browser()
    browser.get(f"{ORIGIN}/password/1")
    for url in (unsigned_request(host, index_of(host)), signed_request(host)):
        assert led(browser, url).title == "Sign out?"
        assert who(browser.new_tab()) == "user 1"


def test_52_the_second_step_is_ours_of_this_tenant_and_of_late(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    browser = signed_in(host)
    browser._follows_refresh = False
    steps = led(browser, unsigned_request(host, "_another")).refresh_url or ""
    browser._follows_refresh = True
    assert browser.get(steps).title == "Sign out?"
    token = parse_qs(urlsplit(steps).query)["step"][0]
    for faulty in (f"{SLS}?step=garbage", f"{SLS}?step={token[:-1]}", steps.replace("contoso", "nobody"), f"{SLS}?step="):
        assert browser.get(faulty).status in (400, 404)
    with time_machine.travel(now() + 3 * MINUTE, tick=False):
        assert browser.get(steps).status == 400
    logout_token = browser.get(f"{ORIGIN}/saml/logout").forms[0].value("token") or ""
    assert browser.get(f"{SLS}?step={logout_token}").status == 400
    assert who(browser) == "user 1"


# --- the answer to a request of ours ----------------------------------------------------------------------------------


def asked_by(host: Host) -> Any:
    return host.entra.read_logout(ask_everywhere(signed_in(host)).url)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"in_response_to": "id00"}, Reason.REQUEST_UNKNOWN, id="52-not-ours"),
        pytest.param({"in_response_to": "SIGN-IN"}, Reason.REQUEST_UNKNOWN, id="52-a-request-to-sign-in"),
        pytest.param({"on_root": lambda root: root.attrib.pop("InResponseTo")}, Reason.REQUEST_UNKNOWN, id="52-answers-nothing"),
        pytest.param({"issuer": "https://sts.windows.net/other/"}, Reason.ISSUER_MISMATCH, id="52-other-issuer"),
        pytest.param({"destination": f"{ORIGIN}/saml/contoso/acs"}, Reason.DESTINATION_MISMATCH, id="52-other-destination"),
        pytest.param({"key": OTHER, "destination": SLS}, Reason.SIGNATURE_INVALID, id="52-other-key"),
        pytest.param({"on_root": drop("Status")}, Reason.SHAPE_UNEXPECTED, id="52-no-status"),
        pytest.param({"issue_instant": lambda: now() - 8 * MINUTE}, Reason.EXPIRED, id="52-old"),
    ],
)
def test_an_answer_that_is_none_is_not_passed_on(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    asked = asked_by(host)
    changes = changed(changes)
    if changes.get("in_response_to") == "SIGN-IN":
        changes["in_response_to"] = host.entra.read_request(host.browser().get(f"{ORIGIN}/saml/contoso/login").url).id
    page = led(host.browser(), host.entra.answer_logout(asked, logout_url=SLS, **{"now": now(), **changes}))
    assert (page.status, page.title) == (CATALOGUE[reason].status, "Nothing was signed out")
    assert f"logout message refused: {reason.value} " in caplog.text


def test_an_answer_may_be_signed_and_comes_from_either_name_of_entra(host: Host) -> None:
    asked = asked_by(host)
    for changes in ({"key": host.entra.key, "destination": SLS}, {"issuer": host.entra.entity_id}):
        page = led(host.browser(), host.entra.answer_logout(asked, logout_url=SLS, now=now(), **changes))
        assert (page.status, page.title) == (200, "You are signed out")


def test_an_answer_after_fifteen_minutes_is_none(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    asked = asked_by(host)
    with time_machine.travel(now() + 16 * MINUTE, tick=False):
        led(host.browser(), host.entra.answer_logout(asked, logout_url=SLS, now=now()))
    assert "logout message refused: request_expired " in caplog.text


def test_a_request_to_sign_out_signs_nobody_in(host: Host) -> None:
    asked = asked_by(host)
    page = host.sign_in(response_in_response_to=asked.id, confirmation_in_response_to=asked.id)
    assert (page.status, host.reasons()) == (403, ["request_unknown"])


# --- our answer to the IdP --------------------------------------------------------------------------------------------


def wants_answers(host: Host) -> None:
    """As an IdP of another kind than Entra, which would say an error to a LogoutResponse."""
    tenants: Any = host.app.extensions["samljit"].directory.of_settings
    tenants["contoso"] = replace(tenants["contoso"], preset="generic")


def answer_in(url: str) -> tuple[Any, dict[str, str]]:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    root = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLResponse"]), -15))
    status = root.find(f"{{{SAMLP}}}Status/{{{SAMLP}}}StatusCode").get("Value").rpartition(":")[2]
    issuer = root.findtext(f"{{{SAML}}}Issuer")
    return root, {"issuer": issuer, "to": root.get("InResponseTo"), "at": root.get("Destination"), "status": status, **query}


@pytest.mark.parametrize("state", ["a state & more", None])
def test_an_idp_that_wants_an_answer_gets_one_with_its_relay_state(host: Host, state: str | None) -> None:
    browser = signed_in(host)
    wants_answers(host)
    page = led(browser, signed_request(host, id="_the-request", relay_state=state))
    assert page.url.partition("?")[0] == host.entra.slo_url
    _, said = answer_in(page.url)
    assert (said["issuer"], said["to"], said["at"], said["status"]) == (ENTITY_ID, "_the-request", host.entra.slo_url, "Success")
    assert said.get("RelayState") == state
    assert who(browser) == "nobody"


@pytest.mark.parametrize(("ends", "status"), [(True, "Success"), (False, "Responder")])
def test_in_a_frame_it_is_told_whether_the_session_will_end(mount: Mount, ends: bool, status: str) -> None:
    host = mount(ends_sessions=ends)
    browser = signed_in(host)
    wants_answers(host)
    answered = Frame(host).load(signed_request(host))
    assert (answered.status_code, answer_in(answered.headers["Location"])[1]["status"]) == (303, status)
    assert who(browser) == ("nobody" if ends else "user 1")


def test_52_an_unsigned_request_in_a_frame_is_told_that_nothing_was_done(host: Host) -> None:
    signed_in(host)
    wants_answers(host)
    answered = Frame(host).load(unsigned_request(host, index_of(host), issuer=host.entra.entity_id))
    assert answer_in(answered.headers["Location"])[1]["status"] == "Responder"


def test_52_the_answer_goes_to_the_idps_own_address_whatever_the_relay_state(host: Host) -> None:
    browser = signed_in(host)
    wants_answers(host)
    for state in ("https://evil.example/", "//evil.example", "javascript:alert(1)", "/reports/7"):
        page = led(browser, signed_request(host, relay_state=state))
        assert page.url.partition("?")[0] == host.entra.slo_url


def test_52_for_entra_relay_state_leads_nowhere(host: Host) -> None:
    for state in ("https://evil.example/", "//evil.example", "/reports/7"):
        browser = signed_in(host)
        page = led(browser, unsigned_request(host, index_of(host, -1), relay_state=state))
        assert (page.status, page.url.startswith(f"{SLS}?step=")) == (200, True)


# --- a session that ended elsewhere -----------------------------------------------------------------------------------


def with_clock(host: Host) -> list[float]:
    """The seconds that the watch over sessions goes by."""
    seconds = [1000.0]
    host.app.extensions["samljit"].watch._clock = lambda: seconds[0]
    return seconds


def test_a_session_is_looked_up_by_an_index_once_in_five_seconds(mount: Mount) -> None:
    host = mount(ends_sessions=True)
    seconds, browser = with_clock(host), signed_in(host)
    seconds[0] += KEPT_SECONDS
    statements: list[str] = []

    @event.listens_for(host.engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    def look_ups() -> int:
        who(browser)
        found = [statement for statement in statements if "samljit" in statement]
        statements.clear()
        return len(found)

    assert [look_ups() for _ in range(3)] == [1, 0, 0]
    seconds[0] += KEPT_SECONDS - 0.1
    assert look_ups() == 0
    seconds[0] += 0.2
    assert look_ups() == 1
    with host.engine.connect() as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN SELECT ended_at FROM samljit_session WHERE reference = 'x'")).all()
    assert "USING INDEX" in str(plan)


def test_another_process_sees_an_ended_session_after_five_seconds(mount: Mount) -> None:
    host = mount(ends_sessions=True)
    seconds, browser = with_clock(host), signed_in(host)
    assert who(browser) == "user 1"
    with host.engine.begin() as connection:  # as another process would
        connection.exec_driver_sql("UPDATE samljit_session SET ended_at = CURRENT_TIMESTAMP")
    assert who(browser) == "user 1"
    seconds[0] += KEPT_SECONDS
    assert who(browser) == "nobody"


def test_a_copy_of_a_cookie_is_worth_nothing_after_signing_out(scene: Host) -> None:
    browser, thief = signed_in(scene), scene.browser()
    stolen = browser.jar.find("session")
    assert stolen is not None
    thief.jar.store(f"session={stolen.value}; Path=/; HttpOnly", url=ORIGIN, now=now())
    assert who(thief) == "user 1"
    browser.submit(Form(LOGOUT))
    assert who(thief) == "nobody"


def test_a_session_whose_row_was_pruned_is_over(scene: Host) -> None:
    browser = signed_in(scene)
    with time_machine.travel(now() + timedelta(days=91), tick=False):
        pruned = scene.app.test_cli_runner().invoke(args=["samljit", "prune", "--json"])
    assert (pruned.exit_code, scene.count("samljit_session")) == (0, 0)
    assert who(browser) == "nobody"


def test_a_host_that_does_not_ask_for_it_pays_nothing(host: Host) -> None:
    browser = signed_in(host)
    with host.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE samljit_session")
    assert who(browser) == "user 1"


def test_while_it_cannot_be_told_nobody_is_signed_in_and_no_session_lost(scene: Host, caplog: pytest.LogCaptureFixture) -> None:
    browser = signed_in(scene)
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE samljit_session RENAME TO lost")
    assert who(browser) == "nobody"
    assert "whether a session is still on cannot be told" in caplog.text
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO samljit_session")
    assert who(browser) == "user 1"


def test_a_lost_database_is_said_and_ends_nothing(scene: Host, caplog: pytest.LogCaptureFixture) -> None:
    signed_in(scene)
    url = signed_request(scene)
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE samljit_session RENAME TO lost")
    assert Frame(scene).load(url).status_code == 503
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO samljit_session")
    assert Frame(scene).load(url).status_code == 200  # it was not used up meanwhile
    assert is_ended(scene)


def test_head_ends_nothing(scene: Host) -> None:
    browser: Browser = signed_in(scene)
    parts = urlsplit(signed_request(scene))
    assert scene.app.test_client().head(f"{parts.path}?{parts.query}", base_url=ORIGIN).status_code == 200
    assert (who(browser), is_ended(scene)) == ("user 1", False)
