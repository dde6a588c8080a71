"""Every fault of the trust tests that is one really signed or forged message, under its id, to be asked of more than one validator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from samljit.testing import Claim
from tests.trust import test_binding as binding
from tests.trust import test_structure as structure
from tests.trust import test_trust_and_tenancy as tenancy
from tests.trust.forge import Desk

Make = Callable[[Desk, datetime], bytes]


def cases() -> dict[str, Make]:
    """How to make each faulty message, by the id of its fault. Ids begin with the number in the README's list of checks."""
    made: dict[str, Make] = {}
    for name, changes in [*_tables(), *_times()]:
        made[name] = _maker(changes)
    for name, (edit, _) in structure.DOCUMENTS.items():
        made[name] = lambda desk, now, edit=edit: edit(desk.respond(now=now))
    return made


def _maker(changes: dict[str, Any]) -> Make:
    def make(desk: Desk, now: datetime) -> bytes:
        moved = {name: now + value if isinstance(value, timedelta) else value for name, value in changes.items()}
        return desk.respond(now=now, **moved)

    return make


def _tables() -> Iterator[tuple[str, dict[str, Any]]]:
    for table in (structure.IDS, structure.SHAPES, binding.UNSOLICITED, binding.OTHERS, binding.ATTRIBUTES, tenancy.UNSIGNED):
        yield from ((name, changes) for name, (changes, _) in table.items())
    for plain in (structure.SIGNATURES, structure.PLACES, structure.ALGORITHMS, tenancy.ISSUERS):
        yield from plain.items()
    for field in ("recipient", "destination"):
        number = "17" if field == "recipient" else "18"
        yield from ((f"{number}-{field}-{name}", {field: address}) for name, address in binding.ADDRESSES.items())
    yield from ((name, {"audiences": audiences}) for name, audiences in binding.AUDIENCES.items())
    yield from ((name, binding.named(request_id)) for name, request_id in binding.REQUESTS.items())
    yield from ((name, {"claims": claims}) for name, claims in tenancy.TENANT_IDS.items())
    yield "29-the-same-claim-twice", {"claims": (Claim("a", ("1",)), Claim("a", ("2",)))}


def _times() -> Iterator[tuple[str, dict[str, Any]]]:
    """Times as spans from now."""
    minute, day = timedelta(minutes=1), timedelta(days=1)
    yield "23-no-condition-end", {"not_on_or_after": None}
    yield "23-no-confirmation-end", {"confirmation_not_on_or_after": None}
    yield "23-ended-within-the-librarys-skew", {"not_on_or_after": -4 * minute, "confirmation_not_on_or_after": minute}
    yield "23-begins-within-the-librarys-skew", {"not_before": 4 * minute}
    yield "23-valid-for-a-year", {"not_on_or_after": 365 * day, "confirmation_not_on_or_after": 365 * day}
    yield "23-issued-in-the-future", {"assertion_issue_instant": day}
    yield "23-authenticated-in-the-future", {"authn_instant": day}
    yield "23-confirmation-with-not-before", {"confirmation_not_before": -minute}
