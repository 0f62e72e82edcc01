"""Store the log of an Attempt whose worker was killed: the next worker of the host reads it from the disk.

An Attempt's evidence folder holds the log as its keeper wrote it (to the last line, and not masked), and next to it
`secrets.json`, which says what is to be masked in it.

The trace and the picture of a page are not on disk before the Attempt's end; they are lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from activities.attempts.attempt_artifacts import ArtifactLostError, read_untrusted
from activities.attempts.attempt_log import LOG_FILE, SECRETS_FILE, SecretsNote
from activities.attempts.attempt_records import read_record
from activities.store_retry import retry_store
from machines.attempt_log_file import mask_lines
from machines.transcript import line_of
from schemas.errors import CallboardError
from schemas.workflow.attempt import AttemptStatus
from security import seal_context
from security.keyring import KeyRing
from security.masking import Masker
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

_LARGEST_NOTE = 16 * 1024 * 1024
"""Largest size of `secrets.json` in bytes. The cookies of an AuthSession are part of it."""
_OWN_LINES_LIMIT = 1024 * 1024
"""Bytes that a log can have beyond its limit: Callboard's own lines do not count towards the limit."""
_AT_ONCE = 2
"""How many logs are in memory at the same time."""
_LAST_LINE = "The worker that ran the Attempt was lost."


class LogRecovery:
    """Stores logs that dead workers have left."""

    def __init__(self, store: Store, keyring: KeyRing, *, limit: int) -> None:
        """Set up without reading anything yet.

        Args:
            store: The artifact store, where the logs belong.
            keyring: Opens the sealed secrets that are to be masked.
            limit: Largest size of a log, in bytes.
        """
        self._store = store
        self._keyring = keyring
        self._limit = limit

    async def store_logs(self, folders: Iterable[Path], *, within: timedelta) -> None:
        """Store the logs in these folders, each of one Attempt, within the given time.

        A log that cannot be stored is lost, and a warning says so.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def store(folder: Path) -> None:
            async with limit:
                try:
                    await self._store_log(folder, within)
                except (ArtifactLostError, CallboardError, OSError, ValueError, TypeError) as error:
                    log.warning("the log in %s is lost: %s", folder.name, error)

        try:
            async with asyncio.timeout(within.total_seconds()):
                await asyncio.gather(*map(store, folders))
        except TimeoutError:
            log.warning("logs of a dead worker could not be stored within %g seconds", within.total_seconds())

    async def _store_log(self, folder: Path, within: timedelta) -> None:
        left = await asyncio.to_thread(self._read_log, folder)
        if left is None:
            return
        note, text = left
        of = (note.project, note.run_id, note.number)
        # The worker may have been killed after the end of the Attempt.
        known = await read_record(self._store, *of)
        ended = known is not None and known.status not in {AttemptStatus.STARTED, AttemptStatus.INTERRUPTED}
        if ended or await self._store.exists(keys.log(*of)):
            return
        await retry_store(within / 2, lambda: self._store.put(keys.log(*of), text))
        async for piece in self._store.list(keys.log_pieces(*of)):
            await self._store.delete(piece)

    def _read_log(self, folder: Path) -> tuple[SecretsNote, bytes] | None:
        """Return whose log it is, and the masked log; None if the log had not begun."""
        noted = read_untrusted(folder / SECRETS_FILE, _LARGEST_NOTE)
        raw = read_untrusted(folder / LOG_FILE, self._limit + _OWN_LINES_LIMIT)
        if noted is None or raw is None:
            return None
        fields: dict[str, Any] = json.loads(noted)
        note = SecretsNote(**fields)
        # The seal opens for this Run alone, so that no Run's log is stored as another's.
        bound_to = seal_context.run(note.workspace, note.project, note.run_id)
        secrets: list[str] = json.loads(self._keyring.open(note.secrets, bound_to=bound_to))
        whole = raw[: raw.rfind(b"\n") + 1]
        return note, mask_lines(whole, Masker(secrets)) + line_of("error", "callboard", _LAST_LINE)
