"""What a sign-in would do, without doing it: for a mapping that is tried on claims, and for test sign-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from samljit.errors import ProvisioningRefused, Reason
from samljit.model import ExistingUser, NameId, Outcome, Plan, Tenant, UserShape
from samljit.provision.plan import plan_sign_in
from samljit.provision.sign_in import Candidate, make_plan
from samljit.provision.subject import find_subject
from samljit.store import HostRefused, Store


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims to plan with, wherever they are from. `issuer` is the entity ID of the IdP that they are of."""

    values: Mapping[str, tuple[str, ...]] = field(repr=False)
    name_id: NameId = field(repr=False)
    issuer: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a sign-in would do, to the user `user_id` or to somebody new."""

    plan: Plan
    user_id: Any = None


def dry_run(
    store: Store,
    claims: Claims,
    *,
    tenant: Tenant,
    shape: UserShape,
    email_domains: tuple[str, ...] | None,
    given: ExistingUser | None = None,
) -> DryRun:
    """What a sign-in with these claims would do: to the user `given`, or to whoever they are of. Writes nothing.

    A refusal is a plan too, and lists every decision. A value that another user has is found out here, as no constraint of the database
    is asked. Raises: store.Unavailable.
    """
    user, plan = given, None
    try:
        subject = find_subject(claims.values, name_id=claims.name_id, issuer=claims.issuer, tenant=tenant)
        candidate = Candidate(tenant, claims.values, claims.name_id, subject, shape, email_domains)
        with store.looking() as transaction:
            user = given or transaction.find_user(subject, tenant=tenant)
            plan = make_plan(transaction, candidate, user=user)
    except ProvisioningRefused as refused:
        plan = plan_sign_in(
            claims.values, name_id=claims.name_id, mapping=tenant.mapping, shape=shape, user=user, email_domains=email_domains
        )
        plan = replace(plan, outcome=Outcome.REFUSE, reason=refused.reason, detail=refused.detail)
    except HostRefused as refused:
        return DryRun(Plan(Outcome.REFUSE, reason=Reason.HOST_REFUSED, detail=str(refused)))
    user = user or plan.links
    user_id = user.id if user else None
    if plan.outcome in (Outcome.CREATE, Outcome.UPDATE):
        taken = store.find_conflict(plan.values, tenant=tenant, besides=user_id)
        if taken is not None:
            plan = replace(plan, outcome=Outcome.REFUSE, reason=Reason.VALUE_CONFLICT, detail=f"field {taken}")
    return DryRun(plan, user_id)
