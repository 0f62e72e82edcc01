"""What docs/jobs.md shows is typed, in its order, on the real stack; its file is one that a deploy applies."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.support import doc_commands
from tests.support.command_line import Command
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

PAGE = (REPOSITORY / "docs" / "jobs.md").read_text()
BLOCKS = [block.text for block in doc_commands.typed("docs/jobs.md")]
FILE = re.findall(r"`(intuned-resources/jobs/\S+)`\n\n```jsonc\n(.*?)```", PAGE, flags=re.DOTALL)


async def test_what_is_shown_is_done(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "shop"  # beside those that are published, as something is saved there
    shutil.copytree(stack.projects / "shop", folder)
    script = "".join(BLOCKS)
    script = script.replace("http://127.0.0.1:8400", stack.url).replace("~/.local/share/callboard", str(stack.data))
    script = script.replace('{"pages"', f'{{"baseUrl": {json.dumps(stack.site)}, "pages"')
    said = await Command(stack, "shop").script(script, folder, within=200)
    assert "1 of 1 Runs have completed, 0 failed" in said
    assert '"message":"updated job successfully"' in said
    assert "Job long is paused.\nJob long is resumed.\n" in said
    assert {job["id"] for job in await jobs(stack, "shop")}.isdisjoint({"every-morning", "by-hand", "long"})


async def test_a_file_is_a_job_that_comes_changes_and_goes_with_it(stack: Stack) -> None:
    ((path, text),) = FILE
    folder = stack.projects / "job-files"
    (folder / "api").mkdir(parents=True)
    (folder / "Intuned.json").write_text("{}")
    (folder / "api" / "list-products.py").write_text("async def automation(page, params, **_):\n    return params\n")
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(text)
    (job,) = await until(lambda: jobs(stack, "job-files"), every=0.2)
    assert job["id"] == "nightly"
    assert (job["source"], job["schedule"]["timezone"], job["payload_count"]) == ("CODE", "Europe/Berlin", 1)
    assert job["next_run_time"] is not None
    files: dict[str, Any] = {"project": "job-files"}
    refused = await stack.request("DELETE", "jobs/nightly", **files)
    assert (refused.status_code, "Edit the file" in refused.json()["message"]) == (409, True)
    (folder / path).write_text(text.replace('"pages": 1', '"pages": 2'))
    await stack.until("jobs", lambda told: told[0]["payload"][0]["parameters"] == {"pages": 2}, **files)
    (folder / path).unlink()
    await stack.until("jobs", lambda told: not told, **files)
    shutil.rmtree(folder)


async def jobs(stack: Stack, project: str) -> list[Any]:
    """The Jobs of a project; none while it is not deployed."""
    answer = await stack.request("GET", "jobs", project=project)
    return answer.json() if answer.status_code == 200 else []
