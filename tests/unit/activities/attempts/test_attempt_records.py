"""The records that Attempts leave."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.attempts.attempt_artifacts import AttemptRecords
from callboard.schemas.workflow.attempt import AttemptOutcome, AttemptRecord, AttemptStatus, InterruptedInput
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.trace import TraceMode
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from callboard.temporal.data_converter import data_converter
from tests.support.present import present

PATIENCE = timedelta(seconds=5)


def record(status: AttemptStatus) -> AttemptRecord:
    return AttemptRecord(run_id="run-1", number=1, status=status)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def records(store: FolderStore) -> AttemptRecords:
    return AttemptRecords(store, pydantic_data_converter)


async def known(records: AttemptRecords) -> AttemptRecord:
    return present(await records.read("shop", "run-1", 1))


async def test_the_record_of_a_start_never_takes_the_place_of_that_of_an_end(records: AttemptRecords) -> None:
    await records.write_start("shop", record(AttemptStatus.STARTED), within=PATIENCE)
    assert (await known(records)).status is AttemptStatus.STARTED
    await records.write("shop", record(AttemptStatus.INTERRUPTED), within=PATIENCE)
    # By a worker that hung as its Attempt began, and has woken.
    await records.write_start("shop", record(AttemptStatus.STARTED), within=PATIENCE)
    assert (await known(records)).status is AttemptStatus.INTERRUPTED


def lost(trace: TraceMode = TraceMode.ALWAYS) -> InterruptedInput:
    return InterruptedInput(
        workspace="w",
        run_id="run-1",
        number=1,
        project="shop",
        cause="It was lost.",
        trace=trace,
        execution_id="one",
    )


@pytest.mark.parametrize(
    ("trace", "stored", "missing"),
    [
        (TraceMode.ALWAYS, None, {"log": "it", "screenshot": "it", "trace": "it"}),
        (TraceMode.ON_FAILURE, "log/000000000000.jsonl", {"log": "the last lines", "screenshot": "it", "trace": "it"}),
        (TraceMode.NEVER, "log.jsonl", {"screenshot": "it"}),
    ],
)
@pytest.mark.parametrize("announced", [True, False])
async def test_the_record_of_a_lost_attempt_says_what_is_missing(
    records: AttemptRecords,
    store: FolderStore,
    trace: TraceMode,
    stored: str | None,
    missing: dict[str, str],
    announced: bool,
) -> None:
    if announced:
        await records.write("shop", record(AttemptStatus.STARTED), within=PATIENCE)
    if stored is not None:
        await store.put(object_keys.attempt("shop", "run-1", 1, stored), b"{}\n")
    await records.record_interrupted(lost(trace), within=PATIENCE)
    now = await known(records)
    assert (now.status, present(now.error).message) == (AttemptStatus.INTERRUPTED, "It was lost.")
    missing = {**missing, "files": "any"}
    assert now.missing == {what: f"The worker was lost before it had saved {of}." for what, of in missing.items()}
    assert now.log == ("log" not in missing)


async def test_finds_a_stored_outcome_and_keeps_its_record(store: FolderStore) -> None:
    settings = Settings(secret_key=[SecretStr("a key of this test")], encrypt_payloads=True)
    records = AttemptRecords(store, data_converter(settings, "default"))
    outcome = AttemptOutcome(status=AttemptStatus.COMPLETED, result=JsonRef(text='"a secret"', size=10))
    written = record(AttemptStatus.COMPLETED).model_copy(update={"execution_id": "one"})
    await records.write("shop", written, outcome, within=PATIENCE)
    stored = present(await store.get(object_keys.record("shop", "run-1", 1)))
    assert await records.record_interrupted(lost(), unheard=True, within=PATIENCE) == outcome
    assert await store.get(object_keys.record("shop", "run-1", 1)) == stored
    payload = Payload.FromString(b64decode(json.loads(stored)["outcome"]))
    assert payload.metadata["encoding"] == b"binary/encrypted", "where payloads are encrypted, it is, too"


async def test_an_outcome_that_was_stored_before_a_reset_of_the_workflow_does_not_count(
    records: AttemptRecords,
) -> None:
    written = record(AttemptStatus.COMPLETED).model_copy(update={"execution_id": "one"})
    await records.write("shop", written, AttemptOutcome(status=AttemptStatus.COMPLETED), within=PATIENCE)
    of_it = lost().model_copy(update={"execution_id": "another"})
    assert await records.record_interrupted(of_it, unheard=True, within=PATIENCE) is None
    assert (await known(records)).status is AttemptStatus.INTERRUPTED


@pytest.mark.parametrize("end", [AttemptStatus.COMPLETED, AttemptStatus.FAILED])
async def test_an_end_unheard_by_the_run_becomes_interrupted(records: AttemptRecords, end: AttemptStatus) -> None:
    written = record(end).model_copy(update={"log": True, "screenshot": True})
    await records.write("shop", written, within=PATIENCE)
    await records.record_interrupted(lost(), unheard=True, within=PATIENCE)
    now = await known(records)
    assert (now.status, present(now.error).message) == (AttemptStatus.INTERRUPTED, "It was lost.")
    assert (now.log, now.screenshot, now.missing) == (True, True, {}), "what it has stored is there"


@pytest.mark.parametrize(
    ("end", "unheard"),
    [(AttemptStatus.COMPLETED, False), (AttemptStatus.CANCELED, True), (AttemptStatus.INTERRUPTED, True)],
)
async def test_an_end_that_was_heard_of_or_came_by_a_stop_stands(
    records: AttemptRecords, end: AttemptStatus, unheard: bool
) -> None:
    await records.write("shop", record(end), within=PATIENCE)
    await records.record_interrupted(lost(), unheard=unheard, within=PATIENCE)
    assert await known(records) == record(end)
