"""Jobs, JobRuns and the sweep where payloads are encrypted: their Schedules hold payloads, too."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker

from devstack.temporal import TemporalServer
from schemas.errors import ConfigurationError
from schemas.workflow import names
from settings import Settings
from temporal.client import connect
from temporal.jobs import Jobs
from temporal.namespace import Retention, ensure_namespace, inspect_namespace
from tests.integration.temporal import test_jobs
from tests.support.job_run_stub import StubJobRun
from tests.support.polling import until
from tests.support.run_stage import IDENTITY, WORKSPACE
from tests.support.temporal_servers import set_up_namespace
from workflows.trigger_job import TriggerJobWorkflow

KEY = "a-key-of-the-test-of-encrypted-jobs"
NAMESPACE = "encrypted-jobs"

jobs = test_jobs.jobs
job_runs = test_jobs.job_runs
create = test_jobs.create

# These tests run once more, on a client that encrypts.
test_a_job_is_known_once_it_is_created = test_jobs.test_a_job_is_known_once_it_is_created
test_an_update_replaces_definition_and_schedule_and_nothing_else = (
    test_jobs.test_an_update_replaces_definition_and_schedule_and_nothing_else
)
test_a_paused_job_starts_none_and_a_resumed_one_does = test_jobs.test_a_paused_job_starts_none_and_a_resumed_one_does


@pytest.fixture(scope="module")
async def encrypted(temporal: TemporalServer) -> tuple[Settings, Client]:
    return await set_up_namespace(temporal, NAMESPACE, secret_key=[SecretStr(KEY)], encrypt_payloads=True)


@pytest.fixture(scope="module")
async def client(encrypted: tuple[Settings, Client]) -> AsyncGenerator[Client]:
    """In place of the client of other tests."""
    _, client = encrypted
    workflows = [TriggerJobWorkflow, StubJobRun]
    async with Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=workflows, identity=IDENTITY):
        yield client


async def test_a_schedule_and_what_it_starts_hold_nothing_in_clear(
    name: str, client: Client, create: test_jobs.Create, job_runs: test_jobs.JobRuns
) -> None:
    await create(test_jobs.SECONDLY)
    description = await client.get_schedule_handle(names.job_schedule_id(name, test_jobs.JOB)).describe()
    assert WORKSPACE.encode() not in description.raw_description.SerializeToString()
    await until(lambda: test_jobs.all_runs(job_runs, name), every=0.2)
    async for execution in client.list_workflows(f"CallboardProject = '{name}'"):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        assert WORKSPACE not in "".join(str(event) for event in history.events)


async def test_an_updated_job_needs_its_old_key_no_more(
    name: str, encrypted: tuple[Settings, Client], create: test_jobs.Create
) -> None:
    """As docs/keys.md says of Jobs, in "When a sealing key is not needed any more"."""

    async def jobs_with(*keys: str) -> Jobs:
        ring = {"secret_key": [SecretStr(key) for key in keys]}
        return Jobs(await connect(encrypted[0].model_copy(update=ring)))

    newer = "a-newer-key-of-the-same-test"
    of_both, of_newer = await jobs_with(newer, KEY), await jobs_with(newer)
    await create(test_jobs.RARELY)
    with pytest.raises(ConfigurationError, match="was encrypted with key"):
        await of_newer.get(WORKSPACE, name, test_jobs.JOB)
    await of_both.update(WORKSPACE, name, test_jobs.JOB, "second", test_jobs.RARELY)
    assert (await of_newer.get(WORKSPACE, name, test_jobs.JOB)).ref.definition == "second"
    assert [state.ref.job_id for state in await of_newer.list_all(WORKSPACE, name)] == [test_jobs.JOB]
    await of_newer.delete(WORKSPACE, name, test_jobs.JOB)


async def test_sweeps_depend_on_no_key(encrypted: tuple[Settings, Client]) -> None:
    settings, _ = encrypted
    without_key = await connect(settings.model_copy(update={"secret_key": [], "encrypt_payloads": False}))
    found = await inspect_namespace(without_key)
    assert found
    assert found.sweep
    assert found.sweep.artifact_retention == Retention.from_settings(Settings()).artifacts
    assert await ensure_namespace(without_key, Retention.from_settings(Settings())) == [], "it is as it should be"
