"""Ask workers for live views of the browsers of their Attempts."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client, WorkflowFailureError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import DialInput, DialOutcome
from callboard.temporal.closing import wait_for_result
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors
from workflows.visibility import project_search_attributes

_TIMEOUT = timedelta(seconds=20)
"""How long all of it may take, also where no control worker runs. Nobody waits for a longer time."""


class LiveDials:
    """What this api asks of workers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def dial(self, dial: DialInput) -> DialOutcome:
        """Return whether the worker connects, and if not, why.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors():
            handle = await self._client.start_workflow(
                names.DIAL_LIVE,
                dial,
                id=f"live:{dial.view}",
                task_queue=names.CALLBOARD_QUEUE,
                result_type=DialOutcome,
                execution_timeout=_TIMEOUT,
                search_attributes=project_search_attributes(dial.project),
                static_summary=_summary(dial),
                rpc_timeout=RPC_TIMEOUT,
            )
            try:
                return await wait_for_result(handle)
            except WorkflowFailureError:
                seconds = int(_TIMEOUT.total_seconds())
                problem = f"No control worker has asked the worker {dial.worker} within {seconds} seconds."
                return DialOutcome(is_connected=False, problem=problem)


def _summary(dial: DialInput) -> str:
    if dial.run_id is None:
        return f"Try the way of the worker {dial.worker} to an api"
    return f"Watch Attempt {dial.number} of Run {dial.run_id}"
