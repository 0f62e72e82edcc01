"""Responses with the files that an Attempt leaves: its trace and its screenshot."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

from api.attempts.bodies import artifact_not_found, attempt_not_found, read_record
from api.dependencies import Services
from schemas.errors import NotFound
from storage import keys
from storage.store import Store

_CHUNK_BYTES = 256 * 1024


async def trace_response(services: Services, project: str, run_id: str, number: int) -> Response:
    """Return the trace of an Attempt as a stream: it can be too big to be held in memory.

    Raises:
        NotFound: There is no such Attempt, or it has left no trace.
        StoreError: The store failed.
    """
    found = await find_trace(services.store, project, run_id, number)
    if found is None:
        raise await _missing_error(services, project, run_id, number, "trace")
    return found


async def find_trace(store: Store, project: str, run_id: str, number: int) -> Response | None:
    """Return a trace as a stream, or None if it is not stored. The Attempt's record is not read. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="callboard-trace-") as folder:
        copy = Path(folder) / "trace.zip"
        if not await store.get_file(keys.trace(project, run_id, number), copy):
            return None
        size = copy.stat().st_size
        file = copy.open("rb")  # the open file keeps its contents when the folder is removed
    headers = {
        "content-length": str(size),
        "content-disposition": f'attachment; filename="trace_{run_id}_{number}.zip"',
    }
    return StreamingResponse(_read_chunks(file), media_type="application/zip", headers=headers)


async def screenshot_response(services: Services, project: str, run_id: str, number: int) -> Response:
    """Return the last picture of an Attempt's page.

    Raises:
        NotFound: There is no such Attempt, or it has left no screenshot.
        StoreError: The store failed.
    """
    data = await services.store.get(keys.screenshot(project, run_id, number))
    if data is None:
        raise await _missing_error(services, project, run_id, number, "screenshot")
    return Response(data, media_type="image/png")


async def _read_chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


async def _missing_error(services: Services, project: str, run_id: str, number: int, artifact: str) -> NotFound:
    record = await read_record(services, project, run_id, number)
    return attempt_not_found(run_id, number) if record is None else artifact_not_found(record, artifact)
