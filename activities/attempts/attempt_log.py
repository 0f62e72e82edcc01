"""The log of an Attempt on its way into the artifact store: in pieces while it runs, as a whole at its end.

A piece is named by the place in the log where it begins, so whoever reads them gets the same bytes as in the whole, for
which they make room. Their keys are known to `api.logs`. An Attempt that is soon over costs one write.

A store that fails costs the log, and a little time; what is in it already stays. When a worker is killed, the pieces
stay, and the next worker of its host stores the whole: see `log_recovery`.
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
from machines.attempt_log_file import AttemptLogFile
from machines.cancellation import uncancellable
from schemas.errors import StoreError
from schemas.workflow.attempt import AttemptInput, AttemptStatus, AttemptUsage
from schemas.workflow.run import RunError
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
"""In the Attempt's folder: as it was written, not masked."""

_INLINE = 64 * 1024
"""Bytes that are masked at once; more, in a thread."""
_PIECE = 1024 * 1024
"""Bytes of a piece at most."""
_WHOLE_WITHIN = 2.0
"""Seconds from the end of an Attempt until its keeper has told that all of its log is there."""
_DELETE_AT_ONCE = 8
_PATIENT = 2 / 3
"""Of that time, a store that refuses is asked again for so much: what it says is known then."""
_CLEAR_WITHIN = 5.0
"""Seconds for removing pieces: an Attempt that has talked for hours has thousands of them."""


@dataclass(frozen=True)
class LogPolicy:
    """How much is logged, and when it can be read."""

    limit: int = 10 * 1024 * 1024
    """Bytes of what user code and its browser say."""
    first: timedelta = timedelta(seconds=0.65)
    """From the first line to the first piece."""
    every: timedelta = timedelta(seconds=0.5)
    """From piece to piece."""


DEFAULT_POLICY = LogPolicy()
"""Where the store is a folder."""


@dataclass(frozen=True)
class StoredLog:
    """What has come of a log."""

    size: int | None = None
    """Bytes in the store; None: it is not there, or not all of it."""
    missing: str | None = None
    """Why."""
    usage: AttemptUsage | None = None
    """What the Attempt took, if its Machine could tell."""


class AttemptLog:
    """The log of one Attempt; made by `open_log`."""

    def __init__(self, store: Store, order: AttemptInput, book: AttemptLogFile, rules: LogPolicy) -> None:
        self.book = book
        self._store = store
        self._rules = rules
        self._of = (order.project, order.run_id, order.number)
        self._masked: BinaryIO | None = None
        """What may be read, as soon as there are pieces: a file without a name, which user code cannot reach."""
        self._size = 0
        """Bytes of it."""
        self._stored = 0
        """Bytes of it that lie in the store in pieces."""
        self._pieces: dict[str, None] = {}
        """Their keys."""
        self._over = asyncio.Event()
        self._live = asyncio.create_task(self._store_pieces(), name=f"log of {order.run_id} {order.number}")

    async def store(self, last: str, level: str, *, within: timedelta) -> StoredLog:
        """Store it as a whole, with a last line of Callboard's own, when the Attempt is over.

        Takes no longer than `within`, and two seconds for a Machine that does not come to its end.
        """
        usage = await self.book.whole(_WHOLE_WITHIN)
        self.book.say(last, level)
        self._over.set()
        missing = None
        try:
            async with asyncio.timeout(within.total_seconds()):
                await asyncio.shield(self._live)
                await self._store_whole(within * _PATIENT)
        except TimeoutError:
            missing = f"The artifact store has not taken it within {within.total_seconds():g} seconds."
        except StoreError as error:
            missing = error.message
        except Exception as error:  # whatever it is: a log that is lost fails nothing
            log.exception("Run %s, Attempt %d: no log", *self._of[1:])
            missing = f"It could not be stored: {error}"
        return StoredLog(None if missing else self._size, missing, usage)

    async def close(self) -> None:
        """Let go of everything."""
        self._live.cancel()
        await asyncio.wait({self._live})
        self.book.close()
        if self._masked is not None:
            self._masked.close()

    async def _store_pieces(self) -> None:
        await self.book.begun.wait()
        pause = self._rules.first
        while not await self._is_over_within(pause):
            pause = self._rules.every
            try:
                await self._take()
                await self._store_piece()
            except StoreError as error:  # it comes with the next piece, or with the whole
                log.debug("Run %s, Attempt %d: no piece of its log: %s", *self._of[1:], error.message)
            except OSError:
                log.exception("Run %s, Attempt %d: its log cannot be kept", *self._of[1:])

    async def _is_over_within(self, pause: timedelta) -> bool:
        try:
            async with asyncio.timeout(pause.total_seconds()):
                return await self._over.wait()
        except TimeoutError:
            return False

    async def _take(self) -> None:
        """Put what has come since to what may be read. Raises OSError."""
        if self.book.waiting > _INLINE:
            await uncancellable(asyncio.to_thread(self._mask))
        elif self.book.waiting:
            self._mask()

    def _mask(self) -> None:
        if self._masked is None:
            self._masked = tempfile.TemporaryFile(dir=self.book.file.parent)  # noqa: SIM115  # closed by `close`
        while part := self.book.take():
            self._masked.write(part)
            self._size += len(part)
        self._masked.flush()

    async def _store_piece(self) -> None:
        """Store what may be read and is not stored. Raises StoreError, OSError."""
        while self._masked is not None and self._stored < self._size:
            data = os.pread(self._masked.fileno(), _PIECE, self._stored)
            key = keys.log_piece(*self._of, self._stored)
            self._pieces[key] = None  # also if it fails: it may be there all the same
            await self._store.put(key, data)
            self._stored += len(data)

    async def _store_whole(self, within: timedelta) -> None:
        """Raises StoreError, OSError."""
        if self._masked is None and self.book.waiting <= _INLINE:
            data = self.book.take()
            self._size = len(data)
        else:
            await self._take()
            data = os.pread(self._masked.fileno(), self._size, 0) if self._masked is not None else b""
        await retry_store(within, lambda: self._store.put(keys.log(*self._of), data))
        await self._clear()

    async def _clear(self) -> None:
        """Remove the pieces. Those that stay disturb nobody, and go with all that the Run has left."""
        limit = asyncio.Semaphore(_DELETE_AT_ONCE)

        async def delete(key: str) -> None:
            async with limit:
                await self._store.delete(key)

        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_CLEAR_WITHIN):
                await asyncio.gather(*map(delete, self._pieces))


@asynccontextmanager
async def open_log(store: Store, order: AttemptInput, folder: Path, rules: LogPolicy) -> AsyncGenerator[AttemptLog]:
    """The log of an Attempt, in a folder of its own on this host. Raises OSError."""
    opened = AttemptLog(store, order, AttemptLogFile(folder / LOG_FILE, rules.limit), rules)
    try:
        yield opened
    finally:
        await uncancellable(opened.close())


def last_line(status: AttemptStatus, error: RunError | None, lasted: timedelta) -> tuple[str, str]:
    """How an Attempt has ended, as the last line of its log says it; and the level of that."""
    text = f"{status.capitalize()} after {lasted.total_seconds():.3f} seconds"
    if error is None:
        return text, "info" if status is AttemptStatus.COMPLETED else "warning"
    stack = (error.details or {}).get("stack")
    return f"{text} ({error.code}): {error.message}" + (f"\n{stack}" if stack else ""), "error"
