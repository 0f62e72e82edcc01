"""The log of an Attempt, read from the artifact store alone: no worker is asked, so any host can answer.

While an Attempt runs, its log is stored in pieces, each named by the offset at which it begins; at the end it is stored
as a whole. Readers see the same bytes either way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api.attempts.records import LIVE_LOG, LOG, left_none, no_attempt, record_of
from api.dependencies import Services
from schemas.workflow.attempt import AttemptStatus
from storage import keys

_LOOK_EVERY = timedelta(milliseconds=250)
_LOOK_EVERY_IN_A_BUCKET = timedelta(seconds=1)
"""Time between two looks for new lines in a bucket, where each look is a request that costs money."""
_ASK_TEMPORAL_EVERY = 2.0
_KEEP_ALIVE_EVERY = 15.0
"""Seconds of silence after which a comment shows proxies that the connection is still in use."""


class LogReader:
    """Reads the log of an Attempt step by step: each call of `more` continues where the last one ended."""

    def __init__(self, parts: Services, project: str, run_id: str, number: int) -> None:
        self._store = parts.store
        self._whole = keys.attempt(project, run_id, number, LOG)
        self._pieces = keys.attempt(project, run_id, number, LIVE_LOG)
        self._last = ""
        """Key of the piece that was read last."""
        self._read = 0
        """Number of bytes that have been read."""

    async def more(self, *, ended: bool) -> bytes | None:
        """Read what was added to the log since the last call. Raises StoreError.

        Args:
            ended: Whether the Attempt has ended, so that the log may be stored as a whole. Only a lost worker leaves it
                in pieces.

        Returns:
            The new bytes; None if there is no log at all.
        """
        whole = await self._store.get(self._whole) if ended else None
        if whole is not None:
            return self._take(whole[self._read :])
        new, found = b"", False
        async for entry in self._store.entries(self._pieces, after=self._last):
            found = True
            piece = await self._store.get(entry.key)
            if piece is None or _begin_of(entry.key) != self._read + len(new):
                break  # the whole log has replaced the pieces meanwhile
            new, self._last = new + piece, entry.key
        return self._take(new) if found or self._read else None

    def _take(self, new: bytes) -> bytes:
        self._read += len(new)
        return new


def _begin_of(piece: str) -> int:
    """Return the offset in the log at which a piece begins, from the piece's key."""
    return int(piece.rpartition("/")[2].partition(".")[0])


async def stored_log(parts: Services, project: str, run_id: str, number: int) -> bytes:
    """Return the log of an Attempt as far as it is stored.

    Raises:
        NotFound: There is no such Attempt, or it has left no log.
        StoreError: The store failed.
    """
    record = await record_of(parts, project, run_id, number)
    if record is None:
        raise no_attempt(run_id, number)
    reader = LogReader(parts, project, run_id, number)
    text = await reader.more(ended=True)
    # The pieces may have been replaced by the whole log during the first read.
    rest = await reader.more(ended=True)
    if text is None and rest is None and record.status is not AttemptStatus.STARTED:
        raise left_none(record, "log")
    return (text or b"") + (rest or b"")


async def followed_log(parts: Services, project: str, run_id: str, number: int, after: int) -> AsyncGenerator[bytes]:
    """Yield the log as server-sent events: one for each line after line `after`, and `end` when the Attempt has ended.

    The id of an event is the number of its line. If the Attempt has not started yet, the stream waits for it. When the
    process is told to stop, the stream ends without `end`, so that the client reconnects and goes on elsewhere.
    """
    follower = _Follower(parts, project, run_id, number)
    reader = LogReader(parts, project, run_id, number)
    lines, rest = 0, b""
    loop = asyncio.get_running_loop()
    said = loop.time()
    while True:
        # This is looked up before the log is read: if the Attempt has ended, the log that is stored then is complete.
        ended = await follower.ended()
        new = await reader.more(ended=ended is not None)
        *whole, rest = (rest + (new or b"")).split(b"\n")
        if ended is not None and rest:
            whole.append(rest)  # the worker was killed while it wrote this line
        for line in whole:
            lines += 1
            if lines > after:
                yield format_sse_event(data_str=line.decode("utf-8", "replace"), id=str(lines))
        if ended is not None:
            yield format_sse_event(event="end", data_str=json.dumps({"status": ended.status}), id=str(lines))
            return
        if whole:
            said = loop.time()
        elif loop.time() - said > _KEEP_ALIVE_EVERY:
            said = loop.time()
            yield KEEPALIVE_COMMENT
        with suppress(TimeoutError):
            await asyncio.wait_for(parts.closing.wait(), follower.look_every)
            return


@dataclass(frozen=True)
class _End:
    status: str | None
    """Status of the Attempt at its end; None if it has never started."""


class _Follower:
    """Finds out whether an Attempt has ended."""

    def __init__(self, parts: Services, project: str, run_id: str, number: int) -> None:
        self._parts = parts
        self._of = (project, run_id, number)
        in_bucket = parts.settings.artifact_location.startswith("s3:")
        self.look_every = (_LOOK_EVERY_IN_A_BUCKET if in_bucket else _LOOK_EVERY).total_seconds()
        self._asked = asyncio.get_running_loop().time()

    async def ended(self) -> _End | None:
        """Return how the Attempt has ended; None while it runs, or has not started."""
        if (end := await self._end()) is not None:
            return end
        # Temporal is asked, too: the Attempt may never start, and the record of its end may never be written.
        now = asyncio.get_running_loop().time()
        if now - self._asked < _ASK_TEMPORAL_EVERY:
            return None
        self._asked = now
        project, run_id, _ = self._of
        state = await self._parts.runs.state(self._parts.settings.workspace, project, run_id)
        return None if state.outcome is None else await self._end() or _End(None)

    async def _end(self) -> _End | None:
        record = await record_of(self._parts, *self._of)
        return None if record is None or record.status is AttemptStatus.STARTED else _End(record.status.value)
