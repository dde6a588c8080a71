"""What a signed assertion must say to be one for us, now, about this tenant (trust: 12 to 28). One function per row.

Values are compared byte for byte and nothing is normalised. A value of a Response that is not signed can only refuse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from samljit.errors import AssertionRejected, Reason
from samljit.model import IdentityProvider, PendingRequest, Purpose, Tenant
from samljit.saml.names import BEARER, ENTITY_FORMAT, TENANT_ID_CLAIM
from samljit.saml.reader import Confirmation, SignedAssertion, read_time, whole_seconds
from samljit.saml.request import RequestIds

MAX_VALIDITY = timedelta(hours=24, minutes=15)  # Entra's token lifetime policy allows a day, and adds five minutes


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What the Response around the assertion says; signed or not, it may only refuse (trust: 16)."""

    destination: str | None
    in_response_to: str | None
    issue_instant: str | None
    issuer: str | None
    issuer_format: str | None


@dataclass(frozen=True, slots=True)
class Validity:
    not_on_or_after: datetime
    authn_instant: datetime
    session_not_on_or_after: datetime | None


def check_issuer(facts: ResponseFacts, assertion: SignedAssertion, idp: IdentityProvider) -> None:
    """Trust 13: the assertion's Issuer is this tenant's IdP, the Response's too if present (SAML profiles 4.1.4.2)."""
    for issuer, issuer_format in ((assertion.issuer, assertion.issuer_format), (facts.issuer, facts.issuer_format)):
        if issuer is not None and (issuer != idp.entity_id or issuer_format not in (None, ENTITY_FORMAT)):
            raise AssertionRejected(Reason.ISSUER_MISMATCH, contrast=(idp.entity_id, issuer))


def check_destination(facts: ResponseFacts, tenant: Tenant) -> None:
    if facts.destination != tenant.acs_url:
        raise AssertionRejected(Reason.DESTINATION_MISMATCH, contrast=(tenant.acs_url, facts.destination or ""))


def check_confirmation(assertion: SignedAssertion, tenant: Tenant) -> Confirmation:
    """Trust 17, 23, 27: exactly one bearer confirmation, for our ACS (SAML profiles 4.1.4.2)."""
    if len(assertion.confirmations) != 1:
        raise AssertionRejected(Reason.CONFIRMATION_INVALID, f"{len(assertion.confirmations)} confirmations")
    [confirmation] = assertion.confirmations
    if confirmation.method != BEARER:
        raise AssertionRejected(Reason.CONFIRMATION_INVALID, "not bearer")
    if confirmation.not_before is not None:
        raise AssertionRejected(Reason.CONFIRMATION_INVALID, "NotBefore")
    if confirmation.recipient != tenant.acs_url:
        raise AssertionRejected(Reason.RECIPIENT_MISMATCH, contrast=(tenant.acs_url, confirmation.recipient or ""))
    return confirmation


def check_audience(assertion: SignedAssertion, tenant: Tenant) -> None:
    """Trust 19: restrictions are AND-ed (SAML core 2.5.1.4), so our entity ID must stand in each, and there must be one."""
    if not assertion.audiences or any(tenant.expected_audience not in audiences for audiences in assertion.audiences):
        received = ", ".join(audience for audiences in assertion.audiences for audience in audiences)
        raise AssertionRejected(Reason.AUDIENCE_MISMATCH, contrast=(tenant.expected_audience, received))


def check_times(
    facts: ResponseFacts, assertion: SignedAssertion, confirmation: Confirmation, *, now: datetime, skew: timedelta
) -> Validity:
    """Trust 23: one skew for Conditions and IssueInstant, none for the confirmation (python3-saml knows none there).

    AuthnInstant may be weeks old: the session at Entra lives long (Entra: captures show months).
    """
    now = whole_seconds(now)
    issued = read_time(assertion.issue_instant, "IssueInstant")
    ends = read_time(assertion.not_on_or_after, "Conditions NotOnOrAfter")
    starts = issued if assertion.not_before is None else read_time(assertion.not_before, "Conditions NotBefore")
    confirmed_until = read_time(confirmation.not_on_or_after, "SubjectConfirmationData NotOnOrAfter")
    authenticated = read_time(assertion.authn_instant, "AuthnInstant")
    if max(ends, confirmed_until) - min(starts, issued) > MAX_VALIDITY:
        raise AssertionRejected(Reason.VALIDITY_TOO_LONG)
    latest_start = max(starts, issued, authenticated, read_time(facts.issue_instant, "Response IssueInstant"))
    if latest_start > now + skew:
        raise AssertionRejected(Reason.NOT_YET_VALID)
    if now >= ends + skew or now >= confirmed_until or now - issued > ends - starts + skew:
        raise AssertionRejected(Reason.EXPIRED)
    session_ends = None
    if assertion.session_not_on_or_after is not None:
        session_ends = read_time(assertion.session_not_on_or_after, "SessionNotOnOrAfter")
        if now >= session_ends:
            raise AssertionRejected(Reason.SESSION_EXPIRED)
    return Validity(max(ends, confirmed_until), authenticated, session_ends)


def check_request(
    facts: ResponseFacts,
    confirmation: Confirmation,
    *,
    authn_instant: datetime,
    requests: RequestIds,
    tenant: Tenant,
    now: datetime,
    test: PendingRequest | None = None,
) -> PendingRequest | None:
    """Trust 20: the signed confirmation names a request to sign in that we made for this tenant, of late.

    None where the IdP has started the sign-in, which names no request in either place, and the tenant allows that. A request that is
    named is looked at also then. With `test` it is that very request, and no other.
    """
    if confirmation.in_response_to is None:
        if facts.in_response_to is not None:
            raise AssertionRejected(Reason.IN_RESPONSE_TO_MISMATCH)
        if tenant.allow_idp_initiated and test is None:
            return None
        raise AssertionRejected(Reason.UNSOLICITED)
    request = requests.read(confirmation.in_response_to, tenant_id=tenant.id, now=now)
    if facts.in_response_to not in (None, confirmation.in_response_to):
        raise AssertionRejected(Reason.IN_RESPONSE_TO_MISMATCH)
    if test is None and request.purpose is not Purpose.SIGN_IN:  # one that only tries something out signs nobody in
        raise AssertionRejected(Reason.REQUEST_UNKNOWN, f"made for {request.purpose}")
    if test is not None and request != test:  # what was chosen by an unsigned value is made sure of by the signed one
        raise AssertionRejected(Reason.IN_RESPONSE_TO_MISMATCH)
    if request.force_authn and authn_instant < request.issued_at:
        raise AssertionRejected(Reason.REAUTHENTICATION_MISSING)
    return request


def check_name_id(assertion: SignedAssertion) -> None:
    if assertion.name_id is None or not assertion.name_id.value.strip():
        raise AssertionRejected(Reason.NAME_ID_MISSING)


def read_claims(assertion: SignedAssertion, tenant: Tenant) -> Mapping[str, tuple[str, ...]]:
    """Trust 29: the claims by name; the same name twice is joined only where the tenant says so."""
    claims: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for name, values in assertion.attributes:
        if name in claims and not tenant.join_duplicate_attributes:
            raise AssertionRejected(Reason.ATTRIBUTE_DUPLICATE, name[:200])
        claims[name] += values
    return MappingProxyType(dict(claims))


def check_tenant(claims: Mapping[str, tuple[str, ...]], tenant: Tenant) -> None:
    """Trust 14: the directory that issued the assertion is the one that this tenant owns (Entra: claims-validation)."""
    if tenant.entra_tenant_id is None:
        return
    values = claims.get(TENANT_ID_CLAIM, ())
    if len(values) != 1 or values[0].strip().lower() != tenant.entra_tenant_id.lower():
        raise AssertionRejected(Reason.TENANT_MISMATCH, contrast=(tenant.entra_tenant_id, ", ".join(values)))
