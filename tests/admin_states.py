"""What the tenants of `tests.admin_site` have to show at their fullest, and at their worst."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

import sqlalchemy as sa

from samljit.sql.tables import to_database
from samljit.testing import FakeEntra, Person, sign_in, signing_key
from tests.admin_host import OPERATOR, rows_of, stored
from tests.admin_site import AdminSite, run_test
from tests.host import FIELDS

LONG_NAME = (
    "Ada Lovelace & Charles Babbage <b>Analytical</b> Engine Gesellschaft\u202e für Rechenmaschinen mbH und Co.\x07 Kommanditgesellschaft"
)
LONG_VALUE = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
LONG_EMAIL = f"{LONG_VALUE[:60]}@adatum.example"
EVIL = "<script>alert(1)</script>\u202e"
OUTCOMES = ("unchanged", "update", "unchanged", "refuse", "create")


def seed_every_state(site: AdminSite) -> None:
    site.change("wingtip", mapping={"fields": {**FIELDS, "no_such_column": "givenname"}}, require_sso=True)
    _seed_fabrikam(site)
    _seed_adatum(site)


def _seed_fabrikam(site: AdminSite) -> None:
    """In use: people came, one was refused, and a test went well."""
    login, entra = f"{site.url}/saml/fabrikam/login", site.signers["fabrikam"]
    people = [Person(object_id=f"11110000-aaaa-4444-8888-00000000000{one}", email=f"adele{one}@fabrikam.example") for one in range(4)]
    for person in (*people, *people[1:]):
        sign_in(site.visitor(), entra, person, login)
    sign_in(site.visitor(), entra, people[0], login, audiences=(("https://elsewhere.example",),))
    run_test(site, "fabrikam", people[1])


def _seed_adatum(site: AdminSite) -> None:
    """Everything is long: names, values, numbers, the list of those who stay away. Its certificate has expired; a test failed."""
    entra = site.signers["adatum"]
    person = Person(
        object_id="11110000-aaaa-4444-8888-000000000007",
        display_name=LONG_NAME.replace("\x07", ""),  # which XML cannot hold
        given_name=LONG_VALUE,
        email=LONG_EMAIL,
        groups=tuple(f"{number}-{LONG_VALUE}{EVIL}" for number in range(60)),
        extra={f"https://claims.example/{EVIL}{LONG_VALUE}": [LONG_VALUE]},
    )
    elsewhere = ((f"https://elsewhere.example/{EVIL}{LONG_VALUE}",),)
    login = f"{site.url}/saml/adatum/login"
    sign_in(site.visitor(), entra, person, login)
    sign_in(site.visitor(), entra, person, login, audiences=elsewhere)
    run_test(site, "adatum", person, audiences=elsewhere)
    ended = signing_key("long gone", valid_until=datetime.now(UTC) - timedelta(days=3))
    expired = FakeEntra(entra.tenant_id, sso_url=entra.sso_url, keys=[ended])
    rows_of(site.host).save_draft(stored(site.host, "adatum"), {"idp": {"metadata": entra.metadata().decode()}}, author=OPERATOR)
    site.change(
        "adatum",
        name=LONG_NAME,
        idp={"metadata": expired.metadata().decode()},
        domains=[f"{'a-domain-with-a-very-long-name':x<62}.example", *(f"part-{one}.adatum.example" for one in range(30))],
        break_glass=[LONG_EMAIL],
        mapping={"fields": FIELDS | {"last_name": f"<i>{LONG_VALUE}</i>"}},
    )
    _seed_crowd(site, "adatum")


def _seed_crowd(site: AdminSite, slug: str) -> None:
    """Thousands of attempts in the last seven days, and people who have not come for long."""
    host, tenant_id, now = site.host, str(stored(site.host, slug).id), datetime.now(UTC)
    users = [host.user_model(email=f"{number}.{EVIL}{LONG_EMAIL}"[:200], organization=slug) for number in range(12)]
    with host.app.app_context():
        host.session.add_all(users)
        host.session.commit()
        keys = [user.id for user in users]
    attempts = [_attempt(day, number, outcome, tenant_id, now) for day in range(7) for number, outcome in _tries(400 * (7 - day))]
    people = [_person(number, key, tenant_id, now) for number, key in enumerate(keys)]
    tables = host.user_model.metadata.tables
    with host.engine.begin() as connection:
        connection.execute(sa.insert(tables["samljit_attempt"]), attempts)
        connection.execute(sa.insert(tables["samljit_identity"]), people)


def _tries(count: int) -> list[tuple[int, str]]:
    return list(zip(range(count), cycle(OUTCOMES), strict=False))


def _attempt(day: int, number: int, outcome: str, tenant_id: str, now: datetime) -> dict[str, Any]:
    is_refused = outcome == "refuse"
    at = to_database(now - timedelta(days=day))
    row = {"tenant_id": tenant_id, "stage": "finish", "detail": "", "claim_names": [], "decisions": [], "roles": [], "browser": ""}
    told = {"at": at, "outcome": outcome, "reason": "expired" if is_refused else None, "finished_at": None if is_refused else at}
    return {**row, **told, "reference": f"SJ-{day:04}-{number:04}", "times": 1}


def _person(number: int, user_id: int, tenant_id: str, now: datetime) -> dict[str, Any]:
    last = to_database(now - timedelta(days=100 + number)) if number else None
    row = {"tenant_id": tenant_id, "issuer": "https://idp.example/", "source": "x", "user_id": user_id, "created_at": to_database(now)}
    return {**row, "subject_key": f"{number:064}", "subject": str(number), "signed_in_at": last}
