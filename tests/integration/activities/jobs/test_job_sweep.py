"""What JobRuns left goes when they ended long ago, and definitions of Jobs when nobody needs them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.artifact_sweeper import ArtifactSweeper, SweepProgress
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobDefinition, JobRef
from callboard.schemas.workflow.sweep import SweepPart, SweepPartResult
from callboard.storage import object_keys
from callboard.temporal.jobs import Jobs
from tests.support.constants import AUDIT_RETENTION
from tests.support.control_worker import JobLab, items, until_canceled
from tests.support.job_run_stage import end_of
from tests.support.polling import until
from tests.support.stage import WORKSPACE


async def sweep(lab: JobLab, *, age: timedelta = timedelta(seconds=-1)) -> SweepPartResult:
    """Remove what is older; by default, all that has ended."""
    part = SweepPart(before=datetime.now(UTC) - age, after="")
    return await ArtifactSweeper(lab.client, lab.store, AUDIT_RETENTION).sweep(part, SweepProgress.resume(part, ()))


async def stored(lab: JobLab, prefix: str) -> list[str]:
    return [key async for key in lab.store.list(prefix)]


async def definitions(lab: JobLab) -> set[str]:
    """The definitions of the project's Job that are in the store."""
    return {key.split("/")[3] for key in await stored(lab, f"{object_keys.JOBS}{lab.project}/")}


async def create_job(lab: JobLab, definition: JobDefinition) -> None:
    ref = JobRef(
        workspace=WORKSPACE,
        project=lab.project,
        job_id=definition.job_id,
        definition=definition.ref,
        created_at=datetime.now(UTC),
    )
    await Jobs(lab.client).create(ref, None)


async def until_visible(lab: JobLab, job_run_id: str) -> None:
    async def is_visible() -> bool:
        found = lab.client.list_workflows(f"WorkflowId = '{job_run_id}'")
        return [execution.id async for execution in found] != []

    await until(is_visible)


async def test_a_job_run_leaves_nothing_once_it_ended_long_ago(job_lab: JobLab) -> None:
    handle = await job_lab.start(await job_lab.define(items(3)))
    await end_of(handle)
    prefix = object_keys.job_run(job_lab.project, handle.id)
    kept = await stored(job_lab, prefix)
    assert object_keys.job_run_plan(job_lab.project, handle.id) in kept
    await sweep(job_lab, age=timedelta(hours=1))
    assert await stored(job_lab, prefix) == kept
    result = await sweep(job_lab)
    assert await stored(job_lab, prefix) == []
    assert result.after is None
    assert result.totals.failed == 0


async def test_what_an_active_job_run_needs_stays(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(3))
    handle = await job_lab.start(definition)
    await until(lambda: job_lab.running == 3)
    await until_visible(job_lab, handle.id)
    await sweep(job_lab)
    assert await job_lab.store.exists(object_keys.job_run_plan(job_lab.project, handle.id))
    assert await job_lab.store.exists(object_keys.job_payload(job_lab.project, "nightly", definition.ref, 0))
    await handle.signal(names.TERMINATE_JOB_RUN)
    await end_of(handle)


async def test_the_definition_of_a_job_stays_and_one_that_nobody_needs_goes(job_lab: JobLab) -> None:
    current, other = await job_lab.define(items(1)), await job_lab.define(items(1))
    await create_job(job_lab, current)
    await sweep(job_lab)
    assert await definitions(job_lab) == {current.ref}
    assert not await job_lab.store.exists(object_keys.job_definition(job_lab.project, "nightly", other.ref))
    await Jobs(job_lab.client).delete(WORKSPACE, job_lab.project, current.job_id)
    await sweep(job_lab)
    assert await definitions(job_lab) == set()


async def test_a_definition_that_was_replaced_a_moment_ago_stays(job_lab: JobLab, tmp_path: Path) -> None:
    replaced, current = await job_lab.define(items(1)), await job_lab.define(items(1))
    await create_job(job_lab, replaced)
    await Jobs(job_lab.client).update(WORKSPACE, job_lab.project, "nightly", current.ref, None)
    two_hours_ago = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    for key in await stored(job_lab, object_keys.JOBS):
        os.utime(tmp_path / "store" / key, (two_hours_ago, two_hours_ago))
    await sweep(job_lab, age=timedelta(hours=1))
    assert await definitions(job_lab) == {replaced.ref, current.ref}
    await sweep(job_lab)
    assert await definitions(job_lab) == {current.ref}


async def test_the_definition_that_a_known_job_run_has_executed_stays(job_lab: JobLab) -> None:
    definition = await job_lab.define(items(1))
    handle = await job_lab.start(definition)
    await end_of(handle)
    await until_visible(job_lab, handle.id)
    await sweep(job_lab)
    assert await job_lab.store.exists(object_keys.job_definition(job_lab.project, "nightly", definition.ref))
