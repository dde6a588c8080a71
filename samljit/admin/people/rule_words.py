"""A mapping document in plain words, rule by rule. It takes any document: one that is wrong is looked at too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from samljit.model import Multi
from samljit.views.words import N_, gettext

_LONGEST = 500

SEVERAL: Mapping[str, str] = {
    Multi.FIRST: N_("the first value"),
    Multi.ALL: N_("all values"),
    Multi.JOIN: N_("several values joined"),
    Multi.SINGLE: N_("one value only"),
}
# what one key of a field's rule says, by key and value; a text with %(value)s is for any other value
_SAYS: Mapping[str, Mapping[Any, str]] = {
    "multi": SEVERAL,
    "required": {True: N_("nobody gets in without it")},
    "sync_mode": {
        "always": N_("written at every sign-in"),
        "on_create": N_("written only when the user is made"),
        "if_empty": N_("written only while it is empty"),
    },
    "on_missing": {"clear": N_("cleared when nothing comes"), "keep": N_("kept when nothing comes")},
}
_WITH_VALUE = {
    "template": N_("put together as “%(value)s”"),
    "value": N_("always “%(value)s”"),
    "separator": N_("with “%(value)s” between"),
    "type": N_("as %(value)s"),
    "default": N_("“%(value)s” for a new user when nothing comes"),
}
STEPS = {
    "lowercase": N_("in lower case"),
    "localpart": N_("the part before the @"),
    "domain": N_("the part after the @"),
}
_CLAIM = N_("the claim %(claims)s")
_CLAIMS = N_("the first of these claims that has a value: %(claims)s")
_CUT = N_("cut at “%(value)s”")
_REPLACED = N_("with values replaced: %(value)s")
_REPLACED_BRIEFLY = N_("values replaced: %(number)s")
_ORDER = ("source", "template", "value", "transform", "multi", "separator", "type", "required", "default", "sync_mode", "on_missing")


def told_rule(rule: Any) -> str | None:
    """What fills one field; None for nothing."""
    if rule is None:
        return None
    if isinstance(rule, str):
        rule = {"source": rule}
    if not isinstance(rule, Mapping):
        return told_value(rule)
    known = [key for key in _ORDER if rule.get(key) is not None]
    parts = [part for key in known for part in _told_key(key, rule[key])]
    parts += [f"{key}: {told_value(value)}" for key, value in rule.items() if key not in _ORDER]
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def told_claims(source: Any) -> str:
    """One claim or several, by the names that the document has."""
    return ", ".join(map(str, source)) if isinstance(source, list) else str(source)


def told_value(value: Any) -> str | None:
    """Any value of a document as text; None for nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return gettext(N_("yes")) if value else gettext(N_("no"))
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, list):
        return _short(", ".join(told_value(one) or "" for one in value)) or gettext(N_("none"))
    return _short(json.dumps(value, ensure_ascii=False))


def told_step(step: Any, *, is_brief: bool = False) -> str:
    """One step of a transform; `is_brief` counts values that it replaces, instead of telling them."""
    if isinstance(step, str):
        return gettext(STEPS[step]) if step in STEPS else _short(step)
    if isinstance(step, Mapping) and isinstance(step.get("split"), str):
        return gettext(_CUT, value=step["split"])
    if isinstance(step, Mapping) and isinstance(step.get("map"), Mapping):
        if is_brief:
            return gettext(_REPLACED_BRIEFLY, number=len(step["map"]))
        return gettext(_REPLACED, value=_short(", ".join(f"{old} → {new}" for old, new in step["map"].items())))
    return told_value(step) or ""


def _told_key(key: str, value: Any) -> Iterator[str]:
    if key == "source":
        several = isinstance(value, list) and len(value) > 1
        yield gettext(_CLAIMS if several else _CLAIM, claims=_short(told_claims(value)))
    elif key == "transform" and isinstance(value, list):
        yield from map(told_step, value)
    elif key in _SAYS and isinstance(value, str | bool):
        text = _SAYS[key].get(value)
        if text is not None:
            yield gettext(text)
        elif value is not False:
            yield f"{key}: {told_value(value)}"
    elif key in _WITH_VALUE:
        yield gettext(_WITH_VALUE[key], value=told_value(value))
    else:
        yield f"{key}: {told_value(value)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
