"""saml.password_login_allowed: whom a tenant that makes the IdP the only way in keeps from signing in with a password."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from samljit.sql.audit import AuditAction
from tests.admin_host import OPERATOR, add_user, document, make_admin_host, rows_of, stored
from tests.conftest import Mount
from tests.host import ADELE, Host

STRICT = {"require_sso": True, "break_glass": ["Emergency@CONTOSO.example"]}


def is_allowed(host: Host, email: str | None) -> bool:
    with host.app.test_request_context():
        user = host.session.query(host.user_model).filter_by(email=email).first() or host.user_model(email=email)
        return host.saml.password_login_allowed(user)


@pytest.mark.parametrize(
    ("tenant", "email", "allowed"),
    [
        pytest.param({}, "ada@contoso.example", True, id="optional"),
        pytest.param(STRICT, "ada@contoso.example", False, id="required"),
        pytest.param(STRICT, "ada@CONTOSO.Example.", False, id="required, domain written otherwise"),
        pytest.param(STRICT, "emergency@contoso.example", True, id="break glass"),
        pytest.param(STRICT, "emergency@evil.example", True, id="of no tenant"),
        pytest.param(STRICT, "ada@sub.contoso.example", True, id="of a sub-domain"),
        pytest.param(STRICT, "", True, id="without an address"),
        pytest.param({**STRICT, "enabled": False}, "ada@contoso.example", True, id="disabled"),
        pytest.param({**STRICT, "offer_sso": False}, "ada@contoso.example", True, id="switched off"),
    ],
)
def test_by_the_domain_of_the_address(mount: Mount, tenant: dict[str, Any], email: str, allowed: bool) -> None:
    assert is_allowed(mount(tenant=tenant), email) is allowed


def test_by_identity_whatever_the_address_is_by_now(mount: Mount) -> None:
    host = mount(tenant=STRICT)
    host.sign_in(ADELE)
    with host.app.app_context():
        user = host.session.query(host.user_model).one()
        user.email = "adele@private.example"
        host.session.commit()
    assert is_allowed(host, "adele@private.example") is False


def test_the_emergency_account_of_one_tenant_is_none_of_another(mount: Mount) -> None:
    host = make_admin_host(mount, tenant=STRICT)
    strict = {"require_sso": True, "break_glass": ["b@fabrikam.example"]}
    rows_of(host).change(stored(host), strict, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    add_user(host, "emergency@contoso.example")
    assert is_allowed(host, "emergency@contoso.example") is True
    rows_of(host).change(
        stored(host), {**strict, "domains": ["fabrikam.example"]}, author=OPERATOR, action=AuditAction.TENANT_CHANGED
    )
    assert [is_allowed(host, address) for address in ("b@fabrikam.example", "emergency@fabrikam.example")] == [True, False]


def test_a_tenant_whose_document_fits_no_longer_stays_closed(mount: Mount) -> None:
    host = make_admin_host(mount)
    broken = {**STRICT, "mapping": {"fields": {"no_such_column": "givenname"}}}
    rows_of(host).change(stored(host), broken, author=OPERATOR, action=AuditAction.TENANT_CHANGED)
    assert is_allowed(host, "ada@fabrikam.example") is False


def test_a_lost_database_allows_nothing_and_raises_nothing(mount: Mount) -> None:
    host = mount(tenant={})
    with host.app.test_request_context():
        user = host.user_model(email="ada@other.example", id=1)

        @event.listens_for(host.engine, "do_connect")
        def refuse(*_: Any) -> None:
            raise host.engine.dialect.loaded_dbapi.OperationalError("gone")

        host.engine.dispose()
        assert host.saml.password_login_allowed(user) is False


def test_without_an_email_field_identities_alone_tell(mount: Mount) -> None:
    host = mount(tenant=STRICT, email_field=None)
    host.sign_in(ADELE)
    assert [is_allowed(host, address) for address in (ADELE.email, "ada@contoso.example")] == [False, True]


def test_the_document_of_the_database_holds_both_keys(mount: Mount) -> None:
    host = make_admin_host(mount)
    tenant, problems = host.app.extensions["samljit"].directory.check_stored("fabrikam", document(**STRICT), now=OPERATOR.now)
    assert (tenant and (tenant.require_sso, tenant.break_glass), problems) == ((True, ("Emergency@CONTOSO.example",)), [])
