"""Links to Handoffs: who has one answers that question, once, without a key, and can do nothing else."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import pytest

from callboard.schemas.workflow.handoff import Handoff, HandoffField, HandoffKind, HandoffStatus
from callboard.security.signed_links import HandoffRef, sign_link
from tests.support.api_in_process import Api, deploy_project
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import Pages, browser_client

ACTOR = "handoffs-webhook"


def handoff(run_id: str, status: HandoffStatus = HandoffStatus.OPEN) -> Handoff:
    now = datetime.now(UTC)
    return Handoff(
        id=f"{run_id}.1.1",
        kind=HandoffKind.INPUT,
        attempt=1,
        instructions="The code of the text message",
        fields=(HandoffField(name="code", pattern=r"\d{6}", secret=True),),
        status=status,
        created_at=now,
        expires_at=now + timedelta(minutes=5),
    )


@pytest.fixture
async def run_id(api: Api) -> str:
    """A Run that waits for a code."""
    run_id = await api.run()
    api.runs.handoffs = [handoff(run_id)]
    return run_id


async def link(api: Api, run_id: str, asking: str | None = None) -> str:
    """The secret part of a new link to its question, or to that of another one that it waits for."""
    made = await api.ask(f"runs/{run_id}/handoffs/{asking or run_id}.1.1/link", method="POST")
    assert made["expiresAt"] == api.runs.handoffs[0].expires_at.replace(microsecond=0).isoformat()[:-6] + "Z"
    address, _, secret = made["url"].partition("#")
    assert address == "http://api.test/answer"
    return secret


async def opened(api: Api, secret: str, status: int = 303) -> Pages:
    """A browser that has opened this link."""
    pages = browser_client(api)
    assert (await pages.post("/answer/open", data={"link": secret})).status_code == status
    return pages


async def token(pages: Pages) -> str:
    found = re.search(r'name="token" value="([^"]+)"', (await pages.get("/answer")).text)
    assert found
    return found[1]


async def test_a_link_is_exchanged_once_and_then_its_question_is_answered(api: Api, run_id: str):
    secret = await link(api, run_id)
    for _ in range(2):  # as chats do that show a preview
        preview = await browser_client(api).get("/answer")
        assert (preview.status_code, "text message" in preview.text) == (200, False)
        headers = {name: preview.headers[name] for name in ("referrer-policy", "cache-control")}
        assert headers == {"referrer-policy": "no-referrer", "cache-control": "no-store"}
    pages = await opened(api, secret)
    await opened(api, secret, 409)
    assert "The code of the text message" in (await pages.get("/answer")).text
    refused = await pages.post("/answer/complete", data={"token": await token(pages), "value-code": "12"})
    assert (refused.status_code, api.handoffs.answered) == (400, [])
    done = await pages.post("/answer/complete", data={"token": await token(pages), "value-code": "493027"})
    assert (done.status_code, done.headers["location"]) == (303, "/answer?done=complete")
    ((answered, end),) = api.handoffs.answered
    assert (answered, end.status) == (f"{run_id}.1.1", HandoffStatus.COMPLETED)
    assert "callboard-handoff" not in pages.cookies


async def test_a_link_outlives_a_run_that_waits_no_longer_for_what_asks(api: Api, run_id: str):
    """Others may still wait for the Create."""
    create = await api.run()
    api.runs.handoffs, api.runs.awaited = [handoff(create)], {run_id: create}
    secret = await link(api, run_id, create)
    api.runs.awaited.clear()
    assert "The code of the text message" in (await (await opened(api, secret)).get("/answer")).text


async def test_what_is_declined_has_its_reason(api: Api, run_id: str):
    pages = await opened(api, await link(api, run_id))
    await pages.post("/answer/decline", data={"token": await token(pages), "reason": "Not my phone."})
    assert [(end.status, end.reason) for _, end in api.handoffs.answered] == [("declined", "Not my phone.")]


async def test_the_cookie_is_good_for_its_question_alone_and_ends_with_it(api: Api, run_id: str):
    pages = await opened(api, await link(api, run_id))
    form = {"token": await token(pages), "value-code": "493027"}
    assert (await pages.get("/projects")).headers["location"].startswith("/sign-in")
    assert (await pages.post("/answer/complete", data={**form, "token": "another"})).status_code == 403
    assert (await browser_client(api).post("/answer/complete", data=form)).status_code == 401
    api.runs.handoffs = [handoff(run_id, HandoffStatus.EXPIRED)]
    assert "text message" not in (await pages.get("/answer")).text
    assert (await pages.post("/answer/complete", data=form)).status_code == 409
    assert api.handoffs.answered == []


async def test_what_is_no_link_or_is_stale_opens_nothing(api: Api, run_id: str):
    secret = await link(api, run_id)
    await opened(api, "", 409)
    await opened(api, f"{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}", 409)
    pages = await opened(api, secret)
    await opened(api, pages.cookies["callboard-handoff"], 409)
    later = await link(api, run_id)
    api.runs.handoffs = [handoff(run_id, HandoffStatus.COMPLETED)]
    await opened(api, later, 409)
    await api.ask(f"runs/{run_id}/handoffs/{run_id}.1.1/link", method="POST", status=409)


async def test_a_link_answers_in_the_name_of_its_key_and_is_in_no_log_or_entry(
    api: Api, run_id: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    secret = await link(api, run_id)
    pages = await opened(api, secret)
    await pages.post("/answer/complete", data={"token": await token(pages), "value-code": "493027"})
    entries = (await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")).json()["entries"]
    ids = {"runId": run_id, "handoffId": f"{run_id}.1.1"}
    told = [(each["action"], each["ids"], each["actor"]["id"]) for each in entries if each["ids"] == ids]
    by = told[0][2]
    assert sorted(told, key=itemgetter(0)) == [(f"handoff.{done}", ids, by) for done in ("complete", "link", "open")]
    assert secret not in json.dumps(entries)
    assert secret not in caplog.text


async def test_a_link_that_the_webhook_was_sent_answers_in_its_name_and_goes_with_it(
    api: Api, run_id: str, tmp_path: Path
):
    webhook = {"webhook": {"type": "webhook", "url": "https://hook.example/?token=t0p"}}
    await deploy_project(tmp_path / "with", api.store, projectName="shop", handoffs=webhook)
    ref = HandoffRef(WORKSPACE, "shop", run_id, f"{run_id}.1.1", None, "once")
    secret, _ = sign_link(ref, api.services.ring, api.runs.handoffs[0].expires_at)
    pages = await opened(api, secret)
    await opened(api, secret, 409)
    form = {"token": await token(pages), "value-code": "493027"}
    await deploy_project(tmp_path / "without", api.store, projectName="shop")
    assert (await pages.post("/answer/complete", data=form)).status_code == 401
    await deploy_project(tmp_path / "with", api.store, projectName="shop", handoffs=webhook)
    assert (await pages.post("/answer/complete", data=form)).status_code == 303
    entries = (await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")).json()["entries"]
    by = [(each["action"], each["status"], each["actor"]["name"]) for each in entries if each["actor"]["id"] == ACTOR]
    done = [("handoff.open", 303), ("handoff.open", 409), ("handoff.complete", 303)]
    assert sorted(by) == sorted((*each, "handoffs.webhook of shop") for each in done)
    assert secret not in json.dumps(entries)
