"""Activity `attempt` where things come at the same time: a scripted Machine, a store that is slow when it must be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import attempt_activities
from callboard.machines.attempt_spec import Proxy, masker_for
from callboard.schemas.workflow.attempt import (
    INTERRUPTED,
    PREPARES,
    AttemptOutcome,
    AttemptStarted,
    AttemptStatus,
    AttemptVariable,
    AttemptVariables,
    InterruptedInput,
    SealedVariables,
    VariableSource,
)
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.proxy import SealedProxy
from tests.support.attempt_worker import AT, AttemptWorker, ScriptedPool, attempt_input, deploy_project, open_bench
from tests.support.polling import until
from tests.support.present import present

PROJECT = "scripted"


class Scene:
    """One Attempt."""

    def __init__(self, client: Client, bench: AttemptWorker, pool: ScriptedPool, version: str) -> None:
        self.bench = bench
        self.pool = pool
        self.temporal = ActivityEnvironment(client=client)
        self.temporal.info = replace(self.temporal.info, started_time=AT)
        self.input = attempt_input("run-1", project=PROJECT, version=version)
        self.held = asyncio.Event()

    def begin(self) -> asyncio.Task[AttemptOutcome]:
        async def run() -> AttemptOutcome:
            return await self.temporal.run(self.bench.attempt.attempt, self.input)

        return asyncio.create_task(run())

    def hold_record(self, status: str) -> None:
        """A record of this status takes until `held`, once the store has it."""
        self.bench.store.hold = lambda key, data: self.held if _is_record(key) and _status(data) == status else None

    async def until_written(self, status: str) -> None:
        await until(lambda: status in self.given)

    @property
    def given(self) -> list[str]:
        """The records that the store was given."""
        return [_status(data) for key, data in self.bench.store.given if _is_record(key)]

    @property
    def written(self) -> list[str]:
        """The records as they were written, one over the other."""
        return [_status(data) for key, data in self.bench.store.writes if _is_record(key)]


def _is_record(key: str) -> bool:
    return key.endswith("attempt.json")


def _status(data: bytes) -> str:
    return json.loads(data)["status"]


@pytest.fixture
async def scene(client: Client, tmp_path: Path) -> AsyncGenerator[Scene]:
    pool = ScriptedPool()
    pool.report = {"result": "1", "attributes": {"seen": 3}}
    async with open_bench(tmp_path, client, "scripted", pool) as bench:
        version = await deploy_project(bench.store, tmp_path / "project", PROJECT)
        bench.store.writes.clear()
        bench.store.given.clear()
        yield Scene(client, bench, pool, version)
        assert list(bench.running_attempts) == []
        assert bench.notes() == []


@pytest.fixture
def announced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_activities, "SIGNAL_AFTER", 0)


@pytest.fixture
def never_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every Attempt a quick one, however busy this host is."""
    monkeypatch.setattr(attempt_activities, "SIGNAL_AFTER", 3600)


async def test_a_quick_attempt_writes_one_record(scene: Scene, never_announced: None) -> None:
    outcome = await scene.begin()
    assert (outcome.status, outcome.result) == (AttemptStatus.COMPLETED, JsonRef(text="1", size=1))
    assert [key.rpartition("/")[2] for key, _ in scene.bench.store.writes] == ["log.jsonl", "attempt.json"]
    record = present(await scene.bench.record(PROJECT, "run-1"))
    assert (record.started_at, record.attributes) == (outcome.started_at, {"seen": 3})


async def test_finds_a_stored_outcome_that_temporal_never_heard_of(scene: Scene, never_announced: None) -> None:
    outcome = await scene.begin()
    execution_id = present(scene.temporal.info.workflow_run_id)
    lost = InterruptedInput.of(scene.input, 1, cause="The worker was lost.", execution_id=execution_id)
    assert await scene.bench.artifacts.record_interrupted(lost) == outcome


async def test_takes_its_times_from_temporal_not_from_the_host_clock(scene: Scene, never_announced: None) -> None:
    outcome = await scene.begin()
    ended_at = present(present(await scene.bench.record(PROJECT, "run-1")).ended_at)
    accepted = scene.temporal.info.started_time
    assert accepted <= present(outcome.started_at) <= ended_at < accepted + timedelta(days=1)


async def test_variables_reach_user_code_alone_and_the_record_names_them(scene: Scene, never_announced: None) -> None:
    given = AttemptVariables(
        variables=(
            AttemptVariable(name="SHOP_KEY", value="hunter2-hunter2", secret=True, source=VariableSource.PROJECT),
            AttemptVariable(name="SHOP_URL", value="https://shop.test", secret=False, source=VariableSource.WORKSPACE),
        )
    )
    scene.pool.report = {
        "result": '{"Bearer hunter2-hunter2":[1.0,"\\u00e9"]}',
        "extended_payloads": '["hunter2-hunter2"]',
        "attributes": {"seen": 3, "key": "hunter2-hunter2"},
    }
    text = given.model_dump_json(exclude_none=True)
    token = scene.bench.keyring.seal(text, bound_to="w/scripted/run-1/variables")
    await scene.bench.store.put("runs/scripted/run-1/variables-x.sealed", token.encode())
    for sealed in (SealedVariables(token=token), SealedVariables(key="runs/scripted/run-1/variables-x.sealed")):
        scene.input = scene.input.model_copy(update={"variables": sealed})
        outcome = await scene.begin()
        texts = [present(each).text for each in (outcome.result, outcome.extended_payloads)]
        assert texts == ['{"Bearer ***":[1.0,"\\u00e9"]}', '["***"]']
        spec = scene.pool.executed.pop()[1].spec
        assert spec.variables == (("SHOP_KEY", "hunter2-hunter2"), ("SHOP_URL", "https://shop.test"))
        assert (
            masker_for(spec).mask_text("it is hunter2-hunter2 of https://shop.test") == "it is *** of https://shop.test"
        )
        assert "hunter2" not in repr(spec) + repr(scene.input)
        record = present(await scene.bench.record(PROJECT, "run-1"))
        assert (record.variables, record.attributes) == (given.recorded, {"seen": 3, "key": "***"})
    assert all(b"hunter2" not in data for _, data in scene.bench.store.writes)


async def test_variables_of_another_run_are_not_opened(scene: Scene, never_announced: None) -> None:
    token = scene.bench.keyring.seal(AttemptVariables().model_dump_json(), bound_to="w/scripted/run-2/variables")
    scene.input = scene.input.model_copy(update={"variables": SealedVariables(token=token)})
    with pytest.raises(ApplicationError, match="could not begin"):
        await scene.begin()
    assert scene.pool.executed == []


async def test_its_run_is_not_told_that_it_has_started_before_there_is_room(
    scene: Scene, announced_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    shown: list[str] = []
    prepared = asyncio.Event()
    read = scene.bench.store.get

    async def read_slowly(key: str) -> bytes | None:
        await prepared.wait()
        return await read(key)

    async def tell(_run: object, _signal: str, started: AttemptStarted) -> None:
        told.append(started.waits)

    async def show(*details: str) -> None:
        shown.extend(details)

    monkeypatch.setattr(scene.bench.store, "get", read_slowly)
    monkeypatch.setattr(attempt_activities, "_signal", tell)
    monkeypatch.setattr(attempt_activities, "record_heartbeat", show)
    attempt = scene.begin()
    await until(lambda: shown)
    assert (told, shown, scene.given) == ([True], [PREPARES], [])
    scene.pool.go_on.clear()
    prepared.set()
    await until(lambda: scene.written == ["started"])
    assert told == [True, False]
    scene.pool.go_on.set()
    await attempt


async def test_a_longer_one_is_recorded_as_started_before(scene: Scene, announced_at_once: None) -> None:
    scene.pool.go_on.clear()
    attempt = scene.begin()
    await until(lambda: scene.written == ["started"])
    record = present(await scene.bench.record(PROJECT, "run-1"))
    assert (record.status, record.ended_at) == (AttemptStatus.STARTED, None)
    scene.pool.go_on.set()
    await attempt
    assert scene.written == ["started", "completed"]


async def test_its_machine_is_recorded_once_it_is_started(scene: Scene, announced_at_once: None) -> None:
    scene.pool.ready.clear()
    scene.pool.go_on.clear()
    attempt = scene.begin()
    await until(lambda: scene.written == ["started"])
    record = present(await scene.bench.record(PROJECT, "run-1"))
    assert (record.started_at, record.machine, record.browser_version) == (None, None, None)
    scene.pool.ready.set()
    await until(lambda: scene.written == ["started", "started"])
    record = present(await scene.bench.record(PROJECT, "run-1"))
    assert (record.machine, record.browser_version) == ("scripted-1-1", "156")
    assert record.started_at is not None
    scene.pool.go_on.set()
    await attempt


@pytest.mark.parametrize("end", [AttemptStatus.COMPLETED, AttemptStatus.CANCELED])
async def test_the_record_of_the_start_never_comes_after_that_of_the_end(
    scene: Scene, announced_at_once: None, end: AttemptStatus
) -> None:
    scene.pool.go_on.clear()
    scene.hold_record("started")
    attempt = scene.begin()
    await scene.until_written("started")
    if end is AttemptStatus.CANCELED:
        assert scene.bench.running_attempts.stop("run-1", 1)
    scene.pool.go_on.set()
    await asyncio.wait({attempt}, timeout=0.2)
    assert not attempt.done()
    scene.held.set()
    assert (await attempt).status is end
    assert scene.written == ["started", end.value]


async def test_a_cancel_by_order_and_one_by_heartbeat_are_one_cancel(scene: Scene) -> None:
    scene.pool.go_on.clear()
    scene.hold_record("canceled")
    attempt = scene.begin()
    await until(lambda: scene.pool.executed)
    assert scene.bench.running_attempts.stop("run-1", 1)
    await scene.until_written("canceled")
    scene.temporal.cancel()  # as the last record is being written
    await asyncio.wait({attempt}, timeout=0.2)
    scene.held.set()
    assert (await attempt).status is AttemptStatus.CANCELED
    assert scene.written[-1] == "canceled"


async def test_outcome_and_record_agree_when_a_cancel_comes_as_it_completes(scene: Scene) -> None:
    scene.hold_record("completed")
    attempt = scene.begin()
    await scene.until_written("completed")
    scene.temporal.cancel()
    await asyncio.wait({attempt}, timeout=0.2)
    scene.held.set()
    outcome = await attempt
    assert scene.written[-1] == outcome.status.value


@pytest.mark.parametrize(
    ("details", "message"),
    [
        (ActivityCancellationDetails(worker_shutdown=True), "The worker was stopped before the Attempt ended."),
        (ActivityCancellationDetails(not_found=True), "Temporal has given the Attempt up"),
        (ActivityCancellationDetails(timed_out=True), "Temporal has given the Attempt up"),
    ],
    ids=["shutdown", "not-found", "timed-out"],
)
async def test_what_temporal_cancels_without_having_been_asked_is_interrupted(
    scene: Scene, details: ActivityCancellationDetails, message: str
) -> None:
    scene.pool.go_on.clear()
    attempt = scene.begin()
    await until(lambda: scene.pool.executed)
    scene.temporal.cancel(details)
    with pytest.raises(ApplicationError, match=message) as caught:
        await attempt
    assert (caught.value.type, caught.value.non_retryable) == (INTERRUPTED, True)
    assert scene.written[-1] == "interrupted"


async def test_a_machine_gets_its_order_with_the_proxy_opened(scene: Scene) -> None:
    keyring = scene.bench.keyring
    bound_to = "w/scripted/run-1"
    scene.input = scene.input.model_copy(
        update={
            "parameters": JsonRef(text='{"a":1}', size=7),
            "proxy": SealedProxy(
                server="http://proxy.test:8080",
                username=keyring.seal("ada", bound_to=bound_to),
                password=keyring.seal("hunter2", bound_to=bound_to),
            ),
        }
    )
    await scene.begin()
    ((version, attempt),) = scene.pool.executed
    spec = attempt.spec
    assert (version.project, version.version) == (PROJECT, scene.input.version)
    assert (version.folder / "api" / "echo.py").is_file()
    assert (version.python, spec.variables) == (None, ()), "without an environment of its own it uses ours"
    assert (spec.run_id, spec.number, spec.api) == ("run-1", 1, "list")
    assert (spec.parameters, spec.timeout) == ('{"a":1}', timedelta(minutes=1))
    assert spec.proxy == Proxy(server="http://proxy.test:8080", username="ada", password="hunter2")
    told: dict[str, Any] = spec.run_info
    assert (told["run_id"], told["proxy"]) == ("run-1", "http://proxy.test:8080")
    assert "hunter2" not in repr(spec)
