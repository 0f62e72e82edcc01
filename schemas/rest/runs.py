"""Records of Runs: what lists and the page of one Run are answered with (docs/contract.md, section 13)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from schemas.rest.attempt import AttemptBody
from schemas.rest.base import ResponseModel, expects, known
from schemas.rest.delivery import Delivery
from schemas.rest.result import ErrorCode, ExtendedPayload, ReasonType, RecordedError, RecordedReason
from schemas.workflow.run import RunStatus, RunType

LIMIT = 200
"""Runs of a page, at most."""

_STATUSES = f"one of {', '.join(RunStatus)}"
_TYPES = f"one of {', '.join(RunType)}"
_WHEN = (
    "a time with its zone, such as 2026-11-24T10:00:00Z (in an address, + is written %2B), from year 1 to 9999 in UTC"
)


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time that is outside of these years in UTC") from error


_When = Annotated[AwareDatetime, AfterValidator(_in_utc), expects(_WHEN)]
# Temporal's database fails on a query with NUL in it; no other control character belongs in a name either.
_Name = Annotated[
    str,
    Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    expects("a name of 1 to 400 characters, without control characters"),
]


class RunsQuery(BaseModel):
    """Which Runs are listed. Of each field, one of its values; all fields together."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel)

    status: list[Annotated[RunStatus, AfterValidator(known), expects(_STATUSES)]] = Field(
        default_factory=list[RunStatus], description="May be given several times."
    )
    type: list[Annotated[RunType, AfterValidator(known), expects(_TYPES)]] = Field(
        default_factory=list[RunType], description="May be given several times."
    )
    api: list[_Name] = Field(default_factory=list[str], description="May be given several times.")
    auth_session: list[_Name] = Field(default_factory=list[str], description="Ids. May be given several times.")
    started_after: _When | None = Field(default=None, description="Accepted (`createdAt`) then or later.")
    started_before: _When | None = Field(default=None, description="Accepted (`createdAt`) earlier.")
    limit: Annotated[int, Field(ge=1, le=LIMIT), expects(f"a whole number from 1 to {LIMIT}")] = Field(
        default=50, description="Runs of a page."
    )
    cursor: Annotated[str, Field(max_length=2000), expects("the nextCursor of the page before")] | None = Field(
        default=None, description="The `nextCursor` of the page before, with the same filters."
    )


class ErrorInShort(ResponseModel):
    """Why a Run failed: the beginning of its message."""

    code: ErrorCode | str
    """A word of a later version of Callboard may be none of these."""
    message: str


class ReasonInShort(ResponseModel):
    """Why a Run was canceled: the beginning of its message."""

    type: ReasonType | str
    """A word of a later version of Callboard may be none of these."""
    message: str


class _Run(ResponseModel):
    run_id: str
    type: RunType
    status: RunStatus
    api: str | None
    """None: it makes or checks a login."""
    project: str
    version: str
    """Of the project. None: the Run was started before this was written down."""
    auth_session_id: str | None
    parent_run_id: str | None
    """The Run that waits for this one."""
    created_at: datetime
    """When it was accepted."""
    started_at: datetime | None
    """When its first Attempt, or Validate, began on a Machine."""
    ended_at: datetime | None
    attempt_count: int


_SUMMARY: dict[str, JsonValue] = {
    "runId": "V1StGXR8_Z5jdHi6B-myT",
    "type": "api",
    "status": "failed",
    "api": "list-products",
    "project": "shop",
    "version": "0f1e2d3c4b5a6978",
    "authSessionId": None,
    "parentRunId": None,
    "createdAt": "2026-11-24T10:00:00.000000Z",
    "startedAt": "2026-11-24T10:00:00.120000Z",
    "endedAt": "2026-11-24T10:00:31.400000Z",
    "attemptCount": 1,
}
_ERROR: dict[str, JsonValue] = {"code": "api-attempts-failed", "message": "Locator.click: Timeout 30000ms exceeded."}
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
    "reruns": [],
    "attempts": [],
    "validates": [],
    "deliveries": [],
    "waiting": None,
    "temporal": {"workflowId": "V1StGXR8_Z5jdHi6B-myT", "url": None},
}


class RunSummaryBody(_Run):
    """A Run as lists show it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_SUMMARY, "error": _ERROR, "reason": None}]})

    error: ErrorInShort | None = None
    reason: ReasonInShort | None = None


class RunList(ResponseModel):
    """A page of Runs: the unfinished first, then by their end, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"runs": [{**_SUMMARY, "error": _ERROR, "reason": None}], "nextCursor": "mWc9…"}]
        }
    )

    runs: list[RunSummaryBody]
    """May be fewer than `limit`, also where there is another page."""
    next_cursor: str | None
    """None: there is nothing behind. No Run that was there at the first page is left out, whatever starts and ends
    meanwhile; one that ends may come again."""


class ValidateOfRun(ResponseModel):
    """A Validate that a Run has waited for."""

    run_id: str
    attempt: int
    """Before which Attempt."""
    status: RunStatus
    create_run_id: str | None
    """The Create that it has asked for, as the first to do so."""


class Waiting(ResponseModel):
    """What a pending Run waits for."""

    ahead: int
    """Runs of the project that came before and wait, too."""
    machines_busy: int | None
    machines: int | None
    """Of the project, over all workers, as of some seconds ago. None: Temporal's server cannot tell."""
    paused: bool = False
    """What is next of it is paused in Temporal. It gets no Machine until it is unpaused there."""


class TemporalLink(ResponseModel):
    """The Run's workflow."""

    workflow_id: str
    url: str | None
    """Of Temporal's Web UI, where its address is known."""


class RunBody(_Run):
    """All that is known of a Run."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    error: RecordedError | None = None
    reason: RecordedReason | None = None
    input: dict[str, Any]
    """What it was started with, defaults filled in and secrets masked."""
    result: Any = None
    """Exactly what the API returned. Absent unless the Run has completed."""
    extended_payloads: list[ExtendedPayload] | None = None
    """Absent if there are none."""
    rerun_of: str | None
    """The Run whose inputs these are."""
    reruns: list[str]
    """Runs that were started with the inputs of this one."""
    attempts: list[AttemptBody]
    validates: list[ValidateOfRun]
    deliveries: list[Delivery]
    waiting: Waiting | None
    """While it is pending."""
    temporal: TemporalLink


class RerunResponse(ResponseModel):
    """A new Run with the same inputs is accepted: from now on it is never lost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"runId": "mB7Qj0f2kXa9wPz4sLr1e", "status": "pending", "rerunOf": "V1StGXR8_Z5jdHi6B-myT"}]
        }
    )

    run_id: str
    status: Literal["pending"] = "pending"
    rerun_of: str
