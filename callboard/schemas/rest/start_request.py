"""Start of a Run: the request and its answer (docs/contract.md, section 6.1)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, FailFast, Field, PlainSerializer, WithJsonSchema

from callboard.schemas.rest.base import (
    ApiName,
    JsonObject,
    QueueTimeout,
    RequestModel,
    RequestTimeout,
    ResponseModel,
    at_most,
    expected_error,
    expects,
)
from callboard.schemas.rest.job_schedule import parse_duration
from callboard.schemas.rest.proxy import ProxyUrl
from callboard.schemas.rest.run_auth_session import RunAuthSession
from callboard.schemas.rest.sink import Sink
from callboard.schemas.workflow.run import LONGEST_WAIT

SaveTrace = Annotated[
    bool | Literal["on-failure"],
    Field(description="Whether Attempts leave a Playwright trace; with on-failure, only those that do not complete."),
    expects('true, false or "on-failure"'),
]
"""The text is an addition to the contract."""


def as_seconds(duration: timedelta) -> int | float:
    """Return a duration in seconds as a request has it: as an int if it is a whole number."""
    total = duration.total_seconds()
    return int(total) if total.is_integer() else total


_LONGEST_SECONDS = int(LONGEST_WAIT.total_seconds())


def _parse_interval(value: object) -> timedelta:
    """Return an interval between Attempts. A number means seconds, so a text has to name its unit."""
    if isinstance(value, str) and value.strip()[-1:].isalpha():
        value = parse_duration(value).total_seconds()
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LONGEST_SECONDS:
        raise ValueError("no duration, negative, or too long")
    return timedelta(seconds=value)


RetryInterval = Annotated[
    timedelta,
    BeforeValidator(_parse_interval),
    PlainSerializer(as_seconds),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": _LONGEST_SECONDS}, {"type": "string"}]},
    ),
    expects(f'seconds from 0 to {_LONGEST_SECONDS}, or a text such as "90 seconds" or "2h", at most 24 hours'),
]
"""A wait between Attempts: a number of seconds, or a text as schedules have it. It is written as seconds."""
MAX_TAGS = 10
"""Most tags of a Run."""


def _each_once(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise expected_error("each tag once")
    return tags


Tag = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$"),
    expects("a tag of 1 to 64 characters: ASCII letters, digits and - _ . : /"),
]
Tags = Annotated[list[Tag], FailFast(), AfterValidator(_each_once), at_most(MAX_TAGS, "tags")]
"""Words by which lists find Runs. They are shown in the clear."""
Version = Annotated[str, Field(pattern="^[0-9a-f]{16}$"), expects("a version of the project, 16 hexadecimal digits")]
BackoffCoefficient = Annotated[float, Field(strict=True, ge=1, le=100), expects("a number from 1 to 100")]
_Attempts = Annotated[int, Field(ge=1, le=100), expects("a whole number from 1 to 100")]


class Retry(RequestModel):
    """The number of Attempts of a Run, and the waits between them, which are an addition to the contract."""

    maximum_attempts: _Attempts = 3
    """The maximum number of Attempts, the first one included."""
    initial_interval: RetryInterval | None = None
    """The wait after the first Attempt that failed, in seconds or as a text such as `"1 minute"`; by default there is
    none, and the next Attempt follows at once."""
    backoff_coefficient: BackoffCoefficient | None = None
    """How many times as long each wait is as the one before it; by default 2."""
    maximum_interval: RetryInterval | None = None
    """The longest wait, in seconds or as a text; by default 24 hours."""


class StartRequest(RequestModel):
    """The body of `run/start`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"api": "list-products", "parameters": {"category": "chairs"}},
                {
                    "api": "products/details",
                    "parameters": {"id": 7},
                    "retry": {"maximumAttempts": 1},
                    "requestTimeout": 120,
                    "queueTimeout": 3600,
                    "proxy": "http://proxy.example.com:3128",
                    "saveTrace": False,
                },
                {
                    "api": "list-products",
                    "parameters": {},
                    "sink": {"type": "webhook", "url": "https://receiver.example.com/results", "skipOnFail": True},
                },
                {"api": "orders", "parameters": {}, "authSession": {"id": "anna@shop"}},
                {"api": "orders", "parameters": {}, "authSession": {"runtimeInput": {"username": "anna"}}},
            ]
        }
    )

    api: ApiName
    """The name of the API: its path below `api/`, without the suffix."""
    parameters: JsonObject = Field(repr=False)
    """The parameters of the API."""
    retry: Retry = Retry()
    request_timeout: RequestTimeout = 600
    """The time limit of one Attempt in seconds, from its start on a Machine."""
    queue_timeout: QueueTimeout | None = None
    """The longest time in seconds that the Run may wait for a Machine; then it fails. An addition to the contract."""
    proxy: ProxyUrl | None = Field(default=None, repr=False)
    save_trace: SaveTrace = True
    auth_session: RunAuthSession | None = None
    sink: Sink | None = None
    tags: Tags = Field(default_factory=list[str])
    """Words by which lists find the Run. They are not secret. An addition to the contract."""
    version: Version | None = None
    """The version of the project that the Run executes; by default the deployed one. An addition to the contract."""

    def canonical(self) -> bytes:
        """Return bytes that are equal for two requests with the same meaning: sorted, without values that are defaults.

        A field that a project can default counts whenever it was sent, even with Callboard's default.
        """
        meaning = self.model_dump(exclude_defaults=True)
        if self.tags:
            meaning["tags"] = sorted(self.tags)
        sent = self.model_dump(include={"retry", "request_timeout"}, exclude_unset=True)
        meaning |= {name: value for name, value in sent.items() if value != {}}
        return json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode("ascii")


class StartResponse(ResponseModel):
    """An accepted Run. It is never lost."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runId": "V1StGXR8_Z5jdHi6B-myT", "status": "pending"}]})

    run_id: str
    status: Literal["pending"] = "pending"
