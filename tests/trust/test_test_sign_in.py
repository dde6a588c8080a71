"""Test sign-ins, attacked: a whole round trip with a draft, which signs nobody in, writes no user, and is judged by the draft alone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine

from samljit.errors import AssertionRejected, ProvisioningRefused, Reason
from samljit.mapping.aliases import ALIASES
from samljit.model import Purpose
from samljit.provision.sign_in import provision
from samljit.sql.audit import AuditAction
from samljit.sql.tested import read_test
from samljit.tested import Check, CheckResult, SignInTest
from samljit.testing import AuthnRequest, Browser, Encryption, FakeEntra, Form, Page, Person, sign_in
from samljit.testing.keys import signing_key
from samljit.views.mounted import app_secrets
from tests.admin_host import BASE, FABRIKAM, OPERATOR, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, FIELDS, ORIGIN, Host, key_files, settings_for
from tests.trust.forge import Desk, values_in

FRED, TINA = "fred@fabrikam.example", "tina@tailspin.example"
TEST = f"{BASE}/fabrikam/test"
ACS = f"{ORIGIN}/saml/fabrikam/acs"
LOGIN = f"{ORIGIN}/saml/fabrikam/login"
DRAFTED = FakeEntra(FABRIKAM.tenant_id, keys=[signing_key("of the draft")])
HANNA = replace(ADELE, email="hanna@fabrikam.example", object_id="22220000-aaaa-4444-8888-000000000001")
TABLES = ("users", "samljit_identity", "samljit_role_grant", "samljit_attempt")


@pytest.fixture
def host(mount: Mount) -> Host:
    """fabrikam's draft names an IdP with another key than the one that is live."""
    host = make_admin_host(mount)
    draft = {"idp": {"metadata": DRAFTED.metadata().decode()}, "mapping": {"fields": {**FIELDS, "departments": {"value": ["new"]}}}}
    rows_of(host).save_draft(stored(host), draft, author=OPERATOR)
    return host


def begin(host: Host, browser: Browser | None = None, **fields: str) -> tuple[Browser, AuthnRequest]:
    """Starts a test, as fabrikam's admin unless in another `browser`: the browser, and what the IdP is asked."""
    browser = browser or browser_of(host, FRED)
    page = browser.get(TEST)
    page = browser.submit(page.forms[0], fields)
    assert page.is_outside, page.text
    return browser, DRAFTED.read_request(page.url)


def post(browser: Browser, xml: bytes, *, acs: str = ACS) -> Page:
    """Has a page of another site post it."""
    browser.get("https://login.microsoftonline.com/")
    return browser.submit(Form(acs, fields=(("SAMLResponse", base64.b64encode(xml).decode()),)), by_script=True)


def respond(asked: AuthnRequest, person: Person = HANNA, *, entra: FakeEntra = DRAFTED, **changes: Any) -> bytes:
    return entra.respond(asked, person, now=datetime.now(UTC), **changes).xml


def last(host: Host) -> SignInTest:
    row = stored(host).last_test
    assert row is not None
    return read_test(row)


def kept(host: Host) -> dict[str, Any]:
    """All that a test must leave alone."""
    return {table: host.rows(table) for table in TABLES}


def is_tested(host: Host) -> bool:
    return stored(host).tested_revision == stored(host).draft_revision


# --- what a test is ---------------------------------------------------------------------------------------------------


def test_a_test_goes_the_whole_way_with_the_draft_and_writes_nobody(host: Host) -> None:
    browser, asked = begin(host)
    before = kept(host)
    page = post(browser, respond(asked))
    assert (page.status, page.url.partition("?")[0]) == (200, TEST)
    assert "would work" in page.text
    assert "hanna@fabrikam.example" in page.text
    assert kept(host) == before
    assert browser.get(f"{ORIGIN}/").text == f"user {before['users'][-1].id}"  # the admin, as ever
    result = last(host)
    assert (result.passed, result.reason, is_tested(host)) == (True, None, True)
    order = [check for check in Check if check is not Check.DECRYPTION]
    assert result.checks == tuple((check, CheckResult.PASSED) for check in order)
    assert result.claims[ALIASES["emailaddress"]] == ("hanna@fabrikam.example",)
    assert result.plan is not None
    assert {one.field: one.new for one in result.plan.decisions}["departments"] == ["new"]  # as the draft has it
    assert [row.action for row in host.rows("samljit_audit")][-1] == AuditAction.DRAFT_TESTED
    rows_of(host).go_live(stored(host), author=OPERATOR)
    assert sign_in(host.browser(), DRAFTED, HANNA, LOGIN).text.startswith("user ")


def test_without_a_draft_what_is_live_is_tested(mount: Mount) -> None:
    host = make_admin_host(mount)
    browser, asked = begin(host)
    post(browser, respond(asked, entra=FABRIKAM))
    assert (last(host).passed, is_tested(host)) == (True, True)


def test_a_tenant_that_is_switched_off_or_that_cannot_be_used_yet_is_tested_all_the_same(host: Host) -> None:
    rows = rows_of(host)
    for patch in ({"enabled": False}, {"enabled": True, "idp": None}, {"mapping": {"fields": {"no_such_column": "name"}}}):
        rows.change(stored(host), patch, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
        browser, asked = begin(host)
        post(browser, respond(asked))
        assert is_tested(host), patch
    assert host.count("samljit_identity") == 0


def test_what_would_happen_to_somebody_who_is_known_is_told_and_not_done(mount: Mount) -> None:
    host = make_admin_host(mount)
    sign_in(host.browser(), FABRIKAM, HANNA, LOGIN)
    rows_of(host).save_draft(stored(host), {"mapping": {"fields": {**FIELDS, "last_name": {"value": "X"}}}}, author=OPERATOR)
    browser, asked = begin(host)
    before = kept(host)
    post(browser, respond(asked, replace(HANNA, given_name="Johanna"), entra=FABRIKAM))
    result, user = last(host), before["users"][0]
    assert result.plan is not None
    changes = {one.field: (one.old, one.new) for one in result.plan.decisions if one.old != one.new}
    assert (result.plan.outcome, result.user_id) == ("update", str(user.id))
    assert changes == {"first_name": ("Adele", "Johanna"), "last_name": ("Vance", "X")}
    assert kept(host) == before


# --- refused, and fully explained -------------------------------------------------------------------------------------

# after that time of three hours ago
OLD = {"not_before": timedelta(0), "assertion_issue_instant": timedelta(0)}
OLD |= dict.fromkeys(("not_on_or_after", "confirmation_not_on_or_after"), timedelta(hours=1))
REFUSALS: dict[str, tuple[Reason, Check, dict[str, Any], str]] = {
    "audience": (Reason.AUDIENCE_MISMATCH, Check.AUDIENCE, {"audiences": (("https://other.example",),)}, "https://other.example"),
    "issuer": (Reason.ISSUER_MISMATCH, Check.ISSUER, {"assertion_issuer": "https://evil.example/"}, "https://evil.example/"),
    "key": (Reason.SIGNATURE_INVALID, Check.SIGNATURE, {"key": signing_key("a stranger")}, "SHA-256"),
    "recipient": (Reason.RECIPIENT_MISMATCH, Check.REPLY_URL, {"recipient": "https://other.example/acs"}, "https://other.example/acs"),
    "unsigned": (Reason.SIGNATURE_MISSING, Check.SIGNATURE, {"sign": "none"}, "Signing Option"),
    "expired": (Reason.EXPIRED, Check.TIMES, OLD, "NotOnOrAfter"),
}


@pytest.mark.parametrize(("reason", "check", "changes", "shown"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_explained_to_the_admin_and_to_nobody_else(
    host: Host, reason: Reason, check: Check, changes: dict[str, Any], shown: str
) -> None:
    ago = datetime.now(UTC) - timedelta(hours=3)
    changes = {name: ago + value if isinstance(value, timedelta) else value for name, value in changes.items()}
    browser, asked = begin(host)
    before, xml = kept(host), respond(asked, **changes)
    stranger = host.browser()
    public = post(stranger, xml)
    assert (public.status, public.text) == (401, "sign in first")  # at the admin's page, which asks who is there
    assert [hop.status for hop in public.history] == [200, 401]
    page = post(browser, xml)
    assert (page.status, page.url) == (200, TEST)
    assert shown in page.text
    assert "would be refused" in page.text
    result = last(host)
    assert (result.reason, result.passed, is_tested(host)) == (reason, False, False)
    assert [one for one, how in result.checks if how is CheckResult.FAILED] == [check]
    reached = [how for _, how in result.checks]
    assert reached.index(CheckResult.FAILED) == len(reached) - 1 - reached.count(CheckResult.NOT_REACHED)
    assert kept(host) == before


def test_a_missing_claim_is_named_with_all_that_came(host: Host) -> None:
    browser, asked = begin(host)
    page = post(browser, respond(asked, replace(HANNA, email="", upn="")))
    result = last(host)
    assert (result.reason, result.checks[-1]) == (Reason.REQUIRED_CLAIM_MISSING, (Check.ACCOUNT, CheckResult.FAILED))
    assert "Attributes &amp; Claims" in page.text
    assert ALIASES["givenname"] in result.claims


def test_a_response_that_is_no_response_is_kept_as_refused(host: Host) -> None:
    browser, asked = begin(host)
    post(browser, f'<junk InResponseTo="{asked.id}"/>'.encode())
    assert (last(host).reason, last(host).is_signed, last(host).claims) == (Reason.NOT_A_RESPONSE, False, {})


# --- attacks ----------------------------------------------------------------------------------------------------------


@dataclass
class Attack:
    """`make` gives what is posted. `judged` is what the sign-in log says; None where it is the draft's test that refuses it."""

    make: Callable[[Host, AuthnRequest, AuthnRequest], bytes]
    judged: Reason | None
    tested: Reason | None = None


def _outer(xml: bytes, old: str, new: str) -> bytes:
    """The Response's own InResponseTo, which Entra does not sign, replaced."""
    return xml.replace(f'InResponseTo="{old}"'.encode(), f'InResponseTo="{new}"'.encode(), 1)


# the key of the draft, or the live one; an assertion for a test or for a sign-in; and what the unsigned Response says
ATTACKS: dict[str, Attack] = {
    "a sign-in by the draft's key": Attack(lambda host, test, other: respond(other), Reason.SIGNATURE_INVALID),
    "a sign-in by the draft's key, said to be a test": Attack(
        lambda host, test, other: _outer(respond(other), other.id, test.id), None, Reason.IN_RESPONSE_TO_MISMATCH
    ),
    "a sign-in by the live key, said to be a test": Attack(
        lambda host, test, other: _outer(respond(other, entra=FABRIKAM), other.id, test.id), None, Reason.SIGNATURE_INVALID
    ),
    "a test by the draft's key, said to be a sign-in": Attack(
        lambda host, test, other: _outer(respond(test), test.id, other.id), Reason.SIGNATURE_INVALID
    ),
    "a test by the live key, said to be a sign-in": Attack(
        lambda host, test, other: _outer(respond(test, entra=FABRIKAM), test.id, other.id), Reason.IN_RESPONSE_TO_MISMATCH
    ),
    "a test by the live key, which its Response does not say": Attack(
        lambda host, test, other: respond(test, entra=FABRIKAM, response_in_response_to=None), None, Reason.SIGNATURE_INVALID
    ),
    "a test by the live key, said to be one in another spelling": Attack(
        lambda host, test, other: _outer(respond(test, entra=FABRIKAM), test.id, test.id.upper().replace("ID", "id")),
        Reason.IN_RESPONSE_TO_MISMATCH,
    ),
    "nobody's request by the draft's key, said to be a test": Attack(
        lambda host, test, other: respond(test, confirmation_in_response_to=None), None, Reason.IN_RESPONSE_TO_MISMATCH
    ),
    "another test's answer": Attack(
        lambda host, test, other: _outer(respond(begin(host)[1]), begin(host)[1].id, test.id), None, None
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("initiated", [False, True], ids=["", "where the IdP may start sign-ins"])
def test_no_mixture_of_a_test_and_a_sign_in_signs_anybody_in(host: Host, attack: Attack, initiated: bool) -> None:
    rows = rows_of(host)
    if initiated:
        rows.change(stored(host), {"allow_idp_initiated": True}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    admin, test = begin(host)
    browser = host.browser()
    asked = FABRIKAM.read_request(browser.get(LOGIN).url)
    post(browser, attack.make(host, test, asked))
    assert browser.get(f"{ORIGIN}/").text == "nobody"
    assert host.count("samljit_identity") == 0
    assert [row.email for row in host.rows("users")] == [FRED]
    assert host.reasons() == ([attack.judged] if attack.judged else [])
    assert not is_tested(host)
    if attack.tested:
        assert last(host).reason == attack.tested
    admin.get(TEST)
    assert not is_tested(host)


def test_another_tests_signed_answer_does_not_answer_this_one(host: Host) -> None:
    browser, first = begin(host)
    _, second = begin(host, browser)
    post(browser, _outer(respond(first), first.id, second.id))
    assert (last(host).nonce, last(host).reason) == (nonce_of(host, second), Reason.IN_RESPONSE_TO_MISMATCH)
    assert not is_tested(host)


def nonce_of(host: Host, asked: AuthnRequest) -> str:
    with host.app.app_context():
        found = app_secrets().requests.find(asked.id, tenant_id=stored(host).id)
    assert found is not None
    assert found.purpose is Purpose.TEST
    return found.nonce


def test_a_request_of_one_tenant_tests_no_other(host: Host) -> None:
    _, asked = begin(host)
    elsewhere = f"{ORIGIN}/saml/tailspin/acs"
    assert post(host.browser(), respond(replace(asked, acs_url=elsewhere)), acs=elsewhere).status == 403
    assert (stored(host, "tailspin").last_test, stored(host).last_test) == (None, None)


def test_a_forged_request_id_is_judged_as_a_sign_in(host: Host) -> None:
    _, asked = begin(host)
    forged = asked.id[:-4] + "0000" if not asked.id.endswith("0000") else asked.id[:-4] + "1111"
    post(host.browser(), respond(replace(asked, id=forged)))
    assert (stored(host).last_test, host.reasons()) == (None, ["signature_invalid"])


def test_an_answer_counts_once_whatever_is_posted_after_it(host: Host) -> None:
    browser, asked = begin(host)
    xml = respond(asked)
    post(browser, xml)
    first = last(host)
    stranger = host.browser()
    later = [xml, f'<junk InResponseTo="{asked.id}"/>'.encode(), respond(asked, key=signing_key("a stranger"))]
    later += [respond(asked), respond(asked, audiences=(("https://other.example",),))]
    for again in later:
        post(stranger, again)
        assert (last(host), is_tested(host)) == (first, True)
    assert host.count("samljit_assertion") == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=90), tick=False):
        post(stranger, xml)
    assert (last(host), is_tested(host)) == (first, True)


def test_an_answer_that_was_used_for_a_test_is_no_sign_in_once_the_draft_is_live(host: Host) -> None:
    browser, asked = begin(host)
    xml = respond(asked)
    post(browser, xml)
    rows_of(host).go_live(stored(host), author=OPERATOR)
    thief = host.browser()
    other = DRAFTED.read_request(thief.get(LOGIN).url)
    for edited in (xml, _outer(xml, asked.id, other.id), _outer(xml, asked.id, "")):
        post(thief, edited)
        assert thief.get(f"{ORIGIN}/").text == "nobody"
    assert host.count("samljit_identity") == 0


def test_what_was_tested_before_the_draft_changed_counts_for_nothing(host: Host) -> None:
    browser, asked = begin(host)
    draft = stored(host).draft
    rows_of(host).save_draft(stored(host), {**(draft or {}), "name": "Other"}, author=OPERATOR)
    page = post(browser, respond(asked))
    assert "was changed while the test ran" in page.text
    assert (stored(host).last_test, is_tested(host)) == (None, False)


def test_a_change_between_answer_and_return_keeps_the_draft_untested(host: Host) -> None:
    browser, asked = begin(host)
    post(host.browser(), respond(asked))
    rows_of(host).change(stored(host), {"sign_requests": False, "name": "B"}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    page = browser.get(f"{TEST}/result?n={nonce_of(host, asked)}")
    assert "was changed while the test ran" in page.text
    assert not is_tested(host)


def test_only_the_browser_that_began_it_and_its_admin_make_it_count(host: Host) -> None:
    browser, asked = begin(host)
    result = f"{TEST}/result?n={nonce_of(host, asked)}"
    assert post(host.browser(), respond(asked)).status == 401
    assert (last(host).passed, is_tested(host)) == (True, False)
    for other in (browser_of(host, FRED), browser_of(host, TINA), host.browser()):  # the same admin's other browser among them
        other.get(result)
        assert not is_tested(host)
    browser.get(f"{ORIGIN}/enter/{browser_user(host, 'x@fabrikam.example')}")  # somebody else has signed in here meanwhile
    assert browser.get(result).status == 404
    assert not is_tested(host)
    browser.get(f"{ORIGIN}/enter/{browser_user(host, FRED)}")
    browser.get(result)
    assert is_tested(host)


def browser_user(host: Host, email: str) -> int:
    browser_of(host, email)
    return next(int(user["id"]) for user in host.users() if user["email"] == email)


def test_an_admin_who_is_one_no_more_finishes_no_test(mount: Mount) -> None:
    admins = {FRED}
    host = make_admin_host(mount, authorize=lambda user, tenant, action: user.email in admins)
    browser, asked = begin(host)
    admins.clear()
    assert post(browser, respond(asked, entra=FABRIKAM)).status == 404
    assert (last(host).passed, is_tested(host)) == (True, False)


def test_a_test_is_started_by_the_tenants_admin_alone_and_with_a_token(host: Host) -> None:
    page = browser_of(host, FRED).get(TEST)
    for browser, status in ((host.browser(), 401), (browser_of(host, TINA), 404)):
        browser.get(f"{ORIGIN}/")
        assert browser.submit(page.forms[0]).status == status
    forged = browser_of(host, FRED).submit(Form(TEST, fields=(("csrf_token", "x"),)))
    assert forged.status in (400, 409)
    assert "samljit-test" not in str(forged.headers)


def test_too_late_an_answer_is_shown_as_too_late_and_an_ancient_one_is_nobodys(host: Host) -> None:
    browser, asked = begin(host)
    start = datetime.now(UTC)
    with time_machine.travel(start + timedelta(minutes=20), tick=False):
        post(browser, respond(asked))
        assert last(host).reason == Reason.REQUEST_EXPIRED
    with time_machine.travel(start + timedelta(hours=3), tick=False):
        _, fresh = begin(host, browser_of(host, FRED))
        post(host.browser(), respond(asked))
        assert (last(host).nonce == nonce_of(host, fresh), host.reasons()) == (False, ["signature_invalid"])


def test_without_admin_pages_there_are_no_tests(mount: Mount, host: Host) -> None:
    _, asked = begin(host)
    other = mount()  # contoso alone, and no authorize: the same keys
    elsewhere = f"{ORIGIN}/saml/contoso/acs"
    assert post(other.browser(), respond(replace(asked, acs_url=elsewhere)), acs=elsewhere).status == 403


def test_the_hosts_own_question_is_asked_of_a_test_too(mount: Mount) -> None:
    host = make_admin_host(mount, accept_assertion=lambda tenant, assertion: False)
    browser, asked = begin(host)
    post(browser, respond(asked, entra=FABRIKAM))
    assert (last(host).reason, is_tested(host)) == (Reason.HOST_DECLINED, False)


def test_a_test_decrypts_for_its_admin_nothing_that_was_for_another_tenant(mount: Mount, tmp_path: Path) -> None:
    """Our key is the same for all tenants, and anybody's draft can name the IdP of another with its public certificate."""
    entra, own = FakeEntra(), signing_key("our own")
    host = make_admin_host(mount, entra=entra, settings=settings_for(tmp_path, entra, sp=key_files(tmp_path, new=own)))
    theirs = entra.read_request(host.browser().get(f"{ORIGIN}/saml/contoso/login").url)
    seen = respond(theirs, ADELE, entra=entra, encryption=Encryption(own.certificate_der))
    draft = {"idp": {"metadata": entra.metadata().decode()}, "entra_tenant_id": entra.tenant_id}
    rows_of(host).save_draft(stored(host), draft, author=OPERATOR)
    browser = browser_of(host, FRED)
    asked = entra.read_request(browser.submit(browser.get(TEST).forms[0], {}).url)
    forged = seen.replace(theirs.id.encode(), asked.id.encode()).replace(b"/contoso/acs", b"/fabrikam/acs")
    page = post(browser, forged)
    result = last(host)
    assert (result.reason, result.is_signed) == (Reason.RECIPIENT_MISMATCH, True)
    assert (result.name_id, dict(result.claims), result.plan) == (None, {}, None)
    assert not {value for value in values_in(respond(theirs, ADELE, entra=entra)) if value in page.text} - {entra.tenant_id}


def test_no_claim_value_is_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="samljit")
    browser, asked = begin(host)
    post(browser, respond(asked))
    browser, asked = begin(host)
    post(browser, respond(asked, audiences=(("https://other.example",),)))
    assert "test sign-in: passed tenant=fabrikam" in caplog.text
    assert "test sign-in: audience_mismatch tenant=fabrikam" in caplog.text
    assert not any(word in caplog.text for word in ("hanna", "Vance", HANNA.object_id, "other.example"))
    assert not any("hanna" in str(tuple(row)) for row in host.rows("samljit_audit"))


# --- without a host: the two that stand in the way --------------------------------------------------------------------


def test_the_validator_takes_a_test_for_no_sign_in_and_a_sign_in_for_no_test() -> None:
    desk, now = Desk(), datetime.now(UTC)
    test, other = (desk.requests.issue(desk.tenant.id, now=now, purpose=Purpose.TEST, draft_revision=3) for _ in range(2))
    plain = desk.requests.issue(desk.tenant.id, now=now)

    def answer(request_id: str) -> bytes:
        asked = AuthnRequest(request_id, desk.tenant.expected_audience, desk.tenant.acs_url)
        return desk.entra.respond(asked, ADELE, now=now).xml

    def reason(xml: bytes, **how: Any) -> Reason | None:
        try:
            desk.validator.validate(xml, tenant=desk.tenant, now=now, **how)
        except AssertionRejected as rejected:
            return rejected.reason
        return None

    assert [reason(answer(one.id)) for one in (plain, test)] == [None, Reason.REQUEST_UNKNOWN]
    found = [reason(answer(one.id), test=test) for one in (test, other, plain)]
    assert found == [None, Reason.IN_RESPONSE_TO_MISMATCH, Reason.IN_RESPONSE_TO_MISMATCH]


def test_provisioning_takes_no_assertion_of_a_test_whatever_the_validator_says(host: Host) -> None:
    desk, now = Desk(), datetime.now(UTC)
    test = desk.requests.issue(desk.tenant.id, now=now, purpose=Purpose.TEST)
    asked = AuthnRequest(test.id, desk.tenant.expected_audience, desk.tenant.acs_url)
    assertion = desk.validator.validate(desk.entra.respond(asked, ADELE, now=now).xml, tenant=desk.tenant, now=now, test=test)
    mount = host.app.extensions["samljit"]
    how: dict[str, Any] = {"now": now, "browser": "", "email_domains": None, "new_reference": lambda: uuid4().hex[:12]}
    with pytest.raises(ProvisioningRefused) as refused:
        provision(mount.store, tenant=desk.tenant, assertion=assertion, shape=mount.shape, **how)
    assert refused.value.reason is Reason.REQUEST_UNKNOWN
