"""A project that `callboard new` makes runs as it is."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from tests.support.stack import Stack


async def test_a_new_project_is_published_and_its_api_returns_a_greeting(stack: Stack) -> None:
    name = "made-new"
    callboard = Path(sys.executable).with_name("callboard")
    command = await asyncio.create_subprocess_exec(callboard, "new", name, cwd=stack.projects)
    assert await asyncio.wait_for(command.wait(), 60) == 0
    try:
        parameters = json.loads((stack.projects / name / ".parameters/api/hello/default.json").read_text())
        await stack.until_deployed(name)
        for given, greeted in ((parameters, "Ada"), ({}, "world"), ({"name": "<b>&"}, "<b>&")):
            run = await stack.run("hello", given, project=name)
            assert run["result"] == {"greeting": f"Hello, {greeted}!"}, run
    finally:
        shutil.rmtree(stack.projects / name)
