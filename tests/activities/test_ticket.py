"""Tickets: which Attempts run here, and how one is stopped."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.activity import ActivityCancellationDetails

from activities.ticket import Cause, Tickets


async def nothing() -> None:
    pass


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


async def test_one_attempt_is_stopped_and_no_other(tickets: Tickets) -> None:
    one, other = asyncio.create_task(forever()), asyncio.create_task(forever())
    with tickets.hold("run", 1, one) as ticket, tickets.hold("run", 2, other) as second:
        assert len(tickets) == 2
        assert tickets.stop("run", 1)
        await asyncio.wait({one})
        assert (ticket.cause, second.cause) == (Cause.CANCELED, None)
        assert not other.done()
        other.cancel()
    assert len(tickets) == 0


async def test_what_is_not_here_cannot_be_stopped(tickets: Tickets) -> None:
    assert not tickets.stop("run", 1)
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1, work):
        assert not tickets.stop("other", 1)
        work.cancel()
    assert not tickets.stop("run", 1)


async def test_a_later_try_is_stopped_for_the_one_that_was_heard_of(tickets: Tickets) -> None:
    """A check that is tried again has another number by then; its Run has one Attempt at a time."""
    work = asyncio.create_task(forever())
    with tickets.hold("run", 2, work) as ticket:
        assert tickets.stop("run", 1)
        assert ticket.cause is Cause.CANCELED
        await asyncio.wait({work})


async def test_all_are_let_go_with_the_reason(tickets: Tickets) -> None:
    works = [asyncio.create_task(forever()) for _ in range(3)]
    with tickets.hold("a", 1, works[0]) as a, tickets.hold("b", 1, works[1]) as b, tickets.hold("c", 2, works[2]) as c:
        tickets.interrupt_all("no Temporal")
        await asyncio.wait(works)
        assert {(ticket.cause, ticket.message) for ticket in (a, b, c)} == {(Cause.INTERRUPTED, "no Temporal")}


async def test_the_first_reason_to_stop_stays(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1, work) as ticket:
        tickets.interrupt_all("no Temporal")
        assert tickets.stop("run", 1)
        assert (ticket.cause, ticket.message) == (Cause.INTERRUPTED, "no Temporal")
        await asyncio.wait({work})


async def test_an_attempt_that_has_ended_is_not_stopped_any_more(tickets: Tickets) -> None:
    work = asyncio.create_task(nothing())
    await work
    with tickets.hold("run", 1, work) as ticket:
        tickets.stop("run", 1)
        tickets.interrupt_all("no Temporal")
        assert ticket.cause is None


async def test_a_ticket_is_given_back_also_when_the_attempt_fails(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with pytest.raises(ValueError), tickets.hold("run", 1, work):
        raise ValueError
    work.cancel()
    assert len(tickets) == 0


@pytest.mark.parametrize(
    ("details", "cause", "message"),
    [
        ({"paused": True}, None, ""),
        ({"cancel_requested": True}, Cause.CANCELED, ""),
        ({"cancel_requested": True, "paused": True}, Cause.CANCELED, ""),
        ({"cancel_requested": True, "reset": True}, Cause.CANCELED, ""),
        ({"reset": True}, Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended."),
        ({"reset": True, "paused": True}, Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended."),
        ({"worker_shutdown": True}, Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."),
        (None, Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."),
    ],
    ids=str,
)
async def test_what_temporal_says_stops_it_unless_it_is_paused(
    tickets: Tickets, details: dict[str, bool] | None, cause: Cause | None, message: str
) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1, work) as ticket:
        ticket.on_cancellation(None if details is None else ActivityCancellationDetails(**details))
        assert (ticket.cause, ticket.message) == (cause, message)
        work.cancel()
        await asyncio.wait({work})
