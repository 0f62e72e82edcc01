"""Ask a person: a question of an Attempt, which waits for its answer (docs/contract.md, section 22)."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from intuned_runtime import IntunedContext
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from .errors import HandoffDeclined, HandoffTimeout, HandoffUnavailable

LONGEST_WAIT = 43_200
"""Most seconds that a question waits for its answer: the hard limit of an Attempt."""
_DEFAULT_WAIT = 300
_LONGEST_TEXT = 1000
_LONGEST_PATTERN = 500
_LONGEST_ADDRESS = 320
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_TIME = re.compile(r"(\d+(?:\.\d+)?) *([smh]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")

_LOOK_EVERY = 0.5
"""Seconds from one call of an `until` to the next."""
_LOOK_FIRST = 1.0
"""Seconds in which an `until` that holds already keeps a person from being asked."""

log = logging.getLogger(__name__)

_numbers = itertools.count(1)
_withdrawing: set[asyncio.Task[object]] = set()


async def request_input(
    text: str,
    *,
    name: str = "code",
    pattern: str | None = None,
    secret: bool = False,
    timeout: float | str | timedelta = _DEFAULT_WAIT,
    code_to: str | None = None,
    since: datetime | None = None,
) -> str:
    r"""Ask a person for a text, and return it. The Attempt's clock stands still meanwhile, and its Machine is held.

    With `code_to`, a code that is pushed to the project answers as well, whichever comes first.

    Args:
        text: What the person reads: at most 1000 characters.
        name: What the value is called: a letter and up to 63 letters, digits, `_` or `-`.
        pattern: A regular expression that matches the whole answer, such as `\d{6}`; any other one is refused.
        secret: Whether the answer is masked in what the Attempt leaves.
        timeout: How long to wait: seconds, a text with a unit such as `"90s"`, `"5m"` or `"1h"`, or a timedelta. The
            project's `handoffs.maxTimeout` bounds it.
        code_to: To whom the code is sent, such as a phone number or a mail address, as the gateway that pushes codes
            names it. The first match of `pattern` in what has come is the answer; without a pattern, all of it is.
        since: Codes that came before this time do not count: a datetime with a zone. By default, it is when the Attempt
            began.

    Raises:
        HandoffTimeout: Nobody has answered in time.
        HandoffDeclined: A person has declined.
        HandoffUnavailable: No question can be asked now; the message says why: too many are open, for example.
        ValueError: An argument is none of these.
        RuntimeError: This is no Attempt.
    """
    if code_to is not None and not code_to.strip():
        raise ValueError("code_to names nobody to whom a code is sent")
    question = {
        "question": str(next(_numbers)),
        "instructions": text,
        "name": name,
        "pattern": pattern or "",
        "masked": "true" if secret else "false",
        "timeout": f"{seconds_of(timeout):g}",
        "code_to": code_to or "",
        "since": since.isoformat() if since is not None else "",
    }
    check_question(question)
    return (await _answer("request_input", question))[name]


async def hand_over(
    page: Page,
    text: str,
    *,
    until: Callable[[], object] | Awaitable[object] | None = None,
    timeout: float | str | timedelta = _DEFAULT_WAIT,
) -> None:
    """Hand the browser over to a person, and return when that is done, or `until` holds.

    The Attempt's clock stands still meanwhile, and its Machine is held. The person sees this page, or one that is
    opened meanwhile, as a popup of it, and acts there. Where `until` holds already, nobody is asked.

    Args:
        page: What the person sees.
        text: What the person reads: at most 1000 characters.
        until: What also ends it: a function without arguments, mostly one that returns an awaitable, such as
            `lambda: page.wait_for_url("**/home")`. As often as that times out (by default, Playwright's calls do so
            after 30 seconds), fails as an assertion (as Playwright's `expect` does), or gives False, it is called
            again: it holds once it gives anything else. Its other exceptions end it, and are raised. An awaitable can
            be given itself, but counts once: if it does not hold, the log says so, and the person ends it alone. It is
            cancelled at the end.
        timeout: How long to wait: as for `request_input`.

    Raises:
        HandoffTimeout: Nobody has said in time that it is done, nor does `until` hold.
        HandoffDeclined: A person has declined.
        HandoffUnavailable: No person can be asked now; the message says why: too many questions are open, for example.
        ValueError: An argument is none of these.
        RuntimeError: This is no Attempt.
    """
    if not isinstance(page, Page):  # pyright: ignore[reportUnnecessaryIsInstance]  # user code may give anything
        raise ValueError(f"page is a page of playwright.async_api; not {page!r:.100}")  # noqa: TRY004  # as the others
    if not (until is None or callable(until) or inspect.isawaitable(until)):
        raise ValueError(f"until is a function without arguments, or an awaitable; not {until!r:.100}")
    question = {
        "question": str(next(_numbers)),
        "instructions": text,
        "timeout": f"{seconds_of(timeout):g}",
        "page": id_of(page),
    }
    check_question(question)
    context = IntunedContext.current()
    tasks: list[asyncio.Future[Any]] = [holding := asyncio.ensure_future(_hold(until))]
    try:
        if until is not None:
            await asyncio.wait(tasks, timeout=_LOOK_FIRST)
        if not holding.done():
            tasks.append(asking := asyncio.ensure_future(_answer("hand_over", question)))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not holding.done():
                asking.result()
                return
        holding.result()
        if len(tasks) > 1:
            await context.ask("until_holds", question=question["question"])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _hold(until: Callable[[], object] | Awaitable[object] | None) -> None:
    """Return once this holds; where it never does, a person alone ends the handover."""
    while until is not None:
        try:
            held = until() if callable(until) else until
            if (await held if inspect.isawaitable(held) else held) is not False:
                return
        except (PlaywrightTimeoutError, TimeoutError, AssertionError):
            pass  # it does not hold yet
        if not callable(until):
            log.warning("hand_over: `until` has ended, and does not hold. Give a function, which is called again.")
            break
        await asyncio.sleep(_LOOK_EVERY)
    await asyncio.get_running_loop().create_future()


async def _answer(operation: str, question: dict[str, str]) -> dict[str, Any]:
    """Ask, and return the values of the answer. It raises what `request_input` raises."""
    context = IntunedContext.current()
    try:
        end = json.loads(await context.ask(operation, **question))
    except asyncio.CancelledError:
        # Nobody waits any more: a person must not be asked in vain. What cannot be told ends with the Attempt.
        task = asyncio.ensure_future(context.ask("withdraw", question=question["question"]))
        _withdrawing.add(task)
        task.add_done_callback(_forget)
        raise
    match end["status"]:
        case "completed":
            return end["values"]
        case "declined":
            raise HandoffDeclined(end["reason"] or "a person has declined to answer")
        case "expired":
            raise HandoffTimeout(f"nobody has answered in time: {question['instructions']}")
        case _:
            raise HandoffUnavailable(end["reason"] or "the question was withdrawn")


def id_of(page: Page) -> str:
    """Return the id by which every client of the browser knows the page."""
    return cast("Any", page)._impl_obj._guid  # noqa: SLF001


def is_question(value: object) -> bool:
    """Tell whether this is a call of `request_input` or `hand_over` that nobody has awaited yet."""
    return inspect.iscoroutine(value) and value.cr_code in (request_input.__code__, hand_over.__code__)


def seconds_of(time: float | str | timedelta) -> float:
    """Return a time in seconds.

    Raises:
        ValueError: It is no number of seconds from 1 to 43200, no such timedelta, and no text such as `"5m"`.
    """
    seconds: float = -1
    if isinstance(time, timedelta):
        seconds = time.total_seconds()
    elif isinstance(time, str):
        if (found := _TIME.fullmatch(time.strip())) is not None:
            seconds = float(found[1]) * _UNITS[found[2]]
    elif not isinstance(time, bool):
        seconds = time
    if not 1 <= seconds <= LONGEST_WAIT:
        raise ValueError(
            f'a time is a number of seconds from 1 to {LONGEST_WAIT}, a text such as "90s", "5m" or "1h", or a '
            f"timedelta; not {time!r:.100}"
        )
    return seconds


def check_question(question: Mapping[str, str]) -> None:
    """Raise ValueError unless this may be the question of an Attempt: of `request_input`, or of `hand_over`."""
    if not 0 < len(question["instructions"].strip()) <= _LONGEST_TEXT:
        raise ValueError(f"what a person reads has 1 to {_LONGEST_TEXT} characters")
    if any(_HALF_A_CHARACTER.search(value) for value in question.values()):
        raise ValueError("half a surrogate pair is no text")
    seconds_of(float(question["timeout"]))
    if "name" in question:
        _check_value(question)


def _check_value(question: Mapping[str, str]) -> None:
    """Raise ValueError unless a value may be asked for so."""
    if _NAME.fullmatch(question["name"]) is None:
        raise ValueError(f"the name of a value is a letter and up to 63 letters, digits, _ or -: {question['name']!r}")
    if len(question["pattern"]) > _LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {_LONGEST_PATTERN} characters")
    try:
        re.compile(question["pattern"])
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern is no regular expression: {error}") from error
    if question["masked"] not in {"true", "false"}:
        raise ValueError("no question of this runtime")
    if len(question["code_to"]) > _LONGEST_ADDRESS:
        raise ValueError(f"code_to has at most {_LONGEST_ADDRESS} characters")
    if question["since"] and (not question["code_to"] or datetime.fromisoformat(question["since"]).tzinfo is None):
        raise ValueError("since is a datetime with a zone, beside code_to")


def _forget(task: asyncio.Task[object]) -> None:
    _withdrawing.discard(task)
    if not task.cancelled():
        task.exception()  # it was looked at: there is nobody to tell
