"""The mapping document as people write it: its shape for pydantic, its JSON Schema, and how one is laid over another.

What depends on the host's columns is checked by `compile_mapping`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from samljit.model import Guests, Match, Multi, OnMissing, Overage, RolesMissing, RoleSync, SyncMode, UserState, ValueType

MOST_LISTED = 100  # claims of one source, steps of one field: looked at for each value, and shown with all that can be chosen

# strict mode would want enum members, and JSON has only their names
SyncModeName = Annotated[SyncMode, Field(strict=False)]
MultiName = Annotated[Multi, Field(strict=False)]
OnMissingName = Annotated[OnMissing, Field(strict=False)]
TypeName = Annotated[ValueType, Field(strict=False)]
MatchName = Annotated[Match, Field(strict=False)]
RoleSyncName = Annotated[RoleSync, Field(strict=False)]
RolesMissingName = Annotated[RolesMissing, Field(strict=False)]
OverageName = Annotated[Overage, Field(strict=False)]
GuestsName = Annotated[Guests, Field(strict=False)]
UserStateName = Annotated[UserState, Field(strict=False)]
ClaimName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"[^\s=]")]
ClaimNames = Annotated[list[ClaimName], Field(min_length=1, max_length=MOST_LISTED)]
Value = Annotated[str, Field(max_length=4096, pattern=r"\S")]
# trimmed, because some databases hold "viewer" and "viewer " for one
RoleName = Annotated[str, Field(max_length=255, pattern=r"^\S(.*\S)?$")]
Constant = str | bool | int | list[str]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StepDocument(_Document):
    """A transform that takes an argument."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    split: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Cuts a value into several at this text.", examples=[","]
    )
    map: dict[str, str] | None = Field(
        default=None, description="Puts another value in a value's place. A value it does not name is refused."
    )

    @model_validator(mode="after")
    def _is_one_step(self) -> Self:
        if (self.split is None) == (self.map is None):
            raise PydanticCustomError("invalid", 'Must hold either "split" or "map".', {"hint": "Write one step per list item."})
        return self


class FieldDocument(_Document):
    """What fills one field of the user record."""

    source: ClaimName | Annotated[list[ClaimName], Field(max_length=MOST_LISTED)] | None = Field(
        default=None, description="A claim, or claims in order: the first with a value wins."
    )
    template: str | None = Field(default=None, description="Text with claims in braces.", examples=["{givenname} {surname}"])
    value: Constant | None = Field(default=None, description="A constant.")
    transform: list[str | StepDocument] = Field(
        default=[], max_length=MOST_LISTED, description="Steps applied to each value, left to right.", examples=[["lowercase"]]
    )
    multi: MultiName = Field(default=Multi.FIRST, description="What is done with several values.")
    separator: str | None = Field(default=None, description='Stands between values with "multi": "join". Else ", ".')
    type: TypeName | None = Field(default=None, description="What the value must be. Else the column's own type.")
    required: bool = Field(default=False, description="Without a value nobody is signed in.")
    default: Constant | None = Field(default=None, description="Taken when a user is created and there is no value.")
    sync_mode: SyncModeName | None = Field(default=None, description="When the field is written. Else the document's sync_mode.")
    on_missing: OnMissingName = Field(default=OnMissing.KEEP, description="What is done with the field when there is no value.")


class IdentityDocument(_Document):
    """How a person is known again."""

    source: ClaimName | None = Field(
        default=None,
        description="The claim that never changes for a person. Absent: what the tenant's preset says, for Entra objectidentifier.",
    )
    match: MatchName = Field(
        default=Match.IDENTIFIER,
        description=(
            "What is done about a user with the same e-mail at somebody's first sign-in: identifier never looks for one, email_link "
            "makes it theirs, email_deny refuses."
        ),
    )


class RolesDocument(_Document):
    """Which roles follow from which claim values."""

    source: ClaimName | ClaimNames | None = Field(
        default=None, description="A claim, or several whose values count together.", examples=["groups"]
    )
    map: dict[Value, list[RoleName]] = Field(
        default={}, description="A claim's value, and the roles it gives.", examples=[{"App.Admin": ["admin"]}]
    )
    notes: dict[Value, Annotated[str, Field(max_length=200)]] = Field(
        default={},
        description="What a value of the map stands for, for people: an object id tells them nothing. Nothing goes by it.",
        examples=[{"07dd8a60-bf6d-4e17-8844-230b77145381": "Editors in Berlin"}],
    )
    default: list[RoleName] = Field(default=[], description="The roles of those for whom nothing in the map matches.")
    sync_mode: RoleSyncName = Field(
        default=RoleSync.AUTHORITATIVE,
        description=(
            "authoritative: granted and revoked at each sign-in; additive: only granted; on_create: granted once, with the user; "
            "off: left alone."
        ),
    )
    on_missing: RolesMissingName | None = Field(
        default=None,
        description=(
            "When none of the claims came: keep, remove (once they have been seen for the tenant) or deny. authoritative has no default."
        ),
        examples=["remove"],
    )
    on_overage: OverageName = Field(default=Overage.KEEP, description="When there are too many groups for Entra to send: keep or deny.")


class RequirementDocument(_Document):
    """Somebody without one of these values is not let in."""

    source: ClaimName | ClaimNames = Field(description="A claim, or several whose values count together.", examples=["groups"])
    any_of: Annotated[list[Value], Field(min_length=1)] = Field(description="One of these values must be there.")


class PolicyDocument(_Document):
    """Who is let in, and what may be done to user records."""

    create_users: bool = Field(default=True, description="false: only those who have a user already are let in.")
    update_users: bool = Field(default=True, description="false: the fields of users who are there are left alone.")
    allowed_domains: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = Field(
        default=None,
        description="The e-mail domains that people may come with; a sub-domain is another domain.",
        examples=[["contoso.com"]],
    )
    require: list[RequirementDocument] = Field(default=[], description="Each of these must be met.")
    guests: GuestsName = Field(
        default=Guests.ALLOW,
        description="deny refuses guests of the directory: the claim acct is 1, or identityprovider is not the tenant's own.",
    )
    new_user_state: UserStateName = Field(
        default=UserState.ACTIVE, description="inactive: new users are made, and wait for somebody to switch them on."
    )
    max_users: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many users the tenant may have; those who have one are let in."
    )


class MappingDocument(_Document):
    """Which claims fill which fields. A field is a claim's name, or an object; null drops an inherited one."""

    identity: IdentityDocument = IdentityDocument()
    sync_mode: SyncModeName = Field(default=SyncMode.ALWAYS, description="When fields are written that do not say so themselves.")
    fields: dict[str, ClaimName | FieldDocument | None] = Field(default={}, description="By the name of the user record's column.")
    roles: RolesDocument | None = Field(default=None, description="Which roles follow from which claim values.")
    policy: PolicyDocument | None = Field(default=None, description="Who is let in, and what may be done to user records.")


def object_at(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object at this key, or an empty one."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def merge_documents(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A tenant's document laid over the defaults: section by section, `fields` by target, null drops an inherited one.

    So the tenant's `roles` and `policy` take the place of the inherited ones as a whole.

    Neither needs to be valid. A null that drops nothing stays, so that `compile_mapping` can point at it.
    """
    merged = {**defaults, **own}
    inherited, fields = defaults.get("fields"), own.get("fields")
    if isinstance(inherited, Mapping) and isinstance(fields, Mapping):
        both = {**inherited, **fields}
        merged["fields"] = {target: rule for target, rule in both.items() if rule is not None or target not in inherited}
    return merged
