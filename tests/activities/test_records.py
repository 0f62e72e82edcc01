"""`attempt.json`: written, read, and completed for an Attempt whose worker could not do it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.orders import LostActivity, StopActivity
from activities.records import Records
from activities.ticket import Tickets
from contract.errors import StoreError
from contract.flow.attempt import AttemptRecord, AttemptStatus, LostInput, StopInput
from contract.flow.run import ErrorCode, RunError
from tests.activities.bench import TestStore, failing

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WITHIN = timedelta(seconds=5)
KEY = "runs/shop/run-1/attempts/2/attempt.json"


@pytest.fixture
def store(tmp_path: Path) -> TestStore:
    return TestStore(tmp_path)


def record(status: AttemptStatus, **fields: object) -> AttemptRecord:
    return AttemptRecord.model_validate({"run_id": "run-1", "number": 2, "status": status, **fields})


def lost(cause: str = "The worker was lost.") -> LostInput:
    return LostInput(workspace="w", run_id="run-1", number=2, project="shop", cause=cause)


async def test_a_record_lies_beside_what_its_attempt_leaves(store: TestStore) -> None:
    error = RunError(code=ErrorCode.SCRIPT_TIMEOUT, category="execution", message="too long")
    written = record(AttemptStatus.FAILED, started_at=AT, ended_at=AT, machine="shop-1-1", worker="w", error=error)
    await Records(store).write("shop", written, within=WITHIN)
    assert await Records(store).read("shop", "run-1", 2) == written
    told = json.loads(await store.get(KEY) or b"")
    assert told["status"] == "failed"
    assert told["started_at"] == "2026-01-02T03:04:05Z"
    assert "browser_version" not in told, "what is not known is not told"


async def test_there_may_be_no_record(store: TestStore) -> None:
    assert await Records(store).read("shop", "run-1", 2) is None


async def test_a_store_that_fails_for_a_moment_costs_no_record(store: TestStore) -> None:
    store.refuse = failing(2, "attempt.json")
    await Records(store).write("shop", record(AttemptStatus.COMPLETED), within=WITHIN)
    assert [key for key, _ in store.writes] == [KEY]
    assert store.tries.count(KEY) == 3


async def test_a_store_that_goes_on_failing_costs_the_record_and_no_more(store: TestStore) -> None:
    store.refuse = lambda _key: True
    await Records(store).write("shop", record(AttemptStatus.COMPLETED), within=timedelta(seconds=0.3))
    store.refuse = lambda _key: False
    assert await Records(store).read("shop", "run-1", 2) is None


async def test_a_lost_attempt_keeps_what_its_worker_had_written(store: TestStore) -> None:
    begun = record(AttemptStatus.STARTED, started_at=AT, machine="shop-1-1", worker="gone")
    await Records(store).write("shop", begun, within=WITHIN)
    await LostActivity(store).record_lost(lost())
    known = await Records(store).read("shop", "run-1", 2)
    assert known
    assert known.ended_at
    assert known.ended_at > AT
    assert known.error
    assert (known.error.code, known.error.message) == (ErrorCode.SCRIPT_PROCESS_CRASHED, "The worker was lost.")
    assert known == begun.model_copy(
        update={"status": AttemptStatus.INTERRUPTED, "ended_at": known.ended_at, "error": known.error}
    )


async def test_a_lost_attempt_of_which_nothing_was_written_gets_a_record(store: TestStore) -> None:
    await LostActivity(store).record_lost(lost())
    known = await Records(store).read("shop", "run-1", 2)
    assert known
    assert (known.run_id, known.number, known.status) == ("run-1", 2, AttemptStatus.INTERRUPTED)


@pytest.mark.parametrize("status", [status for status in AttemptStatus if status is not AttemptStatus.STARTED])
async def test_an_end_that_the_worker_recorded_itself_stays(store: TestStore, status: AttemptStatus) -> None:
    ended = record(status, ended_at=AT)
    await Records(store).write("shop", ended, within=WITHIN)
    await LostActivity(store).record_lost(lost())
    assert await Records(store).read("shop", "run-1", 2) == ended


async def test_what_cannot_be_read_is_not_written_over(store: TestStore) -> None:
    store.refuse = lambda _key: True
    with pytest.raises(StoreError):
        await LostActivity(store).record_lost(lost())
    assert store.writes == []


async def test_an_order_to_stop_what_is_not_here_is_answered_with_no() -> None:
    assert await StopActivity(Tickets()).stop_attempt(StopInput(run_id="run-1", number=1)) is False
