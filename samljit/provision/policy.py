"""Who is let in, as the mapping's policy and `identity.match` have it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from samljit.errors import Reason
from samljit.mapping.aliases import ACCT, GROUPS_LINK, IDENTITY_PROVIDER, short_name
from samljit.mapping.mail import is_in_domains
from samljit.mapping.text import value_key
from samljit.model import EmailHolder, ExistingUser, Guests, MappingRules, Match, Requirement, Tenant
from samljit.provision.roles import Texts, overflows

_ENTRA_ISSUER = "https://sts.windows.net/{}/"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a sign-in is decided from besides the assertion, the mapping and the person's own user.

    `own_issuers` are the values of `identityprovider` that members of the tenant have. `domains` are those that the tenant has proved.
    `claims_seen` are claims that have come from it before. `holders` are the tenant's users who have the e-mail of somebody who is new,
    `user_count` is how many users are linked to the tenant; asked for only where the mapping needs it.
    """

    own_issuers: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    claims_seen: frozenset[str] = frozenset()
    holders: tuple[EmailHolder, ...] = ()
    user_count: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: Reason
    detail: str


def situation_of(tenant: Tenant, *, holders: tuple[EmailHolder, ...] = (), user_count: int | None = None) -> Situation:
    """What is known of the tenant, and what the database was asked."""
    return Situation(_own_issuers(tenant), tenant.domains, tenant.claims_seen, holders, user_count)


def find_linkable(mapping: MappingRules, *, address: str | None, situation: Situation) -> ExistingUser | None:
    """The user whom somebody new becomes by e-mail: the only one who has it, and nothing stands against it."""
    if mapping.match is not Match.EMAIL_LINK or len(situation.holders) != 1 or _obstacles(address, situation):
        return None
    return situation.holders[0].user


def refusals(
    mapping: MappingRules, *, texts: Texts, address: str | None, user: ExistingUser | None, situation: Situation
) -> Iterator[Refusal]:
    """Why this person is not let in, the first reason first. `user` is who they are or are to become, `address` the e-mail claimed."""
    policy = mapping.policy
    if policy.guests is Guests.DENY:
        yield from _guest(texts, situation)
    for requirement in policy.require:
        yield from _unmet(requirement, texts)
    if policy.allowed_domains is not None and (address is None or not is_in_domains(address, policy.allowed_domains)):
        what = "no address came" if address is None else "the address is outside the allowed domains"
        yield Refusal(Reason.DOMAIN_NOT_ALLOWED, f"policy.allowed_domains: {what}")
    if user is None:
        yield from _not_created(mapping, address=address, situation=situation)


def over_limit(mapping: MappingRules, *, situation: Situation) -> Iterator[Refusal]:
    """Whether one more linked user would be one too many."""
    limit, count = mapping.policy.max_users, situation.user_count
    if limit is not None and count is not None and count >= limit:
        yield Refusal(Reason.USER_LIMIT, f"max_users: {count} of {limit}")


def _guest(texts: Texts, situation: Situation) -> Iterator[Refusal]:
    """Entra's guests, of whatever kind: userType in `acct`, where they signed in in `identityprovider`."""
    if any(value == "1" for value in texts(ACCT)):
        yield Refusal(Reason.GUEST_NOT_ALLOWED, "policy.guests: acct is 1")
    elif any(_issuer_key(value) not in situation.own_issuers for value in texts(IDENTITY_PROVIDER)):
        yield Refusal(Reason.GUEST_NOT_ALLOWED, "policy.guests: identityprovider is another one")


def _unmet(requirement: Requirement, texts: Texts) -> Iterator[Refusal]:
    if any(value_key(text) in requirement.any_of for source in requirement.sources for text in texts(source)):
        return
    wanted = " or ".join(map(short_name, requirement.sources))
    lost = [source for source in requirement.sources if not texts(source) and overflows(source, keys=requirement.any_of)]
    if lost and texts(GROUPS_LINK):
        yield Refusal(Reason.GROUPS_OVERAGE, f"policy.require: groups.link came in place of {wanted}")
    else:
        yield Refusal(Reason.REQUIREMENT_NOT_MET, f"policy.require: {wanted} holds none of the values")


def _not_created(mapping: MappingRules, *, address: str | None, situation: Situation) -> Iterator[Refusal]:
    if situation.holders and mapping.match is not Match.IDENTIFIER:
        why = _obstacles(address, situation) if mapping.match is Match.EMAIL_LINK else ["a user of this tenant has this e-mail"]
        yield Refusal(Reason.ACCOUNT_CONFLICT, f"identity.match: {'; '.join(why)}")
    if not mapping.policy.create_users:
        yield Refusal(Reason.CREATE_DISABLED, "policy.create_users")


def _obstacles(address: str | None, situation: Situation) -> list[str]:
    """What stands against tying somebody new to the users who have this address."""
    holders = situation.holders
    obstacles = {
        "several users have this e-mail": len(holders) > 1,
        "the user is inactive": any(not holder.user.is_active for holder in holders),
        "the user is privileged": any(holder.is_privileged for holder in holders),
        "the user is linked already": any(holder.is_linked for holder in holders),
        # an assertion is no proof of an address, but the domain's owner says who has which
        "the tenant has not proved the domain": address is None or not is_in_domains(address, situation.domains),
    }
    return [what for what, stands in obstacles.items() if stands]


def _own_issuers(tenant: Tenant) -> frozenset[str]:
    """What stands in `identityprovider` for members: the issuer, which Entra may append the application's id to in `Issuer` alone."""
    directory, issuer = tenant.entra_tenant_id, tenant.idp.entity_id if tenant.idp else None
    own = [issuer] if issuer else []
    if directory:
        own.append(_ENTRA_ISSUER.format(directory))
        if issuer and directory in issuer.lower():
            own.append(issuer[: issuer.lower().index(directory) + len(directory)])
    return frozenset(map(_issuer_key, own))


def _issuer_key(issuer: str) -> str:
    return issuer.lower().rstrip("/")
