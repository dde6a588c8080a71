"""Tenants that live in the database: the same document as in settings.json, held to the same rules, with the IdP's files inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from pydantic import ValidationError

from samljit.errors import Problem
from samljit.mapping.problems import problems_of
from samljit.settings.checks import Top, check_one_tenant, normal_domain
from samljit.settings.document import TenantDocument
from samljit.settings.read import Settings, TenantSettings, read_tenant
from samljit.settings.source import Files

# what stands in an idp section in place of the names of files
_METADATA, _CERTIFICATES = "metadata", "certificates"
_FILE_KEYS = {"metadata_file": _METADATA, "certificate_files": _CERTIFICATES}


class _Inside(Files):
    """The files of a stored document: their contents stand in the document itself."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        super().__init__(Path())
        self._contents = contents

    def _content(self, name: str) -> bytes | None:
        return self._contents.get(name)

    def _missing(self, name: str, *, path: str) -> Problem:
        """Somebody wrote a name all the same; nothing of this machine is looked for by it."""
        message = "Must hold what the file holds, not its name."
        return Problem(path, "missing_file", message, "Where the file is: flask samljit tenant export, or tenant set --metadata-file.")


def read_stored_tenant(
    slug: str, document: Mapping[str, Any], *, settings: Settings
) -> tuple[TenantSettings | None, list[Problem]]:
    """The tenant that a stored document describes, and all its problems, as paths below `$`; None where one is more than a warning.

    The document is that of a tenant in settings.json, but its `idp` holds `metadata` (the XML) and `certificates` (a list of PEM) instead
    of the names of files. Never raises for bad input.
    """
    named, files = _with_names(document)
    checked: TenantDocument | None = None
    problems: list[Problem] = []
    try:
        checked = TenantDocument.model_validate(named)
    except ValidationError as error:
        problems = problems_of(error, prefix="$", known=TenantDocument)
    misshapen = {problem.path for problem in problems}
    top = Top(settings.base_url, settings.metadata_hosts, files, has_key=bool(settings.key_pairs))
    problems += [problem for problem in check_one_tenant(named, path="$", top=top) if problem.path not in misshapen]
    problems = sorted(map(in_stored_words, problems), key=lambda problem: problem.path)
    if checked is None or any(not problem.is_warning for problem in problems):
        return None, problems
    return read_tenant(slug, checked, mapping=named.get("mapping", {}), files=files, path="$"), problems


def as_stored(tenant: Any, *, base: Path) -> dict[str, Any] | None:
    """A tenant of settings.json as it would be stored, its files inside it; None where there is none, or a file cannot be read."""
    if not isinstance(tenant, Mapping):
        return None
    idp = tenant.get("idp")
    if not isinstance(idp, Mapping):
        return normal_document(tenant)
    stored, files = dict(idp), Files(base)
    try:
        if (name := stored.pop("metadata_file", None)) is not None:
            stored[_METADATA] = _text(files.read(name))
        if (names := stored.pop("certificate_files", None)) is not None:
            stored[_CERTIFICATES] = [_text(files.read(name)) for name in names]
    except (OSError, TypeError, ValueError):
        return None
    return normal_document({**tenant, "idp": stored})


def _text(content: bytes) -> str:
    """A file as text; a certificate in DER as PEM."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return load_der_x509_certificate(content).public_bytes(Encoding.PEM).decode()


def normal_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it is stored: domains in the form in which they are compared, each once; keys without a value left out."""
    kept = {key: value for key, value in document.items() if value is not None}
    if isinstance(kept.get("domains"), list):
        domains = [normal_domain(domain) or domain if isinstance(domain, str) else domain for domain in kept["domains"]]
        kept["domains"] = [domain for position, domain in enumerate(domains) if domain not in domains[:position]]
    return kept


def _with_names(document: Mapping[str, Any]) -> tuple[dict[str, Any], _Inside]:
    """The document with made-up names of files in it, and the files."""
    idp = document.get("idp")
    if not isinstance(idp, Mapping):
        return dict(document), _Inside({})
    named: dict[str, Any] = dict(idp)
    contents: dict[str, bytes] = {}
    if isinstance(metadata := named.pop(_METADATA, None), str):
        named["metadata_file"] = _METADATA
        contents[_METADATA] = metadata.encode()
    if isinstance(certificates := named.pop(_CERTIFICATES, None), list):
        named["certificate_files"] = [f"{_CERTIFICATES}[{index}]" for index in range(len(certificates))]
        contents |= {f"{_CERTIFICATES}[{index}]": str(pem).encode() for index, pem in enumerate(certificates)}
    return {**document, "idp": named}, _Inside(contents)


def in_stored_words(problem: Problem) -> Problem:
    """A problem that was found with the made-up names of files, in the words of the stored document."""
    path, message, hint = problem.path, problem.message, problem.hint
    for key, stored in _FILE_KEYS.items():
        path, message, hint = (text.replace(key, stored) for text in (path, message, hint))
    return replace(problem, path=path, message=message, hint=hint)
