"""A question outlives the api, is asked anew after both workers were killed, and of many answers takes one."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.installation import Part, Parts
from tests.support.polling import until
from tests.support.rest import PATIENCE, Rest
from tests.support.temporal_servers import dev_server

pytestmark = pytest.mark.timeout(600)

PROJECT = {
    "Intuned.jsonc": '{"projectName": "asks"}',
    "api/ask.py": """
from callboard_runtime import request_input


async def automation(page, params=None, **_):
    return await request_input("What is the code?", name="code", pattern="[0-9]+", timeout=600)
""",
}
ROLES = ("browser", "control")


class Asking(Parts):
    """An installation whose browser and control workers are processes of their own."""

    async def workers(self, resources: AsyncExitStack, name: str) -> list[Part]:
        """Start a worker of each role."""
        starts = (self.worker(resources, f"{name}-{role}", "--role", role) for role in ROLES)
        return await asyncio.gather(*starts)


async def shown(api: Rest, run_id: str, count: int) -> list[dict[str, Any]]:
    """The questions of the Run, once there are so many."""

    async def listed() -> list[dict[str, Any]]:
        answer = await api.request("GET", f"runs/{run_id}/handoffs")
        return answer.json()["handoffs"]

    return await until(listed, PATIENCE, every=0.2, true=lambda found: len(found) == count)


async def test_a_question_outlives_its_api_is_asked_anew_without_its_workers_and_is_answered_once(
    tmp_path: Path,
) -> None:
    async with dev_server(tmp_path / "temporal") as temporal, AsyncExitStack() as resources:
        parts = Asking(tmp_path, project="asks", CALLBOARD_TEMPORAL_ADDRESS=temporal.address)
        await parts.deploy(PROJECT)
        killed = await parts.workers(resources, "first")
        async with parts.api("first") as api:
            run_id = await api.start("ask", {})
            (first,) = await shown(api, run_id, 1)
        async with parts.api("second") as api:
            assert await shown(api, run_id, 1) == [first], "it is not the api's"
            for worker in killed:
                os.kill(worker.process.pid, signal.SIGKILL)
            await asyncio.gather(*(worker.process.wait() for worker in killed))
            await parts.workers(resources, "second")
            lost, second = await shown(api, run_id, 2)
            assert (lost["id"], lost["status"]) == (first["id"], "withdrawn")
            assert (second["status"], second["attempt"]) == ("open", 2)

            async def answer(handoff: dict[str, Any], code: str) -> httpx.Response:
                place = f"runs/{run_id}/handoffs/{handoff['id']}/complete"
                return await api.request("POST", place, json={"values": {"code": code}})

            assert (await answer(lost, "1")).status_code == 409
            answers = await asyncio.gather(*(answer(second, f"{number}") for number in range(10)))
            codes = [each.status_code for each in answers]
            assert sorted(codes) == [200, *[409] * 9]
            assert (await api.result(run_id))["result"] == f"{codes.index(200)}"
