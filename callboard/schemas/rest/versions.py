"""The versions of a project (docs/contract.md, section 8.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from callboard.schemas.rest.base import QueryModel, ResponseModel, expects

LIMIT = 100

_EXAMPLE: dict[str, JsonValue] = {
    "version": "0f1e2d3c4b5a6978",
    "current": True,
    "at": "2026-11-24T09:12:00Z",
    "by": "anna@desk",
    "message": "Read prices with a discount",
    "commit": "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
    "promotedAt": "2026-11-24T09:12:00Z",
    "promotedBy": "anna@desk",
}


class VersionBody(ResponseModel):
    """A version of a project."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    version: str
    current: bool
    """Whether it is the deployed version: the one that new Runs execute."""
    at: datetime
    """The time when it was deployed last, also if it was only stored then."""
    by: str | None
    """Who deployed it then: the name of a key, or a user and a host; null if that is not on record."""
    message: str | None
    commit: str | None
    """The commit of the project folder then; it ends in `-dirty` if files differed from that."""
    promoted_at: datetime | None
    """The time when it became the deployed version last, by a deploy, a promote or a rollback; null if it never has."""
    promoted_by: str | None


class VersionList(ResponseModel):
    """A page of versions, the one that was deployed last first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"versions": [_EXAMPLE], "nextCursor": None}]})

    versions: list[VersionBody]
    next_cursor: str | None
    """The cursor of the next page; null on the last page."""


class VersionChanges(ResponseModel):
    """In which files a version differs from another one."""

    version: str
    since: str
    """The version that it is compared with."""
    known: bool
    """Whether the files of both are on record; if not, the lists are empty."""
    added: list[str]
    removed: list[str]
    changed: list[str]
    packages: bool
    """Whether it runs with other packages, or another Python."""


class VersionsQuery(QueryModel):
    """Which page of the versions is asked for."""

    limit: Annotated[int, Field(ge=1, le=LIMIT), expects(f"a whole number from 1 to {LIMIT}")] = Field(
        default=50, description="The maximum number of versions on the page."
    )
    cursor: Annotated[str, Field(max_length=2000), expects("the nextCursor of the page before")] | None = Field(
        default=None, description="The `nextCursor` of the previous page."
    )


class ChangesQuery(QueryModel):
    """Which version another one is compared with."""

    since: Annotated[str, Field(max_length=100), expects("a version of the project")] | None = Field(
        default=None, description="A version. By default it is the deployed one."
    )


class DeleteQuery(QueryModel):
    """How a project is deleted."""

    confirm: Annotated[str, Field(max_length=1000), expects("the name of the project, as a confirmation")] = Field(
        description="The name of the project once more."
    )
    open_runs: Annotated[Literal["refuse", "cancel"], expects("refuse or cancel")] = Field(
        default="refuse",
        description="What becomes of Runs and Deliveries that have not ended: with `refuse`, the answer is 409.",
    )
