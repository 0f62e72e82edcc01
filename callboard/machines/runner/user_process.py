"""The process of user code in Python: a fork of the zygote that lives for one Attempt.

It is connected ahead to the supervisor and, by its relay, to the browser. Then it waits for its Attempt, calls user
code, tells how that ended, and waits to be killed: whatever user code has left here ends with it.

    from the supervisor   call (once), answer, stop
    to the supervisor     ready, called, open, before-cleanup, request (each of these three is answered), brought,
                          extend, capturing, stopping (with where the automation was), stopped, done
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from callboard_runtime.addresses import check
from callboard_runtime.failures import UserCodeError, as_message
from callboard_runtime.page_events import PageEvents
from callboard_runtime.project_code import UserFunction, as_user_code_errors, call, load, result_as_json
from callboard_runtime.results import to_json
from callboard_runtime.state import StateError, is_wanted, uncaptured
from intuned_runtime import IntunedContext, RunContext
from playwright.async_api import Error as PlaywrightError

from .channel import MOST_OPEN, Channel
from .folders import enter
from .playwright_wire import Attached, guard
from .session import BrowserSession
from .stacks import waiting_at
from .stdio import LogLines, capture_logging, flush_output, open_output
from .zygote import STACK_SIGNAL

LAST_WORDS = 0.1
"""Seconds that a canceled automation gets before it is killed (docs/contract.md, section 10, rule 8)."""


def main(
    control: int,
    browser: int,
    stacks: int,
    *,
    guarded: bool,
    reseed: Callable[[], None],
    imported: Callable[[], list[str]],
) -> NoReturn:
    """Be the process of user code, just after the fork.

    Args:
        control: Descriptor of a socket to the supervisor.
        browser: Descriptor of a socket to the relay.
        stacks: Descriptor of a pipe for where this process stands, if it is asked by signal or crashes.
        guarded: Whether to refuse addresses that lead into the machine itself.
        reseed: Gives what this process shares with the zygote random numbers of its own.
        imported: Returns the modules of the project's own packages that this process has imported.
    """
    try:
        open_output()
        faulthandler.enable(stacks, all_threads=False)
        faulthandler.register(STACK_SIGNAL, stacks, all_threads=False)
        reseed()
        if guarded:
            guard(check)
        with asyncio.Runner() as runner:
            try:
                runner.run(_serve(control, browser, imported))
            except SystemExit as error:
                # User code has raised it in a task of its own. Exit at once: a clean-up would cancel the Attempt.
                flush_output()
                os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001  # nothing may return to the zygote's own code
        traceback.print_exc()
    os._exit(1)


async def _serve(control: int, browser: int, imported: Callable[[], list[str]]) -> None:
    try:
        attached = await Attached.over(socket.socket(fileno=browser))
    except (PlaywrightError, ConnectionError):
        return  # the browser is gone, or the supervisor is, and says why: its words must be the last ones
    channel = await Channel.over(socket.socket(fileno=control))
    channel.post("ready")
    message = await anext(channel.messages, None)
    if message is None or message["type"] != "call":
        return
    channel.post("called")
    await Automation(channel, attached, imported, message).call_function()
    await asyncio.get_running_loop().create_future()  # until the supervisor kills this process


def is_good(call: dict[str, Any], done: dict[str, Any]) -> bool:
    """Tell whether the Attempt counts as completed: a check that finds the login bad does not."""
    return "error" not in done and not (call["kind"] == "check" and done["result"] == "false")


class Automation:
    """One call of user code, from the message `call` to its end."""

    def __init__(
        self, channel: Channel, attached: Attached, imported: Callable[[], list[str]], message: dict[str, Any]
    ) -> None:
        self._imported = imported
        self._channel = channel
        self._attached = attached
        self._call = message
        self._asking = asyncio.Semaphore(MOST_OPEN)
        attached.keep_files_in(message["folder"])
        self._root = enter(Path(message["folder"]))
        tempfile.tempdir = None  # the zygote may have asked for it before
        lines = LogLines()
        capture_logging(lines)
        self._session = BrowserSession(channel, attached, message, self._root, PageEvents(lines.say))
        self._task: asyncio.Task[dict[str, Any]] | None = None

    async def call_function(self) -> None:
        """Call user code and tell how that ended."""
        message = self._call
        os.environ.update(message["variables"])
        time.tzset()  # one of them may be `TZ`
        if (traceparent := message["runInfo"].get("traceparent")) is not None:
            os.environ["TRACEPARENT"] = traceparent  # where SDKs of OpenTelemetry look, also in further processes
        loop = asyncio.get_running_loop()
        runtime = IntunedContext(
            run_context=RunContext(**message["runInfo"]),
            extend_timeout=lambda: loop.call_soon_threadsafe(self._channel.post, "extend") and None,
            ask=self._ask,
        )
        runtime.enter()
        reading = asyncio.create_task(self._read(), name="supervisor")
        self._task = asyncio.create_task(self._invoke())
        done = {**await self._ended(self._task), "attributes": runtime.attributes}
        if self._session.evidence is not None:
            done["evidence"] = await self._session.evidence.save(completed=is_good(message, done))
        flush_output()
        await self._channel.send("done", imported=self._imported(), **done)
        await reading

    async def _ask(self, operation: str, **arguments: Any) -> Any:
        """Return the worker's answer to a request of user code. Raises RuntimeError with the reason if it failed."""
        async with self._asking:
            answer = await self._channel.ask("request", operation=operation, arguments=arguments)
        if (error := answer.get("error")) is not None:
            raise RuntimeError(error)
        return answer["value"]

    async def _read(self) -> None:
        async for message in self._channel.messages:
            if message["type"] == "stop":
                await self._stop()

    async def _stop(self) -> None:
        """Tell where the automation waits, and cancel it."""
        if self._task is None:
            return
        self._channel.post("stopping", stack=waiting_at(self._task, self._root))
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=LAST_WORDS)
        flush_output()
        evidence = self._session.evidence
        saved = None if evidence is None else await evidence.save(completed=False)
        self._channel.post("stopped", evidence=saved)

    async def _ended(self, called: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await asyncio.shield(called)
        except UserCodeError as error:
            return {"error": as_message(error)}
        except asyncio.CancelledError:
            if not called.cancelled():
                raise
            return {"error": as_message(UserCodeError("The automation was canceled by its own code."))}

    async def _invoke(self) -> dict[str, Any]:
        """Import and await the user's function, and return what it returned, as fields of a `done` message.

        Raises:
            UserCodeError: The call failed. CancelledError passes through.
        """
        process = os.getpid()
        try:
            with as_user_code_errors(self._root):
                return await self._called(load(self._call["function"], self._root))
        finally:
            if os.getpid() != process:  # user code has forked this process, and the fork must not go on with our code
                os._exit(1)

    async def _called(self, function: UserFunction) -> dict[str, Any]:
        session = self._session
        try:
            parameters = json.loads(self._call["parameters"])
            value = await call(function, self._call["kind"], parameters, session.open)
            # The hook's cleanup comes last: it usually closes the context that the hook brought.
            fields = {"result": result_as_json(self._call["kind"], value, self._root), **await self._state(value)}
        except BaseException:
            with contextlib.suppress(Exception):  # of the cleanup; the automation's error matters more
                await session.finish(failed=True)
            raise
        await session.finish()
        payloads = IntunedContext.current().extended_payloads if self._call["kind"] == "api" else None
        extended = payloads and to_json(payloads, what="What extend_payload was given", path="extendedPayloads")
        return {**fields, "extendedPayloads": extended or None}

    async def _state(self, value: Any) -> dict[str, Any]:
        """Return the state of the login after a good end as field `state`, and as `unkept` what is not kept, and why.

        This is done only if the login lives in a context that the hook brought. The supervisor captures any other.

        Raises:
            StateError: The state of a create could not be captured, so that the create has failed.
        """
        kind, session = self._call["kind"], self._session
        wanted = is_wanted(kind, capture=self._call["capture"], restored=session.restored, good=bool(value))
        if not session.has_login or not wanted:
            return {}
        self._channel.post("capturing")
        try:
            state, unkept = await session.capture()
        except StateError as error:
            return {"unkept": uncaptured(kind, error)}
        return {"state": state, "unkept": unkept}
