"""A control worker in this process: real JobRuns and Runs on a real Temporal, a store, and scripted Attempts."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.job_run import JobRunActivities
from activities.jobs.job_planner import JobPlanner
from projects.catalog import Catalog
from schemas.workflow import names
from schemas.workflow.attempt import AttemptInput, AttemptOutcome, InterruptedInput
from schemas.workflow.base import JsonRef
from schemas.workflow.job import JobDefinition
from schemas.workflow.job_run import JobRunInput, JobRunStatus, JobRunType, JobRunView
from storage import keys
from storage.job_payloads import JobItem, PayloadWriter, definition_chunks
from temporal.closing import wait_for_result
from temporal.run_waits import RunWaits
from temporal.worker_shutdown import running_worker
from tests.support.attempt_worker import FaultyStore, deploy_project
from tests.support.delivery_inputs import RING
from tests.support.job_run_stage import JOB_RUN_WORKFLOWS, ScriptedValidate, receiver
from tests.support.polling import until
from tests.support.run_stage import CANCELED, DEADLINE, IDENTITY, WORKSPACE, completed
from workflows.auth_session import AuthSessionWorkflow
from workflows.run_workflow import RunWorkflow
from workflows.visibility import job_run_memo, job_run_search_attributes

JOB = "nightly"
GRACE = timedelta(seconds=1)

OneAttempt = Callable[[AttemptInput], Awaitable[AttemptOutcome]]


async def echo(attempt: AttemptInput) -> AttemptOutcome:
    """Return the parameters."""
    assert attempt.parameters.text is not None
    return completed(attempt.parameters.text)


async def until_canceled(_attempt: AttemptInput) -> AttemptOutcome:
    """Last until the Run is canceled."""
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return CANCELED


def extending(outcome: AttemptOutcome, *payloads: dict[str, Any]) -> AttemptOutcome:
    """The same outcome, with payloads that the Attempt has added."""
    text = json.dumps([{"api": "item", "parameters": parameters} for parameters in payloads])
    return outcome.model_copy(update={"extended_payloads": JsonRef(text=text, size=len(text))})


def items(count: int, **fields: Any) -> list[JobItem]:
    """A payload of so many items, whose parameters say which is which."""
    return [JobItem(api_name="item", parameters={"n": number, **fields}) for number in range(count)]


class JobLab:
    """The Job of one project, and what became of its Runs."""

    def __init__(self, client: Client, project: str, folder: Path) -> None:
        self.client = client
        self.project = project
        self.store = FaultyStore(folder / "store")
        self.waits = RunWaits(client)
        self.catalog = Catalog(self.store, max_age=timedelta())
        self.attempts: list[AttemptInput] = []
        self.on_attempt: OneAttempt = echo
        self.running = 0
        self.most_running = 0

    async def define(self, payload: Sequence[JobItem], **fields: Any) -> JobDefinition:
        """Store a definition of the Job."""
        definition = JobDefinition(
            workspace=WORKSPACE,
            project=self.project,
            job_id=JOB,
            ref=secrets.token_hex(4),
            payload_count=len(payload),
            configuration={},
            **fields,
        )
        async with PayloadWriter(self.store, definition_chunks(definition)) as writer:
            for item in payload:
                await writer.add(item.to_line())
        key = keys.job_definition(self.project, JOB, definition.ref)
        await self.store.put(key, definition.model_dump_json().encode())
        return definition

    async def start(self, definition: JobDefinition) -> WorkflowHandle[Any, JobRunView]:
        """Start a JobRun of the Job as it is defined so."""
        job_run = JobRunInput(
            workspace=WORKSPACE, project=self.project, job_id=JOB, definition=definition.ref, type=JobRunType.MANUAL
        )
        return await self.client.start_workflow(
            names.JOB_RUN,
            job_run,
            id=names.job_run_id(secrets.token_hex(16)[: names.JOB_RUN_TOKEN_LENGTH]),
            task_queue=names.CALLBOARD_QUEUE,
            result_type=JobRunView,
            memo=job_run_memo(job_run),
            search_attributes=job_run_search_attributes(job_run),
        )

    async def view(self, handle: WorkflowHandle[Any, JobRunView]) -> JobRunView:
        """What is shown of a JobRun now."""
        return await (await handle.describe()).memo_value(names.MEMO_JOB_RUN, type_hint=JobRunView)

    async def until_status(self, handle: WorkflowHandle[Any, JobRunView], status: JobRunStatus) -> JobRunView:
        """Wait until a JobRun shows this status."""
        return await until(lambda: self.view(handle), DEADLINE, true=lambda view: view.status is status)

    async def ended(self, handle: WorkflowHandle[Any, JobRunView]) -> JobRunView:
        """Wait for the end of a JobRun."""
        async with asyncio.timeout(2 * DEADLINE):
            try:
                return await wait_for_result(handle)
            except WorkflowFailureError as error:
                if not isinstance(error.cause, ApplicationError):
                    raise
                return JobRunView.model_validate(error.cause.details[0])

    async def results(self, job_run_id: str) -> list[dict[str, Any]]:
        """The lines of a JobRun's results; of each shard, the last try counts."""
        shards: dict[int, str] = {}
        async for key in self.store.list(keys.job_run_results(self.project, job_run_id)):
            shards[int(key.rpartition("/")[2].partition("-")[0])] = key
        assert sorted(shards) == list(range(len(shards)))
        lines = [line for key in shards.values() for line in ((await self.store.get(key)) or b"").splitlines()]
        return [cast("dict[str, Any]", json.loads(line)) for line in lines]

    async def attempt(self, input: AttemptInput) -> AttemptOutcome:
        """One Attempt of one Run."""
        self.attempts.append(input)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.on_attempt(input)
        finally:
            self.running -= 1

    def job_run_activities(self) -> JobRunActivities:
        """The activities of JobRuns, as a worker has them."""
        planner = JobPlanner(ring=RING, environment="deployed", schedule=receiver().schedule)
        return JobRunActivities(
            client=self.client, store=self.store, catalog=self.catalog, planner=planner, waits=self.waits
        )

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve JobRuns and Runs."""

        @activity.defn(name=names.RECORD_INTERRUPTED)
        async def record_lost(_lost: InterruptedInput) -> None:
            pass

        activities = self.job_run_activities()
        throttle = timedelta(milliseconds=20)
        runs = Worker(
            self.client,
            task_queue=names.RUNS_QUEUE,
            workflows=[RunWorkflow, ScriptedValidate],
            activities=[record_lost],
            identity=IDENTITY,
        )
        worker = Worker(
            self.client,
            task_queue=names.CALLBOARD_QUEUE,
            workflows=[*JOB_RUN_WORKFLOWS, ScriptedValidate, AuthSessionWorkflow],
            activities=[
                activities.acquire_job_lock,
                activities.release_job_lock,
                activities.prepare_job_run,
                activities.execute_job_items,
                activities.await_auth_session,
            ],
            identity=IDENTITY,
            graceful_shutdown_timeout=GRACE,
            max_heartbeat_throttle_interval=throttle,
            default_heartbeat_throttle_interval=throttle,
        )
        async with runs, running_worker(worker, grace=GRACE):
            yield

    @asynccontextmanager
    async def serving_attempts(self) -> AsyncGenerator[None]:
        """Serve the Attempts of the project."""

        @activity.defn(name=names.ATTEMPT)
        async def attempt(input: AttemptInput) -> AttemptOutcome:
            return await self.attempt(input)

        throttle = timedelta(milliseconds=20)
        worker = Worker(
            self.client,
            task_queue=names.project_queue(self.project),
            activities=[attempt],
            identity=IDENTITY,
            max_heartbeat_throttle_interval=throttle,
            default_heartbeat_throttle_interval=throttle,
        )
        async with worker:
            yield


@asynccontextmanager
async def open_job_lab(client: Client, project: str, folder: Path, machines: int = 2) -> AsyncGenerator[JobLab]:
    """A lab whose project is deployed and whose Attempts are served; JobRuns are not, yet."""
    lab = JobLab(client, project, folder)
    await deploy_project(lab.store, folder / "project", project, machines)
    try:
        async with lab.serving_attempts():
            yield lab
    finally:
        await lab.waits.close()
