"""The first page of a tenant: how it stands, what to do next, and what its people have done lately."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from flask import Response

from samljit.admin.frame.page import admin_page
from samljit.admin.frame.sections import find_section
from samljit.admin.frame.standing import Rule, Validity, has_passed, rule_of, validity_of
from samljit.admin.frame.visit import Visit, admin_view
from samljit.admin.record.attempts import person_fields
from samljit.errors import ProvisioningRefused
from samljit.federation.expiry import last_certificate
from samljit.mapping.aliases import short_name
from samljit.model import AdminAction
from samljit.sql.activity import read_days
from samljit.sql.identities import SqlIdentities, Stale
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

STALE = timedelta(days=90)
_MOST_STALE = 10


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: a sentence, and the page where it is done, where the visitor may open that."""

    text: str
    address: str | None
    label: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The state in one line; `kind` is ok, warn or danger."""

    kind: str
    text: str


_OFF = Headline("quiet", N_("Sign-in with Microsoft Entra is switched off."))
_CLOSED = Headline("danger", N_("Nobody can sign in with Microsoft Entra: whoever runs the app has switched it off."))
_UNUSABLE = Headline("danger", N_("Nobody can sign in: the settings no longer fit the app."))
_NOT_CONNECTED = Headline("warn", N_("Microsoft Entra is not connected yet: nobody can sign in with it."))
_EXPIRED = Headline("danger", N_("Nobody can sign in: the last certificate has expired."))
_REQUIRED = Headline("ok", N_("People sign in with Microsoft Entra only."))
_OPTIONAL = Headline("ok", N_("People can sign in with Microsoft Entra."))


@admin_view(AdminAction.VIEW)
def overview(visit: Visit) -> Response:
    mount, tenant, stored = mounted(), visit.tenant, visit.stored
    validity, is_tested = validity_of(visit), has_passed(visit)
    problems = mount.directory.check_stored(stored.slug, stored.live, now=visit.now)[1] if stored else []
    is_unusable = any(not problem.is_warning for problem in problems)
    identities = SqlIdentities(factory=mount.factory, users=mount.users)
    stale = _find_stale(identities, visit)
    days = read_days(mount.factory, users=mount.users, tenant_id=tenant.id, now=visit.now)
    return admin_page(
        visit,
        "overview.html",
        section="overview",
        headline=_headline(visit, validity, is_unusable=is_unusable),
        step=_next_step(visit, validity, is_tested=is_tested, is_unusable=is_unusable),
        problems=[problem for problem in problems if not problem.is_warning],
        rule=rule_of(tenant).value,
        validity=validity.value,
        last=last_certificate(tenant.idp.certificates, visit.now) if tenant.idp else None,
        is_tested=is_tested,
        people=sum(count for (owner, _), count in identities.count_by_issuer().items() if owner == tenant.id),
        known_by=short_name(tenant.mapping.identity_source),
        days=days,
        most=max((day.signed_in + day.refused for day in days), default=0),
        stale=stale and stale[:_MOST_STALE],
        has_more_stale=len(stale or ()) > _MOST_STALE,
        stale_days=STALE.days,
    )


def _find_stale(identities: SqlIdentities, visit: Visit) -> list[Stale] | None:
    """One more than are shown, if there are so many: of users who still are this tenant's. None where that cannot be told."""
    try:
        fields = person_fields(visit)
    except ProvisioningRefused:
        return None
    with closing(identities.find_stale(before=visit.now - STALE, tenant_id=visit.tenant.id, fields=fields)) as found:
        return list(islice(found, _MOST_STALE + 1))


def _headline(visit: Visit, validity: Validity, *, is_unusable: bool) -> Headline:
    tenant = visit.tenant
    if is_unusable:
        return _UNUSABLE
    if not tenant.enabled:
        return _CLOSED
    if not tenant.offer_sso:
        return _OFF
    if tenant.idp is None or not tenant.idp.is_usable(visit.now):
        return _NOT_CONNECTED
    if validity is Validity.EXPIRED and not tenant.accept_expired_certificates:
        return _EXPIRED
    return _REQUIRED if rule_of(tenant) is Rule.REQUIRED else _OPTIONAL


def _next_step(visit: Visit, validity: Validity, *, is_tested: bool, is_unusable: bool) -> Step | None:
    """The most urgent thing that is missing, or None."""
    tenant, stored = visit.tenant, visit.stored
    if stored is None:
        return None
    has_draft = stored.draft is not None
    is_draft_tested = has_draft and stored.tested_revision == stored.draft_revision
    steps = (
        (is_unusable, N_("Correct the claims, so that they fit the user record of the app."), "claims", N_("Claims")),
        (is_draft_tested, N_("The draft has passed a test. Make it live."), "draft", N_("Go live")),
        (has_draft, N_("There is a draft. Try it with a test sign-in, then make it live."), "test", N_("Test the draft")),
        (tenant.idp is None, N_("Connect Microsoft Entra: two values go there, one comes back."), "setup", N_("Set up")),
        (validity is Validity.EXPIRED, N_("Make a new certificate in Entra."), "certificates", N_("What to do")),
        (validity is Validity.SOON, N_("The last certificate expires soon. Make a new one in Entra."), "certificates", N_("What to do")),
        (not is_tested, N_("Nobody has signed in yet. Try it with a test sign-in."), "test", N_("Test sign-in")),
        (tenant.enabled and not tenant.offer_sso, N_("Switch sign-in on, when you are ready."), "rules", N_("Sign-in rules")),
    )
    for is_wanted, text, name, label in steps:
        if is_wanted:
            may_open = visit.may(find_section(name).action)
            return Step(gettext(text), visit.url(name) if may_open else None, gettext(label))
    return None
