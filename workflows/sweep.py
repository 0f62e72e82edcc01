"""Implement the workflow `Sweep`: remove artifacts of Runs that ended long ago, part by part. A Schedule starts it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.base import MESSAGE_LIMIT, clip
    from schemas.workflow.sweep import SweepInput, SweepPart, SweepPartResult, SweepTotals

PARTS = 20
"""How many parts one history holds."""

_PART_WITHIN = timedelta(minutes=15)
_GIVE_UP_AFTER = timedelta(hours=1)
"""Time after which a sweep ends if the store or Temporal is away for that long; the Schedule starts another."""


@workflow.defn(name=names.SWEEP)
class SweepWorkflow:
    """One sweep, from the first artifact to the last."""

    @workflow.run
    async def run(self, order: SweepInput) -> SweepTotals:
        """Sweep until nothing is left to examine, and return what was removed.

        A Run that could not be removed holds up no other: the sweep goes on, and fails in the end.
        """
        before = order.before or workflow.now() - order.older_than
        tally, after = order.tally, order.after
        for _ in range(PARTS):
            swept = await self._part(SweepPart(before=before, after=after))
            tally = tally.plus(swept.tally)
            workflow.set_current_details(f"{_said(tally)} so far, up to {swept.after or 'the end'}")
            if swept.after is None:
                return self._ended(tally)
            after = swept.after
        return workflow.continue_as_new(order.model_copy(update={"before": before, "after": after, "tally": tally}))

    async def _part(self, part: SweepPart) -> SweepPartResult:
        return await workflow.execute_activity(
            names.SWEEP_ARTIFACTS,
            part,
            result_type=SweepPartResult,
            start_to_close_timeout=_PART_WITHIN,
            schedule_to_close_timeout=_GIVE_UP_AFTER,
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            summary=f"From {part.after or 'the beginning'} on",
        )

    def _ended(self, tally: SweepTotals) -> SweepTotals:
        if not tally.failed:
            return tally
        message = f"{_said(tally)}; those of {tally.failed} Runs could not be removed. {tally.failure}"
        raise ApplicationError(clip(message, MESSAGE_LIMIT), tally, type="NotRemoved")


def _said(tally: SweepTotals) -> str:
    return f"{tally.artifacts} artifacts of {tally.runs} Runs removed"
