"""Files of Jobs and AuthSessions are applied: on a real Temporal and a store that can fail, with scripted logins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.artifacts import ArtifactActivities
from activities.file_resources import FileAuthSessions, FileJobs
from activities.resource import ResourceActivities
from callboard.projects.deploy import deploy
from callboard.projects.job_definition import JobDefiner, read_definition
from callboard.projects.manifest import read_current
from callboard.schemas.errors import ConfigurationError, NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView
from callboard.schemas.workflow.job import JobRef, JobSource
from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput, ResourceChanges
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.jobs import Jobs, JobState
from callboard.temporal.resources import start_apply_resources
from tests.support.auth_stage import LoginStage, not_made
from tests.support.constants import WORKSPACE
from tests.support.delivery_inputs import QUICK
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import WORKFLOWS, ends, no_variables
from tests.support.stage import DEADLINE, IDENTITY
from workflows.apply_resources import ApplyResourcesWorkflow

SECRET = "correct horse battery staple"
KEY = "the secret key of this test"
RING = KeyRing([KEY])
JOB: dict[str, Any] = {"payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
AUTH_JOB = {**JOB, "auth_session": {"id": "anna"}}
AT = datetime(2026, 11, 26, tzinfo=UTC)


@dataclass
class Project:
    """A project folder, what is deployed of it, and what exists of its files."""

    client: Client
    name: str
    folder: Path
    store: FaultyStore
    stage: LoginStage
    jobs: Jobs
    auth_sessions: AuthSessions

    async def deploy(self, files: dict[str, Any], *, logs_in: bool = False) -> None:
        """Deploy the project with these files below `intuned-resources`, and no others."""
        settings: dict[str, Any] = {"projectName": self.name}
        if logs_in:
            settings["authSessions"] = {"enabled": True, "type": "API"}
        for old in (self.folder / "intuned-resources").rglob("*.json"):
            old.unlink()
        content = {
            "Intuned.json": json.dumps(settings),
            "api/list.py": "",
            "auth-sessions/create.py": "",
            "auth-sessions/check.py": "",
            **{f"intuned-resources/{path}": json.dumps(value) for path, value in files.items()},
        }
        await deploy(write_files(self.folder, content), self.store)

    async def start_apply(self) -> tuple[bool, datetime]:
        """Have what is deployed applied, as a worker does that has seen it: whether it was not before, and its time."""
        deployed_at = present(await read_current(self.store, self.name)).deployed_at
        return await start_apply_resources(self.client, WORKSPACE, self.name, deployed_at), deployed_at

    async def apply(self) -> AppliedResources:
        started, deployed_at = await self.start_apply()
        assert started
        return await self.applied(deployed_at)

    async def applied(self, deployed_at: datetime) -> AppliedResources:
        workflow_id = f"apply-resources:{self.name}:{deployed_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
        handle = self.client.get_workflow_handle(workflow_id, result_type=AppliedResources)
        async with asyncio.timeout(DEADLINE):
            return await handle.result()

    async def job(self, job_id: str) -> JobState:
        return await self.jobs.get(WORKSPACE, self.name, job_id)

    async def create_job(self, job_id: str) -> JobRef:
        """Create a Job as a request does."""
        ref = JobRef(workspace=WORKSPACE, project=self.name, job_id=job_id, definition="by-request", created_at=AT)
        await self.jobs.create(ref, None)
        return ref

    async def view(self, auth_session_id: str) -> AuthSessionView:
        return await self.auth_sessions.get(WORKSPACE, self.name, auth_session_id)

    async def until_ready(self, auth_session_id: str, version: int = 1) -> AuthSessionView:
        async def is_ready() -> bool:
            view = await self.view(auth_session_id)
            return (view.status, view.login_version) == (AuthSessionStatus.READY, version)

        await until(is_ready)
        return await self.view(auth_session_id)


@pytest.fixture
async def project(client: Client, name: str, tmp_path: Path) -> AsyncGenerator[Project]:
    store = FaultyStore(tmp_path / "artifacts")
    jobs, auth_sessions = Jobs(client), AuthSessions(client)
    activities = resource_activities(store, jobs, auth_sessions, RING)
    artifacts = ArtifactActivities.of(Settings(), client, store)
    async with (
        LoginStage(client, name, queue=names.CALLBOARD_QUEUE) as stage,
        Worker(
            client,
            task_queue=names.CALLBOARD_QUEUE,
            workflows=[*WORKFLOWS, ApplyResourcesWorkflow],
            activities=[activities.update_resources, artifacts.delete_states, no_variables],
            identity=IDENTITY,
        ),
    ):
        await stage.serve_attempts()
        yield Project(client, name, tmp_path / "project", store, stage, jobs, auth_sessions)


def resource_activities(
    store: FaultyStore, jobs: Jobs, auth_sessions: AuthSessions, ring: KeyRing
) -> ResourceActivities:
    definer = JobDefiner(WORKSPACE, store, ring, EgressPolicy(()), QUICK)
    file_jobs = FileJobs(workspace=WORKSPACE, store=store, ring=ring, definer=definer, jobs=jobs)
    file_auth_sessions = FileAuthSessions(
        workspace=WORKSPACE, environment="deployed", store=store, ring=ring, auth_sessions=auth_sessions
    )
    return ResourceActivities(store, file_jobs, file_auth_sessions)


async def test_jobs_of_files_are_created_updated_and_removed_with_them(project: Project) -> None:
    schedule = {"intervals": [{"every": "1h"}], "timezone": "Europe/Berlin"}
    await project.deploy(
        {
            "jobs/nightly.job.json": {**JOB, "schedule": schedule},
            "jobs/ai/by-hand.job.json": JOB,
            "jobs/c.job.json": JOB,
        }
    )
    assert (await project.apply()).jobs == ResourceChanges(created=("by-hand", "c", "nightly"))
    nightly, by_hand = await project.job("nightly"), await project.job("by-hand")
    assert nightly.ref.source is JobSource.CODE
    assert nightly.next_run_times
    assert not by_hand.next_run_times
    definition = await read_definition(project.store, project.name, "nightly", nightly.ref.definition)
    assert (definition.schedule, definition.payload_count) == (schedule, 1)

    longer = {**JOB, "payload": JOB["payload"] * 2}
    await project.jobs.pause(WORKSPACE, project.name, "nightly", "for a test")
    await project.deploy({"jobs/nightly.job.json": longer, "jobs/by-hand.job.json": JOB})
    assert (await project.apply()).jobs == ResourceChanges(updated=("nightly",), removed=("c",))
    updated = await project.job("nightly")
    assert updated.ref.definition != nightly.ref.definition
    assert updated.ref.created_at == nightly.ref.created_at
    assert updated.paused, "whether it is paused stays as it is"
    assert (await project.job("by-hand")).ref == by_hand.ref
    with pytest.raises(NotFound):
        await project.job("c")

    await project.deploy({})
    assert (await project.apply()).jobs == ResourceChanges(removed=("by-hand", "nightly"))


async def test_a_job_whose_file_is_the_same_is_not_updated_for_a_newer_key(project: Project) -> None:
    await project.deploy({"jobs/nightly.job.json": JOB})
    await project.apply()
    ring = KeyRing(["a newer key than that of this test", KEY])
    activities = resource_activities(project.store, project.jobs, project.auth_sessions, ring)
    input = ApplyResourcesInput(workspace=WORKSPACE, project=project.name)
    assert not (await ActivityEnvironment().run(activities.update_resources, input)).jobs


async def test_a_job_that_came_by_a_request_is_left_alone_and_reported(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    taken, other = await project.create_job("taken"), await project.create_job("other")
    await project.deploy({"jobs/taken.job.json": JOB, "jobs/free.job.json": JOB})
    applied = (await project.apply()).jobs
    assert applied.created == ("free",)
    (sentence,) = applied.refused
    assert sentence.startswith("intuned-resources/jobs/taken.job.json: there is a Job 'taken' that was created by")
    assert sentence in caplog.text
    assert [(await project.job(ref.job_id)).ref for ref in (taken, other)] == [taken, other]
    await project.deploy({})
    assert (await project.apply()).jobs == ResourceChanges(removed=("free",))


async def test_a_job_with_a_forbidden_sink_is_refused_and_others_are_created(project: Project) -> None:
    sink = {"type": "webhook", "url": "http://127.0.0.1:9/hook"}
    await project.deploy({"jobs/bad.job.json": {**JOB, "sink": sink}, "jobs/good.job.json": JOB})
    applied = (await project.apply()).jobs
    assert applied.created == ("good",)
    (sentence,) = applied.refused
    assert sentence.startswith("intuned-resources/jobs/bad.job.json: sink")
    assert [key async for key in project.store.list(f"{object_keys.JOBS}{project.name}/bad/")] == []


async def test_a_store_that_fails_for_a_while_delays_and_loses_nothing(project: Project) -> None:
    await project.deploy({"jobs/nightly.job.json": JOB})
    left = [2]

    def refuse(key: str) -> bool:
        left[0] -= key.endswith("definition.json")
        return key.endswith("definition.json") and left[0] >= 0

    project.store.refuse = refuse
    assert (await project.apply()).jobs == ResourceChanges(created=("nightly",))
    assert left[0] < 0
    found = [key async for key in project.store.list(object_keys.JOBS)]
    assert len(found) == 2, "a definition with one piece of payload; what failed has left nothing"


async def test_one_deploy_is_applied_once(project: Project) -> None:
    await project.deploy({"jobs/nightly.job.json": JOB})
    await project.apply()
    assert (await project.start_apply())[0] is False


async def test_what_is_deployed_meanwhile_is_what_is_applied_in_the_end(project: Project) -> None:
    await project.deploy({"jobs/earlier.job.json": JOB})
    writing, go_on = asyncio.Event(), asyncio.Event()

    def hold(key: str, _data: bytes) -> asyncio.Event | None:
        if not key.endswith("definition.json"):
            return None
        writing.set()
        return go_on

    project.store.hold = hold
    _, first = await project.start_apply()
    await asyncio.wait_for(writing.wait(), DEADLINE)
    await project.deploy({"jobs/later.job.json": JOB})
    go_on.set()
    applied = await project.applied(first)
    assert applied.jobs == ResourceChanges(created=("later",), removed=("earlier",))


async def test_auth_sessions_of_files_are_made_changed_and_removed_with_them(project: Project) -> None:
    anna = {"parameters": {"user": "anna", "password": SECRET}}
    await project.deploy({"auth-sessions/anna.auth-session.json": anna, "jobs/a.job.json": AUTH_JOB}, logs_in=True)
    applied = await project.apply()
    assert (applied.auth_sessions.created, applied.jobs.created) == (("anna",), ("a",))
    first = await project.until_ready("anna")
    assert first.from_file
    assert SECRET.encode() not in present(await project.store.get(present(first.parameters_key)))

    # Another deploy with the same parameters logs in no more.
    await project.deploy({"auth-sessions/anna.auth-session.json": anna}, logs_in=True)
    assert not (await project.apply()).auth_sessions
    assert len(project.stage.created) == 1

    changed = {"parameters": {"user": "anna", "password": "another"}}
    await project.deploy({"auth-sessions/anna.auth-session.json": changed}, logs_in=True)
    assert (await project.apply()).auth_sessions.updated == ("anna",)
    assert (await project.until_ready("anna", version=2)).parameters_key != first.parameters_key

    await project.deploy({}, logs_in=True)
    assert (await project.apply()).auth_sessions.removed == ("anna",)
    with pytest.raises(NotFound):
        await project.view("anna")
    assert [key async for key in project.store.list(object_keys.auth_session(project.name, "anna"))] == []


async def test_an_auth_session_that_came_by_a_request_is_left_alone_and_reported(project: Project) -> None:
    view = AuthSessionView(
        id="anna",
        type=AuthSessionType.CREDENTIALS,
        status=AuthSessionStatus.READY,
        login_version=1,
        state_key="state",
        created_at=AT,
        updated_at=AT,
    )
    ref = AuthSessionRef(id="anna", type=AuthSessionType.CREDENTIALS, owner="anna")
    await project.auth_sessions.create(AuthSessionInput(workspace=WORKSPACE, project=project.name, ref=ref, view=view))
    await project.deploy({"auth-sessions/anna.auth-session.json": {"parameters": {}}}, logs_in=True)
    (sentence,) = (await project.apply()).auth_sessions.refused
    assert sentence.startswith("intuned-resources/auth-sessions/anna.auth-session.json: there is an AuthSession 'anna'")
    await project.deploy({}, logs_in=True)
    assert not (await project.apply()).auth_sessions
    assert await project.view("anna") == view


async def test_a_login_that_could_not_be_made_is_tried_again_by_the_next_deploy(project: Project) -> None:
    project.stage.creates.extend(ends(not_made(final=True)) for _ in range(3))
    files = {"auth-sessions/anna.auth-session.json": {"parameters": {"user": "anna"}}}
    await project.deploy(files, logs_in=True)
    assert (await project.apply()).auth_sessions.created == ("anna",)

    async def is_gone() -> bool:
        try:
            await project.view("anna")
        except NotFound:
            return True
        return False

    await until(is_gone)
    project.stage.creates.clear()
    await project.deploy(files, logs_in=True)
    assert (await project.apply()).auth_sessions.created == ("anna",)
    await project.until_ready("anna")
    assert {attempt.auth and attempt.auth.ref.id for attempt in project.stage.created} == {"anna"}


async def test_without_a_key_nothing_is_applied_and_the_error_says_so(project: Project) -> None:
    await project.deploy({"jobs/nightly.job.json": JOB})
    activities = resource_activities(project.store, project.jobs, project.auth_sessions, KeyRing([]))
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        await activities.update_resources(ApplyResourcesInput(workspace=WORKSPACE, project=project.name))
