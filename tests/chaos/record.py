"""What is known of a run of chaos when it is over, by those who have seen it from outside. The checker reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

Sink = Literal["webhook", "bucket"]
"""Where a result is delivered."""


class Execution(BaseModel):
    """One execution of user code, as itself has recorded it."""

    token: str
    run_id: str
    parent_run_id: str | None = None
    """The Run that waits for the Validate or Create."""
    project: str
    deploy: int
    """Number of the deploy whose code it is."""
    kind: Literal["api", "check", "create"]
    began: float
    """On `CLOCK_MONOTONIC` of the host, as all times of a record."""
    ended: float
    """When it ended by itself; of one that was killed, when it was last seen to live."""
    how: Literal["returned", "raised"] | None = None
    """None: it was killed."""


class Answer(BaseModel):
    """How a Run ended, as REST tells."""

    status: str
    result: dict[str, Any] | None = None
    error: str | None = None
    """`error.code`."""
    last_error: str | None = None
    """Code of the last Attempt's error."""
    reason: str | None = None
    """`reason.type`."""


class Attempt(BaseModel):
    """One Attempt of a Run, as REST tells."""

    number: int
    status: str
    error: str | None = None


class Run(BaseModel):
    """A Run that was accepted."""

    run_id: str
    n: int
    """The number that it was given, which is part of its result."""
    project: str
    api: str
    maximum_attempts: int
    sink: Sink | None = None
    cancel_asked: bool = False
    told: Answer | None = None
    """What the client that waited for its end was told; None if it was told nothing."""
    told_at: float = 0
    read: Answer | None = None
    """What another client read when all was over."""
    attempts: list[Attempt] = []
    deliveries: list[str] = []
    """Statuses of its Deliveries."""


class JobRun(BaseModel):
    """A JobRun, as REST tells of it when all is over."""

    job_run_id: str
    items: int
    """How many items the payload of its Job has; they are numbered from 0."""
    status: str
    reason: str | None = None
    """`reason.type`."""
    succeeded: int
    failed: int
    results: list[tuple[int, str]]
    """The item and the Run of each line of its results."""


class Deploy(BaseModel):
    """A deploy that has changed a project's code and, perhaps, its number of Machines."""

    project: str
    number: int
    machines: int
    began: float
    finished: float | None = None
    """None: the run of chaos was over before, and nobody knows how far the deploy had come."""


class Delivered(BaseModel):
    """A body that a receiver or a bucket was sent."""

    id: str
    """The id of the request, or the name of the object."""
    sink: Sink
    body: str
    signed: bool = True


class Growth(BaseModel):
    """The memory of one process, in MB."""

    part: str
    began: float
    """After it had lived for a while."""
    ended: float
    minutes: float


class Left(BaseModel):
    """What was still there when every part had been told to stop."""

    processes: list[str] = []
    folders: list[str] = []
    leases: list[str] = []
    executions: list[str] = []
    """Executions whose processes have not ended."""


class Record(BaseModel):
    """All that was seen."""

    seed: int
    minutes: float
    runs: list[Run]
    """Those of JobRuns included."""
    job_runs: list[JobRun] = []
    listed: list[str]
    """Ids of all Runs of APIs, as the lists of all projects tell."""
    executions: list[Execution]
    deploys: list[Deploy]
    delivered: list[Delivered]
    refused: list[str] = []
    """Answers to clients that are right under no circumstances."""
    unrecorded: list[tuple[str, int]] = []
    """Run and number of each Attempt whose worker says in its log that the store did not take its record."""
    left: Left
    growth: list[Growth]
    faults: list[str] = []
    """What was done to the parts."""
    restarts: list[str] = []
    """What their supervisors say."""
