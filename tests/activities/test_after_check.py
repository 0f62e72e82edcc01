"""Activity `attempt_after_check` on a real Temporal, with a real store, real Machines and a real browser.

The activity is called as a worker calls it; its Run is there, and nobody works on it: so all that it is told is seen.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities import after_check, announcement
from activities import attempt as attempt_module
from contract.flow import names
from contract.flow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    NO_LOGIN,
    AttemptKind,
    AttemptStatus,
    FailedTry,
    StopInput,
)
from contract.flow.auth import AuthSessionRef
from contract.flow.auth_session import (
    AttemptAfterCheckOutcome,
    CheckGood,
    CheckStarted,
)
from contract.flow.run import ErrorCode, RunOutcome, RunStatus, RunType
from engine.listing import line_of
from machines.machine import Begun
from machines.order import Order, Report, Version
from storage import keys
from tests.activities.checking import NUMBER, PROJECT, SOON, Scene, Served, SlowToTell, serving
from tests.activities.test_logins import SESSION
from tests.polling import until
from tests.workflows.logins import LoginStage


@pytest.fixture(scope="module")
async def served(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serving(client, tmp_path_factory.mktemp("bench")) as served:
        yield served


@pytest.fixture(autouse=True)
def unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the host is: a check says nothing of its start, unless a test wants it to."""
    monkeypatch.setattr(announcement, "ANNOUNCE_AFTER", 3600)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch, unannounced: None) -> None:
    monkeypatch.setattr(announcement, "ANNOUNCE_AFTER", 0)


@pytest.fixture
async def scene(served: Served, client: Client, name: str) -> AsyncGenerator[Scene]:
    shutil.rmtree(served.site, ignore_errors=True)
    served.site.mkdir()
    store = served.bench.store
    store.refuse, store.hold = lambda _key: False, lambda _key, _data: None
    async with LoginStage(client, name) as stage:
        stage.project = PROJECT
        stage.ref = AuthSessionRef(id=name, type=stage.ref.type, owner=name)
        scene = Scene(served, stage)
        await scene.bring_up()
        yield scene
    await scene.assert_nothing_held()


@pytest.fixture
def telling(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> SlowToTell:
    telling = SlowToTell(scene.stage.client, names.CHECK_GOOD)
    monkeypatch.setattr(scene.bench.after_check, "_client", telling)
    return telling


# The check is good.


@pytest.mark.parametrize("rotated", [False, True])
async def test_after_a_good_check_the_attempt_begins_with_the_login_that_it_has_left(
    scene: Scene, rotated: bool
) -> None:
    if rotated:
        scene.set("rotate")
    outcome = await scene.begin()
    session = "rotated" if rotated else SESSION
    assert (outcome.check.status, outcome.check.number, outcome.recorded) == (AttemptStatus.COMPLETED, 1, True)
    assert outcome.check.login
    assert (outcome.check.login.key == scene.first.key) is not rotated
    (cookie,) = json.loads(await scene.opened(outcome.check.login.key))["cookies"]
    assert cookie["value"] == session
    assert outcome.attempt
    assert outcome.attempt.result
    assert (outcome.attempt.status, outcome.attempt.result.text) == (AttemptStatus.COMPLETED, f'["{session}"]')


async def test_both_leave_a_record_and_what_belongs_to_it(scene: Scene) -> None:
    outcome = await scene.begin()
    check, attempt = await scene.check_record(), await scene.attempt_record()
    assert check
    assert attempt
    assert (check.kind, check.status, check.number) == ("check", AttemptStatus.COMPLETED, 1)
    assert (attempt.kind, attempt.status, attempt.number) == ("api", AttemptStatus.COMPLETED, NUMBER)
    assert check.machine == attempt.machine
    assert scene.files(scene.validate_id, 1) == ["attempt.json", "log.jsonl", "trace.zip"]
    assert scene.files(scene.run_id, NUMBER) == ["attempt.json", "log.jsonl", "trace.zip"]
    assert check.queued_at
    assert check.started_at
    assert check.ended_at
    assert outcome.check.ended_at
    assert attempt.started_at
    assert attempt.ended_at
    assert check.queued_at <= check.started_at <= check.ended_at <= outcome.check.ended_at
    assert attempt.queued_at == outcome.check.ended_at, "the Attempt waits from then on, and for nobody else"
    assert outcome.check.ended_at <= attempt.started_at <= attempt.ended_at
    assert outcome.check.started_at == check.started_at
    assert outcome.attempt
    assert outcome.attempt.started_at == attempt.started_at


async def test_a_validate_is_started_that_was_completed_by_the_check(scene: Scene) -> None:
    outcome = await scene.begin()
    at_once = await scene.validate()
    handle = scene.stage.client.get_workflow_handle(scene.validate_id, result_type=RunOutcome)
    validated = await handle.result()
    assert (validated.status, validated.login, validated.attempts) == (RunStatus.COMPLETED, outcome.check.login, 1)
    events = [event.event_type for event in await scene.stage.events(scene.validate_id)]
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED not in events
    assert at_once
    assert outcome.check.started_at
    for described in (at_once, await handle.describe()):
        line = await line_of(described)
        assert (line.type, line.status, line.project) == (RunType.AUTH_SESSION_VALIDATE, RunStatus.COMPLETED, PROJECT)
        assert (line.version, line.attempts, line.cause) == (scene.order.attempt.version, 1, None)
        assert (line.auth_session_id, line.parent_run_id) == (scene.stage.ref.id, scene.run_id)
        assert (line.started_at, line.ended_at) == (outcome.check.started_at, outcome.check.ended_at)
        assert line.started_at == line.created_at < described.start_time
    assert await scene.told() == [], "a check that is good in no time costs the Run no step"


async def test_the_machine_of_a_check_is_told_that_an_attempt_follows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, told = scene.bench.pools.of(PROJECT), list[tuple[AttemptKind, bool]]()
    run = pool.run

    async def listen(version: Version, order: Order, on_begun: Callable[[Begun], None]) -> Report:
        told.append((order.kind, order.gives_way))
        return await run(version, order, on_begun)

    monkeypatch.setattr(pool, "run", listen)
    await scene.begin()
    assert told == [(AttemptKind.CHECK, True), (AttemptKind.API, False)]
    told.clear()
    await scene.temporal.run(scene.bench.attempt.attempt, scene.order.check)
    assert told == [(AttemptKind.CHECK, False)], "none does, after one by itself"


# It is not.


@pytest.mark.parametrize(
    ("how", "code"), [("bad", ErrorCode.AUTH_CHECK_FAILED), ("raise", ErrorCode.SCRIPT_EXECUTION_EXCEPTION)]
)
async def test_a_check_that_is_not_good_fails_as_by_itself_and_there_is_no_attempt(
    scene: Scene, how: str, code: ErrorCode
) -> None:
    scene.set(how)
    error = await scene.fails()
    assert error.type == ATTEMPT_FAILED
    failed = FailedTry.model_validate(error.details[0])
    assert (failed.number, failed.login, failed.error.code) == (1, 1, code)
    record = await scene.check_record()
    assert record
    assert (record.status, record.error, record.started_at) == (AttemptStatus.FAILED, failed.error, failed.started_at)
    await assert_no_attempt(scene)

    by_itself = asyncio.ensure_future(scene.temporal.run(scene.bench.attempt.attempt, scene.order.check))
    alone = await scene.fails(by_itself)
    assert (error.type, error.message, error.non_retryable) == (alone.type, alone.message, alone.non_retryable)
    assert failed == FailedTry.model_validate(alone.details[0]).model_copy(update={"started_at": failed.started_at})


async def test_where_there_is_no_login_to_check_there_is_no_attempt(scene: Scene) -> None:
    await scene.bench.store.delete(scene.first.key)
    error = await scene.fails()
    assert (error.type, error.details, error.non_retryable) == (NO_LOGIN, (1, 1), True)
    record = await scene.check_record()
    assert record
    assert (record.status, record.error and record.error.code) == (AttemptStatus.FAILED, ErrorCode.AUTH_CHECK_FAILED)
    assert not scene.has_begun("check")
    await assert_no_attempt(scene)


async def assert_no_attempt(scene: Scene) -> None:
    """Nor a Validate: that is the Run's to start, or it has."""
    assert not scene.has_begun("attempt")
    assert await scene.attempt_record() is None
    assert await scene.validate() is None
    assert names.CHECK_GOOD not in await scene.told()


# It takes more than a moment.


async def test_the_run_hears_of_a_check_that_takes_long_and_that_it_was_good(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement, "ANNOUNCE_AFTER", 0.1)
    scene.set("hold-check")
    activity = scene.begin()
    await scene.began("check")
    await scene.until_told(names.CHECK_STARTED)
    started = await scene.note(names.CHECK_STARTED, CheckStarted)
    assert (started.number, started.check.number, started.check.worker) == (NUMBER, 1, "checking")
    scene.set("hold-attempt")
    scene.let("check")
    await scene.began("attempt")
    assert (await scene.told())[:2] == [names.CHECK_STARTED, names.CHECK_GOOD]
    monkeypatch.setattr(announcement, "ANNOUNCE_AFTER", 3600)
    scene.let("attempt")
    outcome = await activity
    assert await scene.note(names.CHECK_GOOD, CheckGood) == CheckGood(number=NUMBER, check=outcome.check)
    assert (outcome.attempt and outcome.attempt.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert await scene.validate() is None, "its Run has started it"


async def test_no_attempt_begins_before_the_run_knows_that_its_check_was_good(
    scene: Scene, announced: None, telling: SlowToTell
) -> None:
    activity = await good_after_it_was_announced(scene)
    await telling.asked.wait()
    await until_recorded(scene)
    assert not scene.attempt_is_noted
    telling.go.set()
    outcome = await activity
    assert outcome.attempt
    assert outcome.attempt.status is AttemptStatus.COMPLETED


async def test_the_run_hears_of_a_check_that_takes_long_and_is_not_good_by_its_error(
    scene: Scene, announced: None
) -> None:
    scene.set("hold-check")
    scene.set("bad")
    activity = scene.begin()
    await scene.until_told(names.CHECK_STARTED)
    scene.let("check")
    assert (await scene.fails(activity)).type == ATTEMPT_FAILED
    assert await scene.told() == [names.CHECK_STARTED]
    await assert_no_attempt(scene)


async def test_where_the_run_cannot_be_told_there_is_no_attempt(scene: Scene, announced: None) -> None:
    scene.set("hold-check")
    activity = scene.begin()
    await scene.until_told(names.CHECK_STARTED)
    await scene.stage.handle.terminate()
    scene.let("check")
    error = await scene.fails(activity)
    assert (error.type, error.details, error.non_retryable) == (INTERRUPTED, (scene.validate_id, 1), True)
    assert await scene.check_status() is AttemptStatus.COMPLETED
    await assert_no_attempt(scene)


async def good_after_it_was_announced(scene: Scene) -> asyncio.Task[AttemptAfterCheckOutcome]:
    scene.set("hold-check")
    activity = scene.begin()
    await scene.until_told(names.CHECK_STARTED)
    scene.let("check")
    return activity


async def until_recorded(scene: Scene) -> None:
    async def recorded() -> bool:
        return await scene.check_status() is AttemptStatus.COMPLETED

    await until(recorded)


# What the check leaves is stored meanwhile.


@pytest.mark.parametrize("file", ["log.jsonl", "attempt.json"])
async def test_an_attempt_does_not_wait_for_what_the_check_leaves(scene: Scene, file: str) -> None:
    held = asyncio.Event()
    slow = keys.attempt(PROJECT, scene.validate_id, 1, file)
    scene.bench.store.hold = lambda key, _data: held if key == slow else None
    activity = scene.begin()

    async def attempt_has_ended() -> bool:
        return await scene.attempt_status() is AttemptStatus.COMPLETED

    await until(attempt_has_ended)
    assert await scene.check_status() is None
    assert await scene.validate() is None, "there is none before what it leaves is stored"
    assert not activity.done()
    held.set()
    outcome = await activity
    assert outcome.recorded
    assert await scene.check_status() is AttemptStatus.COMPLETED
    assert scene.files(scene.validate_id, 1) == ["attempt.json", "log.jsonl", "trace.zip"]
    assert await scene.validate()


@pytest.mark.parametrize("file", ["log.jsonl", "attempt.json"])
async def test_a_store_that_does_not_take_it_costs_that_and_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    for patience in ("RECORD_PATIENCE", "EVIDENCE_PATIENCE"):
        monkeypatch.setattr(attempt_module, patience, SOON)
    refused = keys.attempt(PROJECT, scene.validate_id, 1, file)
    scene.bench.store.refuse = lambda key: key == refused
    outcome = await scene.begin()
    assert (outcome.attempt and outcome.attempt.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert file not in scene.files(scene.validate_id, 1)
    assert scene.files(scene.run_id, NUMBER) == ["attempt.json", "log.jsonl", "trace.zip"]
    assert await scene.validate()


# There cannot be a Validate.


async def test_where_there_is_a_validate_already_the_attempt_is_stopped(scene: Scene) -> None:
    """This worker was taken for dead, and another one has made the check, too."""
    scene.set("hold-attempt")
    await scene.stage.validate(scene.validate_id)
    error = await scene.fails()
    assert (error.type, error.details, error.non_retryable) == (INTERRUPTED, (scene.run_id, NUMBER), True)
    assert error.message == f"There is a Validate {scene.validate_id} already."
    record = await scene.attempt_record()
    assert record
    assert (record.status, record.error and record.error.message) == (AttemptStatus.INTERRUPTED, error.message)


async def test_an_attempt_that_is_over_by_then_stands(scene: Scene) -> None:
    held = asyncio.Event()
    slow = keys.attempt(PROJECT, scene.validate_id, 1, "attempt.json")
    scene.bench.store.hold = lambda key, _data: held if key == slow else None
    await scene.stage.validate(scene.validate_id)
    activity = scene.begin()

    async def attempt_has_ended() -> bool:
        return await scene.attempt_status() is AttemptStatus.COMPLETED

    await until(attempt_has_ended)
    held.set()
    outcome = await activity
    assert (outcome.attempt and outcome.attempt.status, outcome.recorded) == (AttemptStatus.COMPLETED, False)


async def test_one_that_temporal_does_not_start_is_left_to_the_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object) -> None:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    monkeypatch.setattr(after_check, "start_good", away)
    outcome = await scene.begin()
    assert (outcome.attempt and outcome.attempt.status, outcome.recorded) == (AttemptStatus.COMPLETED, False)
    assert await scene.check_status() is AttemptStatus.COMPLETED


# It is stopped.


def by_order(run_id: Callable[[Scene], str], number: int) -> Callable[[Scene], Any]:
    async def stop(scene: Scene) -> bool:
        return await scene.bench.stop.stop_attempt(StopInput(run_id=run_id(scene), number=number))

    return stop


async def by_temporal(scene: Scene) -> None:
    scene.temporal.cancel(ActivityCancellationDetails(cancel_requested=True))


by_run = by_order(lambda scene: scene.run_id, NUMBER)
by_validate = by_order(lambda scene: scene.validate_id, 1)


@pytest.mark.parametrize("stop", [by_run, by_validate, by_temporal], ids=["run", "validate", "temporal"])
async def test_a_cancel_in_the_check_stops_it_and_there_is_no_attempt(
    scene: Scene, stop: Callable[[Scene], Any]
) -> None:
    scene.set("hold-check")
    activity = scene.begin()
    await scene.began("check")
    assert await stop(scene) in (True, None)
    outcome = await activity
    assert (outcome.check.status, outcome.attempt, outcome.recorded) == (AttemptStatus.CANCELED, None, False)
    assert await scene.check_status() is AttemptStatus.CANCELED
    await assert_no_attempt(scene)


@pytest.mark.parametrize("stop", [by_run, by_temporal], ids=["run", "temporal"])
async def test_a_cancel_between_the_two_stops_the_attempt_before_it_begins(
    scene: Scene, announced: None, telling: SlowToTell, stop: Callable[[Scene], Any]
) -> None:
    activity = await good_after_it_was_announced(scene)
    await telling.asked.wait()
    await stop(scene)
    await until(lambda: scene.bench.tickets._held[scene.run_id, NUMBER].cause)
    telling.go.set()
    outcome = await activity
    assert (outcome.check.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert outcome.attempt
    assert outcome.attempt.status is AttemptStatus.CANCELED
    assert await scene.attempt_status() is AttemptStatus.CANCELED
    assert not scene.has_begun("attempt")


@pytest.mark.parametrize("stop", [by_run, by_temporal], ids=["run", "temporal"])
async def test_a_cancel_in_the_attempt_stops_it_and_the_check_stands(
    scene: Scene, stop: Callable[[Scene], Any]
) -> None:
    scene.set("hold-attempt")
    activity = scene.begin()
    await scene.began("attempt")
    await stop(scene)
    outcome = await activity
    assert (outcome.check.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert outcome.attempt
    assert outcome.attempt.status is AttemptStatus.CANCELED
    assert (await scene.check_status(), await scene.attempt_status()) == (
        AttemptStatus.COMPLETED,
        AttemptStatus.CANCELED,
    )
    assert await scene.validate()


async def test_a_cancel_of_the_validate_after_its_check_was_good_stops_nothing(scene: Scene) -> None:
    held = asyncio.Event()
    slow = keys.attempt(PROJECT, scene.validate_id, 1, "attempt.json")
    scene.bench.store.hold = lambda key, _data: held if key == slow else None
    scene.set("hold-attempt")
    activity = scene.begin()
    await scene.began("attempt")
    await by_validate(scene)  # as the check is written down
    held.set()

    async def there() -> bool:
        return await scene.validate() is not None

    await until(there)
    assert not await by_validate(scene)
    scene.let("attempt")
    outcome = await activity
    assert (outcome.check.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert outcome.attempt
    assert outcome.attempt.status is AttemptStatus.COMPLETED
    assert await scene.check_status() is AttemptStatus.COMPLETED


# Its worker lets it go.


async def test_a_check_that_its_worker_lets_go_says_that_it_was_the_check(scene: Scene) -> None:
    scene.set("hold-check")
    activity = scene.begin()
    await scene.began("check")
    scene.bench.tickets.interrupt_all("The worker was stopped before the Attempt ended.")
    error = await scene.fails(activity)
    assert (error.type, error.details) == (INTERRUPTED, (scene.validate_id, 1))
    assert await scene.check_status() is AttemptStatus.INTERRUPTED
    await assert_no_attempt(scene)


async def test_an_attempt_that_its_worker_lets_go_says_that_it_was_the_attempt(scene: Scene) -> None:
    scene.set("hold-attempt")
    activity = scene.begin()
    await scene.began("attempt")
    scene.bench.tickets.interrupt_all("The worker was stopped before the Attempt ended.")
    error = await scene.fails(activity)
    assert (error.type, error.details, error.non_retryable) == (INTERRUPTED, (scene.run_id, NUMBER), True)
    assert (await scene.check_status(), await scene.attempt_status()) == (
        AttemptStatus.COMPLETED,
        AttemptStatus.INTERRUPTED,
    )
    assert await scene.validate(), "the check was good, whatever became of the Attempt"


async def test_what_is_let_go_between_the_two_counts_as_the_attempt(
    scene: Scene, announced: None, telling: SlowToTell
) -> None:
    activity = await good_after_it_was_announced(scene)
    await telling.asked.wait()
    scene.bench.tickets.interrupt_all("The worker was stopped before the Attempt ended.")
    telling.go.set()
    error = await scene.fails(activity)
    assert (error.type, error.details) == (INTERRUPTED, (scene.run_id, NUMBER))
    assert not scene.has_begun("attempt")


# The Attempt cannot begin.


@pytest.mark.parametrize("session", ["there", "deleted"])
async def test_an_attempt_whose_login_is_gone_by_then_has_failed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    """It is no error of the activity: that would be the check's."""
    scene.set("rotate")
    scene.set("hold-check")
    activity = scene.begin()
    await scene.began("check")
    read = scene.bench.store.get

    async def get(key: str) -> bytes | None:
        return None if "/state-" in key else await read(key)

    monkeypatch.setattr(scene.bench.store, "get", get)
    if session == "deleted":
        await scene.stage.session.terminate()
    scene.let("check")
    outcome = await activity
    assert (outcome.check.status, outcome.recorded) == (AttemptStatus.COMPLETED, True)
    assert outcome.attempt
    assert outcome.attempt.error
    assert (outcome.attempt.status, outcome.attempt.error.code) == (AttemptStatus.FAILED, ErrorCode.AUTH_CHECK_FAILED)
    record = await scene.attempt_record()
    assert record
    assert (record.status, record.error) == (AttemptStatus.FAILED, outcome.attempt.error)
    assert not scene.has_begun("attempt")
