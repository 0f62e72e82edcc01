"""Live pictures of the browser of an Attempt that runs on this host, as its Machine sends them to viewers.

A Machine listens on a socket in the Attempt's folder, below the data folder that workers of this host share with the
api, as in `callboard dev`. The api sends nothing to it. What the api receives comes from a process that runs user code:
it is checked for being a picture, and is shown only in an `<img>`.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from glob import escape
from pathlib import Path

from api.attempts.artifacts import require_record
from api.dependencies import Services
from callboard.schemas.workflow.attempt import AttemptStatus

MEDIA_TYPE = "multipart/x-mixed-replace; boundary=picture"
"""Media type of a stream of pictures; a browser replaces each part by the next one."""

_SOCKET_NAME = "live.sock"
_MAX_PICTURE_BYTES = 1_000_000
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_BOUNDARY = b"--picture\r\n"


def is_watchable(services: Services, worker: str | None, run_id: str, number: int) -> bool:
    """Tell whether this process can watch an Attempt that `worker` executes."""
    return worker is not None and _find_socket(services, worker, run_id, number) is not None


async def watch_attempt(services: Services, project: str, run_id: str, number: int) -> AsyncGenerator[bytes] | None:
    """Connect to the Machine and return its pictures, as the parts of a `MEDIA_TYPE` body, until the Attempt ends.

    Return None if the Attempt does not run (any more), or not on this host.

    Raises:
        NotFound: There is no such Attempt.
        StoreError: The store failed.
    """
    record = await require_record(services, project, run_id, number)
    if record.status is not AttemptStatus.STARTED or record.worker is None:
        return None
    path = _find_socket(services, record.worker, run_id, number)
    if path is None:
        return None
    try:
        reader, writer = await _connect(path)
    except OSError:
        return None
    return _multipart(services, reader, writer)


async def _multipart(
    services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncGenerator[bytes]:
    shutdown = asyncio.ensure_future(services.shutting_down.wait())
    shutdown.add_done_callback(lambda _: writer.close())  # closing the connection ends the loop below
    try:
        yield _BOUNDARY
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">I", await reader.readexactly(4))
                if size > _MAX_PICTURE_BYTES:
                    return
                picture = await reader.readexactly(size)
                if not picture.startswith(_JPEG_SIGNATURE):
                    return
                head = b"content-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % size
                # The boundary follows at once, because a browser shows a part only when it sees where the next begins.
                yield head + picture + b"\r\n" + _BOUNDARY
    finally:
        shutdown.cancel()
        writer.close()


def _find_socket(services: Services, worker: str, run_id: str, number: int) -> Path | None:
    if Path(worker).name != worker:
        return None
    folder = services.settings.data_dir.expanduser().resolve() / "workers" / worker / "evidence"
    candidates = folder.glob(f"{escape(run_id)}-{number}-*/{_SOCKET_NAME}")
    return next((each for each in candidates if each.is_socket()), None)


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the socket through a descriptor of its folder: its path may be too long for a socket's address."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)
