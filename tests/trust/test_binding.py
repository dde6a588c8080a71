"""Binding (17 to 29): for us, now, in answer to our request, once."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import time_machine

from samljit.errors import ConfigError, Reason
from samljit.model import Purpose
from samljit.testing import Claim, FakeEntra, claims_of, documented_times
from samljit.testing.people import EMAIL_ADDRESS, NAME
from tests.host import ACS, ADELE, BIANCA, ENTITY_ID, LOGIN, ORIGIN, Host, make_host, settings_for
from tests.trust.forge import Desk, Flow, accepted, answer, at, attribute, drop, nothing_happened, post_fields, put, refused

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)

# --- 17, 18: recipient, destination -----------------------------------------------------------------------------------

ADDRESSES: dict[str, str | None] = {
    "absent": None,
    "empty": "",
    "blank": " ",
    "contains-ours": f"https://evil.example/?{ACS}",
    "ours-as-path": f"https://evil.example/{ACS}",
    "longer": f"{ACS}/",
    "query": f"{ACS}?x=1",
    "fragment": f"{ACS}#x",
    "prefix-of-ours": ACS[:-1],
    "origin-alone": f"{ORIGIN}/",
    "longer-host": ACS.replace(".com", ".com.evil.example"),
    "user-part": ACS.replace("https://", "https://user@"),
    "http": ACS.replace("https", "http"),
    "port": ACS.replace(".com", ".com:443"),
    "host-upper-case": ACS.replace("app.example.com", "APP.example.com"),
    "path-upper-case": ACS.replace("acs", "ACS"),
    "percent-encoded": ACS.replace("acs", "%61cs"),
    "dot-segment": ACS.replace("/acs", "/./acs"),
    "padded": f" {ACS} ",
    "another-tenants": ACS.replace("contoso", "fabrikam"),
    "entity-id": ENTITY_ID,
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=[f"17-recipient-{name}" for name in ADDRESSES])
def test_a_recipient_that_is_not_our_acs_is_refused(host: Host, caplog: pytest.LogCaptureFixture, address: str | None) -> None:
    refused(host, caplog, Reason.RECIPIENT_MISMATCH, recipient=address)


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=[f"18-destination-{name}" for name in ADDRESSES])
def test_a_destination_that_is_not_our_acs_is_refused(host: Host, caplog: pytest.LogCaptureFixture, address: str | None) -> None:
    refused(host, caplog, Reason.DESTINATION_MISMATCH, destination=address)


@pytest.mark.parametrize("sign", ["response", "both"])
def test_18_a_signed_destination_elsewhere_is_refused(host: Host, caplog: pytest.LogCaptureFixture, sign: str) -> None:
    refused(host, caplog, Reason.DESTINATION_MISMATCH, destination="https://evil.example/acs", sign=sign)


# --- 19: audience -----------------------------------------------------------------------------------------------------

OTHER = "https://other.example/metadata"
AUDIENCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "19-none": (),
    "19-an-empty-restriction": ((),),
    "19-other": ((OTHER,),),
    "19-ours-in-one-of-two-restrictions": ((ENTITY_ID,), (OTHER,)),
    "19-ours-in-the-second-of-two-restrictions": ((OTHER,), (ENTITY_ID,)),
    "19-ours-and-an-empty-restriction": ((ENTITY_ID,), ()),
    "19-longer": ((f"{ENTITY_ID}/",),),
    "19-contains-ours": ((f"{OTHER}?{ENTITY_ID}",),),
    "19-prefix": ((ENTITY_ID[:-1],),),
    "19-upper-case": ((ENTITY_ID.upper(),),),
    "19-padded": ((f" {ENTITY_ID}\n",),),
    "19-spn-form-of-a-uri": ((f"spn:{ENTITY_ID}",),),
    "19-blank": (("",),),
    "19-acs": ((ACS,),),
}


@pytest.mark.parametrize("audiences", AUDIENCES.values(), ids=AUDIENCES)
def test_an_audience_that_is_not_ours_in_each_restriction_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, audiences: tuple[tuple[str, ...], ...]
) -> None:
    refused(host, caplog, Reason.AUDIENCE_MISMATCH, audiences=audiences)


@pytest.mark.parametrize(
    "audiences",
    [
        pytest.param(((OTHER, ENTITY_ID),), id="19-ours-among-others"),
        pytest.param(((ENTITY_ID,), (ENTITY_ID, OTHER)), id="19-ours-in-each"),
    ],
)
def test_our_entity_id_in_each_restriction_is_taken(host: Host, audiences: tuple[tuple[str, ...], ...]) -> None:
    accepted(host, audiences=audiences)


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        pytest.param("spn:07dd8a60-bf6d-4e17-8844-230b77145381", None, id="19-spn-form"),
        pytest.param("07dd8a60-bf6d-4e17-8844-230b77145381", Reason.AUDIENCE_MISMATCH, id="19-bare-id"),
        pytest.param("SPN:07dd8a60-bf6d-4e17-8844-230b77145381", Reason.AUDIENCE_MISMATCH, id="19-spn-upper-case"),
    ],
)
def test_an_entity_id_that_is_no_uri_comes_back_with_spn(audience: str, reason: Reason | None) -> None:
    desk = Desk(changes={"entity_id": "07dd8a60-bf6d-4e17-8844-230b77145381"})
    now = datetime.now(UTC)
    assert desk.reason(desk.respond(now=now, audiences=((audience,),)), now=now) == reason


# --- 20: the request --------------------------------------------------------------------------------------------------


def named(request_id: str | None) -> dict[str, Any]:
    return {"response_in_response_to": request_id, "confirmation_in_response_to": request_id}


GENUINE = "id" + "01" * 46

REQUESTS: dict[str, str] = {
    "20-empty": "",
    "20-blank": " ",
    "20-not-hex": "idnothing",
    "20-short": "id00",
    "20-forged": GENUINE,
    "20-non-ascii": "idé",
    "20-full-width-digits": "id" + "\uff10" * 92,
}


@pytest.mark.parametrize("request_id", REQUESTS.values(), ids=REQUESTS)
def test_a_request_that_is_not_ours_is_refused(host: Host, caplog: pytest.LogCaptureFixture, request_id: str) -> None:
    refused(host, caplog, Reason.REQUEST_UNKNOWN, **named(request_id))


def test_20_a_request_that_only_tries_a_draft_out_signs_nobody_in() -> None:
    desk, now = Desk(), datetime.now(UTC)
    request_id = desk.request_id(now, purpose=Purpose.TEST, draft_revision=3)
    assert desk.requests.find(request_id, tenant_id=desk.tenant.id) is not None
    assert desk.reason(desk.respond(now=now, **named(request_id)), now=now) is Reason.REQUEST_UNKNOWN


SPELLINGS: dict[str, Any] = {
    "20-upper-case": lambda genuine: "id" + genuine[2:].upper(),
    "20-blanks-between": lambda genuine: "id" + " ".join(genuine[i : i + 2] for i in range(2, len(genuine), 2)),
    "20-without-id": lambda genuine: genuine[2:],
    "20-id-twice": lambda genuine: f"id{genuine}",
    "20-padded": lambda genuine: f"{genuine} ",
    "20-changed-time": lambda genuine: genuine[:20] + ("0" if genuine[20] != "0" else "1") + genuine[21:],
    "20-changed-flags": lambda genuine: genuine[:4] + "02" + genuine[6:],
    "20-changed-mac": lambda genuine: genuine[:-1] + ("0" if genuine[-1] != "0" else "1"),
    "20-cut-mac": lambda genuine: genuine[:-2],
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_request_id_has_one_spelling(spell: Any) -> None:
    desk = Desk()
    now = datetime.now(UTC)
    genuine = desk.request_id(now)
    assert desk.reason(desk.respond(now=now, **named(genuine)), now=now) is None
    assert desk.reason(desk.respond(now=now, **named(spell(genuine))), now=now) == Reason.REQUEST_UNKNOWN


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        pytest.param(timedelta(0), None, id="20-at-once"),
        pytest.param(timedelta(minutes=15) - SECOND, None, id="20-the-last-second"),
        pytest.param(timedelta(minutes=15), Reason.REQUEST_EXPIRED, id="20-too-late"),
        pytest.param(-SECOND, Reason.REQUEST_EXPIRED, id="20-from-the-future"),
    ],
)
def test_a_request_is_good_for_fifteen_minutes(age: timedelta, reason: Reason | None) -> None:
    desk = Desk()
    with time_machine.travel(NOW, tick=False):
        assert desk.reason(desk.respond(now=NOW, requested_at=NOW - age), now=NOW) == reason


def test_20_a_request_of_another_tenant_is_refused() -> None:
    desk, other = Desk(), Desk(changes={"id": "00000000-0000-4000-8000-00000000000b"})
    now = datetime.now(UTC)
    stolen = desk.requests.issue(UUID(str(other.tenant.id)), now=now).id
    assert desk.reason(desk.respond(now=now, **named(stolen)), now=now) == Reason.REQUEST_UNKNOWN


UNSOLICITED: dict[str, tuple[dict[str, Any], Reason]] = {
    "20-in-neither-place": (named(None), Reason.UNSOLICITED),
    "20-in-the-response-alone": ({"confirmation_in_response_to": None}, Reason.IN_RESPONSE_TO_MISMATCH),
    "20-two-requests": ({"response_in_response_to": GENUINE}, Reason.IN_RESPONSE_TO_MISMATCH),
    "20-two-requests-signed": ({"response_in_response_to": GENUINE, "sign": "both"}, Reason.IN_RESPONSE_TO_MISMATCH),
}


@pytest.mark.parametrize(("changes", "reason"), UNSOLICITED.values(), ids=UNSOLICITED)
def test_an_answer_without_our_request_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


def test_20_a_response_without_in_response_to_is_taken_where_the_assertion_has_it(host: Host) -> None:
    accepted(host, response_in_response_to=None)


def test_20_a_second_assertion_for_the_same_request_is_refused(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """By the request's nonce, whatever the assertion's ID."""
    browser = host.browser()
    request = host.entra.read_request(browser.get(LOGIN).url)
    first, second = (host.entra.respond(request, person, now=datetime.now(UTC)) for person in (ADELE, BIANCA))
    assert first.xml != second.xml
    post_fields(browser, list(first.form.items()))
    other = host.browser()
    other.get(LOGIN)
    with nothing_happened(host, caplog, Reason.REPLAYED) as scene:
        scene.flow = Flow(other, second.xml, post_fields(other, list(second.form.items())), second.form)


@pytest.mark.parametrize(
    ("authenticated", "reason"),
    [
        pytest.param(timedelta(0), None, id="20-force-authenticated-now"),
        pytest.param(timedelta(seconds=-2), Reason.REAUTHENTICATION_MISSING, id="20-force-authenticated-before"),
        pytest.param(timedelta(days=-20), Reason.REAUTHENTICATION_MISSING, id="20-force-authenticated-long-ago"),
    ],
)
def test_a_fresh_sign_in_that_was_asked_for_must_be_fresh(
    host: Host, caplog: pytest.LogCaptureFixture, authenticated: timedelta, reason: Reason | None
) -> None:
    how: dict[str, Any] = {"login_url": f"{LOGIN}?force=1", "authn_instant": datetime.now(UTC) + authenticated}
    if reason is None:
        accepted(host, **{**how, "authn_instant": datetime.now(UTC) + SECOND})
    else:
        refused(host, caplog, reason, **how)


def test_20_trying_again_still_asks_for_a_fresh_sign_in(host: Host) -> None:
    browser = host.browser()
    stale = answer(host, browser=browser, login_url=f"{LOGIN}?force=1&next=/reports/7", authn_instant=datetime.now(UTC) - 9 * SECOND)
    assert (stale.page.status, host.reasons()) == (403, ["reauthentication_missing"])
    [link] = stale.page.links
    assert host.entra.read_request(browser.get(link.href).url).force_authn


# --- 21: the browser --------------------------------------------------------------------------------------------------


def test_21_an_answer_finished_in_another_browser_signs_nobody_in(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Login CSRF: Mallory begins, and has Adele's browser post what Entra says about Mallory."""
    mallory, victim = host.browser(), host.browser()
    request = host.entra.read_request(mallory.get(LOGIN).url)
    post = host.entra.respond(request, BIANCA, now=datetime.now(UTC))
    victim.get(f"{ORIGIN}/")
    page = post_fields(victim, list(post.form.items()))
    assert (page.status, host.reasons()) == (403, ["browser_mismatch"])
    assert victim.get(f"{ORIGIN}/").text == "nobody"
    assert "bianca" not in (page.text + caplog.text).lower()


def test_21_a_sign_in_of_ones_own_does_not_let_another_ones_in(host: Host) -> None:
    """The victim has a pending request of their own in the browser: another one's nonce does not match it."""
    mallory, victim = host.browser(), host.browser()
    request = host.entra.read_request(mallory.get(LOGIN).url)
    post = host.entra.respond(request, BIANCA, now=datetime.now(UTC))
    victim.get(LOGIN)
    assert post_fields(victim, list(post.form.items())).status == 403
    assert (host.reasons(), victim.get(f"{ORIGIN}/").text) == (["browser_mismatch"], "nobody")


def test_21_several_tabs_finish_in_any_order(host: Host) -> None:
    first = host.browser()
    second = first.new_tab()
    requests = [host.entra.read_request(tab.get(f"{LOGIN}?next=/reports/{number}").url) for number, tab in ((1, first), (2, second))]
    posts = [host.entra.respond(request, ADELE, now=datetime.now(UTC)) for request in requests]
    assert post_fields(second, list(posts[1].form.items())).url == f"{ORIGIN}/reports/2"
    assert post_fields(first, list(posts[0].form.items())).url == f"{ORIGIN}/reports/1"
    assert host.reasons() == []


# --- 22: replay -------------------------------------------------------------------------------------------------------


def replayed_by(host: Host, flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
    other = host.browser()
    other.get(LOGIN)
    with nothing_happened(host, caplog, Reason.REPLAYED) as scene:
        scene.flow = Flow(other, flow.xml, post_fields(other, list(flow.posted.items())), flow.posted)


def test_22_an_assertion_is_good_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    flow = answer(host)
    assert flow.page.text == "user 1"
    for _ in range(2):
        replayed_by(host, flow, caplog)


def test_22_a_response_around_a_used_assertion_may_change_without_helping(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    flow = answer(host)
    response_id = flow.xml.split(b'ID="')[1].split(b'"')[0]
    xml = flow.xml.replace(response_id, b"_another")
    posted = {"SAMLResponse": base64.b64encode(xml).decode()}
    replayed_by(host, Flow(flow.browser, xml, flow.page, posted), caplog)


def test_22_another_process_remembers_too(tmp_path: Path, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    flow = answer(host)
    second = make_host(tmp_path)  # the same database file, everything else anew
    try:
        replayed_by(second, flow, caplog)
    finally:
        second.session.remove()
        second.engine.dispose()


def test_22_the_same_assertion_id_for_another_request_is_refused(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert answer(host, assertion_id="_same").page.status == 200
    refused(host, caplog, Reason.REPLAYED, assertion_id="_same")


def test_22_a_refused_provisioning_leaves_the_assertion_unused(host: Host) -> None:
    """The record of use is written in the sign-in's own transaction."""
    claims = tuple(claim for claim in claims_of(ADELE, host.entra.tenant_id) if claim.name not in (EMAIL_ADDRESS, NAME))
    answer(host, claims=claims)
    assert (host.reasons(), host.count("samljit_assertion")) == (["required_claim_missing"], 0)


@pytest.mark.parametrize("confirmed", [timedelta(minutes=5), timedelta(minutes=90)], ids=["22-short-confirmation", "22-long-confirmation"])
def test_an_assertion_is_remembered_for_as_long_as_it_could_be_accepted(confirmed: timedelta) -> None:
    desk = Desk(skew=300)
    with time_machine.travel(NOW, tick=False):
        xml = desk.respond(now=NOW, confirmation_not_on_or_after=NOW + confirmed)
        assertion = desk.validate(xml, now=NOW)
    assert assertion.usable_until >= max(NOW + timedelta(minutes=60), NOW + confirmed) + timedelta(seconds=300)


# --- 23: times --------------------------------------------------------------------------------------------------------


def judged(skew: int, *, now: datetime, requested_at: datetime | None = None, **changes: Any) -> Reason | None:
    """An answer made at NOW and judged at `now`, by us and by python3-saml alike."""
    desk = Desk(skew=skew)
    with time_machine.travel(now, tick=False):
        return desk.reason(desk.respond(now=NOW, requested_at=requested_at or now, **changes), now=now)


@pytest.mark.parametrize("skew", [0, 120, 300])
def test_23_conditions_end_to_the_second(skew: int) -> None:
    edge = NOW + timedelta(minutes=10, seconds=skew)
    times = {"not_on_or_after": NOW + timedelta(minutes=10), "confirmation_not_on_or_after": NOW + timedelta(hours=1)}
    assert [judged(skew, now=edge + step, **times) for step in (-SECOND, 0 * SECOND, SECOND)] == [None, Reason.EXPIRED, Reason.EXPIRED]


@pytest.mark.parametrize("skew", [0, 120, 300])
def test_23_conditions_begin_to_the_second(skew: int) -> None:
    times = {"not_before": NOW + timedelta(minutes=10), "assertion_issue_instant": NOW - timedelta(minutes=1)}
    edge = NOW + timedelta(minutes=10) - timedelta(seconds=skew)
    found = [judged(skew, now=edge + step, **times) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [Reason.NOT_YET_VALID, None, None]


@pytest.mark.parametrize("skew", [0, 120, 300])
@pytest.mark.parametrize("what", ["assertion_issue_instant", "issue_instant", "authn_instant"])
def test_23_nothing_happened_in_the_future(skew: int, what: str) -> None:
    limit = NOW + timedelta(seconds=skew)
    found = [judged(skew, now=NOW, **{what: limit + step}) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [None, None, Reason.NOT_YET_VALID]


@pytest.mark.parametrize("skew", [0, 120, 300])
def test_23_a_confirmation_ends_to_the_second_without_skew(skew: int) -> None:
    edge = NOW + timedelta(minutes=5)
    found = [judged(skew, now=edge + step, confirmation_not_on_or_after=edge) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [None, Reason.EXPIRED, Reason.EXPIRED]


@pytest.mark.parametrize("skew", [0, 120, 300])
def test_23_an_assertion_is_no_older_than_its_validity(skew: int) -> None:
    """Issued long before a short window."""
    edge = NOW - timedelta(minutes=10, seconds=skew)
    times = {"not_before": NOW - timedelta(minutes=5), "not_on_or_after": NOW + timedelta(minutes=5)}
    found = [judged(skew, now=NOW, assertion_issue_instant=edge + step, **times) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [Reason.EXPIRED, None, None]


@pytest.mark.parametrize("what", ["not_on_or_after", "confirmation_not_on_or_after"])
def test_23_a_validity_is_a_day_and_a_quarter_of_an_hour_at_most(what: str) -> None:
    longest = NOW + timedelta(hours=24, minutes=15)
    found = [judged(0, now=NOW, not_before=NOW, **{what: longest + step}) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [None, None, Reason.VALIDITY_TOO_LONG]


@pytest.mark.parametrize("years", [1, 100], ids=["23-a-year", "23-a-century"])
def test_an_endless_validity_is_refused(host: Host, caplog: pytest.LogCaptureFixture, years: int) -> None:
    later = datetime.now(UTC) + timedelta(days=365 * years)
    refused(host, caplog, Reason.VALIDITY_TOO_LONG, not_on_or_after=later, confirmation_not_on_or_after=later)


WINDOWS = {"observed": {}, "documented": documented_times(NOW)}


@pytest.mark.parametrize("times", WINDOWS.values(), ids=[f"23-{name}" for name in WINDOWS])
@pytest.mark.parametrize("skew", [0, 120, 300])
def test_both_of_entras_windows_are_taken(skew: int, times: dict[str, Any]) -> None:
    assert judged(skew, now=NOW + timedelta(minutes=4, seconds=59), requested_at=NOW - SECOND, **times) is None


def test_23_a_skew_beyond_five_minutes_is_not_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        make_host(tmp_path, settings=settings_for(tmp_path, FakeEntra(), clock_skew_seconds=301))


MALFORMED = {
    "absent": None,
    "empty": "",
    "blank-behind": "2026-11-22T09:00:00Z ",
    "no-zone": "2026-11-22T09:00:00",
    "offset": "2026-11-22T09:00:00+00:00",
    "lower-case": "2026-11-22t09:00:00z",
    "date-alone": "2026-11-22",
    "no-seconds": "2026-11-22T09:00Z",
    "eight-digits": "2026-11-22T09:00:00.12345678Z",
    "no-digits": "2026-11-22T09:00:00.Z",
    "comma": "2026-11-22T09:00:00,1Z",
    "hour-24": "2026-11-22T24:00:00Z",
    "second-60": "2026-11-22T09:00:60Z",
    "february-30": "2026-02-30T09:00:00Z",
    "year-0": "0000-11-22T09:00:00Z",
    "year-9999": "9999-12-31T23:59:59Z",
    "year-10000": "10000-11-22T09:00:00Z",
    "negative-year": "-2026-11-22T09:00:00Z",
    "arabic-digits": "٢٠٢٦-11-22T09:00:00Z",
    "words": "tomorrow",
}
TIMES = ["assertion_issue_instant", "not_on_or_after", "confirmation_not_on_or_after", "authn_instant", "issue_instant", "not_before"]


@pytest.mark.parametrize("text", MALFORMED.values(), ids=[f"23-{name}" for name in MALFORMED])
@pytest.mark.parametrize("what", TIMES)
def test_a_time_in_any_other_form_is_refused(what: str, text: str | None) -> None:
    if (what, text) == ("not_before", None):
        return
    assert judged(120, now=NOW, **{what: text}) == Reason.TIME_MALFORMED


@pytest.mark.parametrize("digits", range(8))
def test_23_up_to_seven_fraction_digits_are_taken(digits: int) -> None:
    assert judged(120, now=NOW, fraction_digits=digits) is None


def test_23_a_confirmation_with_not_before_is_refused(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    refused(host, caplog, Reason.CONFIRMATION_INVALID, confirmation_not_before=datetime.now(UTC) - timedelta(minutes=5))


@pytest.mark.parametrize("what", TIMES)
def test_23_a_missing_or_odd_time_is_refused_at_the_acs(host: Host, caplog: pytest.LogCaptureFixture, what: str) -> None:
    refused(host, caplog, Reason.TIME_MALFORMED, **{what: "2026-11-22T09:00:00+01:00"})


def test_23_an_authn_instant_of_months_ago_is_taken(host: Host) -> None:
    accepted(host, authn_instant=datetime.now(UTC) - timedelta(days=400))


@pytest.mark.parametrize("skew", [0, 120, 300])
def test_28_a_session_that_has_ended_is_refused(skew: int) -> None:
    edge = NOW + timedelta(minutes=3)
    found = [judged(skew, now=edge + step, session_not_on_or_after=edge) for step in (-SECOND, 0 * SECOND, SECOND)]
    assert found == [None, Reason.SESSION_EXPIRED, Reason.SESSION_EXPIRED]


# --- 24 to 28 ---------------------------------------------------------------------------------------------------------

ASSERTION = "//saml:Assertion"
CONDITIONS = "//saml:Conditions"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"

OTHERS: dict[str, tuple[dict[str, Any], Reason]] = {
    "24-unknown-condition": ({"before_signing": put(CONDITIONS, "<x xmlns='urn:x:y'/>")}, Reason.CONDITION_UNKNOWN),
    "24-abstract-condition": ({"before_signing": put(CONDITIONS, "<saml:Condition/>")}, Reason.CONDITION_UNKNOWN),
    "24-one-time-use-twice": (
        {"before_signing": lambda root: [put(CONDITIONS, "<saml:OneTimeUse/>")(root) for _ in range(2)]},
        Reason.CONDITION_UNKNOWN,
    ),
    "25-requester": ({"status": "urn:oasis:names:tc:SAML:2.0:status:Requester"}, Reason.STATUS_NOT_SUCCESS),
    "25-success-nested-in-failure": (
        {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder", "status_detail": SUCCESS, "sign": "both"},
        Reason.STATUS_NOT_SUCCESS,
    ),
    "25-empty": ({"status": ""}, Reason.STATUS_NOT_SUCCESS),
    "25-no-value": ({"after_signing": at("//samlp:StatusCode", lambda code: code.attrib.pop("Value"))}, Reason.STATUS_NOT_SUCCESS),
    "25-other-case": ({"status": SUCCESS.lower()}, Reason.STATUS_NOT_SUCCESS),
    "25-padded": ({"status": f"{SUCCESS} "}, Reason.STATUS_NOT_SUCCESS),
    "25-contains-success": ({"status": f"{SUCCESS}ful"}, Reason.STATUS_NOT_SUCCESS),
    "25-no-status": ({"status": None}, Reason.SHAPE_UNEXPECTED),
    "25-no-status-code": ({"after_signing": drop("//samlp:StatusCode")}, Reason.SHAPE_UNEXPECTED),
    "25-two-status-codes": ({"after_signing": put("//samlp:Status", f"<samlp:StatusCode Value='{SUCCESS}'/>")}, Reason.SHAPE_UNEXPECTED),
    "26-response-1.1": ({"response_version": "1.1"}, Reason.VERSION_UNSUPPORTED),
    "26-response-none": ({"response_version": None}, Reason.VERSION_UNSUPPORTED),
    "26-response-2": ({"response_version": "2"}, Reason.VERSION_UNSUPPORTED),
    "26-assertion-1.1": ({"assertion_version": "1.1"}, Reason.VERSION_UNSUPPORTED),
    "26-assertion-none": ({"assertion_version": None}, Reason.VERSION_UNSUPPORTED),
    "26-assertion-2.1": ({"assertion_version": "2.1"}, Reason.VERSION_UNSUPPORTED),
    "27-no-name-id": ({"name_id": None}, Reason.NAME_ID_MISSING),
    "27-blank-name-id": ({"name_id": " \t\n"}, Reason.NAME_ID_MISSING),
    "27-empty-name-id": ({"name_id": ""}, Reason.NAME_ID_MISSING),
    "27-no-break-space-name-id": ({"name_id": "\u00a0"}, Reason.NAME_ID_MISSING),
    "27-two-name-ids": ({"before_signing": put("//saml:Subject", "<saml:NameID>x</saml:NameID>", index=1)}, Reason.SHAPE_UNEXPECTED),
    "27-encrypted-id": ({"before_signing": put("//saml:Subject", "<saml:EncryptedID/>", index=0)}, Reason.SHAPE_UNEXPECTED),
    "27-sender-vouches": ({"confirmation_method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}, Reason.CONFIRMATION_INVALID),
    "27-holder-of-key": ({"confirmation_method": "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"}, Reason.CONFIRMATION_INVALID),
    "27-no-method": ({"confirmation_method": None}, Reason.CONFIRMATION_INVALID),
    "27-method-of-saml-1": ({"confirmation_method": "urn:oasis:names:tc:SAML:1.0:cm:bearer"}, Reason.CONFIRMATION_INVALID),
    "27-no-confirmation": ({"before_signing": drop("//saml:SubjectConfirmation")}, Reason.CONFIRMATION_INVALID),
    "27-confirmation-without-data": ({"before_signing": drop("//saml:SubjectConfirmationData")}, Reason.RECIPIENT_MISMATCH),
    "27-two-confirmations": (
        {"before_signing": put("//saml:Subject", "<saml:SubjectConfirmation Method='urn:oasis:names:tc:SAML:2.0:cm:bearer'/>")},
        Reason.CONFIRMATION_INVALID,
    ),
    "28-no-statement": ({"before_signing": drop("//saml:AuthnStatement")}, Reason.SHAPE_UNEXPECTED),
    "28-two-statements": (
        {
            "before_signing": put(
                ASSERTION, "<saml:AuthnStatement AuthnInstant='2026-11-22T09:00:00Z'><saml:AuthnContext/></saml:AuthnStatement>"
            )
        },
        Reason.SHAPE_UNEXPECTED,
    ),
}


@pytest.mark.parametrize(("changes", "reason"), OTHERS.values(), ids=OTHERS)
def test_a_status_version_subject_or_statement_that_is_not_as_it_must_be_is_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param("<saml:OneTimeUse/>", id="24-one-time-use"),
        pytest.param(
            f"<saml:ProxyRestriction Count='0'><saml:Audience>{OTHER}</saml:Audience></saml:ProxyRestriction>", id="24-proxy-restriction"
        ),
    ],
)
def test_a_condition_that_we_meet_is_taken(host: Host, condition: str) -> None:
    accepted(host, before_signing=put(CONDITIONS, condition))


# --- 29: attributes ---------------------------------------------------------------------------------------------------


def besides(*claims: Claim) -> dict[str, Any]:
    return {"claims": (*claims_of(ADELE, "aaaabbbb-0000-cccc-1111-dddd2222eeee"), *claims)}


BESIDES = len(claims_of(ADELE, "aaaabbbb-0000-cccc-1111-dddd2222eeee"))
ATTRIBUTES: dict[str, tuple[dict[str, Any], Reason]] = {
    "29-101-claims": (besides(*(Claim(f"c{i}", ("v",)) for i in range(101 - BESIDES))), Reason.ATTRIBUTE_LIMITS),
    "29-1001-values": (besides(Claim("many", ("v",) * 1001)), Reason.ATTRIBUTE_LIMITS),
    "29-4097-characters": (besides(Claim("long", ("v" * 4097,))), Reason.ATTRIBUTE_LIMITS),
    "29-long-name": (besides(Claim("n" * 1025, ("v",))), Reason.ATTRIBUTE_LIMITS),
    "29-no-name": ({"before_signing": at("//saml:Attribute", lambda found: found.attrib.pop("Name"))}, Reason.ATTRIBUTE_LIMITS),
    "29-empty-name": (besides(Claim("", ("v",))), Reason.ATTRIBUTE_LIMITS),
    "29-the-same-name-twice": (besides(Claim("c", ("one",)), Claim("c", ("two",))), Reason.ATTRIBUTE_DUPLICATE),
    "29-the-same-name-twice-by-format": (
        besides(Claim("c", ("one",)), Claim("c", ("two",), "urn:oasis:names:tc:SAML:2.0:attrname-format:uri")),
        Reason.ATTRIBUTE_DUPLICATE,
    ),
    "29-encrypted-attribute": ({"before_signing": put("//saml:AttributeStatement", "<saml:EncryptedAttribute/>")}, Reason.SHAPE_UNEXPECTED),
    "29-foreign-attribute-of-attribute": (
        {"before_signing": attribute("//saml:Attribute", "{urn:x:y}original", "x")},
        Reason.SHAPE_UNEXPECTED,
    ),
}


@pytest.mark.parametrize(("changes", "reason"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_claims_beyond_their_limits_are_refused(
    host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    refused(host, caplog, reason, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(besides(*(Claim(f"c{i}", ("v",)) for i in range(100 - BESIDES))), id="29-100-claims"),
        pytest.param(besides(Claim("many", ("v",) * 1000)), id="29-1000-values"),
        pytest.param(besides(Claim("long", ("v" * 4096,))), id="29-4096-characters"),
        pytest.param(besides(Claim("none", ())), id="29-a-claim-without-values"),
        pytest.param(besides(Claim("empty", ("",))), id="29-an-empty-value"),
        pytest.param(besides(Claim("Ä&<>'\"", ("\\ä&<>'\" \t x",))), id="29-special-characters"),
    ],
)
def test_claims_within_their_limits_are_taken(host: Host, changes: dict[str, Any]) -> None:
    accepted(host, **changes)


def test_29_a_tenant_may_join_repeated_names_in_the_one_signed_statement() -> None:
    desk = Desk(changes={"join_duplicate_attributes": True})
    now = datetime.now(UTC)
    xml = desk.respond(now=now, **besides(Claim("c", ("one", "two")), Claim("c", ("three",))))
    assert desk.validate(xml, now=now).claims["c"] == ("one", "two", "three")
