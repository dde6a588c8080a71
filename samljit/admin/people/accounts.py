"""Accounts and roles: what happens to people who come for the first time, to those who are there already, and which roles they get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, request

from samljit.admin.frame.page import admin_page
from samljit.admin.frame.visit import Visit, admin_view
from samljit.admin.people.documents import NotJson
from samljit.admin.people.mapping import PLACE, TenantMapping, check_mapping, is_at, judge, mapping_of, rights
from samljit.admin.people.mapping_form import MappingForm, find_choices, sent
from samljit.admin.people.problems import place_of, told_fault
from samljit.admin.people.section_edit import (
    PolicyEdit,
    RolesEdit,
    policy_edit_of,
    policy_of,
    repeated_values,
    roles_edit_of,
    roles_of,
    sent_policy,
    sent_roles,
)
from samljit.admin.people.trial import Trial, save_or_try
from samljit.errors import Problem
from samljit.mapping.document import object_at
from samljit.mapping.presets import PRESETS
from samljit.mapping.problems import path_to
from samljit.model import AdminAction, Match, RolesMissing, RoleSync
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

MATCHES = {
    Match.IDENTIFIER: (
        N_("Make a new account"),
        N_("Nobody is looked for. Where that would break something that must be unique, the sign-in is refused."),
    ),
    Match.EMAIL_LINK: (
        N_("Let them take over the account with their e-mail address"),
        N_("Once: an active account without special rights that nobody signs in to with Microsoft Entra yet, in a proved domain."),
    ),
    Match.EMAIL_DENY: (
        N_("Refuse, where there is an account with their e-mail address"),
        N_("Somebody who runs the app then ties the two together by hand."),
    ),
}
SYNCS = {
    RoleSync.AUTHORITATIVE: (
        N_("Entra decides"),
        N_("At every sign-in roles are given and taken away. Roles from elsewhere are left alone."),
    ),
    RoleSync.ADDITIVE: (N_("Entra only adds"), N_("Roles are given at every sign-in and never taken away.")),
    RoleSync.ON_CREATE: (N_("Only for new people"), N_("Roles are given once, with the account.")),
    RoleSync.OFF: (N_("Not now"), N_("What is said here is kept, and roles are left alone.")),
}
MISSINGS = {
    RolesMissing.REMOVE: (
        N_("Take the roles away"),
        N_("Entra sends no claim to somebody without a group or role. Done only once such a claim has come for your organisation."),
    ),
    RolesMissing.KEEP: (N_("Keep the roles"), N_("Whoever loses the last group or role in Entra keeps the roles here.")),
    RolesMissing.DENY: (N_("Refuse the sign-in"), N_("Nobody gets in without a group or role.")),
}
_NO_JSON = N_("This is not JSON.")
_NO_VALUE = N_("Enter the value of the claim, such as the object ID of a group.")
_TWICE = N_("This value stands in the list already.")
_PLACES = tuple(path_to(PLACE, key) for key in ("identity", "policy", "roles"))
_ROLE_CONTROLS = {
    "source": "role-0", "default": "default", "sync_mode": "role_sync", "on_missing": "role_missing", "on_overage": "role_overage",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AccountsEdit:
    """What the form holds."""

    match: str
    policy: PolicyEdit
    roles: RolesEdit


@admin_view(AdminAction.VIEW, sent=AdminAction.EDIT)
def accounts(visit: Visit) -> Response:
    """The rules as the draft has them; sent, they are saved in it, tried, or given back to whoever runs the app."""
    form, mapping = MappingForm(), mapping_of(visit)
    is_good = form.is_sent(visit)
    edit = _edit_of(mapping)
    if request.method != "POST":
        return _show(visit, form, mapping, edit)
    if sent("do") in ("restore-policy", "restore-roles"):
        changed: TenantMapping | None = mapping.without_section(sent("do").removeprefix("restore-"))
    else:
        edit = AccountsEdit(sent("match") or Match.IDENTIFIER, sent_policy(), sent_roles())
        if sent("do").startswith("more-"):
            return _show(visit, form, mapping, edit)
        changed = _change(mapping, edit, form)
    if changed is None:
        return _show(visit, form, mapping, edit)
    verdict = judge(visit, changed, places=_PLACES)
    for problem in verdict.faults:
        form.add_fault(_control(problem, edit), _told(problem), label=place_of(problem))
    answer = save_or_try(visit, form, changed, verdict, address=visit.url("accounts")) if is_good else None
    return answer if isinstance(answer, Response) else _show(visit, form, mapping, edit, trial=answer)


def _edit_of(mapping: TenantMapping) -> AccountsEdit:
    merged = mapping.merged
    match = str(object_at(merged, "identity").get("match", Match.IDENTIFIER))
    return AccountsEdit(match, policy_edit_of(merged.get("policy")), roles_edit_of(merged.get("roles")))


def _change(mapping: TenantMapping, edit: AccountsEdit, form: MappingForm) -> TenantMapping | None:
    """The mapping with what the form asks for; None, with errors in the form, where it cannot be read."""
    for row in repeated_values(edit.roles):
        form.add_fault(f"value-{row}", gettext(_TWICE))
    merged = mapping.merged
    changed: dict[str, Any] = {}
    try:
        changed["policy"] = policy_of(edit.policy, old=merged.get("policy"))
    except NotJson:
        form.add_fault("policy_raw", gettext(_NO_JSON))
    try:
        changed["roles"] = roles_of(edit.roles, old=merged.get("roles"))
    except NotJson:
        form.add_fault("roles_raw", gettext(_NO_JSON))
    if form.faults:
        return None
    mapping = mapping.with_identity(match=edit.match)
    for key, value in changed.items():
        mapping = _with_section(mapping, key, value)
    return mapping


def _with_section(mapping: TenantMapping, key: str, value: Any) -> TenantMapping:
    """With the section; None where nobody else has said anything is nothing to write down."""
    is_gone = value is None and mapping.usual.get(key) is None
    return mapping.without_section(key) if is_gone else mapping.with_section(key, value)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def _control(problem: Problem, edit: AccountsEdit) -> str:
    """The control at which a problem shows."""
    if is_at(problem, path_to(PLACE, "identity")) or problem.path == "$.domains":
        return "match"
    for section, raw, control in (("policy", edit.policy.raw, _policy_control), ("roles", edit.roles.raw, _role_control)):
        place = path_to(PLACE, section)
        if is_at(problem, place):
            return f"{section}_raw" if raw is not None else control(problem, place, edit)
    return "main"


def _policy_control(problem: Problem, place: str, edit: AccountsEdit) -> str:
    for row in range(len(edit.policy.require)):
        item = path_to(place, "require", row)
        if is_at(problem, item):
            return f"any_of-{row}" if is_at(problem, path_to(item, "any_of")) else f"require-{row}"
    return problem.path.removeprefix(f"{place}.").partition("[")[0] or "main"


def _role_control(problem: Problem, place: str, edit: AccountsEdit) -> str:
    for row, one in enumerate(edit.roles.rows):
        for key, control in (("map", "value"), ("notes", "note")):
            if is_at(problem, path_to(place, key, one.value)):
                return f"{control}-{row}"
    key = problem.path.removeprefix(f"{place}.").partition("[")[0]
    return _ROLE_CONTROLS.get(key, "value-0")


def _told(problem: Problem) -> str:
    is_key = problem.code == "invalid" and problem.path.startswith(path_to(PLACE, "roles", "map"))
    return gettext(_NO_VALUE) if is_key else told_fault(problem)


# --- the page ---------------------------------------------------------------------------------------------------------


def _show(visit: Visit, form: MappingForm, mapping: TenantMapping, edit: AccountsEdit, *, trial: Trial | None = None) -> Response:
    problems = check_mapping(visit, mapping)[1] if visit.stored else []
    more, grantable = sent("do"), mounted().shape.grantable_roles
    named = {*edit.roles.default, *(role for row in edit.roles.rows for role in row.roles)}
    return admin_page(
        visit,
        "accounts.html",
        section="accounts",
        form=form,
        edit=edit,
        matches=MATCHES,
        syncs=SYNCS,
        missings=MISSINGS,
        lacks=_find_lacks(visit, mapping),
        roles=sorted({*(grantable or ()), *named}),
        is_limited=grantable is not None,
        has_grantable=bool(grantable),
        require_rows=[*edit.policy.require, *[None] * (2 if more == "more-require" else 1)],
        role_rows=[*edit.roles.rows, *[None] * (3 if more == "more-value" else 1)],
        source_rows=[*edit.roles.sources, *[""] * (2 if more == "more-role" else 1)],
        choices=find_choices(visit),
        is_usual={key: key in mapping.usual and key not in mapping.own for key in ("policy", "roles")},
        can_restore={key: key in mapping.usual and key in mapping.own for key in ("policy", "roles")},
        faults=[(place_of(one), told_fault(one)) for one in problems if not one.is_warning and any(is_at(one, place) for place in _PLACES)],
        warnings=[told_fault(one) for one in problems if one.is_warning and is_at(one, path_to(PLACE, "roles"))],
        trial=trial,
        **rights(visit),
    )


def _find_lacks(visit: Visit, mapping: TenantMapping) -> dict[str, list[str]]:
    """Why some of it cannot be chosen: what the app was not told, or the tenant has not got, by the choice."""
    shape, tenant = mounted().shape, visit.tenant
    no_email = (
        (shape.email_field is None, N_("The app does not tell us which field holds the e-mail address.")),
        (shape.email_field is not None and shape.email_field not in mapping.fields, N_("No claim fills the field for the e-mail address.")),
    )
    no_owner = ((not shape.host_fills, N_("The app does not tell us whose users are whose.")),)
    no_rights = ((not shape.knows_privileged, N_("The app does not tell us who has special rights.")),)
    no_domain = ((not tenant.domains, N_("No domain has been proved to be yours yet.")),)
    no_active = ((shape.active_field is None, N_("The app does not tell us which users are active.")),)
    no_guests = ((not PRESETS[tenant.preset].names_directory, N_("Your identity provider does not say who is a guest.")),)
    wanted = {
        "email_link": (*no_email, *no_owner, *no_rights, *no_domain),
        "email_deny": (*no_email, *no_owner),
        "inactive": no_active,
        "guests": no_guests,
        "allowed_domains": no_email,
    }
    return {key: [gettext(text) for is_lacking, text in lacks if is_lacking] for key, lacks in wanted.items()}
