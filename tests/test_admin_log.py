"""The sign-in log of a tenant: found by what, whom and when; each attempt explained; nothing of other tenants, and no values."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from sqlalchemy import event, text

from samljit import AdminAction
from samljit.admin.record.log import PAGE
from samljit.errors import CATALOGUE, Card, Reason
from samljit.model import Attempt, ClaimState, FieldAction, FieldDecision, FieldWhy, Outcome, Stage, Tenant
from samljit.sql.attempts import new_reference
from samljit.sql.audit import AuditAction
from samljit.testing import Browser, Form, Page, Person, sign_in
from samljit.views.words import catalogues
from tests.admin_host import BASE, FABRIKAM, OPERATOR, browser_of, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, ORIGIN, Host
from tests.servers import KINDS, database

FRED, CARA = "fred@fabrikam.example", "cara@contoso.example"
LOG = f"{BASE}/fabrikam/log"
LOGIN = f"{ORIGIN}/saml/fabrikam/login"
HOSTILE = "<script>alert(1)</script>‮evil\x07\"'&{{7*7}}%(x)s"


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, FRED)


def come_in(host: Host, person: Person = ADELE, **changes: Any) -> str:
    """Somebody tries to sign in to fabrikam: the reference."""
    sign_in(host.browser(), FABRIKAM, person, LOGIN, **changes)
    return last(host)


def come_halfway(host: Host, person: Person = ADELE) -> str:
    """The first step of a sign-in, and no second one."""
    browser = host.browser()
    asked = FABRIKAM.read_request(browser.get(LOGIN).url)
    xml = FABRIKAM.respond(asked, person, now=datetime.now(UTC)).xml
    answer = host.app.test_client().post(
        "/saml/fabrikam/acs", base_url=ORIGIN, data={"SAMLResponse": base64.b64encode(xml).decode()}
    )
    assert answer.status_code == 200
    return last(host)


def last(host: Host) -> str:
    return str(host.rows("samljit_attempt")[-1].reference)


def add(host: Host, **values: Any) -> str:
    """A row of the log as the views would have written it."""
    usual: dict[str, Any] = {"tenant_id": stored(host).id, "at": datetime.now(UTC), "stage": Stage.ACS, "outcome": Outcome.REFUSE}
    usual |= {"reference": new_reference(), "reason": Reason.SIGNATURE_INVALID}
    attempt = Attempt(**{**usual, **values})
    with host.app.app_context():
        host.app.extensions["samljit"].store.add_attempt(attempt)
    return attempt.reference


def found(page: Page) -> list[str]:
    assert page.status == 200, page.text
    return re.findall(r'<th scope="row"[^>]*><a href="[^"]*"><code>(SJ-[^<]*)<', page.text)


def words(page: Page) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def change(host: Host, **patch: Any) -> None:
    rows_of(host).change(stored(host), patch, author=OPERATOR, action=AuditAction.TENANT_CHANGED)


# --- looking through --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_are_found_by_what_happened_and_by_whom(mount: Mount, tmp_path: Path, kind: str) -> None:
    with database(kind, tmp_path) as url:
        host = make_admin_host(mount, url=url)
        made = come_in(host)
        same = come_in(host)
        updated = come_in(host, replace(ADELE, given_name="Ada"))
        other = come_in(host, BIANCA)
        refused = come_in(host, audiences=(("https://elsewhere.example",),))
        halfway = come_halfway(host, BIANCA)
        browser = browser_of(host, FRED)
        searches = {
            "": [halfway, refused, other, updated, same, made],
            "?outcome=signed_in": [other, updated, same, made],
            "?outcome=refused": [refused],
            "?outcome=created": [other, made],
            "?outcome=updated": [updated],
            "?outcome=not_finished": [halfway],
            "?reason=audience_mismatch": [refused],
            "?reason=expired": [],
            "?q=ADELE.v": [updated, same, made],
            "?q=bianca&outcome=not_finished": [halfway],
            "?q=%25": [],
            "?q=_": [],
            "?q=adele_vance": [],
            "?outcome=signed_in&reason=audience_mismatch": [],
        }
        assert {search: found(browser.get(LOG + search)) for search in searches} == searches
        host.session.remove()
        host.engine.dispose()


def test_attempts_are_found_by_the_days_on_which_they_were(host: Host, browser: Browser) -> None:
    early, late = (add(host, at=datetime(2026, 5, day, hour, tzinfo=UTC)) for day, hour in ((1, 0), (2, 23)))
    searches = {
        "?since=2026-05-01": [late, early],
        "?since=2026-05-02": [late],
        "?until=2026-05-01": [early],
        "?since=2026-05-02&until=2026-05-02": [late],
        "?since=2026-05-03": [],
        "?since=&until=": [late, early],
    }
    assert {search: found(browser.get(LOG + search)) for search in searches} == searches


def test_pages_hold_every_attempt_once_and_keep_what_was_looked_for(host: Host, browser: Browser) -> None:
    at = datetime.now(UTC)
    made = [add(host, at=at - timedelta(minutes=number // 3)) for number in range(2 * PAGE + 3)]  # several at one moment
    add(host, reason=Reason.EXPIRED)
    page, seen = browser.get(f"{LOG}?reason=signature_invalid"), []
    for _ in range(10):
        seen += found(page)
        older = [link.href for link in page.links if link.text == "Older"]
        if not older:
            break
        assert "reason=signature_invalid" in older[0]
        page = browser.get(older[0])
    assert (sorted(seen), len(seen)) == (sorted(made), len(made))
    assert browser.click("Newest").url == f"{LOG}?reason=signature_invalid"


@pytest.mark.parametrize("typed", ["{0}", "{1}", " {2} ", "{3}"], ids=["whole", "without dashes", "lower case", "read aloud"])
def test_a_whole_reference_leads_straight_to_its_attempt(host: Host, browser: Browser, typed: str) -> None:
    reference = add(host, reference="SJ-0101-AB1C")
    text = typed.format(reference, reference.replace("-", ""), reference.lower(), "sj-o1oi-abLc")
    page = browser.submit(Form(LOG, "get", fields=(("q", text),)))
    assert page.url == f"{LOG}/{reference}"


def test_an_unknown_reference_is_said_to_be_so_but_it_may_be_the_beginning_of_an_address(host: Host, browser: Browser) -> None:
    page = browser.get(f"{LOG}?q=SJ-0000-0000")
    assert (page.status, "no attempt SJ-0000-0000 of this tenant" in page.text) == (422, True)
    reference = come_in(host, replace(ADELE, email="sjohnson12@fabrikam.example"))
    assert found(browser.get(f"{LOG}?q=sjohnson12")) == [reference]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?outcome=fine", "Choose one of the list"),
        ("?reason=' OR 1=1", "Choose one of the list"),
        ("?since=yesterday", "Write a day"),
        ("?since=2026-13-01", "Write a day"),
        ("?since=2026-W01-1", "Write a day"),
        ("?until=9999-12-31", "Write a day"),
        ("?until=0001-01-01", "Write a day"),
        ("?since=2026-05-02&until=2026-05-01", "before the first one"),
        ("?q=%00", "Write part of an e-mail address"),
        ("?q=%E2%80%AEx", "Write part of an e-mail address"),
        ("?q=SJ-12", "Write the whole reference"),
        ("?q=" + "x" * 201, "Write a shorter part"),
        ("?before=SJ-0000-0000", "not there any more"),
        ("?before=1'", "not there any more"),
        ("?before=%00", "not there any more"),
    ],
)
def test_what_cannot_be_looked_for_is_said_at_its_field_and_kept(host: Host, browser: Browser, query: str, told: str) -> None:
    add(host)
    page = browser.get(LOG + query)
    assert (page.status, told in page.text, 'aria-invalid="true"' in page.text) == (422, True, True)
    typed = query.partition("=")[2].partition("&")[0]
    if typed.isalnum():
        assert f'value="{typed}"' in page.text or "outcome" in query


def test_every_look_is_bounded_and_at_this_tenant_alone(host: Host, browser: Browser) -> None:
    statements: list[str] = []
    reference = add(host)

    @event.listens_for(host.engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "FROM samljit_attempt" in statement:
            statements.append(" ".join(statement.split()))

    for search in ("", "?q=adele&outcome=refused&since=2026-01-01", f"?before={reference}", f"/{reference}"):
        browser.get(LOG + search)
    assert len(statements) >= 5
    for statement in statements:
        assert ("samljit_attempt.tenant_id = ?" in statement, "LIMIT" in statement) == (True, True), statement


# --- one attempt ------------------------------------------------------------------------------------------------------


def test_a_good_attempt_says_who_what_and_why(host: Host, browser: Browser) -> None:
    page = browser.get(f"{LOG}/{come_in(host)}")
    told = words(page)
    for wanted in ("A new user was made.", ADELE.email, "Taken from the claim givenname."):
        assert wanted in told
    assert "What to do" not in told
    assert [result for _, result in steps(page)] == ["Done"] * 4
    assert "Adele" not in told.replace(ADELE.email, "")


def steps(page: Page) -> list[tuple[str, str]]:
    return re.findall(r'samljit-check-text">([^<]*)</span> <span[^>]*>([^<]*)<', page.text)


def test_one_that_was_not_finished_says_so(host: Host, browser: Browser) -> None:
    page = browser.get(f"{LOG}/{come_halfway(host)}")
    assert ("was not signed in by this attempt" in page.text, steps(page)[-1][1]) == (True, "Not reached")


def test_a_newcomer_who_must_wait_is_said_to_be_made_and_refused(host: Host, browser: Browser) -> None:
    change(host, mapping={"fields": stored(host).live["mapping"]["fields"], "policy": {"new_user_state": "inactive"}})
    reference = come_in(host)
    assert found(browser.get(f"{LOG}?outcome=refused")) == found(browser.get(f"{LOG}?outcome=created")) == [reference]
    assert "waits for somebody to switch them on" in browser.get(f"{LOG}/{reference}").text


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.TENANT_UNKNOWN])
def test_every_refusal_is_explained_with_whose_turn_it_is_and_what_to_change_where(host: Host, browser: Browser, reason: Reason) -> None:
    page = browser.get(f"{LOG}/{add(host, reason=reason)}")
    row, told = CATALOGUE[reason], words(page).replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
    assert page.status == 200
    for wanted in (row.admin, row.person.title, row.person.next_step, reason.value):
        assert " ".join(wanted.split()) in told
    assert ("In Entra, card" in told) == (row.card is not None)
    values = {
        Card.BASIC: f"{ORIGIN}/saml/fabrikam/acs",
        Card.SET_UP: FABRIKAM.entity_id,
        Card.CLAIMS: "objectidentifier",
        Card.USERS: "Fabrikam",
        Card.ENCRYPTION: f"{ORIGIN}/saml/fabrikam/metadata",
    }
    assert row.card not in values or values[row.card] in told


def test_a_refusal_by_the_mapping_shows_each_field_without_values(host: Host, browser: Browser) -> None:
    reference = come_in(host, replace(ADELE, email="x" * 300 + "@fabrikam.example"))
    page = browser.get(f"{LOG}/{reference}")
    assert (host.reasons(), "Refused" in page.text, "x" * 40 in page.text) == (["value_invalid"], True, False)
    assert "Values are not shown" in page.text


def test_old_and_new_values_are_there_only_while_they_are_wanted(host: Host, browser: Browser) -> None:
    until = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    change(host, log_values_until=until)
    reference = come_in(host)
    assert re.search(r"<ins>\s*<bdi[^>]*>Vance</bdi>", browser.get(f"{LOG}/{reference}").text)
    change(host, log_values_until=None)
    page = browser.get(f"{LOG}/{reference}")
    assert ("Vance" in page.text, "Values are not shown" in page.text) == (False, True)


def test_hostile_content_is_shown_harmlessly(host: Host, browser: Browser) -> None:
    decision = FieldDecision(HOSTILE, FieldAction.REFUSED, FieldWhy.INVALID, HOSTILE, detail=HOSTILE)
    reference = add(
        host, detail=HOSTILE, browser=HOSTILE, claim_names=(HOSTILE,) * 200, decisions=(decision,), claim_state=ClaimState.OVERAGE, times=7
    )
    sign_in(host.browser(), FABRIKAM, ADELE, LOGIN, assertion_issuer=HOSTILE.replace("\x07", ""))
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET email = :hostile WHERE email LIKE 'adele%'"), {"hostile": HOSTILE})
    come_in(host)
    for url in (LOG, f"{LOG}/{reference}", f"{LOG}?q=<script>", *(f"{LOG}/{row.reference}" for row in host.rows("samljit_attempt"))):
        page = browser.get(url)
        assert page.status == 200
        assert ("<script>alert" in page.text, "‮" in page.text, "\x07" in page.text, "evil49" in page.text) == (False,) * 4
    assert "Stands for 7 such attempts" in browser.get(LOG).text


def test_a_refusal_without_a_detail_does_not_show_the_head_of_a_catalogue(mount: Mount) -> None:
    host = make_admin_host(mount, locale=lambda: "de")
    reference = add(host, decisions=(FieldDecision("email", FieldAction.REFUSED, FieldWhy.INVALID),))
    page = browser_of(host, FRED).get(f"{LOG}/{reference}")
    assert (page.status, "Content-Type" in page.text, catalogues()["de"].gettext("Step by step") in page.text) == (200, False, True)


# --- who may see what -------------------------------------------------------------------------------------------------


def test_an_attempt_of_another_tenant_is_not_there_in_any_way(host: Host) -> None:
    mine, theirs = add(host), host.sign_in()
    theirs_reference = last(host)
    assert theirs.text.startswith("user ")
    cara, fred = browser_of(host, CARA), browser_of(host, FRED)
    assert (found(cara.get(f"{BASE}/contoso/log")), found(fred.get(LOG))) == ([theirs_reference], [mine])
    unknown = fred.get(f"{BASE}/nobody/log")
    assert [fred.get(f"{LOG}/{one}").text for one in (theirs_reference, "SJ-0000-0000", "nonsense", "%00")] == [unknown.text] * 4
    assert fred.get(f"{LOG}?q={theirs_reference}").status == 422
    assert fred.get(f"{LOG}?before={theirs_reference}").status == 422
    assert cara.get(LOG).status == cara.get(f"{LOG}/{mine}").status == 404


def test_whoever_has_moved_to_another_tenant_is_not_named_to_this_ones_admin(mount: Mount) -> None:
    host = make_admin_host(mount, tenant_fields=lambda tenant: {"last_name": tenant.slug}, is_privileged=lambda user: False)
    change(host, mapping={"fields": {"email": "emailaddress"}})
    reference = come_in(host)
    browser = browser_of(host, FRED)
    assert found(browser.get(f"{LOG}?q=adele")) == [reference]
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET last_name = 'contoso'"))
    pages = [browser.get(url) for url in (LOG, f"{LOG}/{reference}", f"{LOG}?q=adele")]
    assert [ADELE.email in page.text for page in pages] == [False] * 3
    assert found(pages[2]) == []


def test_nor_among_those_who_have_not_been_here_for_long(mount: Mount) -> None:
    host = make_admin_host(mount, tenant_fields=lambda tenant: {"last_name": tenant.slug}, is_privileged=lambda user: False)
    change(host, mapping={"fields": {"email": "emailaddress"}})
    come_in(host)
    browser, overview = browser_of(host, FRED), f"{BASE}/fabrikam/"
    for owner, is_named in (("fabrikam", True), ("contoso", False)):
        with host.engine.begin() as connection:
            connection.execute(text("UPDATE samljit_identity SET signed_in_at = '2020-01-31 00:00:00'"))
            connection.execute(text("UPDATE users SET last_name = :owner"), {"owner": owner})
        page = browser.get(overview)
        assert (page.status, ADELE.email in page.text, "2020-01-31" in page.text) == (200, is_named, is_named)


def test_a_host_that_names_a_column_which_is_not_there_loses_the_names_and_no_page(mount: Mount) -> None:
    fields: dict[str, Any] = {}
    host = make_admin_host(mount, tenant_fields=lambda tenant: fields)
    reference = come_in(host)
    fields["no_such_column"] = 1
    browser = browser_of(host, FRED)
    pages = [browser.get(url) for url in (LOG, f"{LOG}/{reference}", f"{BASE}/fabrikam/", f"{BASE}/fabrikam/rules")]
    assert [(page.status, ADELE.email in page.text) for page in pages] == [(200, False)] * 4
    page = browser.get(f"{LOG}?q=adele")
    assert (page.status, "cannot be told" in page.text) == (422, True)


def test_a_host_that_cannot_tell_whose_users_are_whose_loses_the_names_and_not_the_log(mount: Mount) -> None:
    broken: list[bool] = []

    def fields(tenant: Tenant) -> dict[str, Any]:
        if broken:
            raise LookupError("down")
        return {}

    host = make_admin_host(mount, tenant_fields=fields)
    reference = come_in(host)
    browser = browser_of(host, FRED)
    broken.append(True)
    assert (found(browser.get(LOG)), ADELE.email in browser.get(LOG).text) == ([reference], False)
    page = browser.get(f"{LOG}?q=adele")
    assert (page.status, "cannot be told" in page.text) == (422, True)
    page = browser.get(f"{BASE}/fabrikam/")
    assert (page.status, "cannot be told" in page.text) == (200, True)


@pytest.mark.parametrize(
    ("actions", "status"),
    [pytest.param({AdminAction.LOG}, 200, id="log"), pytest.param(set(AdminAction) - {AdminAction.LOG}, 404, id="all else")],
)
def test_the_log_is_for_those_who_may_read_it_and_for_nobody_else(mount: Mount, actions: set[AdminAction], status: int) -> None:
    host = make_admin_host(mount, authorize=lambda user, tenant, action: action in actions)
    reference = come_in(host)
    browser = browser_of(host, FRED)
    pages = [browser.get(url) for url in (LOG, f"{LOG}/{reference}", f"{LOG}?q={reference}")]
    assert [page.status for page in pages] == [status] * 3
    overview = browser.get(f"{BASE}/fabrikam/")
    assert (overview.status, "/fabrikam/log" in overview.text) == ((404, False) if status == 200 else (200, False))
    if status == 200:  # and nothing leads them where they may not go
        hrefs = {urljoin(BASE, link.href) for page in pages for link in page.links if "/saml/admin/" in link.href}
        assert hrefs
        assert all(browser.get(href).status == 200 for href in hrefs)


def test_a_tenant_of_the_settings_has_a_log_too(host: Host) -> None:
    host.sign_in()
    browser = browser_of(host, CARA)
    page = browser.get(f"{BASE}/contoso/log/{last(host)}")
    assert (page.status, ADELE.email in page.text) == (200, True)


def test_the_log_can_be_read_while_the_settings_do_not_fit_the_app(host: Host, browser: Browser) -> None:
    reference = come_in(host)
    change(host, mapping={"fields": {"no_such_column": "x"}})
    assert found(browser.get(LOG)) == [reference]
    assert browser.get(f"{LOG}/{reference}").status == 200
