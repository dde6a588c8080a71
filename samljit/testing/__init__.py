"""Tests of SAML sign-in against an identity provider that signs for real, in a browser that enforces SameSite."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samljit.testing.entra import AuthnRequest, FakeEntra, RequestRefused, SamlPost, documented_times
    from samljit.testing.keys import KeyPair, make_key_pair, signing_key
    from samljit.testing.messages import ResponseSpec, build
    from samljit.testing.people import Claim, Person, claims_of
    from samljit.testing.signing import add_signature, sign_element, sign_templates

_HOMES = {
    "entra": ("AuthnRequest", "FakeEntra", "RequestRefused", "SamlPost", "documented_times"),
    "keys": ("KeyPair", "make_key_pair", "signing_key"),
    "messages": ("ResponseSpec", "build"),
    "people": ("Claim", "Person", "claims_of"),
    "signing": ("add_signature", "sign_element", "sign_templates"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AuthnRequest",
    "Claim",
    "FakeEntra",
    "KeyPair",
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
    "sign_templates",
    "signing_key",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use: pytest imports this package at every start, and xmlsec and lxml are slow to load."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
