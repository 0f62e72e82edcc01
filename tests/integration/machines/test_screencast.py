"""What a Machine shows of an Attempt to those who watch, and what it costs when nobody does."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.async_api import CDPSession

from machines.attempt_spec import AttemptEvidence
from machines.runner.screencast import SOCKET, Screencast
from schemas.workflow.trace import TraceMode
from tests.support.machines import PATIENCE, Run, value

PROJECT = {
    "api/moves.py": """
        import asyncio
        from pathlib import Path

        MOVING = "setInterval(() => { document.body.style.background = `hsl(${Date.now() / 5 % 360} 90% 50%)` }, 5)"

        async def automation(page, params):
            await page.goto("data:text/html,<h1>Moves</h1>")
            if params.get("moves", True):
                await page.evaluate(MOVING)
            if params.get("opens"):
                page = await page.context.new_page()
                await page.goto("data:text/html,<h1>Another</h1>")
            while not Path(params["go"]).exists():
                await asyncio.sleep(0.02)
            return await page.evaluate("document.querySelector('h1').textContent")
    """,
}


@asynccontextmanager
async def attempt(quiet: Run, folder: Path, **parameters: Any) -> AsyncGenerator[asyncio.Task[Any]]:
    """An Attempt that runs as long as the block, and completes."""
    evidence, go = folder / "evidence", folder / "go"
    evidence.mkdir()
    kept = AttemptEvidence(evidence, TraceMode.ALWAYS)
    running = asyncio.ensure_future(quiet("moves", {"go": str(go), **parameters}, evidence=kept))
    try:
        yield running
    finally:
        go.touch()
        report = await running
    assert value(report) == ("Another" if parameters.get("opens") else "Moves")


async def connected(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Somebody who watches."""
    place = folder / "evidence" / SOCKET
    async with asyncio.timeout(PATIENCE):
        while not place.exists():
            await asyncio.sleep(0.01)
    assert place.stat().st_mode & 0o777 == 0o600
    descriptor = os.open(place.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)


async def picture(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(size)


async def test_pictures_come_one_after_another_until_the_attempt_ends(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path):
        reader, writer = await connected(tmp_path)
        pictures = [await picture(reader) for _ in range(4)]
        assert all(each.startswith(b"\xff\xd8\xff") for each in pictures)
        assert len(set(pictures)) > 1
    async with asyncio.timeout(PATIENCE):
        await reader.read()  # what was on its way, and the end
    writer.close()


async def test_sends_at_most_ten_pictures_a_second_of_a_moving_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, sent = Screencast(None, lambda: None), list[bytes]()
    monkeypatch.setattr(live, "_send_picture", sent.append)
    frame = {"data": base64.b64encode(b"picture").decode(), "sessionId": 1}
    for _ in range(5):
        live._came(cast("CDPSession", None), frame)
    assert sent == [b"picture"]


async def test_several_watch_and_whoever_comes_back_sees_it_again(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path):
        watchers = [await connected(tmp_path) for _ in range(3)]
        for reader, _ in watchers:
            await picture(reader)
        for _, writer in watchers:
            writer.close()
            await writer.wait_closed()
        reader, writer = await connected(tmp_path)
        await picture(reader)
        writer.close()


async def test_a_page_that_stands_still_is_shown_to_everybody(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path, moves=False):
        first = await connected(tmp_path)
        await picture(first[0])
        later = await connected(tmp_path)
        await picture(later[0])
        for _, writer in (first, later):
            writer.close()


async def test_the_page_that_the_automation_goes_on_with_is_shown(quiet: Run, tmp_path: Path) -> None:
    async with attempt(quiet, tmp_path, opens=True):
        reader, writer = await connected(tmp_path)
        await picture(reader)
        writer.close()
