"""Store the files that an Attempt has left (docs/contract.md, section 12.7), each under a key of its own.

They come last from user code, so nothing of them is masked but their names.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from activities.store_retry import retry_store
from callboard.machines.left_files import FileLimits, LeftFile, NotKeptError, copy_left_file, find_left_files
from callboard.machines.runner.folders import FILES
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.attempt import AttemptInput, RecordedFile
from callboard.security.masking import Masker
from callboard.storage import object_keys
from callboard.storage.store import Store

log = logging.getLogger(__name__)

_COPY = "file.part"
"""Name of the file, in an Attempt's folder, that is being stored: user code has never had a handle of it."""


@dataclass(frozen=True)
class StoredFiles:
    """What was stored of an Attempt's files."""

    files: tuple[RecordedFile, ...] = ()
    missing: str | None = None
    """What is not, and why, in sentences."""


async def store_files(
    store: Store, attempt: AttemptInput, folder: Path, masker: Masker, limits: FileLimits, *, within: timedelta
) -> StoredFiles:
    """Store the files that an Attempt has left in its folder, one after the other, within the given time.

    Its processes must have ended. What cannot be stored is reported, and fails nothing.
    """
    place = folder / FILES
    if not place.is_dir():
        return StoredFiles()
    left = await asyncio.to_thread(find_left_files, place, limits, masker.mask_text)
    stored: list[RecordedFile] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + within.total_seconds()

    async def store_one(file: LeftFile) -> RecordedFile:
        copy, most = folder / _COPY, limits.size - sum(each.size for each in stored)
        size, digest = await asyncio.to_thread(copy_left_file, place, file, copy, most)
        try:
            key = object_keys.file(attempt.project, attempt.run_id, attempt.number, len(stored))
            # Half of the time, so that the store's own message is known before that is over.
            half = timedelta(seconds=max(0, (end - loop.time()) / 2))
            await retry_store(half, lambda: store.put_file(key, copy))
        finally:
            copy.unlink()
        return RecordedFile(name=file.name, size=size, content_type=file.content_type, sha256=digest)

    for file in left.files:
        try:
            if loop.time() >= end:
                raise TimeoutError
            async with asyncio.timeout_at(end):
                stored.append(await store_one(file))
        except TimeoutError:
            left.miss(file.name, "it could not be stored in time")
        except NotKeptError as error:
            left.miss(file.name, str(error))
        except StoreError as error:
            left.miss(file.name, f"the artifact store did not take it ({error.message.rstrip('.')})")
        except OSError as error:
            left.miss(file.name, f"it cannot be read ({error.strerror})")
    if left.missing is not None:
        log.warning("Run %s, Attempt %d: files are not kept: %s", attempt.run_id, attempt.number, left.missing)
    return StoredFiles(tuple(stored), left.missing)
