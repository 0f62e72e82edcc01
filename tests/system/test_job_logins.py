"""A login that breaks in the middle of a JobRun: it pauses the JobRun, which goes on when the login is good again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.example_auth_sessions import AuthStates
from tests.support.polling import until
from tests.support.stack import Stack

ITEMS = 24
PATIENCE = 120
"""Seconds. The host may be busy."""


async def until_shown(stack: Stack, path: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the JobRun at this path is so, and return it."""
    shown: dict[str, Any] = {}

    async def is_so() -> bool:
        answer = await stack.http.get(path)
        shown.update(answer.json()["jobRun"])
        return condition(shown)

    await until(is_so, within=PATIENCE, every=0.2)
    return shown


async def test_a_login_that_breaks_pauses_the_job_run_until_it_is_good_again(stack: Stack) -> None:
    logins = AuthStates(stack)
    assert (await logins.create("members", "bob"))["status"] == "done"
    jobs = f"/api/v1/workspace/{stack.workspace}/projects/{logins.project}/jobs"
    item = {"apiName": "list-orders", "parameters": {"baseUrl": stack.site}}
    body = {
        "id": "orders-of-bob",
        "payload": [item] * ITEMS,
        "configuration": {"saveTrace": False},
        "auth_session": {"id": "members", "checkAttempts": 1, "createAttempts": 1},
    }
    assert (await stack.http.post(jobs, json=body)).status_code == 201
    job_run = (await stack.http.post(f"{jobs}/orders-of-bob/trigger")).json()["jobRunId"]
    path = f"{jobs}/orders-of-bob/runs/{job_run}"
    await until_shown(stack, path, lambda shown: (shown["successful_runs"] or 0) >= 1)
    await logins.lock("bob")
    await logins.expire("bob")
    try:
        paused = await until_shown(stack, path, lambda shown: shown["status"] == "PAUSED")
    finally:
        await logins.unlock("bob")
    assert paused["reason"]["type"] == "auth-session-invalid-mid-job"
    assert paused["failed_runs"] >= 1
    assert paused["successful_runs"] + paused["failed_runs"] < ITEMS
    assert (await logins.update("members", logins.parameters("bob")))["status"] == "done"
    ended = await until_shown(stack, path, lambda shown: shown["end_time"] is not None)
    assert ended["status"] == "SUCCESS"
    assert ended["failed_runs"] == paused["failed_runs"]
    assert ended["successful_runs"] + ended["failed_runs"] == ITEMS
    assert (await stack.http.delete(f"{jobs}/orders-of-bob")).status_code == 204
    assert await logins.delete("members") == 204
