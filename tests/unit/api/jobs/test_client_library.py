"""The published client library, unmodified, over HTTP: it makes every call about Jobs, and reads every answer."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, IntunedClient, models
from intuned_client.exceptions import NotFoundError, ValidationError

from callboard.schemas.workflow.job_run import JobRunProgress, JobRunReason, JobRunReasonType, JobRunStatus
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE
from tests.support.present import present

JOB = "nightly"
SCHEDULE = {
    "calendars": [
        {
            "second": "*",
            "minute": [0, {"start": 30, "end": 50, "step": 10}],
            "hour": {"start": 6, "end": 18},
            "dayOfWeek": ["MONDAY", {"start": "WEDNESDAY", "end": "FRIDAY"}],
            "month": "JANUARY",
            "dayOfMonth": 1,
            "year": 2030,
            "comment": "In winter.",
        }
    ],
    "intervals": [{"every": "1h"}, {"every": 60_000}],
    "jitter": "6h",
}


def body(**fields: Any) -> models.JobsCreateRequestBody:
    given = {"id": JOB, "payload": [{"apiName": "list", "parameters": {"page": 1}}], "configuration": {}, **fields}
    return models.JobsCreateRequestBody.model_validate(given)


FULL: dict[str, Any] = {
    "configuration": {
        "maxConcurrentRequests": 5,
        "maxRuns": 100,
        "requestTimeout": 90,
        "saveTrace": "on-failure",
        "retry": {"maximumAttempts": 2},
    },
    "payload": [
        {"apiName": "list", "parameters": {}, "requestTimeout": 30, "retry": {"maximumAttempts": 1}},
        {"apiName": "products/details", "parameters": {"id": 7}},
    ],
    "schedule": SCHEDULE,
    "sink": {"type": "webhook", "url": "http://127.0.0.1:9/in?token=t0p-s3cret", "headers": {"x-a": "t0p-s3cret"}},
    "proxy": "http://anna:t0p-s3cret@127.0.0.1:3128",
    "notifications": [{"type": "webhook", "url": "http://127.0.0.1:9/ended", "headers": {"x-b": "t0p-s3cret"}}],
}


@pytest.fixture
async def api(make_api: Callable[..., Any]) -> Api:
    return await make_api(egress_allow=["127.0.0.0/8"])


async def test_it_reads_all_that_a_job_may_have(api: Api, client: AsyncIntunedClient):
    await client.projects.jobs.create(project_name="shop", body=body(**FULL))
    api.jobs.change("shop", JOB, next_run_times=(datetime(2030, 1, 1, 6, tzinfo=UTC),))
    job = await client.projects.jobs.get(project_name="shop", job_id=JOB)
    assert (job.id, job.state, job.project_id) == (JOB, "ACTIVE", "shop")
    items = [(item.api_name, item.parameters) for item in present(job.payload)]
    assert items == [("list", {}), ("products/details", {"id": 7})]
    assert job.configuration.max_concurrent_requests == 5
    assert present(job.configuration.retry).maximum_attempts == 2
    assert present(job.payload)[0].request_timeout == 30
    assert present(job.payload)[1].request_timeout == 600
    assert present(job.schedule).model_dump(by_alias=True, exclude_none=True) == SCHEDULE
    assert (job.proxy, job.next_run_time) == ("http://***@127.0.0.1:3128", "2030-01-01T06:00:00Z")
    assert isinstance(job.sink, models.JobsGetResponseSinkWebhookSinkConfiguration)
    assert "t0p-s3cret" not in job.model_dump_json()


async def test_it_lists_jobs(api: Api, client: AsyncIntunedClient):
    assert await client.projects.jobs.list(project_name="shop") == []
    await client.projects.jobs.create(project_name="shop", body=body(**FULL))
    await client.projects.jobs.create(project_name="shop", body=body(id="another"))
    api.jobs.change("shop", "another", paused=True, note="Paused by hand.")
    other, full = await client.projects.jobs.list(project_name="shop")
    assert (other.id, other.state, present(other.reason).message) == ("another", "PAUSED", "Paused by hand.")
    assert (other.proxy, other.sink, other.schedule, other.source) == (None, None, None, "API")
    assert present(full.proxy).url == "http://***@127.0.0.1:3128"
    assert (full.workspace_id, full.project_id, full.schedule_id) == (WORKSPACE, "shop", f"job:shop:{JOB}")
    assert present(full.notifications)[0].url == "http://127.0.0.1:9/ended"
    assert full.reason is None
    assert "t0p-s3cret" not in full.model_dump_json()


async def test_it_reads_every_status_and_reason(api: Api, client: AsyncIntunedClient):
    await client.projects.jobs.create(project_name="shop", body=body())
    job_run_id = (await client.projects.jobs.trigger(project_name="shop", job_id=JOB)).job_run_id
    pairs = itertools.zip_longest(JobRunStatus, JobRunReasonType, fillvalue=None)
    for status, reason in ((status or JobRunStatus.CANCELED, reason) for status, reason in pairs):
        ended = datetime(2026, 11, 24, 11, tzinfo=UTC) if status.has_ended else None
        progress = JobRunProgress(total=9, next=8, in_flight=(7,), succeeded=5, failed=2)
        why = reason and JobRunReason(type=reason, message="So.", details={"runId": "jr_x"})
        api.job_runs.change(job_run_id, status=status, ended_at=ended, progress=progress, error="No.", reason=why)
        answer = await client.projects.jobs.runs.get(project_name="shop", job_id=JOB, job_run_id=job_run_id)
        job_run = answer.job_run
        assert (job_run.status, present(job_run.error).message) == (status, "No.")
        assert (job_run.payloads, job_run.successful_runs, job_run.failed_runs) == (9, 5, 2)
        assert (job_run.end_time is None) is (answer.results is None) is (not status.has_ended)
        assert (job_run.reason and (job_run.reason.type, job_run.reason.details)) == (
            reason and (reason, {"runId": "jr_x"})
        )


async def test_it_lists_and_terminates_job_runs(api: Api, client: AsyncIntunedClient):
    await client.projects.jobs.create(project_name="shop", body=body())
    runs = client.projects.jobs.runs
    assert (await runs.list(project_name="shop", job_id=JOB)).total_count == 0
    ids = [(await client.projects.jobs.trigger(project_name="shop", job_id=JOB)).job_run_id for _ in range(3)]
    page = await runs.list(
        project_name="shop", job_id=JOB, page_size="2", page_number="1", sort_by="start_time,desc/status,asc"
    )
    assert ([job_run.id for job_run in page.job_runs], page.total_count) == (ids[2:], 3)
    await runs.terminate(project_name="shop", job_id=JOB, job_run_id=ids[0])
    assert api.job_runs.steered == [(ids[0], "terminate")]


async def test_it_reads_refusals(client: AsyncIntunedClient):
    await client.projects.jobs.create(project_name="shop", body=body())
    with pytest.raises(ValidationError) as taken:
        await client.projects.jobs.create(project_name="shop", body=body())
    assert taken.value.status_code == 409
    with pytest.raises(ValidationError) as refused:
        await client.projects.jobs.create(
            project_name="shop", body=body(id="other", schedule={"calendars": [{"hour": 99}]})
        )
    assert refused.value.status_code == 400
    with pytest.raises(NotFoundError):
        await client.projects.jobs.runs.get(project_name="shop", job_id=JOB, job_run_id="jr_" + "x" * 21)


async def test_it_makes_every_call_of_a_job_s_life(library_options: dict[str, Any]):
    def use() -> None:
        with IntunedClient(**library_options) as client:
            jobs, of_job = client.projects.jobs, {"project_name": "shop", "job_id": JOB}
            assert jobs.create(project_name="shop", body=body(**FULL)).message == "created"
            assert [job.id for job in jobs.list(project_name="shop")] == [JOB]
            assert jobs.pause(**of_job).message == "Paused"
            assert jobs.get(**of_job).state == "PAUSED"
            assert jobs.resume(**of_job).message == "Resumed"
            assert jobs.get(**of_job).state == "ACTIVE"
            job_run_id = jobs.trigger(**of_job).job_run_id
            answer = jobs.runs.get(**of_job, job_run_id=job_run_id)
            job_run, snapshot = answer.job_run, answer.job_run.job_configuration_snapshot
            assert (job_run.id, job_run.type, job_run.status) == (job_run_id, "MANUAL", "PENDING")
            assert (job_run.end_time, job_run.payloads, job_run.error, job_run.reason) == (None, 0, None, None)
            assert present(snapshot.proxy).url == "http://***@127.0.0.1:3128"
            assert snapshot.configuration.max_runs == 100
            assert answer.results is None
            assert len(jobs.runs.list(**of_job)) == 1
            assert jobs.runs.terminate(**of_job, job_run_id=job_run_id).message
            change = models.JobsUpdateRequestBody.model_validate({"payload": [], "configuration": {"maxRuns": 3}})
            assert jobs.update(**of_job, body=change).message == "updated job successfully"
            job = jobs.get(**of_job)
            changed = (job.payload, job.configuration.max_runs, job.schedule, job.sink, job.proxy)
            assert changed == ([], 3, None, None, None)
            jobs.delete(**of_job)
            assert jobs.list(project_name="shop") == []

    await asyncio.to_thread(use)
