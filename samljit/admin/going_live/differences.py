"""What would change if a draft went live, in plain words: part by part, each value before and after. No metadata, no keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from samljit.admin.connection.setup import find_drafted_idp
from samljit.admin.frame.told import told_thumbprint
from samljit.admin.frame.visit import Visit
from samljit.admin.people.rule_words import told_claims, told_rule, told_value
from samljit.mapping.aliases import short_name
from samljit.mapping.document import merge_documents, object_at
from samljit.mapping.presets import PRESETS
from samljit.model import IdentityProvider
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that would change. `name` is in words, or where there are none the place in the document, with `is_place`."""

    name: str
    before: str | None
    after: str | None
    is_place: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The differences of one part of the document."""

    title: str
    lines: tuple[Difference, ...]


_UNREADABLE = N_("cannot be used as it is: see the problems")
_NONE = N_("none")

_POLICY = {
    "create_users": (N_("Newcomers get a user record"), True),
    "update_users": (N_("User records are brought up to date"), True),
    "allowed_domains": (N_("E-mail domains that are let in"), None),
    "require": (N_("Only who has one of these values"), None),
    "guests": (N_("Guests of the directory"), "allow"),
    "new_user_state": (N_("New users are"), "active"),
    "max_users": (N_("Users at most"), None),
}
_ROLES = {
    "source": (N_("Roles come from"), None),
    "default": (N_("Roles of everybody else"), None),
    "sync_mode": (N_("When roles are granted and taken"), "authoritative"),
    "on_missing": (N_("When no such claim comes"), None),
    "on_overage": (N_("With too many groups for Entra to send"), "keep"),
}
_VALUES = {
    ("guests", "allow"): N_("let in"),
    ("guests", "deny"): N_("refused"),
    ("new_user_state", "active"): N_("active"),
    ("new_user_state", "inactive"): N_("inactive, until somebody switches them on"),
    ("sync_mode", "authoritative"): N_("granted and taken at every sign-in"),
    ("sync_mode", "additive"): N_("granted, never taken"),
    ("sync_mode", "on_create"): N_("granted once, when the user is made"),
    ("sync_mode", "off"): N_("never: they are set by hand"),
    ("on_missing", "keep"): N_("roles stay"),
    ("on_missing", "remove"): N_("roles are taken"),
    ("on_missing", "deny"): N_("the sign-in is refused"),
    ("on_overage", "keep"): N_("roles stay"),
    ("on_overage", "deny"): N_("the sign-in is refused"),
    ("match", "identifier"): N_("never: they become new users"),
    ("match", "email_link"): N_("linked to the user with the same e-mail"),
    ("match", "email_deny"): N_("refused where a user has the same e-mail"),
    ("write", "always"): N_("at every sign-in"),
    ("write", "on_create"): N_("only when the user is made"),
    ("write", "if_empty"): N_("only while they are empty"),
}


def find_differences(visit: Visit) -> list[Part]:
    """What the draft changes of what is live, the parts without a change left out."""
    stored = visit.get_stored()
    defaults = mounted().settings.mapping
    before, after = (merge_documents(defaults, object_at(one, "mapping")) for one in (stored.live, stored.drafted))
    preset = PRESETS.get(str(stored.drafted.get("preset", visit.tenant.preset)))
    usual = short_name(preset.identity_source, preset.aliases) if preset else ""
    parts = (
        (N_("Connection"), _connection(visit)),
        (N_("How people are known"), _identity(before, after, usual=usual)),
        (N_("Fields"), _fields(before, after)),
        (N_("Roles"), _roles(object_at(before, "roles"), object_at(after, "roles"))),
        (N_("Who is let in"), _policy(object_at(before, "policy"), object_at(after, "policy"))),
        (N_("Everything else"), _others(visit, before, after)),
    )
    return [Part(gettext(title), lines) for title, found in parts if (lines := tuple(found))]


def _connection(visit: Visit) -> Iterator[Difference]:
    stored, draft = visit.get_stored(), visit.get_stored().draft or {}
    if "idp" in draft:
        was, will = visit.tenant.idp, find_drafted_idp(stored, visit)
        names: tuple[tuple[str, Callable[[IdentityProvider], str | None]], ...] = (
            (N_("Microsoft Entra Identifier"), lambda idp: idp.entity_id),
            (N_("Login URL"), lambda idp: idp.sso_url),
            (N_("Logout URL"), lambda idp: idp.slo_url),
        )
        unreadable = gettext(_UNREADABLE) if draft["idp"] is not None and will is None else None
        for name, value in names:
            yield from _line(gettext(name), value(was) if was else None, value(will) if will else unreadable)
        yield from _certificates(was, will)
        urls = (object_at(one, "idp").get("metadata_url") for one in (stored.live, stored.drafted))
        yield from _line(gettext(N_("App Federation Metadata Url")), *map(told_value, urls))
    directories = (told_value(one.get("entra_tenant_id")) for one in (stored.live, stored.drafted))
    yield from _line(gettext(N_("Tenant ID")), *directories)


def _certificates(was: IdentityProvider | None, will: IdentityProvider | None) -> Iterator[Difference]:
    before, after = ({one.fingerprint: one for one in idp.certificates} if idp else {} for idp in (was, will))
    for mark, one in {**before, **after}.items():
        if (mark in before) != (mark in after):
            told = gettext(N_("thumbprint %(mark)s, valid until %(day)s"), mark=told_thumbprint(one), day=f"{one.not_after:%Y-%m-%d}")
            yield Difference(gettext(N_("Certificate")), told if mark in before else None, told if mark in after else None)


def _identity(before: Mapping[str, Any], after: Mapping[str, Any], *, usual: str) -> Iterator[Difference]:
    was, will = object_at(before, "identity"), object_at(after, "identity")
    sources = (str(one.get("source") or usual) for one in (was, will))
    yield from _line(gettext(N_("People are known by the claim")), *sources)
    matches = (_told("match", one.get("match", "identifier")) for one in (was, will))
    yield from _line(gettext(N_("Newcomers are looked for among the users")), *matches)


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    was, will = object_at(before, "fields"), object_at(after, "fields")
    for target in {**was, **will}:
        if was.get(target) != will.get(target):
            yield Difference(str(target), told_rule(was.get(target)), told_rule(will.get(target)), is_place=True)


def _roles(was: Mapping[str, Any], will: Mapping[str, Any]) -> Iterator[Difference]:
    for key, (name, usual) in _ROLES.items():  # without the section, nothing of it holds
        yield from _line(gettext(name), *(_told(key, one.get(key, usual if one else None)) for one in (was, will)))
    yield from _rest(was, will, known={*_ROLES, "map", "notes"})
    old, new = object_at(was, "map"), object_at(will, "map")
    notes = {**object_at(was, "notes"), **object_at(will, "notes")}
    for value in {**old, **new}:
        name = f"{value} ({notes[value]})" if value in notes else str(value)
        yield from _line(name, told_value(old.get(value)), told_value(new.get(value)), is_place=True)
    changed = {value for value in {**old, **new} if old.get(value) != new.get(value)}
    old, new = object_at(was, "notes"), object_at(will, "notes")
    for value in {**old, **new}.keys() - changed:
        yield from _line(gettext(N_("Note on %(value)s"), value=value), told_value(old.get(value)), told_value(new.get(value)))


def _policy(was: Mapping[str, Any], will: Mapping[str, Any]) -> Iterator[Difference]:
    for key, (name, usual) in _POLICY.items():  # what goes without saying holds without the section too
        yield from _line(gettext(name), *(_told(key, one.get(key, usual)) for one in (was, will)))
    yield from _rest(was, will, known=set(_POLICY))


def _others(visit: Visit, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    modes = (_told("write", one.get("sync_mode", "always")) for one in (before, after))
    yield from _line(gettext(N_("Fields are written")), *modes)
    yield from _rest(before, after, known={"identity", "fields", "roles", "policy", "sync_mode"})
    stored = visit.get_stored()
    yield from _rest(stored.live, stored.drafted, known={"idp", "entra_tenant_id", "mapping"})


def _rest(was: Mapping[str, Any], will: Mapping[str, Any], *, known: set[str]) -> Iterator[Difference]:
    for key in {**was, **will}:
        if key not in known:
            yield from _line(str(key), told_value(was.get(key)), told_value(will.get(key)), is_place=True)


def _line(name: str, before: str | None, after: str | None, *, is_place: bool = False) -> Iterator[Difference]:
    if before != after:
        yield Difference(name, before, after, is_place)


def _told(key: str, value: Any) -> str | None:
    if key == "require" and isinstance(value, list):
        wanted = (one for one in value if isinstance(one, Mapping))
        return "; ".join(f"{told_claims(one.get('source'))}: {told_value(one.get('any_of'))}" for one in wanted) or gettext(_NONE)
    if key == "source" and value is not None:
        return told_claims(value)
    text = _VALUES.get((key, value)) if isinstance(value, str) else None
    return gettext(text) if text else told_value(value)
