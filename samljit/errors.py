"""What can go wrong, as values: stable reasons, what each means to whom, and the exceptions that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from samljit import situations
from samljit.situations import Situation


class Fixer(StrEnum):
    """Whose turn it is when a sign-in was refused."""

    OPERATOR = "operator"  # who runs the host app
    TENANT_ADMIN = "tenant_admin"  # who administers the tenant in Entra
    PERSON = "person"  # who tried to sign in
    NOBODY = "nobody"  # somebody probes; no honest browser or IdP sends this


class Card(StrEnum):
    """Where in the Entra admin center the fix is: a card of an application's SAML sign-in page, or a page beside it, by its title there."""

    BASIC = "Basic SAML Configuration"
    CLAIMS = "Attributes & Claims"
    CERTIFICATES = "SAML Certificates"
    SET_UP = "Set up"  # its title goes on with the application's name
    USERS = "Users and groups"
    ENCRYPTION = "Token encryption"


class Reason(StrEnum):
    """Why a sign-in was refused. The values are stored in the database: never renamed, never re-used."""

    # before a signature has been verified: nothing in the message is evidence of anything
    REQUEST_MALFORMED = "request_malformed"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    LOGOUT_MALFORMED = "logout_malformed"
    NOT_BASE64 = "not_base64"
    XML_MALFORMED = "xml_malformed"
    XML_FORBIDDEN = "xml_forbidden"
    XML_LIMITS = "xml_limits"
    NOT_A_RESPONSE = "not_a_response"
    SHAPE_UNEXPECTED = "shape_unexpected"
    VERSION_UNSUPPORTED = "version_unsupported"
    STATUS_NOT_SUCCESS = "status_not_success"
    ASSERTION_MISSING = "assertion_missing"
    ENCRYPTION_UNEXPECTED = "encryption_unexpected"
    ENCRYPTION_MISSING = "encryption_missing"
    DECRYPTION_FAILED = "decryption_failed"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_SHAPE = "signature_shape"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    SIGNATURE_INVALID = "signature_invalid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    # after a signature has been verified
    ISSUER_MISMATCH = "issuer_mismatch"
    TENANT_MISMATCH = "tenant_mismatch"
    DESTINATION_MISMATCH = "destination_mismatch"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    AUDIENCE_MISMATCH = "audience_mismatch"
    UNSOLICITED = "unsolicited"
    REQUEST_UNKNOWN = "request_unknown"
    REQUEST_EXPIRED = "request_expired"
    IN_RESPONSE_TO_MISMATCH = "in_response_to_mismatch"
    REAUTHENTICATION_MISSING = "reauthentication_missing"
    TIME_MALFORMED = "time_malformed"
    VALIDITY_TOO_LONG = "validity_too_long"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    SESSION_EXPIRED = "session_expired"
    CONDITION_UNKNOWN = "condition_unknown"
    CONFIRMATION_INVALID = "confirmation_invalid"
    NAME_ID_MISSING = "name_id_missing"
    ATTRIBUTE_LIMITS = "attribute_limits"
    ATTRIBUTE_DUPLICATE = "attribute_duplicate"
    LIBRARY_REFUSED = "library_refused"
    HOST_DECLINED = "host_declined"
    # provisioning
    REPLAYED = "replayed"
    SUBJECT_MISSING = "subject_missing"
    SUBJECT_TRANSIENT = "subject_transient"
    REQUIRED_CLAIM_MISSING = "required_claim_missing"
    VALUE_INVALID = "value_invalid"
    MULTIPLE_VALUES = "multiple_values"
    DOMAIN_NOT_ALLOWED = "domain_not_allowed"
    GUEST_NOT_ALLOWED = "guest_not_allowed"
    REQUIREMENT_NOT_MET = "requirement_not_met"
    GROUPS_OVERAGE = "groups_overage"
    ACCOUNT_CONFLICT = "account_conflict"
    CREATE_DISABLED = "create_disabled"
    USER_LIMIT = "user_limit"
    VALUE_CONFLICT = "value_conflict"
    USER_INACTIVE = "user_inactive"
    USER_OUTSIDE_TENANT = "user_outside_tenant"
    HOST_REFUSED = "host_refused"
    SAVE_FAILED = "save_failed"
    DATABASE_UNAVAILABLE = "database_unavailable"
    # the second hop
    BROWSER_MISMATCH = "browser_mismatch"
    COOKIES_MISSING = "cookies_missing"
    SESSION_LOST = "session_lost"
    HANDOVER_USED = "handover_used"
    USER_GONE = "user_gone"
    LOGIN_REFUSED = "login_refused"
    # before the IdP is asked
    TENANT_UNKNOWN = "tenant_unknown"
    TENANT_DISABLED = "tenant_disabled"
    TENANT_NOT_CONNECTED = "tenant_not_connected"
    TENANT_MISCONFIGURED = "tenant_misconfigured"
    NOT_A_NAVIGATION = "not_a_navigation"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the error catalogue.

    `status` is the HTTP status of the page, `person` what whoever signs in reads, `admin` what the tenant admin or operator reads, `fixer`
    whose turn it is. `anonymous` reasons all show the same page per status: until a signature has been verified, a response must not
    learn from us which check it failed (trust: 42). `can_retry` is whether the page offers to try again. `card` is where in Entra the
    fix is, if it is there.
    """

    status: int
    person: Situation
    admin: str
    fixer: Fixer
    anonymous: bool = False
    can_retry: bool = True
    card: Card | None = None


def _unread(admin: str, *, status: int = 400, fixer: Fixer = Fixer.NOBODY) -> Explanation:
    return Explanation(status, situations.NOT_UNDERSTOOD, admin, fixer, anonymous=True)


def _untrusted(admin: str, *, fixer: Fixer = Fixer.NOBODY, card: Card | None = None) -> Explanation:
    return Explanation(403, situations.NOT_ACCEPTED, admin, fixer, anonymous=True, card=card)


def _setup(admin: str, *, fixer: Fixer = Fixer.TENANT_ADMIN, card: Card | None = None) -> Explanation:
    return Explanation(403, situations.NOT_SET_UP_RIGHT, admin, fixer, can_retry=False, card=card)


def _person(person: Situation, admin: str, *, fixer: Fixer = Fixer.PERSON, status: int = 403, card: Card | None = None) -> Explanation:
    return Explanation(status, person, admin, fixer, card=card)


CATALOGUE: dict[Reason, Explanation] = {
    Reason.REQUEST_MALFORMED: _unread("The POST is not a form with exactly one SAMLResponse and at most one short RelayState."),
    Reason.TOO_LARGE: _unread("The POST is larger than the limit.", status=413),
    Reason.RATE_LIMITED: Explanation(
        429,
        situations.TOO_MANY,
        "The app's rate_limit function said no.",
        Fixer.OPERATOR,
        anonymous=True,
    ),
    Reason.LOGOUT_MALFORMED: _unread(
        "What came to the logout address is not one deflated LogoutRequest or LogoutResponse of at most 128 KiB, each parameter once."
    ),
    Reason.NOT_BASE64: _unread("SAMLResponse is not base64."),
    Reason.XML_MALFORMED: _unread("The message is not well-formed UTF-8 XML."),
    Reason.XML_FORBIDDEN: _unread("The XML holds a DOCTYPE, comment, processing instruction or CDATA section."),
    Reason.XML_LIMITS: _unread("The XML is deeper or has more elements or attributes than any sign-in needs."),
    Reason.NOT_A_RESPONSE: _unread("The document is XML, but not a SAML 2.0 Response."),
    Reason.SHAPE_UNEXPECTED: _untrusted("The response holds an element or attribute where none is expected; the log names it."),
    Reason.VERSION_UNSUPPORTED: _untrusted("Response and assertion must say Version 2.0."),
    Reason.STATUS_NOT_SUCCESS: _untrusted(
        "The IdP answered with an error status instead of an assertion; Entra's sign-in log of the same time says why.",
        fixer=Fixer.TENANT_ADMIN,
    ),
    Reason.ASSERTION_MISSING: _untrusted("The response says Success and holds no assertion."),
    Reason.ENCRYPTION_UNEXPECTED: _untrusted(
        "The assertion is encrypted and sp.key_files names no key. In Entra: Token encryption, deactivate; or give us a key.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.ENCRYPTION,
    ),
    Reason.ENCRYPTION_MISSING: _untrusted(
        "The assertion is not encrypted, and require_encryption is set for this tenant. In Entra: Token encryption, import and "
        "activate our current certificate.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.ENCRYPTION,
    ),
    Reason.DECRYPTION_FAILED: _untrusted(
        "The assertion cannot be decrypted with our keys. In Entra: Token encryption, import and activate our current certificate.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.ENCRYPTION,
    ),
    Reason.SIGNATURE_MISSING: _untrusted(
        "The part that this tenant requires to be signed is not. In Entra: SAML Certificates, Signing Option.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CERTIFICATES,
    ),
    Reason.SIGNATURE_SHAPE: _untrusted("The XML signature is not the one shape that SAML prescribes; the log names the part."),
    Reason.ALGORITHM_NOT_ALLOWED: _untrusted(
        "Signed with an algorithm that is not allowed. In Entra: SAML Certificates, Signing Algorithm SHA-256.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CERTIFICATES,
    ),
    Reason.SIGNATURE_INVALID: _untrusted(
        "No certificate of this tenant verifies the signature: the message was changed, or Entra signs with a new certificate. "
        "Give us Entra's Federation Metadata XML again, or run: flask samljit tenant refresh.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CERTIFICATES,
    ),
    Reason.CERTIFICATE_EXPIRED: _untrusted(
        "Signed with a certificate that has expired or is not valid yet. In Entra: SAML Certificates, New Certificate, make it "
        "active, then give us the new Federation Metadata XML.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CERTIFICATES,
    ),
    Reason.ISSUER_MISMATCH: _setup(
        "The Issuer is not the Microsoft Entra Identifier that this tenant is configured with.",
        card=Card.SET_UP,
    ),
    Reason.TENANT_MISMATCH: _setup(
        "The tenantid claim is missing, or is not the directory that this tenant is configured with.",
        card=Card.SET_UP,
    ),
    Reason.DESTINATION_MISMATCH: _setup(
        "The Response's Destination is not our Reply URL, or a logout message's not our Logout Url. In Entra: Basic SAML Configuration.",
        card=Card.BASIC,
    ),
    Reason.RECIPIENT_MISMATCH: _setup(
        "The assertion's Recipient is not our Reply URL. In Entra: Basic SAML Configuration, Reply URL.",
        card=Card.BASIC,
    ),
    Reason.AUDIENCE_MISMATCH: _setup(
        "The assertion's Audience is not our Identifier. In Entra: Basic SAML Configuration, Identifier (Entity ID).",
        card=Card.BASIC,
    ),
    Reason.UNSOLICITED: _person(
        situations.STARTED_ELSEWHERE,
        "The assertion answers no request of ours, and this tenant does not accept sign-ins that Entra starts. In Entra: Basic "
        "SAML Configuration, fill in Sign on URL with our login address.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.BASIC,
    ),
    Reason.REQUEST_UNKNOWN: _person(
        situations.NOT_ACCEPTED, "InResponseTo names no request that we made for this tenant.", fixer=Fixer.NOBODY
    ),
    Reason.REQUEST_EXPIRED: _person(situations.TOOK_TOO_LONG, "More than 15 minutes passed between our request and the answer."),
    Reason.IN_RESPONSE_TO_MISMATCH: _person(
        situations.NOT_ACCEPTED, "The Response's InResponseTo differs from the assertion's.", fixer=Fixer.NOBODY
    ),
    Reason.REAUTHENTICATION_MISSING: _person(
        situations.NOT_AFRESH,
        "ForceAuthn was asked for and AuthnInstant is older than the request.",
        fixer=Fixer.TENANT_ADMIN,
    ),
    Reason.TIME_MALFORMED: _setup("A time in the assertion is missing, or not UTC in the form 2026-11-22T09:00:00Z."),
    Reason.VALIDITY_TOO_LONG: _setup(
        "The assertion says it is valid for longer than 24 hours and 15 minutes. In Entra: token lifetime policy."
    ),
    Reason.NOT_YET_VALID: _person(
        situations.OURS, "The assertion lies in the future: our clock or the IdP's is wrong.", fixer=Fixer.OPERATOR
    ),
    Reason.EXPIRED: _person(situations.TOOK_TOO_LONG, "The assertion reached us after its NotOnOrAfter."),
    Reason.SESSION_EXPIRED: _person(situations.TOOK_TOO_LONG, "The assertion's SessionNotOnOrAfter has passed."),
    Reason.CONDITION_UNKNOWN: _setup("The assertion sets a condition that we do not know, and so cannot meet."),
    Reason.CONFIRMATION_INVALID: _setup("The subject confirmation is not one plain bearer confirmation without NotBefore."),
    Reason.NAME_ID_MISSING: _setup("The subject has no NameID. In Entra: Attributes & Claims, Unique User Identifier.", card=Card.CLAIMS),
    Reason.ATTRIBUTE_LIMITS: _setup("More claims, values or longer values than are accepted; the log names which.", card=Card.CLAIMS),
    Reason.ATTRIBUTE_DUPLICATE: _setup(
        "A claim name occurs twice. In Entra: Attributes & Claims. Or set join_duplicate_attributes for this tenant.",
        card=Card.CLAIMS,
    ),
    Reason.LIBRARY_REFUSED: _person(
        situations.NOT_ACCEPTED, "python3-saml refused what our own checks accepted. Please report this.", fixer=Fixer.OPERATOR
    ),
    Reason.HOST_DECLINED: _person(
        situations.WAY_NOT_ACCEPTED,
        "The app's accept_assertion function said no: it may ask for multi-factor authentication, for example.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.REPLAYED: _person(
        situations.USED_ALREADY,
        "The same assertion, a second one for the same request, or the same LogoutRequest came again: a reload, the back button, or a "
        "replay.",
    ),
    Reason.SUBJECT_MISSING: _setup(
        "The claim that identifies people (identity.source of the mapping) is missing, blank, repeated or not in its form.",
        card=Card.CLAIMS,
    ),
    Reason.SUBJECT_TRANSIENT: _setup(
        "identity.source is NameID and the NameID is transient: it is another one at each sign-in. In Entra: Attributes & "
        "Claims, Unique User Identifier, choose Persistent.",
        card=Card.CLAIMS,
    ),
    Reason.REQUIRED_CLAIM_MISSING: _person(
        situations.CLAIM_MISSING,
        "A required field got no value, or no claim came that roles could be told from; the log names the claims wanted and "
        "received. In Entra: Attributes & Claims, or the person's properties.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CLAIMS,
    ),
    Reason.VALUE_INVALID: _person(
        situations.CLAIM_UNUSABLE,
        "A value does not fit its field (type, length, map); the log names the field.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CLAIMS,
    ),
    Reason.MULTIPLE_VALUES: _person(
        situations.CLAIM_UNUSABLE,
        "A field that takes one value got several; the log names the field.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CLAIMS,
    ),
    Reason.DOMAIN_NOT_ALLOWED: _person(
        situations.OTHER_DOMAIN,
        "The e-mail address lies outside policy.allowed_domains, or, where e-mail is unique over all tenants here, outside the "
        "tenant's proven domains.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.GUEST_NOT_ALLOWED: _person(
        situations.GUEST,
        "A guest of the directory, and policy.guests is deny: acct is 1, or identityprovider is not the tenant's own.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.USERS,
    ),
    Reason.REQUIREMENT_NOT_MET: _person(
        situations.NOT_ASSIGNED,
        "None of the values that policy.require asks for came. In Entra: Users and groups, or the person's groups.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.USERS,
    ),
    Reason.GROUPS_OVERAGE: _person(
        situations.TOO_MANY_GROUPS,
        "More than 150 groups: Entra sends a link in their place. In Entra: Attributes & Claims, group claim, groups assigned to the "
        "application; or filter the groups there, or use app roles.",
        fixer=Fixer.TENANT_ADMIN,
        card=Card.CLAIMS,
    ),
    Reason.ACCOUNT_CONFLICT: _person(
        situations.ACCOUNT_CONFLICT,
        "identity.match found a user with this e-mail whom this person may not become; the log says why. Link the two by hand.",
        fixer=Fixer.OPERATOR,
        status=409,
    ),
    Reason.CREATE_DISABLED: _person(
        situations.NO_ACCOUNT,
        "policy.create_users is false, and no user is linked to this person.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.USER_LIMIT: _person(
        situations.NO_PLACES,
        "As many users are linked to this tenant as max_users, of the tenant or in its policy, allows.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.VALUE_CONFLICT: _person(
        situations.VALUE_CONFLICT,
        "A value that must be unique belongs to another user already; the log names the field.",
        fixer=Fixer.OPERATOR,
        status=409,
    ),
    Reason.USER_INACTIVE: _person(
        situations.INACTIVE,
        "The user is inactive in the app, or new and policy.new_user_state is inactive. Signing in never activates anybody.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.USER_OUTSIDE_TENANT: _person(
        situations.OTHER_TENANT,
        "The user that this person is linked to no longer carries this tenant's tenant_fields.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.HOST_REFUSED: _person(
        situations.APP_REFUSED,
        "A validator or event of the app's user model raised an error; the log names its class.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.SAVE_FAILED: _person(
        situations.OURS, "The database refused the user record; the log names the constraint's kind.", fixer=Fixer.OPERATOR, status=409
    ),
    Reason.DATABASE_UNAVAILABLE: _person(
        situations.DATABASE_DOWN,
        "The database could not be reached or is locked.",
        fixer=Fixer.OPERATOR,
        status=503,
    ),
    Reason.BROWSER_MISMATCH: _person(
        situations.OTHER_BROWSER,
        "The cookie that login set is not in this browser: another browser, more than 15 minutes, or somebody else's response.",
    ),
    Reason.COOKIES_MISSING: _person(
        situations.COOKIES_BLOCKED,
        "No cookie of any sign-in came back: the browser blocks them, or the page was opened again long after.",
    ),
    Reason.SESSION_LOST: _person(
        situations.NOT_REMEMBERED,
        "Twice in a row the session was gone right after a sign-in, which would go on for ever: look at SESSION_COOKIE_DOMAIN, "
        "SESSION_COOKIE_SECURE and the size of the session.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.HANDOVER_USED: _person(
        situations.USED_ALREADY, "The second step was opened a second time."
    ),
    Reason.USER_GONE: _person(
        situations.ACCOUNT_GONE,
        "The user was deleted or switched off between the two steps of the sign-in.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.LOGIN_REFUSED: _person(
        situations.LOGIN_REFUSED, "Flask-Login's login_user refused the user.", fixer=Fixer.OPERATOR
    ),
    Reason.TENANT_UNKNOWN: _person(
        situations.UNKNOWN_PLACE, "No tenant has this slug.", fixer=Fixer.PERSON, status=404
    ),
    Reason.TENANT_DISABLED: _person(
        situations.SWITCHED_OFF,
        "The tenant is disabled (enabled), or its own sign-in rules are off (offer_sso).",
        fixer=Fixer.OPERATOR,
    ),
    Reason.TENANT_NOT_CONNECTED: _person(
        situations.NOT_SWITCHED_ON,
        "The tenant has no idp section: give it Entra's App Federation Metadata Url. If it has that, nothing good was fetched from there "
        "yet; run: flask samljit tenant refresh.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.TENANT_MISCONFIGURED: _person(
        situations.NOT_SWITCHED_ON,
        "What the database holds of this tenant cannot be used any more, for example because the user class has lost a column; the log "
        "names the places. See: flask samljit check.",
        fixer=Fixer.OPERATOR,
    ),
    Reason.NOT_A_NAVIGATION: _person(
        situations.NOT_A_WINDOW,
        "A script or an embedded resource asked for the login page; only a navigation may.",
        fixer=Fixer.OPERATOR,
        status=401,
    ),
}


class SamlJitError(Exception):
    """Base of all errors of this package. `str(error)` is safe to show to anyone; `detail` is for log and admins only.

    `detail` names elements, fields, claims or classes, never a claim's value and no XML.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(str(CATALOGUE[reason].person))
        self.reason = reason
        self.detail = detail

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason.value!r}, {self.detail!r})"


class AssertionRejected(SamlJitError):
    """What the ACS received is not an assertion that this tenant's IdP made for us, now. Raised by the validator alone.

    `verified` says whether a signature of the tenant's IdP had been verified by then; `unverified_request_id` is the InResponseTo
    that was read, if any: a claim of whoever sent the message, good for a "try again" link once it authenticates itself.
    `contrast` is what was expected and what came instead: for the result of a test sign-in, and for no log.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        verified: bool = False,
        unverified_request_id: str | None = None,
        contrast: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.verified = verified
        self.contrast = contrast
        self.unverified_request_id = unverified_request_id


class ProvisioningRefused(SamlJitError):
    """A genuine assertion whose person may not be created, updated or signed in."""


class LogoutRejected(SamlJitError):
    """What came to the single logout service is no message that this tenant's IdP made for us, now. Nothing was signed out."""


class SignInRefused(SamlJitError):
    """A sign-in that ends before or after the assertion: no such tenant, another browser, a used hand-over."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a settings or mapping document: where (JSON path), which (stable code), what, and what to write instead."""

    path: str
    code: str
    message: str
    hint: str = ""
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" {self.hint}" if self.hint else "")


class ConfigError(Exception):
    """Settings, mapping or mount that cannot work. Lists every problem at once; nothing was started."""

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"samljit cannot start, {len(self.problems)} problem(s):\n{lines}")


def catalogue_markdown() -> str:
    """The error catalogue as a Markdown table, for the documentation; a test holds the two together."""
    columns = ("reason", "HTTP", "the person's page", "what it means", "who fixes it", "where in Entra")
    rows = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for reason, row in CATALOGUE.items():
        cells = (f"`{reason}`", str(row.status), row.person.title, row.admin, row.fixer, row.card or "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"
