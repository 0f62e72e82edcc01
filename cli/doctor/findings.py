"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How good it is."""

    OK = "ok"
    WARNING = "warning"
    """Callboard works, but not all of it as it might be meant."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It cannot be looked at, because of something else that failed; or it is not needed here."""


@dataclass(frozen=True)
class Finding:
    """The result of one check. Sentences for people; no secret is among them."""

    check: str
    status: Status
    found: str
    mend: str | None = None
    """What to do about it."""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, mend: str) -> Finding:
    """It works, but."""
    return Finding(check, Status.WARNING, found, mend)


def failed(check: str, found: str, mend: str) -> Finding:
    """It must be mended."""
    return Finding(check, Status.FAILED, found, mend)


def skipped(check: str, why: str) -> Finding:
    """It was not looked at."""
    return Finding(check, Status.SKIPPED, why)
