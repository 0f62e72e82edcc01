"""Take what helpers of `intuned_browser` upload to storage of the platform, as files of the Attempt.

Such a helper asks for two addresses, puts the bytes to the first one by HTTP, and gives user code the second one, by
which the file can be read later. So the process of user code serves itself, at the loopback address of its Machine, and
writes below `output/`, with all limits of what user code writes there by itself.
"""

from __future__ import annotations

import secrets
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO
from urllib.parse import quote

from intuned_runtime import IntunedContext

_FOLDER = "uploads"
_CHUNK = 256 * 1024
_RECEIVED_WITHIN = 60.0
"""Seconds without a byte after which an upload has failed."""

_expected: dict[str, Path] = {}
"""Where uploads go that were announced and have not come, by their addresses, which nobody else knows."""


def announce() -> dict[str, str]:
    """Return the addresses for one upload, as the platform answers them. Raises OSError or RuntimeError."""
    context = IntunedContext.current()
    folder = context.output / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (file := folder / str(number)).exists() or file in _expected.values():
        number += 1
    path = f"/{secrets.token_urlsafe()}"
    _expected[path] = file
    attempt = context.run_context and context.run_context.attempt_path
    read = file.as_uri() if attempt is None else f"{attempt}/files/{quote(f'{_FOLDER}/{file.name}', safe='')}"
    return {"id": file.name, "writeSignedUrl": f"http://127.0.0.1:{_serve()}{path}", "readSignedUrl": read}


@cache
def _serve() -> int:
    """Serve until this process ends, which is with its Attempt. Return the port. Raises OSError."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    Thread(target=server.serve_forever, name="uploads", daemon=True).start()
    return server.server_port


class _Receiver(BaseHTTPRequestHandler):
    timeout = _RECEIVED_WITHIN

    def do_PUT(self) -> None:
        """Write what is sent to an address that was announced, once."""
        file = _expected.pop(self.path, None)
        size = self.headers.get("content-length", "")
        if file is None or not size.isdecimal():
            self.send_error(HTTPStatus.NOT_FOUND if file is None else HTTPStatus.LENGTH_REQUIRED)
            return
        try:
            with file.open("xb") as written:
                self._receive(int(size), written)
        except OSError as error:
            self.send_error(HTTPStatus.INSUFFICIENT_STORAGE, explain=f"The upload could not be kept: {error}")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("content-length", "0")
        self.end_headers()

    def _receive(self, size: int, written: BinaryIO) -> None:
        """Write so many bytes. Raises OSError; a file that is left then has what has come."""
        while size:
            data = self.rfile.read(min(size, _CHUNK))
            if not data:
                raise ConnectionError("it was cut off")
            size -= written.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Say nothing: it would stand in the log of user code."""
