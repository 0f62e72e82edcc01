"""The activity by which an AuthSession finds whether a Run that uses its login alone has ended without a word."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client

from callboard.schemas.workflow import names
from callboard.temporal.rpc_errors import describe_running


class LeaseActivities:
    """The activities for leases of logins, on the common task queue."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=names.IS_RUN_OVER)
    async def is_run_over(self, run_id: str) -> bool:
        """Tell whether no Run or Validate with this id runs. Raises RPCError."""
        return await describe_running(self._client, run_id) is None
