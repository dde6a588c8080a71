"""python3-saml's verdict, which is always required: the fence around the field's library, and what it is told (trust: 50, 51)."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock, local
from time import time
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import onelogin.saml2
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from lxml.etree import _Element
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from samljit.errors import AssertionRejected, Reason
from samljit.model import RequireSignature, Tenant
from samljit.saml.names import HTTP_POST, HTTP_REDIRECT
from samljit.saml.reader import read_time


class Library:
    """python3-saml, set up once for one revision of one tenant.

    It only ever sees messages that have passed the gate and whose signature has been verified, and it says yes or no: no value is read
    from it. It judges times by the process's clock, not by a `now`.
    """

    def __init__(self, tenant: Tenant) -> None:
        # "custom_base_path" keeps it from looking for keys beside its own package or the process's directory
        self._settings = OneLogin_Saml2_Settings(settings=_settings(tenant), custom_base_path="/nonexistent/samljit/")
        self._request = _request_data(tenant.acs_url)

    def check(self, response: _Element, *, plain: _Element, request_id: str | None) -> None:
        """Holds the response as it came through the gate against the library's checks.

        `plain` is the same with its assertion decrypted. Raises: AssertionRejected (library_refused), whatever the library raises: it
        lets all kinds of errors out.
        """
        try:
            judge = _private_library().PlainResponse(self._settings, response, plain)
            accepted = judge.is_valid(self._request, request_id=request_id, raise_exceptions=True)
        except Exception as error:
            # its messages quote the response, so only the class and number go to the log
            raise AssertionRejected(Reason.LIBRARY_REFUSED, f"{type(error).__name__} {getattr(error, 'code', '')}") from None
        if accepted is not True:
            raise AssertionRejected(Reason.LIBRARY_REFUSED)


class _Kept(local):
    """What one thread has read already: lxml's schemas and expressions are not made to be used by two threads at once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.paths: dict[str, Any] = {}


_kept = _Kept()
_reading = Lock()  # libxml2 sets up its schema types at the first schema, and two threads at once get in each other's way


class _PreparedXml(OneLogin_Saml2_XML):  # type: ignore[misc]
    """The library's XML helpers, with its schemas and XPath expressions read once to a thread instead of at every response."""

    @staticmethod
    def validate_xml(xml: Any, schema: str, debug: bool = False) -> Any:
        schemas = _kept.schemas
        if schema not in schemas:
            folder = Path(onelogin.saml2.__file__).parent / "schemas"
            with _reading:
                schemas[schema] = etree.XMLSchema(etree.parse(folder / schema))
        return xml if schemas[schema].validate(xml) else "invalid_xml"

    @staticmethod
    def query(dom: Any, query: str, context: Any = None, tagid: str | None = None) -> Any:
        paths = _kept.paths
        path = paths.get(query)
        if path is None:
            path = paths[query] = etree.XPath(query, namespaces=OneLogin_Saml2_Constants.NSMAP, regexp=False)
        source = dom if context is None else context
        return path(source) if tagid is None else path(source, tagid=tagid)


@cache
def _private_library() -> ModuleType:
    """python3-saml's response module, loaded once more for us alone, with prepared XML helpers and keys.

    Its own modules stay as they are for whoever else uses them in this process. The logic is the library's, line by line; what is
    prepared is what it would otherwise read anew for each response: half of its time goes into parsing the same schema again.
    """
    utils, response = _load_again("onelogin.saml2.utils"), _load_again("onelogin.saml2.response")
    prepared = SimpleNamespace(**vars(xmlsec))
    prepared.Key = SimpleNamespace(from_memory=_load_key)
    vars(utils).update(OneLogin_Saml2_XML=_PreparedXml, xmlsec=prepared)
    utils.OneLogin_Saml2_Utils.b64decode = staticmethod(lambda parsed: parsed)  # see PlainResponse
    utils.OneLogin_Saml2_Utils.normalize_url = staticmethod(lru_cache(maxsize=4096)(utils.OneLogin_Saml2_Utils.normalize_url))
    utils.OneLogin_Saml2_Utils.now = staticmethod(lambda: int(time()))  # what it makes of utcnow(), which Python has deprecated
    utils.OneLogin_Saml2_Utils.parse_SAML_to_time = staticmethod(_prepared_time(utils.OneLogin_Saml2_Utils.parse_SAML_to_time))
    vars(response).update(OneLogin_Saml2_XML=_PreparedXml, OneLogin_Saml2_Utils=utils.OneLogin_Saml2_Utils)
    vars(response).update(PlainResponse=_plain_response(response.OneLogin_Saml2_Response))
    return response


@lru_cache(maxsize=4096)
def _load_key(certificate: str, _key_format: Any, _password: None) -> Any:
    """The public key of a configured certificate, without the certificate.

    xmlsec copies the key for each verification; where the certificate hangs on to it, that is read anew each time, which takes as long
    as the signature itself. Nothing asks a key that was set for its certificate.
    """
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    return xmlsec.Key.from_memory(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), xmlsec.constants.KeyDataFormatPem)


def _prepared_time(original: Callable[[str], int]) -> Callable[[str], int]:
    """The library's reading of a time, without strptime where the text has the one form that our own checks accept."""

    def read(text: str) -> int:
        try:
            return int(read_time(text, "").timestamp())
        except AssertionRejected:
            return original(text)

    return read


def _plain_response(base: Any) -> Any:
    """The library's response class, given the tree that has passed the gate, and told what was decrypted.

    Its own parser would build the same tree once more. Its own decryption would follow references, and rename prefixes.
    """

    class PlainResponse(base):  # type: ignore[misc]
        def __init__(self, settings: Any, response: _Element, plain: _Element) -> None:
            self._plain = plain
            self._found: dict[tuple[str, str | None], Any] = {}
            super().__init__(settings, response)

        def _query(self, query: str, tagid: str | None = None) -> Any:
            # it asks the same of the same unchanged tree over and over
            if (query, tagid) not in self._found:
                self._found[query, tagid] = super()._query(query, tagid)
            return self._found[query, tagid]

        def _decrypt_assertion(self, xml: Any) -> Any:
            return self._plain

    return PlainResponse


def _load_again(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _settings(tenant: Tenant) -> dict[str, Any]:
    """A fresh dict with every security switch written out, also where it is the default."""
    if tenant.idp is None:
        raise ValueError(f"tenant {tenant.slug} is not connected")
    certificates = [base64.b64encode(certificate.der).decode("ascii") for certificate in tenant.idp.certificates]
    require = tenant.require_signature
    return {
        "strict": True,
        "debug": False,
        "sp": {
            "entityId": tenant.expected_audience,
            "assertionConsumerService": {"url": tenant.acs_url, "binding": HTTP_POST},
            "NameIDFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
            "x509cert": "",
            "privateKey": "",
        },
        "idp": {
            "entityId": tenant.idp.entity_id,
            "singleSignOnService": {"url": tenant.idp.sso_url, "binding": HTTP_REDIRECT},
            # not used beside the list; without it a file is looked for at every response
            "x509cert": certificates[0],
            "x509certMulti": {"signing": certificates},
        },
        "security": {
            "nameIdEncrypted": False,
            "authnRequestsSigned": False,
            "logoutRequestSigned": False,
            "logoutResponseSigned": False,
            "signMetadata": False,
            "wantMessagesSigned": require in (RequireSignature.RESPONSE, RequireSignature.BOTH),
            "wantAssertionsSigned": require in (RequireSignature.ASSERTION, RequireSignature.BOTH),
            "wantNameId": True,
            "wantNameIdEncrypted": False,
            "wantAssertionsEncrypted": False,
            "wantAttributeStatement": False,
            "allowSingleLabelDomains": True,
            "requestedAuthnContext": False,
            "failOnAuthnContextMismatch": False,
            "rejectUnsolicitedResponsesWithInResponseTo": True,
            "rejectDeprecatedAlgorithm": True,
            "allowRepeatAttributeName": tenant.join_duplicate_attributes,
            "signatureAlgorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            "digestAlgorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
        },
    }


def _request_data(acs_url: str) -> dict[str, Any]:
    """What the library takes for the current request: made from the configured URL, never from Host or X-Forwarded-*."""
    parts = urlsplit(acs_url)
    return {
        "https": "on" if parts.scheme == "https" else "off",
        "http_host": parts.netloc,
        "script_name": parts.path,
        "get_data": {},
        "post_data": {},
    }
