"""The host's user class: what samljit was told about it, what its columns are, and the one way to read and write its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import ColumnProperty, Mapper, Session
from sqlalchemy.orm.exc import StaleDataError

from samljit.errors import ConfigError, Problem, ProvisioningRefused, Reason
from samljit.model import ExistingUser, Tenant, UserColumn, UserShape, ValueType
from samljit.sql.roles_field import check_roles_field, read_roles, write_roles
from samljit.sql.tables import Tables, make_tables
from samljit.store import HostRefused, LostRace

TenantFields = Callable[[Tenant], Mapping[str, Any]]
IsPrivileged = Callable[[Any], bool]

_PASSWORD_WORDS = ("password", "passwd", "pwd")


@dataclass(frozen=True, slots=True)
class HostUsers:
    """The host's user class with samljit's tables beside it. Rows go through the class, so its validators and events run."""

    model: type[Any]
    mapper: Mapper[Any]
    tables: Tables
    key: str
    email_field: str | None
    active_field: str | None
    tenant_fields: TenantFields | None
    is_privileged: IsPrivileged | None = None
    roles_field: str | None = None

    @property
    def bind(self) -> dict[str, Any]:
        """Which engine own statements go to: that of the host's class, whether it is bound by its class, its table or its bind key."""
        return {"mapper": self.mapper, "clause": self.mapper.persist_selectable}

    def shape(self, protected: frozenset[str], *, grantable_roles: frozenset[str] | None = None) -> UserShape:
        """The columns a mapping may fill. Keys, passwords, the active flag, roles, what SQLAlchemy keeps for itself and `protected` are
        never targets (trust: 32)."""
        columns = {attribute.key: _describe(attribute) for attribute in column_attributes(self.mapper)}
        sqlalchemys = self._kept_by_sqlalchemy()
        filled = {self.key, self.active_field, *sqlalchemys}
        columns |= {name: replace(column, has_default=True) for name, column in columns.items() if name in filled}
        passwords = {name for name in columns if any(word in name.lower() for word in _PASSWORD_WORDS)}
        own = {name for name in (self.key, self.active_field, self.roles_field, *sqlalchemys) if name}
        return UserShape(
            columns=columns,
            protected=frozenset(own | passwords | protected),
            email_field=self.email_field,
            active_field=self.active_field,
            host_fills=self.tenant_fields is not None,
            knows_privileged=self.is_privileged is not None,
            grantable_roles=grantable_roles,
        )

    def _kept_by_sqlalchemy(self) -> set[str]:
        """The columns that SQLAlchemy fills itself: by which it tells sub-classes apart, and counts the versions of a row."""
        columns = (self.mapper.polymorphic_on, self.mapper.version_id_col)
        return {self.mapper.get_property_by_column(column).key for column in columns if isinstance(column, sa.Column)}

    def fields_of(self, tenant: Tenant) -> dict[str, Any]:
        """The tenant's columns with their values, as the host's `tenant_fields` gives them.

        Raises: ProvisioningRefused (host_refused) where that raises.
        """
        if self.tenant_fields is None:
            return {}
        try:
            return dict(self.tenant_fields(tenant))
        except Exception as error:
            raise ProvisioningRefused(Reason.HOST_REFUSED, f"tenant_fields raised {type(error).__name__}") from error

    def holding(self, fields: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
        """The conditions of a query for the users whose records hold these values, in the database's idea of equal.

        Raises: ProvisioningRefused (host_refused) where the class has nothing mapped that is called so.
        """
        if unknown := sorted(set(fields) - set(self.mapper.all_orm_descriptors.keys())):
            raise ProvisioningRefused(Reason.HOST_REFUSED, f"tenant_fields names what no query can find: {', '.join(unknown)}")
        return [getattr(self.model, name) == value for name, value in fields.items()]

    def is_active(self, user: Any) -> bool:
        return self.active_field is None or bool(getattr(user, self.active_field))

    def load(self, session: Any, user_id: Any) -> Any:
        """An active user, afresh from the database; None if there is none."""
        user = session.get(self.model, user_id, populate_existing=True)
        return user if user is not None and self.is_active(user) else None

    def read(self, user: Any, *, tenant: Tenant, granted: frozenset[str] = frozenset()) -> ExistingUser:
        """The user as it stands; `granted` are the roles that samljit granted for the tenant.

        Raises: ProvisioningRefused (user_outside_tenant).
        """
        for name, expected in self.fields_of(tenant).items():
            if getattr(user, name) != expected:
                raise ProvisioningRefused(Reason.USER_OUTSIDE_TENANT, f"field {name}")
        values = {rule.target: getattr(user, rule.target) for rule in tenant.mapping.fields}
        roles = None
        if self.roles_field is not None and tenant.mapping.roles is not None:
            roles = frozenset(read_roles(user, self.roles_field))
        return ExistingUser(getattr(user, self.key), self.is_active(user), values, granted, roles)

    def create(
        self, session: Session, values: Mapping[str, Any], *, tenant: Tenant, is_active: bool, granted: tuple[str, ...] = ()
    ) -> tuple[Any, frozenset[str]]:
        """Makes a user. Gives its key, and which of the roles granted were put into the host's roles_field.

        Raises: HostRefused, WriteConflict.
        """
        fixed: dict[str, Any] = self.fields_of(tenant)
        if self.active_field:
            fixed[self.active_field] = is_active
        with _host_code():
            user = _construct(self.model, {**values, **fixed})
            session.add(user)
            added = self._add_roles(user, granted)
            session.flush()
        return getattr(user, self.key), added

    def _add_roles(self, user: Any, granted: tuple[str, ...]) -> frozenset[str]:
        if self.roles_field is None or not granted:
            return frozenset()
        before = read_roles(user, self.roles_field)
        added = [role for role in granted if role not in before]
        write_roles(user, self.roles_field, added=added, removed=[])
        return frozenset(added)

    def update(self, session: Session, user_id: Any, values: Mapping[str, Any]) -> None:
        """Writes just these columns. Raises: HostRefused, WriteConflict."""
        user = session.get(self.model, user_id)
        with _host_code():
            for name, value in values.items():
                setattr(user, name, value)
            session.flush()

    def change_roles(
        self, session: Session, user_id: Any, *, granted: tuple[str, ...], revoked: frozenset[str]
    ) -> frozenset[str]:
        """Keeps the host's roles_field in step, and gives those roles that were not in it before. All others stay in it.

        Raises: HostRefused, WriteConflict.
        """
        if self.roles_field is None or not (granted or revoked):
            return frozenset()
        user = session.get(self.model, user_id)
        with _host_code():
            if self.roles_field in self.mapper.column_attrs:
                # read again and locked: what somebody grants by hand in this very moment must not be overwritten
                session.refresh(user, [self.roles_field], with_for_update={"key_share": True})
            before = read_roles(user, self.roles_field)
            added = [role for role in granted if role not in before]
            write_roles(user, self.roles_field, added=added, removed=[role for role in before if role in revoked])
            session.flush()
        return frozenset(added)

    def is_privileged_user(self, user: Any) -> bool:
        """Whether the host calls this user privileged; whom it cannot tell is. Raises: HostRefused."""
        with _host_code():
            return self.is_privileged is None or self.is_privileged(user) is not False


def _construct(model: type[Any], values: Mapping[str, Any]) -> Any:
    """A user made by the host's constructor. A dataclass's takes some columns and demands others: the first are set after it,
    the second are None where no claim fills them, which is what the column of any other class would be."""
    if not dataclasses.is_dataclass(model):
        return model(**values)
    fields = [field for field in dataclasses.fields(model) if field.init]
    demanded = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    taken = {field.name for field in fields}
    user = model(**{**dict.fromkeys(demanded), **{name: value for name, value in values.items() if name in taken}})
    for name, value in values.items():
        if name not in taken:
            setattr(user, name, value)
    return user


@contextmanager
def _host_code() -> Iterator[None]:
    """Turns whatever the host's validators and events raise into HostRefused, what SQLAlchemy raises inside them too.

    Only what the database says passes through as it is; and a class that counts its versions says that somebody else was faster.
    Raises: HostRefused, LostRace.
    """
    try:
        yield
    except (StatementError, PoolTimeout):
        raise
    except StaleDataError as error:
        raise LostRace(type(error).__name__) from error
    except Exception as error:
        raise HostRefused(type(error).__name__) from error


def inspect_users(
    model: type[Any],
    *,
    email_field: str | None,
    active_field: str | None,
    tenant_fields: TenantFields | None,
    is_privileged: IsPrivileged | None = None,
    roles_field: str | None = None,
) -> HostUsers:
    """Looks the host's user class over and makes samljit's tables in its MetaData.

    Raises: ConfigError for a class that is not mapped, a composite key, or a field that it does not have.
    """
    mapper = sa.inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise ConfigError([Problem("user_model", "not_mapped", "user_model must be a class mapped by SQLAlchemy.")])
    tables = make_tables(mapper)
    names = {attribute.key for attribute in column_attributes(mapper)}
    problems = [
        Problem(role, "unknown_field", f"{model.__name__} has no column attribute {name!r}.", f"Give one of {sorted(names)}, or None.")
        for role, name in (("email_field", email_field), ("active_field", active_field))
        if name is not None and name not in names
    ]
    problems += [] if roles_field is None else check_roles_field(mapper, roles_field)
    if problems:
        raise ConfigError(problems)
    users = HostUsers(
        model=model,
        mapper=mapper,
        tables=tables,
        key=mapper.get_property_by_column(tables.user_key).key,
        email_field=email_field,
        active_field=active_field,
        tenant_fields=tenant_fields,
        is_privileged=is_privileged,
        roles_field=roles_field,
    )
    _forget_deleted(users)
    return users


def _forget_deleted(users: HostUsers) -> None:
    """A user whom the host deletes takes the identity along, also where the database enforces no foreign key (trust: 30).

    On SQLite the trigger beside the tables does it for raw SQL; but Alembic makes tables without it, and its batch mode loses it.
    So a new user is also parted from whatever names its id: SQLite has given it the id of a deleted one.
    """
    tables = users.tables
    if tables.user.info.get("samljit.listening"):
        return
    tables.user.info["samljit.listening"] = True
    owned = (tables.identity, tables.role_grant, tables.session)
    named = (sa.exists().where(table.c.user_id == sa.bindparam("user_id")) for table in (*owned, tables.attempt))
    left_behind = sa.select(sa.literal(1)).where(sa.or_(*named))

    @event.listens_for(users.mapper, "after_delete", propagate=True)
    def forget(_: Mapper[Any], connection: sa.Connection, user: Any) -> None:
        key = getattr(user, users.key)
        for table in owned:
            connection.execute(sa.delete(table).where(table.c.user_id == key))
        connection.execute(sa.update(tables.attempt).where(tables.attempt.c.user_id == key).values(user_id=None))

    @event.listens_for(users.mapper, "after_insert", propagate=True)
    def part(mapper: Mapper[Any], connection: sa.Connection, user: Any) -> None:
        if connection.dialect.name == "sqlite" and connection.execute(left_behind, {"user_id": getattr(user, users.key)}).first():
            forget(mapper, connection, user)


def column_attributes(mapper: Mapper[Any]) -> list[ColumnProperty[Any]]:
    """The attributes of a class that are columns of a table, and no SQL expressions."""
    return [attribute for attribute in mapper.column_attrs if isinstance(attribute.columns[0], sa.Column)]


def _describe(attribute: ColumnProperty[Any]) -> UserColumn:
    column = attribute.columns[0]
    assert isinstance(column, sa.Column)
    return UserColumn(
        name=attribute.key,
        type=_value_type(column.type),
        nullable=bool(column.nullable),
        unique=_is_unique(column),
        length=getattr(column.type, "length", None) if isinstance(column.type, sa.String) else None,
        has_default=column.default is not None or column.server_default is not None,
        bits=_bits(column.type),
    )


def _value_type(kind: sa.types.TypeEngine[Any]) -> ValueType | None:
    """What claims are turned into for a column of this type; None where they cannot fill it."""
    if isinstance(kind, (sa.JSON, sa.ARRAY)):
        return ValueType.LIST
    try:
        python_type = kind.python_type
    except NotImplementedError:
        return None
    table = {str: ValueType.STRING, bool: ValueType.BOOLEAN, int: ValueType.INTEGER, date: ValueType.DATE, list: ValueType.LIST}
    return None if issubclass(python_type, datetime) else table.get(python_type)


def _bits(kind: sa.types.TypeEngine[Any]) -> int:
    # SQLAlchemy makes both the wide and the narrow type kinds of Integer; a plain one has 32 bits on PostgreSQL and MariaDB
    return 16 if isinstance(kind, sa.SmallInteger) else 64 if isinstance(kind, sa.BigInteger) else 32


def _is_unique(column: sa.Column[Any]) -> bool:
    """Whether a value may occur once in the whole table: by the column, a constraint or an index on it alone."""
    return any(names == {column.name} for names in unique_sets(column.table))


def unique_sets(table: sa.FromClause) -> list[set[str]]:
    """The sets of names of a table's columns whose values must be unique together."""
    if not isinstance(table, sa.Table):
        return []
    found = [{column.name} for column in table.columns if column.unique or (column.primary_key and len(table.primary_key) == 1)]
    found += [
        {column.name for column in constraint.columns}
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    found += [{column.name for column in index.columns} for index in table.indexes if index.unique]
    return [names for names in found if names]
