"""Manage a worker's folder on its host: its lock, the journal of its Attempts, the scratch folders of its Machines.

    {data}/workers/{worker}/lock            held as long as the worker lives; the kernel lets go of it
    {data}/workers/{worker}/attempts/…      one small file for each Attempt that runs
    {data}/workers/{worker}/scratch/…       one folder for each Machine
    {data}/workers/{worker}/evidence/…      one folder for each Attempt that runs: what it leaves, until that is stored
    {data}/workers/{worker}/resolv.conf      where Machines with networks of their own ask for addresses

So a worker that starts can tell which other workers of this host are dead, and which Attempts died with them. It
reports these as lost, so that their Runs go on at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from callboard.machines.cgroups import group_of
from callboard.machines.keeper_process import clean_up
from callboard.schemas.workflow.attempt import INTERRUPTED, AttemptKind
from callboard.storage.file_lock import FileLock, try_lock, wait_for_lock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JournalEntry:
    """An Attempt that runs, as the journal of its worker notes it."""

    run_id: str
    number: int
    task_token: bytes
    """Temporal's token for this very try."""
    kind: AttemptKind = AttemptKind.API


class WorkerDir:
    """The folder of one worker, locked until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self._attempts = folder / "attempts"
        self._evidence = folder / "evidence"
        with _folders_locked(folder.parent):
            for part in (self.scratch, self._attempts, self._evidence):
                part.mkdir(parents=True)
            lock = _lock(folder)
        if lock is None:
            raise RuntimeError(f"{folder} is in use by another worker")
        self._lock = lock
        self._numbers = itertools.count(1)
        self._spare_files: list[Path] = []
        """Files of the journal that are not in use for an Attempt."""
        self._remover = ThreadPoolExecutor(1, "removing")
        """Removes folders in the background, so that nobody waits for it: on some disks it takes much longer than
        filling them."""

    @contextmanager
    def journal(self, entry: JournalEntry) -> Generator[None]:
        """Keep an entry for a running Attempt for as long as the block lasts."""
        file = self._attempts / f"{entry.run_id}-{entry.number}.json"
        # The file of an Attempt that has ended is reused for the next one: creating and removing files takes disks
        # longer.
        spare = self._spare_files.pop() if self._spare_files else self._attempts / f"spare-{next(self._numbers)}"
        token = b64encode(entry.task_token).decode()
        spare.write_text(json.dumps({**asdict(entry), "task_token": token}))
        spare.rename(file)
        try:
            yield
        finally:
            file.rename(spare)
            self._spare_files.append(spare)

    @contextmanager
    def evidence(self, run_id: str, number: int) -> Generator[Path]:
        """Provide a folder for what the Attempt leaves, which outlives its Machine.

        The folder is removed after the end of the block.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{run_id}-{number}-", dir=self._evidence))
        try:
            yield folder
        finally:
            self._remover.submit(shutil.rmtree, folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder and release the lock."""
        self._remover.shutdown(cancel_futures=True)
        with _folders_locked(self.folder.parent):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


@dataclass(frozen=True)
class DeadWorker:
    """What remains of a worker that did not shut down properly. This worker holds its lock now."""

    folder: Path
    attempts: list[JournalEntry]
    _lock: FileLock

    def end_machines(self, groups: Path | None) -> None:
        """End the processes that still run of its Machines, given where control groups are. This blocks."""
        for scratch in (self.folder / "scratch").glob("*"):
            clean_up(scratch, groups and group_of(groups, scratch))

    def remove(self) -> None:
        """Remove its folder, once its Machines have ended, and release the lock. This blocks."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def dead_workers(workers: Path) -> list[DeadWorker]:
    """Lock and return the folders below `workers` whose workers are dead."""
    found: list[DeadWorker] = []
    with _folders_locked(workers):
        for folder in workers.glob("*"):
            lock = _lock(folder)
            if lock is not None:
                found.append(DeadWorker(folder, list(_journal_of(folder)), lock))
    return found


async def recover_dead_workers(client: Client, workers: Path, groups: Path | None = None) -> list[str]:
    """Clean up after the dead workers below `workers`, report their Attempts as lost, and return their names.

    The processes are ended first: a Run must not try again while the lost Attempt's browser still acts. `groups`
    is the folder of the control group that is delegated to this worker, if one is.
    """
    names: list[str] = []
    for dead in await asyncio.to_thread(dead_workers, workers):
        log.warning("worker %s ended without leaving; %d Attempt(s) lost", dead.folder.name, len(dead.attempts))
        await asyncio.to_thread(dead.end_machines, groups)
        await asyncio.to_thread(dead.remove)
        for entry in dead.attempts:
            await _report_interrupted(client, entry)
        names.append(dead.folder.name)
    return names


async def _report_interrupted(client: Client, entry: JournalEntry) -> None:
    # The task token identifies this try; a check or create keeps its activity id when it is tried again, perhaps
    # elsewhere.
    handle = client.get_async_activity_handle(task_token=entry.task_token)
    try:
        message = "The worker that ran the Attempt was lost."
        # Temporal tries checks and creates again. The Attempt of an API is over, also where a pause would keep it.
        non_retryable = entry.kind is AttemptKind.API
        await handle.fail(
            ApplicationError(message, entry.run_id, entry.number, type=INTERRUPTED, non_retryable=non_retryable)
        )
    except RPCError as error:  # its Run is over, or its heartbeat timeout has reported it already or will
        log.info("Run %s, Attempt %d: %s", entry.run_id, entry.number, error.message)


@contextmanager
def _folders_locked(workers: Path) -> Generator[None]:
    """Hold a lock while a folder below `workers` is created, removed or looked for.

    For a moment, such a folder exists but is not locked.
    """
    workers.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(workers):
        yield


def _journal_of(folder: Path) -> Generator[JournalEntry]:
    for file in (folder / "attempts").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # a half-written file: its Attempt had not begun
            fields: dict[str, Any] = json.loads(file.read_text())
            token = b64decode(fields["task_token"])
            yield JournalEntry(fields["run_id"], fields["number"], token, AttemptKind(fields["kind"]))


def _lock(folder: Path) -> FileLock | None:
    """Lock a worker's folder; return None if another process holds the lock, or the folder is gone."""
    file = folder / "lock"
    try:
        file.touch(mode=0o600)
    except OSError:
        return None
    return try_lock(file)
