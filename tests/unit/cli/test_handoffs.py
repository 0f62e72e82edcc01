"""`callboard handoffs`: what waits for a person, and the answers, by the id of the Handoff alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callboard.cli.dev import _report
from callboard.cli.exit_codes import ExitCode
from callboard.dev.events import Event
from callboard.schemas.workflow.handoff import Handoff, HandoffField, HandoffKind, HandoffStatus
from callboard.security import seal_context
from tests.support.api_in_process import Api
from tests.support.commands import NOWHERE, Commands, callboard, error_of
from tests.support.constants import WORKSPACE
from tests.support.in_memory_temporal import BEGAN

CODE = HandoffField(name="code", pattern=r"[\d=]+", secret=True)


async def ask(api: Api, **fields: Any) -> str:
    """Let a Run ask a person for a code, and in other ways as the fields say; its id."""
    run_id = await api.run()
    asked = Handoff(
        id=f"{run_id}.1.1",
        kind=HandoffKind.INPUT,
        attempt=1,
        instructions="The code of the text message",
        fields=(CODE,),
        status=HandoffStatus.OPEN,
        created_at=BEGAN,
        expires_at=datetime.now(UTC) + timedelta(minutes=5),
    )
    api.runs.handoffs.append(asked.model_copy(update=fields))
    return asked.id


def answered(api: Api) -> Any:
    """What the only answer says; None if it says nothing."""
    ((asked, end),) = api.handoffs.answered
    assert end.status is HandoffStatus.COMPLETED
    bound_to = seal_context.handoff(WORKSPACE, "shop", asked)
    return None if end.values is None else json.loads(api.services.ring.open(end.values, bound_to=bound_to))


async def test_those_that_wait_are_listed_or_all_of_a_run(api: Api, cli: Commands):
    waiting, done = await ask(api), await ask(api, status=HandoffStatus.COMPLETED)
    words = ("handoffs", "list", "-p", "shop")
    shown = await cli.said(*words)
    assert all(text in shown for text in (waiting, "open", "code", "The code of the text message"))
    assert done not in shown
    of_run = json.loads(await cli.said(*words, "--run", done.partition(".")[0], "--json"))
    assert [each["id"] for each in of_run["handoffs"]] == [done]


async def test_an_answer_goes_to_the_run_that_the_id_names(api: Api, cli: Commands):
    asked = await ask(api)
    said = await cli.said("handoffs", "answer", asked, "code=49=3", "-p", "shop")
    assert said == f"Handoff {asked} is completed.\n"
    assert answered(api) == {"code": "49=3"}


async def test_values_that_are_not_given_are_asked_for_and_secrets_are_not_shown(api: Api, cli: Commands):
    asked = await ask(api, instructions="The code\x1b[2J\x1b]0;title\x07")
    done = await cli("handoffs", "answer", asked, "-p", "shop", text="493027\n")
    assert answered(api) == {"code": "493027"}
    assert ("493027" in done.output, "\x1b" in done.output, "The code" in done.output) == (False, False, True)


async def test_for_something_in_the_browser_a_link_is_shown_and_the_person_says_when_it_is_done(
    api: Api, cli: Commands
):
    asked = await ask(api, kind=HandoffKind.BROWSER, fields=())
    words = ("handoffs", "answer", asked, "-p", "shop")
    refused = await cli(*words, text="n\n")
    assert (refused.exit_code, api.handoffs.answered) == (1, []), "nothing is completed"
    done = await cli(*words, text="y\n")
    assert f"{cli.url}/answer#" in done.output
    assert done.stdout.endswith(f"Handoff {asked} is completed.\n")
    assert answered(api) is None


async def test_a_decline_has_its_reason(api: Api, cli: Commands):
    asked = await ask(api)
    await cli.said("handoffs", "decline", asked, "--reason", "Not my phone.", "-p", "shop")
    ((_, end),) = api.handoffs.answered
    assert (end.status, end.reason) == (HandoffStatus.DECLINED, "Not my phone.")


async def test_a_link_is_printed(api: Api, cli: Commands):
    asked = await ask(api)
    assert (await cli.said("handoffs", "open", asked, "-p", "shop")).startswith(f"{cli.url}/answer#")


def test_what_is_no_value_is_refused_before_anything_is_asked():
    code, sentence = error_of(callboard("handoffs", "answer", "r1.1.1", "493027", "-p", "shop", **NOWHERE))
    assert (code, "493027" in sentence) == (ExitCode.USAGE, False)


def test_callboard_dev_tells_of_one_without_its_control_sequences(capsys: pytest.CaptureFixture[str]):
    _report(Event("asks       shop/list  The code\x07", "handoff"), quiet=False, as_json=False)
    assert capsys.readouterr().out == "asks       shop/list  The code\n"
