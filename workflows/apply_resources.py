"""The workflow `ApplyResources`: make Jobs and AuthSessions agree with the files of the version that is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput, ResourceChanges
    from workflows.visibility import code_block


@workflow.defn(name=names.APPLY_RESOURCES)
class ApplyResourcesWorkflow:
    """What follows a deploy of a project with such files."""

    @workflow.run
    async def run(self, input: ApplyResourcesInput) -> AppliedResources:
        """Apply the files, however often that takes, and return what was changed."""
        applied = await workflow.execute_activity(
            names.UPDATE_RESOURCES,
            input,
            result_type=AppliedResources,
            start_to_close_timeout=timedelta(minutes=15),
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            summary=f"Jobs and AuthSessions of {input.project}",
        )
        lines = [*_lines("Jobs", applied.jobs), *_lines("AuthSessions", applied.auth_sessions)]
        refused = [*applied.auth_sessions.refused, *applied.jobs.refused]
        details = "; ".join(lines) or "Everything was as the files say"
        workflow.set_current_details(details + (code_block("\n".join(refused)) if refused else ""))
        return applied


def _lines(what: str, changes: ResourceChanges) -> Iterator[str]:
    for verb, ids in (("created", changes.created), ("updated", changes.updated), ("removed", changes.removed)):
        if ids:
            yield f"{what} {verb}: {', '.join(ids)}"
    if changes.refused:
        yield f"{what} refused: {len(changes.refused)}"
