"""Checks the `roles` section of a mapping document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from samljit.errors import Problem
from samljit.mapping.aliases import ALIASES, claim_name
from samljit.mapping.document import RolesDocument
from samljit.mapping.problems import nearest_hint, path_to, shorten
from samljit.mapping.text import value_key
from samljit.model import RoleRules, RolesMissing, RoleSync


@dataclass(frozen=True, slots=True)
class _Section:
    """A section whose shape is right, and what it is held against."""

    document: RolesDocument
    path: str
    grantable: frozenset[str] | None

    def problem(self, key: str, code: str, message: str, hint: str, *, is_warning: bool = False) -> Problem:
        return Problem(path_to(self.path, key), code, message, hint, is_warning)


def compile_roles(
    document: RolesDocument, *, path: str, grantable: frozenset[str] | None, aliases: Mapping[str, str] = ALIASES
) -> tuple[RoleRules, list[Problem]]:
    """The rules of the section, and all that is wrong with it. `grantable` are the only roles it may name, None for any."""
    section = _Section(document, path, grantable)
    problems = [*_ungrantable(section), *_sourceless(section), *_sync_faults(section)]
    rules = RoleRules(
        sources=_names(document.source, aliases),
        map=_by_value(document.map),
        default=tuple(sorted(set(document.default))),
        sync_mode=document.sync_mode,
        on_missing=document.on_missing or RolesMissing.KEEP,
        on_overage=document.on_overage,
    )
    return rules, problems


def find_new_grants(document: Mapping[str, Any], *, known: tuple[Mapping[str, Any], ...], path: str) -> list[Problem]:
    """The roles that a mapping document gives for values for which none of the `known` documents gives them; `path` is its own.

    For those who may take roles away and not hand any out. Of a document that is out of shape nothing is found.
    """
    allowed = {(value, role) for one in known for value, role, _ in _grants(one)}
    message = "Nobody has said that this role may be granted from here."
    hint = "Whoever runs the app lists such roles in guards.grantable_roles."
    return [
        Problem(path_to(path, "roles", *place), "role_not_grantable", message, hint)
        for value, role, place in _grants(document)
        if (value, role) not in allowed
    ]


def _grants(document: Mapping[str, Any]) -> Iterator[tuple[str | None, str, tuple[str | int, ...]]]:
    """Each value with a role that it gives, and where that stands; the value is None for a default."""
    try:
        roles = RolesDocument.model_validate(document.get("roles") or {})
    except ValidationError:
        return
    for index, role in enumerate(roles.default):
        yield None, role, ("default", index)
    for value, given in roles.map.items():
        for index, role in enumerate(given):
            yield value_key(value), role, ("map", value, index)


def _names(source: str | list[str] | None, aliases: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(claim_name(name, aliases) for name in ([source] if isinstance(source, str) else source or []))


def _by_value(written: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """The roles by value; two spellings of one object id count together."""
    merged: dict[str, set[str]] = {}
    for value, roles in written.items():
        merged.setdefault(value_key(value), set()).update(roles)
    return {value: tuple(sorted(roles)) for value, roles in merged.items()}


def _ungrantable(section: _Section) -> Iterator[Problem]:
    if section.grantable is None:
        return
    named: list[tuple[tuple[str | int, ...], str]] = [(("default", index), role) for index, role in enumerate(section.document.default)]
    named += [(("map", value, index), role) for value, roles in section.document.map.items() for index, role in enumerate(roles)]
    for place, role in named:
        if role not in section.grantable:
            message = f'No mapping may grant "{shorten(role)}".'
            hint = nearest_hint(role, section.grantable) + " The list is guards.grantable_roles."
            yield Problem(path_to(section.path, *place), "role_not_grantable", message, hint)


def _sourceless(section: _Section) -> Iterator[Problem]:
    if section.document.map and section.document.source is None:
        yield section.problem("source", "missing", 'The key "source" is required.', 'For example "source": ["role", "groups"].')


def _sync_faults(section: _Section) -> Iterator[Problem]:
    document = section.document
    if document.sync_mode is not RoleSync.AUTHORITATIVE:
        if document.on_missing is RolesMissing.REMOVE:
            message = f'"remove" revokes, which the sync_mode {document.sync_mode} never does.'
            yield section.problem("on_missing", "remove_not_allowed", message, 'Write "keep", or "sync_mode": "authoritative".')
        return
    if not any(document.map.values()) and not document.default:
        message = "An authoritative section that grants nothing would take every role away that was ever granted."
        yield section.problem("map", "empty_authoritative", message, 'Fill in "map" or "default", or write "sync_mode": "off".')
    if document.source is not None and document.on_missing is None:
        message = 'The key "on_missing" is required: Entra sends no claim at all to somebody whose last role was taken away.'
        hint = 'Write "remove" to revoke then, "deny" to refuse, or "keep". For groups, configure the group claim in Entra first.'
        yield section.problem("on_missing", "missing", message, hint)
    if document.on_missing is RolesMissing.KEEP:
        message = "Whoever loses the last role or group in Entra keeps the roles here for ever, because the claim stays away then."
        yield section.problem("on_missing", "roles_never_revoked", message, 'Write "remove".', is_warning=True)
