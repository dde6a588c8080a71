"""What a forger works with: answers with any fault in them, posted in a real flow, and the one list of what a refusal must leave alone."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from lxml import etree

from samljit.errors import AssertionRejected, Reason
from samljit.model import Assertion, IdentityProvider, MappingRules, RequireSignature, Tenant
from samljit.saml.certificates import read_certificates
from samljit.saml.encryption import read_keys
from samljit.saml.request import RequestIds
from samljit.saml.validator import Validator
from samljit.testing import AuthnRequest, Browser, FakeEntra, Form, KeyPair, Page, Person
from samljit.testing.encryption import XENC, XENC11
from tests.host import ACS, ADELE, ENTITY_ID, LOGIN, ORIGIN, Host

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DS = "http://www.w3.org/2000/09/xmldsig#"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
NS = {"saml": SAML, "samlp": SAMLP, "ds": DS}

Edit = Callable[[bytes], bytes]
Hook = Callable[[Any], None]


def same(xml: bytes) -> bytes:
    return xml


def swap(old: str, new: str, *, times: int = -1) -> Edit:
    """Changes the message after it was signed; what is to be changed must be there."""

    def edit(xml: bytes) -> bytes:
        assert old.encode() in xml, old
        return xml.replace(old.encode(), new.encode(), times)

    return edit


def at(path: str, change: Callable[[Any], Any]) -> Hook:
    """A hook of ResponseSpec that changes the first element on this XPath."""

    def hook(root: Any) -> None:
        change(root.xpath(path, namespaces=NS)[0])

    return hook


def element(xml: str) -> Any:
    """An element from text in which the prefixes saml, samlp, ds, xs and xsi are declared."""
    declared = f'xmlns:saml="{SAML}" xmlns:samlp="{SAMLP}" xmlns:ds="{DS}" xmlns:xsi="{XSI}"'
    return etree.fromstring(f"<wrapper {declared}>{xml}</wrapper>")[0]


def put(path: str, xml: str, *, index: int | None = None) -> Hook:
    """A hook that puts one more child into the element on this XPath: last, or at `index`."""
    return at(path, lambda parent: parent.insert(len(parent) if index is None else index, element(xml)))


def attribute(path: str, name: str, value: str) -> Hook:
    return at(path, lambda found: found.set(name, value))


def drop(path: str) -> Hook:
    return at(path, lambda found: found.getparent().remove(found))


def values_in(xml: bytes) -> set[str]:
    """Everything that a message says about a person: the NameID and the claim values, where long enough to be told from prose."""
    try:
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, recover=True, huge_tree=True))
    except (etree.XMLSyntaxError, ValueError):
        return set()
    if root is None:
        return set()
    wanted = (f"{{{SAML}}}AttributeValue", f"{{{SAML}}}NameID")
    return {text for found in root.iter(*wanted) for text in found.itertext() if len(text.strip()) > 4}


@dataclass
class Flow:
    """A sign-in that has been begun in a browser, and the answer to it that was made."""

    browser: Browser
    xml: bytes
    page: Page
    posted: Mapping[str, str] = field(repr=False)


def post_fields(browser: Browser, fields: list[tuple[str, str]], *, acs: str = ACS) -> Page:
    return browser.submit(Form(acs, fields=tuple(fields)), by_script=True)


def answer(
    host: Host, *, person: Person = ADELE, edit: Edit = same, browser: Browser | None = None, login_url: str = LOGIN, **changes: Any
) -> Flow:
    """Begins a sign-in, has Fake Entra answer it with `changes`, changes the bytes with `edit`, and posts them from the IdP's page."""
    browser = browser or host.browser()
    page = browser.get(login_url)
    assert page.is_outside, page.text
    post = host.entra.respond(host.entra.read_request(page.url), person, now=datetime.now(UTC), **changes)
    xml = edit(post.xml)
    fields = {"SAMLResponse": base64.b64encode(xml).decode()}
    return Flow(browser, xml, post_fields(browser, list(fields.items())), fields)


def refused(host: Host, caplog: pytest.LogCaptureFixture, reason: Reason, **how: Any) -> Page:
    """Posts a forged answer and asserts all that a refusal is: see `nothing_happened`."""
    with nothing_happened(host, caplog, reason) as scene:
        scene.flow = answer(host, **how)
    return scene.flow.page


@dataclass
class nothing_happened:
    """Around a refused sign-in: this exact reason in the log row, nobody signed in, no user or identity touched, no value let out."""

    host: Host
    caplog: pytest.LogCaptureFixture
    reason: Reason
    flow: Flow = field(init=False)

    def __enter__(self) -> nothing_happened:
        self.caplog.set_level("DEBUG", logger="samljit")
        self.caplog.set_level("DEBUG", logger="onelogin")
        self._before = self._rows()
        self._attempts = self.host.count("samljit_attempt")
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            return
        attempts = self.host.rows("samljit_attempt")[self._attempts :]
        assert [row.reason for row in attempts] == [self.reason.value], [(row.reason, row.detail) for row in attempts]
        assert self.flow.page.status < 500
        assert self.flow.browser.get(f"{ORIGIN}/").text == "nobody"
        assert self._rows() == self._before
        shown = self.flow.page.text + self.caplog.text + "".join(str(tuple(row)) for row in attempts)
        assert [value for value in values_in(self.flow.xml) if value in shown] == []
        assert base64.b64encode(self.flow.xml)[:200].decode() not in shown

    def _rows(self) -> tuple[Any, ...]:
        return tuple(tuple(map(tuple, self.host.rows(table))) for table in ("users", "samljit_identity"))


def accepted(host: Host, **how: Any) -> Page:
    """The same for an answer that must get in."""
    flow = answer(host, **how)
    assert host.reasons() == []
    assert flow.page.status == 200, flow.page.text
    assert flow.page.text.startswith("user "), flow.page.text
    return flow.page


def public_face(page: Page) -> str:
    """A refusal page without what differs from one refusal to the next by design: reference, time, and our own request's nonce."""
    text = re.sub(r"SJ-[0-9A-Z]{4}-[0-9A-Z]{4}", "SJ", page.text)
    text = re.sub(r"\?again=[0-9a-f]*", "", text)
    return re.sub(r"<time.*?</time>|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "", text)


def sealed(plain: bytes, to: KeyPair) -> bytes:
    """An EncryptedAssertion that holds these bytes, whatever they are, for the holder of that key: AES-256-GCM and RSA-OAEP."""
    key, nonce = AESGCM.generate_key(256), bytes(12)
    public = x509.load_der_x509_certificate(to.certificate_der).public_key()
    assert isinstance(public, RSAPublicKey)
    wrapped = public.encrypt(key, OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None))
    key_value, value = (base64.b64encode(data).decode() for data in (wrapped, nonce + AESGCM(key).encrypt(nonce, plain, None)))
    return (
        f'<EncryptedAssertion xmlns="{SAML}"><EncryptedData xmlns="{XENC}"><EncryptionMethod Algorithm="{XENC11}aes256-gcm"/>'
        f'<KeyInfo xmlns="{DS}"><EncryptedKey xmlns="{XENC}"><EncryptionMethod Algorithm="{XENC}rsa-oaep-mgf1p"/>'
        f"<CipherData><CipherValue>{key_value}</CipherValue></CipherData></EncryptedKey></KeyInfo>"
        f"<CipherData><CipherValue>{value}</CipherValue></CipherData></EncryptedData></EncryptedAssertion>"
    ).encode()


def cut_out(xml: bytes) -> tuple[bytes, bytes, bytes]:
    """A response as Entra writes it, in three: what stands before its assertion, the assertion, and what follows."""
    start, end = xml.index(b"<Assertion "), xml.index(b"</Assertion>") + len(b"</Assertion>")
    return xml[:start], xml[start:end], xml[end:]


# --- without a host: the validator alone ------------------------------------------------------------------------------


@dataclass
class Desk:
    """A validator with one tenant, and the Fake Entra of that tenant. `tenant` may be replaced between answers. `keys` are the IdP's,
    `own_keys` ours, which it may encrypt to."""

    skew: int = 120
    keys: tuple[KeyPair, ...] | None = None
    own_keys: tuple[KeyPair, ...] = ()
    require: RequireSignature = RequireSignature.ASSERTION_OR_RESPONSE
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entra = FakeEntra(keys=self.keys)
        self.requests = RequestIds([b"a key of this test run"])
        own = read_keys([pair.private_key_pem for pair in self.own_keys])
        self.validator = Validator(requests=self.requests, skew=timedelta(seconds=self.skew), decryption_keys=own)
        certificates = tuple(found for key in self.entra.keys for found in read_certificates(key.certificate_pem))
        values: dict[str, Any] = {
            "id": UUID("00000000-0000-4000-8000-00000000000a"),
            "slug": "contoso",
            "name": "Contoso Ltd",
            "enabled": True,
            "revision": uuid4().hex,
            "preset": "entra",
            "entity_id": ENTITY_ID,
            "acs_url": ACS,
            "metadata_url": ENTITY_ID,
            "idp": IdentityProvider(self.entra.entity_id, self.entra.sso_url, certificates),
            "mapping": MappingRules("http://schemas.microsoft.com/identity/claims/objectidentifier"),
            "entra_tenant_id": self.entra.tenant_id,
            "require_signature": self.require,
        }
        self.tenant = Tenant(**{**values, **self.changes})

    def request_id(self, now: datetime, **options: Any) -> str:
        return self.requests.issue(self.tenant.id, now=now, **options).id

    def respond(self, person: Person = ADELE, *, now: datetime, requested_at: datetime | None = None, **changes: Any) -> bytes:
        audience = self.tenant.expected_audience
        request = AuthnRequest(self.request_id(requested_at or now), audience, self.tenant.acs_url)
        return self.entra.respond(request, person, now=now, **changes).xml

    def validate(self, xml: bytes, *, now: datetime) -> Assertion:
        return self.validator.validate(xml, tenant=self.tenant, now=now)

    def reason(self, xml: bytes, *, now: datetime) -> Reason | None:
        """Why these bytes are refused, or None where they are accepted."""
        try:
            self.validate(xml, now=now)
        except AssertionRejected as rejected:
            return rejected.reason
        return None
