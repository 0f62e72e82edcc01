"""Ask the workflow `Fleet`: workers for their leases, everybody else for who holds which Machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DefaultFailureConverter
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.fleet import (
    FleetInput,
    FleetState,
    LeaveRequest,
    RenewAnswer,
    RenewRequest,
)
from callboard.temporal.data_converter import PayloadEncryption
from callboard.temporal.rpc_errors import RPC_TIMEOUT, is_missing_entity
from workflows.fleet import UNKNOWN, FleetWorkflow

_ANSWER_TIMEOUT = timedelta(seconds=8)
"""How long a worker waits for an answer; then it asks anew."""
_TASK_TIMEOUT = timedelta(seconds=5)
"""How long a worker may take over a task of the workflow, with the replay of at most `LONG_HISTORY` events. The next
one has to wait for a worker that was stopped."""

Start = WithStartWorkflowOperation[FleetWorkflow, None]


class BaseUnknown(Unavailable):
    """The workflow does not know what a request refers to: the worker has to say all."""


class FleetClient:
    """The workflow `Fleet`, as workers and commands ask it."""

    def __init__(self, client: Client) -> None:
        self._client = without_encryption(client)
        self._handle = self._client.get_workflow_handle_for(FleetWorkflow.run, names.FLEET_ID)

    async def renew(self, request: RenewRequest) -> RenewAnswer:
        """Return the worker's lease.

        Raises:
            BaseUnknown: The workflow does not know what the request refers to.
            Unavailable: There is no answer, or a later request was answered.
        """
        return await self._ask_or_start(
            lambda start: self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                names.RENEW_LEASE,
                request,
                start_workflow_operation=start,
                result_type=RenewAnswer,
                rpc_timeout=_ANSWER_TIMEOUT,
            )
        )

    async def leave(self, workers: Sequence[str]) -> None:
        """Give back what these workers hold: they have no Machine any more. Raises Unavailable."""
        request = LeaveRequest(workers=tuple(workers))
        await self._ask_or_start(
            lambda start: self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # the SDK's own type
                FleetWorkflow.leave, request, start_workflow_operation=start, rpc_timeout=_ANSWER_TIMEOUT
            )
        )

    async def read_state(self, timeout: timedelta = RPC_TIMEOUT) -> FleetState:
        """Return who holds what: nobody anything, if no worker has ever asked. Raises Unavailable if none answers."""
        try:
            return await self._handle.query(FleetWorkflow.state, rpc_timeout=timeout)
        except RPCError as error:
            if is_missing_entity(error):
                return FleetState()
            raise Unavailable(f"No worker has said who holds which Machines: {error.message}") from error
        except (WorkflowQueryFailedError, RuntimeError) as error:
            raise Unavailable(f"No worker has said who holds which Machines: {error}") from error

    async def _ask_or_start[T](self, update: Callable[[Start], Coroutine[Any, Any, T]]) -> T:
        try:
            return await _answered(_ask_or_start_successor(update))
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == UNKNOWN:
                raise BaseUnknown(error.cause.message) from error
            raise Unavailable(f"The request was refused: {error.cause}") from error
        except RPCError as error:
            if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
                await self._have_others_answered()
            raise _unavailable(error) from error

    async def _have_others_answered(self) -> None:
        """Repair what a refused request has done to those that wait: Temporal has dropped the task with all of them.

        It stores no task that is there for requests alone, so that none would end while others go on asking. One that
        is there for a signal is stored.
        """
        with suppress(RPCError, RuntimeError):  # they ask again
            await self._handle.signal(FleetWorkflow.wake, rpc_timeout=_ANSWER_TIMEOUT)


async def _answered[T](asked: Coroutine[Any, Any, T]) -> T:
    """Return the answer to an update. Raises Unavailable if there is none, and what the SDK raises of an answer."""
    # The SDK makes an error of its own of a cancel. So it has a task of its own, and a cancel of ours stays one.
    asking = asyncio.create_task(asked, name="ask the fleet")
    try:
        await asyncio.wait({asking}, timeout=_ANSWER_TIMEOUT.total_seconds())
        if not asking.done():
            raise Unavailable("No worker has answered in time.")
        return asking.result()
    except (RPCTimeoutOrCancelledError, RuntimeError) as error:
        raise Unavailable(f"Temporal cannot be reached: {error}") from error
    finally:
        if asking.cancel():
            await asyncio.wait({asking})
            if not asking.cancelled():
                asking.exception()  # mark it as retrieved: nobody waits for it any more


def _unavailable(error: RPCError) -> Unavailable:
    return Unavailable(f"Temporal has not answered: {error.message or error.status.name.lower()}")


async def _ask_or_start_successor[T](update: Callable[[Start], Coroutine[Any, Any, T]]) -> T:
    try:
        return await _update(update, _start(successor=False))
    except WorkflowAlreadyStartedError:
        # Somebody has ended the workflow: workers may have leases that the next one does not know.
        return await _update(update, _start(successor=True))


def without_encryption(client: Client) -> Client:
    """Return a client that encrypts nothing, and decrypts what is encrypted.

    Workers and workflow tell each other names of projects, hosts and workers, and numbers: Temporal can read them
    anyway. So leases depend on no sealing key.
    """
    config = client.config()
    codec = client.data_converter.payload_codec
    if isinstance(codec, PayloadEncryption):
        config["data_converter"] = replace(
            client.data_converter,
            payload_codec=codec.switched_off(),
            failure_converter_class=DefaultFailureConverter,
        )
    return Client(**config)


async def _update[T](update: Callable[[Start], Coroutine[Any, Any, T]], start: Start) -> T:
    try:
        return await update(start)
    except BaseException:  # also a cancel; whatever it is, it is raised again
        # The SDK has the same error for whoever asks for the handle, and logs it if nobody does.
        handle = asyncio.ensure_future(start.workflow_handle())
        await asyncio.wait({handle}, timeout=0)
        if not handle.cancel() and not handle.cancelled():
            handle.exception()
        raise


def _start(*, successor: bool) -> Start:
    return WithStartWorkflowOperation(
        FleetWorkflow.run,
        FleetInput(successor=successor),
        id=names.FLEET_ID,
        task_queue=names.FLEET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if successor else WorkflowIDReusePolicy.REJECT_DUPLICATE,
        task_timeout=_TASK_TIMEOUT,
        static_summary="Who may have how many Machines of which project",
    )
