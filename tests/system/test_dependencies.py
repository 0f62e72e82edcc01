"""The example with dependencies, as a user would run it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import REPOSITORY
from tests.support.rest import PATIENCE


async def until_served(stack: Any, project: str) -> None:
    """Wait until its environment has been built."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await stack.request("POST", "run/start", project=project, json={"api": "-", "parameters": {}})
            if "has no API" in answer.text:
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def served(stack: Any) -> Any:
    shutil.copytree(REPOSITORY / "examples" / "projects" / "dependencies", stack.projects / "dependencies")
    await until_served(stack, "dependencies")
    return stack


async def test_the_example_imports_its_package_and_reads_its_env_file(served: Any) -> None:
    html = "<p>" + "x" * 3000 + "</p>"
    answer = await served.run("sizes", {"html": html}, project="dependencies")
    assert answer.get("result") == {"size": "3.0 kB"}, answer
    dotenv: Path = served.dev.settings.dev_projects / "dependencies" / ".env"
    dotenv.write_text("UNIT=binary\n")
    answer = await served.run("sizes", {"html": html}, project="dependencies")
    assert answer["result"] == {"size": "3.0 KiB"}
