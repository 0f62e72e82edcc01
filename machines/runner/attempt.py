"""One Attempt, as the supervisor sees it: the conversation with the process of user code, from its order to its end."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Error as PlaywrightError

from .browser import Tab, WarmBrowser
from .channel import MOST_OPEN, Channel
from .evidence import Evidence
from .failures import STACK_LIMIT, UserCodeError, as_message, with_addition
from .folders import EVIDENCE, Workspace
from .hook_pages import HookPages
from .page_events import PageEvents
from .playwright_wire import guid_of
from .relay import BrowserDesk
from .stacks import dumped_stack
from .state import StateError
from .stdio import KeeperSocket, LogLines
from .storage_state import CAPTURE_WITHIN, AttemptLogin
from .user_messages import checked_done, checked_left, checked_number, checked_request, checked_text
from .user_process import LAST_WORDS
from .user_processes import UserProcess, Zygote, ZygoteError

_HEARD_WITHIN = 0.15
"""Seconds in which a process of user code hears that it is to stop, unless it blocks."""
_EXITS_WITHIN = 0.5
"""Seconds in which a process that has closed its socket, or was not understood, may turn out to have ended."""
_LAST_EVIDENCE_WITHIN = 1.1
"""Seconds more that it gets to save what is left of a context that the project's hook has brought."""
_EXTENDED_WITHIN = 0.05
"""Seconds in which the worker hears of an extension: further ones in this time need no message of their own."""
_OPENED_WITHIN = 6.0
"""Seconds in which the browser must be done with what an Attempt had begun when it ended."""

_PROXY_REFUSED = "The proxy answered 407: it wants other credentials than this Run gives it."
"""Addition to an error. Without it, the error of an https page only says that it did not load in time."""
_LOST_WITH_CLIENT = "It was recorded by a client that the hook had opened, which ended with the process of user code."


@dataclass
class Prepared:
    """What an Attempt starts with: a tab, a workspace, and a process for its user code."""

    tab: Tab
    workspace: Workspace
    user: UserProcess
    desk: BrowserDesk


class Attempt:
    """One Attempt, from its order until nothing of its user code runs any more."""

    def __init__(
        self,
        order: dict[str, Any],
        prepared: Prepared,
        evidence: Evidence,
        *,
        worker: Channel,
        browser: WarmBrowser,
        zygote: Zygote,
        lines: LogLines,
        watch: PageEvents,
        keeper: KeeperSocket,
        project: Path,
        hook_pages: HookPages | None,
    ) -> None:
        self._order = order
        self._tab = prepared.tab
        self._desk = prepared.desk
        self._user = prepared.user
        self._workspace = prepared.workspace
        self._evidence = evidence
        self._worker = worker
        self._browser = browser
        self._zygote = zygote
        self._lines = lines
        self._watch = watch
        self._keeper = keeper
        self._project = project
        self._hook_pages = hook_pages
        self._login = AttemptLogin(order, prepared.tab.context, self._say_capturing)
        self._opening: asyncio.Task[None] | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        """What answers requests that the supervisor fulfils, with the browser."""
        self._forwarded: set[asyncio.Task[None]] = set()
        """What answers requests that the worker fulfils."""
        self._extension: asyncio.TimerHandle | None = None
        self._captures = False
        """Whether the worker has heard that the state is being captured."""
        self._reading: asyncio.Task[dict[str, Any] | None] | None = None
        self._ending: asyncio.Task[int | None] | None = None
        self._heard = asyncio.Event()
        self._stack = ""
        """Where the automation waited when it heard that it is to stop."""
        self._brought = False
        """Whether the project's hook has brought a context, which the supervisor does not know."""
        self._lasting = False
        """Whether the browser keeps that context for as long as it runs."""
        self._left: dict[str, Any] | None = None
        """What the process of user code has left of such a context."""
        self._found: asyncio.Task[dict[str, Any]] | None = None
        """What the supervisor leaves of it, where that process cannot."""
        self.begun = False
        """Whether user code is about to be called; else another Machine may take the Attempt."""
        self.stopping = False
        """Whether the Attempt is to stop, so that its outcome does not matter any more."""
        self.imported: list[str] = []
        """Names of the modules that user code has imported from the project's own packages."""
        self.unfit: str | None = None
        """Why the Machine must take no further Attempt; None if it may."""

    async def run(self) -> dict[str, Any]:
        """Have user code called, and return the fields of `done`: what the automation returned, or how it failed."""
        try:
            self._login.read()
        except StateError as error:
            self._say_begun()
            await self._end()
            return {"error": as_message(error), "attributes": {}}
        if self._hook_pages is not None:
            self._hook_pages.begin(lambda: self._user.has_ended)
        self._user.channel.post("call", **self._call())
        self._reading = asyncio.create_task(self._read(), name="user code")
        exited = asyncio.create_task(self._user.exited.wait())
        over = asyncio.create_task(self._keeper.wait_passed())
        await asyncio.wait({self._reading, exited, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if self._keeper.passed is not None:
            await self._give_up()
        elif self._reading.done() and self._reading.result() is None:  # a process that ends closes its sockets first
            await asyncio.wait({exited}, timeout=_EXITS_WITHIN)
        exited.cancel()
        by_itself = self._user.exited.is_set()
        if by_itself or (self._reading.done() and self._reading.result() is None):
            await self._leave_of_hook()
        # What pages have said until now belongs into the log.
        status, _ = await asyncio.gather(self._end(), self._browser.hear_all(), return_exceptions=True)
        if isinstance(status, BaseException):
            raise status
        done = await self._reading
        if self.stopping:
            return {}
        if self._keeper.passed is not None and (done is None or "error" in done):
            passed = {"limit": self._keeper.passed, "used": self._keeper.used}
            error = {"kind": "over-limit", **passed, "stack": self._stack}
            return {"error": error, "attributes": {}}
        if done is None:
            return {"error": self._crash(status if by_itself else None), "attributes": {}}
        self.imported = done["imported"]
        attributes = {"attributes": done["attributes"]}
        if (error := done.get("error")) is not None:
            return {"error": await self._failure(error), **attributes}
        # If the browser dies, an automation may get empty answers instead of an error.
        if self.opened and await self._is_gone(self._browser.check):
            return {"error": {**as_message(UserCodeError("nothing of it, and returned.")), "kind": "browser-gone"}}
        try:
            state = await self._login.changed(done, restored=self._is_restored)
        except StateError as error:
            return {"error": as_message(error), **attributes}
        if reason := state.get("uncaptured"):
            self._lines.say("warning", "callboard", f"What the site has changed in its login is not kept: {reason}")
        return {"result": done["result"], "extendedPayloads": done["extendedPayloads"], **state, **attributes}

    @property
    def opened(self) -> bool:
        """Whether user code has asked for its page: a deferred automation may never do that."""
        return self._opening is not None or self._brought

    @property
    def _is_restored(self) -> bool:
        opening = self._opening
        return opening is not None and opening.done() and opening.exception() is None

    async def stop(self) -> None:
        """Stop user code, telling the worker where it stood. When this returns, nothing of it runs any more."""
        self.stopping = True
        reading = self._reading
        if reading is not None and self._ending is None:
            self._find_of_hook()
            self._user.channel.post("stop")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), _HEARD_WITHIN)
            if not self._heard.is_set():
                dump = await self._user.where_it_stands()
                self._stack = self._stack or dumped_stack(dump, self._workspace.root, self._project)
            self._worker.post("stopping", stack=self._stack)
            if self._heard.is_set():
                within = LAST_WORDS + (_LAST_EVIDENCE_WITHIN if self._brought else LAST_WORDS)
                await asyncio.wait({reading}, timeout=within)
            if self._left is None:
                await self._leave_of_hook()
        await self._end()

    async def _give_up(self) -> None:
        """End user code at once, as the Machine has passed a limit; find out where it stands if it tells quickly."""
        self._find_of_hook()
        self._user.channel.post("stop")
        dumped = asyncio.create_task(self._user.where_it_stands())
        heard = asyncio.create_task(self._heard.wait())
        await asyncio.wait({dumped, heard}, return_when=asyncio.FIRST_COMPLETED)
        if dumped.done():
            self._stack = self._stack or dumped_stack(dumped.result(), self._workspace.root, self._project)
        if not self._stack:  # it waits, and its event loop tells for what
            await asyncio.wait({heard}, timeout=_HEARD_WITHIN)
        for task in (dumped, heard):
            task.cancel()
        await self._leave_of_hook()
        await self._end()

    def left(self, own: dict[str, Any]) -> dict[str, Any]:
        """Return what the Attempt leaves, given what the supervisor has saved of it."""
        if not self._brought:
            return own
        self._evidence.take_over(self._workspace.folder / EVIDENCE)
        told = self._left
        if told is None and self._found is not None and self._found.done():
            found = self._found.result()
            traced = self._order["evidence"] is not None and self._order["evidence"]["trace"] != "never"
            told = {**found, "missing": {**({"trace": _LOST_WITH_CLIENT} if traced else {}), **found["missing"]}}
        if told is None:
            return own
        return {"pageUrl": told["pageUrl"] or own["pageUrl"], "missing": {**own["missing"], **told["missing"]}}

    def _find_of_hook(self) -> None:
        """Begin to save what can be had of a context that the hook has brought, while its client is still there."""
        folder = self._evidence.folder
        if self._brought and self._found is None and self._hook_pages is not None and folder is not None:
            self._found = asyncio.create_task(self._hook_pages.leave(folder))

    async def _leave_of_hook(self) -> None:
        self._find_of_hook()
        if self._found is not None:
            await asyncio.wait({self._found})

    def _call(self) -> dict[str, Any]:
        order = self._order
        pages = self._hook_pages
        wanted = order["evidence"] and {**order["evidence"], "folder": str(self._workspace.folder / EVIDENCE)}
        hooked = pages and {"cdpUrl": pages.cdp_url, "state": self._login.state, "evidence": wanted}
        return {
            "kind": order["kind"],
            "function": order["function"],
            "parameters": order["parameters"],
            "capture": order["capture"],
            # User code gets a copy that it may change; changes of the state are found by comparing with ours.
            "runInfo": {**order["runInfo"], "auth_session": copy.deepcopy(self._login.state)},
            "folder": str(self._workspace.folder),
            "context": guid_of(self._tab.context),
            "page": guid_of(self._tab.page),
            "hooked": hooked,
        }

    async def _read(self) -> dict[str, Any] | None:
        """Handle what the process of user code says. Return its `done`, or None if it ends without one.

        User code may write anything on this socket; what is not understood ends the Attempt, like a crash.
        """
        try:
            async for message in self._user.channel.messages:
                match message["type"]:
                    case "called":
                        if not self.begun:
                            self._say_begun()
                    case "done":
                        self._left = checked_left(message.get("left")) or self._left
                        return checked_done(message)
                    case "stopped":
                        self._left = checked_left(message["left"])
                        return None
                    case "stopping":
                        self._stack = checked_text(message["stack"], STACK_LIMIT)
                        self._heard.set()
                    case "extend":
                        self._extend()
                    case "capturing":
                        self._say_capturing()
                    case "request":
                        await self._start(self._answer_request(checked_request(message)), self._forwarded)
                    case "brought":
                        self._brought = True
                        self._lasting = bool(message["lasting"])
                    case "open":
                        await self._start(self._answer_open(checked_number(message)), self._preparing)
                    case "finishing":
                        await self._start(self._answer_finishing(checked_number(message)), self._preparing)
                    case _:
                        return None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return None  # the message is not of the shape that we send, so user code wrote it
        return None

    def _say_begun(self) -> None:
        self.begun = True
        self._worker.post("begun", root=str(self._workspace.root))

    def _say_capturing(self) -> None:
        if not self._captures:  # each message of these puts the end of the Attempt off
            self._captures = True
            self._worker.post("capturing", within=CAPTURE_WITHIN)

    def _extend(self) -> None:
        if self._extension is None and self._ending is None:
            self._extension = asyncio.get_running_loop().call_later(_EXTENDED_WITHIN, self._say_extended)

    def _say_extended(self) -> None:
        self._extension = None
        self._worker.post("extend")

    async def _start(self, answering: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        """Begin to answer a request as soon as fewer than `MOST_OPEN` are open: until then, nothing more is read."""
        while len(is_open := self._preparing | self._forwarded) >= MOST_OPEN:
            await asyncio.wait(is_open, return_when=asyncio.FIRST_COMPLETED)
        if self._ending is not None:
            answering.close()
            return
        task = asyncio.create_task(answering)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _end(self) -> int | None:
        """End user code and all that it has started, once. Return the wait status of its process, if it is known."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end_now())
        return await asyncio.shield(self._ending)

    async def _end_now(self) -> int | None:
        status = None
        try:
            status = await self._zygote.end(has_ended=self._user.has_ended)
        except ZygoteError as error:
            self.unfit = str(error)
        for task in self._forwarded:
            task.cancel()
        if self._extension is not None:
            self._extension.cancel()
        if self._reading is not None:  # whoever could write to the socket has ended, so it ends, too
            await asyncio.wait({self._reading}, timeout=_EXITS_WITHIN)
        # What user code had asked of the browser is not cancelled: that would abort it there in the midst of it.
        if self._preparing and (await asyncio.wait(set(self._preparing), timeout=_OPENED_WITHIN))[1]:
            self.unfit = "something that the browser has not done"
        if self._hook_pages is not None:
            self._hook_pages.end()
        self._user.close()
        return status

    async def _answer_request(self, request: dict[str, Any]) -> None:
        """Have the worker answer, and say what it has answered. The request is open until that is on its way."""
        told = await self._worker.ask("request", operation=request["operation"], arguments=request["arguments"])
        answer = {name: value for name, value in told.items() if name in ("value", "error")}
        with contextlib.suppress(ConnectionError):
            await self._user.channel.send("answer", number=request["number"], **answer)

    async def _answer_open(self, message: dict[str, Any]) -> None:
        """Restore the state and begin the trace, once; then say so."""
        if self._opening is None:
            self._opening = asyncio.create_task(
                self._open(trace=bool(message["trace"]), unused=bool(message["unused"]))
            )
        told: dict[str, Any] = {}
        try:
            await asyncio.shield(self._opening)
        except UserCodeError as error:
            told["error"] = as_message(error)
        except PlaywrightError as error:
            told["error"] = as_message(UserCodeError(error.message, name="Error"))
        self._user.channel.post("answer", number=message["number"], traced=self._evidence.traces, **told)

    async def _open(self, *, trace: bool, unused: bool) -> None:
        await self._login.restore(self._tab.page if unused else None)
        if trace:  # only now: to restore a state is no action of the automation
            await self._evidence.begin(self._tab.context, self._tab.page)

    async def _answer_finishing(self, message: dict[str, Any]) -> None:
        """Capture the state before the hook's cleanup, which may end what it is captured from; then say so."""
        await self._login.capture_early()
        self._user.channel.post("answer", number=message["number"])

    def _crash(self, status: int | None) -> dict[str, Any]:
        """Return the fields of the error of a process that has ended by itself, or (None) was not understood."""
        return {
            "kind": "ended",
            "exitCode": None if status is None else os.waitstatus_to_exitcode(status),
            "stack": dumped_stack(self._user.stacks(), self._workspace.root, self._project),
        }

    async def _failure(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an error that user code has told, with what the supervisor knows about it."""
        also = [_PROXY_REFUSED] if self.opened and self._tab.proxy_refused else []
        also += self._watch.reasons(str(told["message"]))
        fields = with_addition(told, "\n".join(also)) if also else told
        return {**fields, "kind": "browser-gone"} if await self._is_gone(self._browser.call) else fields

    async def used_default_context(self) -> bool:
        """Tell whether user code may have left something in the context that the browser keeps while it runs.

        Raises:
            PlaywrightError: The browser is gone.
        """
        if self._desk.shared or self._lasting or self._hook_pages is None:
            return self._desk.shared or self._lasting
        return await self._hook_pages.used_default_context()

    async def _is_gone(self, asked: Callable[[], Awaitable[None]]) -> bool:
        try:
            await asked()
        except PlaywrightError:
            return True
        except TimeoutError:  # the browser is stuck, perhaps because of user code, but it is there
            return False
        return False
