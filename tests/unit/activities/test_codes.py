"""A code answers the first question that is open and that it is something for (docs/contract.md, section 22.1)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.codes import CodeActivities
from callboard.schemas.errors import Conflict
from callboard.schemas.workflow.handoff import HandoffEnd, HandoffStatus
from callboard.schemas.workflow.inbox import CodeWait, GiveCodeInput, GivenCode, PushedCode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.pattern_match import first_match

RING = KeyRing(["a-key-of-sixteen-characters"])
MAIL = "Order 12: your code is 493027, and not 111111."


class Runs:
    """The Runs that ask, of which some have ended."""

    def __init__(self, *closed: str) -> None:
        self._closed = closed
        self.answers: list[tuple[str, str | None, HandoffEnd]] = []

    async def answer(self, handoff_id: str, end: HandoffEnd, *, answer_id: str | None = None) -> None:
        if handoff_id in self._closed:
            raise Conflict("It is not open.")
        self.answers.append((handoff_id, answer_id, end))


def wait(handoff_id: str, pattern: str | None = None) -> CodeWait:
    now = datetime.now(UTC)
    return CodeWait(handoff_id=handoff_id, field="code", pattern=pattern, since=now, until=now)


async def give(runs: Runs, *waits: CodeWait) -> GivenCode:
    code = PushedCode(id="c", content=RING.seal(MAIL, bound_to=seal_context.code("w", "shop", "c")))
    activities = CodeActivities(cast("Any", runs), RING)
    return await ActivityEnvironment().run(
        activities.give_code, GiveCodeInput(workspace="w", project="shop", code=code, waits=waits)
    )


async def test_the_match_is_sealed_for_the_first_open_question_that_it_matches() -> None:
    runs = Runs("gone.1.1")
    waits = [wait("a.1.1", "[A-Z]{9}"), wait("gone.1.1"), wait("b.1.1", r"\b\d{6}\b"), wait("c.1.1")]
    assert await give(runs, *waits) == GivenCode(taken_by="b.1.1", closed=("gone.1.1",))
    ((handoff_id, answer_id, end),) = runs.answers
    assert (handoff_id, answer_id, end.status) == ("b.1.1", "b.1.1:c", HandoffStatus.COMPLETED)
    bound_to = seal_context.handoff("w", "shop", "b.1.1")
    assert json.loads(RING.open(str(end.values), bound_to=bound_to)) == {"code": "493027"}


async def test_without_a_pattern_all_of_it_is_taken() -> None:
    runs = Runs()
    await give(runs, wait("a.1.1"))
    ((_, _, end),) = runs.answers
    bound_to = seal_context.handoff("w", "shop", "a.1.1")
    assert json.loads(RING.open(str(end.values), bound_to=bound_to)) == {"code": MAIL}


async def test_a_code_that_is_nothing_for_anybody_stays() -> None:
    runs = Runs("gone.1.1")
    assert await give(runs, wait("a.1.1", r"\d{9}"), wait("gone.1.1")) == GivenCode(closed=("gone.1.1",))
    assert runs.answers == []


async def test_a_pattern_that_takes_for_ever_is_given_up_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.security.pattern_match._MATCH_WITHIN", 1)
    matching = asyncio.create_task(first_match("(a*)*b", "a" * 5000))
    ticks = 0
    while not matching.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await matching, ticks > 5) == (None, True)


async def test_an_empty_match_is_none() -> None:
    assert (await first_match(r"\d*", "no 12"), await first_match(r"\d*", "none")) == ("12", None)
