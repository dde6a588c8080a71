"""Fake Entra: an identity provider that signs for real, with its own key, and answers as Microsoft Entra ID does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from lxml import etree

from samljit.testing.keys import KeyPair, make_key_pair, signing_key
from samljit.testing.logout import LogoutAsked, LogoutSpec, write_logout
from samljit.testing.messages import (
    EMAIL_FORMAT,
    ORDINARY_CONTEXT,
    PERSISTENT_FORMAT,
    REQUEST_UNSUPPORTED,
    REQUESTER,
    SAML,
    SAMLP,
    ResponseSpec,
    build,
)
from samljit.testing.metadata import write_metadata
from samljit.testing.people import Claim, Person, claims_of
from samljit.testing.signing import Element, sign_element, sign_templates

__all__ = [
    "AuthnRequest",
    "Claim",
    "FakeEntra",
    "KeyPair",
    "Person",
    "RequestRefused",
    "ResponseSpec",
    "SamlPost",
    "build",
    "claims_of",
    "documented_times",
    "make_key_pair",
    "sign_element",
    "sign_templates",
    "signing_key",
]

CONTOSO = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
_MOST_REQUEST_BYTES = 128 * 1024
_NAME_ID_FORMATS = frozenset(
    {
        PERSISTENT_FORMAT,
        EMAIL_FORMAT,
        "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
    }
)


class RequestRefused(ValueError):
    """Entra would show its own error page for this AuthnRequest; `str()` says why, with Entra's code where it is known."""


@dataclass(frozen=True, slots=True)
class AuthnRequest:
    """What a service provider asked for. `issuer` is its entity ID, `login_hint` and `relay_state` stood beside the XML."""

    id: str
    issuer: str
    acs_url: str
    force_authn: bool = False
    is_passive: bool = False
    destination: str | None = None
    login_hint: str | None = None
    relay_state: str | None = None


@dataclass(frozen=True, slots=True)
class SamlPost:
    """What the IdP's page makes the browser post: the form fields for `acs_url`, and the XML inside."""

    acs_url: str
    form: Mapping[str, str] = field(repr=False)
    xml: bytes = field(repr=False)


class FakeEntra:
    """One tenant of Entra with one SAML app in it.

    `keys` are its certificates' key pairs: the first signs, all are in the metadata. Without any, it is a key kept for the life of
    the process. `entity_id`, `sso_url` and `slo_url` are Entra's own for this tenant unless given.
    """

    def __init__(
        self,
        tenant_id: str = CONTOSO,
        *,
        entity_id: str | None = None,
        sso_url: str | None = None,
        slo_url: str | None = None,
        keys: Sequence[KeyPair] | None = None,
    ) -> None:
        self.tenant_id = tenant_id
        self.entity_id = entity_id or f"https://sts.windows.net/{tenant_id}/"
        self.sso_url = sso_url or f"https://login.microsoftonline.com/{tenant_id}/saml2"
        self.slo_url = slo_url or self.sso_url
        self.keys = tuple(keys or (signing_key(),))

    @property
    def key(self) -> KeyPair:
        """The active key pair: it signs."""
        return self.keys[0]

    def metadata(self, *, keys: Sequence[KeyPair] | None = None) -> bytes:
        """The app's federation metadata, byte order mark included, signed. `keys` gives other certificates or another order."""
        return write_metadata(
            entity_id=self.entity_id,
            sso_url=self.sso_url,
            slo_url=self.slo_url,
            keys=self.keys if keys is None else keys,
            signer=self.key,
        )

    def read_request(self, url: str) -> AuthnRequest:
        """The AuthnRequest in an HTTP-Redirect URL. Raises: RequestRefused for what Entra would not answer either."""
        query = parse_qs(urlsplit(url).query, keep_blank_values=True)
        root = _parse_request(_one(query, "SAMLRequest"))
        self._refuse_unsupported(root)
        issuer = root.findtext(f"{{{SAML}}}Issuer")
        acs_url = root.get("AssertionConsumerServiceURL")
        if not issuer or not acs_url:
            raise RequestRefused("The request names no Issuer or no AssertionConsumerServiceURL.")
        return AuthnRequest(
            id=root.get("ID"),
            issuer=issuer,
            acs_url=acs_url,
            force_authn=root.get("ForceAuthn") in ("true", "1"),
            is_passive=root.get("IsPassive") in ("true", "1"),
            destination=root.get("Destination"),
            login_hint=query.get("login_hint", [None])[0],
            relay_state=query.get("RelayState", [None])[0],
        )

    def spec_for(self, request: AuthnRequest, person: Person, *, now: datetime, **changes: Any) -> ResponseSpec:
        """The answer to a request, value by value. `changes` are fields of ResponseSpec."""
        spec = self._spec(person, acs_url=request.acs_url, audience=request.issuer, now=now)
        spec = replace(
            spec,
            response_in_response_to=request.id,
            confirmation_in_response_to=request.id,
            authn_instant=now if request.force_authn else spec.authn_instant,
        )
        return replace(spec, **changes)

    def respond(self, request: AuthnRequest, person: Person, *, now: datetime, **changes: Any) -> SamlPost:
        """The signed answer to a request. `now` is an aware datetime; `changes` are fields of ResponseSpec."""
        spec = self.spec_for(request, person, now=now, **changes)
        return _post(spec, acs_url=request.acs_url, relay_state=request.relay_state)

    def unsolicited(
        self, person: Person, *, acs_url: str, audience: str, now: datetime, relay_state: str | None = None, **changes: Any
    ) -> SamlPost:
        """A signed response that nobody asked for, as a tile in My Apps sends it: no InResponseTo anywhere."""
        spec = replace(self._spec(person, acs_url=acs_url, audience=audience, now=now), **changes)
        return _post(spec, acs_url=acs_url, relay_state=relay_state)

    def refuse(
        self,
        request: AuthnRequest,
        *,
        now: datetime,
        status: str = REQUESTER,
        status_detail: str | None = REQUEST_UNSUPPORTED,
        message: str = "AADSTS75016: constructed test text, not a real message.",
        **changes: Any,
    ) -> SamlPost:
        """An error in place of an assertion, unsigned as Entra's are. `status` and `status_detail` are SAML status URIs."""
        spec = self.spec_for(request, Person(object_id=""), now=now, has_assertion=False, sign="none", status=status)
        spec = replace(spec, status_detail=status_detail, status_message=message)
        return _post(replace(spec, **changes), acs_url=request.acs_url, relay_state=request.relay_state)

    # --- single logout (Entra: single-sign-out-saml-protocol) ---------------------------------------------------------

    def read_logout(self, url: str) -> LogoutAsked:
        """The LogoutRequest in an HTTP-Redirect URL. Raises: RequestRefused for what Entra would not answer either."""
        query = parse_qs(urlsplit(url).query, keep_blank_values=True)
        root = _parse_request(_one(query, "SAMLRequest"), kind="LogoutRequest")
        issuer, name_id = root.findtext(f"{{{SAML}}}Issuer"), root.findtext(f"{{{SAML}}}NameID")
        if not root.get("ID") or root.get("ID")[0].isdigit():
            raise RequestRefused("The ID is missing or begins with a digit.")
        if not issuer or not name_id:
            raise RequestRefused("The request names no Issuer or no NameID.")
        return LogoutAsked(
            id=root.get("ID"),
            issuer=issuer,
            name_id=name_id,
            session_indexes=tuple(found.text or "" for found in root.findall(f"{{{SAMLP}}}SessionIndex")),
            destination=root.get("Destination"),
            relay_state=query.get("RelayState", [None])[0],
            is_signed="Signature" in query,
        )

    def answer_logout(self, asked: LogoutAsked, *, logout_url: str, now: datetime, **changes: Any) -> str:
        """The address of the app's Logout URL with Entra's answer, unsigned unless a `key` is given. `changes` are fields of LogoutSpec."""
        spec = LogoutSpec(logout_url, f"_{uuid4()}", now, self.logout_issuer, in_response_to=asked.id)
        return write_logout(replace(spec, **changes))

    def request_logout(self, *, logout_url: str, session_index: str | None, now: datetime, **changes: Any) -> str:
        """The address that Entra sends a browser to when another app has signed out: a LogoutRequest for the app's Logout URL.

        Its NameID is a pairwise one, whatever the assertion's was. `changes` are fields of LogoutSpec; a `key` signs, as other IdPs do.
        """
        indexes = () if session_index is None else (session_index,)
        spec = LogoutSpec(logout_url, f"_{uuid4()}", now, self.logout_issuer, name_id="pairwise", session_indexes=indexes)
        return write_logout(replace(spec, **changes))

    @property
    def logout_issuer(self) -> str:
        """Entra's name in logout messages: its login host, and not the entity ID of its assertions."""
        parts = urlsplit(self.slo_url)
        return f"{parts.scheme}://{parts.netloc}/{self.tenant_id}/"

    def _spec(self, person: Person, *, acs_url: str, audience: str, now: datetime) -> ResponseSpec:
        """Times as observed in captures: valid from 5 minutes before to 60 after, confirmation alike, an old sign-in session."""
        until = now + timedelta(minutes=60)
        assertion_id = f"_{uuid4()}"
        name_id, name_id_format = _name_id(person, audience)
        return ResponseSpec(
            response_id=f"_{uuid4()}",
            issue_instant=now,
            destination=acs_url,
            response_in_response_to=None,
            response_issuer=self.entity_id,
            assertion_id=assertion_id,
            assertion_issue_instant=now,
            assertion_issuer=self.entity_id,
            name_id=name_id,
            name_id_format=name_id_format,
            recipient=acs_url,
            confirmation_in_response_to=None,
            confirmation_not_on_or_after=until,
            not_before=now - timedelta(minutes=5),
            not_on_or_after=until,
            # An Identifier that is no URI comes back as spn:<Identifier> (single-sign-on-saml-protocol, Audience).
            audiences=((audience if ":" in audience else f"spn:{audience}",),),
            authn_instant=now - timedelta(days=20),
            session_index=assertion_id,
            claims=claims_of(person, self.tenant_id),
            key=self.key,
        )

    def _refuse_unsupported(self, root: Element) -> None:
        """What Entra refuses: single-sign-on-saml-protocol (AuthnRequest) and its error codes."""
        policy = root.find(f"{{{SAMLP}}}NameIDPolicy")
        name_id_format = None if policy is None else policy.get("Format")
        wanted = [ref.text for ref in root.findall(f"{{{SAMLP}}}RequestedAuthnContext/{{{SAML}}}AuthnContextClassRef")]
        faults = {
            "The ID is missing or begins with a digit.": not root.get("ID") or root.get("ID")[0].isdigit(),
            "AADSTS75008: Destination is not the sign-in URL.": root.get("Destination") not in (None, self.sso_url),
            "The request names a Subject; send login_hint instead.": root.find(f"{{{SAML}}}Subject") is not None,
            "AADSTS75016: NameIDPolicy asks for an unknown Format.": name_id_format not in (None, *_NAME_ID_FORMATS),
            "AADSTS90011: SPNameQualifier is not supported.": policy is not None and policy.get("SPNameQualifier") is not None,
            "AADSTS75011: RequestedAuthnContext does not match the session.": bool(wanted) and ORDINARY_CONTEXT not in wanted,
        }
        for fault, is_there in faults.items():
            if is_there:
                raise RequestRefused(fault)


def documented_times(now: datetime) -> dict[str, datetime]:
    """The validity that Microsoft documents, in place of the observed one: 0 to +70 minutes, confirmation +5. For `**changes`."""
    return {
        "not_before": now,
        "not_on_or_after": now + timedelta(minutes=70),
        "confirmation_not_on_or_after": now + timedelta(minutes=5),
    }


def _name_id(person: Person, audience: str) -> tuple[str, str]:
    """The login name; where there is none, Entra sends a persistent id that differs for each app (saml-claims-customization)."""
    if person.login_name:
        return person.login_name, EMAIL_FORMAT
    pairwise = hashlib.sha256(f"{person.object_id} {audience}".encode()).digest()
    return base64.b64encode(pairwise).decode(), PERSISTENT_FORMAT


def _post(spec: ResponseSpec, *, acs_url: str, relay_state: str | None) -> SamlPost:
    xml = build(spec)
    form = {"SAMLResponse": base64.b64encode(xml).decode()}
    if relay_state is not None:
        form["RelayState"] = relay_state
    return SamlPost(acs_url, form, xml)


def _one(query: Mapping[str, list[str]], name: str) -> str:
    values = query.get(name, [])
    if len(values) != 1:
        raise RequestRefused(f"AADSTS750054: the URL holds {len(values)} {name} parameters, not one.")
    return values[0]


def _parse_request(encoded: str, *, kind: str = "AuthnRequest") -> Element:
    try:
        packed = base64.b64decode(encoded, validate=True)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        xml = inflate.decompress(packed, _MOST_REQUEST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise RequestRefused(f"SAMLRequest is not deflated base64: {error}") from error
    if inflate.unconsumed_tail or not inflate.eof:
        raise RequestRefused("SAMLRequest is cut off, or larger than 128 KiB.")
    try:
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise RequestRefused(f"AADSTS75005: the request is not XML: {error}") from error
    if root.tag != f"{{{SAMLP}}}{kind}":
        raise RequestRefused(f"AADSTS75005: the message is {root.tag}, not {kind}.")
    return root
