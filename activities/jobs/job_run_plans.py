"""Read and write the plans of JobRuns in the artifact store."""

from __future__ import annotations

from schemas.workflow.job_run import JobRunPlan
from storage import keys
from storage.store import Store


async def read_plan(store: Store, project: str, job_run_id: str) -> JobRunPlan | None:
    """Return the plan of a JobRun; None if it has none yet. Raises StoreError."""
    data = await store.get(keys.job_run_plan(project, job_run_id))
    return None if data is None else JobRunPlan.model_validate_json(data)


async def write_plan(store: Store, plan: JobRunPlan) -> None:
    """Store the plan of a JobRun. Raises StoreError."""
    await store.put(keys.job_run_plan(plan.project, plan.job_run_id), plan.model_dump_json().encode())
