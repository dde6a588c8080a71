"""SimpleSAMLphp's signing key changes, and all that we know of it is the address of its metadata."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from samljit.testing import signing_key
from samljit.views import refreshing
from tests.https import Site, answer
from tests.interop.app import Connect, Connected
from tests.interop.idp import Idp
from tests.workers import set_back

OLD, NEXT, SUDDEN = signing_key("interop"), signing_key("interop, next"), signing_key("interop, sudden")


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves it to the database to say how often: this process is younger than its pause between two looks."""
    monkeypatch.setattr(refreshing, "_PAUSE", 0.0)


@pytest.fixture
def app(idp: Idp, site: Site, connect: Connect) -> Connected:
    """An app that asks the IdP itself for its metadata, by way of https."""
    site.script = lambda tls: answer(idp.metadata())(tls)
    return connect(tenant={"idp": {"metadata_url": site.server.url()}})


def certificates(idp: Idp) -> list[bool]:
    """Which of the three keys the IdP's metadata holds."""
    listed = idp.metadata()
    return [base64.b64encode(key.certificate_der) in listed for key in (OLD, NEXT, SUDDEN)]


def test_a_key_that_is_announced_in_time_is_never_missed(idp: Idp, site: Site, app: Connected) -> None:
    app.signed_in()
    idp.use_key(NEXT, name="next")
    idp.set_up({"new_privatekey": "next.key", "new_certificate": "next.crt"})  # both are listed, and the old one signs
    assert certificates(idp) == [True, True, False]
    set_back(app.host, metadata_tried_at=timedelta(days=1))
    app.host.app.test_cli_runner().invoke(args=["samljit", "tenant", "refresh", "contoso"], catch_exceptions=False)
    app.signed_in()

    idp.use_key(NEXT)
    idp.set_up()
    assert certificates(idp) == [False, True, False]
    fetches = site.fetches
    app.signed_in()
    assert (site.fetches, app.host.reasons(), len(app.host.users())) == (fetches, [], 1)


def test_a_key_that_changes_without_a_word_is_learnt_in_the_sign_in_that_brings_it(idp: Idp, site: Site, app: Connected) -> None:
    app.signed_in()
    assert site.fetches == 1
    set_back(app.host, metadata_tried_at=timedelta(minutes=6))
    idp.use_key(SUDDEN)
    assert certificates(idp) == [False, False, True]
    app.signed_in()
    assert (site.fetches, app.host.reasons(), len(app.host.users())) == (2, [], 1)


def test_the_old_key_is_worth_nothing_once_it_is_no_longer_listed(idp: Idp, site: Site, app: Connected) -> None:
    app.signed_in()
    set_back(app.host, metadata_tried_at=timedelta(minutes=6))
    idp.use_key(SUDDEN)
    app.signed_in()
    site.shows(idp.metadata())
    idp.use_key(OLD)  # whoever has the old key still
    set_back(app.host, metadata_tried_at=timedelta(minutes=6))
    page = app.visitor().open(app.login_url())
    assert (page.status, app.host.reasons()) == (403, ["signature_invalid"])
