"""Attempts as they are answered: their records, and where to get what they left (docs/contract.md, section 13.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, JsonValue

from schemas.rest.base import ResponseModel
from schemas.rest.result import RecordedError
from schemas.workflow.attempt import AttemptKind, AttemptStatus

_HERE = "/api/v1/workspace/00000000-0000-0000-0000-000000000000/projects/shop/runs/V1StGXR8_Z5jdHi6B-myT/attempts/1"
_EXAMPLE: dict[str, JsonValue] = {
    "number": 1,
    "kind": "api",
    "status": "failed",
    "queuedAt": "2026-11-24T10:00:00.010000Z",
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
}


class UsageBody(ResponseModel):
    """What it took. None: it could not be measured, or there is no such file."""

    peak_memory: int | None
    """Bytes, of all processes of its Machine."""
    cpu_seconds: float | None
    bytes_received: int | None
    """By its browser."""
    trace_size: int | None
    log_size: int | None


class AttemptBody(ResponseModel):
    """One try inside a Run."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    number: int
    kind: AttemptKind
    status: AttemptStatus
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    machine: str | None
    worker: str | None
    browser_version: str | None
    error: RecordedError | None
    """Its `details` have the exception's `name` and the `stack` of user code, files by their paths in the project."""
    page_url: str | None
    """Of its page, at the end of one that did not complete; without what could be a secret."""
    attributes: dict[str, Any] | None
    """What user code left by `set_attribute`."""
    usage: UsageBody | None
    """None: it has not ended, or ended with its worker."""
    missing: dict[str, str]
    """What it should have left and did not (`log`, `trace`, `screenshot`), and why."""
    log: str | None
    """Path on this server, as those of the trace and the screenshot. None: there is none."""
    trace: str | None
    screenshot: str | None
