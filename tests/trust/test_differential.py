"""samljit beside python3-saml alone, over the whole corpus of faults: nothing is accepted that the library refuses, and the README
tells what the library accepts. `python -m tests.trust.test_differential` writes that list anew."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from samljit.errors import AssertionRejected, Reason
from samljit.model import Tenant
from samljit.saml.certificates import read_certificates
from samljit.saml.gate import parse, read_response
from samljit.saml.library import Library, _request_data, _settings
from samljit.testing import signing_key
from tests.host import ACS, ENTITY_ID
from tests.trust.corpus import Make, cases
from tests.trust.forge import Desk

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- python3-saml alone: begin -->\n", "<!-- python3-saml alone: end -->\n"

# What the library would open, fetch, run or be kept busy with, before it verifies anything: not asked. Each pattern has a character
# that base64 has not, so that no signature matches by chance.
_DANGEROUS = re.compile(
    rb"""file:|URI=["']http|REC-xslt|REC-xpath|xmldsig-filter2|Manifest["']|<[\w:]*Object""",
    re.IGNORECASE,
)

CASES = cases()
OTHER = signing_key("a key of nobody")


def plain_accepts(desk: Desk, xml: bytes, *, request_id: str | None) -> bool:
    """python3-saml, strict, with this tenant's certificate, as its documentation uses it."""
    settings = OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {"entityId": ENTITY_ID, "assertionConsumerService": {"url": ACS}},
            "idp": {
                "entityId": desk.entra.entity_id,
                "singleSignOnService": {"url": desk.entra.sso_url},
                "x509cert": base64.b64encode(desk.entra.key.certificate_der).decode(),
            },
        }
    )
    data: dict[str, Any] = {"https": "on", "http_host": "app.example.com", "script_name": "/saml/contoso/acs"}
    data |= {"get_data": {}, "post_data": {}}
    try:
        response = OneLogin_Saml2_Response(settings, base64.b64encode(xml).decode())
        if not response.is_valid(data, request_id=request_id):
            return False
        response.get_attributes()
        return bool(response.get_nameid())
    except Exception:  # it lets errors of all kinds out
        return False


def verdicts(name: str, make: Make, desk: Desk) -> tuple[Reason | None, bool | None]:
    """Why samljit refuses this fault, and whether python3-saml alone accepts it; None where that was not asked."""
    now = datetime.now(UTC)
    xml = make(desk, now)
    reason = desk.reason(xml, now=now)
    found = re.search(rb'InResponseTo="([^"]*)"', xml)
    many = len(xml) > 100_000 or xml.count(b"Reference") > 20 or xml.count(b"Transform") > 20
    if many or _DANGEROUS.search(xml):
        return reason, None
    return reason, plain_accepts(desk, xml, request_id=found[1].decode() if found else None)


@pytest.mark.parametrize(("name", "make"), CASES.items(), ids=CASES)
def test_what_samljit_accepts_the_library_accepts_too(name: str, make: Make) -> None:
    reason, library = verdicts(name, make, Desk())
    assert reason is not None or library is not False


def test_the_corpus_is_one_of_faults() -> None:
    accepted = [name for name, make in CASES.items() if verdicts(name, make, Desk())[0] is None]
    assert accepted == []


def test_the_prepared_library_says_of_every_fault_what_the_plain_one_says() -> None:
    """Of all that passes the gate, past our own checks: with the same settings, keys among them that did not sign."""
    said: dict[str, tuple[bool, bool]] = {}
    for name, make in CASES.items():
        desk, now = Desk(), datetime.now(UTC)
        xml = make(desk, now)
        try:
            gated = read_response(parse(xml), preset=desk.tenant.preset)
        except AssertionRejected:
            continue
        if gated.encrypted is None:
            said[name] = both_say(desk.tenant, gated.root, xml)
            stranger = replace(desk.tenant, idp=replace(desk.tenant.idp, certificates=read_certificates(OTHER.certificate_der)))
            said[f"{name}, another key"] = both_say(stranger, gated.root, xml)
    assert {name: verdict for name, verdict in said.items() if verdict[0] is not verdict[1]} == {}
    counted = Counter(verdict[0] for verdict in said.values())
    assert min(counted[True], counted[False]) > 20, counted


def both_say(tenant: Tenant, root: Any, xml: bytes) -> tuple[bool, bool]:
    """Whether python3-saml accepts it, as samljit prepares it and as it is."""
    request_id = root.get("InResponseTo")
    try:
        Library(tenant).check(root, plain=root, request_id=request_id)
        prepared = True
    except AssertionRejected:
        prepared = False
    response = OneLogin_Saml2_Response(OneLogin_Saml2_Settings(_settings(tenant)), base64.b64encode(xml).decode())
    return prepared, response.is_valid(_request_data(tenant.acs_url), request_id=request_id)


def differences() -> str:
    """What python3-saml alone accepts, by samljit's reason, as a Markdown table."""
    desk, by_reason = Desk(), defaultdict(list)
    for name, make in CASES.items():
        reason, library = verdicts(name, make, desk)
        if reason is not None and library:
            by_reason[reason].append(name)
    lines = ["| samljit refuses as | what python3-saml 1.16 alone, in strict mode, accepts |", "| --- | --- |"]
    lines += [f"| `{reason}` | {', '.join(by_reason[reason])} |" for reason in Reason if by_reason[reason]]
    return "\n".join(lines) + "\n"


def test_the_readme_tells_what_the_library_alone_accepts() -> None:
    assert BEGIN + differences() + END in README.read_text()


def test_the_librarys_own_modules_stay_as_they_are_for_others_in_the_process() -> None:
    code = """
import onelogin.saml2.response as response, onelogin.saml2.utils as utils, onelogin.saml2.xml_utils as xml_utils, xmlsec
modules = (response, utils, xml_utils)
classes = (response.OneLogin_Saml2_Response, utils.OneLogin_Saml2_Utils, xml_utils.OneLogin_Saml2_XML)
def state(): return [dict(vars(holder)) for holder in (*modules, *classes)]
before = state()
from datetime import UTC, datetime
from tests.trust.forge import Desk
desk, now = Desk(), datetime.now(UTC)
assert desk.reason(desk.respond(now=now), now=now) is None
after = state()
assert before == after and utils.xmlsec is xmlsec
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=README.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    text = README.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    README.write_text(text[:start] + differences() + text[end:])
