"""The items of a JobRun by their numbers: those of its Job's payload first, then those that its Runs have added."""

from __future__ import annotations

from schemas.workflow.job import PAYLOAD_CHUNK
from schemas.workflow.job_run import JobRunPlan
from storage import keys
from storage.job_payloads import ChunkKey, JobItem, read_lines
from storage.store import Store

_CHUNKS = 8
"""How many artifacts with items are kept in memory."""


class JobItems:
    """Reads and adds items. What it has read does not change as long as it adds none."""

    def __init__(self, plan: JobRunPlan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._chunks: dict[str, list[bytes]] = {}

    async def get(self, number: int) -> JobItem:
        """Return an item. Raises StoreError."""
        count = self._plan.payload_count
        key, first = (self._payload_key, number) if number < count else (self._added_key, number - count)
        begin = first - first % PAYLOAD_CHUNK
        return JobItem.from_line((await self._read(key, begin))[first - begin])

    async def append(self, total: int, items: list[JobItem]) -> None:
        """Store items behind the first `total` ones; what an earlier try has stored there is replaced.

        Raises:
            StoreError: The store failed; repeating helps.
        """
        first = total - self._plan.payload_count
        begin = first - first % PAYLOAD_CHUNK
        kept = await read_lines(self._store, self._added_key, begin, first - begin) if first > begin else []
        lines = kept + [item.to_line() for item in items]
        for offset in range(0, len(lines), PAYLOAD_CHUNK):
            data = b"".join(line + b"\n" for line in lines[offset : offset + PAYLOAD_CHUNK])
            await self._store.put(self._added_key(begin + offset), data)

    async def _read(self, key: ChunkKey, begin: int) -> list[bytes]:
        name = key(begin)
        lines = self._chunks.pop(name, None)
        if lines is None:
            lines = await read_lines(self._store, key, begin, PAYLOAD_CHUNK)
        self._chunks[name] = lines
        if len(self._chunks) > _CHUNKS:
            del self._chunks[next(iter(self._chunks))]
        return lines

    def _payload_key(self, first: int) -> str:
        return keys.job_payload(self._plan.project, self._plan.job_id, self._plan.definition, first)

    def _added_key(self, first: int) -> str:
        return keys.job_run_payload(self._plan.project, self._plan.job_run_id, self._plan.payload_count + first)
