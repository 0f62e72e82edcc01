"""Tickets: which Attempts run here, and how one is stopped."""

from __future__ import annotations

import asyncio

import pytest

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


# A check and an Attempt, one after the other.


async def test_what_has_no_work_of_its_own_is_stopped_with_its_part(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1) as both, tickets.hold("validate", 1, work) as check:
        both.go_on(check)
        assert not work.done()
        assert tickets.stop("run", 1)
        assert (both.cause, check.cause) == (Cause.CANCELED, Cause.CANCELED)
        await asyncio.wait({work})
    assert len(tickets) == 0


async def test_what_is_stopped_between_two_parts_does_not_go_on(tickets: Tickets) -> None:
    check, attempt = asyncio.create_task(nothing()), asyncio.create_task(forever())
    with tickets.hold("run", 1) as both:
        with tickets.hold("validate", 1, check) as first:
            both.go_on(first)
            await check
        tickets.interrupt_all("no Temporal")
        assert first.cause is None
        with tickets.hold("run", 1, attempt) as second:
            both.go_on(second)
            assert (second.cause, second.message) == (Cause.INTERRUPTED, "no Temporal")
            await asyncio.wait({attempt})


async def test_what_is_stopped_before_its_first_part_does_not_go_on(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1) as both:
        assert tickets.stop("run", 1)
        with tickets.hold("validate", 1, work) as check:
            both.go_on(check)
            assert check.cause is Cause.CANCELED
            await asyncio.wait({work})


async def test_a_part_that_has_ended_keeps_its_end_and_the_next_one_is_stopped(tickets: Tickets) -> None:
    check, attempt = asyncio.create_task(nothing()), asyncio.create_task(forever())
    await check
    with tickets.hold("run", 1) as both, tickets.hold("validate", 1, check) as first:
        both.go_on(first)
        assert tickets.stop("validate", 1)
        assert (both.cause, first.cause) == (None, None), "a check that was good is not canceled any more"
        with tickets.hold("run", 1, attempt) as second:
            both.go_on(second)
            assert tickets.stop("run", 1)
            await asyncio.wait({attempt})
            assert (first.cause, second.cause) == (None, Cause.CANCELED)


async def test_a_part_that_is_stopped_by_itself_stops_nothing_else(tickets: Tickets) -> None:
    check = asyncio.create_task(forever())
    with tickets.hold("run", 1) as both, tickets.hold("validate", 1, check) as part:
        both.go_on(part)
        assert tickets.stop("validate", 1)
        await asyncio.wait({check})
        assert (both.cause, part.cause) == (None, Cause.CANCELED)


async def test_all_are_let_go_whole_and_part(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1) as both, tickets.hold("validate", 1, work) as part:
        both.go_on(part)
        tickets.interrupt_all("no Temporal")
        await asyncio.wait({work})
        assert {(ticket.cause, ticket.message) for ticket in (both, part)} == {(Cause.INTERRUPTED, "no Temporal")}


async def test_of_two_by_one_name_the_last_is_stopped_and_then_the_first_is_known_again(tickets: Tickets) -> None:
    work = asyncio.create_task(forever())
    with tickets.hold("run", 1) as both:
        with tickets.hold("run", 1, work) as attempt:
            assert len(tickets) == 1
            assert tickets.stop("run", 1)
            assert (both.cause, attempt.cause) == (None, Cause.CANCELED)
            await asyncio.wait({work})
        assert len(tickets) == 1
        assert tickets.stop("run", 1)
        assert both.cause is Cause.CANCELED
    assert len(tickets) == 0
    assert not tickets.stop("run", 1)


async def test_the_first_is_known_again_also_when_the_last_fails(tickets: Tickets) -> None:
    with tickets.hold("run", 1) as both:
        with pytest.raises(ValueError), tickets.hold("run", 1):
            raise ValueError
        assert tickets.stop("run", 1)
        assert both.cause is Cause.CANCELED
    assert len(tickets) == 0
