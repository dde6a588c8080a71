"""Roles in the database: who was granted what, the host's own list beside it, and what of it the host and the log are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, ForeignKey, Integer, String, event, text
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.orm import mapped_column, relationship

from samljit import ConfigError, roles_changed, user_created, user_updated
from samljit.mapping.aliases import ALIASES
from samljit.provision import sign_in
from samljit.testing import FakeEntra, Person
from tests.conftest import Mount
from tests.host import ADELE, BIANCA, FIELDS, ORIGIN, Host, make_host, make_user_model, settings_for
from tests.servers import KINDS, database
from tests.test_store import close, forms, mount_of, post_at_once

EDITORS = "07dd8a60-bf6d-4e17-8844-230b77145381"
ROLES: dict[str, Any] = {
    "source": ["role", "groups"],
    "map": {"App.Admin": ["admin"], EDITORS: ["editor", "Editor"]},
    "default": ["viewer"],
    "on_missing": "remove",
}
ADMIN = replace(ADELE, roles=("App.Admin",))
EDITOR = replace(ADELE, groups=(EDITORS,))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as made:
        yield made


def tenant(*, roles: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    return {"mapping": {"fields": FIELDS, "roles": ROLES if roles is None else roles, "policy": policy}}


def grants(host: Host) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in host.rows("samljit_role_grant"):
        found.setdefault(row.user_id, set()).add(row.role)
    return found


def run(host: Host, statement: str, **values: Any) -> None:
    with host.engine.begin() as connection:
        connection.execute(text(statement), values)


def roles_of(host: Host, user_id: int = 1) -> frozenset[str]:
    with host.app.app_context():
        return host.saml.roles(host.session.get(host.user_model, user_id))


# --- grants -----------------------------------------------------------------------------------------------------------


def test_roles_come_and_go_with_the_claims(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant())
    for person, expected in (
        (ADELE, {"viewer"}),
        (ADMIN, {"admin"}),
        (replace(ADMIN, groups=(EDITORS,)), {"admin", "editor", "Editor"}),
        (EDITOR, {"editor", "Editor"}),
        (replace(ADELE, overage=True), {"editor", "Editor"}),
        (replace(ADELE, groups=()), {"viewer"}),
    ):
        assert host.sign_in(person).status == 200
        assert grants(host) == {1: expected}
        assert roles_of(host) == expected
    close(host)


def test_what_was_never_seen_is_not_missed_and_what_was_seen_once_is(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant(roles={**ROLES, "source": "role"}))
    host.sign_in(ADELE)
    run(host, "UPDATE samljit_role_grant SET role = 'admin'")
    assert host.rows("samljit_tenant_state")[0].claims_seen == []
    host.sign_in(ADELE)
    assert grants(host) == {1: {"admin"}}
    host.sign_in(replace(BIANCA, roles=("App.Admin",)))
    assert host.rows("samljit_tenant_state")[0].claims_seen == [ALIASES["role"]]
    host.sign_in(ADELE)
    assert grants(host) == {1: {"viewer"}, 2: {"admin"}}
    close(host)


def test_a_claim_that_another_worker_has_seen_first_is_missed_by_a_sign_in_that_has_begun_before(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant(roles={**ROLES, "source": "role"}))
    host.sign_in(ADELE)
    run(host, "UPDATE samljit_role_grant SET role = 'admin'")
    posts = [*forms(host, ADELE, 1), *forms(host, replace(BIANCA, roles=("App.Admin",)), 2)]  # nobody looks the tenant up after this
    for form in reversed(posts):
        assert host.app.test_client().post("/saml/contoso/acs", data=form, base_url=ORIGIN).status_code == 200
    assert host.rows("samljit_tenant_state")[0].claims_seen == [ALIASES["role"]]
    assert grants(host) == {1: {"viewer"}, 2: {"admin"}}
    close(host)


def test_sixteen_first_sign_ins_at_once_grant_each_role_once(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant())
    assert post_at_once(host, forms(host, replace(ADMIN, groups=(EDITORS,)), 16)) == {200: 16}
    assert (grants(host), host.count("samljit_role_grant")) == ({1: {"admin", "editor", "Editor"}}, 3)
    assert host.rows("samljit_tenant_state")[0].claims_seen == sorted([ALIASES["groups"], ALIASES["role"]])
    close(host)


def test_roles_that_another_sign_in_has_changed_meanwhile_do_not_add_up(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant())
    for person in (ADMIN, EDITOR, ADELE):  # a claim that is seen for the first time locks the tenant
        host.sign_in(person)
    [slow], [fast], make_plan = forms(host, ADMIN, 1), forms(host, EDITOR, 1), sign_in.make_plan

    def plan_slowly(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        plan = make_plan(*given, **named)
        assert post_at_once(host, [fast]) == {200: 1}
        assert grants(host) == {1: {"editor", "Editor"}}
        return plan

    monkeypatch.setattr(sign_in, "make_plan", plan_slowly)
    assert post_at_once(host, [slow]) == {200: 1}
    assert grants(host) == {1: {"admin"}}
    close(host)


def test_sign_ins_with_other_roles_come_through_one_after_the_other_however_many_there_are(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant())
    host.sign_in(ADELE)
    posts = [form for pair in zip(forms(host, ADMIN, 6), forms(host, EDITOR, 6), strict=True) for form in pair]
    assert post_at_once(host, posts) == {200: 12}
    assert grants(host)[1] in ({"admin"}, {"editor", "Editor"})
    close(host)


def test_a_deleted_user_takes_the_grants_along(url: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, url=url, tenant=tenant())
    host.sign_in(ADMIN)
    run(host, "DELETE FROM users")
    assert host.count("samljit_role_grant") == 0
    close(host)


def test_a_refused_sign_in_changes_no_role(mount: Mount) -> None:
    host = mount(tenant=tenant(roles={**ROLES, "on_overage": "deny"}))
    host.sign_in(ADMIN)
    assert (host.sign_in(replace(ADELE, overage=True)).status, host.reasons()) == (403, ["groups_overage"])
    assert host.sign_in(replace(EDITOR, email="no address")).status == 403
    assert grants(host) == {1: {"admin"}}


# --- the host's own list ----------------------------------------------------------------------------------------------


def with_json_column() -> type[Any]:
    return make_user_model(roles=mapped_column(JSON))


def with_association_proxy() -> type[Any]:
    model = make_user_model()
    base = model.__mro__[2]

    def named(self: Any, name: str) -> None:
        self.name = name

    role = type(
        "RoleOfUser",
        (base,),
        {
            "__tablename__": "role_of_user",
            "id": mapped_column(Integer, primary_key=True),
            "user_id": mapped_column(ForeignKey("users.id")),
            "name": mapped_column(String(40)),
            "__init__": named,
        },
    )
    model.role_records = relationship(role, cascade="all, delete-orphan")  # type: ignore[attr-defined]
    model.roles = association_proxy("role_records", "name")  # type: ignore[attr-defined]
    return model


def with_property() -> type[Any]:
    def read(self: Any) -> list[str]:
        return self.role_names.split() if self.role_names else []

    def write(self: Any, roles: list[str]) -> None:
        self.role_names = " ".join(roles)

    return make_user_model(role_names=mapped_column(String(200)), roles=property(read, write))


LISTS = [with_json_column, with_association_proxy, with_property]


@pytest.mark.parametrize("model_of", LISTS)
def test_the_hosts_list_is_kept_in_step_and_what_was_granted_by_hand_stays(url: str, tmp_path: Path, model_of: Any) -> None:
    host = make_host(tmp_path, url=url, user_model=model_of(), roles_field="roles", tenant=tenant())

    def listed() -> set[str]:
        with host.session() as session:
            return set(session.get(host.user_model, 1).roles)

    def by_hand(change: Any) -> None:
        with host.session() as session:
            user = session.get(host.user_model, 1)
            user.roles = change(list(user.roles))
            session.commit()

    host.sign_in(ADMIN)
    assert listed() == {"admin"}
    by_hand(lambda roles: [*roles, "billing", "editor"])
    host.sign_in(EDITOR)
    assert (listed(), grants(host)) == ({"billing", "editor", "Editor"}, {1: {"editor", "Editor"}})
    host.sign_in(replace(ADELE, groups=(), roles=("App.Admin",)))
    assert (listed(), grants(host)) == ({"billing", "editor", "admin"}, {1: {"admin"}})  # this "editor" was there before
    by_hand(lambda roles: [role for role in roles if role != "admin"])
    host.sign_in(ADMIN)
    assert listed() == {"billing", "editor", "admin"}
    close(host)


@pytest.mark.parametrize("model_of", LISTS)
def test_a_sign_in_without_role_changes_writes_nothing_to_the_list(mount: Mount, model_of: Any) -> None:
    host = mount(user_model=model_of(), roles_field="roles", tenant=tenant())
    host.sign_in(ADMIN)
    seen: list[str] = []
    event.listen(host.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    host.sign_in(ADMIN)
    assert not [one for one in seen if one.startswith(("UPDATE users", "INSERT INTO role_of", "DELETE", "UPDATE role_of"))]


def test_what_two_tenants_grant_goes_when_neither_does(mount: Mount) -> None:
    host = mount(user_model=with_json_column(), roles_field="roles", tenant=tenant())
    host.sign_in(ADMIN)
    run(host, "INSERT INTO samljit_tenant_state (id, slug, created_at, claims_seen) VALUES ('x', 'fabrikam', '2026-01-01', '[]')")
    grant = "INSERT INTO samljit_role_grant (tenant_id, user_id, role, in_field, granted_at) VALUES ('x', 1, 'admin', 0, :at)"
    run(host, grant, at="2026-01-01 00:00:00")
    host.sign_in(EDITOR)
    assert set(host.users()[0]["roles"]) == {"admin", "editor", "Editor"}
    assert [bool(row.in_field) for row in host.rows("samljit_role_grant") if row.role == "admin"] == [True]
    assert roles_of(host) == {"admin", "editor", "Editor"}


@pytest.mark.parametrize(
    ("model", "name", "code"),
    [
        pytest.param(make_user_model(), "rolls", "unknown_field", id="no such attribute"),
        pytest.param(make_user_model(), "display_name", "not_a_list", id="a text column"),
        pytest.param(with_association_proxy(), "role_records", "not_a_list", id="records"),
        pytest.param(make_user_model(roles=property(lambda self: [])), "roles", "not_a_list", id="a property without a setter"),
    ],
)
def test_a_roles_field_that_cannot_hold_names_is_named_at_start_up(mount: Mount, model: Any, name: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mount(user_model=model, roles_field=name)
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [("roles_field", code)]


def test_the_roles_field_is_never_filled_from_claims(mount: Mount) -> None:
    with pytest.raises(ConfigError) as caught:
        mount(user_model=with_json_column(), roles_field="roles", tenant={"mapping": {"fields": {**FIELDS, "roles": "groups"}}})
    assert [problem.code for problem in caught.value.problems] == ["protected_target"]


def test_what_the_hosts_list_raises_refuses_the_sign_in(mount: Mount) -> None:
    def refuse(self: Any, roles: list[str]) -> None:
        raise ValueError("secret")

    host = mount(user_model=make_user_model(roles=property(lambda self: [], refuse)), roles_field="roles", tenant=tenant())
    assert (host.sign_in(ADMIN).status, host.reasons(), host.count("users")) == (403, ["host_refused"], 0)


def test_no_document_grants_what_the_operator_does_not_allow(tmp_path: Path, mount: Mount) -> None:
    entra = FakeEntra()
    settings = settings_for(tmp_path, entra, tenant=tenant(), guards={"grantable_roles": ["viewer", "editor", "Editor"]})
    with pytest.raises(ConfigError) as caught:
        mount(entra=entra, settings=settings)
    assert [(p.path, p.code) for p in caught.value.problems] == [
        ('$.tenants.contoso.mapping.roles.map["App.Admin"][0]', "role_not_grantable")
    ]


# --- what is told -----------------------------------------------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    seen: list[tuple[str, dict[str, Any]]] = []

    def receiver(name: str) -> Any:
        return lambda _, **values: seen.append((name, values))

    with ExitStack() as stack:
        for name, signal in {"created": user_created, "updated": user_updated, "roles": roles_changed}.items():
            stack.enter_context(signal.connected_to(receiver(name)))
        yield seen


def test_a_change_of_roles_is_told_after_the_commit_and_only_then(mount: Mount, told: list[tuple[str, dict[str, Any]]]) -> None:
    host = mount(tenant=tenant())
    host.sign_in(ADMIN)
    host.sign_in(ADMIN)
    host.sign_in(EDITOR)
    changes = [(name, values.get("granted"), values.get("revoked")) for name, values in told]
    assert changes == [
        ("created", None, None),
        ("roles", ("admin",), ()),
        ("updated", None, None),
        ("roles", ("Editor", "editor"), ("admin",)),
    ]
    references = [row.reference for row in host.rows("samljit_attempt")]
    assert {key: told[3][1][key] for key in ("user_id", "tenant", "reference")} == {
        "user_id": 1,
        "tenant": "contoso",
        "reference": references[2],
    }


def test_the_log_row_holds_the_role_changes_and_the_claims_state(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    host = mount(tenant=tenant())
    host.sign_in(ADMIN)
    host.sign_in(replace(ADELE, overage=True))
    first, second = host.rows("samljit_attempt")
    assert first.roles == [{"role": "admin", "action": "granted", "why": "claim", "source": ALIASES["role"]}]
    assert (first.claim_state, second.claim_state) == ("present", "overage")
    assert second.roles == [{"role": "admin", "action": "kept", "why": "overage", "source": None}]
    assert [record.message.partition(" tenant=")[0] for record in caplog.records if record.levelname == "WARNING"] == [
        "roles left alone: overage"
    ]
    found = mount_of(host).store.find_attempt(second.reference)
    assert found is not None
    assert [(one.role, one.action) for one in found.roles] == [("admin", "kept")]


@pytest.mark.parametrize(("days", "is_kept"), [(1, True), (0, True), (-1, False), (None, False)])
def test_values_are_logged_up_to_the_day_that_the_settings_name(mount: Mount, days: int | None, is_kept: bool) -> None:
    until = None if days is None else (datetime.now(UTC).date() + timedelta(days=days)).isoformat()
    host = mount(tenant={**tenant(), "log_values_until": until})
    host.sign_in(ADELE)
    host.sign_in(replace(ADELE, surname="Vance-Ito"))
    row = host.rows("samljit_attempt")[1]
    [name] = [decision for decision in row.decisions if decision["field"] == "last_name"]
    assert (name.get("old"), name.get("new")) == (("Vance", "Vance-Ito") if is_kept else (None, None))
    assert ("Vance" in json.dumps(row.decisions)) is is_kept
    found = mount_of(host).store.find_attempt(row.reference)
    assert found is not None
    assert found.keeps_values is is_kept
    host.sign_in(replace(ADELE, surname="Third", email="no address"))
    assert ("Third" in json.dumps(host.rows("samljit_attempt")[2].decisions)) is is_kept


def test_values_are_not_logged_for_long(mount: Mount) -> None:
    until = (datetime.now(UTC).date() + timedelta(days=100)).isoformat()
    with pytest.raises(ConfigError) as caught:
        mount(tenant={**tenant(), "log_values_until": until})
    assert [problem.code for problem in caught.value.problems] == ["too_far_ahead"]


def test_managed_fields_are_those_that_a_sign_in_overwrites(mount: Mount) -> None:
    host = mount(tenant=tenant())
    host.sign_in(ADELE)
    host.session.add(host.user_model(email="by.hand@contoso.example"))
    host.session.commit()
    with host.app.app_context():
        adele, by_hand = (host.session.get(host.user_model, key) for key in (1, 2))
        found = host.saml.managed_fields(adele)
        assert {name: (field.claims, field.tenant.slug) for name, field in found.items()} == {
            "email": (("emailaddress", "name"), "contoso"),
            "first_name": (("givenname",), "contoso"),
            "last_name": (("surname",), "contoso"),
        }
        assert host.saml.managed_fields(by_hand) == {}
        assert host.saml.roles(by_hand) == frozenset()


def test_no_field_is_managed_where_users_are_not_updated(mount: Mount) -> None:
    host = mount(tenant=tenant(update_users=False))
    host.sign_in(ADELE)
    host.sign_in(replace(EDITOR, surname="Other"))
    with host.app.app_context():
        assert host.saml.managed_fields(host.session.get(host.user_model, 1)) == {}
    assert (host.users()[0]["last_name"], grants(host)) == ("Vance", {1: {"editor", "Editor"}})


def test_b2c_claims_of_plain_names_are_reached_and_named(mount: Mount) -> None:
    fields = {"email": "=emailaddress", "display_name": {"template": "{=name}"}}
    host = mount(tenant={"mapping": {"identity": {"source": "=objectidentifier"}, "fields": fields}})
    person = Person(
        object_id="11110000-aaaa-4444-8888-000000000009",
        extra={"objectidentifier": ["b2c-1"], "emailaddress": ["ada@contoso.example"], "name": ["Ada L."]},
    )
    assert host.sign_in(person).status == 200
    assert (host.users()[0]["display_name"], host.rows("samljit_identity")[0].subject) == ("Ada L.", "b2c-1")
    with host.app.app_context():
        found = host.saml.managed_fields(host.session.get(host.user_model, 1))
        assert {name: field.claims for name, field in found.items()} == {"email": ("=emailaddress",), "display_name": ("=name",)}
