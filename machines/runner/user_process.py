"""The process of user code: a fork of the zygote that lives for one Attempt.

It is connected ahead to the supervisor and, by its relay, to the browser. Then it waits for its Attempt, calls user
code, tells how that ended, and waits to be killed: whatever user code has left here ends with it.

    from the supervisor   call (once), answer, stop
    to the supervisor     ready, called, open, finishing, request (each of these three is answered), brought, extend,
                          capturing, stopping (with where the automation was), stopped, done
"""

from __future__ import annotations

import asyncio
import contextvars
import faulthandler
import json
import os
import signal
import socket
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

from intuned_runtime import IntunedContext, RunContext
from playwright.async_api import Error as PlaywrightError

from .address_guard import guard_playwright
from .calling import Call, call
from .channel import MOST_OPEN, Channel
from .failures import UserCodeError, as_message
from .folders import enter
from .importing import Imports
from .page_events import PageEvents
from .playwright_wire import Attached
from .session import BrowserSession, Hooked
from .stacks import waiting_at
from .state import StateError
from .stdio import LogLines, capture_logging, flush_output, open_output

STACK_SIGNAL = signal.SIGRTMAX - 1
"""Signal on which this process tells where it stands, also if it blocks: a real-time signal that few programs use."""
LAST_WORDS = 0.1
"""Seconds that a canceled automation gets before it is killed (docs/contract.md, section 10, rule 8)."""


def run(control: int, browser: int, stacks: int, *, guarded: bool, imports: Imports) -> NoReturn:
    """Be the process of user code, just after the fork.

    Args:
        control: Descriptor of a socket to the supervisor.
        browser: Descriptor of a socket to the relay.
        stacks: Descriptor of a pipe for where this process stands, if it is asked by signal or crashes.
        guarded: Whether to refuse addresses that lead into the machine itself.
        imports: What the zygote has imported ahead.
    """
    try:
        open_output()
        faulthandler.enable(stacks, all_threads=False)
        faulthandler.register(STACK_SIGNAL, stacks, all_threads=False)
        imports.reseed()
        if guarded:
            guard_playwright()
        with asyncio.Runner() as runner:
            try:
                runner.run(_serve(control, browser, imports))
            except SystemExit as error:
                # User code has raised it in a task of its own. Exit at once: a clean-up would cancel the Attempt.
                flush_output()
                os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001  # nothing may return to the zygote's own code
        traceback.print_exc()
    os._exit(1)


async def _serve(control: int, browser: int, imports: Imports) -> None:
    channel = await Channel.over(socket.socket(fileno=control))
    try:
        attached = await Attached.over(socket.socket(fileno=browser))
    except (PlaywrightError, ConnectionError):
        return  # the browser is gone, or the supervisor is, and says why: its words must be the last ones
    channel.post("ready")
    order = await anext(channel.messages, None)
    if order is None or order["type"] != "call":
        return
    channel.post("called")
    await Automation(channel, attached, imports, order).run()
    await asyncio.get_running_loop().create_future()  # until the supervisor kills this process


class Automation:
    """One call of user code, from its order to its end."""

    def __init__(self, channel: Channel, attached: Attached, imports: Imports, order: dict[str, Any]) -> None:
        self._imports = imports
        self._channel = channel
        self._attached = attached
        self._order = order
        self._asking = asyncio.Semaphore(MOST_OPEN)
        attached.keep_files_in(order["folder"])
        self._root = enter(Path(order["folder"]))
        tempfile.tempdir = None  # the zygote may have asked for it before
        lines = LogLines()
        capture_logging(lines)
        hooked = order["hooked"]
        self._session = BrowserSession(
            self,
            attached,
            (order["context"], order["page"]),
            self._root,
            order["function"],
            PageEvents(lines),
            hooked and Hooked(hooked["cdpUrl"], json.loads(order["parameters"]), hooked["state"], hooked["evidence"]),
        )
        self._call: asyncio.Task[dict[str, Any]] | None = None

    async def run(self) -> None:
        """Call user code and tell how that ended."""
        order = self._order
        if (traceparent := order["runInfo"].get("traceparent")) is not None:
            os.environ["TRACEPARENT"] = traceparent  # where SDKs of OpenTelemetry look, also in further processes
        loop = asyncio.get_running_loop()
        runtime = IntunedContext(
            run_context=RunContext(**order["runInfo"]),
            extend_timeout=lambda: loop.call_soon_threadsafe(self._channel.post, "extend") and None,
            ask=self._ask,
        )
        context = contextvars.copy_context()
        context.run(runtime.__enter__)
        called = Call(
            kind=order["kind"],
            path=order["function"],
            parameters=json.loads(order["parameters"]),
            capture=order["capture"],
            capturing=lambda within: self._channel.post("capturing", within=within),
        )
        reading = asyncio.create_task(self._read(), name="supervisor")
        self._call = asyncio.create_task(call(called, self._session, self._root), context=context)
        done = {**await self._ended(self._call), "attributes": runtime.attributes}
        if self._session.evidence is not None:
            good = "error" not in done and not (order["kind"] == "check" and done["result"] == "false")
            done["left"] = await self._session.evidence.leave(completed=good)
        flush_output()
        await self._channel.send("done", imported=self._imports.since(), **done)
        await reading

    async def _ask(self, operation: str, **arguments: Any) -> Any:
        """Return the worker's answer to a request of user code. Raises RuntimeError with the reason if it failed."""
        async with self._asking:
            told = await self._channel.ask("request", operation=operation, arguments=arguments)
        if (error := told.get("error")) is not None:
            raise RuntimeError(error)
        return told["value"]

    async def open(self, *, trace: bool, unused: bool) -> None:
        """Have the Machine's own context prepared, as a `session.Supervisor`.

        Raises:
            StateError: The state cannot be restored.
            PlaywrightError: The browser is gone.
        """
        told = await self._channel.ask("open", trace=trace, unused=unused)
        if (error := told.get("error")) is not None:
            raise (
                StateError(error["message"]) if error["kind"] == StateError.kind else PlaywrightError(error["message"])
            )
        if told["traced"]:
            self._attached.send_stacks()

    def brings(self) -> None:
        """Say that the hook has brought a context, as a `session.Supervisor`."""
        self._channel.post("brought", lasting=self._session.lasting)

    async def finishing(self) -> None:
        """Have the state captured, as a `session.Supervisor`."""
        await self._channel.ask("finishing")

    async def _read(self) -> None:
        async for message in self._channel.messages:
            if message["type"] == "answer":
                self._channel.take_answer(message)
            elif message["type"] == "stop":
                await self._stop()

    async def _stop(self) -> None:
        """Tell where the automation waits, and cancel it."""
        if self._call is None:
            return
        self._channel.post("stopping", stack=waiting_at(self._call, self._root))
        self._call.cancel()
        await asyncio.wait({self._call}, timeout=LAST_WORDS)
        flush_output()
        evidence = self._session.evidence
        left = None if evidence is None else await evidence.leave(completed=False)
        self._channel.post("stopped", left=left)

    async def _ended(self, called: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await asyncio.shield(called)
        except UserCodeError as error:
            return {"error": as_message(error)}
        except asyncio.CancelledError:
            if not called.cancelled():
                raise
            return {"error": as_message(UserCodeError("The automation was canceled by its own code."))}
