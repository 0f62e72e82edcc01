"""An Attempt asks a person: on a real Temporal, with a real store, a real Machine and a real browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.codes import CodeActivities
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.handoff import HandoffEnd, HandoffStatus
from callboard.schemas.workflow.inbox import PushedCode
from callboard.schemas.workflow.run import RunStatus
from callboard.security import seal_context
from callboard.security.addressees import addressee
from callboard.temporal.handoffs import Handoffs
from callboard.temporal.inboxes import Inboxes
from tests.support.attempt_worker import PROJECT, AttemptLab
from tests.support.files import contents
from tests.support.handoffs import answer_handoff, shown_handoffs
from tests.support.polling import until
from tests.support.present import present
from tests.support.stage import WORKSPACE, staged_worker
from workflows.inbox import InboxWorkflow


async def asked(lab: AttemptLab, count: int = 1) -> None:
    await until(lambda: shown_handoffs(lab.stage), true=lambda shown: len(shown) >= count)


async def answer(lab: AttemptLab, code: str, number: int = 1) -> None:
    """Answer as the api does."""
    bound_to = seal_context.handoff(WORKSPACE, PROJECT, names.handoff_id(lab.stage.run_id, 1, number))
    sealed = lab.bench.keyring.seal(json.dumps({"code": code}), bound_to=bound_to)
    await answer_handoff(lab.stage, number, HandoffEnd(status=HandoffStatus.COMPLETED, values=sealed))


def result_of(outcome: Any) -> Any:
    return json.loads(present(present(outcome.result).text))


async def test_an_answer_reaches_user_code_and_is_masked_in_all_that_it_leaves(lab: AttemptLab) -> None:
    await lab.start("asks", {"fail": True})
    await asked(lab)
    (shown,) = await shown_handoffs(lab.stage)
    assert (shown.instructions, [field.name for field in shown.fields]) == ("The code", ["code"])
    await answer(lab, "493027")
    error = present((await lab.stage.ended()).error)
    assert error.message.startswith("ValueError: it was ***")
    folder = lab.bench.folder / "artifacts" / "runs" / PROJECT / lab.stage.run_id
    left = {name: b"".join(contents(folder / name)) for name in lab.left()}
    assert b'"***"' in left["attempts/1/trace.zip"], "what was filled in"
    assert [name for name, data in left.items() if b"493027" in data] == []
    assert b"A person is asked, for 300 seconds: The code" in left["attempts/1/log.jsonl"]


@pytest.fixture
async def inboxes(lab: AttemptLab) -> AsyncIterator[Inboxes]:
    client, codes = lab.stage.client, CodeActivities(Handoffs(lab.stage.client), lab.bench.keyring)
    async with staged_worker(client, names.CALLBOARD_QUEUE, [codes.give_code], workflows=[InboxWorkflow]):
        yield Inboxes(client)


async def push(lab: AttemptLab, inboxes: Inboxes, to: str, content: str) -> None:
    """Push a code as the api does."""
    ring, code_id = lab.bench.keyring, f"{lab.stage.run_id}-{content}"
    sealed = ring.seal(content, bound_to=seal_context.code(WORKSPACE, PROJECT, code_id))
    addressed_to = addressee(ring, WORKSPACE, PROJECT, to)
    await inboxes.push(WORKSPACE, PROJECT, addressed_to, PushedCode(id=code_id, content=sealed))


async def test_a_code_that_comes_while_it_is_waited_for_is_the_answer(lab: AttemptLab, inboxes: Inboxes) -> None:
    await push(lab, inboxes, "+49151", "111111 came before the Attempt began.")
    await lab.start("asks", {"codeTo": "+49151", "pattern": r"\b\d{6}\b"})
    await asked(lab)
    await push(lab, inboxes, "+49151", "No code is in this.")
    await push(lab, inboxes, "+49152", "222222 is for somebody else.")
    await push(lab, inboxes, " +49151", "493027 is your code.")
    assert result_of(await lab.stage.ended()) == {"code": "***", "length": 6}
    assert [each.status for each in await shown_handoffs(lab.stage)] == [HandoffStatus.COMPLETED]
    log = (lab.bench.folder / "artifacts/runs" / PROJECT / lab.stage.run_id / "attempts/1/log.jsonl").read_text()
    assert "is completed: by a code that was pushed" in log
    assert not any(secret in log for secret in ("493027", "111111", "222222"))


async def test_a_code_that_came_before_its_question_is_taken_if_it_counts(lab: AttemptLab, inboxes: Inboxes) -> None:
    since = datetime.now(UTC).isoformat()
    await push(lab, inboxes, "anna@example.com", "4930")
    assert result_of(await lab.run("asks", {"codeTo": "Anna@example.com", "since": since})) == {
        "code": "4930",
        "length": 4,
    }


async def test_the_time_of_an_attempt_stands_still_while_it_asks(lab: AttemptLab) -> None:
    await lab.start("asks", request_timeout=timedelta(seconds=3))
    await asked(lab)
    await asyncio.sleep(4)  # longer than the whole Attempt may take
    await answer(lab, "493027")
    assert result_of(await lab.stage.ended()) == {"code": "***", "length": 6}


async def test_a_secret_that_is_too_short_to_be_masked_costs_trace_and_screenshot(lab: AttemptLab) -> None:
    await lab.start("asks", {"fail": True})
    await asked(lab)
    await answer(lab, "4930")
    await lab.stage.ended()
    record = await lab.record()
    assert (record.status, record.trace, record.screenshot) == (AttemptStatus.FAILED, False, False)
    assert record.missing.keys() == {"trace", "screenshot"}
    assert "too short to be masked" in record.missing["trace"]


@pytest.mark.parametrize(
    ("parameters", "end", "told"),
    [
        ({}, HandoffEnd(status=HandoffStatus.DECLINED, reason="Not my phone."), ["HandoffDeclined", "Not my phone."]),
        ({"timeout": 1}, None, ["HandoffTimeout", "nobody has answered in time: The code"]),
    ],
)
async def test_user_code_hears_why_there_is_no_answer(
    lab: AttemptLab, parameters: dict[str, Any], end: HandoffEnd | None, told: list[str]
) -> None:
    await lab.start("asks", parameters)
    await asked(lab)
    if end is not None:
        await answer_handoff(lab.stage, 1, end)
    assert result_of(await lab.stage.ended()) == told


async def test_a_question_whose_answer_nobody_waits_for_is_withdrawn(lab: AttemptLab) -> None:
    assert result_of(await lab.run("asks", {"patience": 0.5})) == "gave up"
    assert [each.status for each in await shown_handoffs(lab.stage)] == [HandoffStatus.WITHDRAWN]


async def test_an_attempt_that_ends_waits_for_nobody(lab: AttemptLab) -> None:
    assert result_of(await lab.run("asks", {"leaves": "10s"})) == "left"
    assert [each.status for each in await shown_handoffs(lab.stage)] == [HandoffStatus.WITHDRAWN]


async def test_no_more_questions_are_open_than_the_project_may_have(lab: AttemptLab) -> None:
    await lab.start("asks", {"others": True})
    await asked(lab)
    (shown,) = await shown_handoffs(lab.stage)  # either of the two may be first
    await answer(lab, "493027", int(shown.id.rpartition(".")[2]))
    told = result_of(await lab.stage.ended())
    assert len(told) == 1
    assert told[0].startswith(f"1 questions of project {PROJECT} are open, of 1.")
    assert len(await shown_handoffs(lab.stage)) == 1


async def test_a_canceled_run_waits_for_nobody(lab: AttemptLab) -> None:
    await lab.start("asks")
    await asked(lab)
    await lab.stage.cancel()
    assert (await lab.stage.ended()).status is RunStatus.CANCELED
    assert [each.status for each in await shown_handoffs(lab.stage)] == [HandoffStatus.WITHDRAWN]
