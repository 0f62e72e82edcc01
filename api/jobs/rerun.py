"""A rerun of a JobRun: a new JobRun of the items that have not completed, with the Job as the earlier one had it.

Which items these are is found by a worker (`activities.jobs.rerun_items`): there may be very many results to read.
"""

from __future__ import annotations

from contextlib import suppress

from api.dependencies import Services
from callboard.projects.job_definition import read_definition
from callboard.schemas.errors import Conflict, NotFound, NothingFailed
from callboard.schemas.rest.job_runs import JobRunRerun
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.job_run import JobRunInput, JobRunStatus, JobRunType, RerunSource
from callboard.schemas.workflow.run import RunStatus
from callboard.starts.identity import derive_identities, new_run_id
from callboard.storage.store import Store
from callboard.telemetry.log_context import add_log_fields
from callboard.temporal.job_runs import JobRunState
from callboard.temporal.listing import RunFilter


def new_job_run_id() -> str:
    """Return a new random id."""
    return names.job_run_id(new_run_id())


async def resolve_job_run_id(services: Services, project: str, idempotency_key: str | None) -> str:
    """Return the id of the JobRun that an Idempotency-Key stands for; without a key, a new one.

    Raises:
        ConfigurationError: There is no secret key to derive an id with.
        Unavailable: Temporal does not answer.
    """
    if idempotency_key is None:
        return new_job_run_id()
    workspace = services.settings.workspace
    # No key has a space, so none of a Run is the same. What the request was, a JobRun tells by `rerun_of`.
    identities = derive_identities(services.ring, workspace, project, f"job run {idempotency_key}", b"")
    newest, *older = (names.job_run_id(identity.run_id) for identity in identities)
    for job_run_id in older:  # It may have been started before the key ring was rotated.
        with suppress(NotFound):
            await services.job_runs.get(workspace, project, None, job_run_id)
            return job_run_id
    return newest


async def start_rerun(services: Services, job_run: JobRunState, job_run_id: str, by: Actor) -> JobRunRerun:
    """Start a JobRun with this id of what of `job_run` has not completed, unless that was started before.

    Raises:
        Conflict: It has not ended, or some of its Runs have not; or the id is that of another JobRun.
        NothingFailed: All of its Runs have completed.
        NotFound: It is a rerun that has ended before it had any items, and the JobRun of these is not known any more.
        StoreError, ConfigurationError: Nothing was started.
        Unavailable: It is not known whether anything was started.
    """
    if job_run.ended_at is None:
        raise Conflict(f"JobRun {job_run.id} has not ended yet. Wait for its end, or terminate it.")
    await _refuse_runs_under_way(services, job_run)
    while job_run.version is None and job_run.rerun_of is not None:  # It has ended before it had any items.
        job_run = await services.job_runs.get(job_run.workspace, job_run.project, job_run.job_id, job_run.rerun_of)
    wanted = await count_wanted(services.store, job_run)
    payloads = wanted - job_run.progress.succeeded
    if not payloads:
        raise NothingFailed(f"JobRun {job_run.id} has nothing to run again: all of its Runs have completed.")
    add_log_fields(jobRunId=job_run_id, rerunOf=job_run.id)
    source = RerunSource(
        job_run_id=job_run.id,
        item_count=None if job_run.version is None else wanted,
        unfinished=payloads,
        shards=job_run.progress.shards,
    )
    rerun = JobRunInput(
        workspace=job_run.workspace,
        project=job_run.project,
        job_id=job_run.job_id,
        definition=job_run.definition,
        type=JobRunType.MANUAL,
        started_by=by,
        rerun=source,
    )
    await services.job_runs.start(job_run_id, rerun)
    return JobRunRerun(job_run_id=job_run_id, rerun_of=job_run.id, payloads=payloads)


async def count_wanted(store: Store, job_run: JobRunState) -> int:
    """Return how many items a JobRun executes, as far as is known by now; a Run may add more. Raises StoreError."""
    definition = await read_definition(store, job_run.project, job_run.job_id, job_run.definition)
    total = job_run.progress.total or definition.payload_count
    return total if definition.max_runs is None else min(total, definition.max_runs)


async def _refuse_runs_under_way(services: Services, job_run: JobRunState) -> None:
    """Refuse to run items again whose Runs go on: a JobRun that fails, or ends in Temporal itself, leaves them.

    The JobRun itself does not tell: it knows of Runs only what its last piece has returned.

    Raises:
        Conflict: There are such Runs.
        Unavailable: Temporal does not answer.
    """
    if job_run.status is JobRunStatus.SUCCESS:
        return  # It has seen the ends of all its Runs, a moment before lists show them.
    under_way = RunFilter(job_runs=frozenset({job_run.id}), statuses=frozenset({RunStatus.PENDING, RunStatus.STARTED}))
    if count := await services.run_queries.count_runs(job_run.project, under_way):
        raise Conflict(
            f"JobRun {job_run.id} has ended, but {count:,} of its Runs have not. Wait for their ends, or cancel them."
        )
