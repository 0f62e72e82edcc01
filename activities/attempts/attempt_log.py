"""Store the log of an Attempt: in pieces while it runs, as a whole at its end.

The name of a piece is its offset in the log. The whole log replaces the pieces, and a reader of either gets the same
bytes. `callboard.storage.object_keys` builds their keys, and `api.attempts.log` reads them. A short Attempt costs one
write.

A store that fails costs the log, and a little time; what is stored already stays. When a worker is killed, only the
pieces are left of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from activities.store_retry import retry_store
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.attempt import AttemptInput, AttemptStatus, AttemptUsage
from callboard.schemas.workflow.run import RunError
from callboard.storage import object_keys
from callboard.storage.store import Store

log = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
"""Name of the log file in the Attempt's folder; it holds the log as it was written, not masked."""

_INLINE = 16 * 1024
"""Largest number of bytes that are masked in the event loop, if the secrets are few; all else is masked in a thread."""
_PIECE = 1024 * 1024
"""Largest size of a piece, in bytes."""
_COMPLETE_WITHIN = 2.0
"""Seconds to wait, after the end of an Attempt, for its keeper to report that its log is complete."""
_DELETE_AT_ONCE = 8
_RETRY_SHARE = 2 / 3
"""Share of the time limit for which a store that refuses is retried, so that its own message is known by then."""
_DELETE_WITHIN = 5.0
"""Seconds for removing pieces: an Attempt that has logged for hours has thousands of them."""


@dataclass(frozen=True)
class LogPolicy:
    """How much is logged, and when it can be read. The default times suit a store that is a folder."""

    limit: int = 10 * 1024 * 1024
    """Largest number of bytes that are logged of what user code and its browser print."""
    first_piece: timedelta = timedelta(seconds=0.65)
    """Time from the first line to the first piece."""
    piece_interval: timedelta = timedelta(seconds=0.5)
    """Time from one piece to the next."""


@dataclass(frozen=True)
class StoredLog:
    """What was stored of a log."""

    size: int | None = None
    """Size of the stored log in bytes; None if it is not stored, or not all of it."""
    missing: str | None = None
    """Why it is missing."""
    usage: AttemptUsage | None = None
    """Resource usage of the Attempt, if its Machine could report it."""


class AttemptLog:
    """The log of one Attempt, created by `open_log`."""

    def __init__(self, store: Store, attempt: AttemptInput, file: AttemptLogFile, policy: LogPolicy) -> None:
        self.file = file
        """The unmasked log on this host."""
        self._store = store
        self._policy = policy
        self._attempt = (attempt.project, attempt.run_id, attempt.number)
        self._masked: BinaryIO | None = None
        """The masked log, created with the first piece: a file without a name, which user code cannot reach."""
        self._size = 0
        """Size of the masked log in bytes."""
        self._stored = 0
        """Number of its bytes that are stored as pieces."""
        self._pieces: dict[str, None] = {}
        """Keys of the pieces; an ordered set."""
        self._has_ended = asyncio.Event()
        self._piece_task = asyncio.create_task(self._store_pieces(), name=f"log of {attempt.run_id} {attempt.number}")

    async def store(self, last_line: str, level: str, *, within: timedelta) -> StoredLog:
        """Store the whole log of an Attempt that has ended, with a last line of Callboard's own.

        This takes no longer than `within`, plus two seconds for a Machine that does not come to its end.
        """
        usage = await self.file.wait_complete(_COMPLETE_WITHIN)
        self.file.write_line(last_line, level)
        self._has_ended.set()
        missing = None
        try:
            async with asyncio.timeout(within.total_seconds()):
                await asyncio.shield(self._piece_task)
                await self._store_whole(within * _RETRY_SHARE)
        except TimeoutError:
            missing = f"The artifact store has not taken it within {within.total_seconds():g} seconds."
        except StoreError as error:
            missing = error.message
        except Exception as error:  # whatever the error: a lost log fails nothing
            log.exception("Run %s, Attempt %d: no log", *self._attempt[1:])
            missing = f"It could not be stored: {error}"
        return StoredLog(None if missing else self._size, missing, usage)

    async def close(self) -> None:
        """Release the task and the files of the log."""
        self._piece_task.cancel()
        await asyncio.wait({self._piece_task})
        self.file.close()
        if self._masked is not None:
            self._masked.close()

    async def _store_pieces(self) -> None:
        await self.file.has_lines.wait()
        pause = self._policy.first_piece
        while not await self._has_ended_within(pause):
            pause = self._policy.piece_interval
            try:
                await self._mask_new_lines()
                await self._store_piece()
            except StoreError as error:  # its bytes come with the next piece, or with the whole log
                log.debug("Run %s, Attempt %d: no piece of its log: %s", *self._attempt[1:], error.message)
            except OSError:
                log.exception("Run %s, Attempt %d: its log cannot be kept", *self._attempt[1:])

    async def _has_ended_within(self, pause: timedelta) -> bool:
        try:
            async with asyncio.timeout(pause.total_seconds()):
                return await self._has_ended.wait()
        except TimeoutError:
            return False

    async def _mask_new_lines(self) -> None:
        """Mask the lines that have arrived since, and append them to the masked log. Raises OSError."""
        if not self.file.unread:
            return
        if self._is_soon_masked:
            self._mask()
        else:
            await uncancellable(asyncio.to_thread(self._mask))

    @property
    def _is_soon_masked(self) -> bool:
        return self.file.unread <= _INLINE and self.file.masker.has_few

    def _mask(self) -> None:
        if self._masked is None:
            self._masked = tempfile.TemporaryFile(dir=self.file.file.parent)  # noqa: SIM115  # closed by `close`
        while part := self.file.read_masked():
            self._masked.write(part)
            self._size += len(part)
        self._masked.flush()

    async def _store_piece(self) -> None:
        """Store the part of the masked log that is not stored yet. Raises StoreError, OSError."""
        while self._masked is not None and self._stored < self._size:
            data = os.pread(self._masked.fileno(), _PIECE, self._stored)
            key = object_keys.log_piece(*self._attempt, self._stored)
            self._pieces[key] = None  # also if the write fails: the piece may be there all the same
            await self._store.put(key, data)
            self._stored += len(data)

    async def _store_whole(self, within: timedelta) -> None:
        """Store the whole log and remove its pieces. Raises StoreError, OSError."""
        if self._masked is None and self._is_soon_masked:
            data = self.file.read_masked()
            self._size = len(data)
        else:
            await self._mask_new_lines()
            data = os.pread(self._masked.fileno(), self._size, 0) if self._masked is not None else b""
        await retry_store(within, lambda: self._store.put(object_keys.log(*self._attempt), data))
        await self._delete_pieces()

    async def _delete_pieces(self) -> None:
        """Remove the pieces. Pieces that remain do no harm, and are removed with everything else of the Run."""
        limit = asyncio.Semaphore(_DELETE_AT_ONCE)

        async def delete(key: str) -> None:
            async with limit:
                await self._store.delete(key)

        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_DELETE_WITHIN):
                await asyncio.gather(*map(delete, self._pieces))


@asynccontextmanager
async def open_log(store: Store, attempt: AttemptInput, folder: Path, policy: LogPolicy) -> AsyncGenerator[AttemptLog]:
    """Open the log of an Attempt in its own folder on this host, and close it afterwards. Raises OSError."""
    opened = AttemptLog(store, attempt, AttemptLogFile(folder / LOG_FILE, policy.limit), policy)
    try:
        yield opened
    finally:
        await uncancellable(opened.close())


def last_line(status: AttemptStatus, error: RunError | None, duration: timedelta) -> tuple[str, str]:
    """Return the last line of an Attempt's log, which says how the Attempt ended, and the level of that line."""
    text = f"{status.capitalize()} after {duration.total_seconds():.3f} seconds"
    if error is None:
        return text, "info" if status is AttemptStatus.COMPLETED else "warning"
    stack = (error.details or {}).get("stack")
    return f"{text} ({error.code}): {error.message}" + (f"\n{stack}" if stack else ""), "error"
