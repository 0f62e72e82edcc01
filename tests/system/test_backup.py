"""What docs/backup.md shows of `callboard dev` is typed while a stack works, and what was saved goes on elsewhere."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import doc_commands
from tests.support.command_line import Command
from tests.support.example_auth_sessions import AuthStates
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack
from tests.support.webhook_receiver import answers, receiver

pytestmark = pytest.mark.timeout(400)

SIZE = 100_000
"""Letters of a result that is an artifact."""
DEFAULT_DATA = "~/.local/share/callboard"
SAVE, RESTORE = doc_commands.typed("docs/backup.md", "`callboard dev`")
START = "callboard dev my-projects --data ~/.local/share/callboard-restored\n"
"""The last of these, which runs until it is stopped; `Stack.up` does the same."""


def projects(folder: Path) -> Path:
    """A project with one Machine, one that logs in, and one for a Job."""
    made = folder / "projects"
    for name in ("lab", "guarded"):
        shutil.copytree(REPOSITORY / "tests" / "system" / "projects" / name, made / name)
    (made / "lab" / "Intuned.jsonc").write_text('{"projectName": "lab", "replication": {"maxConcurrentRequests": 1}}')
    shutil.copytree(made / "lab", made / "timed")
    (made / "timed" / "Intuned.jsonc").write_text(
        '{"projectName": "timed", "replication": {"maxConcurrentRequests": 1}}'
    )
    return made


async def delivery(stack: Stack, run_id: str) -> dict[str, Any]:
    (found,) = (await stack.get(f"runs/{run_id}/deliveries"))["deliveries"]
    return found


async def job_runs(stack: Stack) -> list[dict[str, Any]]:
    return (await stack.get("jobs/often/runs", project="timed"))["jobRuns"]


async def log_in(stack: Stack) -> None:
    made = await AuthStates(stack, "guarded").operation(
        "create", "create", {"id": "anna", "parameters": {"password": "a-cookie"}}
    )
    assert made["status"] == "done", made


async def test_a_copy_of_a_running_stack_continues_all_its_work(tmp_path: Path, site: str) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    held = {"began": str(began), "go": str(go), "value": "from a held Attempt"}
    place = projects(tmp_path)
    (tmp_path / "first").mkdir()
    (tmp_path / "restored").mkdir()
    async with receiver(answers("503 Not now")) as inbox:
        async with Stack.up(tmp_path / "first", place, site) as stack:
            await log_in(stack)
            ended = await stack.start("big", {"size": SIZE})
            assert (await stack.result(ended))["status"] == "completed"
            undelivered = await stack.start("echo", {"n": 1}, sink={"type": "webhook", "url": inbox.url})
            await stack.result(undelivered)
            await inbox.until(1)
            job = {
                "id": "often",
                "payload": [{"apiName": "echo", "parameters": {"n": 2}}],
                "configuration": {},
                "schedule": {"intervals": [{"every": "10 seconds"}]},
            }
            await stack.post("jobs", job, project="timed")
            in_flight = await stack.start("until-told", held, requestTimeout=300)
            await until(began.exists)
            waiting = await stack.start("echo", {"n": 3})
            await stack.until_status(in_flight, "started")
            await Command(stack).script(SAVE.text.replace(DEFAULT_DATA, str(stack.data)), tmp_path, within=120)
            known = {run["id"] for run in await job_runs(stack)}
            key = stack.api_key

        inbox.script[:] = [answers()]
        restored = tmp_path / "restored" / "data"
        script = RESTORE.text
        assert script.endswith(START)
        script = script.removesuffix(START).replace(f"{DEFAULT_DATA}-restored", str(restored))
        await Command(stack).script(script, tmp_path, within=60)
        began.unlink()
        async with Stack.up(tmp_path / "restored", place, site) as stack:
            assert stack.api_key == key
            assert (await stack.result(ended))["result"] == "x" * SIZE
            trace = await stack.request("GET", f"runs/{ended}/attempts/1/trace")
            assert trace.content.startswith(b"PK")

            # Either may be first at the Machine: Temporal has to miss the Attempt that was in flight before it is made
            # again.
            await until(began.exists, 120)
            go.touch()
            result, after = await asyncio.gather(stack.result(in_flight), stack.result(waiting))
            assert (result["status"], result["result"]) == ("completed", held["value"])
            assert (after["status"], after["result"]) == ("completed", {"n": 3})
            assert (await stack.get(f"runs/{in_flight}/attempts/2"))["status"] == "completed"

            delivered = await until(
                lambda: delivery(stack, undelivered), 120, true=lambda told: told["status"] == "delivered", every=0.2
            )
            tries = [tried.get("statusCode") for tried in delivered["tries"]]
            assert tries[0] == 503
            assert tries[-1] == 200
            assert len({request.body for request in inbox.received}) == 1

            run = await stack.run("list-orders", project="guarded", authSession={"id": "anna"})
            assert (run["status"], run["result"]["cookies"]) == ("completed", {"login": "a-cookie"})

            async def has_begun_another() -> bool:
                return any(run["id"] not in known and run["status"] == "SUCCESS" for run in await job_runs(stack))

            await until(has_begun_another, 120, every=0.2)
