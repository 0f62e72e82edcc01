"""What Attempts have left in the artifact store: their records, as they are answered, traces, screenshots and files."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.dependencies import Services
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.attempt import (
    AttemptBody,
    AttemptVariableBody,
    OpenTelemetryLink,
    TakeoverBody,
    UsageBody,
    attempt_path,
)
from callboard.schemas.rest.files import FileBody
from callboard.schemas.rest.run_result import RecordedError, cause_json
from callboard.schemas.workflow.attempt import AttemptRecord, AttemptStatus, RecordedFile
from callboard.storage import object_keys
from callboard.storage.store import Store

_CONCURRENT_READS = 16
"""Number of records that are read concurrently: a Run can have a hundred Attempts."""
_CHUNK_BYTES = 256 * 1024
_SANDBOX = "default-src 'none'; sandbox"


async def list_attempts(services: Services, project: str, run_id: str) -> list[AttemptBody]:
    """Return the Attempts of a Run that have left a record, in order of their numbers. Raises StoreError."""
    artifacts = await _list_artifacts(services, project, run_id, object_keys.attempts(project, run_id))
    limit = asyncio.Semaphore(_CONCURRENT_READS)

    async def read(number: int) -> AttemptBody | None:
        async with limit:
            return await _attempt_body(services, project, run_id, number, artifacts[number])

    bodies = await asyncio.gather(*(read(number) for number in sorted(artifacts)))
    return [body for body in bodies if body is not None]


async def get_attempt(services: Services, project: str, run_id: str, number: int) -> AttemptBody:
    """Return one Attempt of a Run.

    Raises:
        NotFound: The Attempt has left no record, or none yet.
        StoreError: The artifact store failed.
    """
    artifacts = await _list_artifacts(services, project, run_id, object_keys.attempt(project, run_id, number, ""))
    body = await _attempt_body(services, project, run_id, number, artifacts[number])
    if body is None:
        raise _not_found(run_id, number)
    return body


async def read_record(services: Services, project: str, run_id: str, number: int) -> AttemptRecord | None:
    """Return the record of an Attempt as it was written, or None if there is none. Raises StoreError."""
    return await _read_record(services.store, project, run_id, number)


async def _read_record(store: Store, project: str, run_id: str, number: int) -> AttemptRecord | None:
    data = await store.get(object_keys.record(project, run_id, number))
    return None if data is None else AttemptRecord.model_validate_json(data)


async def require_record(services: Services, project: str, run_id: str, number: int) -> AttemptRecord:
    """Return the record of an Attempt as it was written.

    Raises:
        NotFound: There is no such Attempt.
        StoreError: The store failed.
    """
    record = await read_record(services, project, run_id, number)
    if record is None:
        raise _not_found(run_id, number)
    return record


async def trace_response(services: Services, project: str, run_id: str, number: int) -> Response:
    """Return the trace of an Attempt as a stream: it can be too big to be held in memory.

    Raises:
        NotFound: There is no such Attempt, or it has left no trace.
        StoreError: The store failed.
    """
    found = await find_trace(services.store, project, run_id, number)
    if found is None:
        raise artifact_not_found(await require_record(services, project, run_id, number), "trace")
    return found


async def find_trace(store: Store, project: str, run_id: str, number: int) -> Response | None:
    """Return a trace as a stream, or None if it is not stored. The Attempt's record is not read. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="callboard-trace-") as folder:
        copy = Path(folder) / "trace.zip"
        if not await store.get_file(object_keys.trace(project, run_id, number), copy):
            return None
        size = copy.stat().st_size
        file = copy.open("rb")  # the open file keeps its contents when the folder is removed
    headers = {
        "content-length": str(size),
        "content-disposition": f'attachment; filename="trace_{run_id}_{number}.zip"',
    }
    return StreamingResponse(_read_chunks(file), media_type="application/zip", headers=headers)


async def find_file(store: Store, project: str, run_id: str, number: int, name: str) -> Response | None:
    """Return a file that an Attempt has left, or None if there is none of this name. Raises StoreError.

    It is a stranger's. So a browser saves it and executes nothing: it is an attachment whose type must not be guessed,
    and even as a document it would stand in a sandbox. A request for a range of it is answered with that.
    """
    record = await _read_record(store, project, run_id, number)
    found = () if record is None else enumerate(record.files)
    for index, file in found:
        if file.name == name:
            with tempfile.TemporaryDirectory(prefix="callboard-file-") as folder:
                copy = Path(folder) / "file"
                if not await store.get_file(object_keys.file(project, run_id, number, index), copy):
                    return None
                return _StoredFile(copy.open("rb"), file)  # it keeps its contents when the folder is removed
    return None


class _StoredFile(FileResponse):
    """The answer with a file that has no name on this host any more, and is gone when the answer is sent."""

    def __init__(self, opened: BinaryIO, file: RecordedFile) -> None:
        headers = {"etag": f'"{file.sha256}"', "x-content-type-options": "nosniff", "content-security-policy": _SANDBOX}
        super().__init__(
            f"/proc/self/fd/{opened.fileno()}",
            headers=headers,
            media_type=file.content_type,
            filename=file.name.rpartition("/")[2],
            stat_result=os.fstat(opened.fileno()),
        )
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._opened:
            await super().__call__(scope, receive, send)


async def screenshot_response(services: Services, project: str, run_id: str, number: int) -> Response:
    """Return the last picture of an Attempt's page: of one that completed, it is a part of the trace.

    Raises:
        NotFound: There is no such Attempt, or it has left no screenshot.
        StoreError: The store failed.
    """
    data = await services.store.get(object_keys.screenshot(project, run_id, number))
    if data is not None:
        return Response(data, media_type="image/png")
    record = await require_record(services, project, run_id, number)
    if (picture := record.trace_picture) is not None:
        data = await services.store.get_part(object_keys.trace(project, run_id, number), picture.begin, picture.size)
    if data is None:
        raise artifact_not_found(record, "screenshot")
    return Response(data, media_type="image/jpeg")


def trace_link(services: Services, trace_id: str | None) -> OpenTelemetryLink | None:
    """Return what is told of an OpenTelemetry trace: its id, and its address if the settings say where it is shown."""
    if trace_id is None:
        return None
    template = services.settings.otel_trace_url
    return OpenTelemetryLink(trace_id=trace_id, url=template and template.replace("{trace_id}", trace_id))


def artifact_not_found(record: AttemptRecord, artifact: str, missing: str | None = None) -> NotFound:
    """Return the error that an Attempt has left no such file, with the reason if it is known.

    `missing` is its name among what is missing, if that is another one.
    """
    reason = record.missing.get(missing or artifact)
    message = f"Attempt {record.number} of Run {record.run_id} has left no {artifact}"
    return NotFound(f"{message}: {reason}" if reason else f"{message}.")


async def _read_chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def _not_found(run_id: str, number: int) -> NotFound:
    return NotFound(f"Run {run_id} has no Attempt {number}, or it has not started yet.")


async def _list_artifacts(services: Services, project: str, run_id: str, prefix: str) -> defaultdict[int, set[str]]:
    """Return the keys that begin with `prefix`, by the number of the Attempt that has left the artifact."""
    artifacts: defaultdict[int, set[str]] = defaultdict(set)
    prefix_of_all = object_keys.attempts(project, run_id)
    async for key in services.store.list(prefix):
        artifacts[int(key.removeprefix(prefix_of_all).partition("/")[0])].add(key)
    return artifacts


async def _attempt_body(
    services: Services, project: str, run_id: str, number: int, artifacts: set[str]
) -> AttemptBody | None:
    of = (project, run_id, number)
    record = await read_record(services, *of) if object_keys.record(*of) in artifacts else None
    if record is None:
        return None
    path = attempt_path(services.settings.workspace, project, run_id, number)
    whole_log = object_keys.log(*of) in artifacts
    has_pieces = any(key.startswith(object_keys.log_pieces(*of)) for key in artifacts)
    has_log = whole_log or has_pieces or record.status is AttemptStatus.STARTED
    has_trace = object_keys.trace(*of) in artifacts
    has_screenshot = object_keys.screenshot(*of) in artifacts or (has_trace and record.trace_picture is not None)
    return AttemptBody(
        number=number,
        kind=record.kind,
        status=record.status,
        queued_at=record.queued_at,
        preparing_at=record.preparing_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        machine=record.machine,
        worker=record.worker,
        browser_version=record.browser_version,
        error=None if record.error is None else RecordedError.model_validate(cause_json(record.error)),
        page_url=record.page_url,
        attributes=record.attributes,
        env_vars=None
        if record.variables is None
        else [AttemptVariableBody.model_validate(variable.model_dump()) for variable in record.variables],
        usage=None if record.usage is None else UsageBody.model_validate(record.usage.model_dump()),
        open_telemetry=trace_link(services, record.trace_id),
        missing=_missing(record, whole_log=whole_log),
        log=f"{path}/log" if has_log else None,
        trace=f"{path}/trace" if has_trace else None,
        screenshot=f"{path}/screenshot" if has_screenshot else None,
        files=[FileBody.model_validate(file.model_dump()) for file in record.files],
        takeovers=[TakeoverBody.model_validate(each.model_dump()) for each in record.takeovers],
    )


def _missing(record: AttemptRecord, *, whole_log: bool) -> dict[str, str]:
    """Return what is missing of an Attempt's artifacts, and why.

    The record may say that the log is missing although it is there as a whole by now: a log can be recovered from the
    disk of a worker that was lost, and then comes later than the record.
    """
    return {artifact: reason for artifact, reason in record.missing.items() if artifact != "log" or not whole_log}
