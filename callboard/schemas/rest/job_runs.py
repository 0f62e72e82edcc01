"""JobRuns: how they are listed, and what is answered of them (docs/contract.md, section 17)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from callboard.schemas.rest.base import QueryModel, ResponseModel, absent_if_none, expected_error, expects
from callboard.schemas.rest.jobs import ProxyBody, SnakeModel
from callboard.schemas.workflow.job_run import JobRunReasonType, JobRunStatus, JobRunType

SortField = Literal[
    "start_time", "end_time", "created_at", "updated_at", "status", "type", "payloads", "successful_runs", "failed_runs"
]
SORT_FIELDS: tuple[SortField, ...] = get_args(SortField)
PAGE_LIMIT = 1_000

_SIZE = f"a whole number from 1 to {PAGE_LIMIT}"
_NUMBER = "a whole number from 0 on; the first page is 0"
_SORT = (
    "pairs of a field and asc or desc, such as start_time,desc/status,asc, with one of the fields "
    f"{', '.join(SORT_FIELDS)}"
)


class SortKey(BaseModel):
    """One of the fields that a list is sorted by."""

    model_config = ConfigDict(frozen=True)

    field: SortField
    descending: bool


def parse_sort(text: str) -> tuple[SortKey, ...]:
    """Return what a list is sorted by, the most important field first. Raises ValueError if it is not understood."""
    sort: list[SortKey] = []
    for part in text.split("/"):
        field, _, direction = part.partition(",")
        if field not in SORT_FIELDS or direction not in ("asc", "desc"):
            raise ValueError("another field or direction")
        sort.append(SortKey(field=field, descending=direction == "desc"))
    return tuple(sort)


def _check_sort(text: str) -> str:
    try:
        parse_sort(text)
    except ValueError as error:
        raise expected_error(_SORT) from error
    return text


class JobRunsQuery(QueryModel):
    """The page of a list of JobRuns."""

    page_size: Annotated[int, Field(ge=1, le=PAGE_LIMIT), expects(_SIZE)] = Field(
        default=50, description="The number of JobRuns on a page."
    )
    page_number: Annotated[int, Field(ge=0, le=1_000_000), expects(_NUMBER)] = Field(
        default=0, description="The number of the page; the first one is 0."
    )
    sort_by: Annotated[str, AfterValidator(_check_sort), expects(_SORT)] = Field(
        default="start_time,desc",
        description="What the JobRuns are sorted by: pairs of a field and `asc` or `desc`, with slashes between.",
    )


class JobRunErrorBody(ResponseModel):
    """Why a JobRun could not go on."""

    code: Literal["internal-server-error"] = "internal-server-error"
    category: Literal["infrastructure"] = "infrastructure"
    message: str
    retirable: bool = True


class JobRunReasonBody(SnakeModel):
    """Why a JobRun was canceled, terminated or paused."""

    type: JobRunReasonType
    message: str
    details: dict[str, Any] | None = Field(default=None, exclude_if=absent_if_none)


class JobSnapshot(SnakeModel):
    """The Job as it was when the JobRun began, without its payload and schedule."""

    configuration: dict[str, Any]
    sink: dict[str, Any] | None
    auth_session: dict[str, Any] | None
    proxy: ProxyBody | None = Field(default=None, exclude_if=absent_if_none)
    notifications: list[dict[str, Any]]


class JobRunBody(SnakeModel):
    """A JobRun."""

    id: str
    workspace_id: str
    project_id: str
    job_id: str
    type: JobRunType
    rerun_of: str | None
    """The JobRun of which this one runs again what has not completed. An addition to the contract."""
    status: JobRunStatus
    """The status; `PENDING` also while its Runs are executed."""
    start_time: datetime
    end_time: datetime | None
    created_at: datetime
    updated_at: datetime
    payloads: int | None
    """The number of items by now, including those that Runs have added."""
    successful_runs: int | None
    failed_runs: int | None
    """The number of Runs that failed or were canceled."""
    running_runs: int
    """The number of Runs that were started and have not ended. An addition to the contract."""
    version: str | None
    """The version of the project that its Runs execute. An addition to the contract."""
    error: JobRunErrorBody | None = Field(default=None, exclude_if=absent_if_none)
    reason: JobRunReasonBody | None = Field(default=None, exclude_if=absent_if_none)
    job_configuration_snapshot: JobSnapshot


class JobRunList(ResponseModel):
    """A page of JobRuns."""

    job_runs: list[JobRunBody]
    total_count: int
    """The number of JobRuns on all pages."""


class JobRunResults(SnakeModel):
    """Where the results of a JobRun are read: one JSON object a line, for each Run that has ended."""

    format: Literal["jsonl"] = "jsonl"
    signed_url: str
    signed_url_expiration: datetime


class JobRunDetails(ResponseModel):
    """A JobRun and, once it has ended, its results."""

    job_run: JobRunBody
    results: JobRunResults | None = Field(default=None, exclude_if=absent_if_none)


class JobRunRerun(ResponseModel):
    """A JobRun was started that runs again what of an earlier one has not completed."""

    job_run_id: str
    rerun_of: str
    payloads: int
    """The number of items that it runs again."""


class JobRunTerminated(ResponseModel):
    """A JobRun is being terminated, or had ended before."""

    message: Literal["Job run terminated"] = "Job run terminated"
