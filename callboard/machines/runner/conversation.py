"""The state of one Attempt, and the conversation with its process of user code: what that says, and is answered.

User code may write anything on its socket. What passes the checks has one shape, and is small except for texts with
a limit. So the worker, which serves all projects on one event loop, never parses what user code has made. Anything else
ends the Attempt, like a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from callboard_runtime.errors import RetryLater
from callboard_runtime.failures import MESSAGE_LIMIT, STACK_LIMIT, UserCodeError, as_message
from callboard_runtime.handoffs import check_question
from callboard_runtime.results import LIMIT, is_too_deep
from callboard_runtime.state import capture_within
from intuned_runtime.attributes import check_attributes
from intuned_runtime.persistent import LIMIT as VALUE_LIMIT
from intuned_runtime.persistent import size_of
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from .channel import MOST_OPEN, Channel
from .evidence import Evidence
from .login import Login

_EXTENDED_WITHIN = 0.05
"""Seconds in which the worker hears of an extension. Further ones in this time need no message of their own."""
_OPENED_WITHIN = 6.0
"""Seconds in which the browser must be done with what an Attempt had begun when it ended."""
_READ_WITHIN = 0.5
"""Seconds to read what a process that has ended has written."""
_LONGEST_NAME = 200
"""Most characters of a module's name."""
_ARGUMENTS = {
    "persistent_get": {"key"},
    "persistent_set": {"key", "value"},
    "auth_session_parameters": set[str](),
    "request_input": {"question", "instructions", "name", "pattern", "masked", "timeout", "code_to", "since"},
    "hand_over": {"question", "instructions", "timeout", "page"},
    "until_holds": {"question"},
    "withdraw": {"question"},
}
"""The operations that the worker knows, with the names of their arguments."""
_QUESTION = re.compile("[0-9]{1,9}")
"""The number of a question."""
_KINDS = frozenset({"user", "structural", "non-retryable", "retry-later", "too-big", "state"})
"""Kinds of the errors that a process of user code may tell (see `failures`); others are the supervisor's to find."""
_EVIDENCE = frozenset({"trace", "screenshot"})
_SIZES = ("sizeInBytes", "maxSizeInBytes")


@dataclass
class AttemptState:
    """How far one Attempt is in this Machine, for all who act in it; it is noted nowhere else.

    The supervisor sets `stop`, `Attempt` sets `is_ending`, and `Conversation` what it hears of the process.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set once the worker wants it stopped, so that its outcome does not matter any more."""
    begun: bool = False
    """Whether user code was about to be called; else another Machine may take the Attempt."""
    is_ending: bool = False
    """Whether its process is being ended, so that no further request is answered."""
    stood_at: str = ""
    """The stack at which user code waited, or blocked, when it was to stop."""
    brought: bool = False
    """Whether the project's hook has brought a context, which the supervisor does not know."""
    lasting: bool = False
    """Whether the browser keeps that context for as long as it runs."""
    evidence: dict[str, Any] | None = None
    """What the process has saved of that context, as fields of a `left` message."""


class Conversation:
    """What the process of user code says in one Attempt. The worker hears what concerns it."""

    def __init__(
        self,
        user: Channel,
        worker: Channel,
        spec: dict[str, Any],
        page: Page,
        root: str,
        evidence: Evidence,
        state: AttemptState,
    ) -> None:
        """Prepare, without reading yet. `page` is that of the Machine's own context, which shows nothing yet."""
        self._state = state
        self._user = user
        self._worker = worker
        self._page = page
        self._root = root
        self._evidence = evidence
        self._databases: bool = spec["indexedDb"]
        self.login = Login(spec, page.context, self._say_capturing)
        self._opening: asyncio.Task[None] | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        """Tasks that answer requests with the browser."""
        self._forwarded: set[asyncio.Task[None]] = set()
        """Tasks that have the worker answer requests."""
        self._extension: asyncio.TimerHandle | None = None
        self._captures = False
        """Whether the worker has heard that the state is being captured."""
        self._reading: asyncio.Task[dict[str, Any] | None] | None = None
        self.heard_stop = asyncio.Event()
        """Event that is set once the process has heard that it is to stop."""

    def begin(self, call: dict[str, Any]) -> asyncio.Task[dict[str, Any] | None]:
        """Order the call of user code, and return the task that reads all that is said.

        Its result is the message `done`, or None if the process has ended without one.
        """
        self._user.post("call", **call)
        self._reading = asyncio.create_task(self._read(), name="user code")
        return self._reading

    async def end(self) -> bool:
        """Let go of the process, which has ended. Return False if the browser does not get done with its requests."""
        for task in self._forwarded:
            task.cancel()
        if self._extension is not None:
            self._extension.cancel()
        if self._reading is not None:  # whoever could write to the socket has ended, so it ends, too
            await asyncio.wait({self._reading}, timeout=_READ_WITHIN)
        # What user code had asked of the browser is not cancelled: that would abort it there in the midst of it.
        return not self._preparing or not (await asyncio.wait(set(self._preparing), timeout=_OPENED_WITHIN))[1]

    @property
    def opened(self) -> bool:
        """Whether user code has asked for its page: a deferred automation may never do that."""
        return self._opening is not None or self._state.brought

    @property
    def is_restored(self) -> bool:
        """Whether the login was restored completely."""
        opening = self._opening
        return opening is not None and opening.done() and opening.exception() is None

    def say_begun(self) -> None:
        """Tell the worker that user code is about to be called, once."""
        if not self._state.begun:
            self._state.begun = True
            self._worker.post("begun", root=self._root)

    async def _read(self) -> dict[str, Any] | None:
        try:
            async for message in self._user.messages:
                match message["type"]:
                    case "called":
                        self.say_begun()
                    case "done":
                        self._state.evidence = checked_evidence(message.get("evidence")) or self._state.evidence
                        return checked_done(message)
                    case "stopped":
                        self._state.evidence = checked_evidence(message["evidence"])
                        return None
                    case "stopping":
                        self._state.stood_at = checked_text(message["stack"], STACK_LIMIT) or self._state.stood_at
                        self.heard_stop.set()
                    case "extend":
                        self._extend()
                    case "capturing":
                        self._say_capturing()
                    case "request":
                        await self._start(self._answer_request(checked_request(message)), self._forwarded)
                    case "brought":
                        self._state.brought = True
                        self._state.lasting = bool(message["lasting"])
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
            self._worker.post("capturing", within=capture_within(databases=self._databases))

    def _extend(self) -> None:
        if self._extension is None and not self._state.is_ending:
            self._extension = asyncio.get_running_loop().call_later(_EXTENDED_WITHIN, self._say_extended)

    def _say_extended(self) -> None:
        self._extension = None
        self._worker.post("extend")

    async def _start(self, answer: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        """Begin to answer a request as soon as fewer than `MOST_OPEN` are open: until then, nothing more is read."""
        while len(is_open := self._preparing | self._forwarded) >= MOST_OPEN:
            await asyncio.wait(is_open, return_when=asyncio.FIRST_COMPLETED)
        if self._state.is_ending:
            answer.close()
            return
        task = asyncio.create_task(answer)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer_request(self, request: dict[str, Any]) -> None:
        """Have the worker answer, and pass its answer on. The request is open until that is on its way."""
        if (why := refusal(request)) is not None:
            reply: dict[str, Any] = {"error": why}
        else:
            operation, arguments = request["operation"], request["arguments"]
            shown = self._evidence.showing(arguments["page"]) if operation == "hand_over" else contextlib.nullcontext()
            with shown:
                reply = await self._worker.ask("request", operation=operation, arguments=arguments)
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
    if "question" in arguments and _QUESTION.fullmatch(arguments["question"]) is None:
        raise ValueError("question")
    return checked_number(message)


def refusal(request: dict[str, Any]) -> str | None:
    """Return why the worker is not asked, for user code: that in TypeScript cannot tell what is a pattern in Python."""
    if request["operation"] in ("request_input", "hand_over"):
        try:
            check_question(request["arguments"])
        except ValueError as error:
            return str(error)
    return None


def checked_text(text: Any, limit: int | None = None) -> str:
    """Return a text, clipped to `limit` characters. Raises TypeError if it is none."""
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text[:limit]


def checked_evidence(saved: Any) -> dict[str, Any] | None:
    """Return what is said to be saved of a context that the hook has brought, of the shape that we send.

    Raises TypeError, KeyError or AttributeError.
    """
    if saved is None:
        return None
    page_url = None if saved["pageUrl"] is None else checked_text(saved["pageUrl"], STACK_LIMIT)
    missing = {name: checked_text(why, MESSAGE_LIMIT) for name, why in saved["missing"].items() if name in _EVIDENCE}
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
    if (unkept := done.get("unkept")) is not None:
        done = {**done, "unkept": checked_text(unkept, MESSAGE_LIMIT)}
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
