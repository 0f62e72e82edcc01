"""A Job as it is stored, and what its Schedule starts (docs/contract.md, section 17).

A Job is a Temporal Schedule, and its definition is an artifact that is never changed: an update stores another one, and
points the Schedule at it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.sink import SealedSink, SealedWebhook
from callboard.schemas.workflow.trace import TraceMode

PAYLOAD_CHUNK = 250
"""How many items of a payload one artifact holds."""


class JobSource(OpenStrEnum):
    """Where a Job comes from."""

    API = "API"
    CODE = "CODE"
    """A file of the project; a deploy creates, updates and removes the Job with it."""


class JobOverlap(OpenStrEnum):
    """What becomes of a JobRun that begins while another one of its Job is active."""

    SKIP = "skip"
    """It is recorded as canceled, with the reason `another-job-run-active`."""
    ALLOW = "allow"
    """Both are executed side by side."""
    QUEUE = "queue"
    """It waits until the other one has ended."""


class JobAuth(FlowModel):
    """The AuthSession of all Runs of a Job."""

    id: str
    check_attempts: int = 3
    create_attempts: int = 3
    save_trace: bool | str = False
    """`saveTrace` of the request: whether checks and creates leave a trace."""
    is_exclusive: bool = False
    """Whether its Runs take turns; if not, the project's default decides."""


class JobDefinition(FlowModel):
    """A Job as it was defined. Secrets in it are sealed for the Job (`callboard.security.seal_context.job`)."""

    workspace: str
    project: str
    job_id: str
    ref: str
    """Random name of this definition; part of the keys of its artifacts."""
    payload_count: int
    """How many items the payload has; they lie in artifacts of `PAYLOAD_CHUNK` items each, a line for each item."""
    configuration: dict[str, Any]
    """`configuration` of the request, as it is answered. It holds no secret: a proxy in it is in `proxy`."""
    maximum_attempts: int | None = None
    """Attempts of each Run, unless its item says otherwise; None for the project's default."""
    initial_interval: timedelta | None = None
    """`RetryIntervals` of each Run, with None for the project's default; the next two as well."""
    backoff_coefficient: float | None = None
    maximum_interval: timedelta | None = None
    request_timeout: timedelta | None = None
    """Time limit of each Attempt, unless the item says otherwise; None for the project's default."""
    max_concurrent_requests: int | None = None
    """How many Runs of a JobRun are in flight at most; None for twice the project's Machines."""
    max_runs: int | None = None
    """How many Runs a JobRun starts at most; None for any number."""
    trace: TraceMode = TraceMode.ALWAYS
    schedule: dict[str, Any] | None = None
    """`schedule` of the request, as it is answered; None for a Job that is started by hand only."""
    overlap: JobOverlap = JobOverlap.SKIP
    sink: SealedSink | None = None
    """Where results are delivered; None for the project's default."""
    proxy: SealedProxy | None = None
    auth: JobAuth | None = None
    notifications: tuple[SealedWebhook, ...] = ()
    """Who is told of the ends of JobRuns."""
    tags: tuple[str, ...] = ()
    """Tags of all Runs; an item may have further ones."""
    digest: str = ""
    """Hash of the file that the Job was read from; empty for one that came over REST."""


class JobRef(FlowModel):
    """The argument of a Schedule: which definition of which Job it starts. Input of the workflow `TriggerJob`."""

    workspace: str
    project: str
    job_id: str
    definition: str
    """`JobDefinition.ref`."""
    source: JobSource = JobSource.API
    created_at: datetime
    """When the Job was created; updates keep it."""
    digest: str = ""
    """`JobDefinition.digest`."""
