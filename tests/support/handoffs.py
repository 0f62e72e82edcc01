"""Attempts on a stage that ask a person, the answers that they get, and the shapes of such Runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowUpdateStage

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.handoff import (
    Handoff,
    HandoffAnswer,
    HandoffEnd,
    HandoffField,
    HandoffKind,
    HandoffRequest,
    HandoffStatus,
    OpenedLink,
)
from callboard.schemas.workflow.sink import SealedSink
from tests.support.delivery_inputs import sealed, webhook
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, Part, RunStage, completed, ends
from tests.support.stage import DEADLINE, Server, shape

CODE = HandoffField(name="code", pattern="[0-9]{6}", secret=True)


class Asking:
    """An Attempt that asks some questions, one after the other, and then completes.

    Args:
        questions: How many.
        timeout: How long each waits for its answer.
        lost: Its worker dies with it once it has asked.
        sink: The webhook that is told of them.
    """

    def __init__(
        self,
        stage: RunStage,
        questions: int,
        *,
        timeout: timedelta = timedelta(minutes=5),
        lost: bool = False,
        sink: SealedSink | None = None,
    ) -> None:
        self._stage = stage
        self._questions = questions
        self._timeout = timeout
        self._lost = lost
        self._sink = sink
        self.accepted = WorkflowUpdateStage.ACCEPTED
        self.ends: list[HandoffEnd] = []
        """How the questions ended, as the Attempt has heard."""
        self._beside: set[asyncio.Task[Any]] = set()

    async def __call__(self, input: AttemptInput) -> AttemptOutcome:
        if self._lost:
            self._ask_beside(input)
            await self.asked(1)
            activity.raise_complete_async()
        for number in range(1, self._questions + 1):
            self.ends.append(await self.ask(input, number))
        return completed()

    def beside(self, part: Part) -> Part:
        """An Attempt that asks, and does not wait for the answer but does as this part says."""

        async def both(input: AttemptInput) -> AttemptOutcome:
            self._ask_beside(input)
            return await part(input)

        return both

    def request(self, input: AttemptInput, number: int) -> HandoffRequest:
        return HandoffRequest(
            id=names.handoff_id(input.run_id, input.number, number),
            kind=HandoffKind.INPUT,
            attempt=input.number,
            instructions="The code that was sent to the phone",
            fields=(CODE,),
            timeout=self._timeout,
            sink=self._sink,
        )

    async def ask(self, input: AttemptInput, number: int) -> HandoffEnd:
        asked = self.request(input, number)
        run = self._stage.client.get_workflow_handle(input.run_id)
        return await run.execute_update(names.ASK, asked, id=asked.id, result_type=HandoffEnd)

    async def asked(self, number: int) -> None:
        """Wait until so many questions were asked."""
        await until(lambda: shown_handoffs(self._stage), DEADLINE, true=lambda shown: len(shown) >= number)

    def _ask_beside(self, input: AttemptInput) -> None:
        task = asyncio.create_task(self._noted(input))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _noted(self, input: AttemptInput) -> None:
        self.ends.append(await self.ask(input, 1))


async def shown_handoffs(stage: RunStage, run_id: str | None = None) -> list[Handoff]:
    """What the Run shows of its Handoffs."""
    description = await stage.client.get_workflow_handle(run_id or stage.run_id).describe()
    return await description.memo_value(names.MEMO_HANDOFFS, [], type_hint=list[Handoff])


async def shown_statuses(stage: RunStage) -> list[HandoffStatus]:
    return [each.status for each in await shown_handoffs(stage)]


async def open_link(stage: RunStage, number: int, link: str) -> None:
    """Open question `number` of the first Attempt by a link."""
    opened = OpenedLink(id=names.handoff_id(stage.run_id, 1, number), link=link)
    await stage.handle.execute_update(names.OPEN_LINK, opened)


async def answer_handoff(stage: RunStage, number: int, end: HandoffEnd) -> None:
    """Answer question `number` of the first Attempt."""
    answer = HandoffAnswer(id=names.handoff_id(stage.run_id, 1, number), end=end)
    await stage.handle.execute_update(names.ANSWER, answer)


async def withdraw_handoff(stage: RunStage, number: int) -> None:
    """Withdraw question `number` of the first Attempt, as that does itself."""
    withdrawn = HandoffEnd(status=HandoffStatus.WITHDRAWN)
    ended = HandoffAnswer(id=names.handoff_id(stage.run_id, 1, number), end=withdrawn)
    await stage.client.get_workflow_handle(stage.run_id).signal(names.END_HANDOFF, ended)


# Runs that ask a person.


@shape(RunStage)
async def asks_a_person(stage: RunStage) -> None:
    asking = Asking(stage, 2)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await open_link(stage, 1, "first-link")
    await answer_handoff(stage, 1, HandoffEnd(status=HandoffStatus.COMPLETED, values="sealed-1"))
    await asking.asked(2)
    await answer_handoff(stage, 2, HandoffEnd(status=HandoffStatus.DECLINED, reason="That is not my phone."))
    stage.outcome = await stage.ended()


@shape(RunStage)
async def asks_a_person_of_whom_a_webhook_is_told(stage: RunStage) -> None:
    asking = Asking(stage, 1, sink=sealed(webhook("https://hook.example"), stage.project, stage.run_id))
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await answer_handoff(stage, 1, HandoffEnd(status=HandoffStatus.COMPLETED, values="sealed-1"))
    stage.outcome = await stage.ended()


@shape(RunStage, server=Server.OWN_SKIPPING)
async def asks_in_vain(stage: RunStage) -> None:
    asking = Asking(stage, 1, timeout=timedelta(seconds=20))
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await stage.pass_time(seconds=20, held=True)
    stage.outcome = await stage.ended()


@shape(RunStage, server=Server.OWN_SKIPPING)
async def worker_lost_as_it_asks(stage: RunStage) -> None:
    lost = Asking(stage, 1, lost=True)
    await stage.serve(lost, ends(completed()))
    await stage.start()
    await lost.asked(1)
    await stage.pass_time(seconds=31, held=True)
    stage.outcome = await stage.ended()


@shape(RunStage)
async def cancel_as_it_asks(stage: RunStage) -> None:
    asking = Asking(stage, 1)
    held = stage.stopping(HeldAttempt(stage, announced=True))
    await stage.serve(asking.beside(held))
    await stage.start()
    await asking.asked(1)
    await held.began.wait()
    await stage.cancel()
    stage.outcome = await stage.ended()


@shape(RunStage)
async def does_not_wait_for_the_answer(stage: RunStage) -> None:
    asking = Asking(stage, 1)
    await stage.serve(asking)
    await stage.start()
    await asking.asked(1)
    await withdraw_handoff(stage, 1)
    stage.outcome = await stage.ended()
