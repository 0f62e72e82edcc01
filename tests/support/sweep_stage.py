"""Every shape that a sweep can take, played on a server that skips time; its history is recorded under its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from schemas.workflow import names
from schemas.workflow.sweep import SweepInput, SweepPart, SweepPartResult, SweepTotals
from tests.support.run_stage import IDENTITY
from workflows.sweep import PARTS, SweepWorkflow

A_WEEK = timedelta(days=7)

Part = Callable[[SweepPart], Awaitable[SweepPartResult]]


class Sweeping:
    """One sweep, and what its activity was asked."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.inputs: list[SweepPart] = []
        self.began = datetime.now(UTC)
        self.tally: SweepTotals | None = None
        self.failure: ApplicationError | None = None
        self.first: WorkflowHistory
        """Of the first execution, if it went on in others."""

    async def play(self, shape: str, part: Part) -> None:
        """Start it and wait for its end."""

        @activity.defn(name=names.SWEEP_ARTIFACTS)
        async def sweep_artifacts(input: SweepPart) -> SweepPartResult:
            self.inputs.append(input)
            return await part(input)

        queue = f"{names.CALLBOARD_QUEUE}-{shape}"
        async with Worker(
            self.client, task_queue=queue, workflows=[SweepWorkflow], activities=[sweep_artifacts], identity=IDENTITY
        ):
            handle = await self.client.start_workflow(
                SweepWorkflow.run, SweepInput(older_than=A_WEEK), id=shape, task_queue=queue
            )
            self.began = (await handle.describe()).start_time
            await self._ended(handle)
            first = self.client.get_workflow_handle(shape, run_id=handle.first_execution_run_id)
            self.first = await first.fetch_history()

    async def _ended(self, handle: WorkflowHandle[Any, SweepTotals]) -> None:
        try:
            self.tally = await handle.result()
        except WorkflowFailureError as error:
            if isinstance(error.cause, ApplicationError):
                self.failure = error.cause


def parts(*parts: SweepPartResult | Exception) -> Part:
    """What the activity does each time it is asked."""
    left = list(parts)

    async def part(_input: SweepPart) -> SweepPartResult:
        came = left.pop(0)
        if isinstance(came, Exception):
            raise came
        return came

    return part


def some(after: str | None, runs: int = 1) -> SweepPartResult:
    return SweepPartResult(after=after, totals=SweepTotals(runs=runs, artifacts=5 * runs))


AWAY = ApplicationError("The artifact store could not list 'runs/'.", type="StoreError")
REFUSED = SweepPartResult(
    after="runs/shop/b0", totals=SweepTotals(failed=1, failure="The artifact store could not remove 'x'.")
)


async def _always_away(_input: SweepPart) -> SweepPartResult:
    raise AWAY


SWEEPS: dict[str, Callable[[], Part]] = {
    "sweep-in-one-part": lambda: parts(some(None, runs=3)),
    "sweep-in-parts": lambda: parts(some("runs/shop/a0"), some("runs/shop/b0", runs=2), some(None)),
    "sweep-that-goes-on": lambda: parts(*(some(f"runs/shop/{number:02}0") for number in range(PARTS)), some(None)),
    "sweep-store-away-for-a-while": lambda: parts(some("runs/shop/a0"), AWAY, AWAY, some(None)),
    "sweep-store-away-for-long": lambda: _always_away,
    "sweep-that-may-not-remove": lambda: parts(REFUSED, some("runs/shop/c0"), REFUSED, some(None)),
}


async def swept(shape: str, client: Client) -> Sweeping:
    """The sweep of this shape, at its end."""
    sweeping = Sweeping(client)
    await sweeping.play(shape, SWEEPS[shape]())
    return sweeping
