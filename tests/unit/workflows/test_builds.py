"""An AuthSession moves to the current build, where workers have a build id; elsewhere none is asked for."""

from __future__ import annotations

from pathlib import Path

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.service import RPCError
from temporalio.worker import Worker

from control_worker import deployment
from schemas.workflow import names
from schemas.workflow.auth import AuthSessionStatus, CheckReport
from tests.support.auth_stage import LoginStage
from tests.support.polling import until
from tests.support.temporal_servers import dev_client, dev_server
from workflows.auth_session import UpgradingAuthSessionWorkflow


def of_build(stage: LoginStage, build_id: str) -> Worker:
    return Worker(
        stage.client,
        task_queue=stage.queue,
        workflows=[UpgradingAuthSessionWorkflow],
        deployment_config=deployment(build_id, VersioningBehavior.PINNED),
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


async def test_an_auth_session_moves_to_the_current_build(tmp_path: Path, name: str) -> None:
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
