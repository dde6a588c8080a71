"""Overview, certificates, domains, sign-in rules and change history: what they say, what they change, and what they refuse."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import pytest
from sqlalchemy import text

from samljit.model import AdminAction, Tenant
from samljit.sql.audit import AuditAction
from samljit.sql.tenants import SqlTenants
from samljit.testing import Browser, FakeEntra, Form, Page, sign_in, signing_key
from tests.admin_host import BASE, FABRIKAM, OPERATOR, add_user, authorize, browser_of, document, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, ORIGIN, Host, settings_for
from tests.https import Site
from tests.servers import KINDS, database

FRED = "fred@fabrikam.example"
PLACE = f"{BASE}/fabrikam"
LOGIN = f"{ORIGIN}/saml/fabrikam/login"


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, FRED)


def form_of(page: Page, action: str) -> Form:
    [form] = [one for one in page.forms if one.action == action]
    return form


def words(page: Page) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def change(host: Host, slug: str = "fabrikam", **patch: Any) -> None:
    rows_of(host).change(stored(host, slug), patch, author=OPERATOR, action=AuditAction.TENANT_CHANGED)


# --- overview ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_overview_counts_the_last_seven_days_and_names_who_stays_away(mount: Mount, tmp_path: Path, kind: str) -> None:
    with database(kind, tmp_path) as url:
        host = make_admin_host(mount, url=url)
        for person in (ADELE, BIANCA, ADELE):
            sign_in(host.browser(), FABRIKAM, person, LOGIN)
        host.browser().get(f"{ORIGIN}/saml/fabrikam/finish")
        with host.engine.begin() as connection:
            connection.execute(text("UPDATE samljit_identity SET signed_in_at = '2020-01-31 00:00:00' WHERE id = 1"))
        page = browser_of(host, FRED).get(f"{PLACE}/")
        today = page.text[page.text.index(f"{datetime.now(UTC):%Y-%m-%d}</th>") :]
        assert re.findall(r'samljit-number[^>]*>(\d+)<', today[: today.index("</tr>")]) == ["3", "1", "2", "0"]
        stale = page.text[page.text.index("Not signed in for 90 days") :]
        assert (ADELE.email in stale, BIANCA.email in stale, "2020-01-31" in stale) == (True, False, True)
        host.session.remove()
        host.engine.dispose()


@pytest.mark.parametrize(
    ("patch", "headline", "step"),
    [
        pytest.param({}, "People can sign in with Microsoft Entra.", "Nobody has signed in yet", id="untested"),
        pytest.param({"idp": None}, "not connected yet", "Connect Microsoft Entra", id="not connected"),
        pytest.param({"offer_sso": False}, "is switched off", "Nobody has signed in yet", id="off"),
        pytest.param({"enabled": False}, "whoever runs the app has switched it off", "Nobody has signed in yet", id="disabled"),
        pytest.param({"enabled": False, "offer_sso": False}, "whoever runs the app has switched it off", "Nobody has signed", id="both"),
        pytest.param({"require_sso": True}, "with Microsoft Entra only", "Nobody has signed in yet", id="required"),
        pytest.param({"mapping": {"fields": {"no_such": "x"}}}, "no longer fit the app", "Correct the claims", id="unusable"),
    ],
)
def test_the_overview_says_how_it_stands_and_what_comes_next(
    host: Host, browser: Browser, patch: dict[str, Any], headline: str, step: str
) -> None:
    if patch:
        change(host, **patch)
    page = words(browser.get(f"{PLACE}/"))
    assert (headline in page, step in page) == (True, True)


def test_nobody_is_led_on_to_a_page_that_is_not_there_for_them(mount: Mount) -> None:
    host = make_admin_host(mount, authorize=lambda user, tenant, action: authorize(user, tenant, action) and action != AdminAction.TEST)
    page = browser_of(host, FRED).get(f"{PLACE}/")
    assert ("Nobody has signed in yet" in page.text, "/test" in page.text) == (True, False)


@pytest.mark.parametrize(("days", "told"), [(-1, "last certificate has expired"), (20, "Expires soon"), (200, "Valid")])
def test_the_overview_and_the_certificates_say_when_the_last_one_ends(host: Host, browser: Browser, days: int, told: str) -> None:
    ends = datetime.now(UTC) + timedelta(days=days, hours=1)
    entra = FakeEntra(FABRIKAM.tenant_id, keys=[signing_key(f"ends {days}", valid_until=ends)])
    change(host, idp={"metadata": entra.metadata().decode()})
    assert told in words(browser.get(f"{PLACE}/"))
    certificates = words(browser.get(f"{PLACE}/certificates"))
    wanted = {-1: "nobody can sign in", 20: "expires in 20 days", 200: "Valid"}[days]
    assert wanted in certificates
    der = PEM_cert_to_DER_cert(signing_key(f"ends {days}", valid_until=ends).certificate_pem.decode())
    assert sha1(der).hexdigest().upper() in certificates


# --- certificates -----------------------------------------------------------------------------------------------------


def by_url(mount: Mount, site: Site, tmp_path: Path) -> Host:
    entra = FakeEntra()
    url = site.server.url(path="/metadata?appid=00001111-aaaa-2222-bbbb-3333cccc4444")
    host = make_admin_host(mount, entra=entra, settings=settings_for(tmp_path, entra, metadata_hosts=[url.split("/")[2]]))
    change(host, idp={"metadata_url": url})
    return host


def test_certificates_are_read_anew_on_demand(mount: Mount, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = by_url(mount, site, tmp_path)
    monkeypatch.setattr("samljit.federation.fetch.is_public", lambda address: True)  # the site of the test is on this machine
    site.shows(FABRIKAM.metadata())
    browser = browser_of(host, FRED)
    page = browser.get(f"{PLACE}/certificates")
    assert "Never yet" in page.text
    page = browser.submit(form_of(page, f"{PLACE}/certificates/refresh"))
    assert (page.url, page.history[-2].status, "has changed" in page.text) == (f"{PLACE}/certificates", 303, True)
    assert "Valid" in words(page)
    [record] = [row for row in host.rows("samljit_audit") if row.action == "metadata_changed"]
    assert record.changed_by.startswith(FRED)
    assert browser.submit(Form(f"{PLACE}/certificates/refresh")).status == 400
    assert site.fetches == 1


def test_an_address_in_a_private_network_is_not_fetched_for_an_admin(mount: Mount, site: Site, tmp_path: Path) -> None:
    host = by_url(mount, site, tmp_path)
    browser = browser_of(host, FRED)
    page = browser.submit(form_of(browser.get(f"{PLACE}/certificates"), f"{PLACE}/certificates/refresh"))
    assert ("private network" in page.text, site.server.requests) == (True, [])


# --- domains ----------------------------------------------------------------------------------------------------------


def test_domains_are_only_listed_where_the_host_cannot_verify_them(browser: Browser, host: Host) -> None:
    page = browser.get(f"{PLACE}/domains")
    assert ("fabrikam.example" in page.text, [form.action for form in page.forms if "domains" in form.action]) == (True, [])
    browser.submit(Form(f"{PLACE}/domains"), {"domain": "evil.example"})
    assert stored(host).live["domains"] == ["fabrikam.example"]


def verify(tenant: Tenant, domain: str) -> Any:
    if domain == "down.example":
        raise LookupError(domain)
    return domain.endswith("fabrikam.test") or domain in ("contoso.example", "xn--bcher-kva.example") or (domain == "yes.example" and "yes")


@pytest.mark.parametrize(
    ("domain", "told", "after"),
    [
        ("fabrikam.test", "Added", ["fabrikam.example", "fabrikam.test"]),
        (" @Fabrikam.TEST ", "Added", ["fabrikam.example", "fabrikam.test"]),
        ("bücher.example", "Added", ["fabrikam.example", "xn--bcher-kva.example"]),
        ("fabrikam.example", "in the list already", None),
        ("other.example", "not been proved", None),
        ("yes.example", "not been proved", None),
        ("down.example", "not been proved", None),
        ("contoso.example", "belongs to another tenant", None),
        ("nonsense", "what follows the @", None),
        ("", "what follows the @", None),
    ],
)
def test_a_domain_is_added_once_the_host_says_it_is_proved(mount: Mount, domain: str, told: str, after: list[str] | None) -> None:
    host = make_admin_host(mount, verify_domain=verify)
    browser = browser_of(host, FRED)
    page = browser.submit(form_of(browser.get(f"{PLACE}/domains"), f"{PLACE}/domains"), {"domain": domain})
    assert (told in page.text, stored(host).live["domains"]) == (True, after or ["fabrikam.example"])
    assert [row.action for row in host.rows("samljit_audit")].count("domain_proved") == (after is not None)


# --- sign-in rules ----------------------------------------------------------------------------------------------------


def ask(browser: Browser, **values: str) -> Page:
    return browser.submit(form_of(browser.get(f"{PLACE}/rules"), f"{PLACE}/rules"), values)


def operate(host: Host, command: str) -> None:
    """As whoever runs the app."""
    assert host.app.test_cli_runner().invoke(args=["samljit", "tenant", command, "fabrikam"]).exit_code == 0


def confirm(browser: Browser, page: Page) -> Page:
    return browser.submit(form_of(page, f"{PLACE}/rules/apply"))


def ready(host: Host) -> None:
    """Somebody has signed in, and there is an emergency account."""
    sign_in(host.browser(), FABRIKAM, ADELE, LOGIN)
    add_user(host, "emergency@fabrikam.example")
    add_user(host, "gone@fabrikam.example", active=False)


def figures(page: Page) -> list[int]:
    return [int(number) for number in re.findall(r"<dd>(\d+)</dd>", page.text)]


def test_required_is_looked_at_in_numbers_then_made_then_undone(host: Host, browser: Browser) -> None:
    ready(host)
    review = ask(browser, rule="required", break_glass="Emergency@Fabrikam.example\n")
    # Adele has signed in, a moment ago; the emergency account and Fred have an address in the domain, and have not
    assert (review.status, figures(review)) == (200, [1, 1, 2, 1])
    assert "require_sso" not in stored(host).live
    page = confirm(browser, review)
    assert (page.url, page.history[-2].status) == (f"{PLACE}/rules", 303)
    assert stored(host).live["require_sso"] is True
    with host.app.test_request_context():
        users = {user.email: host.saml.password_login_allowed(user) for user in host.session.query(host.user_model)}
    assert users == {FRED: False, ADELE.email: False, "emergency@fabrikam.example": True, "gone@fabrikam.example": False}
    undone = browser.submit(form_of(page, f"{PLACE}/rules/undo"))
    assert ("as they were before" in undone.text, {"require_sso", "break_glass"} & set(stored(host).live)) == (True, set())
    assert [row.action for row in host.rows("samljit_audit")][-2:] == ["rules_changed", "rules_changed"]


def test_off_and_on_again(host: Host, browser: Browser) -> None:
    ready(host)
    page = confirm(browser, ask(browser, rule="off"))
    assert host.browser().get(LOGIN).status == 403
    browser.submit(form_of(page, f"{PLACE}/rules/undo"))
    assert sign_in(host.browser(), FABRIKAM, ADELE, LOGIN).status == 200
    assert [row.action for row in host.rows("samljit_audit")][-2:] == ["rules_changed", "rules_changed"]


@pytest.mark.parametrize("rule", ["off", "optional", "required"])
@pytest.mark.parametrize("path", ["rules", "rules/apply", "rules/undo"])
def test_what_whoever_runs_the_app_has_switched_off_stays_off(host: Host, browser: Browser, path: str, rule: str) -> None:
    ready(host)
    emergency = "emergency@fabrikam.example"
    confirm(browser, ask(browser, rule="optional", break_glass=emergency))
    operate(host, "disable")
    closed = stored(host)
    page = browser.get(f"{PLACE}/rules")
    assert ("has switched sign-in off" in page.text, form_of(page, f"{PLACE}/rules").value("rule")) == (True, "off")
    assert [button for button in re.findall(r"<button[^>]*>([^<]*)", page.text) if button in ("See whom it concerns", "Undo")] == []
    form = Form(f"{PLACE}/{path}", fields=form_of(page, f"{PLACE}/rules").fields)
    answer = browser.submit(form, {"rule": rule, "break_glass": emergency})
    assert (answer.status, "has switched sign-in off" in answer.text) == (422, True)
    assert (stored(host).live, stored(host).revision) == (closed.live, closed.revision)
    assert host.browser().get(LOGIN).status == 403
    operate(host, "enable")
    assert sign_in(host.browser(), FABRIKAM, ADELE, LOGIN).status == 200


def test_what_the_tenant_has_switched_off_is_not_switched_on_by_whoever_runs_the_app(host: Host, browser: Browser) -> None:
    confirm(browser, ask(browser, rule="off"))
    operate(host, "disable")
    operate(host, "enable")
    assert (host.browser().get(LOGIN).status, stored(host).live.get("offer_sso")) == (403, False)


@pytest.mark.parametrize(
    ("lacking", "accounts", "told"),
    [
        pytest.param("test", "emergency@fabrikam.example", "Pass a test sign-in first", id="no test"),
        pytest.param("", "", "Name at least one emergency account", id="no account"),
        pytest.param("", "nobody@fabrikam.example", "no active user", id="unknown account"),
        pytest.param("", "gone@fabrikam.example", "no active user", id="inactive account"),
        pytest.param("", "cara@contoso.example", "no active user", id="account of another tenant"),
        pytest.param("", "nonsense", "no e-mail address", id="no address"),
        pytest.param("certificate", "emergency@fabrikam.example", "certificate that is in date", id="expired"),
        pytest.param("idp", "emergency@fabrikam.example", "Connect Microsoft Entra first", id="not connected"),
    ],
)
def test_required_needs_a_test_a_certificate_and_an_emergency_account(
    host: Host, browser: Browser, lacking: str, accounts: str, told: str
) -> None:
    add_user(host, "cara@contoso.example")
    ready(host)
    if lacking == "test":
        change(host, mapping={**document()["mapping"], "policy": {"create_users": False}})
        with host.engine.begin() as connection:
            connection.execute(text("DELETE FROM samljit_attempt"))
    elif lacking == "certificate":
        expired = FakeEntra(FABRIKAM.tenant_id, keys=[signing_key("gone", valid_until=datetime.now(UTC) - timedelta(days=1))])
        change(host, idp={"metadata": expired.metadata().decode()})
    elif lacking:
        change(host, idp=None)
    page = ask(browser, rule="required", break_glass=accounts)
    assert (page.status, told in page.text) == (422, True)
    assert (form_of(page, f"{PLACE}/rules").value("break_glass") or "").strip() == accounts
    forged = {"rule": "required", "break_glass": accounts}
    assert browser.submit(Form(f"{PLACE}/rules/apply", fields=form_of(page, f"{PLACE}/rules").fields), forged).status == 422
    assert "require_sso" not in stored(host).live


def test_an_undo_that_would_lock_people_out_is_refused(host: Host, browser: Browser) -> None:
    ready(host)
    required = confirm(browser, ask(browser, rule="required", break_glass="emergency@fabrikam.example"))
    assert required.status == 200
    page = confirm(browser, ask(browser, rule="optional", break_glass="emergency@fabrikam.example"))
    with host.engine.begin() as connection:
        connection.execute(text("UPDATE users SET active = false WHERE email = 'emergency@fabrikam.example'"))
    page = browser.submit(form_of(page, f"{PLACE}/rules/undo"))
    assert ("cannot be undone" in page.text, stored(host).live.get("require_sso")) == (True, None)


def test_there_is_no_step_to_switch_on_what_only_others_can(host: Host, browser: Browser) -> None:
    ready(host)
    change(host, offer_sso=False)
    assert "Switch sign-in on, when you are ready" in browser.get(f"{PLACE}/").text
    change(host, enabled=False)
    assert "Switch sign-in on, when you are ready" not in browser.get(f"{PLACE}/").text


def test_what_was_changed_in_another_way_since_is_not_undone(host: Host, browser: Browser) -> None:
    ready(host)
    confirm(browser, ask(browser, rule="off"))
    page = confirm(browser, ask(browser, rule="optional"))  # which only takes a key out
    undo = form_of(page, f"{PLACE}/rules/undo")
    change(host, offer_sso=False)
    change(host, name="Fabrikam Inc")
    assert [form for form in browser.get(f"{PLACE}/rules").forms if form.action.endswith("/undo")] == []
    assert (browser.submit(undo).status, stored(host).live["offer_sso"]) == (409, False)


def test_rules_are_not_changed_in_the_instant_in_which_they_are_closed(
    host: Host, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = ask(browser, rule="off")
    find = SqlTenants.find_stored

    def close(rows: SqlTenants, slug: str) -> Any:
        """Between the look at the tenant and the look at its documents."""
        monkeypatch.undo()
        change(host, enabled=False)
        return find(rows, slug)

    monkeypatch.setattr(SqlTenants, "find_stored", close)
    page = browser.submit(form_of(review, f"{PLACE}/rules/apply"), {"seen": "2.1.1"})  # the mark of just that change can be guessed
    assert (page.status, "has switched sign-in off" in page.text, stored(host).live.get("offer_sso")) == (422, True, None)


def test_rules_changed_by_somebody_else_meanwhile_are_shown_first(host: Host, browser: Browser) -> None:
    ready(host)
    review = ask(browser, rule="off")
    change(host, name="Renamed")
    page = confirm(browser, review)
    assert (page.status, OPERATOR.name in page.text, stored(host).live.get("offer_sso")) == (409, True, None)


def test_the_rules_as_they_are_change_nothing(host: Host, browser: Browser) -> None:
    page = ask(browser, rule="optional", break_glass="")
    assert ("so already" in page.text, stored(host).revision) == (True, 1)


@pytest.mark.parametrize("path", ["rules", "rules/apply", "rules/undo"])
def test_no_rule_is_changed_without_a_token(host: Host, browser: Browser, path: str) -> None:
    browser.get(f"{PLACE}/rules")
    assert browser.submit(Form(f"{PLACE}/{path}"), {"rule": "off", "seen": "1.0.1"}).status == 400
    assert stored(host).revision == 1


def test_who_may_edit_may_not_thereby_change_the_rules(mount: Mount) -> None:
    host = make_admin_host(mount, authorize=lambda user, tenant, action: action in ("view", "edit"))
    browser = browser_of(host, FRED)
    page = browser.get(f"{PLACE}/rules")
    assert (page.status, [form for form in page.forms if "/rules/" in form.action]) == (200, [])
    assert browser.submit(form_of(page, f"{PLACE}/rules"), {"rule": "off"}).status == 404
    assert browser.submit(Form(f"{PLACE}/rules/apply"), {"rule": "off"}).status == 404
    assert stored(host).revision == 1


# --- change history ---------------------------------------------------------------------------------------------------


def test_the_history_tells_who_changed_what_and_nothing_of_metadata(host: Host, browser: Browser) -> None:
    hostile = "<i>\u202eevil\x00</i>"
    change(host, name=hostile, mapping={"fields": {**document()["mapping"]["fields"], "last_name": "displayname"}})
    page = browser.get(f"{PLACE}/history")
    told = words(page)
    assert "Changed the settings an operator" in told
    assert "mapping.fields.last_name surname displayname" in told
    assert "&lt;i&gt;\\u202eevil\\x00&lt;/i&gt;" in page.text
    assert ("\u202e" in page.text, "EntityDescriptor" in page.text, "<i>" in page.text) == (False, False, False)


def test_the_history_goes_back_page_by_page(host: Host, browser: Browser) -> None:
    for number in range(30):
        change(host, name=f"Name {number}")
    first = browser.get(f"{PLACE}/history")
    [older] = [link.href for link in first.links if link.text == "Older"]
    second = browser.get(older)
    assert [("Name 28" in page.text, "Added this tenant" in page.text) for page in (first, second)] == [(True, False), (False, True)]
    for nonsense in ("x", "9" * 30, "-1", ""):
        assert browser.get(f"{PLACE}/history?before={nonsense}").status == 200
