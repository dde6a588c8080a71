"""The host app of the tests, with one tenant, connected to the running IdP: each has the other's metadata, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from samljit.testing import Form, Page, signing_key
from tests.host import Host, key_files, make_host
from tests.interop.idp import CLAIMS, DIRECTORY_ID, Idp
from tests.interop.visitor import Visitor, visitor

ORIGIN = "http://localhost:5000"  # another name than the IdP's 127.0.0.1: cookies know no ports
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
FIELDS: dict[str, Any] = {
    "email": {"source": "emailaddress", "transform": ["lowercase"], "required": True},
    "first_name": "givenname",
    "last_name": "surname",
    "display_name": "displayname",
    "departments": {"source": "groups", "multi": "all"},
}
# as SimpleSAMLphp's admins set it up by themselves: the names of the X.500/LDAP attribute profile, and nothing of Entra's
GENERIC: dict[str, Any] = {"preset": "generic", "entra_tenant_id": None, "name_id_format": PERSISTENT}
X500 = {
    "authproc": {
        "50": {
            "class": "core:AttributeMap",
            CLAIMS["emailaddress"]: "urn:oid:0.9.2342.19200300.100.1.3",
            CLAIMS["givenname"]: "urn:oid:2.5.4.42",
            CLAIMS["surname"]: "urn:oid:2.5.4.4",
            CLAIMS["displayname"]: "urn:oid:2.16.840.1.113730.3.1.241",
            CLAIMS["groups"]: "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
            CLAIMS["role"]: "role",
        }
    }
}
ROLES = {"source": "role", "map": {"Admin": ["admin"], "Editor": ["editor"], "User": ["viewer"]}, "on_missing": "remove"}


@dataclass
class Connected:
    """A host app that knows the IdP, and is known to it."""

    host: Host
    idp: Idp
    origin: str

    @property
    def place(self) -> str:
        return f"{self.origin}/saml/contoso"

    def visitor(self, name: str = "alice", *, others: Sequence[Connected] = ()) -> Visitor:
        """Somebody with a browser that has been nowhere yet, for this app, its IdP and any others."""
        return visitor({one.origin: one.host.app for one in (self, *others)}, self.idp, name=name)

    def login_url(self, next: str = "/reports/7", **query: str) -> str:
        return f"{self.place}/login?next={next}" + "".join(f"&{name}={value}" for name, value in query.items())

    def signed_in(self, person: Visitor | str = "alice") -> Visitor:
        person = self.visitor(person) if isinstance(person, str) else person
        page = person.open(self.login_url())
        assert (page.status, page.url) == (200, f"{self.origin}/reports/7"), (page.text, self.why())
        return person

    def who(self, person: Visitor) -> str:
        """Whom the app takes somebody for."""
        return person.browser.new_tab().get(f"{self.origin}/").text

    def sign_out(self, person: Visitor) -> Page:
        """A button of the app's own page that signs out of the IdP too."""
        person.browser.get(f"{self.origin}/")
        return person.press(Form(f"{self.origin}/saml/logout", fields=(("everywhere", "1"),)))

    def why(self) -> list[tuple[str, str]]:
        """The refusals so far, with their details."""
        return [(row.reason, row.detail) for row in self.host.rows("samljit_attempt") if row.reason]

    def roles(self) -> list[str]:
        return sorted(row.role for row in self.host.rows("samljit_role_grant"))

    def metadata(self) -> bytes:
        return self.host.app.test_client().get("/saml/contoso/metadata", base_url=self.origin).data


Connect = Callable[..., Connected]


def connected(
    idp: Idp,
    directory: Path,
    *,
    origin: str = ORIGIN,
    tenant: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
    **options: Any,
) -> Connected:
    """`tenant` and `top` replace or add keys of the settings, None takes one away; `options` go to `make_host`.

    The IdP takes the app up under the host name of `origin`, in place of the one before it there.
    """
    metadata = directory / "idp.xml"
    metadata.write_bytes(idp.metadata())
    contoso = {
        "name": "Contoso",
        "entra_tenant_id": DIRECTORY_ID,
        "domains": ["contoso.example"],
        "idp": {"metadata_file": str(metadata)},
        "mapping": {"fields": FIELDS, "roles": ROLES},
        **(tenant or {}),
    }
    settings = {
        "base_url": origin,
        "sp": key_files(directory, current=signing_key("interop sp"), next=signing_key("interop sp, next")),
        "tenants": {"contoso": {key: value for key, value in contoso.items() if value is not None}},
        **(top or {}),
    }
    made = Connected(make_host(directory, settings=settings, **options), idp, origin)
    idp.register(made.metadata(), name=urlsplit(origin).hostname or "")
    return made
