"""A host with admin pages: one tenant of the settings and two of the database, each with people who may look after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from flask_login import login_user

from samljit import AdminAction
from samljit.model import Tenant
from samljit.sql.audit import Author
from samljit.sql.stored import StoredTenant
from samljit.testing import Browser, FakeEntra
from tests.conftest import Mount
from tests.host import FIELDS, ORIGIN, Host

BASE = f"{ORIGIN}/saml/admin"
OPERATOR = Author("an operator", datetime.now(UTC))
FABRIKAM = FakeEntra("bbbbcccc-1111-dddd-2222-eeee3333ffff")

# the result of a test, as it is kept
PASSED: dict[str, Any] = {
    "nonce": "n", "draft_revision": 0, "at": "2026-11-22T09:00:00+00:00", "is_signed": True, "reason": None, "detail": "", "contrast": None,
    "checks": [["once", "passed"]], "name_id": None, "claims": {}, "issuer": "", "plan": None, "user": None,
}  # fmt: skip

# who looks after which tenants, by e-mail
ADMINS = {
    "cara@contoso.example": ("contoso",),
    "fred@fabrikam.example": ("fabrikam",),
    "tina@tailspin.example": ("tailspin",),
}


def authorize(user: Any, tenant: Tenant, _: AdminAction) -> bool:
    return tenant.slug in ADMINS.get(user.email, ())


def document(entra: FakeEntra = FABRIKAM, **changes: Any) -> dict[str, Any]:
    """A connected tenant as the database holds it; a key whose value is None is left out."""
    usual = {"name": "Fabrikam", "entra_tenant_id": entra.tenant_id, "domains": ["fabrikam.example"], "mapping": {"fields": FIELDS}}
    whole = {**usual, "idp": {"metadata": entra.metadata().decode()}, **changes}
    return {key: value for key, value in whole.items() if value is not None}


def make_admin_host(mount: Mount, *, configure: Callable[[Flask], None] = lambda app: None, **options: Any) -> Host:
    """contoso stands in the settings; fabrikam lives in the database and is connected; tailspin, too, and is not."""
    given = {"authorize": authorize, "tenant_fields": lambda tenant: {}, "is_privileged": lambda user: user.is_admin}
    host = mount(configure=configure, **{**given, **options})
    rows = rows_of(host)
    rows.add("fabrikam", document(), author=OPERATOR)
    rows.add("tailspin", document(name="Tailspin", domains=None, idp=None), author=OPERATOR)

    @host.app.get("/enter/<int:user_id>")
    def enter(user_id: int) -> str:
        login_user(host.session.get(host.user_model, user_id))
        return "welcome"

    return host


def rows_of(host: Host) -> Any:
    return host.app.extensions["samljit"].directory.rows


def stored(host: Host, slug: str = "fabrikam") -> StoredTenant:
    found: StoredTenant = rows_of(host).get_stored(slug)
    return found


def pass_test(host: Host, slug: str = "fabrikam") -> StoredTenant:
    """Has the draft pass a test, as far as the database can tell."""
    rows, number = rows_of(host), stored(host, slug).draft_revision
    assert rows.record_test(slug, PASSED | {"draft_revision": number}, nonce=f"n{number}", draft_revision=number, replaces=True)
    assert rows.confirm_test(stored(host, slug), nonce=f"n{number}", author=OPERATOR)
    return stored(host, slug)


def add_user(host: Host, email: str, **values: Any) -> int:
    with host.app.app_context():
        user = host.user_model(email=email, **values)
        host.session.add(user)
        host.session.commit()
        return int(user.id)


def browser_of(host: Host, email: str | None) -> Browser:
    """A browser in which this person, made where there is none yet, is signed in by other means than SAML; None for nobody."""
    browser = host.browser()
    if email is not None:
        user_id = next((user["id"] for user in host.users() if user["email"] == email), None) or add_user(host, email)
        assert browser.get(f"{ORIGIN}/enter/{user_id}").status == 200
    return browser
