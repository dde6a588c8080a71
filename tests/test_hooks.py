"""What a host may decide for itself, the end of a session that the IdP has set, and libraries that do not fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Request

from samljit.model import Assertion, Tenant
from samljit.saml.fit import misfit
from tests.conftest import Mount
from tests.host import ADELE, ORIGIN

MFA = "http://schemas.microsoft.com/claims/multipleauthn"
METHODS = "http://schemas.microsoft.com/claims/authnmethodsreferences"


def with_mfa(_: Tenant, assertion: Assertion) -> bool:
    return MFA in assertion.claims.get(METHODS, ())


def fails(_: Tenant, assertion: Assertion) -> bool:
    raise RuntimeError("adele.vance@contoso.example")


@pytest.mark.parametrize(
    ("accept", "methods", "status", "reasons"),
    [
        pytest.param(with_mfa, (MFA,), 200, [], id="good enough"),
        pytest.param(with_mfa, ("password",), 403, ["host_declined"], id="not good enough"),
        pytest.param(lambda *_: "yes", (MFA,), 403, ["host_declined"], id="truthy is not True"),
        pytest.param(fails, (MFA,), 403, ["host_declined"], id="a function that fails"),
    ],
)
def test_the_host_may_ask_for_more_than_a_genuine_assertion(
    mount: Mount, accept: Any, methods: tuple[str, ...], status: int, reasons: list[str]
) -> None:
    host = mount(accept_assertion=accept)
    page = host.sign_in(replace(ADELE, authn_methods=methods))
    assert (page.status, host.reasons(), host.count("users")) == (status, reasons, 0 if reasons else 1)
    assert "adele" not in page.text.lower()


def test_a_refusal_by_the_host_uses_nothing_up(mount: Mount) -> None:
    host = mount(accept_assertion=lambda *_: False)
    host.sign_in()
    assert host.count("samljit_assertion") == 0


def test_45_the_rate_limit_is_asked_before_the_body_is_read(mount: Mount) -> None:
    asked: list[Request] = []
    host = mount(rate_limit=lambda request: asked.append(request) is not None)
    page = host.sign_in()
    assert (page.status, host.reasons(), len(asked)) == (429, ["rate_limited"], 1)


def test_a_rate_limit_that_fails_lets_nothing_through_and_makes_no_5xx(mount: Mount) -> None:
    def fail(request: Request) -> bool:
        raise ConnectionError("the counter's store is down")

    host = mount(rate_limit=fail)
    page = host.sign_in()
    assert (page.status, host.reasons(), host.rows("samljit_attempt")[0].detail) == (429, ["rate_limited"], "ConnectionError")


def test_a_session_ends_when_the_idp_says(mount: Mount) -> None:
    host, browser, now = mount(), None, datetime.now(UTC)
    with time_machine.travel(now, tick=False) as clock:
        browser = host.browser()
        host.sign_in(browser=browser, session_not_on_or_after=now + timedelta(minutes=30), now=now)
        clock.shift(timedelta(minutes=30, seconds=-1))
        assert browser.get(f"{ORIGIN}/").text != "nobody"
        clock.shift(timedelta(seconds=1))
        assert browser.get(f"{ORIGIN}/").text == "nobody"
        assert browser.get(f"{ORIGIN}/reports/7").status == 401


def test_without_such_a_time_a_session_is_the_hosts_own_affair(mount: Mount) -> None:
    host, now = mount(), datetime.now(UTC)
    with time_machine.travel(now, tick=False) as clock:
        browser = host.browser()
        host.sign_in(browser=browser, now=now)
        clock.shift(timedelta(days=20))
        assert browser.get(f"{ORIGIN}/").text != "nobody"


def test_11_libraries_on_two_versions_of_libxml2_are_told_in_one_sentence() -> None:
    assert misfit(lxml_libxml=(2, 14, 6), xmlsec_libxml=(2, 14, 6)) is None
    told = misfit(lxml_libxml=(2, 14, 6), xmlsec_libxml=(2, 12, 9))
    assert told is not None
    assert ("2.14.6" in told, "2.12.9" in told, "pip install" in told) == (True, True, True)


def test_11_an_xmlsec_that_cannot_be_loaded_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "xmlsec.py").write_text("raise RuntimeError('(-1, lxml & xmlsec libxml2 library version mismatch)')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import samljit; samljit.SamlJit"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, last.startswith("ImportError: xmlsec cannot be loaded beside lxml"), "pip install" in last) == (1, True, True)
