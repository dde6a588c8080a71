"""The mapping of a tenant as its draft has it: what every tenant of the app has, what this one says itself, and how a change is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from flask import Response

from samljit.admin.frame.page import done
from samljit.admin.frame.visit import Visit
from samljit.admin.people.documents import rewritten
from samljit.admin.people.mapping_form import MappingForm
from samljit.errors import Problem, ProvisioningRefused
from samljit.mapping.document import merge_documents, object_at
from samljit.mapping.problems import path_to
from samljit.model import AdminAction, Match, Tenant, UserColumn
from samljit.sql.stored import StaleEdit
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

PLACE = "$.mapping"
FIELDS_PLACE = path_to(PLACE, "fields")

_IDENTITY: Mapping[str, Any] = {"source": None, "match": Match.IDENTIFIER}

_SAVED = N_("Saved in the draft. Nobody signs in differently yet: try it with a test sign-in first, then make it live.")
_SAME = N_("Nothing was changed.")


class Origin(StrEnum):
    """Where the rule of a field comes from."""

    OWN = "own"
    USUAL = "usual"  # every tenant of the app has it
    CHANGED = "changed"  # the tenant's own, in place of a usual one
    DROPPED = "dropped"  # a usual one that the tenant does without


@dataclass(frozen=True, slots=True)
class TenantMapping:
    """`usual` is the document of the settings for every tenant, `own` what the tenant lays over it. Neither needs to be valid."""

    usual: Mapping[str, Any]
    own: Mapping[str, Any]

    @property
    def merged(self) -> dict[str, Any]:
        return merge_documents(self.usual, self.own)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The rules in effect, by target."""
        return object_at(self.merged, "fields")

    def origin(self, target: str) -> Origin | None:
        own, usual = object_at(self.own, "fields"), object_at(self.usual, "fields")
        if target in own:
            if target not in usual:
                return Origin.OWN
            return Origin.CHANGED if own[target] is not None else Origin.DROPPED
        return Origin.USUAL if target in usual else None

    def with_field(self, target: str, rule: Any) -> TenantMapping:
        """With this rule; one that the field has already is not written down once more."""
        if rule is not None and target in self.fields and self.fields[target] == rule:
            return self
        return self._with_fields({**object_at(self.own, "fields"), target: rule})

    def without_field(self, target: str) -> TenantMapping:
        """With nothing that fills the field, whoever has said so."""
        if target in object_at(self.usual, "fields"):
            return self.with_field(target, None)
        return self.restored(target)

    def restored(self, target: str) -> TenantMapping:
        """With what every tenant has."""
        return self._with_fields({name: rule for name, rule in object_at(self.own, "fields").items() if name != target})

    def with_section(self, key: str, value: Any) -> TenantMapping:
        """With this section, sync_mode or identity; one that is in effect already, or says nothing, is not written down."""
        if self.merged.get(key) == value:
            return self
        is_idle = value == {} and key not in self.usual and key != "roles"  # roles that say nothing would take every role away
        return self.without_section(key) if is_idle else replace(self, own={**self.own, key: value})

    def with_identity(self, **changes: Any) -> TenantMapping:
        """With these keys of the section `identity`; what goes without saying is not written down."""
        old = object_at(self.merged, "identity")
        wanted = {**_IDENTITY, **old, **changes}
        return self.with_section("identity", rewritten(old, wanted, usual={**dict.fromkeys(wanted), **_IDENTITY}))

    def without_section(self, key: str) -> TenantMapping:
        """With what every tenant has in its place."""
        return replace(self, own={name: value for name, value in self.own.items() if name != key})

    def _with_fields(self, fields: Mapping[str, Any]) -> TenantMapping:
        own = {key: value for key, value in self.own.items() if key != "fields"}
        return replace(self, own={**own, "fields": fields} if fields else own)


def mapping_of(visit: Visit) -> TenantMapping:
    """The mapping as the draft has it; of a tenant of the settings, as it is."""
    settings = mounted().settings
    own = settings.tenants[visit.tenant.slug].mapping if visit.stored is None else visit.stored.drafted.get("mapping")
    return TenantMapping(settings.mapping, own if isinstance(own, Mapping) else {})


def rights(visit: Visit) -> dict[str, Any]:
    """What the visitor may do about the mapping, and what there is of it, for the templates."""
    stored = visit.stored
    may_edit = stored is not None and visit.may(AdminAction.EDIT)
    return {
        "may_edit": may_edit,
        "may_try": may_edit and visit.may(AdminAction.TEST),
        "has_test": bool(stored and stored.last_test and stored.last_test["claims"]),
        "has_draft": stored is not None and "mapping" in (stored.draft or {}),
    }


def find_columns(visit: Visit) -> dict[str, UserColumn]:
    """The columns of the user record that a rule may fill, by name; none while the app cannot say which of them name the tenant."""
    try:
        shape = mounted().shape_for(visit.tenant)
    except ProvisioningRefused:
        return {}
    return {name: column for name, column in shape.columns.items() if column.type is not None and name not in shape.protected}


def check_mapping(visit: Visit, mapping: TenantMapping) -> tuple[Tenant | None, list[Problem]]:
    """The tenant as it would be with this mapping in its draft, not connected; and all that is wrong with the mapping, or for its sake."""
    stored = visit.get_stored()
    draft = {**(stored.draft or {}), "mapping": mapping.own, "idp": None}
    tenant, problems = mounted().directory.find_drafted(stored, draft=draft, now=visit.now)
    columns, known = find_columns(visit), {problem.path for problem in problems}
    for target, rule in mapping.fields.items():
        place = path_to(FIELDS_PLACE, target)
        if rule is not None and target not in columns and place not in known:  # it names the tenant
            problems = [*problems, Problem(place, "protected_target", "This column is never filled from claims.", "Leave it out.")]
    is_good = not any(problem.code == "protected_target" for problem in problems)
    return (tenant if is_good else None), problems


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a changed mapping. `tenant` is the one that it would make, None where there could be none, for whatever
    reason; `faults` are those that stand against saving it, `problems` all there are."""

    tenant: Tenant | None
    faults: list[Problem]
    problems: list[Problem]


def judge(visit: Visit, mapping: TenantMapping, *, places: tuple[str, ...]) -> Verdict:
    """What stands against saving a mapping is all that is wrong at the places that were edited, and elsewhere what was not wrong before."""
    before = {(one.path, one.code) for one in check_mapping(visit, mapping_of(visit))[1]}
    tenant, problems = check_mapping(visit, mapping)
    wrong = [one for one in problems if not one.is_warning]
    here = [one for one in wrong if any(is_at(one, place) for place in places) or (one.path, one.code) not in before]
    return Verdict(tenant, here, wrong)


def is_at(problem: Problem, place: str) -> bool:
    """Whether the problem lies at this place of the document, or below it."""
    return problem.path == place or problem.path.startswith((f"{place}.", f"{place}["))


def save_mapping(visit: Visit, form: MappingForm, mapping: TenantMapping, *, address: str) -> Response | None:
    """Saves the mapping in the draft, whose other keys stay; None, and the form says so, where somebody else was faster."""
    stored, rows = visit.get_stored(), mounted().directory.rows
    draft = {**(stored.draft or {}), "mapping": mapping.own}
    if mapping.own == (stored.live.get("mapping") or {}):
        del draft["mapping"]
    if draft == (stored.draft or {}):
        return done(address, gettext(_SAME))
    try:
        rows.save_draft(stored, draft or None, author=visit.author)
    except StaleEdit:
        form.show_changes(rows.get_stored(stored.slug))
        return None
    return done(address, gettext(_SAVED))
