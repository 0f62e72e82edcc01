"""What workflow `ApplyResources` and its activity exchange (docs/contract.md, section 18).

Resources are the Jobs and AuthSessions that are files of a project.
"""

from __future__ import annotations

from callboard.schemas.workflow.base import FlowModel


class ApplyResourcesInput(FlowModel):
    """Input of the workflow `ApplyResources` and of its activity."""

    workspace: str
    project: str


class ResourceChanges(FlowModel):
    """What was changed so that Jobs, or AuthSessions, agree with the files of a project. All are ids, sorted."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Sentences about files that could not be applied, and will not be until somebody changes something."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to say."""
        return self != ResourceChanges()


class AppliedResources(FlowModel):
    """Result of the workflow `ApplyResources`, and of its activity."""

    version: str | None = None
    """The version whose files were applied: the one that was deployed; None if none was."""
    jobs: ResourceChanges = ResourceChanges()
    auth_sessions: ResourceChanges = ResourceChanges()
