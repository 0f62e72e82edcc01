"""The log of a Run on the whole stack: read while it is written, taken up again, and what the Run took beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

from tests.support.followed_log import Event, followed_log
from tests.support.present import present
from tests.support.stack import Stack


async def read_until(events: AsyncGenerator[Event], message: str | None) -> list[Event]:
    """Read lines of a log until one says this; None: to the end."""
    lines: list[Event] = []
    async with asyncio.timeout(60):
        async for event in events:
            if event.kind == "end":
                assert message is None, "it ended before"
                return lines
            lines.append(event)
            if json.loads(event.data)["message"] == message:
                return lines
    raise AssertionError("it broke off")


async def test_follows_a_log_as_it_is_written_and_resumes_after_a_break(stack: Stack, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run_id = await stack.start("prints", {"lines": ["one", "two"], "go": str(go), "then": ["three", "zwei\u2028é"]})
    place = stack.path(f"runs/{run_id}/attempts/1")
    async with followed_log(stack.http, place) as events:
        first = await read_until(events, "two")
    assert (await stack.result(run_id, wait=0))["status"] == "started"
    async with followed_log(stack.http, place, present(first[-1].id)) as events:
        go.touch()
        second = await read_until(events, None)
    await stack.result(run_id)

    whole = (await stack.http.get(f"{place}/log")).text
    lines = [json.loads(event.data) for event in (*first, *second)]
    assert [json.loads(line) for line in whole.split("\n") if line] == lines
    said = [line["message"] for line in lines if line["source"] == "user"]
    assert said == ["one", "two", "three", "zwei\u2028é"]
    assert lines[-1]["message"].startswith("Completed after ")

    attempt = await stack.get(f"runs/{run_id}/attempts/1")
    assert attempt["usage"]["logSize"] == len(whole.encode())
    assert attempt["usage"]["peakMemory"] > 10_000_000
    assert attempt["usage"]["cpuSeconds"] >= 0
    assert attempt["usage"]["bytesReceived"] >= 0
    assert attempt["missing"] == {}
    left = stack.data / "artifacts" / "runs" / "lab" / run_id / "attempts" / "1"
    assert sorted(path.name for path in left.iterdir() if path.name.startswith("log")) == ["log.jsonl"]
