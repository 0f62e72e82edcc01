"""Every use of Playwright's private modules: to share one browser between two processes, and to guard what they open.

`Browser.bind` makes the supervisor's driver listen on a socket for further clients. Playwright's own way to connect to
it needs a driver of its own for each client, which costs half a second of processor time. A user process therefore
speaks to the socket itself. `tests/integration/machines/test_playwright_wire.py` holds this module to the installed
Playwright.
"""
# ruff: noqa: SLF001  # private members are what this module is for

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

from playwright._impl import element_handle, frame
from playwright._impl.artifact import Artifact
from playwright._impl.cdp_session import CDPSession as CDPSessionImpl
from playwright._impl.connection import Connection
from playwright._impl.element_handle import convert_input_files
from playwright._impl.frame import Frame as FrameImpl
from playwright._impl.transport import Transport
from playwright._impl.utils.tasks import wait_for_next_task
from playwright.async_api import Browser, BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

END = b"\0"
"""End of each message on the socket. A message is one JSON object."""
_DEVICES = re.compile(rb'(?<="deviceDescriptors":\[)[^]]+')
"""The devices that Playwright can emulate. Every client is told them when it attaches, in most bytes of that."""
_devices: dict[str, Any] = {}
"""The same, as `playwright.devices` has them, once this process has attached, or the zygote that it is a fork of."""
_READ = 256 * 1024


async def frames(reader: asyncio.StreamReader, largest: float = math.inf) -> AsyncGenerator[bytes]:
    """Yield each whole message, without its end. Raises ValueError if one has more than `largest` bytes."""
    pending = bytearray()
    while data := await reader.read(_READ):
        searched = len(pending)
        pending += data
        start = 0
        while (end := pending.find(END, max(start, searched))) >= 0:
            yield bytes(pending[start:end])
            start = end + 1
        del pending[:start]
        if len(pending) > largest:
            raise ValueError("a message is too large")


def _without_devices(frame: bytes) -> bytes:
    """Return a message without the devices, if they are known: to read them takes longer than all else of attaching."""
    return _DEVICES.sub(b"", frame, 1) if _devices and b'"deviceDescriptors":' in frame else frame


class _SocketTransport(Transport):
    """Transport of Playwright's client over a connected socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
        super().__init__(loop)
        self._end = end
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._end)

    async def run(self) -> None:
        """Dispatch messages until the socket ends, each as a task of its own, as Playwright's own transport does."""
        with contextlib.suppress(ConnectionError):  # so the socket tells its end while a message is being sent
            async for frame in frames(self._reader):
                self.on_message(json.loads(_without_devices(frame)))
                await wait_for_next_task()

    def send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(cast("Any", self).serialize_message(message) + END)

    def request_stop(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def wait_until_stopped(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):  # the other end was gone first
                await self._writer.wait_closed()


class _AsRemote:
    """An object of Playwright's implementation that believes its driver to be on another host."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    @property
    def _connection(self) -> _AsRemote:
        return _AsRemote(self._owner._connection)

    def is_remote(self) -> bool:
        return True


class Attached:
    """A connection to the supervisor's browser, and that browser as Playwright's API has it."""

    def __init__(self, transport: _SocketTransport, connection: Any, impl: Any) -> None:
        self._transport = transport
        self._connection = connection
        self._impl = impl
        self.browser = Browser(impl)

    @classmethod
    async def over(cls, end: socket.socket) -> Attached:
        """Attach to the browser at the other end of a connected socket, which this takes over.

        Raises:
            PlaywrightError: The browser or its driver is gone.
        """
        loop = asyncio.get_running_loop()
        transport = _SocketTransport(loop, end)
        connection: Any = Connection(loop)
        connection.onmessage = transport.send

        def dispatch(message: dict[str, Any]) -> None:
            try:
                connection.dispatch(message)
            except Exception as error:  # noqa: BLE001  # of a listener: the next call raises it, as Playwright has it
                connection._on_event_listener_error(error)

        transport.on_message = dispatch
        await transport.connect()
        reading = asyncio.ensure_future(transport.run())
        reading.add_done_callback(lambda _: connection.close())
        playwright: Any = await connection.initialize_playwright()
        playwright.devices.update(_devices)
        _devices.update(playwright.devices)
        impl = playwright._pre_launched_browser()
        attached = cls(transport, connection, impl)
        attached._end_with_close()
        connection.on("close", attached._closed)
        return attached

    def _end_with_close(self) -> None:
        """Have `Browser.close` close all contexts and end this connection; the browser is not this client's to end."""
        impl = self._impl
        impl._should_close_connection_on_close = True
        close = impl.close

        async def closed(reason: str | None = None) -> None:
            await asyncio.gather(*(context.close(reason) for context in impl.contexts))
            await close(reason)

        impl.close = closed

    def send_stacks(self) -> None:
        """Send the stack of each call from now on. The relay has it added to the traces."""
        self._connection.set_is_tracing(True)

    def keep_files_in(self, folder: str) -> None:
        """Have files outside of this folder sent over the connection: the driver does not see them.

        This patches Playwright's implementation for the whole process, but only what belongs to this connection.
        """
        save_as: Any = Artifact.save_as

        async def saved_as(self: Any, path: str | Path) -> None:
            await save_as(_owner(self, [path]), path)

        async def converted(files: Any, context: Any) -> Any:
            listed: list[Any] = [files] if isinstance(files, str | Path | dict) else list(files)
            return await convert_input_files(cast("Any", files), _owner(context, listed))

        def _owner(owner: Any, files: list[Any]) -> Any:
            paths = [str(Path(file).absolute()) for file in files if isinstance(file, str | Path)]
            elsewhere = [path for path in paths if not is_inside(path, folder)]
            return _AsRemote(owner) if elsewhere and owner._connection is self._connection else owner

        setattr(Artifact, "save_as", saved_as)  # noqa: B010
        for module in (element_handle, frame):
            setattr(module, "convert_input_files", converted)  # noqa: B010

    def _closed(self) -> None:
        """Have everything closed for this client, as Playwright does where a connection to a browser ends."""
        for context in list(self._impl._contexts):
            for page in list(context.pages):
                page._on_close()
            context._on_close()
        self._impl._loop.call_soon(self._impl._did_close)
        self._transport.request_stop()

    async def page(self, context_guid: str, page_guid: str) -> tuple[BrowserContext, Page]:
        """Return a context and a page of it, which the browser has already, by their ids.

        Raises:
            PlaywrightError: They, or the browser, are closed.
        """
        for known in (False, True):
            for context in self.browser.contexts:
                if guid_of(context) == context_guid:
                    for page in context.pages:
                        if guid_of(page) == page_guid:
                            return context, page
            if not known:  # messages come in order: with an answer, all that the browser had before is here
                await hear_all(self.browser)
        raise PlaywrightError("The page was closed before the automation was given it.")

    async def close(self) -> None:
        """End the connection."""
        self._transport.request_stop()
        await self._transport.wait_until_stopped()


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path leads into a folder, also where it is a link."""
    return os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/")


def guid_of(owner: Browser | BrowserContext | Page) -> str:
    """Return the id by which every client of the browser knows this object."""
    return cast("Any", owner)._impl_obj._guid


async def hear_all(browser: Browser) -> None:
    """Wait until all that the driver has said to this client so far is here, by the quickest question that it answers.

    Raises:
        PlaywrightError: The driver is gone.
    """
    await cast("Any", browser)._impl_obj._channel.defaultUserAgentForTest(timeout=0)


def add_stack(browser: Browser, call: dict[str, Any]) -> None:
    """Add the stack of a call that another client has made to the traces of this client. There is no answer."""
    connection: Any = cast("Any", browser)._impl_obj._connection
    # Nobody awaits it. `gather` takes the exception, so that it is not logged if the browser is gone.
    asyncio.gather(connection.local_utils().add_stack_to_tracing_no_reply({"callData": call}), return_exceptions=True)


def guard(check: Callable[[Any, str | None], None]) -> None:
    """Have `check` called with each address, and the one that it is relative to, before this process opens it.

    This patches Playwright's implementation classes: the asynchronous and the synchronous API have only these in
    common, and objects of the API come into being in many ways (popups, frames, other clients).
    """
    goto: Any = FrameImpl.goto
    send: Any = cast("Any", CDPSessionImpl).send

    # These are no coroutine functions: the trace would then show a frame of ours instead of the project's.
    def guarded_goto(self: Any, url: str, *args: Any, **options: Any) -> Any:
        check(url, self._page.context._options.get("baseURL") if self._page else None)
        return goto(self, url, *args, **options)

    def guarded_send(self: Any, method: str, params: Any, *args: Any, **options: Any) -> Any:
        if method in _OPENING_COMMANDS and params:
            check(params.get("url"), None)
        return send(self, method, params, *args, **options)

    setattr(FrameImpl, "goto", guarded_goto)  # noqa: B010
    setattr(CDPSessionImpl, "send", guarded_send)  # noqa: B010


_OPENING_COMMANDS = frozenset({"Page.navigate", "Target.createTarget"})
"""Commands of the browser's own protocol that open the address in their parameter `url`."""
