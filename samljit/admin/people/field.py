"""One field of the mapping, on a page of its own: what fills it, the steps, when it is written, and what happens without a claim."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, request

from samljit.admin.frame.page import admin_page
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.admin.people.documents import NotJson
from samljit.admin.people.field_edit import FieldEdit, control_of, edit_of, rule_of, sent_edit
from samljit.admin.people.field_words import MODES
from samljit.admin.people.mapping import FIELDS_PLACE, TenantMapping, Verdict, find_columns, is_at, judge, mapping_of, rights
from samljit.admin.people.mapping_form import MappingForm, claims_of, find_choices, find_test, sent
from samljit.admin.people.problems import place_of, told_fault
from samljit.admin.people.rule_words import SEVERAL, STEPS
from samljit.admin.people.trial import Trial, save_or_try
from samljit.errors import Problem
from samljit.mapping.aliases import short_name
from samljit.mapping.document import object_at
from samljit.mapping.problems import path_to
from samljit.model import AdminAction, SyncMode, UserColumn
from samljit.views.explained import aliases_of
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

_NOT_A_FIELD = N_("Choose one of the fields that claims may fill.")
_NO_JSON = N_("This is not JSON. Write a claim in double quotes, or an object such as {\"source\": \"givenname\"}.")


@dataclass(frozen=True, slots=True)
class _Target:
    """The field that is edited: "" until it has been chosen. `column` is None where no claim may fill it."""

    name: str
    is_new: bool
    column: UserColumn | None


@admin_view(AdminAction.VIEW, sent=AdminAction.EDIT)
def claims_field(visit: Visit) -> Response:
    """One field, named in the address, or one to be added; sent, it is saved, tried, taken out or put back."""
    named = request.args.get("name")
    if named is None:
        visit.must(AdminAction.EDIT)
    form, mapping, columns = MappingForm(), mapping_of(visit), find_columns(visit)
    is_good = form.is_sent(visit)
    if named is not None and mapping.origin(named) is None and named not in columns:
        return see_other(visit.url("claims"))
    name = sent("field") if named is None else named
    target = _Target(name, named is None, columns.get(name))
    edit = edit_of(mapping.fields.get(name), target.column)
    if request.method != "POST":
        if named is None:
            edit = FieldEdit(sources=tuple(filter(None, [request.args.get("claim", "")])))
        return _show_field(visit, form, mapping, target, edit=edit)
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
        trial=trial,
        **rights(visit),
    )
