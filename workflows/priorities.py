"""The priority with which Temporal serves Runs that have not begun."""

from __future__ import annotations

from temporalio.common import Priority

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunJob


def pending_priority(job: RunJob | None, project: str | None = None) -> Priority:
    """Return the priority of a pending Run. Those of JobRuns come after all others, and JobRuns by turns.

    Args:
        job: The JobRun that the Run belongs to, if there is one.
        project: The project by which Runs that belong to none come by turns; None if there are no turns.
    """
    if job is not None:
        return Priority(priority_key=names.PRIORITY_JOB, fairness_key=names.fairness_key(job.job_run_id))
    return Priority(
        priority_key=names.PRIORITY_PENDING, fairness_key=None if project is None else names.fairness_key(project)
    )
