"""AuthSessions on the real stack, against the example site: no automation runs with a dead login."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.example_auth_sessions import AuthStates
from tests.support.polling import until
from tests.support.stack import Stack


@pytest.fixture
def logins(stack: Stack) -> AuthStates:
    return AuthStates(stack)


async def test_a_login_is_made_kept_and_used(logins: AuthStates) -> None:
    before = (await logins.account("alice"))["logins"]
    made = await logins.create("alice", "alice")
    assert (made["status"], made["authSessionId"]) == ("done", "alice")
    assert await logins.status("alice") == "READY"
    answer = await logins.run("alice")
    assert answer["status"] == "completed", answer
    assert answer["result"]["member"] == "Alice"
    assert (await logins.account("alice"))["logins"] == before + 1
    # What the site keeps in the browser comes back, too, and what it changed there.
    again = await logins.run("alice")
    assert again["result"]["cart"] == answer["result"]["cart"]
    assert again["result"]["opened"] > answer["result"]["opened"]
    assert await logins.delete("alice") == 204
    assert await logins.status("alice") is None


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=pytest.mark.scale)])
async def test_many_runs_on_an_expired_login_log_in_once(logins: AuthStates, count: int) -> None:
    await logins.create("crowd", "bob")
    await logins.expire("bob")
    before = (await logins.account("bob"))["logins"]
    run_ids = await asyncio.gather(*(logins.start("crowd", authSession={"checkAttempts": 1}) for _ in range(count)))
    answers = await asyncio.gather(*(logins.stack.result(run_id, project=logins.project) for run_id in run_ids))
    assert {answer["status"] for answer in answers} == {"completed"}, answers
    assert (await logins.account("bob"))["logins"] == before + 1
    assert await logins.status("crowd") == "READY"


async def test_a_login_that_may_not_be_made_anew_cancels_the_run(logins: AuthStates) -> None:
    await logins.create("final", "alice")
    await logins.expire("alice")
    answer = await logins.run("final", authSession={"autoRecreate": False, "checkAttempts": 2})
    assert (answer["status"], answer["reason"]["type"]) == ("canceled", "auth-session-validate-dependency-failed")
    details = answer["reason"]["details"]
    assert details["error"]["code"] == "check-attempts-failed"
    assert details["error"]["details"]["last_error"]["code"] == "auth-check-failed"
    assert await logins.status("final") == "EXPIRED"
    validate = await logins.stack.result(details["validateRunId"], project=logins.project)
    assert (validate["status"], validate["error"]["code"]) == ("failed", "check-attempts-failed")
    # By the next one that may, it is made anew.
    assert (await logins.run("final"))["status"] == "completed"
    assert await logins.status("final") == "READY"


async def test_a_password_that_parameters_refer_to_is_looked_up_for_each_attempt(stack: Stack) -> None:
    guarded = AuthStates(stack, "guarded")
    parameters = {"password": {"$secret": "PASSWORD_OF_SITE"}, "fail": True}

    async def create(name: str, **changed: object) -> dict[str, Any]:
        body = {"id": name, "parameters": {**parameters, **changed}, "createAttempts": 1}
        return await guarded.operation("create", "create", body)

    async def set_password(value: str) -> None:
        body = {"value": value, "secret": True, "scopes": ["AUTHORING"]}
        await stack.request("PUT", "env-vars/PASSWORD_OF_SITE", project="guarded", json=body)

    missing = await create("referring")
    assert "The secret PASSWORD_OF_SITE is not there" in missing["error"]["message"]
    await set_password("first-password")
    refused = await create("referring")
    assert "the site does not take ***" in refused["error"]["message"], "it is masked"
    assert (await create("referring", fail=False))["status"] == "done"
    await set_password("second-password")
    auth = {"id": "referring"}
    run_id = await stack.start("list-orders", {}, project="guarded", authSession=auth)
    told = (await stack.result(run_id, project="guarded"))["result"]
    assert (told["cookies"], told["parameters"]) == (
        {"login": "first-password"},
        {"password": "***", "fail": False},
    ), "the login is that of before, and the password is that of now"
    assert await guarded.delete("referring") == 204
    await stack.request("DELETE", "env-vars/PASSWORD_OF_SITE", project="guarded")


async def test_an_auth_session_of_a_single_run_is_gone_with_it(stack: Stack) -> None:
    auth = {"runtimeInput": {"password": "for-one-run-only"}}
    answer = await stack.run("list-orders", project="guarded", authSession=auth)
    assert answer["result"]["cookies"] == {"login": "for-one-run-only"}
    assert "for this Run alone" in answer["result"]["parameters"]  # why there are none
    assert [each for each in await stack.get("auth-sessions", project="guarded") if each["type"] == "RUNTIME"] == []
    kept = stack.data / "artifacts" / "auth-sessions" / "guarded"
    await until(lambda: not list(kept.glob("~*/*")))


async def test_a_recorded_login_is_imported_used_and_recorded_anew(stack: Stack) -> None:
    recorded = AuthStates(stack, "recorded")

    async def record(value: str) -> None:
        cookie = {"name": "login", "value": value, "domain": "127.0.0.1", "path": "/", "expires": -1}
        state = {"cookies": [{**cookie, "httpOnly": True, "secure": False, "sameSite": "Lax"}], "origins": []}
        answer = await recorded.request("POST", "import", json={"id": "by-hand", "state": state})
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"id": "by-hand", "type": "RECORDER", "status": "READY"}

    await record("expired")
    failed = await recorded.validate("by-hand", checkAttempts=1)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "check-attempts-failed")
    assert await recorded.status("by-hand") == "EXPIRED"
    await record("by-a-person")
    answer = await stack.run("list-orders", project="recorded", authSession={"id": "by-hand"})
    assert answer["result"]["cookies"] == {"login": "by-a-person"}
