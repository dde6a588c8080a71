"""Pages in the clothes and words of a host: its base template, its own templates, its translations; and what people are called."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polib
import pytest
from flask import Flask
from flask_babel import Babel, get_locale, gettext
from flask_login import logout_user
from jinja2 import ChoiceLoader, DictLoader
from sqlalchemy import event

from samljit.errors import Reason
from samljit.testing import Browser
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, LOGIN, ORIGIN, Host

NOWHERE = f"{ORIGIN}/saml/nobody/login"
LAYOUT = """<!doctype html><html lang="en"><head><title>{% block title %}{% endblock %} | Shop</title>{% block head %}{% endblock %}</head>
<body><header>The shop of {{ current_user.get_id() or "nobody" }}</header><main>{% block content %}{% endblock %}</main></body></html>"""


def templates(**sources: str) -> Callable[[Flask], None]:
    """A host with these templates, by name, with `__` for `/`."""

    def configure(app: Flask) -> None:
        own = {name.replace("__", "/") + ".html": source for name, source in sources.items()}
        app.jinja_loader = ChoiceLoader([DictLoader(own), app.jinja_loader])  # type: ignore[assignment,list-item]

    return configure


def test_a_hosts_base_template_is_the_document_around_our_pages(mount: Mount) -> None:
    host = mount(base_template="shop.html", configure=templates(shop=LAYOUT))
    page = host.browser().get(NOWHERE)
    assert page.title == "There is no such organisation here | Shop"
    assert "The shop of nobody" in page.text
    assert [page.text.count(tag) for tag in ("<html", "<main", "samljit.css", "samljit.js", "<h1")] == [1] * 5
    # what the shop may load is the shop's to say
    policy = page.headers["Content-Security-Policy"]
    assert policy == "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def test_a_whole_sign_in_works_inside_it(mount: Mount) -> None:
    host = mount(base_template="shop.html", configure=templates(shop=LAYOUT))
    browser = host.browser()
    assert host.sign_in(ADELE, browser=browser).text == "user 1"
    page = host.sign_in(BIANCA, browser=browser)
    assert (page.title, "The shop of 1" in page.text) == ("Switch account? | Shop", True)
    assert browser.submit(page.forms[0]).text == "user 2"


def test_a_lost_database_is_told_without_it_because_it_looks_at_the_user(mount: Mount) -> None:
    host = mount(base_template="shop.html", configure=templates(shop=LAYOUT))

    @event.listens_for(host.engine, "do_connect")
    def refuse(*_: Any) -> None:
        raise host.engine.dialect.loaded_dbapi.OperationalError("gone")

    host.engine.dispose()
    page = host.browser().get(f"{ORIGIN}/saml/contoso/login")
    assert (page.status, page.title, "shop" in page.text) == (503, "We cannot sign you in right now", False)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_template_of_the_host_replaces_ours_of_the_same_name(mount: Mount) -> None:
    main = '<h1>{{ _(situation.title) }}</h1>{{ _("Try again") }} {{ reference }}'
    own = f'{{% extends "samljit/page.html" %}}{{% block main %}}{main}{{% endblock %}}'
    page = mount(configure=templates(samljit__refused=own)).app.test_client().get(NOWHERE, headers={"Accept-Language": "de"})
    assert "<h1>Diese Organisation gibt es hier nicht</h1>Noch einmal versuchen SJ-" in page.text


def test_flask_babel_can_say_the_language_and_add_words(mount: Mount, tmp_path: Path) -> None:
    place = tmp_path / "translations" / "de" / "LC_MESSAGES"
    place.mkdir(parents=True)
    words = polib.POFile()
    words.metadata = {"Content-Type": "text/plain; charset=utf-8"}
    words.append(polib.POEntry(msgid="Try again", msgstr="Nochmal, bitte"))
    words.save_as_mofile(str(place / "messages.mo"))

    def configure(app: Flask) -> None:
        app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(tmp_path / "translations")
        Babel(app, locale_selector=lambda: "de")

    page = mount(configure=configure, gettext=gettext, locale=get_locale).browser().get(NOWHERE)
    assert ('<html lang="de"' in page.text, "Nochmal, bitte" in page.text) == (True, True)
    assert page.title == "Diese Organisation gibt es hier nicht"


# --- a session that is not kept ---------------------------------------------------------------------------------------


def lose_sessions(app: Flask) -> None:
    app.config["SESSION_COOKIE_DOMAIN"] = "other.example"  # browsers refuse such a cookie


def test_a_session_that_is_never_kept_ends_in_a_page_and_not_in_a_loop(mount: Mount) -> None:
    host = mount(configure=lose_sessions)
    browser = host.browser()
    for _ in range(2):
        assert host.sign_in(ADELE, browser=browser, login_url=f"{LOGIN}?next=/reports/7").status == 401
    page = browser.get(f"{LOGIN}?next=/reports/7")
    assert (page.status, page.title, host.reasons()) == (403, "This app does not remember you", [Reason.SESSION_LOST])
    assert browser.click("Try again").url.startswith(host.entra.sso_url)


@pytest.mark.parametrize("sign_out", ["logout_user", "our page"])
def test_whoever_signs_out_and_in_again_and_again_has_lost_no_session(mount: Mount, sign_out: str) -> None:
    host = mount(configure=lambda app: app.add_url_rule("/out", view_func=lambda: str(logout_user())) and None)
    browser = host.browser()
    for _ in range(4):
        assert host.sign_in(ADELE, browser=browser).text == "user 1"
        if sign_out == "logout_user":
            browser.get(f"{ORIGIN}/out")
        else:
            browser.click(f"{ORIGIN}/saml/logout")
        assert browser.get(f"{ORIGIN}/").text == "nobody"


# --- what people are called -------------------------------------------------------------------------------------------

HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=alert(2)>{{7191*7}}\u202egnirts\u2066\u200b\u0085\t%(x)s'


@pytest.mark.parametrize("field", ["display_name", "given_name", "surname", "email"])
def test_no_page_of_a_sign_in_shows_what_somebody_is_called(host: Host, field: str) -> None:
    """Neither the question who is to be signed in, nor a refusal: they hold no value of a claim at all."""
    named = replace(BIANCA, **{field: HOSTILE if field != "email" else '"<b>x\u202e"@contoso.example'})
    browser = Browser({ORIGIN: host.app})
    host.sign_in(ADELE, browser=browser)
    pages = [host.sign_in(named, browser=browser), host.sign_in(replace(named, email=None, upn=None))]
    assert pages[1].status == 403
    for page in pages:
        assert re.search(r"alert|onerror|gnirts|7191|50337|\u202e|\u2066|\u200b|%\(x\)|<b>", page.text) is None
