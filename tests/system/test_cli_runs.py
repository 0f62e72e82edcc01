"""`callboard runs` and `callboard projects`, as people type them, on the real stack."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest

from callboard.dev import ports
from tests.support.command_line import Command
from tests.support.stack import Stack


@pytest.fixture
def callboard(stack: Stack) -> Command:
    return Command(stack)


async def test_a_run_that_fails_ends_the_command_with_one_and_is_found(callboard: Command) -> None:
    body = '{"api": "fail", "parameters": {}, "retry": {"maximumAttempts": 2}}'
    run_id = (await callboard("runs", "start", "-", text=body)).out.strip()
    done = await callboard("runs", "result", run_id, "--wait", code=1)
    told = "api-attempts-failed: ValueError: the price is missing (api/fail.py:2)"
    assert done.out == ""
    assert done.err == (f"The Run failed. {told}\nSee: callboard attempts get {run_id} -p {callboard.project}\n")
    listed, shown, attempt = await asyncio.gather(
        callboard("runs", "list", "-f", "status=FAILED", "-f", "api=fail", "-l", "5"),
        callboard("runs", "get", run_id),
        callboard("attempts", "get", run_id),
    )
    header, *rows = listed.out.splitlines()
    assert header.split() == ["RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "DURATION", "REASON"]
    (row,) = [row for row in rows if row.startswith(run_id)]
    assert row.split()[1:4] == ["failed", "fail", "2"]
    assert row.endswith("ValueError: the price is missing (api/fail.py:2)")
    for words in ("Status", told, '"maximumAttempts": 2', "Attempts"):
        assert words in shown.out
    assert re.search(r"^Attempt +2$", attempt.out, flags=re.MULTILINE)
    assert "script-execution-exception: ValueError: the price is missing (api/fail.py:2)" in attempt.out
    assert 'File "api/fail.py"' in attempt.out


async def test_a_run_is_canceled_and_its_result_ends_the_command_with_three(callboard: Command, tmp_path: Path) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go")}
    run_id = await callboard.stack.start("until-told", parameters)
    await callboard.stack.until_status(run_id, "started")
    assert "is started. Pass --wait to wait for its result" in (await callboard("runs", "result", run_id, code=1)).err
    assert (await callboard("runs", "cancel", run_id)).out == f"Run {run_id} is canceled.\n"
    done = await callboard("runs", "result", run_id, "--json", code=3)
    assert done.json["reason"]["type"] == "cancelled-user-action"


async def test_what_cannot_be_is_told_by_the_exit_code(callboard: Command, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{ports.choose_ports({'--port': 0})['--port']}"
    usage, project, run, attempt, key, address = await asyncio.gather(
        callboard("runs", "start", '{"api": "echo", "parameters": {}, "parametres": {}}', code=2),
        callboard("runs", "list", code=2, cwd=tmp_path),
        callboard("runs", "get", "nobody", code=4),
        callboard("attempts", "log", "nobody", code=4),
        callboard("runs", "list", "--key", "not-the-key", code=1),
        callboard("runs", "list", "--url", nobody, "--key", "key", code=5),
    )
    assert "parametres" in usage.err
    assert "No project given." in project.err
    assert run.err == attempt.err == "There is no such Run.\n"
    assert "is not known" in key.err
    assert f"The API at {nobody} cannot be reached" in address.err


async def test_a_terminal_shows_the_run_s_status_and_ctrl_c_leaves_the_run_alone(
    callboard: Command, tmp_path: Path
) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go"), "value": "done"}
    body = json.dumps({"api": "until-told", "parameters": parameters})
    async with callboard.on_terminal("runs", "start", body, "--wait") as terminal:
        seen = await terminal.until("is started: Attempt 1 on Machine")
        run_id = seen.split("Run ", 1)[1].split()[0]
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.end() == 130
        assert f"Run {run_id} continues. callboard runs result {run_id} --wait -p lab" in terminal.seen
    async with callboard.on_terminal("runs", "list", "-f", "status=started") as terminal:
        assert await terminal.end() == 0
        assert re.search(rf"{run_id}  \x1b\[36mstarted", terminal.seen), terminal.seen
    (tmp_path / "go").touch()
    assert (await callboard.stack.result(run_id))["result"] == "done"
