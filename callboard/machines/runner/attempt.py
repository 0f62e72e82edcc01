"""One Attempt in the supervisor: from its start until nothing of its user code runs, and its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard_runtime.failures import UserCodeError, as_message, with_addition
from callboard_runtime.page_events import PageEvents
from callboard_runtime.state import StateError
from playwright.async_api import Error as PlaywrightError

from .browser import Tab, WarmBrowser
from .channel import Channel
from .conversation import AttemptState, Conversation
from .evidence import Evidence
from .folders import EVIDENCE, Workspace
from .playwright_wire import guid_of
from .record import record
from .relay_policy import RelayPolicy
from .stacks import dumped_stack
from .stdio import KeeperSocket, LogLines
from .user_process import LAST_WORDS
from .zygote_process import UserProcess, Zygote, ZygoteError

_HEARD_WITHIN = 0.15
"""Seconds in which a process of user code hears that it is to stop, unless it blocks."""
_EXITS_WITHIN = 0.5
"""Seconds in which a process that has closed its socket, or was not understood, may turn out to have ended."""
_LAST_EVIDENCE_WITHIN = 1.1
"""Seconds more that it gets to save what is left of a context that the project's hook has brought."""

_PROXY_REFUSED = "The proxy answered 407: it wants other credentials than this Run gives it."
"""Addition to an error. Without it, the error of an https page only says that it did not load in time."""
_LOST_WITH_CLIENT = "The hook's own client alone could save it, and that ended with the process of user code."


@dataclass
class Parts:
    """What the supervisor has for one Attempt after the other."""

    worker: Channel
    browser: WarmBrowser
    zygote: Zygote
    """The zygote of the version that is served now."""
    project: Path
    """The folder of that version."""
    lines: LogLines
    page_events: PageEvents
    keeper: KeeperSocket


@dataclass
class Prepared:
    """What an Attempt starts with: a tab, a workspace, and a process for its user code."""

    tab: Tab
    workspace: Workspace
    user: UserProcess
    policy: RelayPolicy


class Attempt:
    """One Attempt, from its start until nothing of its user code runs any more."""

    def __init__(
        self, spec: dict[str, Any], prepared: Prepared, evidence: Evidence, parts: Parts, state: AttemptState
    ) -> None:
        self._spec = spec
        self._tab = prepared.tab
        self._policy = prepared.policy
        self._user = prepared.user
        self.workspace = prepared.workspace
        self._evidence = evidence
        self._parts = parts
        self._state = state
        self._conversation = Conversation(
            prepared.user.channel, parts.worker, spec, prepared.tab.page, str(prepared.workspace.root), evidence, state
        )
        self.variables: list[str] = [*spec["variables"]]
        """Names of the environment variables that user code has of its project."""
        self.imported: list[str] = []
        """Names of the modules that user code has imported from the project's own packages."""
        self.retire_reason: str | None = None
        """Why the Machine must take no further Attempt; None if it may."""

    async def call_user_code(self) -> dict[str, Any]:
        """Have user code called, and return the fields of `done`: what the automation returned, or how it failed.

        When this returns, nothing of user code runs any more. The fields are empty if the Attempt was to stop.
        """
        if self._state.stop.is_set():
            await self._end()
            return {}
        if self._spec["kind"] == "record":
            return await self._record()
        try:
            self._conversation.login.read()
        except StateError as error:
            self._conversation.say_begun()
            await self._end()
            return {"error": as_message(error), "attributes": {}}
        reading = self._conversation.begin(self._call())
        ended_by_itself = await self._wait_over(reading)
        # What pages have said until now belongs into the log.
        status, _ = await asyncio.gather(self._end(), self._parts.browser.hear_all(), return_exceptions=True)
        if isinstance(status, BaseException):
            raise status
        done = await reading
        if self._state.stop.is_set():
            return {}
        if self._parts.keeper.passed is not None and (done is None or "error" in done):
            return self._passed_limit()
        if done is None:
            return {"error": self._crash(status if ended_by_itself else None), "attributes": {}}
        self.imported = done["imported"]
        return await self._outcome(done)

    async def _record(self) -> dict[str, Any]:
        """Have a person log in, and return the fields of `done`; they are empty if the Attempt was to stop.

        The process for user code ends before that, so that nothing of the project sees what the person does.
        """
        await self._end()
        self._state.is_ending = False  # who takes the browser has it until the record ends
        self._conversation.say_begun()
        parts = self._parts
        recording = asyncio.create_task(
            record(self._spec, self._tab, parts.worker, self._evidence, parts.page_events), name="record"
        )
        over_limit, stop = (
            asyncio.create_task(event.wait()) for event in (self._parts.keeper.has_passed, self._state.stop)
        )
        try:
            await asyncio.wait({recording, over_limit, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self._state.stop.is_set():
                return {}
            if self._parts.keeper.passed is not None:
                return self._passed_limit()
            return recording.result()
        finally:
            self._state.is_ending = True
            for task in (recording, over_limit, stop):
                task.cancel()

    def _passed_limit(self) -> dict[str, Any]:
        """Return the fields of `done` of an Attempt whose Machine has passed a limit."""
        passed = {"limit": self._parts.keeper.passed, "used": self._parts.keeper.used}
        return {"error": {"kind": "over-limit", **passed, "stack": self._state.stood_at}, "attributes": {}}

    async def _wait_over(self, reading: asyncio.Task[dict[str, Any] | None]) -> bool:
        """Wait until user code is done, has ended or must end. Return whether its process has ended by itself."""
        exited, over_limit, stop = (
            asyncio.create_task(event.wait())
            for event in (self._user.exited, self._parts.keeper.has_passed, self._state.stop)
        )
        await asyncio.wait({reading, exited, over_limit, stop}, return_when=asyncio.FIRST_COMPLETED)
        if self._parts.keeper.passed is not None:
            await self._ask_where_it_stands()
        elif not reading.done() and self._state.stop.is_set():
            await self._stop({reading, over_limit})
        elif reading.done() and reading.result() is None:  # a process that ends closes its sockets first
            await asyncio.wait({exited}, timeout=_EXITS_WITHIN)
        for waiting in (exited, over_limit, stop):
            waiting.cancel()
        return self._user.exited.is_set()

    async def _outcome(self, done: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of `done` for the worker, given what the process of user code has said."""
        attributes = {"attributes": done["attributes"]}
        if (error := done.get("error")) is not None:
            return {"error": await self._failure(error), **attributes}
        # If the browser dies, an automation may get empty answers instead of an error.
        if self._conversation.opened and await self._is_gone(self._parts.browser.check):
            return {"error": {**as_message(UserCodeError("nothing of it, and returned.")), "kind": "browser-gone"}}
        try:
            state = await self._conversation.login.changed(done, restored=self._conversation.is_restored)
        except StateError as error:
            return {"error": as_message(error), **attributes}
        if unkept := state.get("unkept"):
            self._parts.lines.say("warning", "callboard", unkept)
        return {"result": done["result"], "extendedPayloads": done["extendedPayloads"], **state, **attributes}

    async def _stop(self, ends: set[asyncio.Task[Any]]) -> None:
        """Tell user code to stop, and the worker where it stood. Unless it blocks, it gets a moment for its last words.

        That moment is over once one of `ends` is done.
        """
        heard = self._conversation.heard_stop
        self._user.channel.post("stop")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(heard.wait(), _HEARD_WITHIN)
        if not heard.is_set():
            self._state.stood_at = await self._where_it_stands()
        self._parts.worker.post("stopping", stack=self._state.stood_at)
        if heard.is_set():
            within = LAST_WORDS + (_LAST_EVIDENCE_WITHIN if self._state.brought else LAST_WORDS)
            await asyncio.wait(ends, timeout=within, return_when=asyncio.FIRST_COMPLETED)

    async def _ask_where_it_stands(self) -> None:
        """Find out where user code stands, which is about to be ended, as the Machine has passed a limit.

        It has no more time than it takes to tell that.
        """
        self._user.channel.post("stop")
        dumped = asyncio.create_task(self._where_it_stands())
        heard = asyncio.create_task(self._conversation.heard_stop.wait())
        await asyncio.wait({dumped, heard}, return_when=asyncio.FIRST_COMPLETED)
        if dumped.done():
            self._state.stood_at = self._state.stood_at or dumped.result()
        if not self._state.stood_at:  # it waits, and its event loop tells for what
            await asyncio.wait({heard}, timeout=_HEARD_WITHIN)
        for task in (dumped, heard):
            task.cancel()

    def left(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of the message `left`, given what the supervisor has saved.

        If the hook has brought a context, this takes over what the process of user code has saved of that.
        """
        if not self._state.brought:
            return saved
        taken = self._evidence.take_over(self.workspace.folder / EVIDENCE)
        lost = [name for name in self._evidence.wanted if name not in taken]
        of_hook = self._state.evidence or {"pageUrl": None, "missing": dict.fromkeys(lost, _LOST_WITH_CLIENT)}
        missing = {**saved["missing"], **of_hook["missing"]}
        return {"pageUrl": of_hook["pageUrl"] or saved["pageUrl"], "missing": missing}

    def _call(self) -> dict[str, Any]:
        spec = self._spec
        cdp_url = self._parts.browser.cdp_url
        state = self._conversation.login.state
        wanted = spec["evidence"] and {**spec["evidence"], "folder": str(self.workspace.folder / EVIDENCE)}
        return {
            "kind": spec["kind"],
            "function": spec["function"],
            "parameters": spec["parameters"],
            "capture": spec["capture"],
            "indexedDb": spec["indexedDb"],
            # User code gets a copy that it may change; changes of the state are found by comparing with ours.
            "runInfo": {**spec["runInfo"], "auth_session": copy.deepcopy(state)},
            "variables": spec["variables"],
            "folder": str(self.workspace.folder),
            "context": guid_of(self._tab.context),
            "page": guid_of(self._tab.page),
            "hooked": cdp_url and {"cdpUrl": cdp_url, "state": state, "evidence": wanted},
        }

    async def _end(self) -> int | None:
        """End user code and all that it has started. Return the wait status of its process, if it is known."""
        self._state.is_ending = True
        status = None
        try:
            status = await self._parts.zygote.end(has_ended=self._user.has_ended)
        except ZygoteError as error:
            self.retire_reason = str(error)
        if not await self._conversation.end():
            self.retire_reason = "something that the browser has not done"
        self._user.close()
        return status

    async def _where_it_stands(self) -> str:
        """Return the stack at which the process stands, also if it blocks; empty if it does not tell in time."""
        return await self._user.told_by_debugger() or self._dumped(await self._user.where_it_stands())

    def _dumped(self, dump: bytes) -> str:
        return dumped_stack(dump, self.workspace.root, self._parts.project)

    def _crash(self, status: int | None) -> dict[str, Any]:
        """Return the fields of the error of a process that has ended by itself, or (None) was not understood."""
        return {
            "kind": "ended",
            "exitCode": None if status is None else os.waitstatus_to_exitcode(status),
            "stack": self._dumped(self._user.stacks()),
        }

    async def _failure(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an error that user code has told, with what the supervisor knows about it."""
        also = [_PROXY_REFUSED] if self._conversation.opened and self._tab.proxy_refused else []
        also += self._parts.page_events.reasons(str(error["message"]))
        fields = with_addition(error, "\n".join(also)) if also else error
        return {**fields, "kind": "browser-gone"} if await self._is_gone(self._parts.browser.call) else fields

    async def used_default_context(self) -> bool:
        """Tell whether user code may have left something in the context that the browser keeps while it runs.

        Raises:
            PlaywrightError: The browser is gone.
        """
        if self._policy.commands_browser or self._state.lasting:
            return True
        return await self._parts.browser.used_default_context()

    async def _is_gone(self, asked: Callable[[], Awaitable[None]]) -> bool:
        try:
            await asked()
        except PlaywrightError:
            return True
        except TimeoutError:  # the browser is stuck, perhaps because of user code, but it is there
            return False
        return False
