"""What is shown of a JobRun while its workflow runs: in its memo, in lists and filters, and in the Temporal Web UI."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.job_run import JobItemsMode, JobRunProgress, JobRunReason, JobRunStatus, JobRunView
    from workflows.job_run_ends import JobRunEnd
    from workflows.visibility import STATUS, code_block


class JobRunDisplay:
    """The one place that changes what is shown of a JobRun."""

    def __init__(self, view: JobRunView) -> None:
        self.view = view

    def show_end(self, end: JobRunEnd) -> None:
        """Show how the JobRun has ended."""
        self.show(ended_at=workflow.now(), error=end.error)
        self.show_status(end.status, end.reason)

    def show_status(self, status: JobRunStatus, reason: JobRunReason | None) -> None:
        """Show another status, or another reason for the same one."""
        if status is not self.view.status:
            workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                [STATUS.value_set(status.value)]
            )
        self.show(status=status, reason=reason)

    def show(self, **fields: Any) -> None:
        """Show these fields of `JobRunView` as they are now."""
        changed = self.view.model_copy(update=fields)
        if changed != self.view:
            self.view = changed.model_copy(update={"updated_at": workflow.now()})
            workflow.upsert_memo({names.MEMO_JOB_RUN: self.view.model_dump(mode="json")})
        self.show_details()

    def show_details(self) -> None:
        """Show counts, and why the JobRun is as it is, to the reader of the Temporal Web UI."""
        progress = self.view.progress
        lines = [
            f"{self.view.status}: {progress.succeeded + progress.failed} of {progress.total} Runs have ended",
            "",
            f"- succeeded: {progress.succeeded}",
            f"- failed: {progress.failed}",
            f"- in flight: {len(progress.in_flight)}",
            f"- not started: {progress.total - progress.next}",
        ]
        why = self.view.error or (self.view.reason and self.view.reason.message)
        workflow.set_current_details("\n".join(lines) + (code_block(why) if why else ""))


def piece_summary(mode: JobItemsMode, progress: JobRunProgress) -> str:
    """Describe a piece for the reader of the Temporal Web UI."""
    match mode:
        case JobItemsMode.RUN:
            return f"Runs from item {progress.next} on"
        case JobItemsMode.DRAIN:
            return f"Wait for {len(progress.in_flight)} Run(s) in flight"
        case JobItemsMode.TERMINATE:
            return f"Cancel {len(progress.in_flight)} Run(s) in flight"
