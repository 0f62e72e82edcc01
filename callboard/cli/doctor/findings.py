"""The findings of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """Callboard works, but perhaps not all of it as intended."""
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """The result of one check, in sentences for people that hold no secret."""

    check: str
    status: Status
    message: str
    fix: str | None = None
    """Instructions for fixing what was found."""


def ok(check: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Status.OK, message)


def warning(check: str, message: str, fix: str) -> Finding:
    """Return a finding that it works, but perhaps not as intended."""
    return Finding(check, Status.WARNING, message, fix)


def failed(check: str, message: str, fix: str) -> Finding:
    """Return a finding that something must be fixed."""
    return Finding(check, Status.FAILED, message, fix)
