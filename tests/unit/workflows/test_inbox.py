"""Who gets a code that has come: the first who waits for it, and nobody else (docs/contract.md, section 22.1)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from callboard.schemas.errors import SealError
from callboard.schemas.workflow.inbox import KEPT_FOR, MOST_CODES
from tests.support.inbox_stage import InboxStage
from tests.support.shapes import played
from tests.support.temporal_servers import LONG_HISTORY


@pytest.fixture
async def inbox(temporal: Client, name: str) -> AsyncIterator[InboxStage]:
    async with InboxStage(temporal, name) as inbox:
        yield inbox


async def test_the_newest_code_is_given_and_the_first_who_has_asked_gets_it(temporal: Client, name: str) -> None:
    async with played(InboxStage, "codes-before-and-after-their-questions", temporal, name) as inbox:
        pass
    assert inbox.given == [("new", "first"), ("old", "second"), ("12", "digits")]


async def test_a_code_that_nobody_takes_is_kept_for_ten_minutes(skipping: Client, name: str) -> None:
    async with played(InboxStage, "code-that-nobody-takes", skipping, name) as inbox:
        pass
    assert (inbox.given, inbox.offers) == ([], [("kept", ["gone"])])
    description = await inbox.handle.describe()
    assert description.close_time is not None
    assert KEPT_FOR <= description.close_time - description.start_time < KEPT_FOR + timedelta(minutes=1)


async def test_what_came_before_a_question_counts_from_is_not_for_it(inbox: InboxStage) -> None:
    await inbox.push("early")
    await inbox.wait("late", since=datetime.now(UTC) + timedelta(minutes=30), minutes=0.01)
    await inbox.wait("any")
    await inbox.serve()
    await inbox.handle.result()
    assert inbox.offers == [("early", ["any"])]


async def test_few_codes_are_kept_and_no_question_waits_twice(inbox: InboxStage) -> None:
    for number in range(MOST_CODES + 1):
        await inbox.push(f"{number}")
    await inbox.wait("never", "^$")
    await inbox.wait("never", "^$")
    await inbox.serve()
    await inbox.offered(MOST_CODES)
    await inbox.wait("any")
    await inbox.offered(MOST_CODES + 1)
    assert inbox.offers == [
        *((f"{number}", ["never"]) for number in range(MOST_CODES, 0, -1)),
        (f"{MOST_CODES}", ["any"]),
    ]


async def test_a_code_of_which_it_is_not_known_whether_it_was_given_is_given_to_nobody(inbox: InboxStage) -> None:
    inbox.failure = SealError("It cannot be opened.")
    await inbox.wait("first", minutes=0.05)
    await inbox.push("lost")
    await inbox.serve()
    await inbox.handle.result()
    assert (inbox.offers, inbox.given) == ([("lost", ["first"])], [])


async def test_it_goes_on_with_a_fresh_history_and_ends_with_its_project(inbox: InboxStage) -> None:
    await inbox.wait("never", "^$", since=datetime.now(UTC) + timedelta(minutes=30))
    first = (await inbox.handle.describe()).run_id
    await inbox.serve()
    pushed = 0
    while (await inbox.handle.describe()).run_id == first:
        assert pushed < 2 * LONG_HISTORY
        await inbox.push(f"{pushed}")
        pushed += 1
    await inbox.wait("any")
    await inbox.offered(1)
    assert inbox.offers == [(f"{pushed - 1}", ["any"])]
    await inbox.handle.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await inbox.handle.result()
    assert isinstance(ended.value.cause, CancelledError)
