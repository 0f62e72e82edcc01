"""Whether Temporal answers, and which workers of projects it knows."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client

from schemas.workflow import names
from temporal.pollers import fetch_pollers
from temporal.pool_usage import read_machine_counts
from temporal.rpc_errors import translate_rpc_errors

_CHECK_TIMEOUT = timedelta(seconds=3)


class TemporalHealth:
    """The health of one Temporal namespace, and of the workers in it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check(self) -> None:
        """Check that Temporal answers for the namespace. Raises Unavailable, or ConfigurationError."""
        with translate_rpc_errors():
            await self._client.count_workflows("WorkflowId = 'readiness'", rpc_timeout=_CHECK_TIMEOUT)

    async def has_pollers(self, project: str) -> bool:
        """Tell whether a worker has polled for this project's Attempts lately.

        Temporal forgets pollers after minutes.
        """
        with translate_rpc_errors():
            queue = names.project_queue(project)
            return bool(await fetch_pollers(self._client, queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))

    async def read_isolation(self) -> dict[str, str]:
        """Return how far the Machines of each project are isolated, as far as live workers tell it."""
        with translate_rpc_errors():
            counts = await read_machine_counts(self._client) or {}
        return {project: machines.isolation for project, machines in counts.items() if machines.isolation}

    async def count_offered_machines(self) -> dict[str, int] | None:
        """Return how many Machines the live workers offer for each project, by their heartbeats.

        Return None if the server does not keep heartbeats. A worker appears within ten seconds of its start.
        """
        with translate_rpc_errors():
            counts = await read_machine_counts(self._client)
        return None if counts is None else {project: machines.offered for project, machines in counts.items()}
