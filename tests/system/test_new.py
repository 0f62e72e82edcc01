"""A project that `callboard new` makes runs as it is."""

from __future__ import annotations

import json
import shutil

from tests.support.processes import CALLBOARD, execute
from tests.support.stack import Stack


async def test_a_new_project_is_published_and_its_api_returns_a_greeting(stack: Stack) -> None:
    name = "made-new"
    assert (await execute(CALLBOARD, "new", name, cwd=stack.projects)).code == 0
    try:
        parameters = json.loads((stack.projects / name / ".parameters/api/hello/default.json").read_text())
        await stack.until_deployed(name)
        for given, greeted in ((parameters, "Ada"), ({}, "world"), ({"name": "<b>&"}, "<b>&")):
            run = await stack.run("hello", given, project=name)
            assert run["result"] == {"greeting": f"Hello, {greeted}!"}, run
    finally:
        shutil.rmtree(stack.projects / name)
