"""Write and read the payloads of Jobs: lines of JSON, in artifacts of `PAYLOAD_CHUNK` lines each.

Neither takes more memory for a long payload than for a short one.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from callboard.schemas.errors import StoreError
from callboard.schemas.rest.start_request import RetryInterval
from callboard.schemas.workflow.job import PAYLOAD_CHUNK, JobDefinition
from callboard.storage import object_keys
from callboard.storage.store import Store

_WRITES = 4
"""How many artifacts are written at once: a bucket answers each write only after some time."""

ChunkKey = Callable[[int], str]
"""Returns the key of the artifact whose first line is the item with this number."""


class JobItemRetry(BaseModel):
    """How often the Run of an item is tried, and after what waits; None for what the Job, or the project, says."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    maximum_attempts: int | None = None
    initial_interval: RetryInterval | None = None
    backoff_coefficient: float | None = None
    maximum_interval: RetryInterval | None = None


class JobItem(BaseModel):
    """An item of a payload: one Run of an API."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    api_name: str
    parameters: dict[str, Any]
    request_timeout: int | None = None
    """Seconds of each Attempt; None for what the Job, or the project, says."""
    retry: JobItemRetry | None = None
    tags: tuple[str, ...] | None = None
    """Tags of the Run besides those of the Job."""

    def to_line(self) -> bytes:
        """Return the item as a line of an artifact, without its end."""
        members = self.model_dump(by_alias=True, exclude_none=True, exclude={"parameters"})
        return json.dumps(members | {"parameters": self.parameters}, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the item of a line. It was validated when it was written."""
        return cls.model_validate(json.loads(line))


def definition_chunks(definition: JobDefinition) -> ChunkKey:
    """Return where the payload of a definition is kept."""
    return lambda first: object_keys.job_payload(definition.project, definition.job_id, definition.ref, first)


class PayloadWriter:
    """Writes lines to the artifact store as they come: `async with PayloadWriter(…) as writer`.

    When the block is left, all lines are written. If it is left by an error, writing has ended, and some of the lines
    may be in the store: the caller deletes them.
    """

    def __init__(self, store: Store, key: ChunkKey) -> None:
        self._store = store
        self._key = key
        self._lines: list[bytes] = []
        self._writes: deque[asyncio.Task[None]] = deque()
        self.count = 0
        """How many lines were added."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._write_chunk()
                while self._writes:
                    await self._writes.popleft()
        finally:
            # They are not cancelled: one might reach the store after the caller has deleted what it found there.
            await asyncio.gather(*self._writes, return_exceptions=True)

    async def add(self, line: bytes) -> None:
        """Write a line, which has no end of line in it; this waits while too many of them are still being written.

        Raises:
            StoreError: The store failed at this line, or at one before it.
        """
        self._lines.append(line)
        self.count += 1
        if len(self._lines) == PAYLOAD_CHUNK:
            await self._write_chunk()

    async def _write_chunk(self) -> None:
        if not self._lines:
            return
        while len(self._writes) >= _WRITES:
            await self._writes.popleft()
        first = self.count - len(self._lines)
        data = b"".join(part for line in self._lines for part in (line, b"\n"))
        self._lines = []
        self._writes.append(asyncio.create_task(self._store.put(self._key(first), data)))
        await asyncio.sleep(0)  # The lines may all be there already, and others want the event loop meanwhile.


async def read_lines(store: Store, key: ChunkKey, first: int, count: int) -> list[bytes]:
    """Return `count` lines, from the one with the number `first` on; fewer if there are no more in the last artifact.

    Raises:
        StoreError: The store failed, or one of the artifacts is missing.
    """
    lines: list[bytes] = []
    end = first + count
    for begin in range(first - first % PAYLOAD_CHUNK, end, PAYLOAD_CHUNK):
        chunk = (await _read_chunk(store, key(begin))).splitlines()
        lines += chunk[max(first - begin, 0) : end - begin]
    return lines


async def read_items(store: Store, key: ChunkKey, first: int, count: int) -> list[JobItem]:
    """Return `count` items, from the one with the number `first` on. Raises what `read_lines` raises."""
    return [JobItem.from_line(line) for line in await read_lines(store, key, first, count)]


async def stream_payload(store: Store, definition: JobDefinition) -> AsyncIterator[bytes]:
    """Yield the whole payload of a definition in pieces, as NDJSON. Raises what `read_lines` raises."""
    key = definition_chunks(definition)
    for begin in range(0, definition.payload_count, PAYLOAD_CHUNK):
        yield await _read_chunk(store, key(begin))


async def _read_chunk(store: Store, key: str) -> bytes:
    data = await store.get(key)
    if data is None:
        raise StoreError(f"A part of the payload is missing in the artifact store: {key}.")
    return data
