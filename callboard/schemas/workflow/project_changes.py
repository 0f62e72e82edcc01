"""What the workflows that change a project as a whole exchange: `MovePointer` and `DeleteProject`."""

from __future__ import annotations

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum


class PointerAction(OpenStrEnum):
    """Why the pointer to a project's deployed version is moved."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


class RefusalKind(OpenStrEnum):
    """Of what kind a refusal is."""

    NOT_FOUND = "not-found"
    CONFLICT = "conflict"


class Refusal(FlowModel):
    """Why a change is not made: something is not there, or contradicts it."""

    kind: RefusalKind
    message: str


class MovePointerInput(FlowModel):
    """Input of the workflow `MovePointer` and of its activity."""

    project: str
    action: PointerAction
    version: str | None = None
    """The version, which is stored; None for a rollback, which finds it."""
    by: str
    """Who asks for it."""


class MovePointerResult(FlowModel):
    """Result of the workflow `MovePointer` and of its activity."""

    version: str | None = None
    """The version that is deployed now; None if the move was refused."""
    refused: Refusal | None = None


class DeleteProjectInput(FlowModel):
    """Input of the workflow `DeleteProject` and of its activities."""

    workspace: str
    project: str
    by: str
    """Who asks for it."""
    cancel_open_runs: bool = False
    """Whether to cancel Runs and Deliveries that have not ended. If not, the project stays as long as there are any."""


class DeleteProjectResult(FlowModel):
    """Result of the workflow `DeleteProject`, and of its activity `withdraw_project`."""

    refused: Refusal | None = None
