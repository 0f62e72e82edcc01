"""`callboard attempts` and `callboard deliveries`, as people type them, on the real stack."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import Stack
from tests.receiver import answers, receiver
from tests.whole.command import PROGRAM, Command


@pytest.fixture
def callboard(stack: Stack) -> Command:
    return Command(stack)


async def test_an_attempt_is_shown_the_latest_if_none_is_named(callboard: Command) -> None:
    run_id = await callboard.stack.start("fail", retry={"maximumAttempts": 2})
    await callboard.stack.result(run_id)
    shown = await callboard("attempts", "get", run_id)
    assert re.search(r"^Attempt +2$", shown.out, flags=re.MULTILINE)
    assert "script-execution-exception: the price is missing" in shown.out
    assert (await callboard("attempts", "get", run_id, "1", "--json")).json["number"] == 1
    assert "has no Attempt 3" in (await callboard("attempts", "get", run_id, "3", code=4)).err


async def test_a_log_is_printed_and_saved(callboard: Command, tmp_path: Path) -> None:
    run_id = await callboard.stack.start("prints", {"lines": ["one", "zwei é"]})
    await callboard.stack.result(run_id)
    printed = await callboard("attempts", "log", run_id)
    lines = printed.out.splitlines()
    assert [line.rpartition(" print ")[2] for line in lines if " print " in line] == ["one", "zwei é"]
    await callboard("attempts", "log", run_id, "1", "-o", str(tmp_path / "log.jsonl"))
    stored = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["message"] for line in stored if line["source"] == "print"] == ["one", "zwei é"]


async def test_a_log_is_followed_from_before_the_attempt_until_its_end(callboard: Command, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run_id = await callboard.stack.start("prints", {"lines": ["first"], "go": str(go), "then": ["last"]})
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("attempts", "log", run_id, "--follow", "--json"),
        cwd=callboard.folder,
        env=callboard.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(60):
        while "first" not in said:
            said.append(json.loads(await process.stdout.readline())["message"])
        go.touch()
        rest = (await process.stdout.read()).decode().splitlines()
        assert await process.wait() == 0
    assert "last" in [json.loads(line)["message"] for line in rest]


async def test_a_trace_is_saved_and_served_in_playwrights_viewer(callboard: Command, tmp_path: Path) -> None:
    run_id = await callboard.stack.start("opens", {"url": "data:text/html,<title>here</title>"})
    await callboard.stack.result(run_id)
    done = await callboard("attempts", "trace", run_id, "-p", "lab", cwd=tmp_path)
    assert done.out == f"trace_{run_id}_1.zip\n"
    with zipfile.ZipFile(tmp_path / f"trace_{run_id}_1.zip") as archive:
        assert any(name.endswith(".trace") for name in archive.namelist())
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("attempts", "trace", run_id, "--open"),
        cwd=callboard.folder,
        env=callboard.environment(),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(60):
        while (found := re.search(r"http://127\.0\.0\.1:\d+", said)) is None:
            said += (await process.stdout.readline()).decode()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert "Playwright Trace Viewer" in (await client.get(f"{found[0]}/trace/index.html")).text
        os.kill(process.pid, signal.SIGINT)
        assert await process.wait() == 0
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(found[0])


async def test_deliveries_are_listed_and_sent_again(callboard: Command) -> None:
    async with receiver(answers()) as inbox:
        sink = {"type": "webhook", "url": f"{inbox.url}/in?key=hunter2"}
        run_id = await callboard.stack.start("echo", sink=sink)
        await inbox.until(1)
        async with asyncio.timeout(30):
            while "delivered" not in (listed := await callboard("deliveries", "list", run_id)).out:
                pass
        assert "hunter2" not in listed.out
        sent = await callboard("deliveries", "redeliver", run_id)
        assert sent.out.splitlines()[1].split()[:3] == ["sink", "pending", "webhook"]
        first, second = await inbox.until(2)
        assert first.body == second.body
    assert (
        "has no Delivery"
        in (await callboard("deliveries", "redeliver", await callboard.stack.start("echo"), code=4)).err
    )
