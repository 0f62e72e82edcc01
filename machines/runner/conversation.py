"""The conversation of one Attempt with its process of user code: what that may say, and how it is answered.

User code may write anything on its socket. What passes the checks has one shape, and is small except for texts with
a limit. So the worker, which serves all projects on one event loop, never parses what user code has made. Anything else
ends the Attempt, like a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

from callboard_runtime.errors import RetryLater
from callboard_runtime.failures import MESSAGE_LIMIT, STACK_LIMIT, UserCodeError, as_message
from callboard_runtime.results import LIMIT, is_too_deep
from callboard_runtime.state import (
    CAPTURE_WITHIN,
    NOTHING,
    State,
    StateError,
    as_text,
    captured,
    differ,
    is_wanted,
    parsed,
    restore,
    uncaptured,
)
from intuned_runtime.attributes import check_attributes
from intuned_runtime.persistent import LIMIT as VALUE_LIMIT
from intuned_runtime.persistent import size_of
from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .channel import MOST_OPEN, Channel
from .evidence import Evidence

_EXTENDED_WITHIN = 0.05
"""Seconds in which the worker hears of an extension. Further ones in this time need no message of their own."""
_OPENED_WITHIN = 6.0
"""Seconds in which the browser must be done with what an Attempt had begun when it ended."""
_READ_WITHIN = 0.5
"""Seconds to read what a process that has ended has written."""
_LONGEST_NAME = 200
"""Most characters of a module's name."""
_ARGUMENTS = {"persistent_get": {"key"}, "persistent_set": {"key", "value"}, "auth_session_parameters": set[str]()}
"""The operations that the worker knows, with the names of their arguments."""
_KINDS = frozenset({"user", "structural", "non-retryable", "retry-later", "too-big", "state"})
"""Kinds of the errors that a process of user code may tell (see `failures`); others are the supervisor's to find."""
_EVIDENCE = frozenset({"trace", "screenshot"})
_SIZES = ("sizeInBytes", "maxSizeInBytes")


class AttemptLogin:
    """The login of an Attempt: restored in the Machine's own context before user code, captured there after it."""

    def __init__(self, spec: dict[str, Any], context: BrowserContext, before_capture: Callable[[], None]) -> None:
        """Prepare, without touching the context yet.

        Args:
            spec: The message `attempt` of the worker.
            context: The Machine's own context.
            before_capture: Called before the state is captured, as that time is not the automation's.
        """
        self._spec = spec
        self._context = context
        self._before_capture = before_capture
        self._captured: asyncio.Task[State] | None = None
        self.state: State | None = None
        """What the Attempt begins with; None if it has no login."""

    def read(self) -> None:
        """Read the state that the Attempt begins with. Raises StateError if that is none."""
        text = self._spec["session"]
        self.state = None if text is None else parsed(text)

    async def restore(self, unused: Page | None) -> None:
        """Restore the state in the context, whose page `unused` shows nothing yet.

        Raises:
            StateError: The state cannot be restored.
            PlaywrightError: The browser is gone.
        """
        if self.state is not None:
            await restore(self._context, self.state, unused=unused)

    async def capture_early(self) -> None:
        """Capture the state, if it may be wanted, before the hook's cleanup ends what it is captured from."""
        if self._captured is None and (self._spec["capture"] or self._spec["kind"] == "create"):
            self._captured = self._capture()
            await asyncio.wait({self._captured})

    async def changed(self, done: dict[str, Any], *, restored: bool) -> dict[str, Any]:
        """Return the changed state after a good end as field `session`, with `uncaptured` if it is not known.

        Args:
            done: The message of the process of user code. It has the state if the hook brought the context.
            restored: Whether the state was restored completely before.

        Raises:
            StateError: The state of a create could not be captured, so that the create has failed.
        """
        kind = self._spec["kind"]
        if "uncaptured" in done:
            return {"session": None, "uncaptured": done["uncaptured"][:MESSAGE_LIMIT]}
        if "state" in done:
            state = parsed(as_text(done["state"]))
        else:
            good = kind != "check" or done["result"] == "true"
            if not is_wanted(kind, capture=self._spec["capture"], restored=restored, good=good):
                return {"session": None}
            try:
                state = await (self._captured or self._capture())
            except StateError as error:
                return {"session": None, "uncaptured": uncaptured(kind, error)}
        changed = kind == "create" or differ(self.state or NOTHING, state)
        return {"session": as_text(state) if changed else None}

    def _capture(self) -> asyncio.Task[State]:
        self._before_capture()
        return asyncio.create_task(captured(self._context, self.state))


class Conversation:
    """What the process of user code says in one Attempt. The worker hears what concerns it."""

    def __init__(
        self, user: Channel, worker: Channel, spec: dict[str, Any], page: Page, root: str, evidence: Evidence
    ) -> None:
        """Prepare, without reading yet. `page` is that of the Machine's own context, which shows nothing yet."""
        self._user = user
        self._worker = worker
        self._page = page
        self._root = root
        self._evidence = evidence
        self.login = AttemptLogin(spec, page.context, self._say_capturing)
        self._opening: asyncio.Task[None] | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        """Tasks that answer requests with the browser."""
        self._forwarded: set[asyncio.Task[None]] = set()
        """Tasks that have the worker answer requests."""
        self._extension: asyncio.TimerHandle | None = None
        self._captures = False
        """Whether the worker has heard that the state is being captured."""
        self.is_over = False
        """Whether the process is being ended, so that no further request is answered."""
        self.done: asyncio.Task[dict[str, Any] | None] | None = None
        """Reads all that is said. Its result is the message `done`, or None if the process has ended without one."""
        self.begun = False
        """Whether user code is about to be called; else another Machine may take the Attempt."""
        self.heard_stop = asyncio.Event()
        """Event that is set once the process has heard that it is to stop."""
        self.stack = ""
        """Where the automation waited when it heard that."""
        self.brought = False
        """Whether the project's hook has brought a context, which the supervisor does not know."""
        self.lasting = False
        """Whether the browser keeps that context for as long as it runs."""
        self.left: dict[str, Any] | None = None
        """What the process has saved of such a context."""

    def begin(self, call: dict[str, Any]) -> asyncio.Task[dict[str, Any] | None]:
        """Order the call of user code, and return `done`."""
        self._user.post("call", **call)
        self.done = asyncio.create_task(self._read(), name="user code")
        return self.done

    async def end(self) -> bool:
        """Let go of the process, which has ended. Return False if the browser does not get done with its requests."""
        for task in self._forwarded:
            task.cancel()
        if self._extension is not None:
            self._extension.cancel()
        if self.done is not None:  # whoever could write to the socket has ended, so it ends, too
            await asyncio.wait({self.done}, timeout=_READ_WITHIN)
        # What user code had asked of the browser is not cancelled: that would abort it there in the midst of it.
        return not self._preparing or not (await asyncio.wait(set(self._preparing), timeout=_OPENED_WITHIN))[1]

    @property
    def opened(self) -> bool:
        """Whether user code has asked for its page: a deferred automation may never do that."""
        return self._opening is not None or self.brought

    @property
    def is_restored(self) -> bool:
        """Whether the login was restored completely."""
        opening = self._opening
        return opening is not None and opening.done() and opening.exception() is None

    def say_begun(self) -> None:
        """Tell the worker that user code is about to be called, once."""
        if not self.begun:
            self.begun = True
            self._worker.post("begun", root=self._root)

    async def _read(self) -> dict[str, Any] | None:
        try:
            async for message in self._user.messages:
                match message["type"]:
                    case "called":
                        self.say_begun()
                    case "done":
                        self.left = checked_left(message.get("left")) or self.left
                        return checked_done(message)
                    case "stopped":
                        self.left = checked_left(message["left"])
                        return None
                    case "stopping":
                        self.stack = checked_text(message["stack"], STACK_LIMIT)
                        self.heard_stop.set()
                    case "extend":
                        self._extend()
                    case "capturing":
                        self._say_capturing()
                    case "request":
                        await self._start(self._answer_request(checked_request(message)), self._forwarded)
                    case "brought":
                        self.brought = True
                        self.lasting = bool(message["lasting"])
                    case "open":
                        await self._start(self._answer_open(checked_number(message)), self._preparing)
                    case "before-cleanup":
                        await self._start(self._answer_before_cleanup(checked_number(message)), self._preparing)
                    case _:
                        return None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return None  # the message is not of the shape that we send, so user code wrote it
        return None

    def _say_capturing(self) -> None:
        if not self._captures:  # each message of these puts the end of the Attempt off
            self._captures = True
            self._worker.post("capturing", within=CAPTURE_WITHIN)

    def _extend(self) -> None:
        if self._extension is None and not self.is_over:
            self._extension = asyncio.get_running_loop().call_later(_EXTENDED_WITHIN, self._say_extended)

    def _say_extended(self) -> None:
        self._extension = None
        self._worker.post("extend")

    async def _start(self, answer: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        """Begin to answer a request as soon as fewer than `MOST_OPEN` are open: until then, nothing more is read."""
        while len(is_open := self._preparing | self._forwarded) >= MOST_OPEN:
            await asyncio.wait(is_open, return_when=asyncio.FIRST_COMPLETED)
        if self.is_over:
            answer.close()
            return
        task = asyncio.create_task(answer)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer_request(self, request: dict[str, Any]) -> None:
        """Have the worker answer, and pass its answer on. The request is open until that is on its way."""
        reply = await self._worker.ask("request", operation=request["operation"], arguments=request["arguments"])
        answer = {name: value for name, value in reply.items() if name in ("value", "error")}
        with contextlib.suppress(ConnectionError):
            await self._user.send("answer", number=request["number"], **answer)

    async def _answer_open(self, message: dict[str, Any]) -> None:
        """Restore the state and begin the trace, once; then say so."""
        if self._opening is None:
            self._opening = asyncio.create_task(
                self._open(trace=bool(message["trace"]), unused=bool(message["unused"]))
            )
        answer: dict[str, Any] = {}
        try:
            await asyncio.shield(self._opening)
        except UserCodeError as error:
            answer["error"] = as_message(error)
        except PlaywrightError as error:
            answer["error"] = as_message(UserCodeError(error.message, name="Error"))
        self._user.post("answer", number=message["number"], traced=self._evidence.traces, **answer)

    async def _open(self, *, trace: bool, unused: bool) -> None:
        await self.login.restore(self._page if unused else None)
        if trace:  # only now: to restore a state is no action of the automation
            await self._evidence.begin(self._page.context, self._page)

    async def _answer_before_cleanup(self, message: dict[str, Any]) -> None:
        """Capture the state before the hook's cleanup, which may end what it is captured from; then say so."""
        await self.login.capture_early()
        self._user.post("answer", number=message["number"])


def checked_number(message: dict[str, Any]) -> dict[str, Any]:
    """Return a request if it has a number, under which it is answered. Raises TypeError or KeyError."""
    if not isinstance(message["number"], int):
        raise TypeError("number")
    return message


def checked_request(message: dict[str, Any]) -> dict[str, Any]:
    """Return a request to the worker of the shape that we send. Raises TypeError, ValueError or KeyError."""
    arguments = cast("dict[str, Any]", message["arguments"])
    if arguments.keys() != _ARGUMENTS[message["operation"]]:
        raise ValueError("arguments")
    if not checked_text(arguments.get("value", "")).isascii():
        raise ValueError("value")
    if sum(size_of(checked_text(value)) for value in arguments.values()) > VALUE_LIMIT:
        raise ValueError("arguments")
    return checked_number(message)


def checked_text(text: Any, limit: int | None = None) -> str:
    """Return a text, clipped to `limit` characters. Raises TypeError if it is none."""
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text[:limit]


def checked_left(left: Any) -> dict[str, Any] | None:
    """Return what is left of a context that the hook has brought, of the shape that we send.

    Raises TypeError, KeyError or AttributeError.
    """
    if left is None:
        return None
    page_url = None if left["pageUrl"] is None else checked_text(left["pageUrl"], STACK_LIMIT)
    missing = {name: checked_text(why, MESSAGE_LIMIT) for name, why in left["missing"].items() if name in _EVIDENCE}
    return {"pageUrl": page_url, "missing": missing}


def checked_done(done: dict[str, Any]) -> dict[str, Any]:
    """Return a `done` of the shape that we send.

    Raises TypeError, ValueError, KeyError, AttributeError or RecursionError for any other.
    """
    check_attributes(done["attributes"])
    imported = done["imported"]
    if not isinstance(imported, list) or not all(
        len(checked_text(name)) <= _LONGEST_NAME for name in cast("list[Any]", imported)
    ):
        raise TypeError("imported")
    if "error" in done:
        return {**done, "error": _checked_error(done["error"])}
    checked_text(done.get("uncaptured", ""))
    _check_json(done["result"])
    if done["extendedPayloads"] is not None:
        for payload in _check_json(done["extendedPayloads"]):
            if not isinstance(payload["api"], str) or not isinstance(payload["parameters"], dict):
                raise TypeError("extendedPayloads")
    return done


def _checked_error(error: Any) -> dict[str, Any]:
    if error["kind"] not in _KINDS:
        raise ValueError("kind")
    checked: dict[str, Any] = {
        "kind": error["kind"],
        "name": checked_text(error["name"], MESSAGE_LIMIT),
        "message": checked_text(error["message"], MESSAGE_LIMIT),
        "stack": checked_text(error["stack"], STACK_LIMIT),
    }
    if "details" in error:
        checked["details"] = {name: int(error["details"][name]) for name in _SIZES}
    if error["kind"] == "retry-later":
        checked["retryAfter"] = RetryLater(error["retryAfter"]).seconds  # it refuses what is no such number
    return checked


def _check_json(text: Any) -> Any:
    """Return what a text is the ASCII JSON of, which nobody after us parses before it gives it away."""
    if len(checked_text(text)) > LIMIT or not text.isascii() or is_too_deep(text):
        raise ValueError("no ASCII JSON within the limits")
    return json.loads(text)
