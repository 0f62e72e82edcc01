"""Records of Runs: what lists and the page of one Run are answered with (docs/contract.md, section 13)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, FailFast, Field, JsonValue, field_validator

from callboard.schemas.rest.access import KeyRef
from callboard.schemas.rest.attempt import AttemptBody, OpenTelemetryLink
from callboard.schemas.rest.base import QueryModel, ResponseModel, at_most, expects, require_known_value
from callboard.schemas.rest.delivery import DeliveryBody
from callboard.schemas.rest.handoffs import OpenHandoff
from callboard.schemas.rest.run_result import ErrorCode, ExtendedPayload, ReasonType, RecordedError, RecordedReason
from callboard.schemas.rest.start_request import MAX_TAGS, Tag
from callboard.schemas.workflow.run import ErrorCode as FailureCode
from callboard.schemas.workflow.run import RunStatus, RunType

LIMIT = 200
"""The maximum number of Runs on a page."""

_STATUSES = f"one of {', '.join(RunStatus)}"
_TYPES = f"one of {', '.join(RunType)}"
_CODES = f"one of {', '.join(FailureCode)}"
_WHEN = (
    "a time with its zone, such as 2026-11-24T10:00:00Z (in an address, + is written %2B), from year 1 to 9999 in UTC"
)


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time that is outside of these years in UTC") from error


When = Annotated[AwareDatetime, AfterValidator(_in_utc), expects(_WHEN)]
# Temporal's database fails on a query with NUL in it; no other control character belongs in a name either.
Name = Annotated[
    str,
    Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    expects("a name of 1 to 400 characters, without control characters"),
]


MOST_NAMES = 1_000
"""How many names or ids one field of a filter may have."""

_Names = Annotated[list[Name], FailFast(), at_most(MOST_NAMES, "values")]
_Status = Annotated[RunStatus, AfterValidator(require_known_value), expects(_STATUSES)]
_Type = Annotated[RunType, AfterValidator(require_known_value), expects(_TYPES)]
_Code = Annotated[FailureCode, AfterValidator(require_known_value), expects(_CODES)]


class RunsFilter(QueryModel):
    """Which Runs are meant: a Run must match one of the values of each field that is given, and have all tags."""

    status: Annotated[list[_Status], FailFast()] = Field(
        default_factory=list[RunStatus], description="May be given several times."
    )
    type: Annotated[list[_Type], FailFast()] = Field(
        default_factory=list[RunType], description="May be given several times."
    )
    run_id: _Names = Field(default_factory=list[str], description="May be given several times.")
    api: _Names = Field(default_factory=list[str], description="May be given several times.")
    auth_session: _Names = Field(default_factory=list[str], description="An id. May be given several times.")
    job_id: _Names = Field(default_factory=list[str], description="May be given several times.")
    job_run_id: _Names = Field(default_factory=list[str], description="May be given several times.")
    error_code: Annotated[list[_Code], FailFast()] = Field(
        default_factory=list[FailureCode], description="The `error.code` of a failed Run. May be given several times."
    )
    tag: Annotated[list[Tag], FailFast(), at_most(MAX_TAGS, "tags")] = Field(
        default_factory=list[str], description="May be given several times: Runs that have all of these tags."
    )
    q: Name | None = Field(default=None, description="The id of a Run, or its beginning.")
    started_after: When | None = Field(default=None, description="Only Runs with this `createdAt` or a later one.")
    started_before: When | None = Field(default=None, description="Only Runs with an earlier `createdAt`.")

    @field_validator(
        "status", "type", "run_id", "api", "auth_session", "job_id", "job_run_id", "error_code", "tag", mode="before"
    )
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        """Take a single value, which JSON may have in the place of a list."""
        return [value] if isinstance(value, str) else value


class RunsQuery(RunsFilter):
    """A page of a list of Runs."""

    limit: Annotated[int, Field(ge=1, le=LIMIT), expects(f"a whole number from 1 to {LIMIT}")] = Field(
        default=50, description="The maximum number of Runs on the page."
    )
    cursor: Annotated[str, Field(max_length=2000), expects("the nextCursor of the page before")] | None = Field(
        default=None, description="The `nextCursor` of the previous page, with the same filters."
    )


class ErrorSummary(ResponseModel):
    """The error of a failed Run, with the beginning of its message."""

    code: ErrorCode | str
    """The code. A later version of Callboard may have recorded another one than these."""
    message: str


class ReasonSummary(ResponseModel):
    """The reason of a canceled Run, with the beginning of its message."""

    type: ReasonType | str
    """The type. A later version of Callboard may have recorded another one than these."""
    message: str


class _Run(ResponseModel):
    run_id: str
    type: RunType
    status: RunStatus
    api: str | None
    """The name of the API; null for a Run that creates or checks an AuthSession."""
    project: str
    version: str
    """The version of the project that the Run executes."""
    auth_session_id: str | None
    parent_run_id: str | None
    """The id of the Run that waits for this one."""
    job_id: str | None
    """The id of the Job that the Run belongs to."""
    job_run_id: str | None
    tags: list[str]
    created_at: datetime
    """The time when the Run was accepted."""
    started_at: datetime | None
    """The time when its first Attempt, or its Validate, started on a Machine."""
    ended_at: datetime | None
    attempt_count: int
    handoff: OpenHandoff | None = None
    """The question of the Run that waits for a person, if one does."""


_SUMMARY: dict[str, JsonValue] = {
    "runId": "V1StGXR8_Z5jdHi6B-myT",
    "type": "api",
    "status": "failed",
    "api": "list-products",
    "project": "shop",
    "version": "0f1e2d3c4b5a6978",
    "authSessionId": None,
    "parentRunId": None,
    "jobId": None,
    "jobRunId": None,
    "tags": ["nightly"],
    "createdAt": "2026-11-24T10:00:00.000000Z",
    "startedAt": "2026-11-24T10:00:00.120000Z",
    "endedAt": "2026-11-24T10:00:31.400000Z",
    "attemptCount": 1,
    "handoff": None,
}
_ERROR: dict[str, JsonValue] = {"code": "api-attempts-failed", "message": "Locator.click: Timeout 30000ms exceeded."}
_LISTED: dict[str, JsonValue] = {
    **_SUMMARY,
    "error": _ERROR,
    "reason": None,
    "waitsUntil": None,
    "parametersInShort": '{"category":"chairs"}',
    "resultInShort": "",
}
_RUN: dict[str, JsonValue] = {
    **_SUMMARY,
    "error": {**_ERROR, "category": "execution", "retirable": True},
    "reason": None,
    "input": {
        "api": "list-products",
        "parameters": {"category": "chairs"},
        "retry": {"maximumAttempts": 1},
        "requestTimeout": 600,
        "saveTrace": True,
        "proxy": "http://***@proxy.example.com:3128",
    },
    "rerunOf": None,
    "startedBy": {"id": "Zk3vT9qLm2Xa", "name": "nightly"},
    "canceledBy": None,
    "reruns": [],
    "attempts": [],
    "validates": [],
    "deliveries": [],
    "waiting": None,
    "temporal": {"workflowId": "V1StGXR8_Z5jdHi6B-myT", "url": None},
    "openTelemetry": {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "url": None},
}


class RunSummaryBody(_Run):
    """A Run in a list."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LISTED]})

    error: ErrorSummary | None = None
    reason: ReasonSummary | None = None
    waits_until: datetime | None = None
    """When its next Attempt begins, if it waits for that."""
    parameters_in_short: str = ""
    """The beginning of the JSON text of its parameters; empty for large ones. What seems to be secret is masked."""
    result_in_short: str = ""
    """The same of its result."""


class RunList(ResponseModel):
    """A page of Runs: first the unfinished ones, then the others by their end, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runs": [_LISTED], "nextCursor": "mWc9…"}]})

    runs: list[RunSummaryBody]
    """The Runs. A page may have fewer than `limit` although there is another page."""
    next_cursor: str | None
    """The cursor of the next page; null on the last page. Paging skips no Run, but a Run that ends meanwhile may appear
    twice."""


class RunValidate(ResponseModel):
    """A Validate that a Run has waited for."""

    run_id: str
    attempt: int
    """The number of the Attempt before which it was executed."""
    status: RunStatus
    create_run_id: str | None
    """The id of the Create that this Validate requested, if it was the first to do so."""


class LeaseBody(ResponseModel):
    """The users of a login that take turns: with `lease`, or as a validate or update."""

    held_by: str | None
    """The id of the Run, Validate or Update that uses the login alone; null if none does."""
    waiting: int
    """The number of others that wait for their turn."""


class LeaseQueue(LeaseBody):
    """The queue for a login."""

    place: int | None
    """The place of the Run among those that wait, counted from 1; null for one that has just come, or a place above
    100."""


class QueueState(ResponseModel):
    """The queue of a pending Run."""

    ahead: int
    """The number of Runs of the project that are ahead of this one."""
    machines_busy: int | None
    """The number of these Machines that were busy some seconds ago; null if Temporal's server cannot tell."""
    machines: int | None
    """The number of the project's Machines some seconds ago; null if Temporal's server cannot tell."""
    paused: bool = False
    """Whether the Run is paused in Temporal. It gets no Machine until it is unpaused there."""
    preparing: bool = False
    """Whether a worker has taken it, and prepares its version and environment, which may have to be built."""
    lease: LeaseQueue | None = None
    """The queue for its login, if the Run waits for that before it waits for a Machine."""


class RetryWait(ResponseModel):
    """The wait of a Run between two Attempts. Meanwhile, it has no Machine."""

    until: datetime
    """The time at which the next Attempt is queued."""


class HandoffWait(ResponseModel):
    """The wait of a Run for a person. Its Machine is held."""

    handoff: str
    """The id of the Handoff, which may be one of the Create that the Run waits for."""
    until: datetime
    """The time at which it expires."""


class TemporalLink(ResponseModel):
    """The Run's workflow in Temporal."""

    workflow_id: str
    url: str | None
    """The address of the workflow in Temporal's Web UI, if the address of the Web UI is known."""


class RunBody(_Run):
    """All that is known of a Run."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    error: RecordedError | None = None
    reason: RecordedReason | None = None
    input: dict[str, Any]
    """The input of the Run, with defaults filled in and secrets masked."""
    result: Any = None
    """The value that the API returned. It is absent unless the Run has completed."""
    extended_payloads: list[ExtendedPayload] | None = None
    """The payloads that the API requested with `extend_payload`; absent if there are none."""
    rerun_of: str | None
    """The id of the earlier Run that this one repeats."""
    reruns: list[str]
    """The ids of the Runs that repeat this one."""
    started_by: KeyRef | None
    """The key that has started the Run; null if a JobRun, a Run that waits for it, or a file of the project has."""
    canceled_by: KeyRef | None
    """The key that has canceled the Run, if one has."""
    attempts: list[AttemptBody]
    validates: list[RunValidate]
    deliveries: list[DeliveryBody]
    waiting: QueueState | RetryWait | HandoffWait | None
    """The queue while the Run is pending, its wait between two Attempts, or for a person; null at all other times."""
    temporal: TemporalLink
    open_telemetry: OpenTelemetryLink | None
    """The OpenTelemetry trace in which the Run was started; null if there is none."""


class RerunResponse(ResponseModel):
    """An accepted Run with the inputs of an earlier one. It is never lost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"runId": "mB7Qj0f2kXa9wPz4sLr1e", "status": "pending", "rerunOf": "V1StGXR8_Z5jdHi6B-myT"}]
        }
    )

    run_id: str
    status: Literal["pending"] = "pending"
    rerun_of: str
