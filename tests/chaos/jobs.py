"""A client that triggers a Job again and again, and reads afterwards what has become of every JobRun."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.chaos.load import answer_of, part_of
from tests.chaos.record import JobRun, Run
from tests.support.rest import Refused, Rest

PROJECT = "batch"
_JOB = "all"
_ITEMS = 60
_FLAKY_EVERY = 10
"""Every so many items there is one whose code raises half of the time."""
_ATTEMPTS = 3
_PAGE = 100


class JobLoad:
    """The JobRuns of one Job, and their Runs."""

    def __init__(self, rest: Rest, sink: dict[str, Any]) -> None:
        self.job_runs: list[JobRun] = []
        self.runs: list[Run] = []
        self.refused: list[str] = []
        self._rest = rest
        self._sink = sink

    async def create(self) -> None:
        """Create the Job."""
        apis = ["flaky" if number % _FLAKY_EVERY == 0 else "quick" for number in range(_ITEMS)]
        body = {
            "id": _JOB,
            "payload": [{"apiName": api, "parameters": {"n": number}} for number, api in enumerate(apis)],
            "configuration": {"retry": {"maximumAttempts": _ATTEMPTS}, "saveTrace": False},
            "sink": self._sink,
        }
        await self._rest.post("jobs", body, project=PROJECT)

    async def keep_triggering(self, stop: asyncio.Event) -> None:
        """Trigger one JobRun after the other, each when the one before has ended, until `stop` is set."""
        while not stop.is_set():
            try:
                await self._execute()
            except Refused as refused:
                self.refused.append(str(refused))

    async def read_all(self) -> None:
        """Read every JobRun, and the Runs that its results tell of."""
        for page in range(1_000_000):
            query = {"pageSize": _PAGE, "pageNumber": page}
            listed = (await self._rest.get(f"jobs/{_JOB}/runs", project=PROJECT, **query))["jobRuns"]
            for each in listed:
                await self._read(each["id"])
            if len(listed) < _PAGE:
                return

    async def _execute(self) -> None:
        # A client that was not told of its JobRun triggers another one, which is canceled while the first is active.
        job_run_id = (await self._rest.post(f"jobs/{_JOB}/trigger", project=PROJECT))["jobRunId"]
        while (await self._get(job_run_id))["end_time"] is None:
            await asyncio.sleep(1)

    async def _get(self, job_run_id: str) -> dict[str, Any]:
        return (await self._rest.get(f"jobs/{_JOB}/runs/{job_run_id}", project=PROJECT))["jobRun"]

    async def _read(self, job_run_id: str) -> None:
        shown = await self._get(job_run_id)
        results = await self._rest.request("GET", f"jobs/{_JOB}/runs/{job_run_id}/results", project=PROJECT)
        lines = [json.loads(line)["apiInfo"] for line in results.text.splitlines()]
        self.job_runs.append(
            JobRun(
                job_run_id=job_run_id,
                items=_ITEMS,
                status=shown["status"],
                reason=part_of(shown, "reason").get("type"),
                succeeded=shown["successful_runs"] or 0,
                failed=shown["failed_runs"] or 0,
                results=[(line["parameters"]["n"], line["runId"]) for line in lines],
            )
        )
        self.runs += map(_run, lines)


def _run(line: dict[str, Any]) -> Run:
    """Return a Run as the results of its JobRun tell of it."""
    result = line["result"]
    status = "completed" if result else "canceled" if line["reason"] else "failed"
    return Run(
        run_id=line["runId"],
        n=line["parameters"]["n"],
        project=PROJECT,
        api=line["name"],
        maximum_attempts=_ATTEMPTS,
        sink="webhook",
        told=answer_of({**line, "status": status, "result": result and result["output"]}),
        told_at=time.monotonic(),
    )
