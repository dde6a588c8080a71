"""What a test sign-in showed, as frozen data: every check with its result, what came, and what a real one would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from samljit.errors import Reason
from samljit.model import NameId, Plan


class Check(StrEnum):
    """What is checked, in the order in which one failure keeps the rest from being reached. Stored: never renamed."""

    DRAFT = "draft"
    SHAPE = "shape"
    DECRYPTION = "decryption"
    SIGNATURE = "signature"
    CONTENT = "content"
    ISSUER = "issuer"
    CLAIMS = "claims"
    DIRECTORY = "directory"
    REPLY_URL = "reply_url"
    AUDIENCE = "audience"
    TIMES = "times"
    NAME_ID = "name_id"
    REQUEST = "request"
    LIBRARY = "library"
    ONCE = "once"
    APP = "app"
    PERSON = "person"
    ACCOUNT = "account"


class CheckResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"


@dataclass(slots=True)
class Trace:
    """How far the judgement of one response came; whoever judges writes into it as they go.

    `claims` and `name_id` are set once a signature of the tenant's IdP covers them, also where the response is refused after that; of an
    assertion that came encrypted, once its Recipient is the tenant's own.
    """

    reached: list[Check] = field(default_factory=list)
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    name_id: NameId | None = field(default=None, repr=False)

    def begin(self, check: Check) -> None:
        self.reached.append(check)

    def results(self, *, failed: bool) -> tuple[tuple[Check, CheckResult], ...]:
        """Every check with its result; one that was passed over, because there was nothing to check, is left out.

        Where the judgement `failed`, it was at the check begun last.
        """
        order = list(Check)
        failed_at = order.index(self.reached[-1]) if failed else len(order)
        return tuple(
            (check, CheckResult.PASSED if place < failed_at else CheckResult.FAILED if place == failed_at else CheckResult.NOT_REACHED)
            for place, check in enumerate(order)
            if check in self.reached or place > failed_at
        )


@dataclass(frozen=True, slots=True)
class SignInTest:
    """The result of one test sign-in. It holds claim values and is shown to the tenant's admin alone.

    `is_signed` says whether the response was signed by the IdP of the draft; `contrast` is what a failed check expected and what it got
    instead; `plan` is what a sign-in would do, where it came that far, to the user `user_id` or to somebody new.
    """

    nonce: str
    draft_revision: int
    at: datetime
    is_signed: bool
    reason: Reason | None
    checks: tuple[tuple[Check, CheckResult], ...]
    detail: str = ""
    contrast: tuple[str, str] | None = field(default=None, repr=False)
    name_id: NameId | None = field(default=None, repr=False)
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    issuer: str = ""
    plan: Plan | None = field(default=None, repr=False)
    user_id: Any = None

    @property
    def passed(self) -> bool:
        return self.is_genuine and self.reason is None and self.plan is not None

    @property
    def is_genuine(self) -> bool:
        """Whether an assertion for just this request was accepted, and used up; another answer to it counts for nothing."""
        return (Check.ONCE, CheckResult.PASSED) in self.checks
