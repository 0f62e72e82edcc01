"""Answers that hold the files that an Attempt leaves: its trace and its screenshot."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

from api.attempts.records import SCREENSHOTS, TRACE, left_none, no_attempt, record_of
from api.dependencies import Services
from schemas.errors import NotFound
from storage import keys
from storage.store import Store

_CHUNK = 256 * 1024


async def trace_of(parts: Services, project: str, run_id: str, number: int) -> Response:
    """Return the trace of an Attempt as a stream: it can be too big to be held in memory.

    Raises:
        NotFound: There is no such Attempt, or it has left no trace.
        StoreError: The store failed.
    """
    found = await stored_trace(parts.store, project, run_id, number)
    if found is None:
        raise await _missing(parts, project, run_id, number, "trace")
    return found


async def stored_trace(store: Store, project: str, run_id: str, number: int) -> Response | None:
    """Return a trace as a stream, or None if it is not stored. The Attempt's record is not read. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="callboard-trace-") as folder:
        copy = Path(folder) / TRACE
        if not await store.get_file(keys.attempt(project, run_id, number, TRACE), copy):
            return None
        size = copy.stat().st_size
        file = copy.open("rb")  # the open file keeps its contents when the folder is removed
    headers = {
        "content-length": str(size),
        "content-disposition": f'attachment; filename="trace_{run_id}_{number}.zip"',
    }
    return StreamingResponse(_chunks(file), media_type="application/zip", headers=headers)


async def screenshot_of(parts: Services, project: str, run_id: str, number: int) -> Response:
    """Return the last picture of an Attempt's page.

    Raises:
        NotFound: There is no such Attempt, or it has left no screenshot.
        StoreError: The store failed.
    """
    for name, media_type in SCREENSHOTS.items():
        data = await parts.store.get(keys.attempt(project, run_id, number, name))
        if data is not None:
            return Response(data, media_type=media_type)
    raise await _missing(parts, project, run_id, number, "screenshot")


async def _chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def _missing(parts: Services, project: str, run_id: str, number: int, what: str) -> NotFound:
    record = await record_of(parts, project, run_id, number)
    return no_attempt(run_id, number) if record is None else left_none(record, what)
