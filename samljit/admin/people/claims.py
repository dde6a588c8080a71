"""Claims: which of them fill which fields of the user record, as the draft has it, and what nothing uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Response, request

from samljit.admin.frame.page import admin_page
from samljit.admin.frame.results import as_texts
from samljit.admin.frame.visit import Visit, admin_view
from samljit.admin.people.field_words import MODES, ShownField, shown_field
from samljit.admin.people.mapping import (
    FIELDS_PLACE,
    PLACE,
    Origin,
    TenantMapping,
    check_mapping,
    find_columns,
    is_at,
    judge,
    mapping_of,
    rights,
)
from samljit.admin.people.mapping_form import (
    MappingForm,
    find_choices,
    find_test,
    received_claims,
    sent,
    sent_claim,
)
from samljit.admin.people.problems import place_of, told_fault
from samljit.admin.people.trial import Trial, save_or_try
from samljit.errors import Problem
from samljit.mapping.aliases import short_name
from samljit.mapping.document import object_at
from samljit.mapping.presets import PRESETS
from samljit.mapping.problems import path_to
from samljit.mapping.uses import used_claims
from samljit.model import AdminAction, Match, NameId, SyncMode, Tenant
from samljit.provision.plan import plan_sign_in
from samljit.views.mounted import mounted

_IDENTITY_PLACE, _MODE_PLACE = path_to(PLACE, "identity"), path_to(PLACE, "sync_mode")
_CONTROLS = {_IDENTITY_PLACE: "identity-0", _MODE_PLACE: "sync_mode"}


@dataclass(frozen=True, slots=True)
class TopEdit:
    """What the form above the fields says."""

    source: str
    sync_mode: str


@dataclass(frozen=True, slots=True)
class Unused:
    """A claim that comes and nothing uses."""

    name: str
    full_name: str
    values: tuple[str, ...] = field(repr=False)


# --- the table --------------------------------------------------------------------------------------------------------


@admin_view(AdminAction.VIEW, sent=AdminAction.EDIT)
def claims(visit: Visit) -> Response:
    """The whole mapping of fields; sent, by what people are known and when fields are written that do not say so themselves."""
    form, mapping = MappingForm(), mapping_of(visit)
    is_good = form.is_sent(visit)
    source = object_at(mapping.merged, "identity").get("source")
    edit = TopEdit(source if isinstance(source, str) else "", str(mapping.merged.get("sync_mode", SyncMode.ALWAYS)))
    if request.method != "POST":
        return _show_table(visit, form, mapping, edit=edit)
    edit = TopEdit(sent_claim("identity", 0), sent("sync_mode"))
    changed = _with_top(mapping, edit)
    verdict = judge(visit, changed, places=(_IDENTITY_PLACE, _MODE_PLACE))
    for problem in verdict.faults:
        control = next((name for place, name in _CONTROLS.items() if is_at(problem, place)), "main")
        form.add_fault(control, told_fault(problem), label=place_of(problem))
    answer = save_or_try(visit, form, changed, verdict, address=visit.url("claims")) if is_good else None
    return answer if isinstance(answer, Response) else _show_table(visit, form, mapping, edit=edit, trial=answer)


def _with_top(mapping: TenantMapping, edit: TopEdit) -> TenantMapping:
    mapping = mapping.with_identity(source=edit.source or None)
    if edit.sync_mode == mapping.merged.get("sync_mode", SyncMode.ALWAYS):
        return mapping
    is_usual = edit.sync_mode == mapping.usual.get("sync_mode", SyncMode.ALWAYS)
    return mapping.without_section("sync_mode") if is_usual else mapping.with_section("sync_mode", edit.sync_mode)


def _show_table(
    visit: Visit, form: MappingForm, mapping: TenantMapping, *, edit: TopEdit, trial: Trial | None = None
) -> Response:
    tenant, problems = check_mapping(visit, mapping) if visit.stored else (visit.tenant, [])
    preset, test = PRESETS[visit.tenant.preset], find_test(visit)
    used, received = used_claims(mapping.merged, preset), received_claims(visit)
    rest = [Unused(short_name(name, preset.aliases), name, values) for name, values in received.items() if name not in used]
    return admin_page(
        visit,
        "claims.html",
        section="claims",
        form=form,
        fields=list(_shown_fields(visit, mapping, tenant, problems)),
        faults=[(place_of(one), told_fault(one)) for one in problems if not one.is_warning and not is_at(one, FIELDS_PLACE)],
        warnings=[told_fault(one) for one in problems if one.is_warning and is_at(one, _IDENTITY_PLACE)],
        unused=sorted(rest, key=lambda one: one.name.lower()),
        has_received=bool(visit.stored and (visit.stored.last_test or visit.tenant.claims_seen)),
        is_shown_values=test is not None,
        tested_at=test.at if test else None,
        open_fields=[name for name in find_columns(visit) if name not in mapping.fields],
        edit=edit,
        choices=find_choices(visit),
        usual_identity=short_name(preset.identity_source, preset.aliases),
        match=str(object_at(mapping.merged, "identity").get("match", Match.IDENTIFIER)),
        modes=MODES,
        trial=trial,
        **rights(visit),
    )


def _shown_fields(visit: Visit, mapping: TenantMapping, tenant: Tenant | None, problems: list[Problem]) -> list[ShownField]:
    mode = str(mapping.merged.get("sync_mode", SyncMode.ALWAYS))
    last = _last_values(visit, tenant)
    shown = []
    for name in {**object_at(mapping.usual, "fields"), **object_at(mapping.own, "fields")}:
        origin = mapping.origin(name) or Origin.OWN
        place = path_to(FIELDS_PLACE, name)
        faults = tuple(dict.fromkeys(told_fault(one) for one in problems if not one.is_warning and is_at(one, place)))
        rule = mapping.fields.get(name)
        shown.append(shown_field(name, rule, origin=origin, mode=mode, last=None if last is None else last.get(name, ()), faults=faults))
    return shown


def _last_values(visit: Visit, tenant: Tenant | None) -> dict[str, tuple[str, ...]] | None:
    """What the claims of the last test would give each field of somebody new, by this mapping; None where nobody is to see that."""
    test = find_test(visit)
    if test is None or tenant is None or not test.claims:
        return None
    name_id = test.name_id or NameId("")
    plan = plan_sign_in(test.claims, name_id=name_id, mapping=tenant.mapping, shape=mounted().shape, user=None)
    return {one.field: as_texts(one.new) for one in plan.decisions}
