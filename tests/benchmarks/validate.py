"""How fast one response is validated: python3-saml as its documentation uses it, samljit, and the floor, side by side in one run.

    python -m tests.benchmarks.validate [--rounds N] [--profile]

The floor is one parse and one xmlsec verification with a loaded key: nothing that checks a signature can be faster. For the encrypted
response it is that of the same one in clear. Each round times
ten of each in a row, one kind after the other on the same responses, so that the machine's drift hits all of them, and none pays for
the memory that another has just churned; the medians and their ratios count.
"""

from __future__ import annotations

import argparse
import base64
import copy
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import xmlsec
from lxml import etree
from onelogin.saml2.auth import OneLogin_Saml2_Auth

from samljit.model import IdentityProvider, MappingRules, Tenant
from samljit.saml.certificates import read_certificates
from samljit.saml.encryption import read_keys
from samljit.saml.request import RequestIds
from samljit.saml.validator import Validator
from samljit.testing import AuthnRequest, Encryption, FakeEntra, Person, signing_key

ACS = "https://app.example.com/saml/contoso/acs"
BATCH = 10
OWN = signing_key("the service provider's own")
ENTITY_ID = "https://app.example.com/saml/contoso/metadata"


@dataclass(frozen=True)
class Case:
    name: str
    xml: bytes
    request_id: str
    is_encrypted: bool = False


def make_tenant(entra: FakeEntra) -> Tenant:
    certificates = read_certificates(entra.key.certificate_der)
    return Tenant(
        id=UUID(int=1),
        slug="contoso",
        name="Contoso",
        enabled=True,
        revision="1",
        preset="entra",
        entity_id=ENTITY_ID,
        acs_url=ACS,
        metadata_url=ENTITY_ID,
        idp=IdentityProvider(entra.entity_id, entra.sso_url, certificates),
        mapping=MappingRules(identity_source="objectidentifier"),
        entra_tenant_id=entra.tenant_id,
    )


def make_case(
    entra: FakeEntra, requests: RequestIds, *, groups: int, now: datetime, encryption: Encryption | None = None
) -> Case:
    request = requests.issue(UUID(int=1), now=now)
    person = Person(
        object_id="11110000-aaaa-4444-8888-000000000001",
        display_name="Adele Vance",
        given_name="Adele",
        surname="Vance",
        email="adele@contoso.example",
        upn="adele@contoso.example",
        groups=tuple(f"0a0a0a0a-0000-4000-8000-{number:012d}" for number in range(groups)),
    )
    post = entra.respond(AuthnRequest(id=request.id, issuer=ENTITY_ID, acs_url=ACS), person, now=now, encryption=encryption)
    name = f"{groups} groups" if encryption is None else "encrypted"
    return Case(name, post.xml, request.id, is_encrypted=encryption is not None)


def plain(entra: FakeEntra, case: Case, *, directory: Path | None) -> Callable[[], None]:
    """python3-saml as its README does it: an Auth object for each request, process_response, then what an app asks of it.

    With a directory, the settings are read from the settings.json in it, which is what the README begins with and its Flask demo does;
    without, they are given as a dict, which is as fast as it gets.
    """
    own_key = {"x509cert": OWN.certificate_pem.decode(), "privateKey": OWN.private_key_pem.decode()} if case.is_encrypted else {}
    certificate = base64.b64encode(entra.key.certificate_der).decode()
    settings = {
        "strict": True,
        "sp": {"entityId": ENTITY_ID, "assertionConsumerService": {"url": ACS}, **own_key},
        "idp": {"entityId": entra.entity_id, "singleSignOnService": {"url": entra.sso_url}, "x509cert": certificate},
    }
    request: dict[str, Any] = {"https": "on", "http_host": "app.example.com", "script_name": "/saml/contoso/acs", "get_data": {}}
    request["post_data"] = {"SAMLResponse": base64.b64encode(case.xml).decode()}
    if directory is not None:
        (directory / "settings.json").write_text(json.dumps(settings))

    def run() -> None:
        if directory is None:
            auth = OneLogin_Saml2_Auth(request, old_settings=copy.deepcopy(settings))  # it changes what it is given
        else:
            auth = OneLogin_Saml2_Auth(request, custom_base_path=str(directory))
        auth.process_response(request_id=case.request_id)
        assert auth.is_authenticated(), auth.get_last_error_reason()
        assert auth.get_attributes()
        assert auth.get_nameid()

    return run


def ours(validator: Validator, tenant: Tenant, case: Case, now: datetime) -> Callable[[], None]:
    return lambda: (validator.validate(case.xml, tenant=tenant, now=now), None)[1]


def floor(entra: FakeEntra, case: Case) -> Callable[[], None]:
    key = xmlsec.Key.from_memory(entra.key.certificate_pem, xmlsec.KeyFormat.CERT_PEM)

    def run() -> None:
        root = etree.fromstring(case.xml)
        xmlsec.tree.add_ids(root, ["ID"])
        context = xmlsec.SignatureContext()
        context.key = key
        context.verify(xmlsec.tree.find_node(root, "Signature", xmlsec.constants.DSigNs))

    return run


def measure(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(BATCH):
                run()
            times[name].append((time.perf_counter() - start) / BATCH)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--profile", action="store_true", help="print where samljit's own time goes")
    options = parser.parse_args()
    entra, now = FakeEntra(), datetime.now(UTC)
    requests = RequestIds([b"a key of this run"])
    validator = Validator(requests=requests, skew=timedelta(seconds=120), decryption_keys=read_keys([OWN.private_key_pem]))
    tenant = make_tenant(entra)
    print("medians in ms, and ratios within a round: plain/samljit (settings from files), plain/samljit (from a dict), samljit/floor")
    encrypted = Encryption(OWN.certificate_der)
    for groups, encryption in ((5, None), (150, None), (5, encrypted)):
        case = make_case(entra, requests, groups=groups, now=now, encryption=encryption)
        clear = case if encryption is None else make_case(entra, requests, groups=groups, now=now)
        with tempfile.TemporaryDirectory() as directory:
            runs = {
                "plain": plain(entra, case, directory=Path(directory)),
                "plain, dict": plain(entra, case, directory=None),
                "samljit": ours(validator, tenant, case, now),
                "floor": floor(entra, clear),
            }
            times = measure(runs, options.rounds)
        report(case.name, times)
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(lambda run=runs["samljit"]: [run() for _ in range(options.rounds)])
            pstats.Stats(profile).sort_stats("tottime").print_stats(14)


def report(name: str, times: dict[str, list[float]]) -> None:
    told = "  ".join(f"{kind} {statistics.median(values) * 1000:.3f}" for kind, values in times.items())
    ratios = [
        statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))
        for slow, fast in (("plain", "samljit"), ("plain, dict", "samljit"), ("samljit", "floor"))
    ]
    print(f"{name:<11} {told}   " + "  ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
