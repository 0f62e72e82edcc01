"""Receiving a project that is sent: it goes to the disk, is checked, and then goes to the artifact store.

Nothing of it is unpacked or executed here, and memory does not grow with its size.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request

from api.http.json_body import read_json_object, refuse_announced, too_large, validate_body
from projects.bundle import add_content, open_bundle
from projects.files import check_name
from projects.processes import run_in_thread
from projects.scratch import scratch_folder
from projects.upload import UploadLimits
from projects.upload_process import check_in_process
from schemas.errors import NotFound, Unavailable
from schemas.rest.deploys import CodeTree
from schemas.rest.field_errors import field_error
from settings import Settings
from storage import keys
from storage.store import Store

GZIP = "application/gzip"

_AT_ONCE = 4
"""How many projects may arrive at the same time: each takes place on the disk, and one process while it is checked."""
_CODE_TREE_LIMIT = 8 * 1024 * 1024
"""Bytes of a project that is sent as JSON, which is held in memory."""
_WRITTEN_AT_ONCE = 1024 * 1024


class Uploads:
    """The uploads of projects, and the place where they are until they are in the store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._settings = settings
        self._limits = UploadLimits(settings.upload_limit, settings.upload_unpacked_limit, settings.upload_files)
        self._arriving = 0

    async def receive(self, project: str, request: Request) -> str:
        """Store the project that a request sends, as a tar or as JSON, and return the id of the upload.

        Raises:
            PayloadTooLarge: It is too large, or has too many files.
            BadRequest, ProjectError: It is wrong; the error names the path.
            Unavailable: Too many projects arrive at the moment.
            StoreError: It cannot be stored.
        """
        tree = None
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == GZIP:
            refuse_announced(request, self._limits.packed)
        else:
            tree = validate_body(CodeTree, await read_json_object(request, _CODE_TREE_LIMIT)).code_tree
        with self._place():
            async with scratch_folder(await run_in_thread(self._settings.make_folder, "uploads")) as scratch:
                archive = scratch / "upload.tar.gz"
                if tree is None:
                    await _write_body(request, archive, self._limits.packed)
                else:
                    await run_in_thread(_write_tree, tree, archive)
                await check_in_process(archive, project, self._limits)
                upload_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
                await self._store.put_file(keys.upload_bundle(project, upload_id), archive)
        return upload_id

    async def find(self, project: str, upload_id: str | None) -> str:
        """Return the id of an upload that is stored; without an id, of the latest one.

        Raises:
            NotFound: There is none.
            StoreError: The store failed.
        """
        if upload_id is None:
            # The bundle of an upload is the first of its keys.
            async for key in self._store.list(keys.uploads(project)):
                found = key.removeprefix(keys.uploads(project)).partition("/")[0]
                if key == keys.upload_bundle(project, found):
                    upload_id = found
        elif not await self._store.exists(keys.upload_bundle(project, upload_id)):
            upload_id = None
        if upload_id is None:
            raise NotFound(
                f"There is no such upload of project {project}: none was sent, or it was deployed, or is too old. "
                "Send the project first, by PUT."
            )
        return upload_id

    @contextmanager
    def _place(self) -> Generator[None]:
        if self._arriving >= _AT_ONCE:
            raise Unavailable(f"{_AT_ONCE} projects are arriving already. Try again in a moment.")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1


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


def _write_tree(tree: dict[str, Any], target: Path) -> None:
    with target.open("wb") as file, open_bundle(file) as archive:
        for path, contents in _files_of(tree, ()):
            add_content(archive, path, contents.encode())


def _files_of(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the paths of the files of a tree, with their contents."""
    for name, node in tree.items():
        path = "/".join((*above, name))
        if "/" in name or name in ("", ".", ".."):
            raise field_error(f"codeTree.{path}", "the name of a file or a folder")
        check_name(path)
        match node:
            case {"directory": dict()}:
                yield from _files_of(cast("dict[str, Any]", node["directory"]), (*above, name))
            case {"file": {"contents": str(contents)}}:
                yield path, contents
            case _:
                expected = '{"file": {"contents": text}} or {"directory": {…}}'
                raise field_error(f"codeTree.{path}", expected)
