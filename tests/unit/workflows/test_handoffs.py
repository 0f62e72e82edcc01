"""A Run whose Attempts ask a person, shape by shape (docs/contract.md, section 22)."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import (
    LINK_USED,
    MOST_AT_ONCE,
    MOST_SHOWN,
    NOT_OPEN,
    NOT_TAKEN,
    HandoffEnd,
    HandoffStatus,
)
from callboard.schemas.workflow.run import RunStatus
from tests.support.handoffs import (
    CODE,
    Asking,
    answer_handoff,
    open_link,
    shown_handoffs,
    shown_statuses,
    withdraw_handoff,
)
from tests.support.run_stage import HeldAttempt, RunStage, completed
from tests.support.shapes import Play
from workflows import visibility

ANSWERED = HandoffEnd(status=HandoffStatus.COMPLETED, values="sealed")


def cause_of(error: pytest.ExceptionInfo[WorkflowUpdateFailedError]) -> str | None:
    cause = error.value.cause
    assert isinstance(cause, ApplicationError)
    return cause.type


async def test_a_question_is_shown_until_a_person_answers_and_that_is_what_the_attempt_hears(stage: RunStage):
    asking = Asking(stage, 1)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    (shown,) = await shown_handoffs(stage)
    assert (shown.id, shown.attempt, shown.fields, shown.is_open) == (f"{stage.run_id}.1.1", 1, (CODE,), True)
    assert shown.expires_at - shown.created_at == timedelta(minutes=5)
    description = await stage.handle.describe()
    assert description.typed_search_attributes[visibility.HANDOFF] == "input"
    await answer_handoff(stage, 1, ANSWERED)
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert asking.ends == [ANSWERED]
    assert await shown_statuses(stage) == [HandoffStatus.COMPLETED]
    assert visibility.HANDOFF not in (await stage.handle.describe()).typed_search_attributes


@pytest.mark.parametrize(
    ("shape", "statuses"),
    [
        ("asks-a-person", [HandoffStatus.COMPLETED, HandoffStatus.DECLINED]),
        ("asks-in-vain", [HandoffStatus.EXPIRED]),
        ("worker-lost-as-it-asks", [HandoffStatus.WITHDRAWN]),
        ("cancel-as-it-asks", [HandoffStatus.WITHDRAWN]),
        ("does-not-wait-for-the-answer", [HandoffStatus.WITHDRAWN]),
    ],
)
async def test_each_question_has_ended_when_its_run_has(
    play: Play[RunStage], shape: str, statuses: list[HandoffStatus]
):
    stage = await play(shape)
    wanted = RunStatus.CANCELED if shape.startswith("cancel") else RunStatus.COMPLETED
    assert (stage.outcome.status, await shown_statuses(stage)) == (wanted, statuses)


async def test_what_nobody_waits_for_is_refused(stage: RunStage):
    asking = Asking(stage, 2)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    with pytest.raises(WorkflowUpdateFailedError) as never_asked:
        await answer_handoff(stage, 7, ANSWERED)
    await answer_handoff(stage, 1, ANSWERED)
    await asking.asked(2)
    with pytest.raises(WorkflowUpdateFailedError) as second:
        await answer_handoff(stage, 1, ANSWERED)
    assert (cause_of(never_asked), cause_of(second)) == (NOT_OPEN, NOT_OPEN)
    await answer_handoff(stage, 2, ANSWERED)
    await stage.ended()


async def test_after_a_cancel_nobody_waits_though_the_attempt_has_not_ended_yet(stage: RunStage):
    held = HeldAttempt(stage, announced=True)
    asking = Asking(stage, 1)
    await stage.serve(asking.beside(held))
    await stage.start()
    await asking.asked(1)
    await held.began.wait()
    await stage.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")  # what comes with the cancel in one task is taken before it
    with pytest.raises(WorkflowUpdateFailedError) as late:
        await answer_handoff(stage, 1, ANSWERED)
    with pytest.raises(WorkflowUpdateFailedError) as another:
        await asking.ask(stage.inputs[0], 2)
    assert (cause_of(late), cause_of(another)) == (NOT_OPEN, NOT_TAKEN)
    assert asking.ends == [], "it hears of the cancel alone"
    held.end()
    assert (await stage.ended()).status is RunStatus.CANCELED
    assert await shown_statuses(stage) == [HandoffStatus.WITHDRAWN]


async def test_a_later_try_that_asks_ends_what_a_lost_one_has_asked(stage: RunStage):
    held = HeldAttempt(stage)
    asking = Asking(stage, 1, timeout=timedelta(seconds=20))
    await stage.serve(asking.beside(held))
    await stage.start()
    await asking.asked(1)
    (first,) = stage.inputs
    second = asyncio.create_task(asking.ask(first.model_copy(update={"number": 2}), 1))
    await asking.asked(2)
    assert await shown_statuses(stage) == [HandoffStatus.WITHDRAWN, HandoffStatus.OPEN]
    with pytest.raises(WorkflowUpdateFailedError) as of_the_lost_one:
        await asking.ask(first, 2)
    assert cause_of(of_the_lost_one) == NOT_TAKEN
    held.end(completed())
    await stage.ended()
    await second


async def test_a_withdrawal_that_overtakes_its_question_ends_it(stage: RunStage):
    held = HeldAttempt(stage)
    asking = Asking(stage, 1, timeout=timedelta(seconds=5))
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    (input,) = stage.inputs
    await withdraw_handoff(stage, 1)
    assert (await asking.ask(input, 1)).status is HandoffStatus.WITHDRAWN
    held.end(completed())
    await stage.ended()
    assert await shown_handoffs(stage) == []


async def test_a_link_opens_its_question_once_and_while_that_is_open(stage: RunStage):
    asking = Asking(stage, 1)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await open_link(stage, 1, "one")
    with pytest.raises(WorkflowUpdateFailedError) as again:
        await open_link(stage, 1, "one")
    await open_link(stage, 1, "another")
    with pytest.raises(WorkflowUpdateFailedError) as of_none:
        await open_link(stage, 2, "third")
    assert (cause_of(again), cause_of(of_none)) == (LINK_USED, NOT_OPEN)
    await answer_handoff(stage, 1, ANSWERED)
    await stage.ended()


async def test_few_questions_are_open_at_a_time_and_none_is_taken_without_an_attempt(stage: RunStage):
    stage.workflow_options = {}
    held = HeldAttempt(stage)
    asking = Asking(stage, 1)
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    (input,) = stage.inputs
    run = stage.client.get_workflow_handle(stage.run_id)
    for number in range(1, MOST_AT_ONCE + 1):
        await run.start_update(names.ASK, asking.request(input, number), id=f"{number}", wait_for_stage=asking.accepted)
    with pytest.raises(WorkflowUpdateFailedError) as one_too_many:
        await asking.ask(input, MOST_AT_ONCE + 1)
    assert cause_of(one_too_many) == NOT_TAKEN
    held.end(completed())
    await stage.ended()
    assert await shown_statuses(stage) == [HandoffStatus.WITHDRAWN] * MOST_AT_ONCE


async def test_a_run_asks_no_more_than_it_may_and_shows_its_last_questions(
    stage: RunStage, monkeypatch: pytest.MonkeyPatch
):
    most = MOST_SHOWN + 2
    monkeypatch.setattr("workflows.handoffs.MOST_ASKED", most)
    held = HeldAttempt(stage)
    asking = Asking(stage, 1)
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    (input,) = stage.inputs
    run = stage.client.get_workflow_handle(stage.run_id)
    for number in range(1, most + 1):
        await run.start_update(names.ASK, asking.request(input, number), id=f"{number}", wait_for_stage=asking.accepted)
        await withdraw_handoff(stage, number)
    with pytest.raises(WorkflowUpdateFailedError) as one_too_many:
        await asking.ask(input, most + 1)
    assert cause_of(one_too_many) == NOT_TAKEN
    held.end(completed())
    await stage.ended()
    assert len(await shown_handoffs(stage)) == MOST_SHOWN


async def test_a_webhook_is_told_once_of_what_was_opened(play: Play[RunStage]):
    """By a Delivery which outlives the Run, and by none for what was refused."""
    stage = await play("asks-a-person-of-whom-a-webhook-is-told")
    (shown,) = await shown_handoffs(stage)
    initiated = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
    assert [event.event_type for event in await stage.events()].count(initiated) == 1
    child = await stage.client.get_workflow_handle(f"{stage.run_id}:{shown.id}").describe()
    assert child.status is WorkflowExecutionStatus.RUNNING
    told = await child.memo()
    assert (shown.is_told, told["project"], told["sink"]["url"]) == (True, stage.project, "https://hook.example")


async def test_of_many_answers_at_the_same_time_one_counts(stage: RunStage):
    asking = Asking(stage, 1)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    given = [
        HandoffEnd(status=HandoffStatus.DECLINED, reason=f"{number}")
        if number % 2
        else HandoffEnd(status=HandoffStatus.COMPLETED, values=f"sealed-{number}")
        for number in range(8)
    ]
    told = await asyncio.gather(*(answer_handoff(stage, 1, each) for each in given), return_exceptions=True)
    taken = [each for each, what in zip(given, told, strict=True) if what is None]
    refused = [what.cause.type for what in told if isinstance(what, WorkflowUpdateFailedError)]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    assert (await stage.ended()).status is RunStatus.COMPLETED
    assert (asking.ends, refused) == (taken, [NOT_OPEN] * 7)


async def test_an_answer_at_the_moment_of_the_timeout_counts_for_who_gives_and_for_who_gets_it_or_for_none(
    stage: RunStage,
):
    asking = Asking(stage, 1, timeout=timedelta(seconds=1))
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await stage.stop_serving_runs()
    answering = asyncio.create_task(answer_handoff(stage, 1, ANSWERED))
    await stage.until("TIMER_FIRED")
    await stage.serve_runs()
    (told,) = await asyncio.gather(answering, return_exceptions=True)
    await stage.ended()
    (end,) = asking.ends
    assert (end.status is HandoffStatus.COMPLETED) == (told is None)
    assert await shown_statuses(stage) == [end.status]
