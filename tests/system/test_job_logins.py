"""A login that breaks in the middle of a JobRun: it pauses the JobRun, which goes on when the login is good again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Stack

ITEMS = 24


async def test_a_login_that_breaks_pauses_the_job_run_until_it_is_good_again(stack: Stack) -> None:
    logins = AuthStates(stack)
    assert (await logins.create("members", "bob"))["status"] == "done"
    item = {"apiName": "list-orders", "parameters": {"baseUrl": stack.site}}
    body = {
        "id": "orders-of-bob",
        "payload": [item] * ITEMS,
        "configuration": {"saveTrace": False},
        "auth_session": {"id": "members", "checkAttempts": 1, "createAttempts": 1},
    }
    await stack.post("jobs", body, project=logins.project)
    job_run = (await stack.post("jobs/orders-of-bob/trigger", project=logins.project))["jobRunId"]

    async def until_shown(true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        place = f"jobs/orders-of-bob/runs/{job_run}"
        return (await stack.until(place, lambda told: true(told["jobRun"]), project=logins.project))["jobRun"]

    await until_shown(lambda shown: (shown["successful_runs"] or 0) >= 1)
    await logins.lock("bob")
    await logins.expire("bob")
    try:
        paused = await until_shown(lambda shown: shown["status"] == "PAUSED")
    finally:
        await logins.unlock("bob")
    assert paused["reason"]["type"] == "auth-session-invalid-mid-job"
    assert paused["failed_runs"] >= 1
    assert paused["successful_runs"] + paused["failed_runs"] < ITEMS
    assert (await logins.update("members", logins.parameters("bob")))["status"] == "done"
    ended = await until_shown(lambda shown: shown["end_time"] is not None)
    assert ended["status"] == "SUCCESS"
    assert ended["failed_runs"] == paused["failed_runs"]
    assert ended["successful_runs"] + ended["failed_runs"] == ITEMS
    await stack.ask("DELETE", "jobs/orders-of-bob", project=logins.project)
    assert await logins.delete("members") == 204
