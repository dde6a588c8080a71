"""Checks the `policy` section and `identity.match` of a mapping document, and that the host was told what they need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from samljit.errors import Problem
from samljit.mapping.aliases import ALIASES, claim_name
from samljit.mapping.document import PolicyDocument
from samljit.mapping.mail import domain_key
from samljit.mapping.problems import path_to
from samljit.mapping.text import value_key
from samljit.model import Match, Policy, Requirement, UserShape, UserState

_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


def compile_policy(
    document: PolicyDocument, *, path: str, shape: UserShape, filled: frozenset[str], aliases: Mapping[str, str] = ALIASES
) -> tuple[Policy, list[Problem]]:
    """The rules of the section, and all that is wrong with it. `filled` names the fields that claims fill."""
    problems = [*_bad_domains(document, path=path)]
    if document.allowed_domains is not None:
        problems += _without_email(path_to(path, "allowed_domains"), what="allowed_domains", shape=shape, filled=filled)
    if document.new_user_state is UserState.INACTIVE and shape.active_field is None:
        message = "samljit was not told which column says whether a user is active."
        problems.append(Problem(path_to(path, "new_user_state"), "active_field_missing", message, "Give SamlJit an active_field."))
    policy = Policy(
        create_users=document.create_users,
        update_users=document.update_users,
        allowed_domains=None if document.allowed_domains is None else tuple(map(domain_key, document.allowed_domains)),
        require=tuple(
            Requirement(
                sources=tuple(
                    claim_name(name, aliases) for name in ([one.source] if isinstance(one.source, str) else one.source)
                ),
                any_of=frozenset(map(value_key, one.any_of)),
            )
            for one in document.require
        ),
        guests=document.guests,
        new_user_state=document.new_user_state,
        max_users=document.max_users,
    )
    return policy, problems


def check_match(match: Match, *, path: str, shape: UserShape, filled: frozenset[str]) -> list[Problem]:
    """What `identity.match` lacks, besides what depends on the tenant.

    `path` is the key's own, `filled` names the fields that claims fill.
    """
    if match is Match.IDENTIFIER:
        return []
    problems = _without_email(path, what=match.value, shape=shape, filled=filled)
    if match is Match.EMAIL_LINK and not shape.knows_privileged:
        message = "samljit was not told who is privileged, and nobody may become an admin here by an e-mail address."
        hint = "Give SamlJit an is_privileged, such as lambda user: user.is_admin."
        problems.append(Problem(path, "is_privileged_missing", message, hint))
    return problems


def _without_email(path: str, *, what: str, shape: UserShape, filled: frozenset[str]) -> list[Problem]:
    if shape.email_field is None:
        message = f'"{what}" goes by e-mail, and samljit was not told which column that is.'
        return [Problem(path, "email_field_missing", message, "Give SamlJit an email_field.")]
    if shape.email_field not in filled:
        message = f'"{what}" goes by e-mail, and no claim fills the column "{shape.email_field}".'
        return [Problem(path, "email_field_missing", message, f'Add "{shape.email_field}" to the fields.')]
    return []


def _bad_domains(document: PolicyDocument, *, path: str) -> Iterator[Problem]:
    for index, domain in enumerate(document.allowed_domains or []):
        if not _DOMAIN.fullmatch(domain_key(domain)):
            hint = "Write what follows the @, for example contoso.com."
            yield Problem(path_to(path, "allowed_domains", index), "invalid_domain", "Is not a domain name.", hint)
