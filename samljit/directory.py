"""Which tenants there are, as of now: those of the settings, and those that live in the database, each made once per revision.

A tenant is looked up in one statement. That tells its permanent id and the revision of its documents, so a change is in effect on every
worker at once; what has been made of a revision is kept.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from threading import Lock
from typing import Any

from samljit.errors import Problem, Reason, SignInRefused
from samljit.mapping.document import merge_documents
from samljit.mapping.mail import domain_key
from samljit.mapping.problems import path_to
from samljit.mapping.roles import find_new_grants
from samljit.mapping.size import find_excess
from samljit.model import HandedOver, Tenant, Transform, UserShape
from samljit.settings.document import SLUG_PATTERN
from samljit.settings.read import Settings
from samljit.settings.stored import normal_document
from samljit.settings.written import object_of
from samljit.sql.stored import StoredTenant, TenantRow, patched
from samljit.sql.tenants import SqlTenants
from samljit.tenants import Fetched, build_stored_tenant, outline_tenant, with_fetched

log = logging.getLogger("samljit")

MOST_KEPT = 2000  # tenants; a made mapping takes some tens of KiB
_LONGEST_DOMAIN = 253
_SLUG = re.compile(SLUG_PATTERN)


@dataclass(frozen=True, slots=True)
class _Made:
    """A tenant as made of what the settings and the database said of it last; None where nothing can be made of that."""

    template: Tenant | None
    row: TenantRow
    tenant: Tenant | None


class Directory:
    """The tenants of one app. `of_settings` are those of the settings by slug, without what only the database knows of them."""

    def __init__(
        self,
        of_settings: Mapping[str, Tenant],
        *,
        settings: Settings,
        shape: UserShape,
        transforms: Mapping[str, Transform],
        rows: SqlTenants,
    ) -> None:
        self.of_settings = of_settings
        self.rows = rows
        self._settings, self._shape, self._transforms = settings, shape, transforms
        self._made: OrderedDict[str, _Made] = OrderedDict()
        self._lock = Lock()

    # --- one tenant ---------------------------------------------------------------------------------------------------

    def get(self, slug: str, *, now: datetime) -> Tenant:
        """The tenant as it is now. Raises: SignInRefused (tenant_unknown, tenant_misconfigured); store.Unavailable."""
        row = self._find_row(slug, now=now)
        if row is None:
            raise SignInRefused(Reason.TENANT_UNKNOWN)
        return self._get(row, now=now)

    def get_with_attempt(self, slug: str, *, reference: str, now: datetime) -> tuple[Tenant, HandedOver | None]:
        """The same, and with it what the tenant's attempt of this reference has handed over, None where there is none: one statement."""
        row, attempt = self.rows.find_with_attempt(slug, reference) if _SLUG.fullmatch(slug) else (None, None)
        if row is None or not (slug in self.of_settings or row.lives_here):
            return self.get(slug, now=now), None
        return self._get(row, now=now), attempt

    def find(self, slug: str, *, now: datetime) -> Tenant | None:
        """The tenant as it is now, None where there is none that can be used. Raises: store.Unavailable."""
        try:
            return self.get(slug, now=now)
        except SignInRefused:
            return None

    def find_or_outline(self, slug: str, *, now: datetime) -> Tenant | None:
        """The tenant as it is now; where nothing can be made of its documents, an outline of it. Raises: store.Unavailable."""
        try:
            return self.get(slug, now=now)
        except SignInRefused as refused:
            stored = self.rows.find_stored(slug) if refused.reason is Reason.TENANT_MISCONFIGURED else None
        return outline_tenant(slug, stored.live, self._settings, tenant_id=stored.id) if stored else None

    def look_up(self, slug: str, *, now: datetime) -> Tenant | None:
        """The same, but nothing is written: a tenant of the settings that has never been used has no permanent id."""
        row = self.rows.find(slug) if _SLUG.fullmatch(slug) else None
        template = self.of_settings.get(slug)
        if row is None:
            return template
        if template is None and not row.lives_here:
            return None
        return self._make(row, now=now)

    def find_seen(self, slug: str) -> Tenant | None:
        """The tenant as this process has last seen it, without asking the database; None where it has not looked it up yet.

        Whoever goes by it must hold its `version` against the database before anything comes of that.
        """
        made = self._find_made(slug)
        return made.tenant if made else None

    def find_known(self, slug: str) -> Tenant | None:
        """The same, or the settings' tenant as it stands there: good for naming it, where the database is lost."""
        return self.find_seen(slug) or self.of_settings.get(slug)

    # --- several ------------------------------------------------------------------------------------------------------

    def find_by_domain(self, domain: str, *, now: datetime) -> Tenant | None:
        """The tenant that proved this e-mail domain, however it is written. Raises: store.Unavailable."""
        slug = self.find_slug_by_domain(domain)
        return self.find(slug, now=now) if slug else None

    def find_slug_by_domain(self, domain: str) -> str | None:
        """The slug of that tenant, which may be one that cannot be used. Raises: store.Unavailable."""
        wanted = domain_key(domain)
        return self._find_owner(wanted) if wanted.isascii() and 0 < len(wanted) <= _LONGEST_DOMAIN else None

    def find_only_slug(self) -> str | None:
        """The slug of the one tenant that there is; None where there are more, or none. Raises: store.Unavailable."""
        if len(self.of_settings) > 1:
            return None
        slugs = {*self.of_settings, *self.rows.find_slugs(most=2)}
        return slugs.pop() if len(slugs) == 1 else None

    def all(self, *, now: datetime) -> Iterator[Tenant]:
        """All tenants that can be used: those of the settings first, then those of the database, by slug. Raises: store.Unavailable."""
        stored = (tenant.slug for tenant in self.rows.all_stored() if tenant.slug not in self.of_settings)
        for slug in chain(self.of_settings, stored):
            tenant = self.look_up(slug, now=now)
            if tenant is not None:
                yield tenant

    def check_stored(
        self, slug: str, document: Mapping[str, Any], *, now: datetime, together: Collection[str] = ()
    ) -> tuple[Tenant | None, list[Problem]]:
        """The tenant that a document of the database would make, and all that is wrong with the document, domains of others included.

        The tenants `together` are written with it, and their domains of now do not count. Raises: store.Unavailable.
        """
        document = normal_document(document)
        tenant, problems = build_stored_tenant(
            slug, document, self._settings, shape=self._shape, transforms=self._transforms, now=now
        )
        for index, domain in enumerate(tenant.domains if tenant else ()):
            owner = self._find_owner(domain)
            if owner not in (None, slug, *together):
                place = path_to("$.domains", index)
                problems.append(Problem(place, "domain_not_unique", f"This domain is {owner}'s.", "A domain belongs to one tenant."))
        is_good = not any(not problem.is_warning for problem in problems)
        return (tenant if is_good else None), problems

    def find_drafted(
        self, stored: StoredTenant, *, now: datetime, draft: Mapping[str, Any] | None = None
    ) -> tuple[Tenant | None, list[Problem]]:
        """The tenant as it would be with its draft made live, or another `draft`, to be tried and never signed in with.

        With it all that is wrong with that; None where it cannot be used. A draft is written by an admin of the tenant: roles that whoever
        runs the app has not listed as grantable it hands out only as what is live does, and it is no larger than a person writes.
        Raises: store.Unavailable.
        """
        document = stored.drafted if draft is None else patched(stored.live, draft)
        excess = find_excess(object_of(document, "mapping"), live=object_of(stored.live, "mapping"), path="$.mapping")
        if excess:  # before anything else looks at it
            return None, excess
        tenant, problems = self.check_stored(stored.slug, document, now=now)
        unlisted = self._find_unlisted_roles(document, live=stored.live)
        row = self.rows.find(stored.slug)
        if tenant is None or row is None or unlisted:
            return None, [*problems, *unlisted]
        if stored.draft_metadata is not None and stored.draft_metadata[1] == tenant.metadata_source:
            tenant = with_fetched(tenant, Fetched(*stored.draft_metadata), base_url=self._settings.base_url, now=now)
        else:
            tenant = self._connected(tenant, row, now=now)
        return replace(tenant, id=stored.id, claims_seen=row.claims_seen), problems

    def _find_unlisted_roles(self, document: Mapping[str, Any], *, live: Mapping[str, Any]) -> list[Problem]:
        """The roles that a draft would hand out anew where no list of grantable ones is given. With one, the mapping is held to it."""
        if self._shape.grantable_roles is not None:
            return []
        usual = self._settings.mapping
        drafted, now = (merge_documents(usual, object_of(one, "mapping")) for one in (document, live))
        return find_new_grants(drafted, known=(usual, now), path="$.mapping")

    def _find_owner(self, domain: str) -> str | None:
        of_settings = (slug for slug, tenant in self.of_settings.items() if domain in tenant.domains)
        return next(of_settings, None) or self.rows.find_slug_by_domain(domain)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _find_row(self, slug: str, *, now: datetime) -> TenantRow | None:
        if slug in self.of_settings:
            return self.rows.get_or_make(slug, now=now)
        row = self.rows.find(slug) if _SLUG.fullmatch(slug) else None
        return row if row is not None and row.lives_here else None

    def _get(self, row: TenantRow, *, now: datetime) -> Tenant:
        tenant = self._make(row, now=now)
        if tenant is None:
            raise SignInRefused(Reason.TENANT_MISCONFIGURED, f"revision {row.version.revision}")
        return tenant

    def _make(self, row: TenantRow, *, now: datetime) -> Tenant | None:
        made = self._find_made(row.slug)
        if made is not None and made.row == row:
            return made.tenant
        template = self.of_settings.get(row.slug)
        is_as_it_was = made is not None and made.row.version == row.version
        tenant = made.tenant if made is not None and is_as_it_was else self._make_anew(row, template, now=now)
        if tenant is not None:
            tenant = replace(tenant, id=row.id, claims_seen=row.claims_seen, version=row.version)
        with self._lock:
            self._made[row.slug] = _Made(template, row, tenant)
            while len(self._made) > MOST_KEPT:
                self._made.popitem(last=False)
        return tenant

    def _find_made(self, slug: str) -> _Made | None:
        """What was made last, unless other settings have come since."""
        with self._lock:
            made = self._made.get(slug)
            if made is None or made.template is not self.of_settings.get(slug):
                return None
            self._made.move_to_end(slug)
        return made

    def _make_anew(self, row: TenantRow, template: Tenant | None, *, now: datetime) -> Tenant | None:
        tenant = template or self._build(row.slug, now=now)
        return None if tenant is None else self._connected(tenant, row, now=now)

    def _connected(self, tenant: Tenant, row: TenantRow, *, now: datetime) -> Tenant:
        """The tenant with what was fetched of its IdP's metadata, where it comes from an address."""
        if tenant.metadata_source is None:
            return tenant
        found = self.rows.find_metadata(row.id)
        fetched = Fetched(*found) if found else None
        return with_fetched(tenant, fetched, base_url=self._settings.base_url, now=now)

    def _build(self, slug: str, *, now: datetime) -> Tenant | None:
        """The tenant as its live document has it. What is wrong with one is logged, by place and kind, without values."""
        stored = self.rows.find_stored(slug)
        if stored is None:
            return None
        tenant, problems = build_stored_tenant(
            slug, stored.live, self._settings, shape=self._shape, transforms=self._transforms, now=now
        )
        for problem in problems:
            (log.warning if problem.is_warning else log.error)("tenant %s: %s", slug, problem)
        return self._without_lost_domains(tenant) if tenant is not None else None

    def _without_lost_domains(self, tenant: Tenant) -> Tenant:
        """The tenant without the domains that the settings give to another one by now: a domain proves something for its one owner."""
        lost = {domain for other in self.of_settings.values() if other.slug != tenant.slug for domain in other.domains}
        kept = tuple(domain for domain in tenant.domains if domain not in lost)
        if kept != tenant.domains:
            log.error("tenant %s: domain_not_unique: the settings give a domain of its document to another tenant", tenant.slug)
        return replace(tenant, domains=kept)
