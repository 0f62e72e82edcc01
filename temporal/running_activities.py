"""Count the activities that a Temporal worker executes: one whose slots are all taken has a reason not to poll."""

from __future__ import annotations

from functools import partial
from typing import Any, override

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from temporal.poll_watch import Watch


class RunningActivities(Interceptor):
    """The activities that are being executed by one worker with so many slots."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.count = 0

    def watched_by(self, watch: Watch) -> Watch:
        """Return a watch that expects no polls for activities while all slots are taken."""
        return partial(watch, may_pause=lambda: self.count >= self._slots)

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Counting(next, self)


class _Counting(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, running: RunningActivities) -> None:
        super().__init__(next)
        self._running = running

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self._running.count += 1
        try:
            return await super().execute_activity(input)
        finally:
            self._running.count -= 1
