"""Waits for the ends of Runs: shared, bounded, and in the end always answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.temporal import closing, run_waits
from callboard.temporal.run_waits import RunWaits
from callboard.temporal.runs import Runs, RunState
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, run_input
from tests.support.stage import WORKSPACE

LONG = timedelta(seconds=30)
COMPLETED = RunOutcome(status=RunStatus.COMPLETED)


def error(status: RPCStatusCode) -> RPCError:
    return RPCError("as the test wants it", status, b"")


async def refuse(*_arguments: object) -> None:
    raise error(RPCStatusCode.RESOURCE_EXHAUSTED)


class ScriptedTemporal:
    """A server with as many places for waits as a test says, whose visibility fails as a test says."""

    def __init__(self, *, places: int = 1000) -> None:
        self.places = places
        self.waiting: list[str] = []
        """Runs whose histories are waited on."""
        self.most_waiting = 0
        self.ended: dict[str, asyncio.Event] = {}
        self.queries: list[str] = []
        self.list_error: RPCError | None = None

    @property
    def client(self) -> Client:
        return cast("Client", self)

    def get_workflow_handle(self, run_id: str, **_options: Any) -> Any:
        return SimpleNamespace(result=partial(self._result, run_id))

    async def _result(self, run_id: str, **_options: Any) -> RunOutcome:
        ended = self._ended(run_id)
        if len(self.waiting) >= self.places and not ended.is_set():
            raise error(RPCStatusCode.RESOURCE_EXHAUSTED)
        self.waiting.append(run_id)
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        try:
            await ended.wait()
        finally:
            self.waiting.remove(run_id)
        return COMPLETED

    async def list_workflows(self, query: str, **_options: Any) -> AsyncGenerator[Any]:
        self.queries.append(query)
        if self.list_error is not None:
            raise self.list_error
        for run_id, ended in self.ended.items():
            if ended.is_set() and f"'{run_id}'" in query:
                yield SimpleNamespace(id=run_id, status=WorkflowExecutionStatus.COMPLETED)

    def end(self, run_id: str) -> None:
        self._ended(run_id).set()

    def _ended(self, run_id: str) -> asyncio.Event:
        return self.ended.setdefault(run_id, asyncio.Event())


@pytest.fixture(autouse=True)
def quick_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_waits, "_LOOKUP_INTERVAL", 0.02)
    monkeypatch.setattr(run_waits, "_LONGEST_INTERVAL", 0.04)
    monkeypatch.setattr(run_waits, "_QUERY_INTERVAL", 0.01)


async def test_all_who_wait_for_one_run_share_one_wait() -> None:
    temporal = ScriptedTemporal()
    waits = RunWaits(temporal.client)
    waiting = [asyncio.create_task(waits.wait("run", LONG)) for _ in range(50)]
    await until(lambda: temporal.waiting)
    temporal.end("run")
    assert await asyncio.gather(*waiting) == [COMPLETED] * 50
    assert temporal.most_waiting == 1
    assert temporal.queries == []


async def test_no_more_histories_are_waited_on_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_waits, "_DIRECT_WAITS", 3)
    monkeypatch.setattr(run_waits, "_READS", 2)
    monkeypatch.setattr(run_waits, "_BATCH", 4)
    temporal = ScriptedTemporal()
    waits = RunWaits(temporal.client)
    run_ids = [f"run-{number}" for number in range(20)]
    waiting = [asyncio.create_task(waits.wait(run_id, LONG)) for run_id in run_ids]
    await until(lambda: temporal.queries)
    for run_id in reversed(run_ids):
        temporal.end(run_id)
    assert await asyncio.gather(*waiting) == [COMPLETED] * 20
    assert temporal.most_waiting <= 3 + 2
    assert max(query.count("run-") for query in temporal.queries) == 4


async def test_a_run_without_a_place_is_found_in_visibility(
    monkeypatch: pytest.MonkeyPatch, runs: Runs, client: Client, stage: RunStage
) -> None:
    monkeypatch.setattr(run_waits, "_DIRECT_WAITS", 1)
    run_ids = [f"{stage.run_id}-{number}" for number in range(3)]
    for run_id in run_ids:
        await runs.start(run_id, run_input(stage.project), fingerprint="")
    waits = RunWaits(client)
    waiting = [asyncio.create_task(waits.wait(run_id, LONG)) for run_id in run_ids]
    await client.get_workflow_handle(run_ids[2]).terminate()
    assert await waiting[2] == closing.TERMINATED
    await stage.serve_attempts(ends(completed()), ends(completed()))
    outcomes = await asyncio.gather(*waiting[:2])
    assert [isinstance(told, RunOutcome) and told.status for told in outcomes] == [RunStatus.COMPLETED] * 2


async def test_a_run_that_was_reset_is_waited_for_until_it_ends_again(
    monkeypatch: pytest.MonkeyPatch, client: Client, stage: RunStage
) -> None:
    monkeypatch.setattr(run_waits, "_DIRECT_WAITS", 0)
    monkeypatch.setattr(run_waits, "_READ_TIMEOUT", 0.1)
    started: dict[str, Any] = {"id": stage.run_id, "task_queue": names.RUNS_QUEUE}
    for _ in range(2):  # As after a reset, visibility has an execution that has ended, and another one runs.
        await client.start_workflow(names.RUN, run_input(stage.project), **started)
        await client.get_workflow_handle(stage.run_id).terminate()
    await client.start_workflow(names.RUN, run_input(stage.project), **started)
    waits = RunWaits(client)
    waiting = asyncio.create_task(waits.wait(stage.run_id, LONG))
    assert await waits.wait(stage.run_id, timedelta(seconds=1)) is RunStatus.PENDING
    await client.get_workflow_handle(stage.run_id).terminate()
    assert await waiting == closing.TERMINATED


async def test_a_wait_that_temporal_refuses_goes_on_in_visibility() -> None:
    temporal = ScriptedTemporal(places=0)
    waits = RunWaits(temporal.client)
    waiting = asyncio.create_task(waits.wait("run", LONG))
    await until(lambda: len(temporal.queries) > 1)
    temporal.end("run")
    assert await waiting == COMPLETED


@pytest.mark.parametrize("status", [RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.CANCELLED])
async def test_lookups_that_temporal_refuses_or_does_not_answer_in_time_go_on(
    status: RPCStatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    temporal = ScriptedTemporal(places=0)
    temporal.list_error = error(status)
    waits = RunWaits(temporal.client)
    waiting = asyncio.create_task(waits.wait("run", LONG))
    await until(lambda: len(temporal.queries) > 2)
    temporal.end("run")
    temporal.list_error = None
    assert await waiting == COMPLETED
    assert "cannot tell so often which Runs have ended: asking in 0.04 seconds" in caplog.text


async def test_a_temporal_that_is_away_is_told_to_all_who_wait() -> None:
    temporal = ScriptedTemporal(places=0)
    temporal.list_error = error(RPCStatusCode.UNAVAILABLE)
    waits = RunWaits(temporal.client)
    waiting = [asyncio.create_task(waits.wait(run_id, LONG)) for run_id in ("a", "a", "b")]
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert told == [temporal.list_error] * 3
    temporal.list_error, temporal.places = None, 1
    temporal.end("a")
    assert await waits.wait("a", LONG) == COMPLETED, "the next who waits is not told of an error that is over"


@pytest.mark.parametrize("places", [1, 0])
async def test_the_last_who_leaves_frees_the_place(places: int) -> None:
    before = asyncio.all_tasks()
    temporal = ScriptedTemporal(places=places)
    waits = RunWaits(temporal.client)
    waiting = [asyncio.create_task(waits.wait("run", LONG)) for _ in range(2)]
    await until(lambda: temporal.waiting or temporal.queries)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert temporal.waiting or temporal.queries
    waiting[1].cancel()
    await asyncio.wait(waiting)
    await until(lambda: asyncio.all_tasks() <= before)
    assert temporal.waiting == []
    asked = len(temporal.queries)
    temporal.end("run")
    assert await waits.wait("run", LONG) == COMPLETED, "another one may wait for the same Run"
    assert len(temporal.queries) == asked


async def test_close_releases_all_who_wait_and_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_waits, "_DIRECT_WAITS", 1)
    before = asyncio.all_tasks()
    temporal = ScriptedTemporal()
    waits = RunWaits(temporal.client)
    waiting = [asyncio.create_task(waits.wait(run_id, LONG)) for run_id in ("a", "b", "b")]
    await until(lambda: temporal.waiting and temporal.queries)
    await waits.close()
    assert await asyncio.gather(*waiting) == [None] * 3
    assert asyncio.all_tasks() <= before


# What a client is told that has waited as long as it wanted.


async def test_a_wait_without_a_place_tells_the_status_without_a_request(
    client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_waits, "_DIRECT_WAITS", 0)
    runs, held = Runs(client), HeldAttempt(stage, announced=True)
    await runs.start(stage.run_id, run_input(stage.project), fingerprint="")

    monkeypatch.setattr(runs, "describe", None)

    async def told() -> RunState:
        return await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=timedelta(seconds=0.5))

    assert await told() == RunState(stage.run_id, RunStatus.PENDING)
    await stage.serve_attempts(held)
    await held.began.wait()
    await until(told, true=lambda state: state == RunState(stage.run_id, RunStatus.STARTED))
    held.end(completed())
    ended = await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=LONG)
    assert ended.status is RunStatus.COMPLETED
    await stage.ended()
    await runs.close()


async def test_a_client_that_has_waited_is_told_the_state_that_was_heard_of_last(
    runs: Runs, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs.start(stage.run_id, run_input(stage.project), fingerprint="")

    monkeypatch.setattr(runs, "describe", refuse)
    told = await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=timedelta(seconds=0.1))
    assert told == RunState(stage.run_id, RunStatus.PENDING)
    with pytest.raises(Unavailable, match="resource_exhausted"):
        await runs.get_state(WORKSPACE, stage.project, stage.run_id)
    monkeypatch.undo()
    await stage.serve_attempts(ends(completed()))
    ended = await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=LONG)
    assert ended.status is RunStatus.COMPLETED


async def test_a_client_that_has_waited_does_not_wait_long_for_the_state(
    runs: Runs, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.temporal.runs._READING_TIMEOUT", 0.01)
    await runs.start(stage.run_id, run_input(stage.project), fingerprint="")

    async def never(*_arguments: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(runs, "describe", never)
    told = await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=timedelta(seconds=0.1))
    assert told == RunState(stage.run_id, RunStatus.PENDING)
    await runs.close()


async def test_states_are_read_in_turn_for_clients_that_wait(
    client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.temporal.runs._READINGS", 2)
    runs, reading, most = Runs(client), 0, 0
    run_ids = [f"{stage.run_id}-{number}" for number in range(6)]
    for run_id in run_ids:
        await Runs(client).start(run_id, run_input(stage.project), fingerprint="")
        await client.get_workflow_handle(run_id).terminate()
    describe = runs.describe

    async def count(workspace: str, project: str, run_id: str) -> Any:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        described = await describe(workspace, project, run_id)
        reading -= 1
        return described

    monkeypatch.setattr(runs, "describe", count)
    states = await asyncio.gather(*(runs.get_state(WORKSPACE, stage.project, run_id, wait=LONG) for run_id in run_ids))
    assert [state.outcome for state in states] == [closing.TERMINATED] * 6
    assert most == 2


async def test_whom_a_run_belongs_to_is_asked_until_temporal_says_it(
    client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.temporal.runs._OVERLOAD_PAUSE", 0.01)
    await Runs(client).start(stage.run_id, run_input(stage.project), fingerprint="")
    runs = Runs(client)
    describe, refusals = runs.describe, iter([error(RPCStatusCode.RESOURCE_EXHAUSTED)] * 3)

    async def refuse_at_first(workspace: str, project: str, run_id: str) -> Any:
        for refusal in refusals:
            raise refusal
        return await describe(workspace, project, run_id)

    monkeypatch.setattr(runs, "describe", refuse_at_first)
    await stage.serve_attempts(ends(completed()))
    ended = await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=LONG)
    assert ended.status is RunStatus.COMPLETED


async def test_a_client_that_cannot_be_told_whose_run_it_is_may_come_again(
    client: Client, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(client)

    monkeypatch.setattr(runs, "describe", refuse)
    with pytest.raises(Unavailable, match="resource_exhausted"):
        await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=timedelta(seconds=0.01))
