"""The browser of an Attempt that runs on this host, as it is now: pictures that its Machine sends to whoever watches.

A Machine listens on a socket in the Attempt's folder, below the data folder that workers of this host share with the
api, as in `callboard dev`. Nothing is sent to it. What comes from there comes out of a process that runs user code:
it is held against what a picture is, and goes no further than into an `<img>`.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from glob import escape
from pathlib import Path

from api.attempts import no_attempt, record_of
from api.parts import Parts
from contract.flow.attempt import AttemptStatus

MEDIA_TYPE = "multipart/x-mixed-replace; boundary=picture"
"""Each part takes the place of the one before."""

_SOCKET = "live.sock"
_LARGEST = 1_000_000
_JPEG = b"\xff\xd8\xff"
_BOUNDARY = b"--picture\r\n"


def can_watch(parts: Parts, worker: str | None, run_id: str, number: int) -> bool:
    """Whether an Attempt that runs there can be watched from here."""
    return worker is not None and _socket(parts, worker, run_id, number) is not None


async def watch(parts: Parts, project: str, run_id: str, number: int) -> AsyncGenerator[bytes] | None:
    """Connect to the Machine; then its pictures, as parts of a body of `MEDIA_TYPE`, until the Attempt ends.

    None if it has ended by now, or does not run on this host.

    Raises:
        NotFound: There is no such Attempt.
        StoreError: The store failed.
    """
    record = await record_of(parts, project, run_id, number)
    if record is None:
        raise no_attempt(run_id, number)
    if record.status is not AttemptStatus.STARTED or record.worker is None:
        return None
    place = _socket(parts, record.worker, run_id, number)
    if place is None:
        return None
    try:
        reader, writer = await _connect(place)
    except OSError:
        return None
    return _parts(parts, reader, writer)


async def _parts(parts: Parts, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncGenerator[bytes]:
    closing = asyncio.ensure_future(parts.closing.wait())
    closing.add_done_callback(lambda _: writer.close())  # which ends the reading
    try:
        yield _BOUNDARY
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">I", await reader.readexactly(4))
                if size > _LARGEST:
                    return
                picture = await reader.readexactly(size)
                if not picture.startswith(_JPEG):
                    return
                head = b"content-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % size
                # A browser shows a part once it sees where the next begins.
                yield head + picture + b"\r\n" + _BOUNDARY
    finally:
        closing.cancel()
        writer.close()


def _socket(parts: Parts, worker: str, run_id: str, number: int) -> Path | None:
    if Path(worker).name != worker:
        return None
    folder = parts.settings.data_dir.expanduser().resolve() / "workers" / worker / "evidence"
    found = folder.glob(f"{escape(run_id)}-{number}-*/{_SOCKET}")
    return next((each for each in found if each.is_socket()), None)


async def _connect(place: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """By way of its folder: it may lie deeper than the name of a socket can tell."""
    descriptor = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{place.name}")
    finally:
        os.close(descriptor)
