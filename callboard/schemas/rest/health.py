"""Answers of `healthz` and `readyz` (docs/contract.md, section 13.6)."""

from __future__ import annotations

from typing import Literal

from callboard.schemas.rest.base import ResponseModel


class LivenessAnswer(ResponseModel):
    """Whether the process works."""

    status: Literal["alive", "not-alive"]
    message: str | None = None
    """What is wrong. It is absent without a key."""


class ComponentStatus(ResponseModel):
    """The status of a component that Runs need."""

    status: Literal["ok", "warning", "failed"]
    """The status. A `warning` does not keep Runs from completing."""
    message: str | None = None
    """What is wrong. It is absent without a key, because it may name addresses and projects."""


class Readiness(ResponseModel):
    """Whether a Run that is started now can be executed."""

    status: Literal["ready", "not-ready"]
    temporal: ComponentStatus
    store: ComponentStatus
    projects: dict[str, ComponentStatus] | None = None
    """The status of each project: whether workers hold as many Machines for it as its settings say. It is absent
    without a key."""

    isolation: ComponentStatus | None = None
    """Whether all Machines are isolated fully. It is absent without a key, and where no worker tells."""

    def without_details(self) -> Readiness:
        """Return the statuses alone, for a caller without a key."""
        return Readiness(
            status=self.status,
            temporal=ComponentStatus(status=self.temporal.status),
            store=ComponentStatus(status=self.store.status),
        )
