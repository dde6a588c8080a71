"""Signed AuthnRequests (SAML bindings 3.4.4.1), held against implementations that are not ours: openssl, python3-saml, pysaml2."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from onelogin.saml2.auth import OneLogin_Saml2_Auth

from samljit.saml.redirect import RSA_SHA256, redirect_to
from samljit.saml.request import redirect_url
from samljit.settings import read_settings
from samljit.testing import FakeEntra, signing_key
from tests.host import ACS, ENTITY_ID, LOGIN, Host, key_files, make_host, settings_for
from tests.test_requests import CONTOSO, FRESH

OURS, NEXT = signing_key("our own"), signing_key("our next one")


@pytest.fixture
def signing_host(tmp_path: Path) -> Iterator[Host]:
    entra = FakeEntra()
    sp = key_files(tmp_path, now=OURS, next=NEXT)
    host = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, sp=sp, tenant={"sign_requests": True}))
    yield host
    host.session.remove()
    host.engine.dispose()


@pytest.fixture
def openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        how = "this test asks the program openssl; to switch it on: apt-get install openssl"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return found


def asked(host: Host, query: str = "") -> str:
    """The query string that a sign-in sends to the IdP."""
    return urlsplit(host.browser().get(LOGIN + query).url).query


def signed_part(query: str) -> tuple[str, bytes]:
    """What the signature covers, as it stands in the query string, and the signature."""
    covered, _, rest = query.partition("&Signature=")
    return covered, base64.b64decode(unquote(rest.partition("&")[0]), validate=True)


def test_openssl_verifies_a_signed_request(tmp_path: Path, signing_host: Host, openssl: str) -> None:
    covered, signature = signed_part(asked(signing_host))
    assert [name for name, _ in parse_qsl(covered)] == ["SAMLRequest", "SigAlg"]
    assert dict(parse_qsl(covered))["SigAlg"] == RSA_SHA256
    files = {"signature": signature, "covered": covered.encode(), "our.crt": OURS.certificate_pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    extract = [openssl, "x509", "-in", "our.crt", "-pubkey", "-noout", "-out", "key.pem"]
    subprocess.run(extract, cwd=tmp_path, check=True)
    command = [openssl, "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "covered"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Verified OK")
    (tmp_path / "covered").write_bytes(covered.replace("SAMLRequest=", "SAMLRequest=A", 1).encode())
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def python3_saml(query: str, *, certificate: str, as_it_came: bool = False) -> bool:
    """Whether python3-saml, told that this certificate is the sender's, takes the query's signature for good.

    It encodes the values anew before it verifies, as some IdPs do, or looks at the query `as_it_came`.
    """
    settings = {
        "strict": True,
        "sp": {"entityId": "https://idp.example/", "assertionConsumerService": {"url": "https://idp.example/x"}},
        "idp": {"entityId": ENTITY_ID, "singleSignOnService": {"url": ACS}, "x509cert": certificate},
    }
    given = dict(parse_qsl(query))
    data = {"http_host": "idp.example", "script_name": "/sso", "query_string": query, "get_data": given}
    auth = OneLogin_Saml2_Auth({**data, "validate_signature_from_qs": as_it_came}, old_settings=settings)
    return "Signature" in given and bool(auth.validate_request_signature(given))  # without one, it says that all is well


@pytest.mark.parametrize("query", ["", "?login_hint=adele%40contoso.example", "?force=1"])
def test_python3_saml_verifies_a_signed_request(signing_host: Host, query: str) -> None:
    sent = asked(signing_host, query)
    assert python3_saml(sent, certificate=OURS.certificate_base64)
    assert not python3_saml(sent, certificate=NEXT.certificate_base64)
    assert not python3_saml(sent.replace("SAMLRequest=", "SAMLRequest=A", 1), certificate=OURS.certificate_base64)


@pytest.mark.parametrize("relay_state", [None, "", "a b+c/d=&%", "\u00e4\u4e16"])
def test_a_relay_state_is_signed_between_the_message_and_the_algorithm(relay_state: str | None) -> None:
    url = redirect_to("https://idp.example/slo", b"<x/>", relay_state=relay_state, key=OURS.private_key)
    covered, _ = signed_part(urlsplit(url).query)
    names = ["SAMLRequest", *(["RelayState"] if relay_state is not None else []), "SigAlg"]
    assert [name for name, _ in parse_qsl(covered, keep_blank_values=True)] == names
    assert relay_state is None or dict(parse_qsl(covered, keep_blank_values=True))["RelayState"] == relay_state
    assert python3_saml(urlsplit(url).query, certificate=OURS.certificate_base64, as_it_came=True)


@pytest.mark.filterwarnings("ignore")
def test_pysaml2_verifies_a_signed_request(signing_host: Host) -> None:
    from saml2.sigver import RSACrypto, verify_redirect_signature

    sent = asked(signing_host)
    message = dict(parse_qsl(sent))
    for pair, is_good in ((OURS, True), (NEXT, False)):
        found = verify_redirect_signature(message, RSACrypto(None), pair.certificate_base64)
        assert bool(found) is is_good


def test_the_idps_own_query_stays_outside_the_signature(tmp_path: Path) -> None:
    entra = FakeEntra(sso_url="https://login.microsoftonline.com/x/saml2?app=1")
    given = settings_for(tmp_path, entra, sp=key_files(tmp_path, now=OURS), tenant={"sign_requests": True})
    host = make_host(tmp_path, entra=entra, settings=given)
    sent = asked(host)
    assert sent.startswith("app=1&SAMLRequest=")
    assert python3_saml(sent.removeprefix("app=1&"), certificate=OURS.certificate_base64)
    host.engine.dispose()


def test_entra_answers_a_signed_request_and_the_person_is_signed_in(signing_host: Host) -> None:
    assert signing_host.sign_in(login_url=f"{LOGIN}?next=/reports/7").text == "report 7 for user 1"


def test_without_the_setting_nothing_is_signed_though_there_is_a_key(tmp_path: Path) -> None:
    entra = FakeEntra()
    host = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, sp=key_files(tmp_path, now=OURS)))
    assert [name for name, _ in parse_qsl(asked(host))] == ["SAMLRequest"]
    host.engine.dispose()


def test_a_tenant_that_signs_never_sends_an_unsigned_request() -> None:
    with pytest.raises(ValueError, match="no key"):
        redirect_url(replace(CONTOSO, sign_requests=True), FRESH)


def test_signed_requests_need_a_key_of_ours(tmp_path: Path) -> None:
    given = settings_for(tmp_path, FakeEntra(), tenant={"sign_requests": True})
    assert faults(given) == [("$.tenants.contoso.sign_requests", "key_missing")]
    assert faults({**given, "sp": key_files(tmp_path, now=OURS)}) == []


def faults(given: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in read_settings(given)[1]]


def test_values_are_encoded_with_percent_signs_alone() -> None:
    url = redirect_to("https://idp.example/", b"<x/>", relay_state="a b", beside={"login_hint": "c d+e"})
    assert "+" not in url
    assert url.endswith(f"&RelayState=a%20b&login_hint={quote('c d+e', safe='')}")
