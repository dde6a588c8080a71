"""The sections of the admin pages, as the navigation shows them: one line here for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from samljit.admin.frame.visit import Visit
from samljit.model import AdminAction
from samljit.views.words import N_


@dataclass(frozen=True, slots=True)
class Section:
    """One entry of the navigation. `name` is that of its first view; it is there for those who may do `action`."""

    name: str
    title: str
    action: AdminAction = AdminAction.VIEW


@dataclass(frozen=True, slots=True)
class Group:
    """Sections under one heading; the first group has none."""

    title: str
    sections: tuple[Section, ...]


GROUPS = (
    Group("", (Section("overview", N_("Overview")),)),
    Group(
        N_("Connection"),
        (
            Section("setup", N_("Set up")),
            Section("certificates", N_("Certificates")),
            Section("domains", N_("Domains")),
        ),
    ),
    Group(
        N_("People"),
        (
            Section("claims", N_("Claims")),
            Section("accounts", N_("Accounts and roles")),
            Section("rules", N_("Sign-in rules")),
        ),
    ),
    Group(
        N_("Going live"),
        (
            Section("test", N_("Test"), AdminAction.TEST),
            Section("draft", N_("Draft")),
        ),
    ),
    Group(
        N_("Record"),
        (
            Section("log", N_("Sign-in log"), AdminAction.LOG),
            Section("history", N_("Change history")),
        ),
    ),
)


def find_section(name: str) -> Section:
    return next(section for group in GROUPS for section in group.sections if section.name == name)


def groups_for(visit: Visit) -> Iterator[Group]:
    """What of the navigation this visitor may open."""
    for group in GROUPS:
        open_ones = tuple(section for section in group.sections if visit.may(section.action))
        if open_ones:
            yield Group(group.title, open_ones)
