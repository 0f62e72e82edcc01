"""The workflow `Bulk`: cancel many Runs, or start them again, one after the other.

Which Runs these are was decided before it began, so nothing that begins later is among them.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.bulk import FAILURES_SHOWN, BulkAction, BulkInput, BulkPiece, BulkPieceResult
    from workflows.cancellation import end_of, finish
    from workflows.visibility import bulk_memo, project_search_attributes

PIECE = 10
"""How many Runs one activity is given. Before the next one, somebody may have asked to stop."""
PIECES = 50
"""How many of these activities one history holds."""

_PIECE_TIMEOUT = timedelta(minutes=10)
_HEARTBEAT_TIMEOUT = timedelta(seconds=8)
"""Time after which another worker goes on for one that was killed."""


@workflow.defn(name=names.BULK)
class BulkWorkflow:
    """One request about many Runs, until all of them are handled or somebody aborts it."""

    @workflow.init
    def __init__(self, input: BulkInput) -> None:
        self._bulk = input
        self._is_aborted = False

    @workflow.run
    async def run(self, _input: BulkInput) -> None:
        """Handle all Runs. A cancel of this workflow is the request to abort it: the Run at hand is still handled.

        Raises:
            CancelledError: It was aborted before it had handled all Runs.
        """
        await finish(self._handle_runs(), self._abort)
        if self._is_aborted and self._bulk.run_ids:
            raise asyncio.CancelledError
        if self._bulk.run_ids:
            attributes = project_search_attributes(self._bulk.project)
            workflow.continue_as_new(self._bulk, memo=bulk_memo(self._bulk), search_attributes=attributes)

    def _abort(self) -> None:
        self._is_aborted = True

    async def _handle_runs(self) -> None:
        for _ in range(PIECES):
            if self._is_aborted or not self._bulk.run_ids:
                return
            try:
                result = await end_of(self._start_piece(), lambda: self._is_aborted)
            except ActivityError:
                if not self._is_aborted:
                    raise
                return  # it waited to be tried again, so that no worker could answer
            self._note(result)
            if result.retry_after is not None:
                await self._wait(timedelta(seconds=result.retry_after))

    def _start_piece(self) -> workflow.ActivityHandle[BulkPieceResult]:
        bulk = self._bulk
        return workflow.start_activity(
            names.ACT_ON_RUNS,
            BulkPiece(
                workspace=bulk.workspace,
                project=bulk.project,
                bulk_id=bulk.bulk_id,
                action=bulk.view.action,
                requester=bulk.requester,
                run_ids=bulk.run_ids[:PIECE],
            ),
            result_type=BulkPieceResult,
            start_to_close_timeout=_PIECE_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=Priority(priority_key=names.PRIORITY_BATCH, fairness_key=names.fairness_key(bulk.project)),
            summary=f"{bulk.view.action} {min(PIECE, len(bulk.run_ids))} of {len(bulk.run_ids)} Runs that are left",
        )

    def _note(self, result: BulkPieceResult) -> None:
        """Note what a piece has done, and show it."""
        before, view = self._bulk, self._bulk.view
        failed = len(result.failures)
        done = result.handled - failed
        self._bulk = before.model_copy(
            update={
                "run_ids": before.run_ids[result.handled :],
                "view": view.model_copy(update={"done": view.done + done, "failed": view.failed + failed}),
                "failures": (*before.failures, *result.failures)[:FAILURES_SHOWN],
            }
        )
        changed = {names.MEMO_BULK}
        if self._bulk.failures != before.failures:  # else the history would hold them once more
            changed.add(names.MEMO_BULK_FAILURES)
        workflow.upsert_memo({field: value for field, value in bulk_memo(self._bulk).items() if field in changed})
        view = self._bulk.view
        word = "canceled" if view.action is BulkAction.CANCEL else "started again"
        workflow.set_current_details(f"{view.done} of {view.matched} Runs {word}, {view.failed} could not be")

    async def _wait(self, time: timedelta) -> None:
        try:
            await workflow.wait_condition(lambda: self._is_aborted, timeout=time)
        except TimeoutError:
            return
