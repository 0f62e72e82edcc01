"""Ask a person: a question of an Attempt, which waits for its answer (docs/contract.md, section 22)."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from intuned_runtime import IntunedContext

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
    context = IntunedContext.current()
    try:
        end = json.loads(await context.ask("request_input", **question))
    except asyncio.CancelledError:
        # Nobody waits any more: a person must not be asked in vain. What cannot be told ends with the Attempt.
        task = asyncio.ensure_future(context.ask("withdraw_input", question=question["question"]))
        _withdrawing.add(task)
        task.add_done_callback(_forget)
        raise
    match end["status"]:
        case "completed":
            return end["values"][name]
        case "declined":
            raise HandoffDeclined(end["reason"] or "a person has declined to answer")
        case "expired":
            raise HandoffTimeout(f"nobody has answered in time: {text}")
        case _:
            raise HandoffUnavailable(end["reason"] or "the question was withdrawn")


def is_question(value: object) -> bool:
    """Tell whether this is a call of `request_input` that nobody has awaited yet."""
    return inspect.iscoroutine(value) and value.cr_code is request_input.__code__


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
    """Raise ValueError unless this may be the question of an Attempt."""
    if not 0 < len(question["instructions"].strip()) <= _LONGEST_TEXT:
        raise ValueError(f"what a person reads has 1 to {_LONGEST_TEXT} characters")
    if _NAME.fullmatch(question["name"]) is None:
        raise ValueError(f"the name of a value is a letter and up to 63 letters, digits, _ or -: {question['name']!r}")
    if any(_HALF_A_CHARACTER.search(value) for value in question.values()):
        raise ValueError("half a surrogate pair is no text")
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
    seconds_of(float(question["timeout"]))


def _forget(task: asyncio.Task[object]) -> None:
    _withdrawing.discard(task)
    if not task.cancelled():
        task.exception()  # it was looked at: there is nobody to tell
