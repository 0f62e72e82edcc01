"""JobRuns on a real Temporal: started, read, listed and steered. A stub is in the place of their workflow."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from callboard.dev.temporal import TemporalServer
from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.rest.job_runs import parse_sort
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import (
    JobLockInput,
    JobRunInput,
    JobRunReasonType,
    JobRunStatus,
    JobRunType,
    RerunSource,
)
from callboard.temporal.job_runs import JobRuns, JobRunState
from tests.support.job_run_stub import CONTINUE, FINISH, StubJobRun
from tests.support.polling import until
from tests.support.stage import IDENTITY, WORKSPACE
from tests.support.temporal_servers import set_up_namespace
from workflows.job_lock import JobLockWorkflow

ELSEWHERE = "11111111-1111-1111-1111-111111111111"
JOB = "nightly"
NAMESPACE = "job-runs"


@pytest.fixture(scope="session")
async def client(temporal: TemporalServer) -> AsyncGenerator[Client]:
    """A client of a namespace of these tests' own."""
    _, client = await set_up_namespace(temporal, NAMESPACE)
    workflows = [StubJobRun, JobLockWorkflow]
    async with Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=workflows, identity=IDENTITY):
        yield client


class JobRunsOfTest:
    """The JobRuns of the one Job of a test."""

    def __init__(self, client: Client, project: str) -> None:
        self.client = client
        self.project = project
        self.all = JobRuns(client)

    async def start(self, job_run_id: str | None = None, **fields: Any) -> str:
        job_run_id = job_run_id or names.job_run_id(secrets.token_urlsafe(16)[:21])
        given: dict[str, Any] = {"workspace": WORKSPACE, "definition": "first", "type": JobRunType.MANUAL, **fields}
        await self.all.start(job_run_id, JobRunInput(project=self.project, job_id=JOB, **given))
        return job_run_id

    async def get(self, job_run_id: str) -> JobRunState:
        return await self.all.get(WORKSPACE, self.project, JOB, job_run_id)

    async def tell(self, job_run_id: str, signal: str, *arguments: Any) -> None:
        await self.client.get_workflow_handle(job_run_id).signal(signal, args=arguments)

    async def becomes(self, job_run_id: str, status: JobRunStatus) -> JobRunState:
        return await until(lambda: self.get(job_run_id), true=lambda state: state.status is status)

    async def listed(self, sort: str = "start_time,desc", first: int = 0, count: int = 100) -> list[str]:
        page = await self.all.list_page(WORKSPACE, self.project, JOB, sort=parse_sort(sort), first=first, count=count)
        return [state.id for state in page.job_runs]


@pytest.fixture
def job_runs(client: Client, name: str) -> JobRunsOfTest:
    return JobRunsOfTest(client, name)


async def test_a_job_run_is_known_from_its_start_to_its_end(job_runs: JobRunsOfTest):
    job_run_id = await job_runs.start()
    begun = await job_runs.get(job_run_id)
    assert (begun.id, begun.job_id, begun.project, begun.workspace) == (job_run_id, JOB, job_runs.project, WORKSPACE)
    assert (begun.status, begun.type, begun.definition) == (JobRunStatus.PENDING, JobRunType.MANUAL, "first")
    assert begun.ended_at is None
    await job_runs.tell(job_run_id, FINISH, JobRunStatus.SUCCESS)
    ended = await job_runs.becomes(job_run_id, JobRunStatus.SUCCESS)
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at
    assert (ended.progress.total, ended.progress.succeeded, ended.progress.failed) == (2, 1, 1)


async def test_it_began_when_the_first_execution_of_its_workflow_began(job_runs: JobRunsOfTest, client: Client):
    job_run_id = await job_runs.start()
    handle = client.get_workflow_handle(job_run_id)
    first = await handle.describe()
    await job_runs.tell(job_run_id, CONTINUE)
    second = await until(handle.describe, true=lambda second: second.run_id != first.run_id)
    assert (await job_runs.get(job_run_id)).started_at < second.start_time
    await until(job_runs.listed, true=lambda listed: listed == [job_run_id])
    await job_runs.tell(job_run_id, FINISH, JobRunStatus.SUCCESS)


async def test_a_rerun_is_started_once_with_its_id(job_runs: JobRunsOfTest):
    def rerun_of(job_run_id: str) -> RerunSource:
        return RerunSource(job_run_id=job_run_id, item_count=1, unfinished=1)

    rerun = await job_runs.start(rerun=rerun_of("one"))
    await job_runs.start(rerun, rerun=rerun_of("one"))
    with pytest.raises(Conflict):
        await job_runs.start(rerun, rerun=rerun_of("another"))
    assert (await job_runs.get(rerun)).rerun_of == "one"


async def test_a_job_run_is_found_below_its_job_only(job_runs: JobRunsOfTest):
    job_run_id = await job_runs.start()
    for where in (
        (ELSEWHERE, job_runs.project, JOB, job_run_id),
        (WORKSPACE, "another", JOB, job_run_id),
        (WORKSPACE, job_runs.project, "another", job_run_id),
        (WORKSPACE, job_runs.project, JOB, names.job_run_id("x" * 21)),
        (WORKSPACE, job_runs.project, JOB, "no-such-id"),
    ):
        for call in (job_runs.all.get, job_runs.all.pause, job_runs.all.resume, job_runs.all.terminate):
            with pytest.raises(NotFound):
                await call(*where)
    assert (await job_runs.get(job_run_id)).status is JobRunStatus.PENDING


async def test_a_job_run_is_found_by_its_id_alone_in_its_project_only(job_runs: JobRunsOfTest):
    job_run_id = await job_runs.start()
    assert (await job_runs.all.get(WORKSPACE, job_runs.project, None, job_run_id)).job_id == JOB
    for workspace, project in ((ELSEWHERE, job_runs.project), (WORKSPACE, "elsewhere")):
        with pytest.raises(NotFound):
            await job_runs.all.get(workspace, project, None, job_run_id)


async def test_a_workflow_that_is_no_job_run_is_not_found(job_runs: JobRunsOfTest, client: Client):
    lock_id = names.job_run_id("lock-with-such-an-id.".replace(".", "-"))
    lock = JobLockInput(project=job_runs.project, job_id=JOB, holder="somebody")
    await client.start_workflow(names.JOB_LOCK, lock, id=lock_id, task_queue=names.CALLBOARD_QUEUE)
    with pytest.raises(NotFound):
        await job_runs.get(lock_id)


async def test_it_is_paused_and_resumed_and_terminated(job_runs: JobRunsOfTest):
    job_run_id = await job_runs.start()
    where = (WORKSPACE, job_runs.project, JOB, job_run_id)
    await job_runs.all.pause(*where)
    await job_runs.becomes(job_run_id, JobRunStatus.PAUSED)
    await job_runs.all.resume(*where)
    await job_runs.becomes(job_run_id, JobRunStatus.PENDING)
    await job_runs.all.terminate(*where)
    await job_runs.becomes(job_run_id, JobRunStatus.TERMINATED)


async def test_one_that_has_ended_is_not_steered_any_more(job_runs: JobRunsOfTest, client: Client):
    job_run_id = await job_runs.start()
    await job_runs.tell(job_run_id, FINISH, JobRunStatus.SUCCESS)
    handle = client.get_workflow_handle(job_run_id)
    await until(handle.describe, true=lambda closed: closed.status is WorkflowExecutionStatus.COMPLETED)
    where = (WORKSPACE, job_runs.project, JOB, job_run_id)
    with pytest.raises(Conflict, match="has ended"):
        await job_runs.all.pause(*where)
    with pytest.raises(Conflict, match="has ended"):
        await job_runs.all.resume(*where)
    await job_runs.all.terminate(*where)
    assert (await job_runs.get(job_run_id)).status is JobRunStatus.SUCCESS


@pytest.mark.parametrize("status", [JobRunStatus.FAILURE, JobRunStatus.CANCELED, JobRunStatus.TERMINATED])
async def test_one_whose_workflow_failed_reads_as_it_says_itself(job_runs: JobRunsOfTest, status: JobRunStatus):
    job_run_id = await job_runs.start()
    await job_runs.tell(job_run_id, FINISH, status)
    assert (await job_runs.becomes(job_run_id, status)).ended_at is not None


async def test_one_that_was_ended_in_temporal_itself_reads_terminated(job_runs: JobRunsOfTest, client: Client):
    job_run_id = await job_runs.start()
    await client.get_workflow_handle(job_run_id).terminate()
    ended = await job_runs.becomes(job_run_id, JobRunStatus.TERMINATED)
    assert ended.reason is not None
    assert (ended.reason.type, ended.ended_at is None) == (JobRunReasonType.TERMINATED, False)


async def test_they_are_listed_in_any_order_and_by_pages(job_runs: JobRunsOfTest):
    first, second, third = [await job_runs.start() for _ in range(3)]
    await job_runs.tell(second, FINISH, JobRunStatus.SUCCESS)
    await job_runs.becomes(second, JobRunStatus.SUCCESS)
    by_status = [second, first, third]
    await until(lambda: job_runs.listed("status,desc/start_time,asc"), true=lambda listed: listed == by_status)
    assert await job_runs.listed() == [third, second, first]
    assert await job_runs.listed("start_time,asc") == [first, second, third]
    assert await job_runs.listed("end_time,asc/start_time,desc") == [second, third, first]
    assert await job_runs.listed("failed_runs,desc/type,asc/start_time,asc") == [second, first, third]
    assert await job_runs.listed(first=1, count=1) == [second]
    assert await job_runs.listed(first=3) == []
    page = await job_runs.all.list_page(WORKSPACE, job_runs.project, JOB, sort=(), first=0, count=1)
    assert (len(page.job_runs), page.total) == (1, 3)
    elsewhere = await job_runs.all.list_page(ELSEWHERE, job_runs.project, JOB, sort=(), first=0, count=9)
    assert elsewhere.job_runs == ()


async def test_all_that_are_active_are_paused_and_resumed_with_their_job(job_runs: JobRunsOfTest):
    ids = [await job_runs.start() for _ in range(2)]
    await until(job_runs.listed, true=lambda listed: len(listed) == 2)
    await job_runs.all.pause_active(job_runs.project, JOB)
    for job_run_id in ids:
        await job_runs.becomes(job_run_id, JobRunStatus.PAUSED)
    await job_runs.all.resume_active(job_runs.project, JOB)
    for job_run_id in ids:
        await job_runs.becomes(job_run_id, JobRunStatus.PENDING)


async def test_one_that_holds_the_lock_is_paused_before_any_list_knows_it(
    job_runs: JobRunsOfTest, client: Client, monkeypatch: pytest.MonkeyPatch
):
    def finds_none(_project: str, _job_id: str) -> str:
        return "WorkflowId = 'none'"

    monkeypatch.setattr("callboard.temporal.job_runs.job_runs_query", finds_none)
    job_run_id = await job_runs.start()
    await client.start_workflow(
        names.JOB_LOCK,
        JobLockInput(project=job_runs.project, job_id=JOB, holder=job_run_id),
        id=names.job_lock_workflow_id(job_runs.project, JOB),
        task_queue=names.CALLBOARD_QUEUE,
        memo={names.MEMO_HOLDER: job_run_id},
    )
    await job_runs.all.pause_active(job_runs.project, JOB)
    await job_runs.becomes(job_run_id, JobRunStatus.PAUSED)


async def test_pausing_a_job_without_any_does_nothing(job_runs: JobRunsOfTest):
    await job_runs.all.pause_active(job_runs.project, JOB)
    await job_runs.all.resume_active(job_runs.project, JOB)
