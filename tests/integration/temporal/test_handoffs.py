"""The Handoffs of Runs, as Temporal tells of them, and answers that come too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client

from callboard.schemas.errors import Conflict
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.auth import RunAuth
from callboard.schemas.workflow.handoff import HandoffAnswer, HandoffEnd, HandoffStatus
from callboard.schemas.workflow.run import RunStatus
from callboard.temporal.handoffs import Handoffs
from callboard.temporal.listing import list_waiting
from callboard.temporal.runs import Runs
from tests.support.auth_stage import LoginStage, good
from tests.support.handoffs import Asking
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends
from tests.support.stage import DEADLINE, WORKSPACE

ANSWERED = HandoffEnd(status=HandoffStatus.COMPLETED, values="sealed")


class AskingLogin:
    """A check or create that asks before it succeeds."""

    def __init__(self, stage: LoginStage) -> None:
        self._stage = stage
        self.asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The id of its Handoff."""

    async def check(self, input: AttemptInput) -> AttemptOutcome:
        return await self._ask(input, good())

    async def create(self, input: AttemptInput) -> AttemptOutcome:
        return await self._ask(input, await self._stage.make(input))

    async def _ask(self, input: AttemptInput, outcome: AttemptOutcome) -> AttemptOutcome:
        self.asked.set_result(names.handoff_id(input.run_id, input.number, 1))
        await Asking(self._stage, 1).ask(input, 1)
        return outcome


async def shown_on_the_run_until_answered(
    client: Client, stage: LoginStage, asking: AskingLogin, auth: RunAuth
) -> None:
    """The Run that waits for the login shows its Handoff, and completes once that is answered."""
    runs = Runs(client)

    async def first() -> Any:
        shown = await runs.list_handoffs(WORKSPACE, stage.project, stage.run_id)
        return shown[0].id if shown else None

    await stage.start(auth=auth)
    asked = await asyncio.wait_for(asking.asked, DEADLINE)
    assert await until(first, DEADLINE) == asked
    state = await runs.get_state(WORKSPACE, stage.project, stage.run_id)
    assert (state.handoff and state.handoff.id, names.run_of_handoff(asked) != stage.run_id) == (asked, True)
    answer = HandoffAnswer(id=asked, end=ANSWERED)
    await client.get_workflow_handle(names.run_of_handoff(asked)).execute_update(names.ANSWER, answer)
    assert (await stage.ended()).status is RunStatus.COMPLETED


async def test_a_question_of_a_check_is_shown_on_the_run_that_waits_for_it(
    client: Client, login_stage: LoginStage
) -> None:
    asking = AskingLogin(login_stage)
    login_stage.valid.add(1)
    login_stage.checks.append(asking.check)
    await login_stage.serve_attempts(ends(completed()))
    await login_stage.bring_up()
    await shown_on_the_run_until_answered(client, login_stage, asking, login_stage.auth())


async def test_a_question_of_a_create_is_shown_on_the_run_that_waits_for_it(
    client: Client, login_stage: LoginStage
) -> None:
    asking = AskingLogin(login_stage)
    login_stage.creates.append(asking.create)
    await login_stage.serve_attempts(ends(completed()))
    await login_stage.bring_up()
    await shown_on_the_run_until_answered(client, login_stage, asking, login_stage.auth())


async def test_a_login_of_the_run_alone_is_not_taken_for_another_of_its_name(
    client: Client, login_stage: LoginStage
) -> None:
    asking = AskingLogin(login_stage)
    login_stage.creates.append(asking.create)
    await login_stage.serve_attempts(ends(completed()))
    await login_stage.bring_up()
    other = login_stage.ref
    auth = login_stage.runtime()
    login_stage.ref = login_stage.ref.model_copy(update={"id": other.id})
    auth = auth.model_copy(update={"ref": login_stage.ref})
    await shown_on_the_run_until_answered(client, login_stage, asking, auth)


async def test_an_answer_with_an_id_counts_once_however_often_it_is_repeated(client: Client, stage: RunStage) -> None:
    """Whoever gives a code, and is lost before it could say so, must not give it to somebody else as well."""
    asking, handoffs = Asking(stage, 1), Handoffs(client)
    await stage.serve_attempts(asking)
    await stage.start()
    await asking.asked(1)
    asked = names.handoff_id(stage.run_id, 1, 1)
    for _ in range(2):
        await handoffs.answer(asked, ANSWERED, answer_id="a-code")
    await stage.ended()
    await handoffs.answer(asked, ANSWERED, answer_id="a-code")
    with pytest.raises(Conflict):
        await handoffs.answer(asked, ANSWERED, answer_id="another")


async def test_a_question_of_a_terminated_run_is_not_open(client: Client, stage: RunStage) -> None:
    """Its workflow has no moment in which to withdraw it."""
    asking, held = Asking(stage, 1), HeldAttempt(stage)
    runs, handoffs = Runs(client), Handoffs(client)
    await stage.serve_attempts(asking.beside(held))
    await stage.start()
    await asking.asked(1)
    (asked,) = await until(lambda: handoffs.list_open(WORKSPACE, stage.project), DEADLINE)
    (waiting,) = [each for each in await list_waiting(client) if each.run_id == stage.run_id]
    assert (asked.id, waiting.handoff) == (names.handoff_id(stage.run_id, 1, 1), asked)
    await stage.handle.terminate()
    held.end()
    shown = await runs.list_handoffs(WORKSPACE, stage.project, stage.run_id)
    assert [each.status for each in shown] == [HandoffStatus.WITHDRAWN]
    with pytest.raises(Conflict, match=f"Handoff {asked.id} is not open"):
        await handoffs.answer(asked.id, ANSWERED)
