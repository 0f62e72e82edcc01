"""Attempts as they are answered: their records, and where to get what they left (docs/contract.md, section 13.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, JsonValue

from callboard.schemas.rest.base import ResponseModel
from callboard.schemas.rest.files import FileBody
from callboard.schemas.rest.run_result import RecordedError
from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus, VariableSource

_HERE = "/api/v1/workspace/00000000-0000-0000-0000-000000000000/projects/shop/runs/V1StGXR8_Z5jdHi6B-myT/attempts/1"
_EXAMPLE: dict[str, JsonValue] = {
    "number": 1,
    "kind": "api",
    "status": "failed",
    "queuedAt": "2026-11-24T10:00:00.010000Z",
    "preparingAt": None,
    "startedAt": "2026-11-24T10:00:00.120000Z",
    "endedAt": "2026-11-24T10:00:31.400000Z",
    "machine": "shop-1",
    "worker": "worker-1",
    "browserVersion": "156.0.7544.2",
    "error": {
        "code": "script-execution-exception",
        "category": "execution",
        "message": "Locator.click: Timeout 30000ms exceeded.",
        "retirable": True,
        "details": {
            "name": "TimeoutError",
            "stack": '  File "api/products/details.py", line 12, in automation\n    await price.click()\n',
        },
    },
    "pageUrl": "https://shop.example.com/products/7",
    "attributes": None,
    "envVars": [{"name": "SHOP_URL", "source": "project", "secret": False}],
    "openTelemetry": None,
    "usage": {
        "peakMemory": 412_000_000,
        "cpuSeconds": 3.1,
        "bytesReceived": 1_800_000,
        "traceSize": 640_000,
        "logSize": 2_100,
    },
    "missing": {},
    "log": f"{_HERE}/log",
    "trace": f"{_HERE}/trace",
    "screenshot": f"{_HERE}/screenshot",
    "files": [],
    "takeovers": [],
}


def attempt_path(workspace: str, project: str, run_id: str, number: int) -> str:
    """Return the path of an Attempt on this server; those of its log and its trace begin with it."""
    return f"/api/v1/workspace/{workspace}/projects/{project}/runs/{run_id}/attempts/{number}"


class OpenTelemetryLink(ResponseModel):
    """An OpenTelemetry trace, which is kept by the operator's tracing system. It is no Playwright trace."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "url": None}]}
    )

    trace_id: str
    """The id of the trace, in 32 hexadecimal digits."""
    url: str | None
    """The address of the trace for browsers, if the operator has set where traces are shown."""


class AttemptVariableBody(ResponseModel):
    """An environment variable that an Attempt had, without its value."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "SHOP_URL", "source": "project", "secret": False}]}
    )

    name: str
    source: VariableSource
    """Whose variable it was: that of the `project`, of the `workspace`, or of the file `.env` in `callboard dev`."""
    secret: bool
    """Whether its value is masked in what the Attempt has left."""


class UsageBody(ResponseModel):
    """The resources that an Attempt used. A value is null if it could not be measured, or if there is no such file."""

    peak_memory: int | None
    """The most memory that all processes of its Machine used, in bytes."""
    cpu_seconds: float | None
    """The CPU time of all processes of its Machine, in seconds."""
    bytes_received: int | None
    """The bytes that its browser received."""
    trace_size: int | None
    """The size of the trace in bytes."""
    log_size: int | None
    """The size of the log in bytes."""


class TakeoverBody(ResponseModel):
    """A time in which a person had the browser: user code waited, and what was typed was recorded nowhere."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"from": "2026-11-24T10:00:03.1Z", "until": "2026-11-24T10:00:41.2Z", "by": "Maria"}]
        }
    )

    begin: datetime = Field(alias="from")
    """When the person took it."""
    until: datetime
    """When it was given back, or its Attempt had ended."""
    by: str
    """The name of the key, or of the link, that the person had."""


class AttemptBody(ResponseModel):
    """An Attempt: one execution within a Run."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    number: int
    kind: AttemptKind
    status: AttemptStatus
    queued_at: datetime | None
    preparing_at: datetime | None
    """The time at which a Machine began to be started for it, or to be changed to its version; null if one was
    ready."""
    started_at: datetime | None
    """The time at which its function was called; null while its Machine is being started."""
    ended_at: datetime | None
    machine: str | None
    worker: str | None
    browser_version: str | None
    error: RecordedError | None
    """The error of the Attempt. Its `details` have the exception's `name` and the `stack` of user code."""
    page_url: str | None
    """The URL of the page at the end of an Attempt that did not complete, without what could be a secret."""
    attributes: dict[str, Any] | None
    """The attributes that user code set with `set_attribute`."""
    env_vars: list[AttemptVariableBody] | None
    """The environment variables that it had of its project and workspace; null if it had not come so far."""
    usage: UsageBody | None
    """The resources that the Attempt used; null if it has not ended, or ended with its worker."""
    open_telemetry: OpenTelemetryLink | None
    """The OpenTelemetry trace that the Attempt belongs to; null if there is none."""
    missing: dict[str, str]
    """What is missing (`log`, `trace`, `screenshot`, some of `files` or of the `login`), each with the reason."""
    log: str | None
    """The path of the log on this server; null if there is no log."""
    trace: str | None
    """The path of the trace on this server; null if there is no trace."""
    screenshot: str | None
    """The path of the screenshot on this server; null if there is no screenshot."""
    files: list[FileBody]
    """The files that it has left; `GET …/attempts/{number}/files` has links to them."""
    takeovers: list[TakeoverBody]
    """When people had its browser, once it has ended."""
