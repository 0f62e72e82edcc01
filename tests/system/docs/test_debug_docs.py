"""What docs/debug.md shows is typed, in a project that `callboard new` makes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.skeleton import write_skeleton
from callboard.storage.folder import FolderStore
from tests.support import doc_commands
from tests.support.api_in_process import MakeApi
from tests.support.api_in_process import artifacts as artifacts
from tests.support.api_in_process import deployed as deployed
from tests.support.api_in_process import make_api as make_api
from tests.support.commands import Commands
from tests.support.processes import PATIENCE

(STOP,) = doc_commands.typed("docs/debug.md", "Stop in the code")
(TRACE,) = doc_commands.typed("docs/debug.md", "Read a trace")
(PULL,) = doc_commands.typed("docs/debug.md", "Start a failed Run of production again")


@pytest.fixture
def greeter(venv: Path, tmp_path: Path) -> Path:
    write_skeleton(tmp_path, "greeter")
    (tmp_path / "greeter" / ".venv").symlink_to(venv)
    return tmp_path / "greeter"


async def test_a_breakpoint_stops_and_goes_on(greeter: Path) -> None:
    api = greeter / "api" / "hello.py"
    api.write_text(api.read_text().replace("    # Where a real one begins", "    breakpoint()\n    #"))
    done = await doc_commands.type_in(greeter, STOP.text, "p name\nc\n")
    assert "'Ada'" in done.err
    assert json.loads(done.out) == {"greeting": "Hello, Ada!"}


async def test_a_trace_is_written_and_shown(greeter: Path) -> None:
    write, show = TRACE.commands
    await doc_commands.type_in(greeter, write)
    assert (greeter / "output" / "trace.zip").read_bytes().startswith(b"PK")
    command = show.replace("--port 9322", "--port 0").split()
    viewer = await asyncio.create_subprocess_exec(
        *command, cwd=greeter, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        assert viewer.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while b"Listening on http://localhost:" not in (line := await viewer.stdout.readline()):
                assert line
    finally:
        os.killpg(viewer.pid, signal.SIGTERM)
        await viewer.wait()


async def test_parameters_of_a_run_are_pulled(greeter: Path, tmp_path: Path, make_api: MakeApi) -> None:
    store = FolderStore(tmp_path / "artifacts")
    (tmp_path / "deployed").mkdir()
    write_skeleton(tmp_path / "deployed", "greeter")
    await deploy(tmp_path / "deployed" / "greeter", store)
    api = await make_api(store=store)
    body = {"api": "hello", "parameters": {"name": "Bo"}}
    run_id = (await api.ask("run/start", "greeter", method="POST", status=201, json=body))["runId"]
    async with api.served() as url:
        done = await doc_commands.type_in(greeter, PULL.text, RUN_ID=run_id, **Commands(api, url).environment)
    assert done.out == f".parameters/api/hello/{run_id}.json\n"
    again = done.err.removeprefix("Start it here: ")
    assert json.loads((await doc_commands.type_in(greeter, again)).out) == {"greeting": "Hello, Bo!"}
