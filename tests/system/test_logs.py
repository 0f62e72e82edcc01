"""The log of a Run on the whole stack: read while it is written, taken up again, and what the Run took beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.stack import Stack


class Followed:
    """A log as a client follows it: events with their numbers."""

    def __init__(self, events: AsyncGenerator[dict[str, str]]) -> None:
        self._events = events
        self.lines: list[dict[str, Any]] = []
        self.last = "0"

    async def until(self, message: str | None) -> None:
        """Until this is said; None: to the end."""
        async with asyncio.timeout(60):
            async for event in self._events:
                if event.get("event") == "end":
                    assert message is None, "it ended before"
                    return
                self.last = event["id"]
                self.lines.append(json.loads(event["data"]))
                if self.lines[-1]["message"] == message:
                    return
        raise AssertionError("it broke off")


@asynccontextmanager
async def following(stack: Stack, run_id: str, last: str = "0") -> AsyncGenerator[Followed]:
    place = f"/api/v1/workspace/{stack.workspace}/projects/lab/runs/{run_id}/attempts/1/log?follow=true"
    async with stack.http.stream("GET", place, headers={"last-event-id": last}) as answer:
        assert answer.status_code == 200

        async def events() -> AsyncGenerator[dict[str, str]]:
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if not line and fields:
                    yield fields
                    fields = {}
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value

        yield Followed(events())


async def test_follows_a_log_as_it_is_written_and_resumes_after_a_break(stack: Stack, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run_id = await stack.start("prints", {"lines": ["one", "two"], "go": str(go), "then": ["three", "zwei\u2028é"]})
    async with following(stack, run_id) as first:
        await first.until("two")
    assert (await stack.result(run_id, wait=0))["status"] == "started"
    async with following(stack, run_id, first.last) as second:
        go.touch()
        await second.until(None)
    await stack.result(run_id)

    place = f"/api/v1/workspace/{stack.workspace}/projects/lab/runs/{run_id}/attempts/1"
    whole = (await stack.http.get(f"{place}/log")).text
    assert [json.loads(line) for line in whole.split("\n") if line] == [*first.lines, *second.lines]
    said = [line["message"] for line in (*first.lines, *second.lines) if line["source"] == "user"]
    assert said == ["one", "two", "three", "zwei\u2028é"]
    assert second.lines[-1]["message"].startswith("Completed after ")

    attempt = (await stack.http.get(place)).json()
    assert attempt["usage"]["logSize"] == len(whole.encode())
    assert attempt["usage"]["peakMemory"] > 10_000_000
    assert attempt["usage"]["cpuSeconds"] >= 0
    assert attempt["usage"]["bytesReceived"] >= 0
    assert attempt["missing"] == {}
    left = stack.data / "artifacts" / "runs" / "lab" / run_id / "attempts" / "1"
    assert sorted(path.name for path in left.iterdir() if path.name.startswith("log")) == ["log.jsonl"]
