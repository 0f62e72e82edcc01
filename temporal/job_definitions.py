"""Tell which definitions of Jobs are still needed."""

from __future__ import annotations

from datetime import datetime

from temporalio.client import Client
from temporalio.service import RPCError

from schemas.workflow import names
from schemas.workflow.job import JobRef
from schemas.workflow.job_run import JobRunView
from temporal.job_run_listing import job_runs_query
from temporal.rpc_errors import RPC_TIMEOUT, is_missing_entity


async def is_definition_needed(client: Client, project: str, job_id: str, ref: str, *, after: datetime) -> bool:
    """Tell whether a definition is that of its Job, may have been so after that time, or belongs to a known JobRun.

    Raises:
        RPCError: Temporal does not answer.
    """
    return await _is_current(client, project, job_id, ref, after) or await _has_job_run(client, project, job_id, ref)


async def _is_current(client: Client, project: str, job_id: str, ref: str, after: datetime) -> bool:
    handle = client.get_schedule_handle(names.job_schedule_id(project, job_id))
    try:
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if is_missing_entity(error):
            return False
        raise
    if description.info.last_updated_at is not None and description.info.last_updated_at >= after:
        return True  # A JobRun that has just been started with the definition before may not be visible yet.
    payloads = description.raw_description.schedule.action.start_workflow.input.payloads
    current: JobRef
    (current,) = await client.data_converter.decode(list(payloads), [JobRef])
    return current.definition == ref


async def _has_job_run(client: Client, project: str, job_id: str, ref: str) -> bool:
    async for execution in client.list_workflows(job_runs_query(project, job_id), rpc_timeout=RPC_TIMEOUT):
        view = await execution.memo_value(names.MEMO_JOB_RUN, default=None, type_hint=JobRunView)
        if view is None or view.definition == ref:
            return True
    return False
