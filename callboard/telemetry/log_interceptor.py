"""Tells the log which Run, Attempt and project an activity works for."""

from __future__ import annotations

from typing import Any, override

import temporalio.client
import temporalio.worker
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from callboard.telemetry.log_context import log_fields


class LogContextInterceptor(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Interceptor of workers, which take it from their client: it gives the records of activities their context."""

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activities of a worker."""
        return _LogContextActivities(next)


class _LogContextActivities(ActivityInboundInterceptor):
    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        with log_fields(**work_of(input.args)):
            return await super().execute_activity(input)


def work_of(arguments: Any) -> dict[str, str | int | None]:
    """Return the ids in the input of a workflow or activity that say what it works for. None of them is secret.

    All inputs of `callboard/schemas/workflow/` name these fields alike; that of a Delivery's try holds that of the
    Delivery.
    """
    given = arguments[0] if arguments else None
    given = getattr(given, "delivery", given)
    job = getattr(given, "job", None)
    return {
        "runId": getattr(given, "run_id", None),
        "attempt": getattr(given, "number", None),
        "project": getattr(given, "project", None),
        "jobRunId": getattr(given, "job_run_id", None) or getattr(job, "job_run_id", None),
    }
