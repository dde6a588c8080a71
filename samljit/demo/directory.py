"""The people of Fake Entra's directory: ready ones that each show something, and a form's changes to their claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import NAMESPACE_DNS, uuid4, uuid5

from samljit.testing import Person

ADMIN_ROLE = "Reports.Admin"  # the app role that opens Northwind's admin pages
DEPARTMENT = "department"
JOB_TITLE = "jobtitle"
_LOCALE = "preferredlanguage"
_FABRIKAM = "bbbbcccc-1111-dddd-2222-eeee3333ffff"


@dataclass(frozen=True, slots=True)
class Account:
    """A person, what they are there to show, and the app roles of their coming sign-ins where those take turns."""

    person: Person
    about: str = ""
    next_roles: tuple[tuple[str, ...], ...] = ()

    @property
    def id(self) -> str:
        return self.person.object_id

    @property
    def name(self) -> str:
        return self.person.display_name or self.person.login_name or self.id

    @property
    def initials(self) -> str:
        letters = [word[0] for word in self.name.split() if word[0].isalnum()]
        return "".join([*letters[:1], *letters[1:][-1:]]).upper()


class Directory:
    """The accounts, by object ID, in memory."""

    def __init__(self) -> None:
        self._accounts = {account.id: account for account in _ready_accounts()}

    def all(self) -> list[Account]:
        return list(self._accounts.values())

    def find(self, object_id: str) -> Account | None:
        return self._accounts.get(object_id)

    def save(self, account: Account) -> None:
        self._accounts[account.id] = account

    def turn(self, account: Account) -> None:
        """After a sign-in: the next app roles, where they take turns."""
        if account.next_roles:
            [roles, *rest] = account.next_roles
            person = replace(account.person, roles=roles)
            self.save(replace(account, person=person, next_roles=(*rest, account.person.roles)))


def changed(account: Account, form: Mapping[str, str]) -> Account:
    """The account with the claims of a filled-in form. A blank text is a claim that is not sent."""
    person = account.person
    extra = {name: values for name, values in person.extra.items() if name not in (DEPARTMENT, JOB_TITLE)}
    given = {DEPARTMENT: _text(form, "department"), JOB_TITLE: _text(form, "job_title")}
    roles = _lines(form, "roles")
    person = replace(
        person,
        display_name=_text(form, "display_name"),
        given_name=_text(form, "given_name"),
        surname=_text(form, "surname"),
        email=_text(form, "email"),
        groups=_lines(form, "groups"),
        overage="overage" in form,
        roles=roles,
        extra=extra | {name: [value] for name, value in given.items() if value},
    )
    return replace(account, person=person, next_roles=account.next_roles if roles == account.person.roles else ())


def new_account(form: Mapping[str, str]) -> Account:
    """Somebody new; their e-mail address is their login name too."""
    account = changed(Account(Person(object_id=str(uuid4())), about="Added by you."), form)
    return replace(account, person=replace(account.person, upn=account.person.email))


def first_value(person: Person, name: str) -> str:
    """A claim that an admin configured besides Entra's own, as text for the form."""
    return next(iter(person.extra.get(name, ())), "")


def _text(form: Mapping[str, str], name: str) -> str | None:
    return form.get(name, "").strip() or None


def _lines(form: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in form.get(name, "").splitlines() if line.strip())


def _id(name: str) -> str:
    """The same at every start, so that a database that is kept knows its people again."""
    return str(uuid5(NAMESPACE_DNS, f"{name}.contoso.example"))


def _member(given_name: str, surname: str, *, department: str, job_title: str, **more: object) -> Person:
    address = f"{given_name}.{surname}@contoso.example".lower()
    person = Person(
        object_id=_id(address),
        display_name=f"{given_name} {surname}",
        given_name=given_name,
        surname=surname,
        email=address,
        upn=address,
        groups=(_id("everyone"), _id(department)),
        extra={DEPARTMENT: [department], JOB_TITLE: [job_title], _LOCALE: ["en-GB"]},
    )
    return replace(person, **more)  # type: ignore[arg-type]


def _ready_accounts() -> list[Account]:
    guest = Person(
        object_id=_id("miriam.graham"),
        display_name="Miriam Graham (Fabrikam)",
        surname="Graham",
        email="miriam.graham@fabrikam.example",
        upn="miriam.graham_fabrikam.example#EXT#@contoso.example",
        guest=True,
        home_tenant_id=_FABRIKAM,
    )
    many_groups = tuple(_id(f"group {number}") for number in range(150))
    viewer, editor = ("Reports.Viewer",), ("Reports.Viewer", "Reports.Editor")
    return [
        Account(_member("Megan", "Bowen", department="Sales", job_title="Account Manager"), "An ordinary member."),
        Account(guest, "A guest from another directory, without a given name."),
        Account(
            _member("Pradeep", "Gupta", department="Finance", job_title="Controller", groups=many_groups),
            "A member of 150 groups, the most that Entra sends.",
        ),
        Account(
            _member("Lee", "Gu", department="Manufacturing", job_title="Director", groups=(), overage=True),
            "In so many groups that Entra sends a link in their place.",
        ),
        Account(
            _member("Isaiah", "Langer", department="Sales", job_title="Sales Representative", roles=viewer),
            "Other app roles at every sign-in.",
            next_roles=(editor, ()),
        ),
        Account(
            _member("Adele", "Vance", department="IT", job_title="Identity Administrator", roles=(ADMIN_ROLE,)),
            "Looks after Contoso's sign-in: opens the admin pages.",
        ),
    ]
