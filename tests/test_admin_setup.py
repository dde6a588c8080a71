"""Setting a tenant up: our values shown, Entra's read in three ways and shown before they are saved, and every bad input told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest

from samljit.sql.audit import AuditAction
from samljit.testing import Browser, FakeEntra, Form, Page, sign_in, signing_key
from tests.admin_host import BASE, FABRIKAM, OPERATOR, browser_of, make_admin_host, pass_test, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, ORIGIN, Host, settings_for
from tests.https import Site

SETUP = f"{BASE}/tailspin/setup"
TINA = "tina@tailspin.example"
TAILSPIN = FakeEntra("cccc1111-2222-3333-4444-dddd5555eeee", keys=[signing_key("tailspin")])
PEM = signing_key("tailspin").certificate_pem.decode()
TYPED = {"entity_id": TAILSPIN.entity_id, "sso_url": TAILSPIN.sso_url, "certificates": PEM}


@pytest.fixture
def host(mount: Mount) -> Host:
    return make_admin_host(mount)


@pytest.fixture
def browser(host: Host) -> Browser:
    return browser_of(host, TINA)


def give(browser: Browser, *, setup: str = SETUP, files: dict[str, bytes] | None = None, **values: str) -> Page:
    """Opens Set up, fills it in and sends it."""
    [form] = [one for one in browser.get(setup).forms if one.action == setup]
    return browser.submit(form, values, files={name: (f"{name}.xml", content) for name, content in (files or {}).items()})


def confirm(browser: Browser, page: Page, **values: str) -> Page:
    [form] = [one for one in page.forms if one.action.endswith("/setup/check")]
    return browser.submit(form, values)


def test_our_values_are_there_to_be_copied(browser: Browser) -> None:
    page = browser.get(SETUP)
    for value in ("metadata", "acs", "login", "sls"):
        assert f">{ORIGIN}/saml/tailspin/{value}</code>" in page.text
    assert 'href="/saml/tailspin/metadata" download="tailspin-sp-metadata.xml"' in page.text


def test_by_a_file(host: Host, browser: Browser) -> None:
    read = give(browser, files={"metadata_file": TAILSPIN.metadata()})
    for told in (TAILSPIN.tenant_id, TAILSPIN.entity_id, TAILSPIN.sso_url):
        assert f"<code>{told}</code>" in read.text
    assert stored(host, "tailspin").draft is None
    page = confirm(browser, read)
    assert (page.status, page.url, page.history[-2].status) == (200, SETUP, 303)
    saved = stored(host, "tailspin")
    assert set(saved.draft or ()) == {"idp", "entra_tenant_id"}
    assert saved.drafted["entra_tenant_id"] == TAILSPIN.tenant_id
    [change] = [row for row in host.rows("samljit_audit") if row.action == "draft_saved"]
    assert change.changed_by == f"{TINA} (user 1)"
    rows_of(host).go_live(pass_test(host, "tailspin"), author=OPERATOR)
    assert sign_in(host.browser(), TAILSPIN, ADELE, f"{ORIGIN}/saml/tailspin/login").status == 200


def test_by_typing(host: Host, browser: Browser) -> None:
    assert confirm(browser, give(browser, **TYPED)).url == SETUP
    rows_of(host).go_live(pass_test(host, "tailspin"), author=OPERATOR)
    assert sign_in(host.browser(), TAILSPIN, ADELE, f"{ORIGIN}/saml/tailspin/login").status == 200


@pytest.mark.parametrize("form", ["pem", "der"])
def test_by_typing_with_the_certificate_as_a_file(host: Host, browser: Browser, form: str) -> None:
    content = PEM.encode() if form == "pem" else PEM_cert_to_DER_cert(PEM)
    values = {name: value for name, value in TYPED.items() if name != "certificates"}
    confirm(browser, give(browser, files={"certificate_file": content}, **values))
    assert stored(host, "tailspin").drafted["idp"]["certificates"][0].split() == PEM.split()


def test_by_address_is_fetched_once_and_live_at_once(mount: Mount, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, url = host_with(site, mount, tmp_path)
    browser = browser_of(host, TINA)
    refused = give(browser, metadata_url=url)
    assert (refused.status, "private network" in refused.text, site.server.requests) == (422, True, [])
    monkeypatch.setattr("samljit.federation.fetch.is_public", lambda address: True)  # the site of the test is on this machine
    site.shows(TAILSPIN.metadata())
    page = confirm(browser, give(browser, metadata_url=f"  {url} "))
    assert (page.url, len(site.server.requests)) == (SETUP, 1)
    saved = stored(host, "tailspin")
    assert saved.drafted["idp"] == {"metadata_url": url}
    assert "In the draft" in page.text
    rows_of(host).go_live(pass_test(host, "tailspin"), author=OPERATOR)
    assert sign_in(host.browser(), TAILSPIN, ADELE, f"{ORIGIN}/saml/tailspin/login").status == 200


def test_nobody_puts_keys_under_an_address_that_does_not_publish_them(
    mount: Mount, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who may edit and not go live could show Microsoft's address to who may, with a key of their own behind it."""
    host, url = host_with(site, mount, tmp_path)
    browser = browser_of(host, TINA)
    monkeypatch.setattr("samljit.federation.fetch.is_public", lambda address: True)
    site.shows(TAILSPIN.metadata())
    read = give(browser, metadata_url=url)
    forged = FakeEntra(TAILSPIN.tenant_id, keys=[signing_key("an insider's")]).metadata().decode("utf-8-sig")

    page = confirm(browser, read, metadata=forged)
    assert (stored(host, "tailspin").draft, len(site.server.requests)) == (None, 2)
    for change in ({"metadata_url": f"{url}&x=1"}, {"metadata_url": f"{url}&x=1", "metadata": forged}, {"fetched": ""}):
        confirm(browser, read, **change)
        assert stored(host, "tailspin").draft is None, change
    fetches = len(site.server.requests)
    assert browser.submit(Form(f"{SETUP}/check"), {"metadata_url": url}).status == 400  # without a token
    assert len(site.server.requests) == fetches

    assert confirm(browser, page).url == SETUP  # what was shown again is what stands there
    saved = stored(host, "tailspin")
    assert saved.draft_metadata is not None
    assert signing_key("an insider's").certificate_base64 not in saved.draft_metadata[0]
    assert signing_key("tailspin").certificate_base64 in saved.draft_metadata[0]


def host_with(site: Site, mount: Mount, tmp_path: Path) -> tuple[Host, str]:
    entra = FakeEntra()
    address = site.server.url(path="/metadata?appid=00001111-aaaa-2222-bbbb-3333cccc4444")
    hosts = [address.split("/")[2]]
    return make_admin_host(mount, entra=entra, settings=settings_for(tmp_path, entra, metadata_hosts=hosts)), address


@pytest.mark.parametrize(
    ("values", "files", "field", "told"),
    [
        pytest.param({}, {}, "metadata_url", "one of the three ways", id="nothing"),
        pytest.param({"metadata_url": "https://x"}, {"metadata_file": b"<x/>"}, "metadata_url", "one way only", id="two ways"),
        pytest.param({"metadata_url": "http://login.microsoftonline.com/x"}, {}, "metadata_url", "https address", id="http"),
        pytest.param({"metadata_url": "https://evil.example/x"}, {}, "metadata_url", "Microsoft&#39;s sign-in hosts", id="other host"),
        pytest.param(
            {"metadata_url": f"https://login.microsoftonline.com/{TAILSPIN.tenant_id}/federationmetadata/2007-06/federationmetadata.xml"},
            {}, "metadata_url", "?appid=", id="of the directory",
        ),
        pytest.param({}, {"metadata_file": b"not xml"}, "metadata_file", "no XML file", id="no xml"),
        pytest.param({}, {"metadata_file": b"<!DOCTYPE x><x/>"}, "metadata_file", "Download it again", id="doctype"),
        pytest.param({}, {"metadata_file": b"<x/>"}, "metadata_file", "no federation metadata", id="other xml"),
        pytest.param({}, {"metadata_file": b"x" * (1024 * 1024 + 1)}, "metadata_file", "too large", id="too large"),
        pytest.param({"entity_id": TAILSPIN.entity_id}, {}, "sso_url", "Fill this in", id="half typed"),
        pytest.param({**TYPED, "certificates": "x"}, {}, "certificates", "no certificate", id="no certificate"),
        pytest.param({**TYPED, "sso_url": "https://evil.example/"}, {}, "sso_url", "sign-in hosts", id="sso elsewhere"),
        pytest.param({**TYPED, "slo_url": "javascript:alert(1)"}, {}, "slo_url", "https address", id="script"),
    ],
)  # fmt: skip
def test_bad_input_is_told_at_its_field_and_kept(
    host: Host, browser: Browser, values: dict[str, str], files: dict[str, bytes], field: str, told: str
) -> None:
    page = give(browser, files=files, **values)
    assert page.status == 422
    summary = page.text[page.text.index('role="alert"') : page.text.index("</ul>", page.text.index('role="alert"'))]
    assert f'href="#samljit-{field}"' in summary
    assert told in summary
    [form] = [one for one in page.forms if one.action == SETUP]
    assert {name: (form.value(name) or "").strip() for name in values} == {name: value.strip() for name, value in values.items()}
    assert stored(host, "tailspin").draft is None


def test_our_own_metadata_is_recognised(host: Host, browser: Browser) -> None:
    own = browser.get(f"{ORIGIN}/saml/tailspin/metadata").text.encode()
    page = give(browser, files={"metadata_file": own})
    assert (page.status, "own values" in page.text) == (422, True)


def test_an_expired_certificate_is_warned_about_and_may_be_saved(host: Host, browser: Browser) -> None:
    expired = FakeEntra(TAILSPIN.tenant_id, keys=[signing_key("gone", valid_until=datetime.now(UTC) - timedelta(days=1))])
    read = give(browser, files={"metadata_file": expired.metadata()})
    assert (read.status, "No certificate is in date" in read.text) == (200, True)
    assert confirm(browser, read).url == SETUP


def test_where_the_issuer_names_no_directory_it_is_asked_for(host: Host, browser: Browser) -> None:
    other = {**TYPED, "entity_id": "https://login.example/whatever"}
    read = give(browser, **other)
    assert 'name="entra_tenant_id"' in read.text
    wrong = confirm(browser, read, entra_tenant_id="nonsense")
    assert (wrong.status, "Overview page" in wrong.text, stored(host, "tailspin").draft) == (422, True, None)
    confirm(browser, wrong, entra_tenant_id=TAILSPIN.tenant_id.upper())
    assert stored(host, "tailspin").drafted["entra_tenant_id"] == TAILSPIN.tenant_id


def test_what_is_confirmed_is_read_again(host: Host, browser: Browser) -> None:
    read = give(browser, files={"metadata_file": TAILSPIN.metadata()})
    hostile = TAILSPIN.metadata().decode().replace(TAILSPIN.sso_url, "https://evil.example/")
    page = confirm(browser, read, metadata=hostile)
    assert (page.status, stored(host, "tailspin").draft) == (422, None)


def test_the_same_again_changes_nothing(host: Host) -> None:
    browser, setup = browser_of(host, "fred@fabrikam.example"), f"{BASE}/fabrikam/setup"
    page = confirm(browser, give(browser, setup=setup, files={"metadata_file": FABRIKAM.metadata()}))
    assert ("go by already" in page.text, stored(host).draft) == (True, None)


def test_another_issuer_says_how_many_people_it_would_cost(host: Host) -> None:
    sign_in(host.browser(), FABRIKAM, ADELE, f"{ORIGIN}/saml/fabrikam/login")
    browser, setup = browser_of(host, "fred@fabrikam.example"), f"{BASE}/fabrikam/setup"
    assert "1 person is known by the old one" in give(browser, setup=setup, files={"metadata_file": TAILSPIN.metadata()}).text


def test_a_stale_edit_is_caught_and_what_was_given_is_kept(host: Host, browser: Browser) -> None:
    read = give(browser, files={"metadata_file": TAILSPIN.metadata()})
    rows_of(host).save_draft(stored(host, "tailspin"), {"name": "Renamed"}, author=OPERATOR)
    page = confirm(browser, read)
    assert (page.status, OPERATOR.name in page.text, stored(host, "tailspin").draft) == (409, True, {"name": "Renamed"})
    assert confirm(browser, page).url == SETUP
    assert set(stored(host, "tailspin").draft or ()) == {"name", "idp", "entra_tenant_id"}


def test_without_a_token_nothing_is_read_or_saved(host: Host, browser: Browser) -> None:
    for action, values in ((SETUP, TYPED), (f"{SETUP}/check", TYPED)):
        browser.get(SETUP)
        assert browser.submit(Form(action), values).status == 400
    assert stored(host, "tailspin").draft is None


def test_who_may_only_look_has_no_form_and_cannot_send_one(mount: Mount) -> None:
    host = make_admin_host(mount, authorize=lambda user, tenant, action: action == "view")
    browser = browser_of(host, TINA)
    page = browser.get(SETUP)
    assert [form for form in page.forms if "/setup" in form.action] == []
    for action in (SETUP, f"{SETUP}/check"):
        assert browser.submit(Form(action), TYPED).status in (400, 404)
    assert stored(host, "tailspin").draft is None


def test_a_tenant_of_the_settings_is_shown_and_left_alone(host: Host) -> None:
    browser, setup = browser_of(host, "cara@contoso.example"), f"{BASE}/contoso/setup"
    page = browser.get(setup)
    assert (host.entra.entity_id in page.text, [form for form in page.forms if "/setup" in form.action]) == (True, [])
    for action in (setup, f"{setup}/check"):
        assert browser.submit(Form(action), TYPED).url == setup
    assert [row.action for row in host.rows("samljit_audit")] == ["tenant_added", "tenant_added"]


def test_a_name_with_markup_and_control_characters_is_shown_as_text(host: Host, browser: Browser) -> None:
    name = "<b>Tail\u202espin\x07</b>"
    rows_of(host).change(stored(host, "tailspin"), {"name": name}, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    page = browser.get(SETUP)
    assert "&lt;b&gt;Tail\\u202espin\\x07&lt;/b&gt;" in page.text
    assert not {"\u202e", "\x07", "<b>Tail"} & {part for part in ("\u202e", "\x07", "<b>Tail") if part in page.text}
