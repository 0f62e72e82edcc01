"""The results of JobRuns: artifacts with a line of JSON for each Run that has ended, which are called shards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from callboard.schemas.errors import NotFound
from callboard.storage import object_keys
from callboard.storage.store import Store


async def find_shards(store: Store, project: str, job_run_id: str, count: int) -> list[str]:
    """Return the names of the first `count` shards. Of a shard that was written several times, the last try counts.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    last_tries: dict[int, str] = {}
    async for name in store.list(object_keys.job_run_results(project, job_run_id)):
        shard = int(name.rpartition("/")[2].partition("-")[0])
        if shard < count:
            last_tries[shard] = name  # Names come in ascending order.
    if len(last_tries) < count:
        raise NotFound(f"The results of JobRun {job_run_id} are not kept any more.")
    return [last_tries[shard] for shard in range(count)]


async def stream_shards(store: Store, shards: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield the shards with these names.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    for name in shards:
        data = await store.get(name)
        if data is None:
            raise NotFound(f"A part of the results is missing in the artifact store: {name}.")
        yield data
