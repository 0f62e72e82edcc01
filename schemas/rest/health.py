"""Answers of `healthz` and `readyz` (docs/contract.md, section 13.6)."""

from __future__ import annotations

from typing import Literal

from schemas.rest.base import ResponseModel


class Alive(ResponseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class PartState(ResponseModel):
    """One part that a Run needs."""

    status: Literal["ok", "warning", "failed"]
    """`warning`: it is worth a look, and does not keep Runs from going through."""
    message: str | None = None
    """What is wrong with it. Absent without a key: it may name addresses and projects."""


class Readiness(ResponseModel):
    """Whether a Run that is started now would go through."""

    status: Literal["ready", "not-ready"]
    temporal: PartState
    store: PartState
    projects: dict[str, PartState] | None = None
    """Whether each project has as many Machines as it should. Absent without a key."""

    def without_details(self) -> Readiness:
        """Return the states alone, for a caller without a key."""
        return Readiness(
            status=self.status,
            temporal=PartState(status=self.temporal.status),
            store=PartState(status=self.store.status),
        )
