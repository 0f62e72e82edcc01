"""The Schedule that starts a sweep of the artifact store again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import Priority
from temporalio.service import RPCError, RPCStatusCode

from schemas.workflow import names
from schemas.workflow.sweep import SweepInput
from temporal.durations import said
from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors

SWEEP_EVERY = timedelta(hours=1)

_CATCH_UP = timedelta(days=1)
"""Sweeps that were missed while Temporal was down are made up for, with one, if they are not older."""


@dataclass(frozen=True)
class Sweep:
    """The Schedule of the sweep."""

    artifacts: timedelta | None
    """Age at which artifacts go; None: it starts something else."""
    paused: bool


async def schedule_sweeps(client: Client, artifacts: timedelta) -> list[str]:
    """Have artifacts removed at that age; what was done for it. Errors as for `find_sweep`."""
    found = await find_sweep(client)
    if found is not None and found.artifacts == artifacts:
        return []
    action = ScheduleActionStartWorkflow(
        names.SWEEP,
        SweepInput(older_than=artifacts),
        id=names.SWEEP_SCHEDULE,
        task_queue=names.CALLBOARD_QUEUE,
        static_summary=f"Remove artifacts {said(artifacts)} after the end of their Run",
        priority=Priority(priority_key=names.PRIORITY_SWEEP),
    )
    with translate_operator_errors(client, "make a Schedule"):
        if found is None:
            schedule = Schedule(
                action=action,
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SWEEP_EVERY)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
            )
            try:
                await client.create_schedule(names.SWEEP_SCHEDULE, schedule, rpc_timeout=RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                return await schedule_sweeps(client, artifacts)  # somebody was faster
        else:
            # When it starts, and whether, stays as an operator may have set it.
            def change(update: ScheduleUpdateInput) -> ScheduleUpdate:
                return ScheduleUpdate(replace(update.description.schedule, action=action))

            await client.get_schedule_handle(names.SWEEP_SCHEDULE).update(change, rpc_timeout=RPC_TIMEOUT)
    return [f"Artifacts are removed {said(artifacts)} after the end of their Run (Schedule {names.SWEEP_SCHEDULE})."]


async def find_sweep(client: Client) -> Sweep | None:
    """The Schedule of the client's namespace, if there is one.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    with translate_operator_errors(client, "describe a Schedule"):
        try:
            handle = client.get_schedule_handle(names.SWEEP_SCHEDULE)
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            # A namespace that is not known is not found, either.
            if error.status is RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace"):
                return None
            raise
    return Sweep(await _age(client, description), paused=description.schedule.state.paused)


async def _age(client: Client, description: ScheduleDescription) -> timedelta | None:
    """What the Schedule says how old artifacts may become."""
    action = description.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != names.SWEEP:
        return None
    orders = description.raw_description.schedule.action.start_workflow.input.payloads
    try:
        (order,) = await client.data_converter.decode(list(orders), [SweepInput])
    except (RuntimeError, ValueError):  # none, several, or another
        return None
    return order.older_than if isinstance(order, SweepInput) else None
