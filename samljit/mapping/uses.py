"""Which claims a mapping document reads, and for what. It takes any document: one that is wrong has claims that it reads too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from samljit.mapping.aliases import ACCT, GROUPS_LINK, IDENTITY_PROVIDER, TENANT_ID, claim_name
from samljit.mapping.compile import BadTemplate, parse_template
from samljit.mapping.presets import Preset


def used_claims(document: Mapping[str, Any], preset: Preset) -> frozenset[str]:
    """The full names of all claims that a sign-in with this mapping goes by, those included that are looked at without being named."""
    return frozenset(_used(document, preset))


def claims_of_rule(rule: Any, aliases: Mapping[str, str]) -> tuple[str, ...]:
    """The full names of the claims that the rule of one field reads, in its order."""
    if isinstance(rule, str):
        return (claim_name(rule, aliases),)
    if not isinstance(rule, Mapping):
        return ()
    if isinstance(template := rule.get("template"), str):
        try:
            return tuple(claim for _, claim in parse_template(template, aliases) if claim is not None)
        except BadTemplate:
            return ()
    return tuple(claim_name(name, aliases) for name in names_in(rule.get("source")))


def names_in(source: Any) -> list[str]:
    """The names of a `source`, as they are written: one, or a list."""
    return [name for name in (source if isinstance(source, list) else [source]) if isinstance(name, str)]


def _used(document: Mapping[str, Any], preset: Preset) -> Iterator[str]:
    aliases = preset.aliases
    fields, roles, policy = (_object(document, key) for key in ("fields", "roles", "policy"))
    source = _object(document, "identity").get("source")
    yield claim_name(source, aliases) if isinstance(source, str) else preset.identity_source
    for rule in fields.values():
        yield from claims_of_rule(rule, aliases)
    for name in names_in(roles.get("source")):
        yield claim_name(name, aliases)
    if roles.get("source") is not None:
        yield GROUPS_LINK
    requirements = policy.get("require")
    for one in requirements if isinstance(requirements, list) else ():
        yield from (claim_name(name, aliases) for name in names_in(one.get("source") if isinstance(one, Mapping) else None))
    if preset.names_directory:
        yield TENANT_ID
        if policy.get("guests") == "deny":
            yield from (ACCT, IDENTITY_PROVIDER)


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}
