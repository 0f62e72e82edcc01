"""A stage for JobRuns: the real workflow on a real Temporal server, with activities that follow a script.

The tests and `hosting/scripts/record_histories.py` play the same shapes on it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Self

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType, LoginState, RunAuth
from callboard.schemas.workflow.auth_session import ValidateInput
from callboard.schemas.workflow.job_run import (
    AwaitAuthSessionInput,
    JobItemsInput,
    JobItemsMode,
    JobItemsResult,
    JobLockInput,
    JobLockResult,
    JobRunInput,
    JobRunPlan,
    JobRunProgress,
    JobRunStatus,
    JobRunType,
    JobRunView,
    PrepareJobRunInput,
    RerunSource,
)
from callboard.schemas.workflow.run import ErrorCode, RunError, RunOutcome, RunStatus
from callboard.schemas.workflow.sink import DeliverySchedule, SealedSink, SealedWebhook
from callboard.temporal.closing import wait_for_result
from callboard.temporal.worker_deployment import deployment_config
from tests.support.polling import until
from tests.support.stage import DEADLINE, WORKSPACE, Held, Stage
from workflows import outcomes
from workflows.job_lock import JobLockWorkflow
from workflows.job_run import JobRunWorkflow
from workflows.trigger_job import TriggerJobWorkflow
from workflows.visibility import job_run_memo, job_run_search_attributes

JOB = "nightly"
GOOD, BAD = "good-login", "bad-login"
"""AuthSessions whose Validates complete, and fail."""

PieceScript = Callable[[JobItemsInput], Awaitable[JobItemsResult]]
"""What a piece does."""


@workflow.defn(name=names.VALIDATE, sandboxed=False)
class ScriptedValidate:
    """A Validate that ends as the name of its AuthSession says."""

    @workflow.run
    async def run(self, input: ValidateInput) -> RunOutcome:
        if input.ref.id == GOOD:
            return RunOutcome(status=RunStatus.COMPLETED, login=LoginState(login_version=1, key="state"))
        error = RunError(code=ErrorCode.CHECK_ATTEMPTS_FAILED, category="auth", message="The login is not good.")
        return outcomes.close(RunOutcome(status=RunStatus.FAILED, error=error), cancel_requested=False)


JOB_RUN_WORKFLOWS = (JobRunWorkflow, TriggerJobWorkflow, JobLockWorkflow)


def auth(auth_session: str) -> RunAuth:
    """The AuthSession of a JobRun."""
    return RunAuth(
        ref=AuthSessionRef(id=auth_session, type=AuthSessionType.CREDENTIALS, owner=auth_session),
        auto_recreate=True,
        check_attempts=1,
        create_attempts=1,
        request_timeout=timedelta(minutes=1),
    )


def receiver() -> SealedSink:
    """A webhook that is told of the end of a JobRun."""
    webhook = SealedWebhook(url="https://receiver.example.com/***", sealed_url="sealed")
    schedule = DeliverySchedule(
        first_delay=timedelta(seconds=1),
        factor=2,
        max_delay=timedelta(minutes=1),
        give_up_after=timedelta(hours=1),
        timeout=timedelta(seconds=30),
    )
    return SealedSink(webhook=webhook, schedule=schedule)


def progress(**fields: Any) -> JobRunProgress:
    return JobRunProgress(**fields)


class HeldPiece(Held[JobItemsResult]):
    """A piece that lasts until it is cancelled, or told to end; then it returns this."""

    def __init__(self, result: JobRunProgress) -> None:
        super().__init__(JobItemsResult(progress=result))

    async def __call__(self, _input: JobItemsInput) -> JobItemsResult:
        return await self.hold()


def returns(result: JobRunProgress, **fields: Any) -> PieceScript:
    """A piece that ends at once."""

    async def piece(_input: JobItemsInput) -> JobItemsResult:
        return JobItemsResult(progress=result, **fields)

    return piece


def raises(error: Exception) -> PieceScript:
    """A piece that fails."""

    async def piece(_input: JobItemsInput) -> JobItemsResult:
        raise error

    return piece


async def one_by_one(input: JobItemsInput) -> JobItemsResult:
    """A piece in which one Run ends."""
    before = input.progress
    if input.mode is not JobItemsMode.RUN:
        ended = len(before.in_flight)
        return JobItemsResult(progress=before.model_copy(update={"in_flight": (), "failed": before.failed + ended}))
    changed = {"next": before.next + 1, "succeeded": before.succeeded + 1, "shards": before.shards + 1}
    return JobItemsResult(progress=before.model_copy(update=changed))


class JobRunStage(Stage):
    """One JobRun, its worker, and what it asked of that."""

    def __init__(self, client: Client, name: str, *, build_id: str | None = None) -> None:
        super().__init__(client, name)
        self.project = name
        self.build_id = build_id
        self.job_run_id = names.job_run_id(hashlib.sha256(name.encode()).hexdigest()[: names.JOB_RUN_TOKEN_LENGTH])
        self.locks: list[JobLockInput] = []
        self.releases: list[JobLockInput] = []
        self.pieces: list[JobItemsInput] = []
        self.awaits: list[AwaitAuthSessionInput] = []
        self.on_lock: Callable[[JobLockInput], Awaitable[JobLockResult]] = _free
        self.on_prepare: Callable[[JobRunPlan], Awaitable[JobRunPlan]] = _as_planned
        self.on_await: Callable[[AwaitAuthSessionInput], Awaitable[None]] = _mended
        self.script: list[PieceScript] = []
        """What the first pieces do; those that follow do what the last one did."""
        self.plan = JobRunPlan(
            workspace=WORKSPACE,
            project=name,
            job_id=JOB,
            job_run_id=self.job_run_id,
            definition="d1",
            version="0123456789abcdef",
            payload_count=3,
            window=2,
            maximum_attempts=3,
            request_timeout=timedelta(minutes=10),
        )

    async def serve(self) -> None:
        """Serve JobRuns, what stands around them, and their Validates."""

        @activity.defn(name=names.ACQUIRE_JOB_LOCK)
        async def acquire(input: JobLockInput) -> JobLockResult:
            self.locks.append(input)
            return await self.on_lock(input)

        @activity.defn(name=names.RELEASE_JOB_LOCK)
        async def release(input: JobLockInput) -> None:
            self.releases.append(input)

        @activity.defn(name=names.PREPARE_JOB_RUN)
        async def prepare(_input: PrepareJobRunInput) -> JobRunPlan:
            return await self.on_prepare(self.plan)

        @activity.defn(name=names.EXECUTE_JOB_ITEMS)
        async def execute(input: JobItemsInput) -> JobItemsResult:
            self.pieces.append(input)
            script = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            return await script(input)

        @activity.defn(name=names.AWAIT_AUTH_SESSION)
        async def wait(input: AwaitAuthSessionInput) -> None:
            self.awaits.append(input)
            await self.on_await(input)

        await self.work(
            self.queue,
            [acquire, release, prepare, execute, wait],
            workflows=[*JOB_RUN_WORKFLOWS, ScriptedValidate],
            deployment_config=deployment_config(self.build_id, VersioningBehavior.AUTO_UPGRADE),
        )

    async def __aenter__(self) -> Self:
        await self.serve()
        return self

    @property
    def handle(self) -> WorkflowHandle[JobRunWorkflow, JobRunView]:
        return self.client.get_workflow_handle_for(JobRunWorkflow.run, self.job_run_id)

    def plan_with(self, **fields: Any) -> None:
        self.plan = self.plan.model_copy(update=fields)

    async def start(self, *script: PieceScript) -> None:
        """Start the JobRun, whose pieces follow this script."""
        self.script = list(script) or [one_by_one]
        await start_job_run(self.client, self.project, "d1", self.job_run_id, self.queue)

    async def signal(self, name: str) -> None:
        await self.handle.signal(name)

    async def view(self) -> JobRunView:
        """What is shown of it now."""
        return await shown(self.handle)

    async def until_status(self, status: JobRunStatus) -> JobRunView:
        """Wait until it shows this status."""
        return await until_shown(self.handle, status)

    async def ended(self) -> JobRunView:
        """Wait for its end. Its workflow must have closed by itself, and its memo must say the same."""
        return await end_of(self.handle)


JobRunHandle = WorkflowHandle[Any, JobRunView]


async def start_job_run(
    client: Client, project: str, definition: str, job_run_id: str, queue: str, rerun: RerunSource | None = None
) -> JobRunHandle:
    """Start a JobRun of the Job `nightly` as it is defined so, or a rerun of another one."""
    job_run = JobRunInput(
        workspace=WORKSPACE, project=project, job_id=JOB, definition=definition, type=JobRunType.MANUAL, rerun=rerun
    )
    return await client.start_workflow(
        names.JOB_RUN,
        job_run,
        id=job_run_id,
        task_queue=queue,
        result_type=JobRunView,
        memo=job_run_memo(job_run),
        search_attributes=job_run_search_attributes(job_run),
    )


async def shown(handle: JobRunHandle) -> JobRunView:
    """What is shown of a JobRun now."""
    return await (await handle.describe()).memo_value(names.MEMO_JOB_RUN, type_hint=JobRunView)


async def until_shown(handle: JobRunHandle, status: JobRunStatus) -> JobRunView:
    """Wait until a JobRun shows this status."""
    return await until(lambda: shown(handle), DEADLINE, true=lambda view: view.status is status)


async def end_of(handle: JobRunHandle) -> JobRunView:
    """Wait for the end of a JobRun. Its workflow must have closed by itself, and its memo must say the same."""
    async with asyncio.timeout(2 * DEADLINE):
        try:
            closed, kind = await wait_for_result(handle), None
        except WorkflowFailureError as error:
            if not isinstance(error.cause, ApplicationError):
                raise
            closed, kind = error.cause.details[0], error.cause.type
    view = JobRunView.model_validate(closed)
    expected = None if view.status is JobRunStatus.SUCCESS else "failure"
    assert kind == (view.reason.type.value if view.reason else expected)
    assert view == await shown(handle)
    return view


async def _free(_input: JobLockInput) -> JobLockResult:
    return JobLockResult()


async def _as_planned(plan: JobRunPlan) -> JobRunPlan:
    return plan


async def _mended(_input: AwaitAuthSessionInput) -> None:
    pass
