"""A mapping tried on claims before anybody signs in with it: what sign-ins do now beside what they would do. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flask import Response

from samljit.admin.connection.setup import find_drafted_idp
from samljit.admin.frame.results import ShownDecision, ShownPlan, shown_plan
from samljit.admin.frame.visit import Visit
from samljit.admin.people.mapping import TenantMapping, Verdict, save_mapping
from samljit.admin.people.mapping_form import MappingForm, find_test, sent
from samljit.admin.people.problems import told_fault
from samljit.errors import CATALOGUE, ProvisioningRefused, Reason
from samljit.mapping.pasted import NotClaims, read_pasted
from samljit.model import AdminAction, NameId, Outcome, Plan, Tenant
from samljit.provision.dry_run import Claims, dry_run
from samljit.views.explained import aliases_of
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

CONTROL = "sample"
_NO_CLAIMS = N_("Paste claims: no test sign-in has shown any yet.")
_BAD_CLAIMS = N_("These are no claims. Write one a line, as in “givenname: Adele”, or one JSON object of texts and lists of texts.")
_LABEL = N_("Claims to try it on")


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of one field or role now, and what would; None where the mapping does not name it."""

    name: str
    before: ShownDecision | None
    after: ShownDecision | None

    @property
    def differs(self) -> bool:
        return self.before != self.after

    @property
    def old(self) -> tuple[str, ...]:
        """What stands in the user record."""
        one = self.after or self.before
        return one.old if one else ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of the whole sign-in. `refusal` says why it is refused, in the words of the catalogue and in detail."""

    plan: ShownPlan
    refusal: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Two plans for the same claims, pasted or those of the last test. `before` is None where what is live cannot be used."""

    before: Judged | None
    after: Judged
    fields: tuple[Difference, ...]
    roles: tuple[Difference, ...]
    is_pasted: bool

    @property
    def differs(self) -> bool:
        return self.before is None or self.before.plan.outcome != self.after.plan.outcome or any(one.differs for one in self.rows)

    @property
    def rows(self) -> tuple[Difference, ...]:
        return (*self.fields, *self.roles)


def try_mapping(visit: Visit, form: MappingForm, tenant: Tenant) -> Trial | None:
    """What the tenant would do with the claims that were pasted, or with those of the last test, and what it does now.

    None, with an error in the form, where there are none. Raises: store.Unavailable.
    """
    found = _find_claims(visit, form)
    if found is None:
        return None
    claims, issuer = found
    live = visit.tenant
    issuers = {"live": live.idp.entity_id if live.idp else "", "draft": _drafted_issuer(visit)}
    before = _plan(claims, live, issuer=issuers["live"] or issuer) if live.revision else None  # an outline has none
    after = _plan(claims, tenant, issuer=issuers["draft"] or issuers["live"] or issuer)
    return Trial(
        before=before,
        after=after,
        fields=tuple(_differences(before.plan.fields if before else (), after.plan.fields)),
        roles=tuple(_differences(before.plan.roles if before else (), after.plan.roles)),
        is_pasted=bool(sent(CONTROL).strip()),
    )


def save_or_try(
    visit: Visit, form: MappingForm, mapping: TenantMapping, verdict: Verdict, *, address: str
) -> Response | Trial | None:
    """What was asked for with a good form: the mapping saved, with the answer to that, or tried. None where the form says why not."""
    if verdict.faults:
        return None
    if sent("do") != "try":
        return save_mapping(visit, form, mapping, address=address)
    visit.must(AdminAction.TEST)
    if verdict.tenant is None:  # something was wrong before
        form.add_fault("main", next(map(told_fault, verdict.problems), ""))
        return None
    return try_mapping(visit, form, verdict.tenant)


def _find_claims(visit: Visit, form: MappingForm) -> tuple[Claims, str] | None:
    text = sent(CONTROL).strip()
    if not text:
        test = find_test(visit)
        if test is None or not test.claims:
            form.add_fault(CONTROL, gettext(_NO_CLAIMS), label=gettext(_LABEL))
            return None
        return Claims(test.claims, test.name_id or NameId(""), test.issuer), test.issuer
    try:
        values, name_id = read_pasted(text, aliases_of(visit.tenant))
    except NotClaims:
        form.add_fault(CONTROL, gettext(_BAD_CLAIMS), label=gettext(_LABEL))
        return None
    return Claims(values, NameId(name_id), ""), ""


def _drafted_issuer(visit: Visit) -> str:
    idp = find_drafted_idp(visit.get_stored(), visit)
    return idp.entity_id if idp else ""


def _plan(claims: Claims, tenant: Tenant, *, issuer: str) -> Judged:
    mount = mounted()
    claims = Claims(claims.values, claims.name_id, issuer)
    try:
        shape = mount.shape_for(tenant)
        plan = dry_run(mount.store, claims, tenant=tenant, shape=shape, email_domains=mount.email_domains(tenant)).plan
    except ProvisioningRefused as refused:
        plan = Plan(Outcome.REFUSE, reason=refused.reason, detail=refused.detail)
    shown = shown_plan(plan, tenant)
    if plan.outcome is not Outcome.REFUSE:
        return Judged(shown)
    return Judged(shown, CATALOGUE[plan.reason or Reason.VALUE_INVALID].admin, plan.detail)


def _differences(before: Iterable[ShownDecision], after: Iterable[ShownDecision]) -> Iterator[Difference]:
    """By name, what differs first."""
    was, will = ({one.name: one for one in decisions} for decisions in (before, after))
    found = [Difference(name, was.get(name), will.get(name)) for name in {**will, **was}]
    yield from sorted(found, key=lambda one: not one.differs)
