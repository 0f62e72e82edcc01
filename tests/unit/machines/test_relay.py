"""The relay between user code and Playwright's driver passes on whole messages, whatever comes between their parts."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from machines.runner.playwright_wire import END
from machines.runner.relay import Relay


class Desk:
    """Allows everything."""

    def refusal(self, url: str) -> str | None:  # noqa: ARG002
        return None

    def refusal_of_files(self, method: str, params: dict[str, Any]) -> str | None:  # noqa: ARG002
        return None

    def command_refusal(self, command: str, params: dict[str, Any]) -> str | None:  # noqa: ARG002
        return None

    async def options_of_context(self, options: dict[str, Any]) -> dict[str, Any]:
        return options

    async def context_opened(self, guid: str) -> None:
        pass

    async def context_closing(self, guid: str) -> None:
        pass

    def shares_browser(self) -> None:
        pass

    def stack(self, call: dict[str, Any]) -> None:
        pass


async def test_an_answer_of_ours_does_not_come_within_a_message_of_the_drivers(tmp_path: Path) -> None:
    connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set_result((reader, writer))

    server = await asyncio.start_unix_server(connect, tmp_path / "driver")
    ours, theirs = socket.socketpair()
    relay = Relay(Desk())
    async with server:
        await relay.start(str(tmp_path / "driver"), theirs)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        asked, driver = await connected
        driver.write(b'{"id": 1, "result": {}}')  # whole, but for its end
        assert await reader.readexactly(23) == b'{"id": 1, "result": {}}'
        writer.write(json.dumps({"id": 2, "guid": "x", "method": "zip", "params": {}}).encode() + END)
        # The relay has refused that once the driver has what came after it.
        writer.write(json.dumps({"id": 3, "guid": "x", "method": "ping", "params": {}}).encode() + END)
        assert b"ping" in await asked.readuntil(END)
        driver.write(END)
        assert await reader.readexactly(1) == END
        answer = json.loads((await reader.readuntil(END))[:-1])
        assert (answer["id"], "error" in answer) == (2, True)
        relay.close()
        for end in (writer, driver):
            end.close()
