"""The relay between user code and Playwright's driver passes on whole messages, whatever comes between their parts."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from callboard.machines.runner.playwright_wire import END
from callboard.machines.runner.relay import Relay
from callboard.machines.runner.relay_policy import RelayPolicy

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Desk(RelayPolicy):
    """Allows what may be done without a browser."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None), cast("Any", None))

    async def context_opened(self, guid: str) -> None:
        pass

    async def context_closing(self, guid: str) -> None:
        pass


@asynccontextmanager
async def relayed(tmp_path: Path, policy: Desk) -> AsyncGenerator[tuple[Connection, Connection]]:
    """The ends of user code and of the driver, with a relay between them."""
    async with relay_of(tmp_path, policy) as (_, user, driver):
        yield user, driver


@asynccontextmanager
async def relay_of(tmp_path: Path, policy: Desk) -> AsyncGenerator[tuple[Relay, Connection, Connection]]:
    """A relay, with the ends of user code and of the driver."""
    connected: asyncio.Future[Connection] = asyncio.Future()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set_result((reader, writer))

    server = await asyncio.start_unix_server(connect, tmp_path / "driver")
    ours, theirs = socket.socketpair()
    relay = Relay(policy)
    async with server:
        await relay.start(str(tmp_path / "driver"), theirs)
        user, driver = await asyncio.open_unix_connection(sock=ours), await connected
        try:
            yield relay, user, driver
        finally:
            relay.close()
            for _, writer in (user, driver):
                writer.close()


async def test_an_answer_of_ours_does_not_come_within_a_message_of_the_drivers(tmp_path: Path) -> None:
    async with relayed(tmp_path, Desk()) as ((reader, writer), (asked, driver)):
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


def message(number: int, method: str, /, **params: Any) -> bytes:
    return json.dumps({"id": number, "guid": "x", "method": method, "params": params, "metadata": {}}).encode() + END


async def read(reader: asyncio.StreamReader) -> dict[str, Any]:
    return json.loads((await reader.readuntil(END))[:-1])


OPENED = {"result": {"context": {"guid": "browser-context@1"}}}


async def test_user_code_cannot_abort_the_opening_of_a_context(tmp_path: Path) -> None:
    async with relayed(tmp_path, Desk()) as ((reader, writer), (asked, driver)):
        call = {"id": 1, "guid": "x", "method": "newContext", "params": {}, "metadata": {"timeout": 1, "title": "x"}}
        writer.write(json.dumps(call).encode() + END + message(2, "__abort__", id=1))
        opening, abort = await read(asked), await read(asked)
        assert opening["metadata"] == {"timeout": 0, "title": "x"}
        assert abort["params"]["id"] != opening["id"]
        driver.write(json.dumps({"id": opening["id"], **OPENED}).encode() + END)
        assert await read(reader) == {"id": 1, **OPENED}


@pytest.mark.parametrize(
    "name",
    [
        *("Emulation.addScreen", "Page.setDownloadBehavior", "Browser.setDownloadBehavior", "Target.createTarget"),
        *("Tracing.start", "Storage.setCookies", "Emulation.somethingNew", "Newer.command", "emulation.addScreen", ""),
    ],
)
async def test_a_command_that_may_reach_the_whole_browser_is_refused(tmp_path: Path, name: str) -> None:
    async with relayed(tmp_path, Desk()) as ((reader, writer), (asked, _)):
        writer.write(message(1, "send", method=name, params={}) + message(2, "send", method="Page.enable", params={}))
        assert f"`{name}` is not known to end with this page" in (await read(reader))["error"]["error"]["message"]
        assert (await read(asked))["id"] == 2


async def test_a_session_of_the_browser_passes_on_any_command_and_is_noted(tmp_path: Path) -> None:
    policy = Desk()
    async with relayed(tmp_path, policy) as ((_, writer), (asked, _)):
        assert not policy.commands_browser
        writer.write(message(1, "newBrowserCDPSession") + message(2, "send", method="Emulation.addScreen", params={}))
        assert [(await read(asked))["id"] for _ in range(2)] == [1, 2]
        assert policy.commands_browser


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("saveAs", {"path": "{}"}),
        ("harStart", {"options": {"harPath": "{}"}}),
        ("harStart", {"options": {"resourcesDir": "{}"}}),
        ("newContext", {"recordVideo": {"dir": "{}"}}),
    ],
)
def test_the_driver_writes_in_the_attempts_folder_only(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    """The profile of its browser, in which something would stay for later Attempts, lies elsewhere in its box."""
    policy = RelayPolicy(cast("Any", None), cast("Any", None))
    policy.root = tmp_path / "attempt" / "project"
    policy.root.mkdir(parents=True)
    (policy.root / "link").symlink_to("/tmp")

    def refusal(path: Path) -> str | None:
        return policy.refusal(method, json.loads(json.dumps(params).replace("{}", str(path))))

    assert refusal(policy.root / "own") is None
    for path in (Path("/tmp/other"), policy.root / "../../other", policy.root / "link" / "other"):
        assert str(path) in (refusal(path) or "")


async def test_a_held_relay_keeps_calls_back_and_dialogs_from_user_code(tmp_path: Path) -> None:
    async with relay_of(tmp_path, Desk()) as (relay, (reader, writer), (asked, driver)):
        event, dialog = (json.dumps({"guid": "x", "method": name}).encode() + END for name in ("event", "dialog"))
        driver.write(event[:5])  # it is held in the midst of a message
        assert await reader.readexactly(5) == event[:5]
        relay.hold()
        writer.write(message(1, "click"))
        driver.write(event[5:] + dialog + event)
        assert [await reader.readuntil(END) for _ in range(2)] == [event[5:], event]
        driver.write(dialog + event[:5])
        driver.write(event[5:])
        assert await reader.readuntil(END) == event
        answer = json.dumps({"id": 3, "guid": "route@1", "method": "continue", "params": {}}).encode() + END
        writer.write(message(2, "fill") + answer)
        assert (await read(asked))["method"] == "continue", "the page waits for it"
        relay.release()
        writer.write(message(4, "hover"))
        assert [(await read(asked))["method"] for _ in range(3)] == ["click", "fill", "hover"]
        driver.write(dialog)
        assert await reader.readuntil(END) == dialog
