"""Whatever is killed in a JobRun: it ends with as many results as it has items, none twice, none missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from tests.support.polling import until
from tests.support.processes import command_line, find_child
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ITEMS = 500
PATIENCE = 300
"""Seconds. Temporal gives a lost worker up after 30, and the host may be busy."""


@pytest.fixture(scope="module")
async def faulty(tmp_path_factory: pytest.TempPathFactory, site: str) -> AsyncIterator[Stack]:
    """A stack of its own, to be ill-treated. Its processes are restarted by their supervisor."""
    folder = tmp_path_factory.mktemp("faulty-jobs")
    shutil.copytree(REPOSITORY / "tests" / "e2e" / "projects" / "lab", folder / "projects" / "lab")
    async with Stack.up(folder, folder / "projects", site) as running:
        yield running


def temporal(stack: Stack) -> psutil.Process:
    for child in psutil.Process().children():
        if str(stack.data / "temporal.db") in command_line(child):
            return child
    raise AssertionError("no Temporal server")


class Job:
    """A Job of some quick items, by a client that comes again when it is not answered."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._path = f"/api/v1/workspace/{stack.workspace}/projects/lab/jobs"

    async def call(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        answers: list[httpx.Response] = []

        async def is_answered() -> bool:
            with suppress(httpx.TransportError):  # the api is not there
                answers.append(await self._stack.http.request(method, self._path + path, **options))
            return bool(answers) and answers[-1].status_code < 500

        await until(is_answered, within=PATIENCE, every=0.1)
        return answers[-1]

    async def until(self, job_run: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        shown: dict[str, Any] = {}

        async def is_so() -> bool:
            shown.update((await self.call("GET", f"/quick/runs/{job_run}")).json())
            return condition(shown["jobRun"])

        await until(is_so, within=PATIENCE, every=0.1)
        return shown

    async def until_ended(self, job_run: str, count: int) -> None:
        """Wait until so many Runs have ended, as far as the JobRun knows."""
        await self.until(job_run, lambda shown: shown["successful_runs"] + shown["failed_runs"] >= count)


async def test_worker_api_and_temporal_are_killed_in_the_middle_of_a_job_run(faulty: Stack) -> None:
    job = Job(faulty)
    payload = [{"apiName": "echo", "parameters": {"n": number}} for number in range(ITEMS)]
    body = {"id": "quick", "payload": payload, "configuration": {}}
    assert (await job.call("POST", json=body)).status_code == 201
    job_run = (await job.call("POST", "/quick/trigger")).json()["jobRunId"]
    kills: list[Callable[[], Awaitable[None] | None]] = [
        lambda: find_child("worker", faulty.data).kill(),
        lambda: find_child("api", faulty.data).kill(),
        lambda: temporal(faulty).kill(),
    ]
    for number, kill in enumerate(kills, start=1):
        await job.until_ended(job_run, number * ITEMS // 5)
        kill()
    shown = await job.until(job_run, lambda shown: shown["end_time"] is not None)
    assert shown["jobRun"]["status"] == "SUCCESS"
    assert (shown["jobRun"]["successful_runs"], shown["jobRun"]["failed_runs"]) == (ITEMS, 0)
    lines = [json.loads(line) for line in (await job.call("GET", f"/quick/runs/{job_run}/results")).text.splitlines()]
    results = [line["apiInfo"]["result"]["output"] for line in lines]
    assert sorted(result["n"] for result in results) == list(range(ITEMS))
    assert len({line["apiInfo"]["runId"] for line in lines}) == ITEMS
