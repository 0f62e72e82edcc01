"""`callboard runs` and `callboard projects`, as people type them, on the real stack."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from pathlib import Path

import pytest

from stack import ports
from tests.conftest import Stack
from tests.whole.command import PROGRAM, Command


@pytest.fixture
def callboard(stack: Stack) -> Command:
    return Command(stack)


async def test_a_run_is_started_and_its_result_printed(callboard: Command, tmp_path: Path) -> None:
    body = {"api": "echo", "parameters": {"text": "é 漢 🎭", "number": 2**70}}
    # In a folder of the project, whose settings file says which one it is.
    done = await callboard("runs", "start", json.dumps(body), "--wait", cwd=callboard.folder / "api")
    assert done.json == body["parameters"]
    assert done.err.startswith("Run ")
    (tmp_path / "body.json").write_text(json.dumps(body))
    done = await callboard("runs", "start", f"@{tmp_path / 'body.json'}", "--wait", "--json", "-p", "lab", cwd=tmp_path)
    assert (done.json["status"], done.json["result"]) == ("completed", body["parameters"])


async def test_a_run_that_fails_ends_the_command_with_one_and_is_found(callboard: Command) -> None:
    body = '{"api": "fail", "parameters": {}, "retry": {"maximumAttempts": 2}}'
    run_id = (await callboard("runs", "start", "-", text=body)).out.strip()
    done = await callboard("runs", "result", run_id, "--wait", code=1)
    assert (done.out, done.err) == ("", "The Run is failed. api-attempts-failed: the price is missing\n")
    listed = await callboard("runs", "list", "-f", "status=FAILED", "-f", "api=fail", "-l", "5")
    header, *rows = listed.out.splitlines()
    assert header.split() == ["RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "TOOK", "WHY"]
    (row,) = [row for row in rows if row.startswith(run_id)]
    assert row.split()[1:4] == ["failed", "fail", "2"]
    assert row.endswith("the price is missing")
    shown = await callboard("runs", "get", run_id)
    for words in ("Status", "api-attempts-failed: the price is missing", '"maximumAttempts": 2', "Attempts"):
        assert words in shown.out
    assert (await callboard("runs", "get", run_id, "--json")).json["attemptCount"] == 2


async def test_a_run_is_canceled_and_its_result_ends_the_command_with_three(callboard: Command, tmp_path: Path) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go")}
    run_id = await callboard.stack.start("until-told", parameters)
    await callboard.stack.until_status(run_id, "started")
    assert "is started. Wait for its result" in (await callboard("runs", "result", run_id, code=1)).err
    assert (await callboard("runs", "cancel", run_id)).out == f"Run {run_id} is canceled.\n"
    done = await callboard("runs", "result", run_id, "--json", code=3)
    assert done.json["reason"]["type"] == "cancelled-user-action"


async def test_a_run_is_started_again(callboard: Command) -> None:
    first = await callboard.stack.start("echo", {"n": 1})
    await callboard.stack.result(first)
    done = await callboard("runs", "rerun", first, "--wait")
    assert done.json == {"n": 1}
    second = done.err.split()[1]
    assert f"Rerun of     {first}" in (await callboard("runs", "get", second)).out


async def test_what_cannot_be_is_told_by_the_exit_code(callboard: Command, tmp_path: Path) -> None:
    assert "is not JSON" in (await callboard("runs", "start", "{", code=2)).err
    assert (
        "There is no field parametres"
        in (await callboard("runs", "start", '{"api": "echo", "parametres": {}}', code=2)).err
    )
    assert "which project" in (await callboard("runs", "list", code=2, cwd=tmp_path)).err.lower()
    assert (await callboard("runs", "get", "nobody", code=4)).err == "There is no such Run.\n"
    url = f"http://127.0.0.1:{ports.claim({'--port': 0})['--port']}"
    assert "cannot be reached" in (await callboard("runs", "list", "--url", url, "--key", "key", code=5)).err


async def test_projects_are_listed_and_shown(callboard: Command, tmp_path: Path) -> None:
    listed = await callboard("projects", "list", cwd=tmp_path)
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names[0] == "PROJECT"
    assert {"lab", "orders", "shop"} <= set(names[1:])
    shown = await callboard("projects", "get")
    assert "nested/01-deep-name" in shown.out
    assert (await callboard("projects", "get", "orders", "--json", cwd=tmp_path)).json["authSessions"] == "API"


async def test_on_a_terminal_a_line_tells_how_the_run_stands_and_ctrl_c_leaves_it_alone(
    callboard: Command, tmp_path: Path
) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go"), "value": "done"}
    terminal, end = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *("runs", "start", json.dumps({"api": "until-told", "parameters": parameters}), "--wait"),
            cwd=callboard.folder,
            env=callboard.environment(TERM="xterm", COLUMNS="120"),
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        seen = await _read_until(terminal, b"is started: Attempt 1 on Machine")
        run_id = seen.split(b"Run ", 1)[1].split()[0].decode()
        process.send_signal(2)
        assert "goes on" in (await _read_until(terminal, b"--wait")).decode()
        assert await asyncio.wait_for(process.wait(), 30) == 130
    finally:
        os.close(terminal)
    (tmp_path / "go").touch()
    assert (await callboard.stack.result(run_id))["result"] == "done"


async def _read_until(terminal: int, words: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(60):
        while words not in seen:
            seen += await asyncio.to_thread(os.read, terminal, 4096)
    return seen
