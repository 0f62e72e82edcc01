"""Whatever is killed or cut off in a JobRun: it ends with as many results as it has items, none twice, none missing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.processes import find_child, find_temporal
from tests.support.rest import Rest
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(600)

ITEMS = 260
"""More than there are in a chunk of the payload (250), and more than a piece of the JobRun has ends (200)."""
"""Seconds for which the store cannot be reached, in each of the two ways."""
PATIENCE = 300
"""Seconds. Temporal gives a lost worker up after 30, and the host may be busy."""


class Job:
    """A Job of some quick items, by a client that comes again when it is not answered."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    async def until(self, job_run: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        place = f"jobs/quick/runs/{job_run}"
        return await self.rest.until(place, lambda shown: condition(shown["jobRun"]), within=PATIENCE, every=0.5)

    async def start_job_run(self, items: int) -> str:
        """Create the Job, and start a JobRun of it."""
        payload = [{"apiName": "echo", "parameters": {"n": number}} for number in range(items)]
        await self.rest.post("jobs", {"id": "quick", "payload": payload, "configuration": {}})
        return (await self.rest.post("jobs/quick/trigger"))["jobRunId"]

    async def until_ended(self, job_run: str, count: int) -> None:
        """Wait until so many Runs have ended, as far as the JobRun knows."""
        await self.until(job_run, lambda shown: shown["successful_runs"] + shown["failed_runs"] >= count)


async def check_results(job: Job, job_run: str, items: int) -> None:
    """Wait for the end of the JobRun, and check that there is one result of each item."""
    shown = await job.until(job_run, lambda shown: shown["end_time"] is not None)
    assert shown["jobRun"]["status"] == "SUCCESS"
    assert (shown["jobRun"]["successful_runs"], shown["jobRun"]["failed_runs"]) == (items, 0)
    told = (await job.rest.request("GET", f"jobs/quick/runs/{job_run}/results")).text
    lines = [json.loads(line) for line in told.splitlines()]
    results = [line["apiInfo"]["result"]["output"] for line in lines]
    assert sorted(result["n"] for result in results) == list(range(items))
    assert len({line["apiInfo"]["runId"] for line in lines}) == items


async def test_worker_api_and_temporal_are_killed_in_the_middle_of_a_job_run(faulty: Stack) -> None:
    job = Job(Rest(faulty.http, comes_again=True))
    job_run = await job.start_job_run(ITEMS)
    kills: list[Callable[[], Awaitable[None] | None]] = [
        lambda: find_child("worker", faulty.data).kill(),
        lambda: find_child("api", faulty.data).kill(),
        lambda: find_temporal(faulty.data).kill(),
    ]
    for number, kill in enumerate(kills, start=1):
        await job.until_ended(job_run, number * ITEMS // 5)
        kill()
    await check_results(job, job_run, ITEMS)
