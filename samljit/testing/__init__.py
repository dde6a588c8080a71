"""Tests of SAML sign-in against an identity provider that signs for real, in a browser that enforces SameSite.

pytest finds the fixtures `fake_entra` and `saml_browser` by itself. Where the settings under test name
`fake_entra.metadata()`, written to a file, as the tenant's `metadata_file`, a host app's test of its sign-in is this:

    from samljit.testing import Person, sign_in

    ADELE = Person(object_id="11110000-aaaa-4444-8888-000000000001", given_name="Adele", email="adele@contoso.com")

    def test_a_newcomer_lands_on_the_page_they_wanted(app, fake_entra, saml_browser):
        browser = saml_browser({"https://app.example.com": app})
        page = sign_in(browser, fake_entra, ADELE, "https://app.example.com/saml/contoso/login?next=/reports")
        assert (page.status, page.url) == (200, "https://app.example.com/reports")

Any value of the response can be changed, to see a refusal: `sign_in(..., audiences=(("https://elsewhere.example",),))`; the names
are the fields of `ResponseSpec`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samljit.testing.browser import Browser, Form, Hop, Link, Page
    from samljit.testing.encryption import Encryption
    from samljit.testing.entra import AuthnRequest, FakeEntra, RequestRefused, SamlPost, documented_times
    from samljit.testing.keys import KeyPair, make_key_pair, signing_key
    from samljit.testing.logout import LogoutAsked, LogoutSpec, write_logout
    from samljit.testing.messages import ResponseSpec, build
    from samljit.testing.people import Claim, Person, claims_of
    from samljit.testing.signin import sign_in
    from samljit.testing.signing import add_signature, sign_element, sign_templates

_HOMES = {
    "browser": ("Browser", "Form", "Hop", "Link", "Page"),
    "entra": ("AuthnRequest", "FakeEntra", "RequestRefused", "SamlPost", "documented_times"),
    "encryption": ("Encryption",),
    "keys": ("KeyPair", "make_key_pair", "signing_key"),
    "logout": ("LogoutAsked", "LogoutSpec", "write_logout"),
    "messages": ("ResponseSpec", "build"),
    "people": ("Claim", "Person", "claims_of"),
    "signin": ("sign_in",),
    "signing": ("add_signature", "sign_element", "sign_templates"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AuthnRequest",
    "Browser",
    "Claim",
    "Encryption",
    "FakeEntra",
    "Form",
    "Hop",
    "KeyPair",
    "Link",
    "LogoutAsked",
    "LogoutSpec",
    "Page",
    "Person",
    "RequestRefused",
    "ResponseSpec",
    "SamlPost",
    "add_signature",
    "build",
    "claims_of",
    "documented_times",
    "make_key_pair",
    "sign_element",
    "sign_in",
    "sign_templates",
    "signing_key",
    "write_logout",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use: pytest imports this package at every start, and xmlsec and lxml are slow to load."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
