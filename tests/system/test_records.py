"""Records of Runs on the real stack: lists while Runs come and go, and all that is told of one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Stack


async def test_a_run_that_waits_says_for_what(stack: Stack, tmp_path: Path) -> None:
    go = tmp_path / "go"
    held = [
        await stack.start("until-told", {"began": str(tmp_path / str(number)), "go": str(go)}) for number in range(2)
    ]
    try:
        for run_id in held:
            await stack.until_status(run_id, "started")
        waiting = [await stack.start("echo") for _ in range(3)]
        # Temporal counts in what it lists, and workers speak of their Machines every ten seconds.
        expected = {"ahead": 2, "machinesBusy": 2, "machines": 2, "paused": False, "lease": None, "preparing": False}
        answer = await stack.until(f"runs/{waiting[2]}", lambda run: run["waiting"] == expected)
        assert (answer["status"], answer["startedAt"], answer["attempts"]) == ("pending", None, [])
        started = await stack.until(f"runs/{held[0]}", lambda run: run["attemptCount"] == 1)
        assert (started["waiting"], started["attempts"][0]["status"]) == (None, "started")
        assert started["attempts"][0]["log"] is not None
        await until_machines(stack, {"wanted": 2, "held": 2, "busy": 2, "warm": 0})
        lines = (await stack.get("runs", status=["pending", "started"]))["runs"]
        assert {*held, *waiting} <= {line["runId"] for line in lines}
        assert {line["endedAt"] for line in lines} == {None}
    finally:
        go.touch()
    for run_id in [*held, *waiting]:
        assert (await stack.result(run_id))["status"] == "completed"
    # Their browsers stay, for a while.
    await until_machines(stack, {"wanted": 2, "held": 2, "busy": 0, "warm": 2})


async def until_machines(stack: Stack, expected: dict[str, int]) -> None:
    await stack.until("", lambda project: {name: project["machines"][name] for name in expected} == expected)


async def test_a_run_with_a_login_tells_its_validates_and_who_made_the_login(stack: Stack) -> None:
    logins = AuthStates(stack)
    orders: dict[str, Any] = {"project": logins.project}
    await logins.create("told", "alice")
    await logins.expire("alice")
    run_id = await logins.start("told", authSession={"checkAttempts": 1})
    assert (await stack.result(run_id, **orders))["status"] == "completed"
    told = await stack.until(
        f"runs/{run_id}", lambda run: any(line["createRunId"] for line in run["validates"]), **orders
    )
    assert told["authSessionId"] == told["input"]["authSession"]["id"] == "told"
    (line,) = told["validates"]
    assert (line["runId"], line["attempt"], line["status"]) == (f"{run_id}-v1", 1, "completed")

    validate = await stack.get(f"runs/{line['runId']}", **orders)
    assert (validate["type"], validate["parentRunId"], validate["api"]) == ("auth-session-validate", run_id, None)
    assert {attempt["kind"] for attempt in validate["attempts"]} == {"check"}
    begins = [datetime.fromisoformat(each["startedAt"]) for each in (told, validate)]
    assert begins[0] == begins[1], "a Run begins with its Validate"
    create = await stack.get(f"runs/{line['createRunId']}", **orders)
    assert (create["type"], create["parentRunId"]) == ("auth-session-create", line["runId"])
    assert (create["input"]["parameters"], create["status"]) == ("***", "completed")
    assert [attempt["kind"] for attempt in create["attempts"]] == ["create"]

    query: dict[str, Any] = {"type": ["auth-session-validate", "auth-session-create"], "authSession": "told"}
    listed = (await stack.get("runs", **orders, **query))["runs"]
    assert {line["runId"], create["runId"]} <= {each["runId"] for each in listed}
    assert {each["authSessionId"] for each in listed} == {"told"}
    await logins.delete("told")
