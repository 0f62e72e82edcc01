"""The child of a Machine: one warm browser, one Attempt at a time.

    from the worker   configure (once), attempt, answer, stop
    to the worker     ready, begun, extend, request, capturing, done, left (what it leaves in the folder that it was
                      given), stopping (with where the automation was), stopped, idle (with `unfit`: a reason to recycle
                      the Machine)

`done` is sent before anything is saved or cleaned up: the result is on its way while the trace is written, and its
record while the context closes and the next one opens.
The end of the worker's socket ends the child; the keeper sees to the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import itertools
import json
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from intuned_runtime import IntunedContext, RunContext
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ProxySettings, async_playwright

from . import logs
from .address_guard import guard_playwright
from .browser import BrowserSetup, Tab, WarmBrowser
from .calling import Call, call
from .channel import Channel
from .evidence import Evidence
from .failures import MESSAGE_LIMIT, UserCodeError, as_message, waiting_at
from .hook import has_hook
from .leftovers import Leftovers
from .lines import Lines
from .live import Live
from .output import Output
from .requests import Requests
from .session import BrowserSession
from .state import StateError, parsed
from .watching import Watch
from .workspace import Workspace, empty

_LAST_WORDS = 0.1
"""Seconds that a canceled automation gets before its browser is closed (docs/contract.md, section 10, rule 8)."""

TRACES = "traces"
"""Folder in the Machine's scratch."""

_PROXY_REFUSED = "The proxy answered 407: it wants other credentials than this Run gives it."
"""Without it, all that is said of an https page is that it did not load in time."""


@dataclass
class Prepared:
    """What the next Attempt starts with."""

    tab: Tab
    workspace: Workspace


class Child:
    """See the module's docstring."""

    def __init__(
        self, channel: Channel, browser: WarmBrowser, project: Path, scratch: Path, lines: Lines, watch: Watch
    ) -> None:
        self._channel = channel
        self._browser = browser
        self._project = project
        self._scratch = scratch
        self._traces = scratch / TRACES
        self._numbers = itertools.count(1)
        self._files = ThreadPoolExecutor(1)  # our own; the default one is the Attempt's and goes with it
        self._prepared: Prepared | None = None
        self._user: asyncio.Task[dict[str, Any]] | None = None
        self._session: BrowserSession | None = None
        self._root: Path | None = None
        self._evidence: Evidence | None = None
        self._live: Live | None = None
        self._requests = Requests(channel)
        self._output = Output()
        self._lines = lines
        self._watch = watch
        logs.capture(lines)

    async def serve(self) -> None:
        """Take orders until the worker hangs up."""
        self._prepared = await self._prepare()
        self._channel.post("ready", browserVersion=self._browser.version)
        async with asyncio.TaskGroup() as attempts:  # a defect of ours in one ends the child, and shows as a crash
            while (message := await self._channel.receive()) is not None:
                if message["type"] == "attempt":
                    attempts.create_task(self._execute(message))
                elif message["type"] == "answer":
                    self._requests.answered(message)
                elif message["type"] == "stop":
                    await self._stop()

    async def _prepare(self, used: Workspace | None = None) -> Prepared:
        tab, workspace = await asyncio.gather(self._browser.open_tab(), self._in_thread(self._renewed, used))
        return Prepared(tab, workspace)

    def _renewed(self, used: Workspace | None) -> Workspace:
        """For the next Attempt: that of the last, if it is as good as new."""
        empty(self._traces)
        if used is not None:
            if used.is_as_made():
                return used
            used.remove()
        return Workspace.prepare(self._project, self._scratch / f"attempt-{next(self._numbers)}")

    async def _in_thread[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, partial(work, *args, **kwargs))

    async def _execute(self, order: dict[str, Any]) -> None:
        """One Attempt, from its order to the Machine being ready for the next."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise RuntimeError("an Attempt was ordered while another was still being cleaned up")
        try:
            await self._use(prepared, order["proxy"])
        except (PlaywrightError, TimeoutError) as error:  # before user code: not its fault, and not its Attempt
            self._channel.post("idle", unfit=f"no fresh context: {error}")
            return
        leftovers = Leftovers()
        self._output.renew()
        self._watch.renew()
        self._lines.begin(order["log"], order["logLimit"])
        prepared.workspace.enter()
        self._channel.post("begun", root=str(prepared.workspace.root))
        evidence = self._evidence = Evidence(order["evidence"], order["function"], self._traces, self._browser.call)
        self._browser.on_close, self._browser.on_context = evidence.save_traces, evidence.also
        live = self._live = Live(evidence.folder, evidence.last_page)
        await live.begin()
        with contextlib.ExitStack() as runtime:
            try:
                done = await self._ask(order, prepared, evidence, runtime)
                self._output.flush()
                self._lines.end()
                self._channel.post("done", **done)
            finally:
                prepared.workspace.leave()
            await self._channel.flush()
            await live.end()
            await self._leave(evidence, completed=_is_good(order, done))
            closed = self._session is None or await self._session.close()
            unfit = await leftovers.end()
            # Only now: tasks of the Attempt could open more of them.
            closed = closed and await self._browser.close_contexts()
            logs.reset()
        if self._session is not None and self._session.lasting:
            unfit = unfit or "what it did in the browser's own context"
        self._user = self._session = self._evidence = self._live = None
        if not closed:
            unfit = "a context that does not close"
        if unfit is None:
            try:
                self._prepared = await self._prepare(prepared.workspace)
            except PlaywrightError as error:
                unfit = f"no fresh context: {error.message}"
        else:
            await self._in_thread(prepared.workspace.remove)
        self._channel.post("idle", unfit=unfit and f"the last Attempt left {unfit}")

    async def _use(self, prepared: Prepared, proxy: ProxySettings | None) -> None:
        """Make the prepared tab the Attempt's; one with a proxy needs a context of its own."""
        await self._browser.check()
        if proxy is not None or prepared.tab.page.is_closed():
            await prepared.tab.close()
            prepared.tab = await self._browser.open_tab(proxy)

    async def _leave(self, evidence: Evidence, *, completed: bool) -> None:
        self._channel.post("left", **await evidence.leave(completed=completed))
        await self._channel.flush()

    async def _ask(
        self, order: dict[str, Any], prepared: Prepared, evidence: Evidence, leaving: contextlib.ExitStack
    ) -> dict[str, Any]:
        """The fields of `done`: what the automation returned, or how it failed. Its runtime ends with `leaving`."""
        try:
            state = parsed(order["session"]) if order["session"] is not None else None
        except StateError as error:
            return {"error": as_message(error), "attributes": {}}
        # User code may do with it what it likes; what has changed is seen by ours.
        run_info: dict[str, Any] = {**order["runInfo"], "auth_session": copy.deepcopy(state)}
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        runtime = IntunedContext(
            run_context=RunContext(**run_info),
            extend_timeout=lambda: loop.call_soon_threadsafe(self._channel.post, "extend") and None,
            ask=self._requests.ask,
        )
        context.run(runtime.__enter__)
        leaving.callback(context.run, runtime.__exit__, None, None, None)
        called = Call(
            kind=order["kind"],
            path=order["function"],
            parameters=json.loads(order["parameters"]),
            capture=order["capture"],
            capturing=lambda within: self._channel.post("capturing", within=within),
        )
        root = self._root = prepared.workspace.root
        self._session = BrowserSession(
            prepared.tab,
            root,
            self._browser.cdp_url,
            called.path,
            called.parameters,
            state,
            evidence,
            self._watch.context,
        )
        self._user = asyncio.create_task(call(called, self._session, root), context=context)
        fields = await self._ended(self._user)
        if reason := fields.get("uncaptured"):
            self._lines.say("warning", "callboard", f"What the site has changed in its login is not kept: {reason}")
        return {**fields, "attributes": runtime.attributes}

    async def _ended(self, user: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
        try:
            fields = await asyncio.shield(user)
        except UserCodeError as error:
            also = [_PROXY_REFUSED] if self._session and self._session.proxy_refused else []
            if self._watch.refused:
                also.append(self._watch.refused)
            fields = as_message(error, also="\n".join(also))
            if await self._is_gone(self._browser.call):
                fields["kind"] = "browser-gone"
            return {"error": fields}
        except asyncio.CancelledError:
            if not user.cancelled():
                raise
            return {"error": as_message(UserCodeError("The automation was canceled by its own code."))}
        # A browser that dies under a page can leave an automation with empty answers instead of an error.
        if self._session and self._session.opened and await self._is_gone(self._browser.check):
            return {"error": {**as_message(UserCodeError("nothing of it, and returned.")), "kind": "browser-gone"}}
        return fields

    async def _is_gone(self, asked: Callable[[], Awaitable[None]]) -> bool:
        if self._browser.closed_by_user:
            return False
        try:
            await asked()
        except PlaywrightError:
            return True
        except TimeoutError:  # it is stuck, perhaps in what user code did to it, but it is there
            return False
        return False

    async def _stop(self) -> None:
        """Cancel the automation, save what it leaves, and close its context, in a second and a half.

        The worker kills the Machine then, or afterwards.
        """
        if self._user is not None and self._root is not None:
            self._channel.post("stopping", stack=waiting_at(self._user, self._root))
            self._user.cancel()
            await asyncio.wait({self._user}, timeout=_LAST_WORDS)
        if self._live is not None:
            await self._live.end()
        if self._evidence is not None:
            await self._leave(self._evidence, completed=False)
        if self._session is not None:
            await self._session.close()
        self._channel.post("stopped")


def _is_good(order: dict[str, Any], done: dict[str, Any]) -> bool:
    """Whether it has completed: a check that finds the login bad has not."""
    return "error" not in done and not (order["kind"] == "check" and done["result"] == "false")


async def _serve(fd: int, mark: bytes) -> None:
    channel = await Channel.over(fd)
    setup = await channel.receive()
    if setup is None:
        return
    lines = Lines(mark)
    watch = Watch(lines)
    if not setup["allowFileUrls"]:
        guard_playwright()
    async with async_playwright() as playwright:
        project, scratch = Path(setup["project"]), Path(setup["scratch"])
        try:
            browser = await WarmBrowser.launch(
                playwright,
                BrowserSetup(
                    executable=setup["browser"],
                    arguments=setup["arguments"],
                    headless=setup["headless"],
                    sandbox=setup["sandbox"],
                    debugging=has_hook(project),
                    viewport=(setup["width"], setup["height"]),
                    environment=setup["browserEnvironment"],
                    traces=scratch / TRACES,
                    on_refused_file=None if setup["allowFileUrls"] else watch.refused_file,
                ),
                watch.context,
            )
        except (PlaywrightError, OSError) as error:
            channel.post("unable", reason=str(error)[:MESSAGE_LIMIT])
            await channel.flush()
            return
        try:
            await Child(channel, browser, project, scratch, lines, watch).serve()
        finally:
            await browser.close()


def main(fd: int, mark: bytes) -> None:
    """Serve the worker at the other end of the socket `fd`; `mark` is for the keeper (see `lines`)."""
    with asyncio.Runner() as runner:
        try:
            runner.run(_serve(fd, mark))
        except SystemExit as error:
            # User code's, in a task of its own. At once: to clean up would be to cancel its Attempt, as if that failed.
            os._exit(error.code if isinstance(error.code, int) else 1)
