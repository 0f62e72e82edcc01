"""Handoffs over REST and on the pages: what waits for a person, what is an answer, and who may give one."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.handoff import Handoff, HandoffEnd, HandoffField, HandoffKind, HandoffStatus
from callboard.security import seal_context
from callboard.temporal.handoffs import not_open
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import ESCAPED, EVIL, signed_in_client
from tests.support.in_memory_temporal import BEGAN

CODE = HandoffField(name="code", pattern=r"\d{6}", secret=True)


def handoff(run_id: str, status: HandoffStatus = HandoffStatus.OPEN, *fields: HandoffField, **changed: Any) -> Handoff:
    asked = Handoff(
        id=f"{run_id}.1.1",
        kind=HandoffKind.INPUT,
        attempt=1,
        instructions="The code of the text message",
        fields=fields or (CODE,),
        status=status,
        created_at=BEGAN,
        expires_at=BEGAN + timedelta(minutes=5),
    )
    return asked.model_copy(update=changed)


@pytest.fixture
async def run_id(api: Api) -> str:
    """A Run that waits for a code."""
    run_id = await api.run()
    api.runs.handoffs = [handoff(run_id)]
    return run_id


async def answer(api: Api, run_id: str, word: str, body: Any, status: int = 200) -> Any:
    return await api.ask(f"runs/{run_id}/handoffs/{run_id}.1.1/{word}", method="POST", json=body, status=status)


async def test_what_waits_is_listed_with_its_project_and_its_run_and_told_with_results(api: Api, run_id: str):
    of_run = await api.ask(f"runs/{run_id}/handoffs")
    assert (
        of_run
        == await api.ask("handoffs?status=open")
        == {
            "handoffs": [
                {
                    "id": f"{run_id}.1.1",
                    "runId": run_id,
                    "kind": "input",
                    "attempt": 1,
                    "instructions": "The code of the text message",
                    "fields": [{"name": "code", "pattern": "\\d{6}", "secret": True}],
                    "status": "open",
                    "createdAt": BEGAN.isoformat().replace("+00:00", "Z"),
                    "expiresAt": (BEGAN + timedelta(minutes=5)).isoformat().replace("+00:00", "Z"),
                }
            ]
        }
    )
    (listed,) = of_run["handoffs"]
    told = {name: listed[name] for name in ("id", "kind", "instructions", "expiresAt")}
    assert (await api.ask(f"run/{run_id}/result"))["handoff"] == told
    run = await api.ask(f"runs/{run_id}")
    assert run["handoff"] == told
    assert run["waiting"] == {"handoff": told["id"], "until": told["expiresAt"]}
    await api.ask("handoffs?status=closed", status=400)


async def test_an_answer_is_sealed_for_its_handoff(api: Api, run_id: str):
    answered = await answer(api, run_id, "complete", {"values": {"code": "493027"}})
    assert answered["status"] == "completed"
    ((handoff_id, end),) = api.handoffs.answered
    assert (handoff_id, end.status) == (f"{run_id}.1.1", HandoffStatus.COMPLETED)
    assert end.values is not None
    assert "493027" not in end.values
    bound_to = seal_context.handoff(WORKSPACE, "shop", handoff_id)
    assert json.loads(api.services.ring.open(end.values, bound_to=bound_to)) == {"code": "493027"}


async def test_a_decline_has_its_reason(api: Api, run_id: str):
    assert (await answer(api, run_id, "decline", {"reason": "Not my phone."}))["status"] == "declined"
    ((_, end),) = api.handoffs.answered
    assert (end.status, end.reason, end.values) == (HandoffStatus.DECLINED, "Not my phone.", None)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"code": "49302"}, "values.code"),
        ({"code": "4930277"}, "values.code"),
        ({"code": "493027\n"}, "values.code"),
        ({}, "values.code"),
        ({"code": 493027}, "values.code"),
        ({"code": "a\0b"}, "values.code"),
        ({"code": "493027", "pin": "1"}, "values"),
        (["493027"], "values"),
    ],
)
async def test_what_was_not_asked_for_is_refused(api: Api, run_id: str, values: Any, path: str):
    refused = await answer(api, run_id, "complete", {"values": values}, status=400)
    assert refused["details"]["path"] == path
    assert api.handoffs.answered == []
    assert "493027" not in json.dumps(refused), "it may be a secret"


async def test_one_of_the_browser_is_done_without_values(api: Api, run_id: str):
    in_browser = handoff(run_id).model_copy(update={"kind": HandoffKind.BROWSER, "fields": ()})
    api.runs.handoffs = [in_browser]
    refused = await answer(api, run_id, "complete", {"values": {"code": "493027"}}, status=400)
    assert (refused["details"]["path"], "no values" in refused["message"]) == ("values", True)
    for body in ({}, {"values": {}}):
        done = await answer(api, run_id, "complete", body)
        assert (done["kind"], done["fields"], done["status"]) == ("browser", [], "completed")
    assert [end for _, end in api.handoffs.answered] == [HandoffEnd(status=HandoffStatus.COMPLETED)] * 2
    page = (await (await signed_in_client(api)).get("/projects/shop/handoffs")).text
    assert (">Done</button>" in page, ">Decline</button>" in page, "value-" in page) == (True, True, False)


async def test_a_pattern_that_would_take_for_ever_matches_nothing_and_holds_nobody_up(
    api: Api, run_id: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("callboard.security.pattern_match._MATCH_WITHIN", 1)
    api.runs.handoffs = [handoff(run_id, HandoffStatus.OPEN, HandoffField(name="code", pattern="(a*)*b"))]
    answering = asyncio.create_task(answer(api, run_id, "complete", {"values": {"code": "a" * 64}}, status=400))
    await api.ask(f"runs/{run_id}/handoffs")
    assert not answering.done(), "others are served meanwhile"
    await answering


async def test_a_pattern_that_would_take_much_memory_matches_nothing(
    api: Api, run_id: str, monkeypatch: pytest.MonkeyPatch
):
    api.runs.handoffs = [handoff(run_id, HandoffStatus.OPEN, HandoffField(name="code", pattern="(?:a|){1000000}"))]
    monkeypatch.setattr("callboard.security.pattern_match._MATCH_MEMORY", 64 * 1024 * 1024)
    await answer(api, run_id, "complete", {"values": {"code": "a"}}, status=400)
    monkeypatch.setattr("callboard.security.pattern_match._MATCH_MEMORY", 1024 * 1024 * 1024)
    await answer(api, run_id, "complete", {"values": {"code": "a"}})


@pytest.mark.parametrize("status", [each for each in HandoffStatus if each is not HandoffStatus.OPEN])
async def test_what_is_not_open_takes_no_answer(api: Api, run_id: str, status: HandoffStatus):
    api.runs.handoffs = [handoff(run_id, status)]
    await answer(api, run_id, "complete", {"values": {"code": "493027"}}, status=409)
    await answer(api, run_id, "decline", {}, status=409)
    assert (await api.ask("handoffs"), "handoff" in await api.ask(f"run/{run_id}/result")) == ({"handoffs": []}, False)


async def test_an_answer_that_comes_second_is_refused(api: Api, run_id: str, monkeypatch: pytest.MonkeyPatch):
    async def taken(handoff_id: str, _end: Any) -> None:
        raise not_open(handoff_id)

    monkeypatch.setattr(api.handoffs, "answer", taken)
    await answer(api, run_id, "complete", {"values": {"code": "493027"}}, status=409)


async def test_a_handoff_of_another_run_is_none_of_this_one(api: Api, run_id: str):
    body = {"values": {"code": "493027"}}
    await api.ask(f"runs/{run_id}/handoffs/other.1.1/complete", method="POST", json=body, status=404)
    await api.ask("runs/other/handoffs/other.1.1/complete", method="POST", json=body, status=404)


@pytest.mark.parametrize(("status", "told"), [(HandoffStatus.COMPLETED, 409), (HandoffStatus.OPEN, 404)])
async def test_one_of_a_run_that_this_one_does_not_wait_for_takes_no_answer(
    api: Api, run_id: str, status: HandoffStatus, told: int
):
    """As one of a Create that it has waited for."""
    create = await api.run()
    api.runs.handoffs = [handoff(create, status)]
    body = {"values": {"code": "493027"}}
    await api.ask(f"runs/{run_id}/handoffs/{create}.1.1/complete", method="POST", json=body, status=told)
    assert api.handoffs.answered == []


async def test_the_pages_ask_and_take_the_answer(api: Api, run_id: str):
    api.runs.handoffs = [handoff(run_id, instructions=EVIL)]
    pages = await signed_in_client(api)
    for path in ("/projects/shop/handoffs", f"/projects/shop/runs/{run_id}"):
        shown = (await pages.get(path)).text
        assert (ESCAPED in shown, EVIL in shown, 'type="password"' in shown) == (True, False, True)
    form = f"/projects/shop/runs/{run_id}/handoffs/{run_id}.1.1"
    refused = await pages.send_form(f"{form}/complete", **{"value-code": "12"})
    assert (refused.status_code, api.handoffs.answered) == (400, [])
    done = await pages.send_form(f"{form}/complete", **{"value-code": "493027"})
    assert (done.status_code, done.headers["location"]) == (303, f"/projects/shop/runs/{run_id}")
    await pages.send_form(f"{form}/decline", reason="Not my phone.")
    assert [end.status for _, end in api.handoffs.answered] == [HandoffStatus.COMPLETED, HandoffStatus.DECLINED]


async def test_an_answer_leaves_an_entry_without_what_was_answered(api: Api, run_id: str):
    await answer(api, run_id, "complete", {"values": {"code": "493027"}})
    entries = (await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")).json()["entries"]
    (entry,) = [each for each in entries if each["ids"].get("handoffId") == f"{run_id}.1.1"]
    assert entry["action"] == "handoff.complete"
    assert entry["ids"] == {"runId": run_id, "handoffId": f"{run_id}.1.1"}
    assert "493027" not in json.dumps(entries)
