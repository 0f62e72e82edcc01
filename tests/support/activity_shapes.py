"""The shapes of workflows that ask activities until they are done: sweeps, applied resources, tests of sinks, changes
of projects, and what is done with many Runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.bulk import (
    BulkAction,
    BulkFailure,
    BulkInput,
    BulkPiece,
    BulkPieceResult,
    BulkRequester,
    BulkView,
)
from callboard.schemas.workflow.delivery import SinkTestInput, SinkTestOutcome, TryRecord
from callboard.schemas.workflow.live import DialInput, DialOutcome
from callboard.schemas.workflow.project_changes import (
    DeleteProjectInput,
    DeleteProjectResult,
    MovePointerInput,
    MovePointerResult,
    PointerAction,
    Refusal,
    RefusalKind,
)
from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput, ResourceChanges
from callboard.schemas.workflow.sweep import SweepInput, SweepPart, SweepPartResult, SweepTotals
from tests.support.delivery_inputs import sealed, webhook
from tests.support.stage import WORKSPACE, Server, Stage, keep
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.bulk import PIECE, PIECES, BulkWorkflow
from workflows.deliver import SinkTestWorkflow
from workflows.live import DialLiveWorkflow
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow
from workflows.sweep import PARTS, SweepWorkflow

A_WEEK = timedelta(days=7)

Answer = Callable[[Any], Any]
"""What the activity answers to its input."""


@dataclass(frozen=True)
class Kind:
    """A workflow with its input, and its activities."""

    workflow: Any
    start: Any
    activities: Sequence[Callable[[Answer], Callable[..., Any]]]


class ActivityStage(Stage):
    """A workflow that has ended, and what its activities were asked."""

    inputs: list[Any]
    began: datetime
    first: WorkflowHistory
    """Of the first execution, if it went on in others."""
    outcome: Any = None
    failure: ApplicationError | None = None
    """What the workflow itself has raised."""

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(self.name)

    async def play(self, kind: Kind, script: Iterable[Any]) -> None:
        """Play the workflow to its end.

        Args:
            kind: The workflow.
            script: What its activity comes to each time: a result, or an error that it raises.
        """
        left, self.inputs = iter(script), []

        def answer(input: Any) -> Any:
            self.inputs.append(input)
            came = next(left)
            if isinstance(came, Exception):
                raise came
            return came

        await self.work(self.queue, [make(answer) for make in kind.activities], workflows=[kind.workflow])
        handle = await self.client.start_workflow(kind.workflow.run, kind.start, id=self.name, task_queue=self.queue)
        self.began = (await handle.describe()).start_time
        try:
            self.outcome = await handle.result()
        except WorkflowFailureError as error:
            self.failure = error.cause if isinstance(error.cause, ApplicationError) else None
        self.recorded = self.client.get_workflow_handle(self.name, run_id=handle.first_execution_run_id)
        self.first = await self.recorded.fetch_history()


def _sweep_artifacts(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.SWEEP_ARTIFACTS)
    async def sweep_artifacts(input: SweepPart) -> SweepPartResult:
        return answer(input)

    return sweep_artifacts


def _update_resources(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.UPDATE_RESOURCES)
    async def update_resources(input: ApplyResourcesInput) -> AppliedResources:
        return answer(input)

    return update_resources


def _send_test(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.SEND_TEST)
    async def send(input: SinkTestInput) -> SinkTestOutcome:
        return answer(input)

    return send


def _connect_live(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.CONNECT_LIVE)
    async def connect_live(input: DialInput) -> DialOutcome:
        return answer(input)

    return connect_live


def _dial(worker: str) -> Kind:
    """The worker's queue is that of the shape `worker-{worker}`."""
    start = DialInput(project="shop", run_id="run-1", number=1, worker=worker, address="http://api:8400", view="view-1")
    return Kind(DialLiveWorkflow, start, [_connect_live])


def sink_test(url: str, test_id: str = "test-1") -> SinkTestInput:
    """The input of a test of a sink, as the api makes it."""
    sink = sealed(webhook(url), "shop", test_id)
    return SinkTestInput(workspace=WORKSPACE, project="shop", test_id=test_id, api="list", sink=sink)


def _move_pointer(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.MOVE_POINTER_ACTIVITY)
    async def move_pointer(input: MovePointerInput) -> MovePointerResult:
        return answer(input)

    return move_pointer


def _withdraw_project(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.WITHDRAW_PROJECT)
    async def withdraw_project(input: DeleteProjectInput) -> DeleteProjectResult:
        return answer(input)

    return withdraw_project


def _remove_project(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.REMOVE_PROJECT)
    async def remove_project(input: DeleteProjectInput) -> None:
        answer(input)

    return remove_project


def _act_on_runs(answer: Answer) -> Callable[..., Any]:
    @activity.defn(name=names.ACT_ON_RUNS)
    async def act_on_runs(input: BulkPiece) -> BulkPieceResult:
        came = answer(input)
        return await _abort_at_hand() if came is None else came

    return act_on_runs


async def _abort_at_hand() -> BulkPieceResult:
    """Have the bulk aborted, and handle some Runs more before this stops."""
    await activity.client().get_workflow_handle(activity.info().workflow_id or "").cancel()
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return BulkPieceResult(handled=3)


def bulk(runs: int) -> BulkInput:
    """The input of a rerun of so many Runs, as the api makes it."""
    anna = Actor(id="Zk3vT9qLm2Xa", name="anna")
    return BulkInput(
        workspace=WORKSPACE,
        project="shop",
        bulk_id="bulk-1",
        requester=BulkRequester(key=anna, signed_in=False, client=None, request=None, correlation_id="c"),
        run_ids=tuple(f"run-{number}" for number in range(runs)),
        view=BulkView(
            action=BulkAction.RERUN, matched=runs, created_at=datetime(2026, 1, 2, tzinfo=UTC), requested_by=anna
        ),
    )


SWEEP = Kind(SweepWorkflow, SweepInput(older_than=A_WEEK), [_sweep_artifacts])
APPLY = Kind(ApplyResourcesWorkflow, ApplyResourcesInput(workspace=WORKSPACE, project="shop"), [_update_resources])
TEST = Kind(SinkTestWorkflow, sink_test("https://hook.example"), [_send_test])
MOVE = Kind(
    MovePointerWorkflow, MovePointerInput(project="shop", action=PointerAction.ROLLBACK, by="anna"), [_move_pointer]
)
DELETE = Kind(
    DeleteProjectWorkflow,
    DeleteProjectInput(workspace=WORKSPACE, project="shop", by="anna"),
    [_withdraw_project, _remove_project],
)


FEW_RUNS = Kind(BulkWorkflow, bulk(13), [_act_on_runs])
MANY_RUNS = Kind(BulkWorkflow, bulk(PIECE * PIECES + 1), [_act_on_runs])


def _some(after: str | None, runs: int = 1) -> SweepPartResult:
    return SweepPartResult(after=after, totals=SweepTotals(runs=runs, artifacts=5 * runs))


_AWAY = ApplicationError("The artifact store could not read or list what it was asked for.", type="StoreError")
_NOT_REMOVED = SweepPartResult(
    after="runs/shop/b0", totals=SweepTotals(failed=1, failure="The artifact store could not remove 'x'.")
)
_NOT_DONE = BulkFailure(run_id="run-1", message="Project shop has no API 'list'.")
_CHANGES = ResourceChanges(created=("a", "b"), updated=("c",), removed=("d",))
OPEN_RUNS = Refusal(kind=RefusalKind.CONFLICT, message="Project shop has not ended all that it has begun: 1 Run.")
REFUSED = "intuned-resources/jobs/a.job.json: there is a Job 'a' that was created by a request."
_REFUSED = ResourceChanges(refused=(REFUSED,))
_SENT = TryRecord(at=datetime(2026, 1, 2, tzinfo=UTC), status_code=200, latency=timedelta(milliseconds=3), answer="ok")


def _asking(name: str, kind: Kind, *script: Any) -> None:
    """Keep a shape of a workflow whose activity comes to this, each time."""

    async def play(stage: ActivityStage) -> None:
        await stage.play(kind, script)

    keep(name, ActivityStage, play, server=Server.SKIPPING)


_asking("sweep-in-one-part", SWEEP, _some(None, runs=3))
_asking("sweep-in-parts", SWEEP, _some("runs/shop/a0"), _some("runs/shop/b0", runs=2), _some(None))
_asking("sweep-that-goes-on", SWEEP, *(_some(f"runs/shop/{number:02}0") for number in range(PARTS)), _some(None))
_asking("sweep-store-away-for-a-while", SWEEP, _some("runs/shop/a0"), _AWAY, _AWAY, _some(None))
_asking("sweep-store-away-for-long", SWEEP, *[_AWAY] * 1000)  # more often than it asks
_asking("sweep-that-may-not-remove", SWEEP, _NOT_REMOVED, _some("runs/shop/c0"), _NOT_REMOVED, _some(None))
_asking("resources-applied", APPLY, AppliedResources(version="0123456789abcdef", jobs=_CHANGES))
_asking("resources-applied-at-last", APPLY, _AWAY, _AWAY, AppliedResources(version="0123456789abcdef", jobs=_REFUSED))
_asking("pointer-moved", MOVE, _AWAY, MovePointerResult(version="0123456789abcdef"))
_asking("project-deleted", DELETE, DeleteProjectResult(), _AWAY, _AWAY, None)
_asking("project-not-deleted", DELETE, DeleteProjectResult(refused=OPEN_RUNS))
_asking(
    "many-runs-handled",
    FEW_RUNS,
    BulkPieceResult(handled=4, failures=(BulkFailure(run_id="run-2", message="It had ended."),), retry_after=5),
    _AWAY,
    BulkPieceResult(handled=9),
)
_asking("many-runs-aborted", FEW_RUNS, BulkPieceResult(handled=0, retry_after=1), None)
_asking(
    "many-runs-that-go-on",
    MANY_RUNS,
    BulkPieceResult(handled=PIECE, failures=(_NOT_DONE,) * PIECE),
    *[BulkPieceResult(handled=PIECE)] * (PIECES - 1),
    BulkPieceResult(handled=1),
)
_asking("worker-dials", _dial("dials"), DialOutcome(is_connected=True))
_asking("worker-gone", _dial("gone"), _AWAY)
_asking("sink-tested", TEST, SinkTestOutcome(record=_SENT))
