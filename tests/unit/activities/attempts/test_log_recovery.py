"""The log that a killed worker has left on its disk: stored by the next one, masked, whole, and as nobody else's."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.attempts.attempt_log import LOG_FILE, persist_masking_secrets
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.log_recovery import LogRecovery
from machines.transcript import Transcript
from schemas.workflow.attempt import AttemptInput, AttemptRecord, AttemptStatus
from schemas.workflow.base import JsonRef
from security.keyring import KeyRing
from security.masking import Masker
from storage import keys
from storage.folder import FolderStore
from tests.support.attempt_worker import FaultyStore

SECRET = "correct horse"
KEYS = KeyRing(["the key of this test, long enough"])
SOON = timedelta(seconds=20)
LOST = "The worker that ran the Attempt was lost."


def attempt_input(run_id: str = "run-1", number: int = 2) -> AttemptInput:
    return AttemptInput(
        workspace="w",
        run_id=run_id,
        number=number,
        project="shop",
        version="1",
        api="list",
        parameters=JsonRef(text="{}", size=2),
        request_timeout=timedelta(minutes=1),
    )


@dataclass
class Left:
    """What a dead worker has left, and the store of the next one."""

    root: Path
    store: FaultyStore
    limit: int = 10_000
    folders: list[Path] = field(default_factory=list[Path])

    def attempt(self, printed: bytes, of: AttemptInput | None = None, keyring: KeyRing = KEYS) -> Path:
        folder = self.root / f"evidence-{len(self.folders)}"
        folder.mkdir()
        self.folders.append(folder)
        persist_masking_secrets(folder, of or attempt_input(), Masker([SECRET]), keyring)
        keeper = Transcript(str(folder / LOG_FILE), self.limit)
        keeper.text(printed)
        keeper.close()
        return folder

    async def log_recovery(self, keyring: KeyRing = KEYS, within: timedelta = SOON) -> None:
        await LogRecovery(self.store, keyring, limit=self.limit).store_logs(self.folders, within=within)

    async def stored(self, run_id: str = "run-1", number: int = 2) -> list[str] | None:
        data = await FolderStore.get(self.store, keys.log("shop", run_id, number))
        return None if data is None else [json.loads(line)["message"] for line in data.splitlines()]


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path, FaultyStore(tmp_path / "artifacts"))


async def test_it_is_stored_to_its_last_line_masked_and_in_place_of_its_pieces(left: Left) -> None:
    folder = left.attempt(f"it is {SECRET}\nthe last".encode())
    with (folder / LOG_FILE).open("ab") as file:
        file.write(b'{"timestamp": "2026-01')  # the host was about to go down, too
    piece = keys.log_piece("shop", "run-1", 2, 0)
    await left.store.put(piece, b"{}\n")
    await left.log_recovery()
    assert await left.stored() == ["it is ***", "the last", LOST]
    assert not await left.store.exists(piece)


async def test_what_is_noted_tells_no_secret(left: Left) -> None:
    folder = left.attempt(b"one\n")
    (note,) = [path for path in folder.iterdir() if path.name != LOG_FILE]
    assert SECRET not in note.read_text()
    assert note.stat().st_mode & 0o077 == 0


async def test_each_attempt_has_its_own(left: Left) -> None:
    for number in range(1, 6):
        left.attempt(f"of {number}\n".encode(), attempt_input("run-2", number))
    await left.log_recovery()
    assert [await left.stored("run-2", number) for number in range(1, 6)] == [
        [f"of {number}", LOST] for number in range(1, 6)
    ]


async def test_what_its_worker_had_stored_stays_as_it_is(left: Left) -> None:
    left.attempt(b"one\n")
    await left.store.put(keys.log("shop", "run-1", 2), b'{"message": "stored"}\n')
    await left.log_recovery()
    assert await left.stored() == ["stored"]


@pytest.mark.parametrize("status", list(AttemptStatus))
async def test_an_attempt_that_had_come_to_its_end_was_not_lost(left: Left, status: AttemptStatus) -> None:
    left.attempt(b"one\n")
    records = AttemptRecords(left.store, pydantic_data_converter)
    await records.write("shop", AttemptRecord(run_id="run-1", number=2, status=status), within=SOON)
    await left.log_recovery()
    unfinished = status in {AttemptStatus.STARTED, AttemptStatus.INTERRUPTED}
    assert await left.stored() == (["one", LOST] if unfinished else None)


def _of_another_run(folder: Path) -> None:
    (note,) = [path for path in folder.iterdir() if path.name != LOG_FILE]
    note.write_text(note.read_text().replace('"run-1"', '"run-9"'))


def _cut_off(folder: Path) -> None:
    (note,) = [path for path in folder.iterdir() if path.name != LOG_FILE]
    note.write_text(note.read_text()[:20])


def _of_something_else(folder: Path) -> None:
    (note,) = [path for path in folder.iterdir() if path.name != LOG_FILE]
    note.write_text('{"number": 1}')


def _not_noted(folder: Path) -> None:
    (note,) = [path for path in folder.iterdir() if path.name != LOG_FILE]
    note.unlink()


def _a_link(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / LOG_FILE).rename(elsewhere)
    (folder / LOG_FILE).symlink_to(elsewhere)


def _a_pipe(folder: Path) -> None:
    (folder / LOG_FILE).unlink()
    os.mkfifo(folder / LOG_FILE)


def _too_big(folder: Path) -> None:
    with (folder / LOG_FILE).open("ab") as file:
        file.truncate(10_000_000)


def _gone(folder: Path) -> None:
    (folder / LOG_FILE).unlink()


@pytest.mark.parametrize(
    "spoil", [_of_another_run, _cut_off, _of_something_else, _not_noted, _a_link, _a_pipe, _too_big, _gone]
)
async def test_what_cannot_be_trusted_is_lost_and_costs_the_others_nothing(
    left: Left, spoil: Callable[[Path], None]
) -> None:
    spoil(left.attempt(b"one\n"))
    left.attempt(b"two\n", attempt_input("run-2"))
    await left.log_recovery()
    assert [await left.stored(run_id) for run_id in ("run-1", "run-2", "run-9")] == [None, ["two", LOST], None]


async def test_without_the_key_that_sealed_it_nothing_is_told(left: Left) -> None:
    left.attempt(b"one\n")
    await left.log_recovery(KeyRing(["another key, which is long enough"]))
    assert await left.stored() is None


async def test_without_any_key_nothing_is_noted(left: Left) -> None:
    folder = left.attempt(b"one\n", keyring=KeyRing([]))
    assert [path.name for path in folder.iterdir()] == [LOG_FILE]
    await left.log_recovery(KeyRing([]))
    assert await left.stored() is None


async def test_a_store_that_refuses_or_does_not_answer_is_not_waited_for(left: Left) -> None:
    left.attempt(b"one\n")
    left.store.refuse = lambda _key: True
    await left.log_recovery(within=timedelta(seconds=0.2))
    left.store.refuse = lambda _key: False
    never = asyncio.Event()
    left.store.hold = lambda _key, _data: never
    await left.log_recovery(within=timedelta(seconds=0.2))
    assert await left.stored() is None
    never.set()
