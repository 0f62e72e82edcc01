"""What outlasts builds moves to the current one, and the doctor counts all that does not."""

import asyncio
from pathlib import Path

from temporalio import workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.service import RPCError
from temporalio.worker import Worker

from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionStatus, CheckReport
from callboard.schemas.workflow.job_run import JobLockInput, JobRunStatus
from callboard.temporal.worker_deployment import Build, deployment_config, describe_worker_deployment
from tests.support.auth_stage import LoginStage
from tests.support.job_run_stage import HeldPiece, JobRunStage, one_by_one, progress
from tests.support.polling import until
from tests.support.stage import DEADLINE
from tests.support.temporal_servers import dev_client, dev_server
from workflows.auth_session import AuthSessionWorkflow
from workflows.job_lock import JobLockWorkflow


def of_build(stage: LoginStage, build_id: str) -> Worker:
    return Worker(
        stage.client,
        task_queue=stage.queue,
        workflows=[AuthSessionWorkflow],
        deployment_config=deployment_config(build_id, VersioningBehavior.AUTO_UPGRADE),
    )


async def make_current(client: Client, build_id: str) -> None:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=names.DEPLOYMENT, build_id=build_id
    )

    async def succeeds() -> bool:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError:
            return False
        return True

    await until(succeeds, every=0.2)  # Temporal has to note the workers of that build first


async def test_an_auth_session_moves_to_the_current_build(tmp_path: Path, name: str):
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        async with LoginStage(client, name) as stage:
            async with of_build(stage, "1.0"):
                await make_current(client, "1.0")
                await stage.bring_up()
                await stage.until_status(AuthSessionStatus.READY)
                await stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=False))
                await stage.until_status(AuthSessionStatus.EXPIRED)
            async with of_build(stage, "2.0"):
                await make_current(client, "2.0")
                await stage.session.signal(names.CHECKED, CheckReport(login_version=1, good=True))
                await stage.until_status(AuthSessionStatus.READY)


async def test_a_paused_job_run_and_its_lock_go_on_on_the_current_build(tmp_path: Path, name: str):
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        async with JobRunStage(client, name, build_id="1.0") as old:
            await make_current(client, "1.0")
            piece = HeldPiece(progress(total=3))
            await old.start(piece)
            lock = await client.start_workflow(names.JOB_LOCK, lock_of(old), id=f"{name}-lock", task_queue=old.queue)
            await piece.began.wait()
            await old.signal(names.PAUSE_JOB_RUN)
            await old.until_status(JobRunStatus.PAUSED)
        async with JobRunStage(client, name, build_id="2.0") as new:
            await make_current(client, "2.0")
            new.script = [one_by_one]
            await new.signal(names.RESUME_JOB_RUN)
            assert (await new.ended()).status is JobRunStatus.SUCCESS
            await lock.signal(names.RELEASE, new.job_run_id)
            async with asyncio.timeout(DEADLINE):
                await lock.result()


def lock_of(stage: JobRunStage) -> JobLockInput:
    return JobLockInput(project=stage.project, job_id="nightly", holder=stage.job_run_id, definition="d1")


@workflow.defn(sandboxed=False)
class AnyPinned:
    """A workflow of a kind that is no Run."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_every_workflow_that_stays_on_a_build_counts_and_none_that_moves(tmp_path: Path, name: str):
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        stays = Worker(
            client,
            task_queue=name,
            workflows=[AnyPinned],
            deployment_config=deployment_config("1.0", VersioningBehavior.PINNED),
        )
        moves = Worker(
            client,
            task_queue=f"{name}-moves",
            workflows=[JobLockWorkflow],
            deployment_config=deployment_config("1.0", VersioningBehavior.AUTO_UPGRADE),
        )
        async with stays, moves:
            await make_current(client, "1.0")
            lock = JobLockInput(project=name, job_id="nightly", holder="jr_1", definition="d1")
            await client.start_workflow(names.JOB_LOCK, lock, id=f"{name}-lock", task_queue=f"{name}-moves")
            await client.start_workflow(AnyPinned.run, id=name, task_queue=name)
            on_build = f"TemporalWorkerDeploymentVersion = '{names.DEPLOYMENT}:1.0'"

            async def both_are_seen() -> bool:
                return (await client.count_workflows(on_build)).count == 2

            await until(both_are_seen, every=0.2)
            assert (await describe_worker_deployment(client)).builds == [Build("1.0", 1, has_workers=False)]
