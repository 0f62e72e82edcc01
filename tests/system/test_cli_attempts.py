"""`callboard attempts` and `callboard deliveries`, as people type them, on the real stack."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command_line import Command
from tests.support.polling import until
from tests.support.processes import CALLBOARD, running
from tests.support.stack import Stack
from tests.support.webhook_receiver import answers, receiver


@pytest.fixture
def callboard(stack: Stack) -> Command:
    return Command(stack)


async def test_a_log_is_followed_while_it_is_written_and_printed_and_saved(callboard: Command, tmp_path: Path) -> None:
    first, last, go = ["one", "zwei\u2028é"], ["three"], tmp_path / "go"
    run_id = await callboard.stack.start("prints", {"lines": first, "go": str(go), "then": last})
    follow = (CALLBOARD, "attempts", "log", run_id, "--follow")
    to_the_end, for_a_while = tmp_path / "to-the-end", tmp_path / "for-a-while"
    options: dict[str, Any] = {"cwd": callboard.folder, "env": callboard.environment()}
    async with (
        running(*follow, "--json", log=to_the_end, **options) as stays,
        running(*follow, log=for_a_while, ends={130}, **options) as leaves,
    ):
        await until(lambda: all("zwei" in printed.read_text() for printed in (to_the_end, for_a_while)))
        leaves.send_signal(signal.SIGINT)
        await asyncio.wait_for(leaves.wait(), 30)
        go.touch()
        assert await asyncio.wait_for(stays.wait(), 60) == 0
    log, said = to_the_end.read_text(), [*first, *last]
    stored = [json.loads(line) for line in log.removesuffix("\n").split("\n")]
    assert [line["message"] for line in stored if line["source"] == "user"] == said
    file = tmp_path / "log.jsonl"
    printed, _ = await asyncio.gather(
        callboard("attempts", "log", run_id), callboard("attempts", "log", run_id, "1", "-o", str(file))
    )
    assert file.read_text() == log
    assert [line.partition(" info user ")[2] for line in printed.out.split("\n") if " user " in line] == said


async def test_a_trace_is_saved_and_opened_in_the_viewer_of_the_api(callboard: Command, tmp_path: Path) -> None:
    run_id = await callboard.stack.start("opens")
    await callboard.stack.result(run_id)
    done = await callboard("attempts", "trace", run_id, "-p", "lab", cwd=tmp_path)
    assert done.out == f"output/trace_{run_id}_1.zip\n"
    saved = (tmp_path / done.out.strip()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        assert any(name.endswith(".trace") for name in archive.namelist())
    opened = await callboard("attempts", "trace", run_id, "-p", "lab", "--open", cwd=tmp_path)
    async with httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(opened.out.strip())
        assert "Playwright Trace Viewer" in page.text
        assert (await client.get(page.url.join(page.url.params["trace"]))).content == saved
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    missing = await callboard("attempts", "trace", run_id, "7", "-p", "lab", "--open", code=4)
    assert "has left no trace" in missing.err


async def test_deliveries_are_listed_and_sent_again(callboard: Command) -> None:
    async with receiver(answers()) as inbox:
        sink = {"type": "webhook", "url": f"{inbox.url}/in?key=hunter2"}
        run_id = await callboard.stack.start("echo", sink=sink)
        await inbox.until(1)
        listed = await callboard("deliveries", "list", run_id)
        assert listed.out.splitlines()[1].split()[:3:2] == ["sink", "webhook"]
        assert "hunter2" not in listed.out
        sent = await callboard("deliveries", "redeliver", run_id, "--json")
        assert sent.json["id"] == "sink"
        first, second = await inbox.until(2)
        assert first.body == second.body
    without = await callboard("deliveries", "redeliver", await callboard.stack.start("echo"), code=4)
    assert "has no Delivery" in without.err
