"""Reads the signed assertion: from the canonical bytes that a verified digest covers, parsed afresh, and from nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from lxml.etree import _Element

from samljit.errors import AssertionRejected, Reason
from samljit.model import NameId
from samljit.saml.gate import parse_own
from samljit.saml.names import saml, samlp

MAX_CLAIMS = 100
MAX_VALUES = 1000
MAX_VALUE = 4096  # characters

_ISSUER, _SUBJECT, _CONDITIONS, _AUTHN_STATEMENT = (saml(name) for name in ("Issuer", "Subject", "Conditions", "AuthnStatement"))
_NEEDED = {_ISSUER, _SUBJECT, _CONDITIONS, _AUTHN_STATEMENT}
_ATTRIBUTES, _CONFIRMATION, _RESTRICTION = saml("AttributeStatement"), saml("SubjectConfirmation"), saml("AudienceRestriction")
_NAME_ID, _CONFIRMATION_DATA = saml("NameID"), saml("SubjectConfirmationData")
_CONTEXT = f"{saml('AuthnContext')}/{saml('AuthnContextClassRef')}"

# the hours are counted out because Python 3.14 reads 24:00 as the next day's midnight; python3-saml never does
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.\d{1,7})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Confirmation:
    method: str | None
    recipient: str | None
    in_response_to: str | None
    not_before: str | None
    not_on_or_after: str | None


@dataclass(frozen=True, slots=True)
class SignedAssertion:
    """The assertion as signed, before any of it has been judged. Times are still text: absent and malformed are faults to name."""

    id: str
    issuer: str
    issuer_format: str | None
    issue_instant: str | None
    name_id: NameId | None
    confirmations: tuple[Confirmation, ...]
    not_before: str | None
    not_on_or_after: str | None
    audiences: tuple[tuple[str, ...], ...]
    authn_instant: str | None
    session_index: str | None
    session_not_on_or_after: str | None
    authn_context: str | None
    attributes: tuple[tuple[str, tuple[str, ...]], ...]


def read_assertion(canonical: bytes) -> SignedAssertion:
    """Reads canonical bytes whose root is an Assertion, or a Response around one.

    The bytes come from a tree that passed the gate, and canonical XML keeps its shape. Raises: AssertionRejected (attribute_limits,
    shape_unexpected).
    """
    root = parse_own(canonical)
    assertion = root if root.tag == saml("Assertion") else root.find(saml("Assertion"))
    if assertion is None or (assertion is not root and root.tag != samlp("Response")):
        raise AssertionRejected(Reason.ASSERTION_MISSING)
    parts = {child.tag: child for child in assertion}
    if not parts.keys() >= _NEEDED:
        raise AssertionRejected(Reason.SHAPE_UNEXPECTED, "a part of the assertion is missing")
    issuer, subject, conditions, statement = parts[_ISSUER], parts[_SUBJECT], parts[_CONDITIONS], parts[_AUTHN_STATEMENT]
    return SignedAssertion(
        id=assertion.get("ID"),
        issuer=issuer.text or "",
        issuer_format=issuer.get("Format"),
        issue_instant=assertion.get("IssueInstant"),
        name_id=_read_name_id(subject),
        confirmations=tuple(_read_confirmation(child) for child in subject if child.tag == _CONFIRMATION),
        not_before=conditions.get("NotBefore"),
        not_on_or_after=conditions.get("NotOnOrAfter"),
        audiences=tuple(
            tuple(audience.text or "" for audience in restriction) for restriction in conditions if restriction.tag == _RESTRICTION
        ),
        authn_instant=statement.get("AuthnInstant"),
        session_index=statement.get("SessionIndex"),
        session_not_on_or_after=statement.get("SessionNotOnOrAfter"),
        authn_context=statement.findtext(_CONTEXT),
        attributes=_read_attributes(parts.get(_ATTRIBUTES)),
    )


def _read_name_id(subject: _Element) -> NameId | None:
    found = subject.find(_NAME_ID)
    if found is None:
        return None
    return NameId(found.text or "", found.get("Format"), found.get("NameQualifier"), found.get("SPNameQualifier"))


def _read_confirmation(element: _Element) -> Confirmation:
    data = element.find(_CONFIRMATION_DATA)
    attributes: dict[str, str] = {} if data is None else dict(data.items())
    return Confirmation(
        method=element.get("Method"),
        recipient=attributes.get("Recipient"),
        in_response_to=attributes.get("InResponseTo"),
        not_before=attributes.get("NotBefore"),
        not_on_or_after=attributes.get("NotOnOrAfter"),
    )


def _read_attributes(statement: _Element | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every Attribute with its values, in order (trust: 29). An Attribute without values is as good as none."""
    if statement is None:
        return ()
    if len(statement) > MAX_CLAIMS:
        raise AssertionRejected(Reason.ATTRIBUTE_LIMITS, f"more than {MAX_CLAIMS} claims")
    found = []
    for attribute in statement:
        name = attribute.get("Name")
        if not name or len(name) > 1024:
            raise AssertionRejected(Reason.ATTRIBUTE_LIMITS, "a claim without a name, or with a very long one")
        if len(attribute) > MAX_VALUES:
            raise AssertionRejected(Reason.ATTRIBUTE_LIMITS, f"more than {MAX_VALUES} values in {name[:200]}")
        values = tuple([value.text or "" for value in attribute])
        if max(map(len, values), default=0) > MAX_VALUE:
            raise AssertionRejected(Reason.ATTRIBUTE_LIMITS, f"a value of {name[:200]} is longer than {MAX_VALUE} characters")
        found.append((name, values))
    return tuple(found)


def read_time(text: str | None, what: str) -> datetime:
    """A SAML time as aware UTC, cut to whole seconds as python3-saml does: both judge by the same clock tick.

    UTC with "Z" and up to seven digits of fraction, nothing else (SAML core 1.3.3). Raises: AssertionRejected (time_malformed).
    """
    found = _TIME.fullmatch(text or "")
    if found is None:
        raise AssertionRejected(Reason.TIME_MALFORMED, what)
    try:
        time = datetime.fromisoformat(found[1] + "+00:00")
    except ValueError:
        raise AssertionRejected(Reason.TIME_MALFORMED, what) from None
    if not 1990 <= time.year <= 9000:  # leaves room to add spans on either side
        raise AssertionRejected(Reason.TIME_MALFORMED, what)
    return time


def whole_seconds(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond)
