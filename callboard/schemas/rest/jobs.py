"""Jobs: what they are created and updated with, and what is answered of them (docs/contract.md, section 17).

Mixed casing is the published one: `auth_session` beside `apiName`, and `projectId` in one answer beside `project_id` in
another.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, JsonValue

from callboard.schemas.rest.base import (
    ApiName,
    Flag,
    JsonObject,
    RequestModel,
    RequestTimeout,
    ResponseModel,
    absent_if_none,
    at_most,
    checked,
    expects,
)
from callboard.schemas.rest.job_schedule import JobSchedule
from callboard.schemas.rest.proxy import ProxyUrl
from callboard.schemas.rest.run_auth_session import AnyAuthSessionId, AuthAttempts, Lease
from callboard.schemas.rest.sink import Sink, Webhook
from callboard.schemas.rest.start_request import Retry, SaveTrace, Tags
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobSource

DEFAULT_REQUEST_TIMEOUT = 600
"""The published default of `requestTimeout`. Clients write it into each item and each configuration, so it cannot be
told from an absent one, and counts as absent: a Job, or a project, may have another."""
LISTED_ITEMS = 100
"""How many items of its payload a list shows of each Job."""
SHOWN_ITEMS = 1_000
"""How many items a payload may have that is shown with its Job; a longer one is read by itself."""

_MAX_NOTIFICATIONS = 100

_ID_RULE = "an id of 1 to 128 characters, letters, digits, _ and - only, with a letter or digit first"
_WINDOW = "a whole number from 1 to 1000"


def _check_id(text: str) -> None:
    if not names.is_job_id(text):
        raise ValueError(_ID_RULE)


def _whole_number(value: object) -> object:
    # The published type is a number, and clients write 5.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


JobId = Annotated[
    str,
    BeforeValidator(lambda value: checked(_check_id)(value) if isinstance(value, str) else value),
    expects(_ID_RULE),
    Field(json_schema_extra={"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$"}),
]
_Window = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole_number), expects(_WINDOW)]
_MaxRuns = Annotated[int, Field(ge=1, le=10_000_000), expects("a whole number from 1 to 10000000")]


class PayloadItem(RequestModel):
    """An item of a payload: one Run of an API."""

    api_name: ApiName
    """The name of the API: its path below `api/`, without the suffix."""
    parameters: JsonObject = Field(repr=False)
    request_timeout: RequestTimeout = DEFAULT_REQUEST_TIMEOUT
    """The time limit of one Attempt in seconds; 600 counts as absent."""
    retry: Retry = Retry()
    tags: Tags = Field(default_factory=list[str])
    """Tags of the Run besides those of the Job, ten in all. An addition to the contract."""


class JobConfiguration(RequestModel):
    """What all Runs of a Job have in common."""

    retry: Retry = Retry()
    max_concurrent_requests: _Window | None = None
    """The largest number of Runs of a JobRun at the same time; by default twice the number of the project's
    Machines."""
    request_timeout: RequestTimeout = DEFAULT_REQUEST_TIMEOUT
    """The time limit of one Attempt in seconds; 600 counts as absent."""
    max_runs: _MaxRuns | None = None
    """The largest number of Runs that a JobRun starts."""
    save_trace: SaveTrace = True
    """Whether Attempts leave a trace. An addition to the contract."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    """The proxy of the Runs; `proxy` of the Job takes precedence."""


class JobAuthSession(RequestModel):
    """The AuthSession of all Runs of a Job."""

    id: AnyAuthSessionId
    check_attempts: AuthAttempts = 3
    create_attempts: AuthAttempts = 3
    save_trace: Flag = False
    """Whether checks and creates leave a trace."""
    lease: Lease | None = None
    """`"exclusive"`: one Run at a time uses the AuthSession. An addition to the contract."""


class JobHead(RequestModel):
    """A Job without its id and its payload."""

    configuration: JobConfiguration
    schedule: JobSchedule | None = None
    """When JobRuns begin by themselves; if it is absent, only when somebody triggers the Job."""
    sink: Sink | None = None
    """Where the result of each Run is delivered; if it is absent, to the project's sink."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    auth_session: JobAuthSession | None = Field(default=None, alias="auth_session")
    notifications: Annotated[list[Webhook], FailFast(), at_most(_MAX_NOTIFICATIONS, "webhooks")] = Field(
        default_factory=list[Webhook]
    )
    """What is told of the end of each JobRun."""
    tags: Tags = Field(default_factory=list[str])
    """Tags of all Runs. An addition to the contract."""


class NewJobHead(JobHead):
    """The first line of a Job that is created from lines: all but its payload."""

    id: JobId


_ITEM: JsonValue = {"apiName": "list-products", "parameters": {"category": "chairs"}}
_JOB: dict[str, JsonValue] = {
    "payload": [_ITEM],
    "configuration": {"maxConcurrentRequests": 2, "retry": {"maximumAttempts": 3}},
    "schedule": {
        "calendars": [{"hour": 6, "minute": 30, "dayOfWeek": {"start": "MONDAY", "end": "FRIDAY"}}],
        "timezone": "Europe/Berlin",
        "jitter": "10 minutes",
    },
}


class UpdateJob(JobHead):
    """The body of an update: the whole Job, except its id."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})

    payload: Annotated[list[PayloadItem], FailFast()]


class CreateJob(NewJobHead):
    """The body of a create."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "one-category", "payload": [_ITEM], "configuration": {}},
                {"id": "every-morning", **_JOB},
            ]
        }
    )

    payload: Annotated[list[PayloadItem], FailFast()]


class JobCreated(ResponseModel):
    """A Job was created."""

    id: str
    message: Literal["created"] = "created"


class JobUpdated(ResponseModel):
    """A Job was updated."""

    id: str
    message: Literal["updated job successfully"] = "updated job successfully"


class JobPaused(ResponseModel):
    """A Job, or a JobRun, was paused."""

    message: Literal["Paused"] = "Paused"


class JobResumed(ResponseModel):
    """A Job, or a JobRun, was resumed."""

    message: Literal["Resumed"] = "Resumed"


class JobTriggered(ResponseModel):
    """A JobRun was started."""

    job_run_id: str
    message: Literal["Triggered"] = "Triggered"


class SnakeModel(ResponseModel):
    """A part of an answer whose names are written with underscores."""

    model_config = ConfigDict(alias_generator=None)


class ProxyBody(SnakeModel):
    """A proxy in lists and in JobRuns."""

    version: Literal["v1"] = "v1"
    url: str
    """The URL of the proxy, with its credentials masked."""


class JobReason(SnakeModel):
    """Why a Job does not start JobRuns."""

    type: Literal["paused"] = "paused"
    message: str


class _Job(SnakeModel):
    id: str
    configuration: dict[str, Any]
    schedule: dict[str, Any] | None
    sink: dict[str, Any] | None
    """The sink, with its secrets masked."""
    auth_session: dict[str, Any] | None
    notifications: list[dict[str, Any]]
    tags: list[str]
    """Tags of all Runs. An addition to the contract."""
    payload_count: int
    """The number of items in the payload. An addition to the contract."""
    created_at: datetime
    state: Literal["ACTIVE", "PAUSED"]
    next_run_time: datetime | None
    """When the next JobRun begins by itself; null without a schedule, and while the Job is paused."""
    last_run_time: datetime | None
    """When the last JobRun began that has ended, and was not canceled."""
    source: JobSource


class JobBody(_Job):
    """A Job. Its payload is absent if it has more than 1,000 items; `payload` below the Job's path has all of them."""

    project_id: str = Field(alias="projectId")
    payload: list[dict[str, Any]] | None = Field(default=None, exclude_if=absent_if_none)
    proxy: str | None = Field(default=None, exclude_if=absent_if_none)
    """The URL of the proxy, with its credentials masked; absent if there is none."""
    schedule_id: str
    next_run_times: list[datetime]
    """The next times, at most ten. An addition to the contract."""


class JobListItem(_Job):
    """A Job in a list, with the first 100 items of its payload at most."""

    workspace_id: str
    project_id: str
    payload: list[dict[str, Any]]
    proxy: ProxyBody | None = Field(default=None, exclude_if=absent_if_none)
    reason: JobReason | None = Field(default=None, exclude_if=absent_if_none)
    schedule_id: str
    """The id of the Schedule in Temporal."""
