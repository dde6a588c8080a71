"""Checks a mapping document against the host's columns and makes of it the rules that sign-ins are planned with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from samljit.errors import Problem
from samljit.mapping.aliases import ALIASES, NAME_ID, claim_name
from samljit.mapping.document import (
    FieldDocument,
    IdentityDocument,
    MappingDocument,
    PolicyDocument,
    RolesDocument,
    StepDocument,
)
from samljit.mapping.policy import check_match, compile_policy
from samljit.mapping.presets import PRESETS, Preset
from samljit.mapping.problems import nearest_hint, path_to, problems_of, shorten
from samljit.mapping.roles import compile_roles
from samljit.mapping.transforms import NAMED, look_up, split_at
from samljit.mapping.values import Misfit, can_hold, fit_constant
from samljit.model import (
    FieldRule,
    Guests,
    MappingRules,
    Match,
    Multi,
    OnMissing,
    Policy,
    RoleRules,
    SyncMode,
    Transform,
    UserColumn,
    UserShape,
    ValueType,
)

# People get a new address, a new login name, a new name: whoever is known by these is somebody else one day
# (Entra: migrate-off-email-claim-authorization). The bare names are those of B2C policies and hand-made claims.
_MUTABLE = ("emailaddress", "name", "upn", "displayname", "givenname", "surname")
_MUTABLE_BARE = frozenset(
    {"email", "emailaddress", "mail", "name", "upn", "userprincipalname", "displayname", "givenname", "surname", "preferred_username"}
    | {"username", "login", "firstname", "lastname"}
)
# of these many people have the same value: each would sign in as all the others
_SHARED = ("tenantid", "identityprovider", "acct", "authnmethodsreferences", "groups", "groups.link", "groupsid", "role", "wids")
_SHARED_BARE = frozenset({*_SHARED, "tid", "group", "member", "memberof", "roles"})

_TEMPLATE_TOKEN = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])|(?P<text>[^{}]+)")


class BadTemplate(ValueError):
    """A template that cannot be read. `str()` says why."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every check of one document needs."""

    shape: UserShape
    path: str
    transforms: Mapping[str, Transform]
    sync_mode: SyncMode
    preset: Preset

    def claim(self, name: str) -> str:
        return claim_name(name, self.preset.aliases)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One field's entry whose shape is right, with the column that it is for."""

    field: FieldDocument
    column: UserColumn
    path: str
    scene: _Scene

    @property
    def type(self) -> ValueType:
        return self.field.type or self.column.type or ValueType.STRING

    @property
    def is_email(self) -> bool:
        return self.column.name == self.scene.shape.email_field

    @property
    def sync_mode(self) -> SyncMode:
        return self.field.sync_mode or self.scene.sync_mode

    def problem(self, key: str, code: str, message: str, hint: str, *, item: int | None = None) -> Problem:
        path = path_to(self.path, key) if key else self.path
        return Problem(path if item is None else path_to(path, item), code, message, hint)


def compile_mapping(
    document: Mapping[str, Any],
    *,
    shape: UserShape,
    path: str,
    transforms: Mapping[str, Transform] | None = None,
    preset: Preset = PRESETS["entra"],
) -> tuple[MappingRules | None, list[Problem]]:
    """The rules of a mapping document (defaults already merged in), and all that is wrong with it at once.

    `path` is the document's own JSON path. `transforms` are functions of the host's that documents may name; they never replace
    the built-in ones. `preset` is the kind of IdP whose claims are named. Roles are held against the shape's `grantable_roles`. The
    rules are None where any of the problems is more than a warning.
    """
    problems: list[Problem] = []
    try:
        MappingDocument.model_validate(dict(document))
    except ValidationError as error:
        problems += problems_of(error, prefix=path, known=MappingDocument)
    scene = _Scene(shape, path, {**(transforms or {}), **NAMED}, _sync_mode(document), preset)
    rules: list[FieldRule] = []
    written = document.get("fields")
    entries = written if isinstance(written, Mapping) else {}
    for target, entry in entries.items():
        rule, found = _compile_entry(str(target), entry, scene=scene)
        problems += found
        rules += [rule] if rule else []
    problems += _unfilled_columns(frozenset(map(str, entries)), scene=scene)
    # a field with a fault counts as filled: one thing wrong is one problem
    filled = frozenset(map(str, entries)) - {rule.target for rule in rules if rule.has_value}
    source, match, found = _compile_identity(document.get("identity"), scene=scene, filled=filled)
    problems += found
    roles, found = _compile_roles(document.get("roles"), scene=scene)
    problems += found
    policy, found = _compile_policy(document.get("policy"), scene=scene, filled=filled)
    problems += found
    if any(not problem.is_warning for problem in problems):
        return None, problems
    return MappingRules(identity_source=source, fields=tuple(rules), match=match, roles=roles, policy=policy), problems


def parse_template(text: str, aliases: Mapping[str, str] = ALIASES) -> tuple[tuple[str, str | None], ...]:
    """The pieces of a template: each a literal text and the full name of the claim after it, None at the end.

    `{{` and `}}` stand for braces. Raises: BadTemplate.
    """
    parts: list[tuple[str, str | None]] = []
    literal = ""
    for token in _TEMPLATE_TOKEN.finditer(text):
        if token["stray"]:
            raise BadTemplate(f"The brace at character {token.start() + 1} has no partner.")
        if token["name"] is None:
            literal += token["text"] or token["brace"][0]
            continue
        if not token["name"].strip():
            raise BadTemplate(f"The braces at character {token.start() + 1} name no claim.")
        parts.append((literal, claim_name(token["name"].strip(), aliases)))
        literal = ""
    if not parts:
        raise BadTemplate("No claim stands in it.")
    return (*parts, (literal, None)) if literal else tuple(parts)


def _sync_mode(document: Mapping[str, Any]) -> SyncMode:
    written = document.get("sync_mode", SyncMode.ALWAYS)
    return SyncMode(written) if written in list(SyncMode) else SyncMode.ALWAYS


def _compile_identity(section: Any, *, scene: _Scene, filled: frozenset[str]) -> tuple[str, Match, list[Problem]]:
    path = path_to(scene.path, "identity")
    try:
        identity = IdentityDocument.model_validate({} if section is None else section)
    except ValidationError:
        return "", Match.IDENTIFIER, []  # reported with the whole document
    source = scene.preset.identity_source if identity.source is None else scene.claim(identity.source)
    problems = check_match(identity.match, path=path_to(path, "match"), shape=scene.shape, filled=filled)
    mutable = {scene.claim(name) for name in _MUTABLE}
    shared = {name for short in _SHARED for name in (scene.claim(short), ALIASES.get(short))}
    if source in shared or source.casefold() in _SHARED_BARE:
        message = "Many people have the same value of this claim, and would all be one user."
        problems.append(Problem(path_to(path, "source"), "shared_identity", message, scene.preset.stable_identity))
    elif source == NAME_ID or source in mutable or source.casefold() in _MUTABLE_BARE:
        what = "A NameID that is an address or a login name" if source == NAME_ID else "This claim"
        message = f"{what} can change, and can be given to somebody else, who then signs in as the first person."
        problems.append(Problem(path_to(path, "source"), "mutable_identity", message, scene.preset.stable_identity, is_warning=True))
    elif identity.source in ALIASES and identity.source not in scene.preset.aliases:
        message = f'"{identity.source}" is short for a claim of Entra\'s; {scene.preset.product} has none that is called so.'
        hint = f"{scene.preset.stable_identity} A claim that is really called so is written with = before its name."
        problems.append(Problem(path_to(path, "source"), "alias_unknown", message, hint, is_warning=True))
    return source, identity.match, problems


def _compile_roles(section: Any, *, scene: _Scene) -> tuple[RoleRules | None, list[Problem]]:
    if section is None:
        return None, []
    try:
        document = RolesDocument.model_validate(section)
    except ValidationError:
        return None, []  # reported with the whole document
    path, aliases = path_to(scene.path, "roles"), scene.preset.aliases
    return compile_roles(document, path=path, grantable=scene.shape.grantable_roles, aliases=aliases)


def _compile_policy(section: Any, *, scene: _Scene, filled: frozenset[str]) -> tuple[Policy, list[Problem]]:
    try:
        document = PolicyDocument.model_validate({} if section is None else section)
    except ValidationError:
        return Policy(), []  # reported with the whole document
    path, preset = path_to(scene.path, "policy"), scene.preset
    policy, problems = compile_policy(document, path=path, shape=scene.shape, filled=filled, aliases=preset.aliases)
    if policy.guests is Guests.DENY and not preset.names_directory:
        message = f"{preset.product} does not say who is a guest: nobody would be refused."
        hint = 'Write a policy of the tenant\'s own without it; "require" can ask for a group.'
        problems.append(Problem(path_to(path, "guests"), "guests_unknown", message, hint))
    return policy, problems


def _compile_entry(target: str, entry: Any, *, scene: _Scene) -> tuple[FieldRule | None, list[Problem]]:
    path = path_to(scene.path, "fields", target)
    if entry is None:
        message = f'There is no inherited "{shorten(target)}" to drop.'
        return None, [Problem(path, "unknown_target", message, "Leave it out.", is_warning=True)]
    problem = _target_problem(target, path=path, shape=scene.shape)
    if problem:
        return None, [problem]
    try:
        field = FieldDocument.model_validate({"source": entry} if isinstance(entry, str) else entry)
    except ValidationError:
        return None, []  # reported with the whole document
    one = _Entry(field, scene.shape.columns[target], path, scene)
    problems = [problem for check in _CHECKS for problem in check(one)]
    return (_rule_of(one) if all(problem.is_warning for problem in problems) else None), problems


def _target_problem(target: str, *, path: str, shape: UserShape) -> Problem | None:
    open_columns = {name: column for name, column in shape.columns.items() if name not in shape.protected and column.type}
    if target in shape.protected:
        hint = "Leave it out: keys, passwords, the active flag, the tenant and guards.protected_fields are never filled from claims."
        return Problem(path, "protected_target", f'"{shorten(target)}" is protected.', hint)
    if target not in shape.columns:
        return Problem(path, "unknown_target", f'The user record has no column "{shorten(target)}".', nearest_hint(target, open_columns))
    if target not in open_columns:
        message = f'The column "{target}" is of a type that claims cannot fill.'
        return Problem(path, "unknown_target", message, nearest_hint("", open_columns))
    return None


def _check_origin(one: _Entry) -> Iterator[Problem]:
    origins = [key for key in ("source", "template", "value") if getattr(one.field, key) is not None]
    if not origins or one.field.source == []:
        yield one.problem("", "source_conflict", "Nothing says where the value comes from.", 'Write a "source", a "template" or a "value".')
    if len(origins) > 1:
        named = " and ".join(f'"{key}"' for key in origins)
        yield one.problem("", "source_conflict", f"{named} cannot stand together.", "Keep one of them.")
    if origins == ["value"]:
        idle = {"transform", "multi", "separator", "required", "default", "on_missing"} & one.field.model_fields_set
        for key in sorted(idle):
            yield one.problem(key, "source_conflict", f'"{key}" does nothing with a constant.', "Leave it out.")


def _check_template(one: _Entry) -> Iterator[Problem]:
    if one.field.template is not None:
        try:
            parse_template(one.field.template)
        except BadTemplate as error:
            yield one.problem("template", "bad_template", str(error), 'For example "{givenname} {surname}"; "{{" stands for a brace.')


def _check_transforms(one: _Entry) -> Iterator[Problem]:
    for index, step in enumerate(one.field.transform):
        if isinstance(step, str) and step not in one.scene.transforms:
            known = [*one.scene.transforms, "split", "map"]
            hint = f'Write {{"{step}": ...}}.' if step in ("split", "map") else nearest_hint(step, known)
            yield one.problem("transform", "unknown_transform", f'There is no transform "{shorten(step)}".', hint, item=index)


def _check_type(one: _Entry) -> Iterator[Problem]:
    if not can_hold(one.column, one.type):
        message = f"The column holds {one.column.type}, which takes no {one.type}."
        yield one.problem("type", "type_mismatch", message, 'Leave "type" out to take the column\'s own.')
    if one.field.multi is Multi.ALL and one.type is not ValueType.LIST:
        hint = 'Write "multi": "join" to make one text of them.'
        yield one.problem("multi", "multi_mismatch", '"all" needs a list or JSON column.', hint)
    if one.field.separator is not None and one.field.multi is not Multi.JOIN:
        yield one.problem("separator", "multi_mismatch", "Only \"join\" reads the separator.", 'Write "multi": "join", or leave it out.')


def _check_constants(one: _Entry) -> Iterator[Problem]:
    if not can_hold(one.column, one.type):
        return
    for key, code in (("value", "value_type"), ("default", "default_type")):
        constant = getattr(one.field, key)
        if constant is None:
            continue
        try:
            fit_constant(constant, type_=one.type, column=one.column, is_email=one.is_email)
        except Misfit as misfit:
            yield one.problem(key, code, f"The {key} {misfit}.", "")
    if one.field.default is not None and one.field.required:
        message = '"default" is never taken where the field is "required".'
        yield replace(one.problem("default", "default_unused", message, "Leave one of them out."), is_warning=True)


def _check_clear(one: _Entry) -> Iterator[Problem]:
    if one.field.on_missing is not OnMissing.CLEAR:
        return
    obstacles = (
        (one.field.required, "a required field"),
        (one.column.unique, "a unique column"),
        (not one.column.nullable, "a column that may not be null"),
        (one.sync_mode is not SyncMode.ALWAYS, f"a field with the sync_mode {one.sync_mode}"),
    )
    for applies, what in obstacles:
        if applies:
            yield one.problem("on_missing", "clear_not_allowed", f'"clear" is not possible for {what}.', 'Write "keep".')


_CHECKS: tuple[Callable[[_Entry], Iterator[Problem]], ...] = (
    _check_origin,
    _check_template,
    _check_transforms,
    _check_type,
    _check_constants,
    _check_clear,
)


def _rule_of(one: _Entry) -> FieldRule:
    field = one.field
    sources = [field.source] if isinstance(field.source, str) else field.source or []
    separator = ", " if field.separator is None else field.separator
    return FieldRule(
        target=one.column.name,
        type=one.type,
        sources=tuple(map(one.scene.claim, sources)),
        template_parts=parse_template(field.template, one.scene.preset.aliases) if field.template is not None else (),
        value=_constant(one, field.value),
        has_value=field.value is not None,
        transforms=tuple(_transform(step, one.scene) for step in field.transform),
        multi=field.multi,
        separator=separator,
        required=field.required,
        default=_constant(one, field.default),
        has_default=field.default is not None,
        sync_mode=one.sync_mode,
        on_missing=field.on_missing,
    )


def _constant(one: _Entry, written: str | bool | int | list[str] | None) -> Any:
    if written is None:
        return None
    return fit_constant(written, type_=one.type, column=one.column, is_email=one.is_email)


def _transform(step: str | StepDocument, scene: _Scene) -> Transform:
    if isinstance(step, str):
        return scene.transforms[step]
    return split_at(step.split) if step.split is not None else look_up(step.map or {})


def _unfilled_columns(targets: frozenset[str], *, scene: _Scene) -> Iterator[Problem]:
    if scene.shape.host_fills:
        return  # which columns the host fills is only known once there is a tenant
    for name, column in scene.shape.columns.items():
        if column.nullable or column.has_default or name in targets:
            continue
        message = f'The column "{name}" may not be null and nothing fills it.'
        hint = "Give the column a default."
        if name not in scene.shape.protected:
            hint = f'Add "{name}" to the fields, or give the column a default.'
        yield Problem(path_to(scene.path, "fields"), "unfilled_column", message, hint)
