"""How an Attempt asks a person, where Temporal lists late, does not answer, or is not to be asked at all."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, call

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.attempts.handoffs import AttemptHandoffs, OpenQuestions
from callboard.projects.project_settings import Handoffs, ProjectSettings
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import (
    AT_ONCE,
    MOST_ASKED,
    MOST_AT_ONCE,
    NOT_TAKEN,
    TOO_OFTEN,
    HandoffAnswer,
    HandoffEnd,
    HandoffKind,
    HandoffRequest,
    HandoffStatus,
)
from callboard.schemas.workflow.inbox import KEPT_FOR, CodeWait
from callboard.schemas.workflow.live import LiveAction, LiveHolder, LiveOrder, LiveOutcome
from callboard.schemas.workflow.sink import SealedSink
from callboard.security import seal_context
from callboard.security.addressees import addressee
from callboard.security.keyring import KeyRing
from callboard.temporal.inboxes import Inboxes
from tests.support.attempt_worker import attempt_input, running_attempt
from tests.support.machines import attempt_of
from tests.support.polling import until
from tests.support.present import present

SECOND = timedelta(seconds=1)
WITHDRAWN = (names.handoff_id("run", 1, 1), HandoffStatus.WITHDRAWN)
WEBHOOK = {"type": "webhook", "url": "https://hook.example/?token=t0p"}


class Workflow:
    """The workflow of a Run, which ends each question as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.signals: list[tuple[str, HandoffStatus]] = []
        """What Attempts have ended themselves."""
        self.refusal: Exception | None = None
        self.sink: SealedSink | None = None
        """What is told of the last one."""
        self.ends = asyncio.Event()
        self.ends.set()

    def get_workflow_handle(self, _workflow_id: str, **_options: Any) -> Workflow:
        return self

    async def start_update(self, _update: str, asked: HandoffRequest, **options: Any) -> Workflow:
        self.asked.append(options["id"])
        self.sink = asked.sink
        return self

    async def result(self) -> HandoffEnd:
        await self.ends.wait()
        if self.refusal is not None:
            raise WorkflowUpdateFailedError(self.refusal)
        return HandoffEnd(status=HandoffStatus.DECLINED, reason="Not my phone.")

    async def signal(self, signal: str, ended: HandoffAnswer, **_options: Any) -> None:
        assert signal == names.END_HANDOFF
        self.signals.append((ended.id, ended.end.status))


@pytest.fixture
async def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Temporal lists as open."""
    ids: list[str] = []

    async def open_handoffs(*_args: Any) -> list[Any]:
        await asyncio.sleep(0)
        return [SimpleNamespace(id=each) for each in ids]

    monkeypatch.setattr("activities.attempts.handoffs.open_handoffs", open_handoffs)
    return ids


@pytest.fixture
def workflow() -> Workflow:
    return Workflow()


@pytest.fixture
async def handoffs(workflow: Workflow, listed: list[str]) -> AttemptHandoffs:
    running = running_attempt(attempt_input("run"), asyncio.sleep(0))
    running.give_to_machines(attempt_of("run"))
    nothing = cast("KeyRing", None)
    return AttemptHandoffs(cast("Any", workflow), nothing, running, ProjectSettings(), SECOND, OpenQuestions())


@pytest.fixture
def many(handoffs: AttemptHandoffs) -> AttemptHandoffs:
    """Those of a project that may have many open."""
    handoffs.settings = ProjectSettings(handoffs=Handoffs(max_open=10))
    return handoffs


def question(number: int, **changed: str) -> dict[str, str]:
    asked = {"question": f"{number}", "instructions": "The code", "name": "code", "pattern": "", "masked": "false"}
    return {**asked, "timeout": "300", "code_to": "", "since": "", **changed}


async def test_an_inbox_hears_of_a_question_once_its_run_has(
    handoffs: AttemptHandoffs, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[list[str], str, CodeWait]] = []

    async def wait(_self: Inboxes, _workspace: str, _project: str, addressed_to: str, wait: CodeWait) -> None:
        waits.append((workflow.asked.copy(), addressed_to, wait))

    monkeypatch.setattr(Inboxes, "wait", wait)
    handoffs.keyring = KeyRing(["a-key-of-sixteen-characters"])
    long_ago = {"since": "0001-01-01T00:00:00+14:00"}
    for number, given in enumerate(({}, long_ago, {"since": "9999-12-31T23:59:59-12:00"}), start=1):
        await ask(handoffs, number, code_to="+49151", pattern="[0-9]+", **given)
    asked, addressed_to, first = waits[0]
    assert (asked, first.handoff_id) == ([names.handoff_id("run", 1, 1)], names.handoff_id("run", 1, 1))
    assert addressed_to == addressee(handoffs.keyring, "w", "shop", " +49151 ")
    assert (first.field, first.pattern, first.since) == ("code", "[0-9]+", handoffs.running.started_at)
    now = handoffs.running.now()
    assert timedelta() <= now - KEPT_FOR - waits[1][2].since < timedelta(minutes=1)
    assert timedelta() <= now - waits[2][2].since < timedelta(minutes=1), "a code of the future is one from now on"


async def test_a_question_whose_inbox_is_refused_is_open_no_more(
    handoffs: AttemptHandoffs, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: Any) -> None:
        raise RPCError("no such search attribute", RPCStatusCode.INVALID_ARGUMENT, b"")

    monkeypatch.setattr(Inboxes, "wait", refuse)
    handoffs.keyring = KeyRing(["a-key-of-sixteen-characters"])
    end = await ask(handoffs, 1, code_to="+49151")
    assert end == ("withdrawn", "Temporal refuses it: no such search attribute")
    assert workflow.signals == [WITHDRAWN]


async def ask(handoffs: AttemptHandoffs, number: int, **changed: str) -> tuple[str, str | None]:
    """How the question ends, and why."""
    end = json.loads(await handoffs.ask(HandoffKind.INPUT, question(number, **changed)))
    return end["status"], end["reason"]


async def test_a_question_that_temporal_still_lists_as_open_does_not_keep_the_next_one_out(
    handoffs: AttemptHandoffs, listed: list[str]
) -> None:
    await ask(handoffs, 1)
    listed.append(names.handoff_id("run", 1, 1))
    assert await ask(handoffs, 2) == ("declined", "Not my phone.")
    listed.append(names.handoff_id("another", 1, 1))
    status, why = await ask(handoffs, 3)
    assert (status, present(why).partition(".")[0]) == ("withdrawn", "1 questions of project shop are open, of 1")


async def test_user_code_that_asks_without_end_reaches_temporal_so_often_and_no_more(
    many: AttemptHandoffs, workflow: Workflow
) -> None:
    for number in range(1, MOST_ASKED + 1):
        await ask(many, number)
    assert await ask(many, MOST_ASKED + 1) == ("withdrawn", TOO_OFTEN)
    assert len(workflow.asked) == MOST_ASKED


async def test_few_questions_of_an_attempt_are_open_at_a_time_and_each_is_withdrawn_once(
    many: AttemptHandoffs, workflow: Workflow
) -> None:
    workflow.ends.clear()
    asking = [asyncio.create_task(ask(many, number)) for number in range(1, MOST_AT_ONCE + 1)]
    await until(lambda: len(workflow.asked) == MOST_AT_ONCE)
    assert await ask(many, MOST_AT_ONCE + 1) == ("withdrawn", AT_ONCE)
    for number in ("1", "1", "9"):
        many.withdraw({"question": number})
    assert await asking[0] == ("withdrawn", None)
    assert workflow.signals == [WITHDRAWN]
    workflow.ends.set()
    await asyncio.gather(*asking)
    many.withdraw({"question": "2"})
    assert len(workflow.signals) == 1, "it has ended"


async def test_no_question_is_asked_where_nobody_can_count_those_that_are_open(
    handoffs: AttemptHandoffs, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: Any) -> None:
        raise RPCError("too many queries", RPCStatusCode.RESOURCE_EXHAUSTED, b"")

    monkeypatch.setattr("activities.attempts.handoffs.open_handoffs", refuse)
    status, why = await ask(handoffs, 1)
    assert (status, workflow.asked) == ("withdrawn", [])
    assert present(why).endswith("too many queries")


async def test_what_is_withdrawn_before_it_was_asked_is_not_asked(
    handoffs: AttemptHandoffs, workflow: Workflow, listed: list[str]
) -> None:
    asking = asyncio.create_task(ask(handoffs, 1))
    await asyncio.sleep(0)
    assert not asking.done()
    handoffs.withdraw({"question": "1"})
    assert (await asking, workflow.asked) == (("withdrawn", None), [])


@pytest.mark.parametrize("canceled", [True, False])
async def test_a_question_is_withdrawn_as_soon_as_its_user_code_has_ended(
    handoffs: AttemptHandoffs, workflow: Workflow, *, canceled: bool
) -> None:
    workflow.ends.clear()
    asking = asyncio.create_task(ask(handoffs, 1))
    await until(lambda: workflow.asked)
    if canceled:
        asking.cancel()
    else:
        present(handoffs.running.on_machine).resolve({"result": "1"})
    await asyncio.wait({asking})
    assert asking.cancelled()
    assert workflow.signals == [WITHDRAWN]


async def test_a_question_that_no_worker_takes_to_its_run_expires(
    handoffs: AttemptHandoffs, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.attempts.handoffs._TAKEN_WITHIN", timedelta(seconds=-0.9))
    workflow.ends.clear()
    status, why = await ask(handoffs, 1, timeout="1")
    assert (status, why) == ("expired", "no worker that carries out Runs has taken it")
    assert workflow.signals == [WITHDRAWN]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (
            ApplicationError("Update handler for 'ask' expected but not found, and there is no dynamic handler."),
            "The workers that carry out Runs do not know questions yet.",
        ),
        (ApplicationError(TOO_OFTEN, type=NOT_TAKEN), TOO_OFTEN),
        (ApplicationError("No room.", type="Other"), "No room."),
    ],
)
async def test_user_code_hears_why_a_question_was_refused(
    handoffs: AttemptHandoffs, workflow: Workflow, refusal: Exception, told: str
) -> None:
    workflow.refusal = refusal
    assert await ask(handoffs, 1) == ("withdrawn", told)


async def test_the_webhook_of_the_project_is_sealed_for_the_run_and_tried_as_long_as_the_question_waits(
    handoffs: AttemptHandoffs, workflow: Workflow
) -> None:
    handoffs.settings = ProjectSettings.model_validate({"handoffs": {"webhook": WEBHOOK}})
    handoffs.keyring = KeyRing(["the secret key of these tests"])
    await ask(handoffs, 1, timeout="60")
    sink = present(workflow.sink)
    attempt = handoffs.running.input
    bound_to = seal_context.run(attempt.workspace, attempt.project, attempt.run_id)
    assert handoffs.keyring.open(present(sink.webhook).sealed_url, bound_to=bound_to) == WEBHOOK["url"]
    assert "t0p" not in sink.model_dump_json()
    assert (sink.schedule.give_up_after, sink.schedule.timeout) == (timedelta(seconds=60), SECOND)
    handoffs.keyring = KeyRing(())
    status, why = await ask(handoffs, 2)
    assert (status, len(workflow.asked)) == ("withdrawn", 1)
    assert "CALLBOARD_SECRET_KEY" in present(why)


async def test_no_question_waits_for_a_code_where_none_can_be_opened(
    handoffs: AttemptHandoffs, workflow: Workflow
) -> None:
    handoffs.keyring = KeyRing(())
    status, why = await ask(handoffs, 1, code_to="+49151")
    assert (status, workflow.asked) == ("withdrawn", [])
    assert "CALLBOARD_SECRET_KEY" in present(why)


HANDED_OVER = {"question": "1", "instructions": "Log in", "timeout": "300", "page": "page@1"}


async def test_a_browser_that_is_handed_over_is_back_as_soon_as_user_code_says_so(
    handoffs: AttemptHandoffs, workflow: Workflow
) -> None:
    """Whoever has it then has it no more, and that of the Run is told, however late it answers."""
    machine = AsyncMock(ask=AsyncMock(return_value={"refusal": None}))
    present(handoffs.running.on_machine).begin(cast("Any", None), machine)
    workflow.ends.clear()
    asking = asyncio.create_task(handoffs.ask(HandoffKind.BROWSER, HANDED_OVER))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not workflow.asked, "before the record tells where it runs"
    handoffs.running.start_recorded.set()
    await until(lambda: workflow.asked)
    live = handoffs.running.live
    taken = LiveOrder(id=1, by=LiveHolder(id="k1", name="Anna"), action=LiveAction.TAKE)
    assert (await live.do(taken)).outcome is LiveOutcome.DONE
    handoffs.complete(HANDED_OVER)
    end = json.loads(await asking)
    assert (end["status"], end["reason"], end["values"]) == ("completed", "its `until` holds", {})
    assert workflow.signals == [(names.handoff_id("run", 1, 1), HandoffStatus.COMPLETED)]
    given = LiveOrder(id=2, by=taken.by, action=LiveAction.GIVE)
    assert (await live.do(given)).outcome is LiveOutcome.NOT_HELD
    assert machine.ask.await_args_list == [call("hold", calls=False), call("release")]
