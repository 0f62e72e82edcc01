"""Make the payload of a rerun: the items of an earlier JobRun that have not completed."""

from __future__ import annotations

import asyncio
import json

from activities.jobs.item_runs import JobItems
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobRunPlan, RerunSource
from callboard.storage import object_keys
from callboard.storage.job_payloads import PayloadWriter
from callboard.storage.job_results import find_shards, stream_shards
from callboard.storage.store import Store


async def copy_unfinished(store: Store, earlier: JobRunPlan, source: RerunSource, *, for_job_run: str) -> int:
    """Store the items that have not completed as the payload of JobRun `for_job_run`; return how many these are.

    Items that Runs have added are among them. All keep their order. `earlier` is the plan of the earlier JobRun.

    Raises:
        NotFound: The results of the earlier JobRun are not kept any more.
        StoreError: The store failed, or items are missing.
    """
    completed = await _find_completed(store, earlier.project, source)
    items = JobItems(earlier, store)
    async with PayloadWriter(
        store, lambda first: object_keys.job_run_payload(earlier.project, for_job_run, first)
    ) as writer:
        for number in range(source.item_count or 0):
            if number not in completed:
                await writer.add((await items.get(number)).to_line())
    return writer.count


async def _find_completed(store: Store, project: str, source: RerunSource) -> set[int]:
    completed: set[int] = set()
    shards = await find_shards(store, project, source.job_run_id, source.shards)
    async for shard in stream_shards(store, shards):
        completed |= await asyncio.to_thread(_completed_in, shard)
    return completed


def _completed_in(shard: bytes) -> set[int]:
    """Return the items whose Runs have completed, by the lines of a shard."""
    ended = (json.loads(line)["apiInfo"] for line in shard.splitlines())
    return {names.item_of_run(api_info["runId"]) for api_info in ended if api_info["result"] is not None}
