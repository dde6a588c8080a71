"""Claims: which of them fill which fields of the user record, as the draft has it, and what nothing uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Response, abort, request

from samljit.admin.documents import NotJson, rewritten
from samljit.admin.field_edit import CONSTANT, JSON, FieldEdit, control_of, edit_of, rule_of, sent_edit
from samljit.admin.field_words import MODES, SEVERAL, ShownField, shown_field
from samljit.admin.frame import admin_page
from samljit.admin.mapping_form import (
    MappingForm,
    claims_of,
    find_choices,
    find_test,
    received_claims,
    sent,
    sent_claim,
)
from samljit.admin.mapping_words import STEPS
from samljit.admin.mappings import (
    FIELDS_PLACE,
    PLACE,
    Origin,
    TenantMapping,
    Verdict,
    check_mapping,
    find_columns,
    is_at,
    judge,
    mapping_of,
    object_at,
)
from samljit.admin.results import as_texts
from samljit.admin.told_mapping import told_fault
from samljit.admin.trial import Trial, save_or_try
from samljit.admin.visit import Visit, admin_view, see_other
from samljit.errors import Problem
from samljit.mapping.aliases import short_name
from samljit.mapping.presets import PRESETS
from samljit.mapping.problems import path_to
from samljit.mapping.uses import used_claims
from samljit.model import AdminAction, Match, NameId, SyncMode, Tenant, UserColumn
from samljit.provision.plan import plan_sign_in
from samljit.views.explained import aliases_of
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

IDENTITY: dict[str, Any] = {"source": None, "match": Match.IDENTIFIER}
_NOT_A_FIELD = N_("Choose one of the fields that claims may fill.")
_NO_JSON = N_("This is not JSON. Write a claim in double quotes, or an object such as {\"source\": \"givenname\"}.")
_IN_FIELD = N_("Field %(name)s")


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


@admin_view(AdminAction.VIEW)
def claims(visit: Visit) -> Response:
    """The whole mapping of fields; sent, by what people are known and when fields are written that do not say so themselves."""
    form, mapping = MappingForm(), mapping_of(visit)
    is_good = form.is_sent(visit)
    source = object_at(mapping.merged, "identity").get("source")
    edit = TopEdit(source if isinstance(source, str) else "", str(mapping.merged.get("sync_mode", SyncMode.ALWAYS)))
    if request.method != "POST":
        return _show_table(visit, form, mapping, edit=edit)
    visit.must(AdminAction.EDIT)
    edit = TopEdit(sent_claim("identity", 0), sent("sync_mode"))
    changed = _with_top(mapping, edit)
    verdict = judge(visit, changed, places=(_IDENTITY_PLACE, _MODE_PLACE))
    for problem in verdict.faults:
        control = next((name for place, name in _CONTROLS.items() if is_at(problem, place)), "main")
        form.add_fault(control, told_fault(problem), label=place_of(problem))
    answer = save_or_try(visit, form, changed, verdict, address=visit.url("claims")) if is_good else None
    return answer if isinstance(answer, Response) else _show_table(visit, form, mapping, edit=edit, trial=answer)


def _with_top(mapping: TenantMapping, edit: TopEdit) -> TenantMapping:
    old = object_at(mapping.merged, "identity")
    wanted = {**IDENTITY, **old, "source": edit.source or None}
    mapping = mapping.with_section("identity", rewritten(old, wanted, usual={**dict.fromkeys(wanted), **IDENTITY}))
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


def rights(visit: Visit) -> dict[str, Any]:
    stored = visit.stored
    may_edit = stored is not None and visit.may(AdminAction.EDIT)
    return {
        "may_edit": may_edit,
        "may_try": may_edit and visit.may(AdminAction.TEST),
        "has_test": bool(stored and stored.last_test and stored.last_test["claims"]),
        "has_draft": stored is not None and "mapping" in (stored.draft or {}),
    }


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


def place_of(problem: Problem) -> str:
    """The field that a problem is about, for those who stand elsewhere; "" for none."""
    place = problem.path.removeprefix(FIELDS_PLACE)
    if place == problem.path or not place:
        return ""
    return gettext(_IN_FIELD, name=place.lstrip(".").partition(".")[0].strip('["]'))


# --- one field --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """The field that is edited: "" until it has been chosen. `column` is None where no claim may fill it."""

    name: str
    is_new: bool
    column: UserColumn | None


@admin_view(AdminAction.VIEW)
def claims_field(visit: Visit) -> Response:
    """One field, named in the address, or one to be added; sent, it is saved, tried, taken out or put back."""
    form, mapping, columns = MappingForm(), mapping_of(visit), find_columns(visit)
    is_good = form.is_sent(visit)
    named = request.args.get("name")
    if named is not None and mapping.origin(named) is None and named not in columns:
        return see_other(visit.url("claims"))
    name = sent("field") if named is None else named
    target = _Target(name, named is None, columns.get(name))
    edit = edit_of(mapping.fields.get(name), target.column)
    if request.method != "POST":
        if named is None:
            visit.must(AdminAction.EDIT)
            edit = FieldEdit(sources=tuple(filter(None, [request.args.get("claim", "")])))
        return _show_field(visit, form, mapping, target, edit=edit)
    visit.must(AdminAction.EDIT)
    return _change_field(visit, form, mapping, target, is_good=is_good)


def _change_field(visit: Visit, form: MappingForm, mapping: TenantMapping, target: _Target, *, is_good: bool) -> Response:
    what, edit = sent("do"), sent_edit()
    if what.startswith("more-"):
        return _show_field(visit, form, mapping, target, edit=edit)
    if what in ("remove", "restore"):
        edit = edit_of(mapping.fields.get(target.name), target.column)
        changed = mapping.without_field(target.name) if what == "remove" else mapping.restored(target.name)
    elif target.column is None or (target.is_new and target.name in mapping.fields):
        is_other = target.column is None and (target.name in mapping.fields or not target.is_new)
        form.add_fault("field", told_fault(Problem("", "protected_target", "")) if is_other else gettext(_NOT_A_FIELD))
        return _show_field(visit, form, mapping, target, edit=edit)
    else:
        try:
            changed = mapping.with_field(target.name, rule_of(edit, target.column, old=mapping.fields.get(target.name)))
        except NotJson:
            form.add_fault("raw", gettext(_NO_JSON))
            return _show_field(visit, form, mapping, target, edit=edit)
    verdict = judge(visit, changed, places=(path_to(FIELDS_PLACE, target.name),))
    _place_faults(form, verdict, target, edit=edit)
    answer = save_or_try(visit, form, changed, verdict, address=visit.url("claims")) if is_good else None
    return answer if isinstance(answer, Response) else _show_field(visit, form, mapping, target, edit=edit, trial=answer)


def _place_faults(form: MappingForm, verdict: Verdict, target: _Target, *, edit: FieldEdit) -> None:
    place = path_to(FIELDS_PLACE, target.name)
    for problem in verdict.faults:
        if is_at(problem, place):
            form.add_fault(control_of(problem.path.removeprefix(place), edit), told_fault(problem))
        else:
            form.add_fault("main", told_fault(problem), label=place_of(problem))


def _show_field(
    visit: Visit, form: MappingForm, mapping: TenantMapping, target: _Target, *, edit: FieldEdit, trial: Trial | None = None
) -> Response:
    if not target.is_new and target.name == "" and mapping.origin("") is None:
        abort(404)
    more, column = sent("do"), target.column
    test = find_test(visit)
    return admin_page(
        visit,
        "claims_field.html",
        section="claims",
        form=form,
        target=target,
        column=column,
        edit=edit,
        origin=None if target.is_new else mapping.origin(target.name),
        usual_raw=edit_of(object_at(mapping.usual, "fields").get(target.name), column).raw,
        targets=[name for name in find_columns(visit) if name not in mapping.fields],
        choices=find_choices(visit),
        source_rows=[*edit.sources, *[""] * (2 if more == "more-source" else 1)],
        step_rows=[*edit.steps, *[None] * (2 if more == "more-step" else 1)],
        steps=STEPS,
        own_steps=sorted({*mounted().transforms, *(step.kind for step in edit.steps)} - {*STEPS, "{split}", "{map}"}),
        several=SEVERAL,
        modes=MODES,
        mode=str(mapping.merged.get("sync_mode", SyncMode.ALWAYS)),
        received={short_name(name, aliases_of(visit.tenant)): values for name, values in claims_of(test).items()} if test else {},
        is_json_only=edit.way == JSON and request.method != "POST",
        is_constant=edit.way == CONSTANT,
        trial=trial,
        **rights(visit),
    )
