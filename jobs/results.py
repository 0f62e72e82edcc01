"""Read the results of a JobRun: a line of JSON for each of its Runs, in artifacts that are called shards."""

from __future__ import annotations

from collections.abc import AsyncIterator

from schemas.errors import NotFound
from storage import keys
from storage.store import Store


async def find_shards(store: Store, project: str, job_run_id: str, count: int) -> list[str]:
    """Return the keys of the first `count` shards. Of a shard that was written several times, the last try counts.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    last_tries: dict[int, str] = {}
    async for key in store.list(keys.job_run_results(project, job_run_id)):
        shard = _shard_number(key)
        if shard < count:
            last_tries[shard] = key  # Keys come in ascending order.
    if len(last_tries) < count:
        raise NotFound(f"The results of JobRun {job_run_id} are not kept any more.")
    return [last_tries[shard] for shard in range(count)]


def _shard_number(key: str) -> int:
    return int(key.rpartition("/")[2].partition("-")[0])


async def stream_shards(store: Store, shards: list[str]) -> AsyncIterator[bytes]:
    """Yield the shards with these keys.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    for key in shards:
        data = await store.get(key)
        if data is None:
            raise NotFound(f"A part of the results is missing in the artifact store: {key}.")
        yield data
