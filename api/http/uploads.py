"""Receiving a project that is sent: it goes to the disk, is checked, and then goes to the artifact store.

Nothing of it is unpacked or executed here, and memory does not grow with its size.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request

from api.http.access import caller_of
from api.http.json_body import refuse_announced, too_large
from callboard.projects.bounded import run_bounded
from callboard.projects.processes import run_in_thread
from callboard.projects.scratch import scratch_folder
from callboard.projects.upload import UploadLimits, check_upload, pack_tree
from callboard.schemas.errors import NotFound, Unavailable
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.store import Store

GZIP = "application/gzip"

_AT_ONCE = 4
"""How many projects may arrive at the same time: each takes place on the disk, and one process while it is checked."""
_OF_ONE_KEY = 2
"""How many of them may be sent with one key, so that slow ones do not close uploads for all others."""
_CODE_TREE_LIMIT = 8 * 1024 * 1024
"""Bytes of a project that is sent as JSON."""
_WRITTEN_AT_ONCE = 1024 * 1024


class Uploads:
    """The uploads of projects, and the place where they are until they are in the store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._settings = settings
        self._limits = UploadLimits(settings.upload_limit)
        self._arriving: list[str] = []
        """The id of the key of each upload that is arriving."""

    async def receive(self, project: str, request: Request) -> str:
        """Store the project that a request sends, as a tar or as JSON, and return the id of the upload.

        Raises:
            PayloadTooLarge: It is too large, or has too many files.
            BadRequest, ProjectError: It is wrong; the error names the path.
            Unavailable: Too many projects arrive at the moment, from all clients or with this key.
            StoreError: It cannot be stored.
        """
        is_tar = request.headers.get("content-type", "").partition(";")[0].strip().lower() == GZIP
        limit = self._limits.packed if is_tar else _CODE_TREE_LIMIT
        refuse_announced(request, limit)
        with self._place(caller_of(request).id):
            async with scratch_folder(await run_in_thread(self._settings.make_folder, "uploads")) as scratch:
                archive = scratch / "upload.tar.gz"
                body = archive if is_tar else scratch / "tree.json"
                await _write_body(request, body, limit)
                if not is_tar:
                    await run_bounded(pack_tree, body, archive, self._limits, read=[body], write=[scratch])
                await run_bounded(check_upload, archive, project, self._limits, read=[archive])
                upload_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
                await self._store.put_file(object_keys.upload_bundle(project, upload_id), archive)
        return upload_id

    async def find(self, project: str, upload_id: str | None) -> str:
        """Return the id of an upload that is stored; without an id, of the latest one.

        Raises:
            NotFound: There is none.
            StoreError: The store failed.
        """
        if upload_id is None:
            # The bundle of an upload is the first of its keys.
            async for key in self._store.list(object_keys.uploads(project)):
                found = key.removeprefix(object_keys.uploads(project)).partition("/")[0]
                if key == object_keys.upload_bundle(project, found):
                    upload_id = found
        elif not await self._store.exists(object_keys.upload_bundle(project, upload_id)):
            upload_id = None
        if upload_id is None:
            raise NotFound(
                f"There is no such upload of project {project}: none was sent, or it was deployed, or is too old. "
                "Send the project first, by PUT."
            )
        return upload_id

    @contextmanager
    def _place(self, key_id: str) -> Generator[None]:
        if self._arriving.count(key_id) >= _OF_ONE_KEY:
            raise Unavailable(f"{_OF_ONE_KEY} projects are arriving already with your key. Try again in a moment.")
        if len(self._arriving) >= _AT_ONCE:
            raise Unavailable(f"{_AT_ONCE} projects are arriving already. Try again in a moment.")
        self._arriving.append(key_id)
        try:
            yield
        finally:
            self._arriving.remove(key_id)


async def _write_body(request: Request, target: Path, limit: int) -> None:
    received, waiting = 0, bytearray()
    with await asyncio.to_thread(target.open, "wb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise too_large(limit)
            waiting += chunk
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await run_in_thread(file.write, waiting)
                waiting = bytearray()
        await run_in_thread(file.write, waiting)
