"""The choice of Attempts whose trace is kept (docs/contract.md, section 12)."""

from __future__ import annotations

from typing import Literal

from callboard.schemas.workflow.base import OpenStrEnum


class TraceMode(OpenStrEnum):
    """For which Attempts a trace is kept."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    """A trace is kept of all Attempts that did not complete."""
    NEVER = "never"

    @classmethod
    def of(cls, save_trace: bool | Literal["on-failure"]) -> TraceMode:  # noqa: FBT001 - the wire's own value
        """Return what the field `saveTrace` of a request asks for."""
        if save_trace == "on-failure":
            return cls.ON_FAILURE
        return cls.ALWAYS if save_trace else cls.NEVER

    @property
    def save_trace(self) -> bool | Literal["on-failure"]:
        """Return the field `saveTrace` that asks for this."""
        return "on-failure" if self is TraceMode.ON_FAILURE else self is TraceMode.ALWAYS

    def keeps(self, *, completed: bool) -> bool:
        """Tell whether the trace of an Attempt is kept, by whether it has completed."""
        return self is TraceMode.ALWAYS or (self is TraceMode.ON_FAILURE and not completed)
