"""The mapping document as people write it: its shape for pydantic, its JSON Schema, and how one is laid over another.

What depends on the host's columns is checked by `compile_mapping`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from samljit.model import Multi, OnMissing, SyncMode, ValueType

# strict mode would want enum members, and JSON has only their names
SyncModeName = Annotated[SyncMode, Field(strict=False)]
MultiName = Annotated[Multi, Field(strict=False)]
OnMissingName = Annotated[OnMissing, Field(strict=False)]
TypeName = Annotated[ValueType, Field(strict=False)]
ClaimName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"\S")]
Constant = str | bool | int | list[str]


def _refuse(_: Any) -> Any:
    raise PydanticCustomError("not_supported", "This is not available in this version.", {"hint": "Leave it out."})


def _only_identifier(value: Any) -> Any:
    return _refuse(value) if value in ("email_link", "email_deny") else value


# a section that the mapping language has and this version has not: refused, never ignored
NotYet = Annotated[SkipJsonSchema[Any], BeforeValidator(_refuse), Field(exclude=True)]


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

    source: ClaimName | list[ClaimName] | None = Field(
        default=None, description="A claim, or claims in order: the first with a value wins."
    )
    template: str | None = Field(default=None, description="Text with claims in braces.", examples=["{givenname} {surname}"])
    value: Constant | None = Field(default=None, description="A constant.")
    transform: list[str | StepDocument] = Field(
        default=[], description="Steps applied to each value, left to right.", examples=[["lowercase"]]
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

    source: ClaimName = Field(default="objectidentifier", description="The claim that never changes for a person.")
    match: Annotated[Literal["identifier"], BeforeValidator(_only_identifier)] = Field(
        default="identifier", description="An existing user is never looked for by anything else than the subject."
    )


class MappingDocument(_Document):
    """Which claims fill which fields. A field is a claim's name, or an object; null drops an inherited one."""

    identity: IdentityDocument = IdentityDocument()
    sync_mode: SyncModeName = Field(default=SyncMode.ALWAYS, description="When fields are written that do not say so themselves.")
    fields: dict[str, ClaimName | FieldDocument | None] = Field(default={}, description="By the name of the user record's column.")
    roles: NotYet = None
    policy: NotYet = None


def merge_documents(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A tenant's document laid over the defaults: section by section, `fields` by target, null drops an inherited one.

    Neither needs to be valid. A null that drops nothing stays, so that `compile_mapping` can point at it.
    """
    merged = {**defaults, **own}
    inherited, fields = defaults.get("fields"), own.get("fields")
    if isinstance(inherited, Mapping) and isinstance(fields, Mapping):
        both = {**inherited, **fields}
        merged["fields"] = {target: rule for target, rule in both.items() if rule is not None or target not in inherited}
    return merged
