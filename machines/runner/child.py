"""The child of a Machine: it has one warm browser, and executes one Attempt at a time.

    from the worker   configure (once), attempt, answer, stop
    to the worker     ready, begun, extend, request, capturing, done, left (what the Attempt leaves in its folder),
                      stopping (with where the automation was), stopped, idle (with `unfit`: a reason to recycle
                      the Machine)

`done` is sent before anything is saved or cleaned up: the result is on its way while the trace is written, and the
Attempt's record is on its way while the context closes and the next one opens.
The end of the worker's socket ends the child; the keeper ends everything else.
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
"""Name of the folder for unsaved traces, in the Machine's scratch folder."""

_PROXY_REFUSED = "The proxy answered 407: it wants other credentials than this Run gives it."
"""Addition to an error. Without it, the error of an https page only says that it did not load in time."""


@dataclass
class Prepared:
    """What the next Attempt starts with: a tab and a workspace."""

    tab: Tab
    workspace: Workspace


class Child:
    """The child of a Machine, which serves the worker; see the module's docstring."""

    def __init__(
        self, channel: Channel, browser: WarmBrowser, project: Path, scratch: Path, lines: Lines, watch: Watch
    ) -> None:
        self._channel = channel
        self._browser = browser
        self._project = project
        self._scratch = scratch
        self._traces = scratch / TRACES
        self._numbers = itertools.count(1)
        self._files = ThreadPoolExecutor(1)  # our own, as the default executor belongs to the Attempt and ends with it
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
        """Handle the worker's messages until it closes the connection."""
        self._prepared = await self._prepare()
        self._channel.post("ready", browserVersion=self._browser.version)
        async with asyncio.TaskGroup() as attempts:  # a defect of ours in one ends the child, as a crash
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
        """Return a workspace for the next Attempt: the one of the last Attempt, if nothing in it has changed."""
        empty(self._traces)
        if used is not None:
            if used.is_as_made():
                return used
            used.remove()
        return Workspace.prepare(self._project, self._scratch / f"attempt-{next(self._numbers)}")

    async def _in_thread[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, partial(work, *args, **kwargs))

    async def _execute(self, order: dict[str, Any]) -> None:
        """Execute one Attempt, from its message until the Machine is ready for the next one."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise RuntimeError("an Attempt was ordered while another was still being cleaned up")
        try:
            await self._use(prepared, order["proxy"])
        except (PlaywrightError, TimeoutError) as error:  # user code was not called, so the Attempt has not begun
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
            # Close them only now: tasks of the Attempt could have opened more.
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
        """Check that the browser is alive, and make the prepared tab the Attempt's.

        An Attempt with a proxy gets a new context instead.
        """
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
        """Call user code, and return the fields of `done`: what the automation returned, or how it failed.

        The runtime of user code ends when `leaving` is closed.
        """
        try:
            state = parsed(order["session"]) if order["session"] is not None else None
        except StateError as error:
            return {"error": as_message(error), "attributes": {}}
        # User code gets a copy that it may change; changes of the state are found by comparing with ours.
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
        # If the browser dies, an automation may get empty answers instead of an error.
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
        except TimeoutError:  # the browser is stuck, perhaps because of user code, but it is there
            return False
        return False

    async def _stop(self) -> None:
        """Cancel the automation, save what it leaves, and close its context.

        The worker allows a second and a half for this. It kills the Machine after that time, or when this is done.
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
    """Tell whether the Attempt counts as completed: a check that finds the login bad does not."""
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
    """Serve the worker at the other end of the socket `fd`; `mark` marks packets to the keeper (see `lines`)."""
    with asyncio.Runner() as runner:
        try:
            runner.run(_serve(fd, mark))
        except SystemExit as error:
            # User code has raised it in a task of its own. Exit at once: a clean-up would cancel the Attempt, as if
            # it had failed.
            os._exit(error.code if isinstance(error.code, int) else 1)
