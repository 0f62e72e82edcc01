"""The records that Attempts leave."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from activities.records import Records
from contract.flow.attempt import AttemptRecord, AttemptStatus
from storage.folder import FolderStore

PATIENCE = timedelta(seconds=5)


def record(status: AttemptStatus) -> AttemptRecord:
    return AttemptRecord(run_id="run-1", number=1, status=status)


async def status(records: Records) -> AttemptStatus | None:
    known = await records.read("shop", "run-1", 1)
    return known and known.status


async def test_the_record_of_the_start_is_the_first_one_or_none(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path))
    await records.write_first("shop", record(AttemptStatus.STARTED), within=PATIENCE)
    assert await status(records) is AttemptStatus.STARTED
    await records.write("shop", record(AttemptStatus.INTERRUPTED), within=PATIENCE)
    # By a worker that hung as its Attempt began, and has woken.
    await records.write_first("shop", record(AttemptStatus.STARTED), within=PATIENCE)
    assert await status(records) is AttemptStatus.INTERRUPTED
