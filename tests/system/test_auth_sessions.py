"""AuthSessions on the real stack, against the example site: no automation runs with a dead login."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.example_auth_sessions import AuthStates
from tests.support.polling import until
from tests.support.stack import Stack


@pytest.fixture
def logins(stack: Stack) -> AuthStates:
    return AuthStates(stack)


@pytest.fixture
def guarded(stack: Stack) -> AuthStates:
    return AuthStates(stack, "guarded")


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


async def test_a_site_that_rotates_its_cookie_needs_no_new_login(logins: AuthStates) -> None:
    await logins.create("rotating", "rotating")
    before = (await logins.account("rotating"))["logins"]
    for _ in range(2):
        assert (await logins.run("rotating"))["status"] == "completed"
    assert (await logins.account("rotating"))["logins"] == before


@pytest.mark.parametrize("user", ["code", "flaky"])
async def test_a_login_may_take_a_code_or_a_second_try(logins: AuthStates, user: str) -> None:
    assert (await logins.create(f"own-{user}", user))["status"] == "done"


async def test_a_login_that_cannot_be_made_leaves_nothing(logins: AuthStates) -> None:
    failed = await logins.create("locked", "locked", createAttempts=2)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "create-attempts-failed")
    assert failed["error"]["details"]["attempts_count"] == 2
    await logins.until("locked", None)
    assert not list((logins.stack.data / "artifacts" / "auth-sessions" / "orders").glob("locked/*"))
    # The Create stays readable as the Run that it was.
    run = await logins.stack.result(failed["operationId"], project=logins.project)
    assert (run["status"], run["error"]["code"]) == ("failed", "create-attempts-failed")


async def test_an_update_that_fails_leaves_the_login_as_it_was(logins: AuthStates) -> None:
    await logins.create("kept", "alice")
    failed = await logins.update("kept", logins.parameters("alice", password="wrong-for-sure"), createAttempts=1)
    assert failed["status"] == "failed"
    assert await logins.status("kept") == "READY"
    await logins.expire("alice")
    assert (await logins.validate("kept"))["status"] == "done"  # made anew, with the old password
    updated = await logins.update("kept", logins.parameters("bob"))
    assert updated["status"] == "done"
    assert (await logins.run("kept"))["result"]["member"] == "Bob"


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


async def test_a_deleted_login_ends_the_runs_that_wait_for_it(guarded: AuthStates, tmp_path: Path) -> None:
    made = await guarded.operation(
        "create", "create", {"id": "short-lived", "parameters": {"password": "expired-in-a-moment"}}
    )
    assert made["status"] == "done"
    busy = [await start(guarded, "short-lived", folder=tmp_path) for _ in range(2)]
    await until(lambda: len(list(tmp_path.glob("api-*"))) == 2)
    waiting = await start(guarded, "short-lived", folder=tmp_path)
    assert await guarded.delete("short-lived") == 204
    (tmp_path / "go-api").touch()
    for run_id in busy:
        assert (await guarded.stack.result(run_id, project="guarded"))["status"] == "completed"
    answer = await guarded.stack.result(waiting, project="guarded")
    assert (answer["status"], answer["reason"]["type"]) == ("canceled", "auth-session-validate-dependency-failed")
    assert "deleted" in answer["message"]


async def test_user_code_knows_its_login(guarded: AuthStates) -> None:
    parameters = {"password": "known-to-the-code", "more": [1, "é"]}
    await guarded.operation("create", "create", {"id": "known", "parameters": parameters})
    answer = await result(guarded, await start(guarded, "known"))
    assert answer["id"] == "known"
    assert answer["parameters"] == parameters
    assert answer["cookies"] == {"login": "known-to-the-code"}
    assert [cookie["name"] for cookie in answer["state"]["cookies"]] == ["login"]


async def test_an_auth_session_of_a_single_run_is_gone_with_it(guarded: AuthStates, stack: Stack) -> None:
    auth = {"runtimeInput": {"password": "for-one-run-only"}}
    run_id = await stack.start("list-orders", {}, project="guarded", authSession=auth)
    answer = await result(guarded, run_id)
    assert answer["cookies"] == {"login": "for-one-run-only"}
    assert "for this Run alone" in answer["parameters"]  # why there are none
    listed = (await guarded.request("GET")).json()
    assert not [each for each in listed if each["type"] == "RUNTIME"]
    kept = stack.data / "artifacts" / "auth-sessions" / "guarded"
    await until(lambda: not list(kept.glob("~*/*")))


async def test_a_recorded_login_is_imported_used_and_recorded_anew(stack: Stack) -> None:
    recorded = AuthStates(stack, "recorded")

    def state(value: str) -> dict[str, Any]:
        cookie = {"name": "login", "value": value, "domain": "127.0.0.1", "path": "/", "expires": -1}
        return {"cookies": [{**cookie, "httpOnly": True, "secure": False, "sameSite": "Lax"}], "origins": []}

    async def record(value: str) -> None:
        answer = await recorded.request("POST", "import", json={"id": "by-hand", "state": state(value)})
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"id": "by-hand", "type": "RECORDER", "status": "READY"}

    await record("by-a-person")
    assert (await result(recorded, await start(recorded, "by-hand")))["cookies"] == {"login": "by-a-person"}
    await record("expired")
    failed = await recorded.validate("by-hand", checkAttempts=1)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "check-attempts-failed")
    assert await recorded.status("by-hand") == "EXPIRED"
    refused = await recorded.request("POST", "by-hand/update", json={"parameters": {}})
    assert refused.status_code == 400
    await record("by-a-person-again")
    assert (await result(recorded, await start(recorded, "by-hand")))["cookies"] == {"login": "by-a-person-again"}


async def start(logins: AuthStates, name: str, *, folder: Path | None = None) -> str:
    parameters = {"folder": str(folder)} if folder else {}
    return await logins.stack.start("list-orders", parameters, project=logins.project, authSession={"id": name})


async def result(logins: AuthStates, run_id: str) -> dict[str, Any]:
    answer = await logins.stack.result(run_id, project=logins.project)
    assert answer["status"] == "completed", answer
    return answer["result"]
