"""The published client library, unmodified, drives Jobs through the whole stack."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from intuned_client import AsyncIntunedClient, models

from tests.support.polling import until
from tests.support.present import present
from tests.support.stack import Stack

PROJECT = "shop"
ENDED = {"SUCCESS", "FAILURE", "TERMINATED", "CANCELED"}
LIMIT = 120.0
"""Seconds until a JobRun must have ended."""


class JobOfTest:
    """One Job, by the client."""

    def __init__(self, client: AsyncIntunedClient, job_id: str) -> None:
        self.jobs = client.projects.jobs
        self.id = job_id

    async def create(self, payload: list[dict[str, Any]], **fields: Any) -> None:
        given = {"id": self.id, "payload": payload, "configuration": {"retry": {"maximumAttempts": 1}}, **fields}
        body = models.JobsCreateRequestBody.model_validate(given)
        await self.jobs.create(project_name=PROJECT, body=body)

    async def trigger(self) -> str:
        return (await self.jobs.trigger(project_name=PROJECT, job_id=self.id)).job_run_id

    async def get(self, job_run_id: str) -> models.JobsRunsGetResponse:
        return await self.jobs.runs.get(project_name=PROJECT, job_id=self.id, job_run_id=job_run_id)

    async def listed(self) -> list[models.JobsRunsListResponseJobRunsItem]:
        return (await self.jobs.runs.list(project_name=PROJECT, job_id=self.id)).job_runs

    async def end_of(self, job_run_id: str) -> models.JobsRunsGetResponse:
        return await until(
            lambda: self.get(job_run_id), LIMIT, true=lambda told: told.job_run.status in ENDED, every=0.2
        )


@pytest.fixture
async def job(request: pytest.FixtureRequest, stack: Stack) -> AsyncGenerator[JobOfTest]:
    """A Job of this test's own. In the end it is deleted, and its JobRuns have ended."""
    address = f"{stack.url}/api/v1/workspace"
    client = AsyncIntunedClient(api_key=stack.api_key, workspace_id=stack.workspace, base_url=address, timeout=30)
    job = JobOfTest(client, request.node.name.replace("_", "-"))
    try:
        yield job
        await job.jobs.delete(project_name=PROJECT, job_id=job.id)
        for job_run in await job.listed():
            await job.jobs.runs.terminate(project_name=PROJECT, job_id=job.id, job_run_id=job_run.id)
        for job_run in await job.listed():
            await job.end_of(job_run.id)
    finally:
        await client.aclose()


def item(stack: Stack, **parameters: Any) -> dict[str, Any]:
    return {"apiName": "list-products", "parameters": {"baseUrl": stack.site, "pages": 1, **parameters}}


async def runs_of(stack: Stack, job_run_id: str) -> list[dict[str, Any]]:
    return (await stack.get("runs", project=PROJECT, jobRunId=job_run_id))["runs"]


async def test_a_triggered_job_ends_with_a_result_for_each_item(stack: Stack, job: JobOfTest):
    await job.create([item(stack), item(stack, baseUrl=f"{stack.site}/nowhere"), item(stack)])
    job_run_id = await job.trigger()
    ended = await job.end_of(job_run_id)
    job_run = ended.job_run
    assert (job_run.status, job_run.type, job_run.reason, job_run.error) == ("SUCCESS", "MANUAL", None, None)
    assert (job_run.payloads, job_run.successful_runs, job_run.failed_runs) == (3, 2, 1)
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(present(ended.results).signed_url)
    results = [json.loads(line)["apiInfo"] for line in answer.text.splitlines()]
    assert sorted(result["result"] is None for result in results) == [False, False, True]
    runs = await runs_of(stack, job_run_id)
    assert {run["runId"] for run in runs} == {result["runId"] for result in results}
    assert {(run["jobId"], run["jobRunId"]) for run in runs} == {(job.id, job_run_id)}


async def test_a_schedule_starts_job_runs_until_the_job_is_paused(stack: Stack, job: JobOfTest):
    await job.create([item(stack)], schedule={"intervals": [{"every": "1s"}]})

    async def has_succeeded() -> bool:
        return any((job_run.type, job_run.status) == ("SCHEDULED", "SUCCESS") for job_run in await job.listed())

    await until(has_succeeded, within=LIMIT, every=0.2)
    assert (await job.jobs.pause(project_name=PROJECT, job_id=job.id)).message == "Paused"
    assert (await job.jobs.get(project_name=PROJECT, job_id=job.id)).state == "PAUSED"
    # One that began while another one was active is recorded, and has started no Run.
    for skipped in [job_run for job_run in await job.listed() if job_run.status == "CANCELED"]:
        assert present(skipped.reason).type == "another-job-run-active"
        assert skipped.successful_runs == 0


async def test_a_job_run_that_is_terminated_ends_with_its_runs(stack: Stack, job: JobOfTest):
    slow = {"apiName": "slow", "parameters": {"baseUrl": stack.site, "seconds": 300}}
    await job.create([slow, slow])
    job_run_id = await job.trigger()
    await until(lambda: runs_of(stack, job_run_id), within=LIMIT, every=0.2)
    await job.jobs.runs.terminate(project_name=PROJECT, job_id=job.id, job_run_id=job_run_id)
    ended = await job.end_of(job_run_id)
    assert (ended.job_run.status, present(ended.job_run.reason).type) == ("TERMINATED", "terminated")
    runs = await runs_of(stack, job_run_id)
    assert {(run["status"], run["reason"]["type"]) for run in runs} == {("canceled", "job-run-terminated")}
