"""The pointer of a project is moved, and a project is deleted, by workers, one change at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from activities.artifacts import ArtifactActivities
from activities.project_changes import ProjectActivities
from callboard.projects.deploy import deploy
from callboard.projects.manifest import read_current
from callboard.schemas.errors import Conflict, NotFound, StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView
from callboard.schemas.workflow.job import JobRef
from callboard.schemas.workflow.job_run import JobLockInput
from callboard.schemas.workflow.project_changes import DeleteProjectInput, MovePointerInput, PointerAction
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.job_locks import JobLocks
from callboard.temporal.jobs import Jobs
from callboard.temporal.open_runs import OpenRuns
from callboard.temporal.project_changes import ProjectChanges
from tests.support.constants import WORKSPACE
from tests.support.control_worker import Delivering, run_to_end
from tests.support.delivery_inputs import webhook
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import WORKFLOWS, RunStage, no_variables, run_input, start_run
from tests.support.stage import DEADLINE, IDENTITY
from tests.support.webhook_receiver import answers, receiver
from workflows.job_lock import JobLockWorkflow
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow

AT = datetime(2026, 11, 26, tzinfo=UTC)


@dataclass
class Project:
    """A project, what is deployed of it, and who changes it."""

    client: Client
    name: str
    folder: Path
    store: FaultyStore
    changes: ProjectChanges

    async def deploy(self, code: str, *, machines: int = 1, promote: bool = True) -> str:
        settings = f'{{"projectName": "{self.name}", "replication": {{"maxConcurrentRequests": {machines}}}}}'
        files = write_files(self.folder, {"Intuned.json": settings, "api/list.py": code})
        return (await deploy(files, self.store, promote=promote)).version

    async def current(self) -> str:
        return present(await read_current(self.store, self.name)).version

    async def move(self, action: PointerAction, version: str | None = None) -> str:
        move = MovePointerInput(project=self.name, action=action, version=version, by="anna")
        moved = await self.changes.move_pointer(move)
        assert moved == await self.current()
        return moved

    async def delete(self, *, cancel: bool = False) -> bool:
        deletion = DeleteProjectInput(workspace=WORKSPACE, project=self.name, by="anna", cancel_open_runs=cancel)
        return await self.changes.delete(deletion)

    async def stored(self) -> list[str]:
        return [key async for key in self.store.list("") if f"/{self.name}/" in key]


@pytest.fixture
async def project(client: Client, name: str, tmp_path: Path) -> AsyncGenerator[Project]:
    store = FaultyStore(tmp_path / "artifacts")
    activities = ProjectActivities(client=client, store=store, max_machines=4, catalog_age=timedelta())
    artifacts = ArtifactActivities.of(Settings(), client, store)
    async with Worker(
        client,
        task_queue=names.CALLBOARD_QUEUE,
        workflows=[*WORKFLOWS, JobLockWorkflow, MovePointerWorkflow, DeleteProjectWorkflow],
        activities=[
            *(activities.move_pointer, activities.withdraw_project, activities.remove_project),
            *(artifacts.delete_states, no_variables),
        ],
        identity=IDENTITY,
    ):
        yield Project(client, name, tmp_path / "project", store, ProjectChanges(client))


async def test_rollbacks_go_back_along_the_line_of_what_was_deployed(project: Project):
    first, second, third = [await project.deploy(code) for code in ("a = 1", "b = 2", "c = 3")]
    assert await project.move(PointerAction.ROLLBACK) == second
    assert await project.move(PointerAction.ROLLBACK) == first
    with pytest.raises(Conflict, match="no version that was deployed before"):
        await project.move(PointerAction.ROLLBACK)
    assert await project.move(PointerAction.PROMOTE, third) == third
    assert await project.move(PointerAction.ROLLBACK) == first


async def test_a_rollback_passes_over_what_is_not_there_any_more(project: Project):
    first, second, _ = [await project.deploy(code) for code in ("a = 1", "b = 2", "c = 3")]
    await project.store.delete(object_keys.manifest(project.name, second))
    assert await project.move(PointerAction.ROLLBACK) == first


async def test_a_version_that_is_not_there_or_asks_for_too_much_is_not_promoted(project: Project):
    first = await project.deploy("a = 1")
    large = await project.deploy("b = 2", machines=5, promote=False)
    with pytest.raises(NotFound):
        await project.move(PointerAction.PROMOTE, "0" * 16)
    with pytest.raises(Conflict, match=r"may have 4 \(CALLBOARD_MAX_MACHINES\)"):
        await project.move(PointerAction.PROMOTE, large)
    assert await project.current() == first


async def test_moves_at_the_same_time_come_one_after_the_other_and_each_counts(project: Project):
    first, *_ = [await project.deploy(code) for code in ("a = 1", "b = 2", "c = 3")]
    rollback = MovePointerInput(project=project.name, action=PointerAction.ROLLBACK, by="anna")
    await asyncio.gather(*(project.changes.move_pointer(rollback) for _ in range(2)))
    assert await project.current() == first


async def test_a_move_that_is_tried_again_moves_once(project: Project):
    _, second, _ = [await project.deploy(code) for code in ("a = 1", "b = 2", "c = 3")]
    left = [1]

    def refuse(key: str) -> bool:
        left[0] -= key == object_keys.LAST_DEPLOY
        return key == object_keys.LAST_DEPLOY and left[0] >= 0

    project.store.refuse = refuse  # after the pointer was moved
    assert await project.move(PointerAction.ROLLBACK) == second


async def test_deliveries_and_what_was_left_in_temporal_end_with_their_project(
    project: Project, deliver: Delivering, stage: RunStage
):
    client = project.client
    await project.deploy("a = 1")
    async with receiver(answers("503 Away")) as inbox:
        await run_to_end(stage, webhook(inbox.url))
        await deliver.until_tried(project.name, stage.run_id, 1)
    lock = JobLockInput(project=project.name, job_id="nightly", holder="jr_that-was-ended-in-Temporal")
    await JobLocks(client).acquire(lock, waits=False)

    async def refused() -> str:
        with pytest.raises(Conflict) as refusal:
            await project.delete()
        return refusal.value.message

    await until(refused, true=lambda message: "begun: 1 Delivery. Wait" in message)
    assert await project.delete(cancel=True)
    of_project = f"CallboardProject = '{project.name}' AND ExecutionStatus = 'Running'"
    assert [execution.id async for execution in client.list_workflows(of_project)] == []
    assert await project.stored() == []


async def test_a_deleted_project_leaves_nothing_that_runs_or_is_stored(project: Project, name: str):
    client, store = project.client, project.store
    await project.deploy("a = 1")
    await Jobs(client).create(
        JobRef(workspace=WORKSPACE, project=name, job_id="nightly", definition="d", created_at=AT), None
    )
    view = AuthSessionView(
        id="anna", type=AuthSessionType.CREDENTIALS, status=AuthSessionStatus.READY, created_at=AT, updated_at=AT
    )
    ref = AuthSessionRef(id="anna", type=AuthSessionType.CREDENTIALS, owner="anna")
    await AuthSessions(client).create(AuthSessionInput(workspace=WORKSPACE, project=name, ref=ref, view=view))
    await start_run(client, run_input(name), f"{name}-run", names.CALLBOARD_QUEUE)
    for key in (
        *(
            object_keys.result(name, "run", 1),
            object_keys.job_definition(name, "nightly", "d"),
            object_keys.job_run_plan(name, "jr"),
        ),
        *(
            object_keys.auth_session_state(name, "anna", "x"),
            object_keys.persistent_value(name, "k"),
            object_keys.variable(name, "URL"),
        ),
    ):
        await store.put(key, b"{}")
    beside = object_keys.result(f"{name}-2", "run", 1)
    await store.put(beside, b"{}")

    async def is_listed() -> bool:
        return await OpenRuns(client).count(name) == "1 Run"

    await until(is_listed)
    with pytest.raises(Conflict, match=r"begun: 1 Run\. Wait for the end"):
        await project.delete()
    assert await read_current(store, name) is not None, "all is as it was"

    store.refuse = lambda key: key.startswith("values/")  # a store that fails holds up the deletion, and no more
    deleting = asyncio.create_task(project.delete(cancel=True))

    async def is_withdrawn() -> bool:
        return await read_current(store, name) is None

    await until(is_withdrawn)
    with pytest.raises(StoreError, match="is being deleted"):
        await project.deploy("b = 2")
    store.refuse = lambda _key: False
    async with asyncio.timeout(DEADLINE):
        await client.get_workflow_handle(names.project_change_workflow_id(name)).result()
        await deleting  # True, unless its caller has waited long enough
    run = await client.get_workflow_handle(f"{name}-run").describe()
    assert run.status is WorkflowExecutionStatus.CANCELED
    assert await Jobs(client).list_all(WORKSPACE, name) == []
    with pytest.raises(NotFound):
        await AuthSessions(client).get(WORKSPACE, name, "anna")
    assert await project.stored() == []
    assert await store.exists(beside), "what belongs to others stays"
    await project.deploy("b = 2")
