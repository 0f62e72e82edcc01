"""The workflow `Sweep`: remove artifacts of Runs that ended long ago, part by part. A Schedule starts it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
    from callboard.schemas.workflow.sweep import SweepInput, SweepPart, SweepPartResult, SweepTotals

PARTS = 20
"""How many parts one history holds."""

_PART_TIMEOUT = timedelta(minutes=15)
_GIVE_UP_AFTER = timedelta(hours=1)
"""Time after which a sweep ends if the store or Temporal is away for that long; the Schedule starts another."""


@workflow.defn(name=names.SWEEP)
class SweepWorkflow:
    """One sweep, from the first artifact to the last."""

    @workflow.run
    async def run(self, input: SweepInput) -> SweepTotals:
        """Sweep until nothing is left to examine, and return what was removed.

        A Run that could not be removed holds up no other: the sweep goes on, and fails in the end.
        """
        before = input.before or workflow.now() - input.older_than
        totals, after = input.totals, input.after
        for _ in range(PARTS):
            result = await self._sweep_part(SweepPart(before=before, after=after))
            totals = totals.plus(result.totals)
            workflow.set_current_details(f"{_summary(totals)} so far, up to {result.after or 'the end'}")
            if result.after is None:
                return self._close(totals)
            after = result.after
        return workflow.continue_as_new(input.model_copy(update={"before": before, "after": after, "totals": totals}))

    async def _sweep_part(self, part: SweepPart) -> SweepPartResult:
        return await workflow.execute_activity(
            names.SWEEP_ARTIFACTS,
            part,
            result_type=SweepPartResult,
            start_to_close_timeout=_PART_TIMEOUT,
            schedule_to_close_timeout=_GIVE_UP_AFTER,
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            summary=f"From {part.after or 'the beginning'} on",
        )

    def _close(self, totals: SweepTotals) -> SweepTotals:
        if not totals.failed:
            return totals
        message = f"{_summary(totals)}; those of {totals.failed} Runs could not be removed. {totals.failure}"
        raise ApplicationError(clip(message, MESSAGE_LIMIT), totals, type="NotRemoved")


def _summary(totals: SweepTotals) -> str:
    versions = f" and {totals.versions} versions" if totals.versions else ""
    return f"{totals.artifacts} artifacts of {totals.runs} Runs{versions} removed"
