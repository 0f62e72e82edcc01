"""Activity `attempt` on a real Temporal, with a real store, real Machines and a real browser."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import psutil
import pytest
from temporalio.api.enums.v1 import EventType

from activities import attempt_activities, heartbeat
from activities.attempts import attempt_steps
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.base import INLINE_LIMIT, JsonRef
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import ErrorCode, RunStatus
from callboard.storage import object_keys
from tests.support.attempt_worker import PROJECT, WORKER, AttemptLab
from tests.support.faulty_store import failing
from tests.support.present import present

# It ends.


async def test_an_attempt_leaves_its_outcome_and_its_record(lab: AttemptLab) -> None:
    outcome = await lab.run("echo", {"text": "é 🎭"})
    assert outcome.status is RunStatus.COMPLETED
    assert json.loads(present(present(outcome.result).text)) == {"text": "é 🎭"}
    record = await lab.record()
    assert (record.status, record.number, record.api) == (AttemptStatus.COMPLETED, 1, "echo")
    assert (record.run_id, record.version, record.worker) == (lab.stage.run_id, lab.version, WORKER)
    assert record.machine.startswith("lab-1-")
    assert record.browser_version
    assert record.error is None
    assert record.queued_at <= record.started_at <= record.ended_at
    assert lab.left() == ["attempts/1/attempt.json", "attempts/1/log.jsonl", "attempts/1/trace.zip"]


async def test_a_failed_attempt_fails_its_activity_and_records_its_error_quietly(
    lab: AttemptLab, caplog: pytest.LogCaptureFixture
) -> None:
    error = present((await lab.run("fail")).error)
    assert error.message.startswith("ValueError: the price is missing (api/")
    (told,) = [
        event.activity_task_failed_event_attributes.failure
        for event in await lab.stage.events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED
    ]
    assert (told.message, told.stack_trace) == (error.message, ""), "the outcome holds the stack of user code"
    assert [line.message for line in caplog.records if line.levelno >= logging.WARNING] == [], "user code's own error"
    record = await lab.record()
    assert record.status is AttemptStatus.FAILED
    assert (record.error.code, record.error.message) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, error.message)


@pytest.mark.parametrize("beyond", [0, 1])
async def test_a_result_beyond_what_a_history_may_hold_is_an_artifact(lab: AttemptLab, beyond: int) -> None:
    quotes = 2
    size = INLINE_LIMIT + beyond
    outcome = await lab.run("counted", {"count": str(lab.folder / "count"), "size": size - quotes})
    text = json.dumps("x" * (size - quotes))
    if not beyond:
        assert outcome.result == JsonRef(text=text, size=size)
        assert lab.left() == ["attempts/1/attempt.json", "attempts/1/log.jsonl", "attempts/1/trace.zip"]
        return
    key = object_keys.attempt(PROJECT, lab.stage.run_id, 1, "result.json")
    assert outcome.result == JsonRef(key=key, size=size)
    assert await lab.bench.store.get(key) == text.encode()
    assert lab.left() == [f"attempts/1/{name}" for name in ("attempt.json", "log.jsonl", "result.json", "trace.zip")]


async def test_big_parameters_come_from_the_store(lab: AttemptLab) -> None:
    key = object_keys.parameters(PROJECT, lab.stage.run_id, "digest")
    text = json.dumps({"text": "y" * 40_000})
    await lab.bench.store.put(key, text.encode())
    outcome = await lab.run("echo", JsonRef(key=key, size=len(text)))
    stored = await lab.bench.store.get(present(present(outcome.result).key))
    assert json.loads(present(stored)) == {"text": "y" * 40_000}


# The store fails.


async def test_a_result_that_the_store_refuses_for_a_while_is_not_computed_again(lab: AttemptLab) -> None:
    lab.bench.store.refuse = failing(3, "result.json")
    outcome = await lab.run("counted", {"count": str(lab.folder / "count"), "size": INLINE_LIMIT}, maximum_attempts=3)
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 1)
    assert sum(key.endswith("result.json") for key in lab.bench.store.tries) == 4
    assert lab.started == 1


async def test_a_result_that_cannot_be_stored_fails_its_run_for_good(
    lab: AttemptLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_steps, "ATTEMPT_STORE_TIMEOUT", timedelta(seconds=0.5))
    lab.bench.store.refuse = lambda key: key.endswith("result.json")
    outcome = await lab.run("counted", {"count": str(lab.folder / "count"), "size": INLINE_LIMIT}, maximum_attempts=3)
    error = present(outcome.error)
    assert error.code is ErrorCode.INTERNAL_SERVER_ERROR
    assert "artifact store" in error.message
    assert lab.started == 1
    assert (await lab.record()).status is AttemptStatus.FAILED


async def test_a_record_that_cannot_be_stored_fails_nothing(lab: AttemptLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_activities, "RECORD_TIMEOUT", timedelta(seconds=0.3))
    lab.bench.store.refuse = lambda key: key.endswith("attempt.json")
    assert (await lab.run("echo")).status is RunStatus.COMPLETED
    assert lab.left() == ["attempts/1/log.jsonl", "attempts/1/trace.zip"]


@pytest.mark.parametrize("missing", ["version", "parameters"])
async def test_what_the_store_has_lost_ends_the_run(lab: AttemptLab, missing: str) -> None:
    if missing == "version":
        lab.version = "0" * 16
        outcome = await lab.run("echo", maximum_attempts=3)
    else:
        key = object_keys.parameters(PROJECT, lab.stage.run_id, "digest")
        outcome = await lab.run("echo", JsonRef(key=key, size=9), maximum_attempts=3)
    error = present(outcome.error)
    assert error.code is ErrorCode.INTERNAL_SERVER_ERROR
    assert "not there any more" in error.message
    assert outcome.attempts == 1


async def test_a_proxy_that_cannot_be_opened_is_told_without_its_secret(lab: AttemptLab) -> None:
    token = lab.bench.keyring.seal("hunter2-hunter2", bound_to="w/lab/another-run")
    proxy = SealedProxy(server="http://127.0.0.1:1", username=token, password=token)
    outcome = await lab.run("echo", proxy=proxy)
    error = present(outcome.error)
    assert error.code is ErrorCode.API_ATTEMPTS_FAILED
    assert "could not begin" in error.message
    assert "hunter2" not in outcome.model_dump_json()


# It is stopped.


async def cancel(lab: AttemptLab) -> None:
    """Hold an Attempt and cancel its Run, which reads canceled only when nothing of it runs."""
    await lab.hold(maximum_attempts=3)
    await lab.until_recorded(AttemptStatus.STARTED)
    assert len(lab.bench.notes()) == 1
    running = lab.bench.user_process()
    await lab.stage.cancel()
    outcome = await lab.stage.ended()
    assert (outcome.status, outcome.attempts) == (RunStatus.CANCELED, 1)
    assert not psutil.pid_exists(running)
    record = await lab.record()
    assert (record.status, record.error) == (AttemptStatus.CANCELED, None)
    assert None not in (record.machine, record.ended_at)


async def test_a_canceled_attempt_is_stopped_by_order(lab: AttemptLab) -> None:
    lab.stage.on_stop = lab.bench.running_attempts.stop_attempt
    await lab.stage.serve_stops()
    await cancel(lab)


async def test_a_canceled_attempt_hears_it_by_its_heartbeat_too(
    lab: AttemptLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.1)
    await cancel(lab)  # nobody takes orders
