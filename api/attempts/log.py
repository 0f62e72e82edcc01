"""The log of an Attempt, read from the artifact store alone: no worker is asked, so any host can answer.

While an Attempt runs, its log is stored in pieces, each named by the offset at which it begins; at the end it is stored
as a whole. Readers see the same bytes either way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api.attempts.artifacts import artifact_not_found, read_record, require_record
from api.dependencies import Services
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.storage import object_keys

_POLL_FOLDER_EVERY = timedelta(milliseconds=250)
"""Time between two looks for new lines in a folder."""
_POLL_BUCKET_EVERY = timedelta(seconds=1)
"""Time between two looks for new lines in a bucket, where each look is a request that costs money."""
_ASK_TEMPORAL_EVERY = timedelta(seconds=2)
"""Time between two questions to Temporal whether the Run has ended."""
_KEEP_ALIVE_EVERY = timedelta(seconds=15)
"""Time of silence after which a comment shows proxies that the connection is still in use."""


class LogReader:
    """Reads the log of an Attempt step by step: each call of `read_new` continues where the last one ended."""

    def __init__(self, services: Services, project: str, run_id: str, number: int) -> None:
        self._store = services.store
        self._whole = object_keys.log(project, run_id, number)
        self._pieces = object_keys.log_pieces(project, run_id, number)
        self._last = ""
        """Key of the piece that was read last."""
        self._read = 0
        """Number of bytes that have been read."""

    async def read_new(self, *, ended: bool) -> bytes | None:
        """Read what was added to the log since the last call. Raises StoreError.

        Args:
            ended: Whether the Attempt has ended, so that the log may be stored as a whole. Only a lost worker leaves it
                in pieces.

        Returns:
            The new bytes; None if there is no log at all.
        """
        complete = await self._store.get(self._whole) if ended else None
        if complete is not None:
            return self._advance(complete[self._read :])
        new, found = b"", False
        async for entry in self._store.entries(self._pieces, after=self._last):
            found = True
            piece = await self._store.get(entry.key)
            if piece is None or _piece_offset(entry.key) != self._read + len(new):
                break  # the whole log has replaced the pieces meanwhile
            new, self._last = new + piece, entry.key
        return self._advance(new) if found or self._read else None

    def _advance(self, new: bytes) -> bytes:
        self._read += len(new)
        return new


def _piece_offset(piece: str) -> int:
    """Return the offset in the log at which a piece begins, from the piece's key."""
    return int(piece.rpartition("/")[2].partition(".")[0])


async def read_log(services: Services, project: str, run_id: str, number: int) -> bytes:
    """Return the log of an Attempt as far as it is stored.

    Raises:
        NotFound: There is no such Attempt, or it has left no log.
        StoreError: The store failed.
    """
    record = await require_record(services, project, run_id, number)
    reader = LogReader(services, project, run_id, number)
    text = await reader.read_new(ended=True)
    # The pieces may have been replaced by the whole log during the first read.
    rest = await reader.read_new(ended=True)
    if text is None and rest is None and record.status is not AttemptStatus.STARTED:
        raise artifact_not_found(record, "log")
    return (text or b"") + (rest or b"")


async def follow_log(services: Services, project: str, run_id: str, number: int, after: int) -> AsyncGenerator[bytes]:
    """Yield the log as server-sent events: one for each line after line `after`, and `end` when the Attempt has ended.

    The id of an event is the number of its line. If the Attempt has not started yet, the stream waits for it. When the
    process is told to stop, the stream ends without `end`, so that the client reconnects and goes on elsewhere.
    """
    watcher = _EndWatcher(services, project, run_id, number)
    reader = LogReader(services, project, run_id, number)
    count, rest = 0, b""
    loop = asyncio.get_running_loop()
    last_sent = loop.time()
    while True:
        # This is looked up before the log is read: if the Attempt has ended, the log that is stored then is complete.
        ended = await watcher.ended()
        new = await reader.read_new(ended=ended is not None)
        *complete, rest = (rest + (new or b"")).split(b"\n")
        if ended is not None and rest:
            complete.append(rest)  # the worker was killed while it wrote this line
        for line in complete:
            count += 1
            if count > after:
                yield format_sse_event(data_str=line.decode("utf-8", "replace"), id=str(count))
        if ended is not None:
            yield format_sse_event(event="end", data_str=json.dumps(ended), id=str(count))
            return
        if complete:
            last_sent = loop.time()
        elif loop.time() - last_sent > _KEEP_ALIVE_EVERY.total_seconds():
            last_sent = loop.time()
            yield KEEPALIVE_COMMENT
        with suppress(TimeoutError):
            await asyncio.wait_for(services.shutting_down.wait(), watcher.poll_interval)
            return


class _EndWatcher:
    """Finds out whether an Attempt has ended."""

    def __init__(self, services: Services, project: str, run_id: str, number: int) -> None:
        self._services = services
        self._attempt = (project, run_id, number)
        in_bucket = services.settings.keeps_artifacts_in_bucket
        self.poll_interval = (_POLL_BUCKET_EVERY if in_bucket else _POLL_FOLDER_EVERY).total_seconds()
        self._asked_temporal_at = asyncio.get_running_loop().time()

    async def ended(self) -> dict[str, str | None] | None:
        """Return the data of the event `end`, whose status is None if the Attempt never starts; None until it ends."""
        if (end := await self._recorded_end()) is not None:
            return end
        # Temporal is asked, too: the Attempt may never start, and the record of its end may never be written.
        now = asyncio.get_running_loop().time()
        if now - self._asked_temporal_at < _ASK_TEMPORAL_EVERY.total_seconds():
            return None
        self._asked_temporal_at = now
        project, run_id, _ = self._attempt
        state = await self._services.runs.get_state(self._services.settings.workspace, project, run_id)
        return None if state.outcome is None else await self._recorded_end() or {"status": None}

    async def _recorded_end(self) -> dict[str, str | None] | None:
        record = await read_record(self._services, *self._attempt)
        return None if record is None or record.status is AttemptStatus.STARTED else {"status": record.status.value}
