"""Sign-ins that the IdP starts, where a tenant allows them (trust: 20, 21, 22, 39): no request, no pending cookie, all else as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from samljit.errors import Reason
from samljit.settings import read_settings
from samljit.testing import Browser, Encryption, FakeEntra, Form, Page, Person, SamlPost, signing_key
from tests.host import ACS, ADELE, BIANCA, ENTITY_ID, LOGIN, ORIGIN, Host, key_files, make_host, settings_for
from tests.trust.forge import Desk, Flow, answer, nothing_happened
from tests.trust.test_session import NEXTS

FINISH = f"{ORIGIN}/saml/contoso/finish"


@pytest.fixture
def open_host(tmp_path: Path) -> Iterator[Host]:
    host = make_host(tmp_path, tenant={"allow_idp_initiated": True})
    yield host
    host.session.remove()
    host.engine.dispose()


def tile(host: Host, person: Person = ADELE, *, relay_state: str | None = None, **changes: Any) -> SamlPost:
    """What the IdP's page posts after somebody has clicked on a tile there."""
    now = datetime.now(UTC)
    return host.entra.unsolicited(person, acs_url=ACS, audience=ENTITY_ID, now=now, relay_state=relay_state, **changes)


def click(host: Host, person: Person = ADELE, *, browser: Browser | None = None, **how: Any) -> Page:
    return post(tile(host, person, **how), browser or host.browser())


def post(made: SamlPost, browser: Browser) -> Page:
    browser.get("https://myapps.example/")
    return browser.submit(Form(made.acs_url, fields=tuple(made.form.items())), by_script=True)


def test_20_a_sign_in_that_the_idp_starts_signs_in_where_it_is_allowed(open_host: Host) -> None:
    assert click(open_host).text == "user 1"
    [attempt] = open_host.rows("samljit_attempt")
    assert (attempt.outcome, attempt.reason, attempt.request_nonce, attempt.finished_at is not None) == ("create", None, None, True)


@pytest.mark.parametrize("relay_state", ["/reports/7", "/reports/7?a=b&c=%20d"])
def test_39_its_relay_state_is_followed_as_a_local_path(open_host: Host, relay_state: str) -> None:
    page = click(open_host, relay_state=relay_state)
    assert (page.url, page.text) == (f"{ORIGIN}{relay_state}", "report 7 for user 1")


ELSEWHERE = [*(wanted for wanted in NEXTS if len(wanted) < 500), "", ENTITY_ID]


@pytest.mark.parametrize("relay_state", ELSEWHERE, ids=[quote(wanted[:24], safe="") for wanted in ELSEWHERE])
def test_39_any_other_relay_state_leads_home(open_host: Host, relay_state: str) -> None:
    page = click(open_host, relay_state=relay_state)
    assert (page.status, page.url) == (200, f"{ORIGIN}/")
    assert all(hop.url.startswith(ORIGIN) for hop in page.history)


def test_39_a_sign_in_that_began_here_still_goes_where_its_cookie_says(open_host: Host) -> None:
    browser = open_host.browser()
    asked = open_host.entra.read_request(browser.get(f"{LOGIN}?next=/reports/7").url)
    made = open_host.entra.respond(asked, ADELE, now=datetime.now(UTC))
    fields = {**made.form, "RelayState": "/reports/9"}
    assert browser.submit(Form(ACS, fields=tuple(fields.items())), by_script=True).url == f"{ORIGIN}/reports/7"


def test_22_it_is_used_once_also_by_another_browser(open_host: Host) -> None:
    made, first, second = tile(open_host), open_host.browser(), open_host.browser()
    assert post(made, first).text == "user 1"
    assert post(made, second).status == 403
    assert second.get(f"{ORIGIN}/").text == "nobody"
    assert post(made, first).text == "user 1"  # the same person, who reloads, goes on quietly
    assert open_host.reasons() == ["replayed", "replayed"]


def in_both(value: str) -> dict[str, str]:
    return {"response_in_response_to": value, "confirmation_in_response_to": value}


STALE = timedelta(minutes=16)
NAMED: dict[str, tuple[Callable[[Desk, datetime], dict[str, str | None]], Reason]] = {
    "20-in-the-response-alone": (lambda desk, now: {"response_in_response_to": desk.request_id(now)}, Reason.IN_RESPONSE_TO_MISMATCH),
    "20-empty-in-the-response-alone": (lambda desk, now: {"response_in_response_to": ""}, Reason.IN_RESPONSE_TO_MISMATCH),
    "20-empty": (lambda desk, now: in_both(""), Reason.REQUEST_UNKNOWN),
    "20-not-ours": (lambda desk, now: in_both("id00"), Reason.REQUEST_UNKNOWN),
    "20-not-ours-in-the-assertion-alone": (lambda desk, now: {"confirmation_in_response_to": "id00"}, Reason.REQUEST_UNKNOWN),
    "20-too-old": (lambda desk, now: in_both(desk.request_id(now - STALE)), Reason.REQUEST_EXPIRED),
    "20-another-one-in-the-response": (
        lambda desk, now: {"confirmation_in_response_to": desk.request_id(now), "response_in_response_to": desk.request_id(now)},
        Reason.IN_RESPONSE_TO_MISMATCH,
    ),
}


def desk() -> Desk:
    return Desk(changes={"allow_idp_initiated": True})


def unsolicited(at: Desk, *, now: datetime, **changes: Any) -> bytes:
    return at.entra.unsolicited(ADELE, acs_url=at.tenant.acs_url, audience=at.tenant.entity_id, now=now, **changes).xml


@pytest.mark.parametrize(("changes", "reason"), NAMED.values(), ids=NAMED)
def test_a_request_that_is_named_is_looked_at_all_the_same(changes: Callable[[Desk, datetime], dict[str, Any]], reason: Reason) -> None:
    at, now = desk(), datetime.now(UTC)
    assert at.reason(unsolicited(at, now=now, **changes(at, now)), now=now) is reason


def test_20_nothing_is_told_of_a_request_where_there_was_none() -> None:
    at, now = desk(), datetime.now(UTC)
    assert at.validate(unsolicited(at, now=now), now=now).request is None
    at.tenant = replace(at.tenant, allow_idp_initiated=False)
    assert at.reason(unsolicited(at, now=now), now=now) is Reason.UNSOLICITED


def test_python3_saml_has_its_say_here_too() -> None:
    """It goes by the clock of the process, and here finds that what is good two days ago is over."""
    at, then = desk(), datetime.now(UTC) - timedelta(days=2)
    assert at.reason(unsolicited(at, now=then), now=then) is Reason.LIBRARY_REFUSED


FORGED: dict[str, tuple[dict[str, Any], Reason]] = {
    "17-recipient": ({"recipient": "https://evil.example/"}, Reason.RECIPIENT_MISMATCH),
    "18-destination": ({"destination": "https://evil.example/"}, Reason.DESTINATION_MISMATCH),
    "19-audience": ({"audiences": (("https://evil.example/",),)}, Reason.AUDIENCE_MISMATCH),
    "13-issuer": ({"assertion_issuer": "https://evil.example/"}, Reason.ISSUER_MISMATCH),
    "12-key": ({"key": signing_key("a stranger's")}, Reason.SIGNATURE_INVALID),
    "15-unsigned": ({"sign": "none"}, Reason.SIGNATURE_MISSING),
    "20-in-response-to": (in_both("id00"), Reason.REQUEST_UNKNOWN),
}


@pytest.mark.parametrize(("changes", "reason"), FORGED.values(), ids=FORGED)
def test_everything_else_is_checked_as_ever(
    open_host: Host, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: Reason
) -> None:
    with nothing_happened(open_host, caplog, reason) as scene:
        browser, made = open_host.browser(), tile(open_host, **changes)
        scene.flow = Flow(browser, made.xml, post(made, browser), made.form)


# --- 21: the browser --------------------------------------------------------------------------------------------------


def waiting(host: Host) -> Browser:
    """A browser in which the IdP's post was answered, with `finish` still to be opened."""
    browser = Browser({ORIGIN: host.app}, follows_refresh=False)
    assert click(host, browser=browser).refresh_url.startswith(FINISH)
    return browser


def test_21_only_the_browser_that_posted_it_can_finish_it(open_host: Host) -> None:
    browser, other = waiting(open_host), open_host.browser()
    page = other.get(str(browser.page.refresh_url))
    assert (page.status, other.get(f"{ORIGIN}/").text) == (403, "nobody")
    assert browser.follow_refresh().text == "user 1"


def test_21_the_hand_over_is_used_once(open_host: Host) -> None:
    browser = waiting(open_host)
    [header] = [text for text in browser.page.headers.getlist("Set-Cookie") if "samljit-handover-" in text]
    finish = str(browser.page.refresh_url)
    assert browser.follow_refresh().text == "user 1"
    thief = open_host.browser()
    thief.jar.store(header, url=ORIGIN, now=datetime.now(UTC))
    assert thief.get(finish).status == 403
    assert open_host.reasons() == ["handover_used"]


def test_21_a_sign_in_that_began_here_still_needs_its_browser(open_host: Host) -> None:
    """Whoever posts somebody else's answer in a victim's browser gets nowhere: it names a request, and no other way in."""
    attacker, victim = open_host.browser(), open_host.browser()
    asked = open_host.entra.read_request(attacker.get(LOGIN).url)
    made = open_host.entra.respond(asked, BIANCA, now=datetime.now(UTC))
    page = post(made, victim)
    assert (page.status, victim.get(f"{ORIGIN}/").text, open_host.reasons()) == (403, "nobody", ["browser_mismatch"])


def test_21_switched_off_before_finish_it_is_refused(open_host: Host) -> None:
    browser = waiting(open_host)
    mount = open_host.app.extensions["samljit"]
    closed = {"contoso": replace(mount.directory.of_settings["contoso"], allow_idp_initiated=False)}
    mount.directory.of_settings = closed
    assert browser.follow_refresh().status == 403
    assert (open_host.reasons(), browser.get(f"{ORIGIN}/").text) == (["browser_mismatch"], "nobody")


def test_somebody_else_who_is_signed_in_is_asked_and_then_goes_where_the_tile_said(open_host: Host) -> None:
    browser = open_host.browser()
    assert answer(open_host, browser=browser, person=BIANCA).page.text == "user 1"
    page = click(open_host, browser=browser, relay_state="/reports/7")
    assert browser.new_tab().get(f"{ORIGIN}/").text == "user 1"
    [form] = [form for form in page.forms if form.action.startswith(FINISH)]
    assert browser.submit(form).text == "report 7 for user 2"


def test_an_encrypted_one_is_read_too(tmp_path: Path) -> None:
    entra, own = FakeEntra(), signing_key("our own")
    given = settings_for(tmp_path, entra, sp=key_files(tmp_path, own=own), tenant={"allow_idp_initiated": True})
    host = make_host(tmp_path, entra=entra, settings=given)
    assert click(host, encryption=Encryption(own.certificate_der)).text == "user 1"
    host.engine.dispose()


# --- said aloud -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_on", "codes"), [(True, ["login_csrf"]), (False, [])])
def test_every_start_and_check_say_what_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_on: bool, codes: list[str]
) -> None:
    given = settings_for(tmp_path, FakeEntra(), tenant={"allow_idp_initiated": is_on})
    assert [(problem.code, problem.is_warning) for problem in read_settings(given)[1]] == [(code, True) for code in codes]
    host = make_host(tmp_path, settings=given)
    assert ("login CSRF" in caplog.text) is is_on
    shown = host.app.test_cli_runner().invoke(args=["samljit", "check", "--json"]).output
    assert ('"login_csrf"' in shown) is is_on
    host.engine.dispose()
