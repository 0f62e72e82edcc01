"""What a worker of the role `control` has, in this process: JobRuns, Runs and Deliveries on a real Temporal server.

The store and the way out are real, too. Attempts are scripted.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority

from activities.deliveries.delivery_sender import DeliverySender
from activities.delivery import DeliveryActivities
from activities.jobs.activities import JobRunActivities
from activities.jobs.job_planner import JobPlanner
from callboard.dev.data_folder import new_webhook_secret
from callboard.projects.catalog import Catalog
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome, InterruptedInput
from callboard.schemas.workflow.delivery import DeliverInput, DeliveryStatus, TryRecord
from callboard.schemas.workflow.job import JobDefinition
from callboard.schemas.workflow.job_run import RerunSource
from callboard.schemas.workflow.sink import DeliverySchedule
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport
from callboard.security.signing import WebhookSigner
from callboard.storage import object_keys
from callboard.storage.job_payloads import JobItem, PayloadWriter, definition_chunks
from callboard.temporal.deliveries import Deliveries, DeliveryState
from callboard.temporal.run_waits import RunWaits
from callboard.temporal.worker_shutdown import running_worker
from tests.support.attempt_worker import deploy_project
from tests.support.constants import LOOPBACK
from tests.support.delivery_inputs import QUICK, RING, json_text, sealed
from tests.support.faulty_store import FaultyStore
from tests.support.job_run_stage import (
    JOB,
    JOB_RUN_WORKFLOWS,
    JobRunHandle,
    ScriptedValidate,
    receiver,
    shown,
    start_job_run,
)
from tests.support.polling import until
from tests.support.run_stage import CANCELED, RunStage, completed, ends, no_variables
from tests.support.stage import WORKSPACE, staged_worker
from workflows.auth_session import AuthSessionWorkflow
from workflows.deliver import DeliverWorkflow, SinkTestWorkflow
from workflows.run_workflow import RunWorkflow

SECRET = new_webhook_secret()
DEADLINE = 60.0
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
    added = [{"api": "item", "parameters": parameters} for parameters in payloads]
    return outcome.model_copy(update={"extended_payloads": json_text(added)})


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
        key = object_keys.job_definition(self.project, JOB, definition.ref)
        await self.store.put(key, definition.model_dump_json().encode())
        return definition

    async def start(self, definition: JobDefinition, rerun: RerunSource | None = None) -> JobRunHandle:
        """Start a JobRun of the Job as it is defined so, or a rerun of another one."""
        job_run_id = names.job_run_id(secrets.token_hex(16)[: names.JOB_RUN_TOKEN_LENGTH])
        return await start_job_run(self.client, self.project, definition.ref, job_run_id, names.CALLBOARD_QUEUE, rerun)

    async def rerun(self, definition: JobDefinition, handle: JobRunHandle, item_count: int) -> JobRunHandle:
        """Start a JobRun of what of another one has not completed, which was to execute so many items."""
        progress = (await shown(handle)).progress
        source = RerunSource(
            job_run_id=handle.id,
            item_count=item_count,
            unfinished=item_count - progress.succeeded,
            shards=progress.shards,
        )
        return await self.start(definition, source)

    async def results(self, job_run_id: str) -> list[dict[str, Any]]:
        """The lines of a JobRun's results; of each shard, the last try counts."""
        shards: dict[int, str] = {}
        async for key in self.store.list(object_keys.job_run_results(self.project, job_run_id)):
            shards[int(key.rpartition("/")[2].partition("-")[0])] = key
        assert sorted(shards) == list(range(len(shards)))
        lines = [line for key in shards.values() for line in ((await self.store.get(key)) or b"").splitlines()]
        return [cast("dict[str, Any]", json.loads(line)) for line in lines]

    @activity.defn(name=names.ATTEMPT)
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
            client=self.client,
            store=self.store,
            catalog=self.catalog,
            planner=planner,
            waits=self.waits,
            dev_projects=None,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve JobRuns and Runs."""

        @activity.defn(name=names.RECORD_INTERRUPTED)
        async def record_lost(_lost: InterruptedInput) -> None:
            pass

        activities = self.job_run_activities()
        light = [record_lost, no_variables]
        runs = staged_worker(self.client, names.RUNS_QUEUE, light, workflows=[RunWorkflow, ScriptedValidate])
        worker = staged_worker(
            self.client,
            names.CALLBOARD_QUEUE,
            [
                activities.acquire_job_lock,
                activities.release_job_lock,
                activities.prepare_job_run,
                activities.execute_job_items,
                activities.await_auth_session,
            ],
            workflows=[*JOB_RUN_WORKFLOWS, ScriptedValidate, AuthSessionWorkflow],
            graceful_shutdown_timeout=GRACE,
        )
        async with runs, running_worker(worker):
            yield


@asynccontextmanager
async def open_job_lab(client: Client, project: str, folder: Path) -> AsyncGenerator[JobLab]:
    """A lab whose project is deployed with two Machines and whose Attempts are served; JobRuns are not, yet."""
    lab = JobLab(client, project, folder)
    await deploy_project(lab.store, folder / "project", project, machines=2)
    try:
        async with staged_worker(client, names.project_queue(project), [lab.attempt]):
            yield lab
    finally:
        await lab.waits.close()


@dataclass
class Delivering:
    """What delivers, and how it is looked at."""

    client: Client
    store: FaultyStore

    async def start(self, input: DeliverInput) -> None:
        """A Delivery without a Run behind it: what it sends must be in the store already."""
        await self.store.put(object_keys.delivery_body(input.project, input.run_id, input.delivery_id), b'{"n":1}')
        await self.client.start_workflow(
            DeliverWorkflow.run,
            input,
            id=names.delivery_workflow_id(input.run_id, input.delivery_id),
            task_queue=names.DELIVERIES_QUEUE,
            priority=Priority(fairness_key=input.sink.fairness_key),
            memo={
                names.MEMO_WORKSPACE: input.workspace,
                names.MEMO_PROJECT: input.project,
                names.MEMO_SINK: input.sink.masked(),
            },
        )

    async def state(self, project: str, run_id: str) -> DeliveryState:
        (state,) = await Deliveries(self.client).list_for_run(WORKSPACE, project, run_id)
        return state

    async def ended(self, project: str, run_id: str) -> DeliveryState:
        return await until(
            lambda: self.state(project, run_id), true=lambda state: state.status is not DeliveryStatus.PENDING
        )

    async def tries(self, project: str, run_id: str) -> list[TryRecord]:
        """Their records, in order."""
        prefix = object_keys.delivery_tries(project, run_id, names.SINK_DELIVERY)
        found = [await self.store.get(key) async for key in self.store.list(prefix)]
        return [TryRecord.model_validate_json(record) for record in found if record is not None]

    async def until_tried(self, project: str, run_id: str, count: int) -> list[TryRecord]:
        return await until(lambda: self.tries(project, run_id), true=lambda records: len(records) >= count)

    async def end(self, run_id: str) -> None:
        """Leave nothing that is tried for another day."""
        await self._handle(run_id).terminate()

    def _handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(names.delivery_workflow_id(run_id, names.SINK_DELIVERY))


@asynccontextmanager
async def delivering(
    client: Client,
    folder: Path,
    *,
    egress: EgressPolicy | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    places: int = 500,
    public_url: str | None = None,
) -> AsyncGenerator[Delivering]:
    store = FaultyStore(folder / "artifacts")
    async with PinnedTransport(egress or EgressPolicy(LOOPBACK)) as transport:
        delivery_sender = DeliverySender(
            store=store, transport=transport, keyring=RING, signer=WebhookSigner(secrets), user_agent="callboard/test"
        )
        activities = DeliveryActivities(
            client=client,
            store=store,
            delivery_sender=delivery_sender,
            places=places,
            public_url=public_url,
            keyring=RING,
        )
        worker = staged_worker(
            client,
            names.DELIVERIES_QUEUE,
            [activities.prepare_delivery, activities.send_delivery, activities.send_test],
            workflows=[DeliverWorkflow, SinkTestWorkflow],
            max_concurrent_activities=places,
            graceful_shutdown_timeout=GRACE,
        )
        async with running_worker(worker):
            yield Delivering(client, store)


async def run_to_end(
    stage: RunStage, sink: dict[str, Any], *parts: Any, schedule: DeliverySchedule = QUICK, **fields: Any
) -> None:
    """A Run with this sink, to its end."""
    await stage.serve(*(parts or (ends(completed('{"n":1}')),)))
    await stage.start(sink=sealed(sink, stage.project, stage.run_id, schedule), **fields)
    stage.outcome = await stage.ended()
