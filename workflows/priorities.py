"""The priority with which Temporal serves Runs that have not begun."""

from __future__ import annotations

from temporalio.common import Priority

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunJob


def run_priority(project: str, batch: str | None) -> Priority:
    """Return the priority that a Run is started with: projects come by turns.

    Args:
        project: The project.
        batch: The id of the JobRun or bulk that starts the Run, if one does: Runs of these come after all others, and
            JobRuns and bulks by turns.
    """
    if batch is not None:
        return Priority(priority_key=names.PRIORITY_BATCH, fairness_key=names.fairness_key(batch))
    return Priority(priority_key=names.PRIORITY_PENDING, fairness_key=names.fairness_key(project))


def pending_priority(job: RunJob | None, own: Priority) -> Priority:
    """Return the priority with which a pending Run waits for a Machine.

    Args:
        job: The JobRun that the Run belongs to, if there is one.
        own: The priority of the Run's workflow. A Validate has that of its Run, and a Create has a higher one, as it is
            the next step of an AuthSession.
    """
    if job is not None:
        return Priority(priority_key=names.PRIORITY_BATCH, fairness_key=names.fairness_key(job.job_run_id))
    return Priority(priority_key=max(own.priority_key or 0, names.PRIORITY_PENDING), fairness_key=own.fairness_key)
