"""A piece that is tried again comes to the same, and no Run is lost that a lost piece has started."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest

from activities.jobs import piece as piece_module
from activities.jobs.item_runs import ItemRuns, JobItems
from activities.jobs.piece import Piece
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.job_run import (
    JobItemsInput,
    JobItemsMode,
    JobItemsResult,
    JobRunPlan,
    JobRunProgress,
    PrepareJobRunInput,
)
from callboard.schemas.workflow.run import RunOutcome
from callboard.storage import object_keys
from callboard.temporal.run_waits import RunWaits
from tests.support.control_worker import JobLab, echo, extending, items, until_canceled
from tests.support.delivery_inputs import RING
from tests.support.job_run_stage import BAD, auth
from tests.support.polling import until
from tests.support.stage import DEADLINE, WORKSPACE


class Bench:
    """A JobRun whose pieces are executed by the test."""

    def __init__(self, lab: JobLab, job_run_id: str, plan: JobRunPlan) -> None:
        self.lab = lab
        self.id = job_run_id
        self.plan = plan
        self.runs = ItemRuns(plan, client=lab.client, store=lab.store, ring=RING, waits=lab.waits, dev_projects=None)
        self.begin = JobRunProgress(total=plan.payload_count)

    def piece(self, piece: int = 1, try_number: int = 1, **fields: Any) -> Piece:
        defaults = {"project": self.lab.project, "job_run_id": self.id, "piece": piece, "progress": self.begin}
        return Piece(
            JobItemsInput.model_validate(defaults | fields),
            self.plan,
            self.runs,
            self.lab.store,
            try_number=try_number,
        )

    async def execute(self, piece: int = 1, try_number: int = 1, **fields: Any) -> JobItemsResult:
        return await self.piece(piece, try_number, **fields).execute()

    async def lose(self, started: int) -> None:
        """Execute a piece until it has started so many Runs that go on, and lose it then."""
        losing = asyncio.create_task(self.execute())
        await until(lambda: self.lab.running == started)
        losing.cancel()
        with suppress(asyncio.CancelledError):
            await losing

    def executed(self) -> list[int]:
        """The items whose Runs were executed."""
        return sorted(int(attempt.run_id.rpartition("-")[2]) for attempt in self.lab.attempts)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a piece go on until all of its Runs have ended, however slow the host is."""
    monkeypatch.setattr(piece_module, "_AFTER_END", DEADLINE)
    monkeypatch.setattr(piece_module, "_AFTER_LAST_ITEM", DEADLINE)


@pytest.fixture
async def bench(job_lab: JobLab, name: str) -> AsyncIterator[Bench]:
    job_run_id = names.job_run_id(name.ljust(names.JOB_RUN_TOKEN_LENGTH, "x")[-names.JOB_RUN_TOKEN_LENGTH :])
    definition = await job_lab.define(items(6), max_concurrent_requests=3)
    plan = await job_lab.job_run_activities().prepare_job_run(
        PrepareJobRunInput(
            workspace=WORKSPACE,
            project=job_lab.project,
            job_id=definition.job_id,
            job_run_id=job_run_id,
            definition=definition.ref,
        )
    )
    yield Bench(job_lab, job_run_id, plan)
    for number in range(plan.payload_count):
        if await Bench(job_lab, job_run_id, plan).runs.exists(number):
            await job_lab.client.get_workflow_handle(names.job_item_run_id(job_run_id, number)).cancel()


ALL = JobRunProgress(total=6, next=6, succeeded=6, shards=1)


async def test_a_second_try_comes_to_the_same_and_executes_nothing_again(bench: Bench) -> None:
    first = await bench.execute(try_number=1)
    second = await bench.execute(try_number=2)
    assert first.progress == second.progress == ALL
    assert bench.executed() == list(range(6))
    assert len(await bench.lab.results(bench.id)) == 6


async def test_a_try_that_was_lost_midway_is_completed_by_the_next(bench: Bench) -> None:
    bench.lab.on_attempt = until_canceled
    await bench.lose(started=3)
    bench.lab.on_attempt = echo
    for number in range(3):
        await bench.runs.terminate(number)
    second = await bench.execute(try_number=2)
    assert second.progress == JobRunProgress(total=6, next=6, succeeded=3, failed=3, shards=1)
    assert bench.executed() == list(range(6))
    assert len(await bench.lab.results(bench.id)) == 6


async def test_added_items_are_left_to_the_next_piece_and_stored_once(bench: Bench) -> None:
    async def adds_one(attempt: AttemptInput) -> AttemptOutcome:
        assert attempt.parameters.text is not None
        return extending(await echo(attempt), {"of": json.loads(attempt.parameters.text)["n"]})

    bench.lab.on_attempt = adds_one
    for try_number in (1, 2):
        grown = await bench.execute(try_number=try_number)
        assert grown.progress == ALL.model_copy(update={"total": 12})
    assert bench.executed() == list(range(6))
    added = JobItems(bench.plan, bench.lab.store)
    assert sorted([(await added.get(number)).parameters["of"] for number in range(6, 12)]) == list(range(6))

    bench.lab.on_attempt = echo
    last = await bench.execute(piece=2, progress=grown.progress)
    assert last.progress == JobRunProgress(total=12, next=12, succeeded=12, shards=2)
    assert bench.executed() == list(range(12))


async def test_what_a_lost_piece_has_stored_counts_only_once(bench: Bench) -> None:
    await bench.execute(piece=1, try_number=3)
    again = await bench.execute(piece=2, try_number=1)
    assert again.progress == ALL
    found = [key async for key in bench.lab.store.list(object_keys.job_run_results(bench.lab.project, bench.id))]
    assert len(found) == 2
    assert len(await bench.lab.results(bench.id)) == 6


@pytest.mark.parametrize("mode", [JobItemsMode.DRAIN, JobItemsMode.TERMINATE])
async def test_runs_that_a_lost_piece_has_started_are_found(bench: Bench, mode: JobItemsMode) -> None:
    bench.lab.on_attempt = until_canceled
    await bench.lose(started=3)
    piece = bench.piece(piece=2, mode=mode, follows_lost_piece=True)
    executing = asyncio.create_task(piece.execute())
    if mode is JobItemsMode.DRAIN:
        for number in range(3):
            await bench.runs.terminate(number)
    result = await executing
    assert result.progress == JobRunProgress(total=6, next=3, failed=3, shards=1)
    assert bench.lab.running == 0
    assert bench.executed() == [0, 1, 2]


@pytest.mark.parametrize(("mode", "executed"), [(JobItemsMode.DRAIN, [0, 1, 2]), (JobItemsMode.TERMINATE, [0, 2])])
async def test_items_between_found_runs_are_not_forgotten(
    bench: Bench, mode: JobItemsMode, executed: list[int]
) -> None:
    added = JobItems(bench.plan, bench.lab.store)
    for number in (0, 2):
        await bench.runs.start(number, await added.get(number))
        await bench.runs.wait(number)
    result = await bench.execute(piece=2, mode=mode, follows_lost_piece=True)
    assert result.progress.next == 3
    assert result.progress.succeeded == len(executed)
    assert bench.executed() == executed


async def test_without_a_lost_piece_nothing_is_looked_for(bench: Bench) -> None:
    await bench.runs.start(0, await JobItems(bench.plan, bench.lab.store).get(0))
    result = await bench.execute(mode=JobItemsMode.DRAIN)
    assert result.progress == bench.begin


async def test_a_first_piece_ends_as_soon_as_runs_have_started(bench: Bench) -> None:
    bench.lab.on_attempt = until_canceled
    result = await bench.execute(is_first=True)
    assert result.progress == JobRunProgress(total=6, next=3, in_flight=(0, 1, 2))


async def test_a_piece_that_is_stopped_returns_what_it_has_come_to(bench: Bench) -> None:
    bench.lab.on_attempt = until_canceled
    piece = bench.piece()
    executing = asyncio.create_task(piece.execute())
    await until(lambda: bench.lab.running == 3)
    piece.stop()
    assert (await executing).progress == JobRunProgress(total=6, next=3, in_flight=(0, 1, 2))


async def test_a_store_that_fails_for_a_while_delays_and_loses_nothing(bench: Bench) -> None:
    refused: list[str] = []

    def refuse(key: str) -> bool:
        refused.append(key)
        return refused.count(key) < 3

    bench.lab.store.refuse = refuse
    result = await bench.execute()
    bench.lab.store.refuse = lambda _key: False
    assert result.progress == ALL
    assert len(await bench.lab.results(bench.id)) == 6
    assert bench.executed() == list(range(6))


async def test_a_run_whose_login_is_not_good_ends_the_piece(bench: Bench) -> None:
    plan = bench.plan.model_copy(update={"auth": auth(BAD)})
    bench = Bench(bench.lab, bench.id, plan)
    result = await bench.execute()
    assert result.is_login_bad
    assert result.progress.next == 3
    assert result.progress.failed >= 1
    assert bench.executed() == []
    line = (await bench.lab.results(bench.id))[0]
    assert line["authSession"] == {"id": BAD}
    assert line["apiInfo"]["reason"]["type"] == "auth-session-validate-dependency-failed"


async def test_an_end_that_cannot_be_decrypted_here_is_left_to_another_try(bench: Bench) -> None:
    class WithoutKey:
        async def wait(self, _run_id: str, _within: timedelta) -> RunOutcome:
            raise ConfigurationError("A payload was encrypted with another key.")

    waits = cast("RunWaits", WithoutKey())
    runs = ItemRuns(
        bench.plan, client=bench.lab.client, store=bench.lab.store, ring=RING, waits=waits, dev_projects=None
    )
    with pytest.raises(Unavailable, match="encrypted with another key"):
        await runs.wait(0)
