"""Whether Temporal answers, and how far workers isolate their Machines."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client

from temporal.pool_usage import read_usage
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

    async def read_isolation(self) -> dict[str, str]:
        """Return how far the Machines of each project are isolated, as far as live workers tell it."""
        with translate_rpc_errors():
            usage = await read_usage(self._client) or {}
        return {project: machines.isolation for project, machines in usage.items() if machines.isolation}
