"""The login of `callboard new --template login`: what the site refuses is sent once, and told."""

from __future__ import annotations

import json
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from callboard.projects.skeleton import write_skeleton
from tests.support.processes import callboard_process

FORM = """
<h1>Sign in</h1><form method="post" action="/login"><label>User <input name="user"></label>
<label>Password <input type="password" name="password"></label><button>Sign in</button></form>
"""
ANSWERS = {
    "right": "<h1>Your account</h1>",
    "wrong": f'<div role="alert"></div><p role="alert">Wrong password.</p>{FORM}',
    "silent": FORM,
}


@pytest.fixture
def site() -> Generator[tuple[str, list[str]]]:
    """Address of a site whose answer to a login depends on the password, and the passwords that it was sent."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(FORM)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            sent.append(body.rpartition("password=")[2])
            self._answer(ANSWERS[sent[-1]])

        def _answer(self, page: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("right", ""),
        ("wrong", "NotRetryable: The site refuses the login of ada: Wrong password."),
        ("silent", "NotRetryable: The site refuses the login of ada: it shows its form again"),
    ],
)
def test_a_refused_login_is_final(
    site: tuple[str, list[str]], venv: Path, tmp_path: Path, password: str, said: str
) -> None:
    address, sent = site
    write_skeleton(tmp_path, "shop", "login")
    (tmp_path / "shop/.venv").symlink_to(venv)
    given = json.dumps({"url": address, "user": "ada", "password": password})
    command = ("run", "authsession", "create", "ada", "--input", given)
    environment = {"CALLBOARD_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "500"}
    done = callboard_process(*command, cwd=tmp_path / "shop", **environment)
    assert (done.returncode, sent) == (1 if said else 0, [password]), done.stderr
    assert said in done.stderr
