"""Sign-in rules: Microsoft Entra off, one way in, or the only one; each change is looked at in numbers first, and can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Response, request
from wtforms import RadioField, TextAreaField

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.standing import Readiness, Rule, find_readiness, rule_of
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.errors import ProvisioningRefused
from samljit.mapping.mail import address_key, check_address
from samljit.model import AdminAction
from samljit.sql.audit import AuditAction, AuditRecord
from samljit.sql.people import SqlPeople
from samljit.sql.stored import StaleEdit, StoredTenant, patched
from samljit.views.mounted import mounted
from samljit.views.words import N_, gettext

LATELY = timedelta(days=30)
_MOST_ACCOUNTS = 20
_MOST_RECORDS = 30
_KEYS = ("offer_sso", "require_sso", "break_glass")

_LABELS = {Rule.OFF: N_("Off"), Rule.OPTIONAL: N_("Optional"), Rule.REQUIRED: N_("Required")}
_CHANGED = N_("The sign-in rules were changed.")
_UNDONE = N_("The sign-in rules are as they were before.")
_SAME = N_("The sign-in rules are so already. Nothing was changed.")
_NO_ADDRESS = N_("%(address)s is no e-mail address.")
_NO_ACCOUNT = N_("%(address)s is no active user of this tenant in the app.")
_NO_ACCOUNTS = N_("Name at least one emergency account: the way in on the day on which Microsoft Entra cannot be used.")
_TOO_MANY = N_("Name at most %(number)d emergency accounts: each is a way around Microsoft Entra.")
_NOT_CONNECTED = N_("Connect Microsoft Entra first.")
_NOT_TESTED = N_("Pass a test sign-in first, and make the draft live.")
_NO_CERTIFICATE = N_("There must be a certificate that is in date.")
_CLOSED = N_("Whoever runs the app has switched sign-in off.")
_CANNOT_UNDO = N_("This cannot be undone any more: something that it needs is missing by now, or the rules were changed since.")


class RulesForm(AdminForm):
    """The rule, and the emergency accounts, one address a line."""

    rule = RadioField(N_("Signing in with Microsoft Entra"), choices=[rule.value for rule in Rule])
    break_glass = TextAreaField(N_("Emergency accounts"))

    def accounts(self) -> tuple[str, ...]:
        """The addresses, each once. Of more than there may be, one too many: nobody has the app check as many as a form can hold."""
        found: dict[str, str] = {}
        for line in dict.fromkeys((self.break_glass.data or "").splitlines()):
            if address := line.strip():
                found[address_key(address)] = address
            if len(found) > _MOST_ACCOUNTS:
                break
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the rules are to be. `patch` holds the keys of the tenant's document."""

    rule: Rule
    patch: Mapping[str, Any]
    readiness: Readiness


@admin_view(AdminAction.VIEW, sent=AdminAction.RULES)
def rules(visit: Visit) -> Response:
    """The rules as they are; sent with others, these are looked at in numbers, and nothing is changed yet."""
    form = RulesForm()
    if form.is_sent(visit) and _check_enabled(visit, form):
        wish = _read_wish(visit, form)
        if wish is not None and _is_so(visit.get_stored(), wish.patch):
            return done(visit.url("rules"), gettext(_SAME))
        if wish is not None:
            return _review(visit, form, wish)
    elif request.method != "POST":
        form.rule.data, form.break_glass.data = rule_of(visit.tenant).value, "\n".join(visit.tenant.break_glass)
    return _show(visit, form)


@admin_view(AdminAction.RULES)
def rules_apply(visit: Visit) -> Response:
    """Makes the change that was looked at."""
    address, form = visit.url("rules"), RulesForm()
    if request.method != "POST":
        return see_other(address)
    is_good = form.is_sent(visit)
    wish = _read_wish(visit, form)
    if not is_good or not _check_enabled(visit, form) or wish is None:
        return _show(visit, form)
    if not _change(visit, wish.patch):
        form.show_changes(mounted().directory.rows.get_stored(visit.tenant.slug))
        return _show(visit, form)
    return done(address, gettext(_CHANGED))


@admin_view(AdminAction.RULES)
def rules_undo(visit: Visit) -> Response:
    """Puts the rules back to what they were before the last change of them, where what that needs is still there."""
    address, form = visit.url("rules"), RulesForm()
    if request.method != "POST":
        return see_other(address)
    form.rule.validators = ()  # only the token and the mark count
    form.rule.validate_choice = False
    is_good = form.is_sent(visit) and _check_enabled(visit, form)
    if not is_good:
        form.rule.data, form.break_glass.data = rule_of(visit.tenant).value, "\n".join(visit.tenant.break_glass)
        return _show(visit, form)
    last = find_undoable(visit)
    patch = {key: (last.before or {}).get(key) for key in {*(last.before or ()), *(last.after or ())}} if last else {}
    if not patch or not _may_be(visit, patch) or not _change(visit, patch):
        return done(address, gettext(_CANNOT_UNDO), kind="danger")
    return done(address, gettext(_UNDONE))


def _check_enabled(visit: Visit, form: RulesForm) -> bool:
    """False, and an error in the form, where whoever runs the app has switched sign-in off: the rules stay until it is on again."""
    # what is stored is younger than the tenant, and is what a change is held against
    is_enabled = visit.tenant.enabled and visit.get_stored().live.get("enabled") is not False
    if not is_enabled:
        form.rule.errors = [gettext(_CLOSED)]
    return is_enabled


def find_undoable(visit: Visit) -> AuditRecord | None:
    """The last change of the rules, where the rules still are what it made them."""
    stored = visit.stored
    if stored is None:
        return None
    records = mounted().directory.rows.read_history(stored.id, limit=_MOST_RECORDS)
    last = next((one for one in records if one.action is AuditAction.RULES_CHANGED), None)
    if last is None:
        return None
    keys, after = {*(last.before or ()), *(last.after or ())}, last.after or {}
    return last if keys <= set(_KEYS) and all(stored.live.get(key) == after.get(key) for key in keys) else None


def _read_wish(visit: Visit, form: RulesForm) -> _Wish | None:
    """What was chosen, where it may be; else None, with errors at the fields."""
    if form.rule.data not in set(Rule):
        return None
    rule, accounts = Rule(form.rule.data), form.accounts()
    form.break_glass.errors = _account_errors(accounts)
    if form.break_glass.errors:
        return None
    try:
        readiness = find_readiness(visit, accounts)
    except ProvisioningRefused as refused:
        form.break_glass.errors = [str(refused)]
        return None
    form.break_glass.errors = [gettext(_NO_ACCOUNT, address=one) for one in readiness.missing_accounts]
    if rule is Rule.REQUIRED:
        form.rule.errors = _lacks(readiness)
        form.break_glass.errors += [] if accounts else [gettext(_NO_ACCOUNTS)]
    if form.rule.errors or form.break_glass.errors:
        return None
    patch = {"offer_sso": False if rule is Rule.OFF else None, "break_glass": list(accounts) or None}
    # switched off and on again, the rule is what it was
    patch |= {} if rule is Rule.OFF else {"require_sso": True if rule is Rule.REQUIRED else None}
    return _Wish(rule, patch, readiness)


def _account_errors(accounts: tuple[str, ...]) -> list[str]:
    if len(accounts) > _MOST_ACCOUNTS:
        return [gettext(_TOO_MANY, number=_MOST_ACCOUNTS)]
    errors = []
    for account in accounts:
        try:
            check_address(account)
        except ValueError:
            errors.append(gettext(_NO_ADDRESS, address=account[:100]))
    return errors


def _lacks(readiness: Readiness) -> list[str]:
    wanted = (
        (readiness.is_connected, _NOT_CONNECTED),
        (readiness.is_tested, _NOT_TESTED),
        (readiness.has_certificate, _NO_CERTIFICATE),
    )
    return [gettext(text) for is_there, text in wanted if not is_there]


def _is_so(stored: StoredTenant, patch: Mapping[str, Any]) -> bool:
    return _effective(stored.live) == _effective(patched(stored.live, patch))


def _effective(document: Mapping[str, Any]) -> tuple[Any, ...]:
    return document.get("offer_sso", True), document.get("require_sso", False), tuple(document.get("break_glass") or ())


def _may_be(visit: Visit, patch: Mapping[str, Any]) -> bool:
    """Whether rules that were there before may be there again: what is required now may have gone since."""
    after = {**visit.get_stored().live, **patch}
    if after.get("offer_sso") is False or after.get("require_sso") is not True:
        return True
    return find_readiness(visit, after.get("break_glass") or ()).is_ready


def _change(visit: Visit, patch: Mapping[str, Any]) -> bool:
    """Changes the live document; False where somebody else was faster."""
    try:
        mounted().directory.rows.change(visit.get_stored(), patch, author=visit.author, action=AuditAction.RULES_CHANGED)
    except StaleEdit:
        return False
    return True


def _review(visit: Visit, form: RulesForm, wish: _Wish) -> Response:
    mount = mounted()
    people = SqlPeople(factory=mount.factory, users=mount.users).count(visit.tenant, since=visit.now - LATELY)
    return admin_page(
        visit, "rules_review.html", section="rules", form=form, wish=wish, was=rule_of(visit.tenant), people=people, days=LATELY.days
    )


def _show(visit: Visit, form: RulesForm) -> Response:
    may_change = visit.tenant.enabled and not visit.is_read_only and visit.may(AdminAction.RULES)
    try:
        readiness = find_readiness(visit, form.accounts() if form.errors else visit.tenant.break_glass)
    except ProvisioningRefused:
        readiness = None
    return admin_page(
        visit,
        "rules.html",
        section="rules",
        form=form,
        rule=rule_of(visit.tenant).value,
        labels=_LABELS,
        readiness=readiness,
        may_change=may_change,
        undoable=find_undoable(visit) if may_change and not form.errors else None,
    )
