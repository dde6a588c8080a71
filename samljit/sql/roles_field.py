"""The host's own list of role names, which is kept in step with what samljit grants: a column, a property or an association proxy."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.associationproxy import AssociationProxyExtensionType
from sqlalchemy.orm import Mapper

from samljit.errors import Problem


def check_roles_field(mapper: Mapper[Any], name: str) -> list[Problem]:
    """What is wrong with a roles_field of this name; nothing where names can be read from it and written to it."""
    model = mapper.class_
    if name in mapper.column_attrs:
        column = mapper.column_attrs[name].columns[0]
        if isinstance(column.type, (sa.JSON, sa.ARRAY)):
            return []
        hint = "Give a JSON or array column, or a property that reads and writes a list of names."
        return [Problem("roles_field", "not_a_list", f"{model.__name__}.{name} holds no list.", hint)]
    if name in mapper.relationships:
        hint = f"Give an association_proxy({name!r}, ...) or a property that reads and writes their names."
        return [Problem("roles_field", "not_a_list", f"{model.__name__}.{name} holds records, not the names of roles.", hint)]
    if not hasattr(model, name):
        return [Problem("roles_field", "unknown_field", f"{model.__name__} has no attribute {name!r}.", "Give its name, or None.")]
    own = getattr(model, name)
    if isinstance(own, property) and own.fset is None:
        return [Problem("roles_field", "not_a_list", f"{model.__name__}.{name} cannot be written.", "Give the property a setter.")]
    return []


def read_roles(user: Any, name: str) -> list[str]:
    """The roles in the host's list, in its order."""
    return [str(role) for role in getattr(user, name) or ()]


def write_roles(user: Any, name: str, *, added: list[str], removed: list[str]) -> None:
    """Adds and takes out just these; what stands there besides stays as it is."""
    if not added and not removed:
        return
    if not _is_proxy(user, name):
        setattr(user, name, [role for role in read_roles(user, name) if role not in removed] + added)
        return
    # in place: a proxy that is assigned to deletes and makes anew the records of all roles
    roles = getattr(user, name)
    for role in removed:
        roles.remove(role)
    add = roles.append if hasattr(roles, "append") else roles.add
    for role in added:
        add(role)


def _is_proxy(user: Any, name: str) -> bool:
    descriptor = sa.inspect(type(user)).all_orm_descriptors.get(name)
    return descriptor is not None and descriptor.extension_type is AssociationProxyExtensionType.ASSOCIATION_PROXY
