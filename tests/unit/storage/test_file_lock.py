"""Locks between processes: one owner at a time, free again when the owner has ended, and askable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from callboard.storage.file_lock import create_and_try_lock, is_locked, remove_if_abandoned, try_lock, wait_for_lock
from tests.support.repository import REPOSITORY

OWNER = """
import sys
from pathlib import Path
from callboard.storage.file_lock import try_lock
with try_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner_of(path: Path) -> Generator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"locked\n"
        try:
            yield owner
        finally:
            owner.kill()


@pytest.fixture(params=["file", "folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.touch() if request.param == "file" else path.mkdir()
    return path


def test_one_process_holds_it_and_others_can_ask(path: Path) -> None:
    assert not is_locked(path)
    with owner_of(path):
        assert is_locked(path)
        assert try_lock(path) is None


def test_it_is_free_when_its_owner_was_killed(path: Path) -> None:
    with owner_of(path) as owner:
        owner.kill()
        owner.wait(10)
        assert not is_locked(path)
        with wait_for_lock(path):
            assert is_locked(path)
    assert not is_locked(path)


def test_a_folder_is_removed_only_once_its_owner_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    folder.mkdir()
    with owner_of(folder) as owner:
        remove_if_abandoned(folder)
        assert folder.exists()
        owner.kill()
        owner.wait(10)
        remove_if_abandoned(folder)
        assert not folder.exists()


def test_a_folder_that_another_owner_removes_meanwhile_is_created_again(tmp_path: Path) -> None:
    # Two owners that create, lock and remove the same folder meet at every point of each other's way.
    folder = tmp_path / "deep" / "folder"
    stopped = threading.Event()
    locked = [0, 0]

    def create_and_remove(owner: int) -> None:
        while not stopped.is_set():
            lock = create_and_try_lock(folder)
            if lock is not None:
                locked[owner] += 1
                with lock:
                    shutil.rmtree(folder)

    with ThreadPoolExecutor() as owners:
        working = [owners.submit(create_and_remove, owner) for owner in range(2)]
        rounds = 0
        try:
            # Each of them has its turn sooner or later, unless it fails.
            while rounds < 1000 or not (all(locked) or any(work.done() for work in working)):
                remove_if_abandoned(folder)
                rounds += 1
        finally:
            stopped.set()
        for work in working:
            work.result()
        assert all(locked)
