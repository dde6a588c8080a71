"""What `check` finds: one finding for each thing looked at, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable, for scripts; `what` is a sentence, `remedy` what to do, empty where all is well."""

    status: Status
    area: str
    code: str
    what: str
    remedy: str = ""


def ok(area: str, code: str, what: str) -> Finding:
    return Finding(Status.OK, area, code, what)


def warning(area: str, code: str, what: str, remedy: str) -> Finding:
    return Finding(Status.WARNING, area, code, what, remedy)


def problem(area: str, code: str, what: str, remedy: str) -> Finding:
    return Finding(Status.PROBLEM, area, code, what, remedy)
