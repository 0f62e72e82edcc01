"""Codes that are pushed to a project: sealed for it, taken from whoever may push, and kept small (section 22.1)."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from api.dependencies import CODES_PER_MINUTE
from callboard.schemas.rest.codes import CONTENT_LIMIT
from callboard.security import seal_context
from callboard.security.addressees import addressee
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE

PHONE = "+4915112345678"


async def push(api: Api, *, project: str = "shop", status: int = 204, key: str | None = None, **body: Any) -> Any:
    answer = await api.client.post(
        f"/api/v1/workspace/{WORKSPACE}/projects/{project}/codes",
        json={"to": PHONE, "content": "493027 is your code.", **body},
        headers={} if key is None else {"x-api-key": key},
    )
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def test_a_code_is_sealed_and_nothing_names_to_whom_it_came(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    await push(api)
    ((project, to, code),) = api.inboxes.pushed
    ring = api.services.ring
    assert (project, to) == ("shop", addressee(ring, WORKSPACE, "shop", PHONE))
    assert ring.open(code.content, bound_to=seal_context.code(WORKSPACE, "shop", code.id)) == "493027 is your code."
    entries = (await api.client.get(f"/api/v1/workspace/{WORKSPACE}/audit")).json()["entries"]
    assert (entries[0]["action"], entries[0]["ids"]) == ("code.push", {})
    for told in (to, code.content, json.dumps(entries), caplog.text):
        assert all(secret not in told for secret in ("493027", "4915112345678"))


async def test_an_addressee_is_the_same_however_it_is_written_but_not_in_another_project(api: Api):
    await push(api, to="anna@example.com")
    await push(api, to=" Anna@Example.com\n")
    await push(api, to="anna@example.com", project="members")
    first, second, of_another = (to for _, to, _ in api.inboxes.pushed)
    assert first == second != of_another


async def test_a_key_that_may_push_codes_can_do_nothing_else_and_others_cannot_push(api: Api):
    key = await api.make_key("codes", projects=["shop"])
    await push(api, key=key)
    await push(api, key=key, project="members", status=404)
    await push(api, key=await api.make_key("handoffs", "runs:start"), status=403)
    for place in ("handoffs", "runs", "env-vars"):
        await api.ask(place, headers={"x-api-key": key}, status=403)
    assert len(api.inboxes.pushed) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"to": " "}, "to"),
        ({"to": "x" * 321}, "to"),
        ({"to": None}, "to"),
        ({"content": ""}, "content"),
        ({"content": "x" * (CONTENT_LIMIT + 1)}, "content"),
        ({"content": "49\0"}, "content"),
        ({"content": 493027}, "content"),
        ({"from": "shop"}, "from"),
    ],
)
async def test_what_is_no_code_is_refused(api: Api, body: dict[str, Any], path: str):
    refused = await push(api, status=400, **body)
    assert (refused["details"]["path"], api.inboxes.pushed) == (path, [])
    assert "493027" not in json.dumps(refused)


async def test_so_many_codes_of_a_project_are_taken_within_a_minute(api: Api):
    for _ in range(CODES_PER_MINUTE):
        api.services.pushed_codes.record("shop")
    assert "Try again in" in (await push(api, status=429))["message"]
    await push(api, project="members")
