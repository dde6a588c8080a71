"""Whether a user may sign in with a password, as the host asks before it takes one."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from samljit.mapping.mail import address_key
from samljit.model import Tenant
from samljit.store import Unavailable
from samljit.views.mounted import Mounted

log = logging.getLogger("samljit")


def is_password_allowed(user: Any, *, mount: Mounted, now: datetime) -> bool:
    """No, where a tenant of the user's that has `require_sso` does not list the user in `break_glass`.

    The tenants are those that the user has an identity of, and the one that proved the domain of the user's address: somebody who has
    never signed in through the IdP is one of its people too. A lost database allows nothing, as it cannot be told then. Never raises.
    """
    address = _address_of(user, mount)
    try:
        slugs = set(mount.store.find_tenants_of(mount.user_id_of(user)))
        owner = mount.directory.find_slug_by_domain(address.rpartition("@")[2])
        tenants = [mount.directory.find_or_outline(slug, now=now) for slug in sorted(slugs | ({owner} if owner else set()))]
    except Unavailable as lost:
        log.error("password sign-in not allowed: the database cannot be used (%s)", lost)
        return False
    return all(_allows(tenant, address) for tenant in tenants if tenant is not None)


def _allows(tenant: Tenant, address: str) -> bool:
    if not (tenant.is_open and tenant.require_sso):
        return True
    return bool(address) and address_key(address) in map(address_key, tenant.break_glass)


def _address_of(user: Any, mount: Mounted) -> str:
    return str(getattr(user, mount.users.email_field, None) or "") if mount.users.email_field else ""
