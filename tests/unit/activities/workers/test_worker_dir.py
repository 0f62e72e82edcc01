"""A worker's folder, and what is found of workers that died; on real processes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from activities.workers.worker_dir import JournalEntry, WorkerDir, dead_workers
from callboard.schemas.workflow.attempt import AttemptKind
from tests.support.dying_worker import DyingWorker

Start = Callable[..., Awaitable[DyingWorker]]


def held(run_id: str, number: int) -> JournalEntry:
    return JournalEntry(run_id, number, b"token")


@pytest.fixture
def workers(tmp_path: Path) -> Path:
    return tmp_path / "data" / "workers"


@pytest.fixture
async def start(workers: Path) -> AsyncGenerator[Start]:
    started: list[DyingWorker] = []

    async def start(name: str, *attempts: JournalEntry) -> DyingWorker:
        worker = await DyingWorker.start(workers / name, *attempts)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.end()


def test_a_worker_that_leaves_leaves_nothing(workers: Path) -> None:
    assert dead_workers(workers) == [], "there never was one"
    place = WorkerDir(workers / "one")
    assert place.scratch.is_dir()
    place.close()
    assert list(workers.iterdir()) == []
    assert dead_workers(workers) == []


def test_an_attempt_is_noted_for_as_long_as_it_runs(workers: Path) -> None:
    place = WorkerDir(workers / "one")
    notes = workers / "one" / "attempts"
    with place.journal(held("run-1", 1)), place.journal(held("run-1", 2)):
        assert {note.name for note in notes.glob("*.json")} == {"run-1-1.json", "run-1-2.json"}
    assert list(notes.glob("*.json")) == []
    with pytest.raises(ValueError), place.journal(held("run-1", 3)):  # noqa: PT012
        assert [json.loads(note.read_text())["number"] for note in notes.glob("*.json")] == [3]
        raise ValueError
    assert list(notes.glob("*.json")) == []
    assert len(list(notes.iterdir())) == 2, "no more than there ever were at once"
    place.close()


def test_two_workers_cannot_have_one_place(workers: Path) -> None:
    place = WorkerDir(workers / "one")
    with pytest.raises(FileExistsError):
        WorkerDir(workers / "one")
    place.close()


async def test_a_worker_that_lives_is_not_dead_though_it_be_another_process(workers: Path, start: Start) -> None:
    await start("one", held("run-1", 1))
    own = WorkerDir(workers / "two")
    assert dead_workers(workers) == []
    own.close()


async def test_a_killed_worker_is_found_with_all_that_it_knew_of_its_attempts(workers: Path, start: Start) -> None:
    living = await start("one", held("run-1", 1))
    attempts = [
        JournalEntry("validate-1", 1, b"\0 any bytes \xff", AttemptKind.CHECK),
        JournalEntry("run-with-3", 2, b"", AttemptKind.API),
        JournalEntry("create-1", 3, b"create", AttemptKind.CREATE),
    ]
    (await start("two", *attempts)).die()
    (dead,) = dead_workers(workers)
    assert dead.folder == workers / "two"
    assert sorted(dead.attempts, key=lambda held: held.number) == attempts
    dead.remove()
    assert living.machine_lives


def test_the_note_of_an_attempt_has_nothing_of_the_check_before(workers: Path) -> None:
    """They may use one file."""
    place = WorkerDir(workers / "one")
    with place.journal(JournalEntry("validate-with-a-long-id", 1, b"a longer token", AttemptKind.CHECK)):
        pass
    with place.journal(held("run-1", 2)):
        (note,) = (workers / "one" / "attempts").glob("*.json")
        assert json.loads(note.read_text()) == {"run_id": "run-1", "number": 2, "task_token": "dG9rZW4=", "kind": "api"}
    place.close()


async def test_of_a_killed_worker_nothing_is_left(workers: Path, start: Start) -> None:
    dying = await start("one")
    dying.die()
    assert dying.machine_lives
    (dead,) = dead_workers(workers)
    dead.end_machines(None)
    dead.remove()
    assert not dying.machine_lives
    assert list(workers.iterdir()) == []
    assert dead_workers(workers) == []


async def test_a_dead_worker_is_found_by_one_only(workers: Path, start: Start) -> None:
    (await start("one")).die()
    found = await asyncio.gather(*(asyncio.to_thread(dead_workers, workers) for _ in range(8)))
    assert sorted(map(len, found)) == [0] * 7 + [1]
    next(dead for dead in found if dead)[0].remove()


async def test_a_note_that_was_cut_off_is_no_attempt(workers: Path, start: Start) -> None:
    dying = await start("one", held("run-1", 1))
    dying.die()
    for name, text in (("half.json", '{"run_id": "run-2", "nu'), ("empty.json", ""), ("other.json", '{"run_id": "x"}')):
        (workers / "one" / "attempts" / name).write_text(text)
    (dead,) = dead_workers(workers)
    assert dead.attempts == [held("run-1", 1)]
    dead.remove()


async def test_workers_that_come_and_go_all_at_once_take_none_for_dead(workers: Path) -> None:
    """Each looks for dead ones while others are just making or removing their folders."""
    done = threading.Event()

    def live(name: str) -> int:
        lives = 0
        while not done.is_set():
            place = WorkerDir(workers / f"{name}-{lives}")
            place.close()
            lives += 1
        return lives

    def look() -> int:
        found = 0
        for _ in range(300):
            found += len(dead_workers(workers))
        done.set()
        return found

    first, second, found = await asyncio.gather(
        asyncio.to_thread(live, "one"), asyncio.to_thread(live, "two"), asyncio.to_thread(look)
    )
    assert first
    assert second
    assert found == 0
