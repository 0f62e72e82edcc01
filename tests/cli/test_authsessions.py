"""`callboard authsessions`: what it sends where, and what it says of the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from contract.errors import CallboardError

WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = "key-of-the-test"
STATE = {"cookies": [], "origins": []}
MADE = {"id": "anna", "type": "RECORDER", "status": "READY"}
PATH = "/api/v1/workspace/{}/projects/orders/auth-sessions/import"


@dataclass
class Heard:
    """An API that notes what it is asked, and answers what it is told."""

    url: str
    status: int = 201
    answer: bytes = field(default_factory=json.dumps(MADE).encode)
    requests: list[tuple[str, str | None, Any]] = field(default_factory=list[tuple[str, str | None, Any]])


@pytest.fixture
def api() -> Generator[Heard]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.requests.append((self.path, self.headers["x-api-key"], json.loads(body)))
            self.send_response(heard.status)
            self.send_header("content-length", str(len(heard.answer)))
            self.end_headers()
            self.wfile.write(heard.answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard = Heard(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(STATE))
    return file


def callboard(*arguments: object, text: str | None = None, **environment: str) -> Result:
    """The command, in this process: it begins sooner."""
    none = dict.fromkeys(name for name in os.environ if name.startswith("CALLBOARD_"))
    command = ["authsessions", *map(str, arguments)]
    return CliRunner().invoke(app, command, env={**none, **environment, "COLUMNS": "200"}, input=text)


def elsewhere(api: Heard) -> dict[str, str]:
    return {"CALLBOARD_URL": f"{api.url}/", "CALLBOARD_API_KEY": KEY, "CALLBOARD_WORKSPACE_ID": WORKSPACE}


def told(done: Result) -> str:
    """The sentence that a failed command ends with."""
    assert isinstance(done.exception, CallboardError), done.output
    assert done.output == ""
    assert "\n" not in done.exception.message
    assert KEY not in done.exception.message
    return done.exception.message


def test_import_sends_the_state_with_the_key_of_the_environment_and_says_how_the_auth_session_stands(
    api: Heard, state_file: Path
) -> None:
    command: list[str | Path] = [Path(sys.executable).with_name("callboard"), "authsessions", "import", state_file]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    done = subprocess.run(
        [*command, "--id", "anna", "-p", "orders"],
        env=clean | elsewhere(api),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "AuthSession anna (RECORDER) is READY.\n", "")
    assert api.requests == [(PATH.format(WORKSPACE), KEY, {"state": STATE, "id": "anna"})]


def test_import_takes_the_state_from_stdin_and_no_id(api: Heard) -> None:
    done = callboard("import", "-", "--project", "orders", text=json.dumps(STATE), **elsewhere(api))
    assert done.exit_code == 0, done.output
    assert api.requests[0][2] == {"state": STATE}


def test_without_an_address_it_is_the_embedded_stack_on_the_data_folder(
    api: Heard, state_file: Path, tmp_path: Path
) -> None:
    card = {"url": api.url, "apiKey": "key-of-dev", "workspaceId": WORKSPACE}
    (tmp_path / "dev.json").write_text(json.dumps(card))
    # A proxy of the environment is not asked for an address on this host.
    done = callboard("import", state_file, "-p", "orders", "--data", tmp_path, http_proxy="http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert api.requests[0][:2] == (PATH.format(WORKSPACE), "key-of-dev")


def test_an_option_beats_the_environment(api: Heard, state_file: Path) -> None:
    environment = elsewhere(api) | {"CALLBOARD_URL": "http://127.0.0.1:9"}
    done = callboard("import", state_file, "-p", "orders", "--url", api.url, **environment)
    assert done.exit_code == 0, done.output


def test_what_the_api_refuses_is_told_in_its_own_sentence(api: Heard, state_file: Path) -> None:
    message = 'state.cookies[0].sameSite: expected "Strict", "Lax" or "None".'
    api.status, api.answer = 400, json.dumps({"code": "bad-request", "message": message, "more": 1}).encode()
    assert told(callboard("import", state_file, "-p", "orders", **elsewhere(api))) == message


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b""])
def test_what_is_no_api_of_callboard_is_told(api: Heard, state_file: Path, answer: bytes) -> None:
    api.status, api.answer = 502, answer
    assert "answered 502" in told(callboard("import", state_file, "-p", "orders", **elsewhere(api)))


def test_an_address_without_a_key_names_the_variable(api: Heard, state_file: Path) -> None:
    assert "CALLBOARD_API_KEY" in told(callboard("import", state_file, "-p", "orders", "--url", api.url))
    assert api.requests == []


def test_without_any_api_it_says_how_to_name_one(state_file: Path, tmp_path: Path) -> None:
    sentence = told(callboard("import", state_file, "-p", "orders", "--data", tmp_path / "nowhere"))
    assert "callboard dev" in sentence
    assert "CALLBOARD_URL" in sentence


def test_an_api_that_does_not_answer_is_told_with_its_address(state_file: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    sentence = told(callboard("import", state_file, "-p", "orders", "--url", url, CALLBOARD_API_KEY=KEY))
    assert f"The API at {url} cannot be reached" in sentence


def test_a_file_that_is_no_json_is_told_without_what_it_holds(api: Heard, state_file: Path) -> None:
    state_file.write_text("password=hunter2")
    sentence = told(callboard("import", state_file, "-p", "orders", **elsewhere(api)))
    assert f"{state_file} is not JSON" in sentence
    assert "hunter2" not in sentence
    missing = callboard("import", state_file.with_name("nope"), "-p", "orders", **elsewhere(api))
    assert missing.exit_code == 2
    assert "No such file" in missing.stderr
    assert api.requests == []
