"""The sections `policy` and `roles` of a mapping as their form shows them, and back. One that it cannot show is edited as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import request

from samljit.admin.people.documents import completed, is_same, read_json, rewritten, write_json
from samljit.admin.people.mapping_form import sent, sent_claims, sent_lines, sent_rows
from samljit.mapping.text import clean
from samljit.mapping.uses import names_in
from samljit.model import Guests, Overage, RoleSync, UserState

_POLICY: Mapping[str, Any] = {
    "create_users": True, "update_users": True, "allowed_domains": None, "require": [], "guests": Guests.ALLOW,
    "new_user_state": UserState.ACTIVE, "max_users": None,
}  # fmt: skip
_ROLES: Mapping[str, Any] = {
    "source": None, "map": {}, "notes": {}, "default": [], "sync_mode": RoleSync.AUTHORITATIVE, "on_missing": None,
    "on_overage": Overage.KEEP,
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class RequireRow:
    """One requirement: claims and values, one a line each."""

    claims: str = ""
    values: str = ""


@dataclass(frozen=True, slots=True)
class PolicyEdit:
    """What the form says of who is let in. `raw` is the section as JSON, where only that can show it."""

    create_users: bool = True
    update_users: bool = True
    allowed_domains: str = ""
    require: tuple[RequireRow, ...] = ()
    guests: str = Guests.ALLOW
    new_user_state: str = UserState.ACTIVE
    max_users: str = ""
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A value of a claim, what it stands for, and the roles that it gives."""

    value: str = ""
    note: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolesEdit:
    """What the form says of roles. `is_used` is False where they are left alone."""

    is_used: bool = False
    sources: tuple[str, ...] = ()
    rows: tuple[RoleRow, ...] = ()
    default: tuple[str, ...] = ()
    sync_mode: str = RoleSync.AUTHORITATIVE
    on_missing: str = ""
    on_overage: str = Overage.KEEP
    raw: str | None = None


# --- policy -----------------------------------------------------------------------------------------------------------


def policy_edit_of(section: Any) -> PolicyEdit:
    if not isinstance(section, Mapping):
        return PolicyEdit() if section is None else PolicyEdit(raw=write_json(section))
    edit = PolicyEdit(
        create_users=section.get("create_users") is not False,
        update_users=section.get("update_users") is not False,
        allowed_domains=_lines(section.get("allowed_domains")),
        require=tuple(map(_require_row, section.get("require") or ())) if isinstance(section.get("require"), list) else (),
        guests=str(section.get("guests") or Guests.ALLOW),
        new_user_state=str(section.get("new_user_state") or UserState.ACTIVE),
        max_users=str(section.get("max_users") or ""),
    )
    is_shown = is_same(completed(_wanted_policy(edit), _POLICY), completed(_with_plain_claims(section), _POLICY))
    return edit if is_shown else replace(edit, raw=write_json(section))


def sent_policy() -> PolicyEdit:
    rows = (RequireRow(_sent_text(f"require-{row}"), _sent_text(f"any_of-{row}")) for row in sent_rows("require"))
    return PolicyEdit(
        create_users=sent("create_users") != "no",
        update_users=sent("update_users") != "no",
        allowed_domains="\n".join(line.removeprefix("@") for line in sent_lines("allowed_domains")),
        require=tuple(row for row in rows if row.claims or row.values),
        guests=sent("guests") or Guests.ALLOW,
        new_user_state=sent("new_user_state") or UserState.ACTIVE,
        max_users=sent("max_users").strip(),
        raw=sent("policy_raw").strip() if "policy_raw" in request.form else None,
    )


def policy_of(edit: PolicyEdit, *, old: Any) -> Any:
    """The section that the form asks for; the old one where that says the same. Raises: NotJson."""
    if edit.raw is not None:
        return read_json(edit.raw)
    before = old if isinstance(old, Mapping) else {}
    wanted = _wanted_policy(edit)
    if is_same(completed(wanted, _POLICY), completed(_with_plain_claims(before), _POLICY)):
        return old
    return rewritten(before, wanted, usual=_POLICY)


def _wanted_policy(edit: PolicyEdit) -> dict[str, Any]:
    number = edit.max_users
    return {
        "create_users": edit.create_users,
        "update_users": edit.update_users,
        "allowed_domains": edit.allowed_domains.splitlines() or None,
        "require": [{"source": _source(row.claims.splitlines()), "any_of": row.values.splitlines()} for row in edit.require],
        "guests": edit.guests,
        "new_user_state": edit.new_user_state,
        "max_users": (int(number) if _NUMBER.fullmatch(number) else number) if number else None,
    }


def _with_plain_claims(section: Mapping[str, Any]) -> dict[str, Any]:
    """A list of one claim as the claim."""
    rows = section.get("require")
    if not isinstance(rows, list):
        return dict(section)
    return {**section, "require": [completed(row, {}) if isinstance(row, Mapping) else row for row in rows]}


def _require_row(row: Any) -> RequireRow:
    return RequireRow("\n".join(names_in(row.get("source"))), _lines(row.get("any_of"))) if isinstance(row, Mapping) else RequireRow()


# --- roles ------------------------------------------------------------------------------------------------------------


def roles_edit_of(section: Any) -> RolesEdit:
    if not isinstance(section, Mapping):
        return RolesEdit() if section is None else RolesEdit(is_used=True, raw=write_json(section))
    given, notes, default = (section.get(key) for key in ("map", "notes", "default"))
    given, notes = (value if isinstance(value, Mapping) else {} for value in (given, notes))
    edit = RolesEdit(
        is_used=True,
        sources=tuple(names_in(section.get("source"))),
        rows=tuple(RoleRow(value, str(notes.get(value, "")), _texts(roles)) for value, roles in given.items()),
        default=_texts(default),
        sync_mode=str(section.get("sync_mode") or RoleSync.AUTHORITATIVE),
        on_missing=str(section.get("on_missing") or ""),
        on_overage=str(section.get("on_overage") or Overage.KEEP),
    )
    is_shown = is_same(_sorted(completed(_wanted_roles(edit), _ROLES)), _sorted(completed(section, _ROLES)))
    return edit if is_shown else replace(edit, raw=write_json(section))


def sent_roles() -> RolesEdit:
    rows = (RoleRow(_sent_text(f"value-{row}"), clean(sent(f"note-{row}")), _sent_roles(f"roles-{row}")) for row in sent_rows("value"))
    return RolesEdit(
        is_used=sent("has_roles") == "yes",
        sources=sent_claims("role"),
        rows=tuple(row for row in rows if row.value or row.note or row.roles),
        default=_sent_roles("default"),
        sync_mode=sent("role_sync") or RoleSync.AUTHORITATIVE,
        on_missing=sent("role_missing"),
        on_overage=sent("role_overage") or Overage.KEEP,
        raw=sent("roles_raw").strip() if "roles_raw" in request.form else None,
    )


def roles_of(edit: RolesEdit, *, old: Any) -> Any:
    """The section that the form asks for, None where roles are left alone. Raises: NotJson."""
    if not edit.is_used:
        return None
    if edit.raw is not None:
        return read_json(edit.raw)
    before = old if isinstance(old, Mapping) else {}
    wanted = _wanted_roles(edit)
    if old is not None and is_same(_sorted(completed(wanted, _ROLES)), _sorted(completed(before, _ROLES))):
        return old
    return rewritten(before, wanted, usual=_ROLES)


def repeated_values(edit: RolesEdit) -> list[int]:
    """The rows whose value stands in an earlier one too: in the document there can be one of each."""
    values = [row.value for row in edit.rows]
    return [index for index, value in enumerate(values) if value in values[:index]]


def _wanted_roles(edit: RolesEdit) -> dict[str, Any]:
    return {
        "source": _source(list(edit.sources)) or None,
        "map": {row.value: list(row.roles) for row in edit.rows},
        "notes": {row.value: row.note for row in edit.rows if row.note},
        "default": list(edit.default),
        "sync_mode": edit.sync_mode,
        "on_missing": edit.on_missing or None,
        "on_overage": edit.on_overage,
    }


def _sorted(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section with roles in one order, which says nothing."""
    given, default = section["map"], section["default"]
    return {
        **section,
        "map": {value: _in_order(roles) for value, roles in given.items()} if isinstance(given, Mapping) else given,
        "default": _in_order(default),
    }


def _in_order(roles: Any) -> Any:
    return sorted(set(map(str, roles))) if isinstance(roles, list) else roles


def _sent_roles(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(role.replace("\x00", "") for role in request.form.getlist(name)))


def _sent_text(name: str) -> str:
    return "\n".join(sent_lines(name))


def _source(names: list[str]) -> Any:
    return names[0] if len(names) == 1 else names


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _lines(value: Any) -> str:
    return "\n".join(_texts(value))
