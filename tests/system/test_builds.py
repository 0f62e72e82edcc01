"""Workers with a build id: a Run ends on the build that it began on, and the doctor says how long that must stay."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import TaskQueueType

from callboard.cli.doctor.builds import check_builds
from callboard.cli.doctor.findings import Status
from callboard.dev.temporal import NAMESPACE
from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunStatus
from callboard.temporal.pollers import fetch_pollers
from callboard.temporal.worker_deployment import describe_worker_deployment
from tests.support.installation import Installation
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute

OLD_MUST_STAY = "New Runs begin on the build 2.0; workers of the build 1.0 must stay until its last workflow has ended"
TEMPORAL = CALLBOARD.with_name("temporal")


async def build_of(installation: Installation, run_id: str) -> str:
    """The build on which the steps of a Run were taken, by its history."""
    history = await installation.client.get_workflow_handle(run_id).fetch_history()
    builds = {
        event.workflow_task_completed_event_attributes.deployment_version.build_id
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    }
    (build,) = builds
    return build


async def control(installation: Installation, resources: AsyncExitStack, build_id: str) -> None:
    """Start a worker of this build, and wait until Temporal has heard of it."""
    await installation.worker(resources, f"control-{build_id}", "--role=control", CALLBOARD_BUILD_ID=build_id)

    async def is_heard_of() -> bool:
        pollers = await fetch_pollers(
            installation.client, names.CALLBOARD_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        )
        return build_id in {poller.deployment_options.build_id for poller in pollers}

    await until(is_heard_of, every=0.1)


async def make_current(installation: Installation, build_id: str) -> None:
    """Do what `callboard doctor` says: Temporal's own command makes a build the current one."""
    command = [TEMPORAL, "worker", "deployment", "set-current-version", "--deployment-name", names.DEPLOYMENT]
    options = ["--build-id", build_id, "--yes", "--address", installation.temporal.address, "--namespace", NAMESPACE]

    async def code() -> int:
        return (await execute(*command, *options)).code

    await until(code, true=lambda code: code == 0, every=0.2)  # Temporal has to note the workers of that build first


async def ended(installation: Installation, run_id: str) -> None:
    state = await installation.runs.get_state("w", "shared", run_id, wait=timedelta(seconds=60))
    assert state.status is RunStatus.COMPLETED, state


async def test_a_run_ends_on_the_build_that_it_began_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = installation.client
    async with AsyncExitStack() as resources:
        await installation.worker(resources, "browser", "--role=browser", "--machines=2")
        async with AsyncExitStack() as old:
            await control(installation, old, "1.0")
            await make_current(installation, "1.0")
            assert (await check_builds(client)).message == "New Runs begin on the build 1.0"
            await installation.start("run-old", 1)
            await until(lambda: installation.begun == 1)

            await control(installation, resources, "2.0")
            await make_current(installation, "2.0")
            await installation.start("run-new", 2)
            await until(lambda: installation.begun == 2)

            async def told() -> bool:
                found = await check_builds(client)
                return (found.status, found.message) == (Status.OK, OLD_MUST_STAY)

            await until(told, every=0.2)  # counts come from visibility, which may lag behind
        # The old workers have left too early: the Run waits, it is not lost, and the doctor says for whom.
        (installation.folder / "go").touch()
        await ended(installation, "run-new")
        with monkeypatch.context() as later:  # Temporal remembers for some minutes who has polled
            later.setattr("callboard.temporal.pollers._MAX_POLL_AGE", timedelta())
            found = await check_builds(client)
        assert found.status is Status.FAILED
        assert "there is none: 1 workflow on 1.0" in found.message
        await control(installation, resources, "1.0")
        await ended(installation, "run-old")
        assert [await build_of(installation, run) for run in ("run-old", "run-new")] == ["1.0", "2.0"]


async def test_workers_without_a_build_id_have_no_deployment(installation: Installation) -> None:
    async with AsyncExitStack() as resources:
        await installation.worker(resources, "all", "--role=all")

        async def is_heard_of() -> bool:
            return (await describe_worker_deployment(installation.client)).has_unversioned_workers

        await until(is_heard_of, every=0.1)
        deployment = await describe_worker_deployment(installation.client)
        assert (deployment.current, deployment.builds) == (None, [])
        found = await check_builds(installation.client)
        assert (found.status, found.fix) == (Status.OK, None)
