"""Take what helpers of `intuned_browser` upload to storage of the platform, as files of the Attempt.

Such a helper asks for two addresses, puts the bytes to the first one by HTTP, and gives user code the second one, by
which the file can be read later. So the process of user code serves itself, at the loopback address of its Machine, and
writes below `output/`, with all limits of what user code writes there by itself.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

from intuned_runtime import IntunedContext

_HOST = "127.0.0.1"
_FOLDER = "uploads"
_CHUNK = 256 * 1024
_RECEIVED_WITHIN = 60.0
"""Seconds without a byte after which an upload has failed."""

_expected: dict[str, Path] = {}
"""Where uploads go that were announced and have not come, by their addresses, which nobody else knows."""


def announce() -> dict[str, str]:
    """Return the addresses for one upload, as the platform answers them. Raises OSError or RuntimeError."""
    _bypass_proxies()
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
    return {"id": file.name, "writeSignedUrl": f"http://{_HOST}:{_serve()}{path}", "readSignedUrl": read}


def _bypass_proxies() -> None:
    """Have the helper come here, and not go to a proxy that variables of the project name."""
    if not proxy_bypass(_HOST):
        others = getproxies().get("no")
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = _HOST if others is None else f"{others},{_HOST}"


@cache
def _serve() -> int:
    """Serve until this process ends, which is with its Attempt. Return the port. Raises OSError."""
    server = _Server((_HOST, 0), _Receiver)
    Thread(target=server.serve_forever, name="uploads", daemon=True).start()
    return server.server_port


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has hung up: the log is that of user code, to which the client belongs."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Receiver(BaseHTTPRequestHandler):
    timeout = _RECEIVED_WITHIN

    def do_PUT(self) -> None:
        """Write what is sent to an address that was announced, once it has come as a whole."""
        file = _expected.get(self.path)
        size = self.headers.get("content-length", "")
        if file is None or not size.isdecimal():
            self._refuse(HTTPStatus.NOT_FOUND if file is None else HTTPStatus.LENGTH_REQUIRED)
            return
        try:
            self._receive(int(size), file)
        except OSError as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"The upload could not be kept: {error}")
            return
        del _expected[self.path]
        self.send_response(HTTPStatus.OK)
        self.send_header("content-length", "0")
        self.end_headers()

    def _receive(self, size: int, file: Path) -> None:
        """Write so many bytes to a new file. Raises OSError; nothing of it is left then."""
        written = file.open("xb")
        try:
            with written:
                while size:
                    data = self.rfile.read(min(size, _CHUNK))
                    if not data:
                        raise ConnectionError("it was cut off")
                    size -= written.write(data)
        except OSError:
            file.unlink()
            raise

    def _refuse(self, status: HTTPStatus, explain: str | None = None) -> None:
        """Answer, and read on until the client hangs up, as it hears no answer while it sends. Raises OSError."""
        self.send_error(status, explain=explain)
        self.connection.shutdown(socket.SHUT_WR)
        while self.rfile.read(_CHUNK):
            pass

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Say nothing: it would stand in the log of user code."""
