"""Serving Playwright's trace viewer, which is in the installed package, on loopback by this process.

Snapshots in a trace are pages of strangers. So served pages may load from this server alone, and its address is secret:
only somebody who was given it finds the trace.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import sys
import threading
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import typer

from schemas.errors import ConfigurationError

_TRACE = "trace.zip"
_CHUNK = 256 * 1024
_CONTENT_SECURITY_POLICY = "default-src 'self' 'unsafe-inline' data: blob:; form-action 'none'; base-uri 'none'"


def show_trace(trace: BinaryIO) -> None:
    """Serve the viewer with a trace in it, and open it in a browser if there is a desktop, until Ctrl-C.

    Args:
        trace: An open file.

    Raises:
        ConfigurationError: The installed Playwright has no viewer.
    """
    place = f"/{secrets.token_urlsafe(16)}/"
    handler = partial(_Handler, place=place, trace=trace, directory=str(_viewer_folder()))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            address = f"http://127.0.0.1:{server.server_port}{place}index.html?trace={_TRACE}"
            typer.echo(f"{address}\nPress Ctrl-C to stop.")
            if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                webbrowser.open(address)  # Without a desktop, this could open a browser in this terminal.
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
            server.shutdown()
            thread.join()


def _viewer_folder() -> Path:
    found = importlib.util.find_spec("playwright")
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place) / "driver" / "package" / "lib" / "vite" / "traceViewer"
        if (folder / "index.html").is_file():
            return folder
    raise ConfigurationError("The installed Playwright has no trace viewer. Install Callboard's own dependencies.")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Handler(SimpleHTTPRequestHandler):
    """The request handler, which serves the viewer's files and the trace below `place`."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, place: str, trace: BinaryIO, **named: Any) -> None:
        self._place = place
        self._trace = trace
        super().__init__(*arguments, **named)

    def do_HEAD(self) -> None:
        """Refuse HEAD requests, which nobody needs."""
        self.send_error(405)

    def do_GET(self) -> None:
        """Send the trace, or a file of the viewer."""
        path = self.path.partition("?")[0]
        if not path.startswith(self._place):
            self.send_error(404)
        elif path == self._place + _TRACE:
            self._send_trace()
        else:
            self.path = path.removeprefix(self._place.removesuffix("/"))
            super().do_GET()

    def _send_trace(self) -> None:
        file, at = self._trace.fileno(), 0
        self.send_response(200)
        self.send_header("content-type", "application/zip")
        self.send_header("content-length", str(os.fstat(file).st_size))
        self.end_headers()
        while chunk := os.pread(file, _CHUNK, at):  # Other requests read the file, too, so its offset is not moved.
            self.wfile.write(chunk)
            at += len(chunk)

    def end_headers(self) -> None:
        """Add the headers that every answer has, then end the headers."""
        self.send_header("content-security-policy", _CONTENT_SECURITY_POLICY)
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("cache-control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Log nothing, as nobody wants to see requests."""
