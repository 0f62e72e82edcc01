"""An API that notes what it is asked, and answers what it is told; and commands that ask it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from typer.testing import CliRunner, Result

from callboard.cli.exit_codes import exit_code_for_error
from callboard.cli.main import app
from callboard.schemas.errors import CallboardError
from tests.support.constants import WORKSPACE
from tests.support.processes import CALLBOARD, measured, surroundings

KEY = "key-of-the-test"


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    """With its query; what comes before the project is left out."""
    key: str | None
    body: Any
    """What was sent: parsed if it is JSON, else bytes."""
    headers: dict[str, str]


@dataclass
class FakeApi:
    """The API. `answers` are given in turn, the last one for ever: a status with bytes, or with JSON."""

    url: str
    answers: list[tuple[int, Any]] = field(default_factory=lambda: [(200, {})])
    asked: list[Asked] = field(default_factory=list[Asked])

    @classmethod
    @contextmanager
    def served(cls) -> Generator[FakeApi]:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                text = self._read_chunks() if self.headers.get("transfer-encoding") == "chunked" else self._read()
                is_json = self.headers.get("content-type") == "application/json"
                base = f"/api/v1/workspace/{WORKSPACE}/"
                api.asked.append(
                    Asked(
                        self.command,
                        self.path.removeprefix(base),
                        self.headers["x-api-key"],
                        None if not text else json.loads(text) if is_json else text,
                        {name.lower(): value for name, value in self.headers.items()},
                    )
                )
                status, answer = api.answers[0] if len(api.answers) == 1 else api.answers.pop(0)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the library's names

            def _read(self) -> bytes:
                return self.rfile.read(int(self.headers.get("content-length", 0)))

            def _read_chunks(self) -> bytes:
                text = b""
                while size := int(self.rfile.readline(), 16):
                    text += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return text

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            api = cls(f"http://127.0.0.1:{server.server_address[1]}")
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield api
            finally:
                server.shutdown()
                thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a command here."""
        return {"CALLBOARD_URL": f"{self.url}/", "CALLBOARD_API_KEY": KEY, "CALLBOARD_WORKSPACE_ID": WORKSPACE}

    def callboard(self, *arguments: object, text: str | None = None, **environment: str) -> Result:
        """A command that asks it."""
        return callboard(*arguments, text=text, **(self.environment | environment))

    def error(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """The exit code of a command that fails, and its sentence."""
        return error_of(self.callboard(*arguments, **environment))


def callboard_process(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as somebody types it in this folder."""
    command = [CALLBOARD, *arguments]
    env = surroundings(**environment, **measured())
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def callboard(*arguments: object, text: str | None = None, **environment: str) -> Result:
    """A command, in this process: it begins sooner."""
    none = dict.fromkeys(name for name in os.environ if name.startswith("CALLBOARD_"))
    return CliRunner().invoke(
        app, [str(each) for each in arguments], env={**none, "COLUMNS": "200", **environment}, input=text
    )


def error_of(done: Result) -> tuple[int, str]:
    """How `callboard` ends where it raises an error: its exit code and the sentence, the only thing that it says."""
    assert isinstance(done.exception, CallboardError), (done.output, done.exception)
    assert done.stdout == ""
    assert "\n" not in done.exception.message
    assert KEY not in done.exception.message
    return exit_code_for_error(done.exception), done.exception.message
