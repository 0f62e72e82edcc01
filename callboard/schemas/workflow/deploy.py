"""What the workflow `Deploy` and its activities exchange, and what its memo tells (docs/contract.md, section 8.4)."""

from __future__ import annotations

from datetime import datetime

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum

FAILED_MESSAGE = "The deploy has failed. What was deployed before is not changed."


class DeployInput(FlowModel):
    """Input of the workflow `Deploy`, and of its activities on the common task queue."""

    workspace: str
    project: str
    upload: str
    """The id of the upload that is deployed."""
    by: str
    """Who asks for it."""
    message: str | None = None
    commit: str | None = None
    promote: bool = True
    """Whether the version becomes the one that is deployed. If not, it is only stored."""


class FrozenVenv(FlowModel):
    """The packages installed in a project's own `.venv`."""

    python: str
    """Minor version of the `.venv`'s Python, such as `3.12`."""
    requirements: str
    """Exact requirements, one per line."""


class CheckedUpload(FlowModel):
    """Result of the activity `check_upload`."""

    version: str
    frozen: FrozenVenv | None = None


class BuildInput(FlowModel):
    """Input of the activity `build_version`, which workers with the role `browser` execute."""

    project: str
    upload: str
    version: str
    """The version, whose bundle is stored."""
    frozen: FrozenVenv | None = None


class PublishedVersion(FlowModel):
    """Result of the activity `publish_upload`."""

    version: str
    deployed_at: datetime
    """When the version was published, by the clock of Temporal."""
    has_resources: bool
    """Whether Jobs or AuthSessions have to be made to agree with the files of this version."""


class DeployStatus(OpenStrEnum):
    """How far a deploy is, in the words of the contract."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


class DeployView(FlowModel):
    """What is shown of a deploy: its workflow keeps it in its memo."""

    project: str
    status: DeployStatus = DeployStatus.PENDING
    message: str = "The deploy waits for a worker with the role control."
    """A sentence for people about what is done now, or how it has ended."""
    reason: str | None = None
    """Why it has failed."""
    promote: bool = True
    published: PublishedVersion | None = None
    """What it has published; None until it has completed."""
