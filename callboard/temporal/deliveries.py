"""Read the state of Deliveries, have one sent again, and have a test sent to a sink."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDReusePolicy

from callboard.schemas.errors import NotFound, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import (
    DeliverInput,
    DeliveryOutcome,
    DeliveryStatus,
    SinkTestInput,
    SinkTestOutcome,
    TryProblem,
)
from callboard.temporal.closing import wait_for_delivery, wait_for_result
from callboard.temporal.handoffs import read_handoffs
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors, unless_missing
from workflows.visibility import project_search_attributes

_TEST_TIMEOUT = timedelta(seconds=15)
"""How long a test of a sink may take in addition to the time of one try."""

_NOT_FOUND = "There is no such Delivery."


@dataclass(frozen=True)
class DeliveryState:
    """The state of a Delivery, without its tries: their records are in the artifact store."""

    id: str
    sink: dict[str, Any]
    """The sink as a client wrote it, with its secrets masked."""
    status: DeliveryStatus
    error: TryProblem | None = None
    """Why the Delivery failed."""


class Deliveries:
    """The Deliveries of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list_for_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        """Return the Deliveries of a Run, that of its result first: there is none before its end, or without a sink.

        The others tell of its last Handoffs.

        Raises:
            Unavailable: Temporal cannot be reached.
        """
        found: list[DeliveryState] = []
        with translate_rpc_errors():
            run = await unless_missing(self._handle(run_id).describe(rpc_timeout=RPC_TIMEOUT))
            told = [] if run is None else [each.id for each in await read_handoffs(run) if each.is_told]
        for delivery_id in (names.SINK_DELIVERY, *told):
            with suppress(NotFound), translate_rpc_errors(_NOT_FOUND):
                found.append(await self._get_state(workspace, project, run_id, delivery_id))
        return found

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        """Have a Delivery sent now: once more, or instead of waiting for the next try.

        Raises:
            NotFound: There is no such Delivery.
            Unavailable: Temporal cannot be reached.
        """
        with translate_rpc_errors(_NOT_FOUND):
            description = await self._describe(workspace, project, run_id, delivery_id)
            deliver_input = await self._read_input(description)
            await self._client.start_workflow(
                names.DELIVER,
                deliver_input.model_copy(update={"was_prepared": True}),
                id=description.id,
                task_queue=names.DELIVERIES_QUEUE,
                priority=Priority(fairness_key=deliver_input.sink.fairness_key),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal=names.REDELIVER,
                memo=await description.memo(),
                search_attributes=project_search_attributes(project),
                static_summary=await description.static_summary(),
                rpc_timeout=RPC_TIMEOUT,
            )
            return await self._get_state(workspace, project, run_id, delivery_id)

    async def test_sink(self, sink_test: SinkTestInput) -> SinkTestOutcome:
        """Have a test sent to a sink once, by the workers that deliver, and return its result.

        Raises:
            Unavailable: Temporal cannot be reached, or no worker has taken it up in time.
        """
        with translate_rpc_errors():
            handle = await self._client.start_workflow(
                names.SINK_TEST,
                sink_test,
                id=f"sink-test:{sink_test.test_id}",
                task_queue=names.DELIVERIES_QUEUE,
                result_type=SinkTestOutcome,
                # Nobody waits for a longer time, and the test must not be sent a day later.
                execution_timeout=sink_test.sink.schedule.timeout + _TEST_TIMEOUT,
                search_attributes=project_search_attributes(sink_test.project),
                static_summary=f"Test a sink of {sink_test.project}",
                rpc_timeout=RPC_TIMEOUT,
            )
            try:
                return await wait_for_result(handle)
            except WorkflowFailureError as error:
                raise Unavailable("No worker that delivers has sent the test in time. Is one running?") from error

    async def _get_state(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        description = await self._describe(workspace, project, run_id, delivery_id)
        sink = cast("dict[str, Any]", await description.memo_value(names.MEMO_SINK))
        if description.status is WorkflowExecutionStatus.RUNNING:
            return DeliveryState(delivery_id, sink, DeliveryStatus.PENDING)
        # There may be another execution by now; the outcome is that of the one that was described.
        outcome = await wait_for_delivery(self._handle(description.id, description.run_id))
        return DeliveryState(delivery_id, sink, outcome.status, outcome.error)

    async def _describe(
        self, workspace: str, project: str, run_id: str, delivery_id: str
    ) -> WorkflowExecutionDescription:
        if delivery_id != names.SINK_DELIVERY and names.run_of_handoff(delivery_id) != run_id:
            raise NotFound(_NOT_FOUND)
        handle = self._handle(names.delivery_workflow_id(run_id, delivery_id))
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        owner = [await description.memo_value(key, default=None) for key in (names.MEMO_WORKSPACE, names.MEMO_PROJECT)]
        if owner != [workspace, project]:
            raise NotFound(_NOT_FOUND)
        return description

    async def _read_input(self, description: WorkflowExecutionDescription) -> DeliverInput:
        """Return what the Delivery was started with, from the beginning of its history."""
        async for event in self._handle(description.id, description.run_id).fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (deliver_input,) = await self._client.data_converter.decode(payloads, [DeliverInput])
            return deliver_input
        raise NotFound(_NOT_FOUND)

    def _handle(self, workflow_id: str, execution_id: str | None = None) -> WorkflowHandle[Any, DeliveryOutcome]:
        return self._client.get_workflow_handle(workflow_id, run_id=execution_id, result_type=DeliveryOutcome)
