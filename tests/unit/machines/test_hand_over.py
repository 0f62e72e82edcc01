"""How `hand_over` ends: by the person, or by its `until`; tests/node/handoffs.test.js is the twin for `handOver`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from callboard_runtime import HandoffDeclined, hand_over
from intuned_runtime import IntunedContext
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.support.polling import until as wait_until

PAGE = Page(cast("Any", SimpleNamespace(_guid="page@1", _loop=None)))
DONE = {"status": "completed", "values": {}}
DECLINED = {"status": "declined", "reason": "Not now."}


class Worker:
    """Hears what user code asks. A person answers as soon as `answer` is set."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.question: dict[str, str] = {}
        self.answer = asyncio.get_running_loop().create_future()

    async def ask(self, operation: str, **arguments: str) -> Any:
        self.heard.append(operation)
        if operation != "hand_over":
            assert arguments == {"question": self.question["question"]}
            return None
        self.question = arguments
        return json.dumps(await self.answer)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr("callboard_runtime.handoffs._LOOK_EVERY", 0)
    monkeypatch.setattr("callboard_runtime.handoffs._LOOK_FIRST", 0)
    worker = Worker()
    monkeypatch.setattr(IntunedContext, "_current", IntunedContext(ask=worker.ask))
    return worker


def calls(*ends: Any) -> Callable[[], Awaitable[Any]]:
    """An `until` that raises, or gives, these in turn, a moment after it was called."""
    left = iter(ends)

    async def call() -> Any:
        await asyncio.sleep(0.01)
        end = next(left)
        if isinstance(end, Exception):
            raise end
        return end

    return call


async def test_a_person_is_shown_the_page_and_says_when_it_is_done(worker: Worker) -> None:
    asking = asyncio.create_task(hand_over(PAGE, "Log in", timeout="15m"))
    await wait_until(lambda: worker.heard)
    assert not asking.done()
    worker.answer.set_result(DONE)
    await asking
    number = worker.question.pop("question")
    assert number.isdigit()
    assert worker.question == {"instructions": "Log in", "timeout": "900", "page": "page@1"}
    assert worker.heard == ["hand_over"]


async def test_an_until_is_called_again_until_it_holds_and_then_the_person_is_free(worker: Worker) -> None:
    not_yet = (PlaywrightTimeoutError("Timeout 30000ms exceeded."), TimeoutError(), AssertionError(), False)
    await hand_over(PAGE, "Log in", until=calls(*not_yet, None))
    assert worker.heard[:2] == ["hand_over", "until_holds"]
    lines = iter(["https://shop.example/login", "https://shop.example/login", "https://shop.example/home"])
    await hand_over(PAGE, "Log in", until=lambda: next(lines).endswith("home"))


async def test_an_until_that_holds_already_asks_nobody(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard_runtime.handoffs._LOOK_FIRST", 60)
    await hand_over(PAGE, "Log in", until=calls(None)())
    assert worker.heard == []


async def test_an_awaitable_that_times_out_leaves_the_end_to_the_person_and_the_log_says_so(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        asking = asyncio.create_task(hand_over(PAGE, "Log in", until=calls(PlaywrightTimeoutError("Timeout"))()))
        await wait_until(lambda: caplog.messages)
    assert not asking.done()
    assert "Give a function, which is called again." in caplog.text
    worker.answer.set_result(DONE)
    await asking
    assert worker.heard == ["hand_over"]


async def test_what_else_an_until_raises_is_raised_and_the_question_is_withdrawn(worker: Worker) -> None:
    with pytest.raises(KeyError):
        await hand_over(PAGE, "Log in", until=calls(False, KeyError("home")))
    await wait_until(lambda: worker.heard == ["hand_over", "withdraw"])


@pytest.mark.parametrize("canceled", [True, False])
async def test_an_until_is_canceled_with_the_question(worker: Worker, *, canceled: bool) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.create_task(hand_over(PAGE, "Log in", until=wait))
    await wait_until(lambda: worker.heard)
    if canceled:
        asking.cancel()
    else:
        worker.answer.set_result(DECLINED)
    with pytest.raises(asyncio.CancelledError if canceled else HandoffDeclined):
        await asking
    assert ended.is_set()
    await wait_until(lambda: worker.heard == ["hand_over", *(["withdraw"] if canceled else [])])


@pytest.mark.parametrize(
    ("page", "options", "says"),
    [
        ("page", {}, "page is a page of playwright.async_api; not 'page'"),
        (PAGE, {"until": "**/home"}, "until is a function without arguments, or an awaitable; not '**/home'"),
        (PAGE, {"timeout": 0}, "a time is a number of seconds from 1 to 43200"),
    ],
)
async def test_what_cannot_be_asked_is_a_sentence(worker: Worker, page: Any, options: Any, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        await hand_over(page, "Log in", **options)
    assert (str(refused.value).startswith(says), worker.heard) == (True, [])
