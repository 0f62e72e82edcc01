"""Records of Runs on the real stack: lists while Runs come and go, and all that is told of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Stack


class Runs:
    """The calls about records of a project."""

    def __init__(self, stack: Stack, project: str = "lab") -> None:
        self._stack = stack
        self._project = project

    async def get(self, place: str = "", **query: Any) -> Any:
        return await self._stack.get(f"runs{place}", project=self._project, **query)

    async def all(self, **query: Any) -> list[dict[str, Any]]:
        """Every page."""
        runs, cursor = list[dict[str, Any]](), dict[str, Any]()
        while True:
            page = await self.get(**query, **cursor)
            runs += page["runs"]
            if page["nextCursor"] is None:
                return runs
            cursor = {"cursor": page["nextCursor"]}

    async def until(self, condition: Callable[[dict[str, Any]], bool], place: str = "", **query: Any) -> dict[str, Any]:
        return await self._stack.until(f"runs{place}", condition, project=self._project, **query)


@pytest.fixture
def runs(stack: Stack) -> Runs:
    return Runs(stack)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_run_that_failed_tells_its_attempts_and_the_list_says_why(stack: Stack, runs: Runs) -> None:
    run_id = await stack.start("fail", {"n": 1}, retry={"maximumAttempts": 2})
    assert (await stack.result(run_id))["status"] == "failed"
    answer = await runs.get(f"/{run_id}")
    assert [(attempt["number"], attempt["kind"], attempt["status"]) for attempt in answer["attempts"]] == [
        (1, "api", "failed"),
        (2, "api", "failed"),
    ]
    assert answer["attemptCount"] == 2
    assert answer["error"]["code"] == "api-attempts-failed"
    first = answer["attempts"][0]
    assert first["error"]["message"] == "ValueError: the price is missing (api/fail.py:2)"
    assert at(answer["createdAt"]) < at(answer["startedAt"]) == at(first["startedAt"]) < at(answer["endedAt"])
    assert (answer["input"]["parameters"], answer["input"]["retry"]) == ({"n": 1}, {"maximumAttempts": 2})
    assert answer["temporal"]["url"].startswith(stack.dev.temporal.ui_url)

    def listed(summary: dict[str, Any]) -> bool:
        return any(run["runId"] == run_id for run in summary["runs"])

    found = await runs.until(listed, status="failed", api="fail", startedAfter=answer["createdAt"])
    (line,) = [run for run in found["runs"] if run["runId"] == run_id]
    assert line["error"] == {
        "code": "api-attempts-failed",
        "message": "ValueError: the price is missing (api/fail.py:2)",
    }
    names = (
        "runId",
        "type",
        "status",
        "api",
        "project",
        "version",
        "createdAt",
        "startedAt",
        "endedAt",
        "attemptCount",
    )
    assert [line[name] for name in names] == [answer[name] for name in names]


async def test_a_run_that_waits_says_for_what(stack: Stack, runs: Runs, tmp_path: Path) -> None:
    go = tmp_path / "go"
    held = [
        await stack.start("until-told", {"began": str(tmp_path / str(number)), "go": str(go)}) for number in range(2)
    ]
    try:
        for run_id in held:
            await stack.until_status(run_id, "started")
        waiting = [await stack.start("echo") for _ in range(3)]
        # Temporal counts in what it lists, and workers speak of their Machines every ten seconds.
        expected = {"ahead": 2, "machinesBusy": 2, "machines": 2, "paused": False}
        answer = await runs.until(lambda run: run["waiting"] == expected, f"/{waiting[2]}")
        assert (answer["status"], answer["startedAt"], answer["attempts"]) == ("pending", None, [])
        started = await runs.until(lambda run: run["attemptCount"] == 1, f"/{held[0]}")
        assert (started["waiting"], started["attempts"][0]["status"]) == (None, "started")
        assert started["attempts"][0]["log"] is not None
        await until_machines(stack, {"wanted": 2, "held": 2, "busy": 2, "warm": 0})
        lines = await runs.all(status=["pending", "started"])
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


async def test_pages_leave_no_run_out_while_others_start_and_end(stack: Stack, runs: Runs) -> None:
    there = {await stack.start("echo", {"n": number}) for number in range(12)}
    # A start shows within two seconds.
    await runs.until(lambda page: there <= {run["runId"] for run in page["runs"]}, limit=200)
    over = asyncio.Event()

    async def keep_starting() -> None:
        while not over.is_set():
            await stack.result(await stack.start("echo"))

    starting = asyncio.create_task(keep_starting())
    try:
        ended = 0
        while ended < len(there):
            lines = await runs.all(limit=3, api="echo")
            assert there <= {line["runId"] for line in lines}
            last = {line["runId"]: line["status"] for line in lines}
            ended = sum(last[run_id] == "completed" for run_id in there)
    finally:
        over.set()
        await starting


async def test_a_run_with_a_login_tells_its_validates_and_who_made_the_login(stack: Stack) -> None:
    logins = AuthStates(stack)
    runs = Runs(stack, logins.project)
    await logins.create("told", "alice")
    run_id = await logins.start("told")
    answer = await stack.result(run_id, project=logins.project)
    assert answer["status"] == "completed", answer
    told = await runs.until(lambda run: bool(run["validates"]), f"/{run_id}")
    assert told["authSessionId"] == told["input"]["authSession"]["id"] == "told"
    assert told["validates"] == [
        {"runId": f"{run_id}-v1", "attempt": 1, "status": "completed", "createRunId": None},
    ]
    validate = await runs.get(f"/{run_id}-v1")
    assert (validate["type"], validate["parentRunId"], validate["api"]) == ("auth-session-validate", run_id, None)
    assert [(attempt["kind"], attempt["status"]) for attempt in validate["attempts"]] == [("check", "completed")]
    assert at(told["startedAt"]) == at(validate["startedAt"]), "a Run begins with its Validate"

    await logins.expire("alice")
    run_id = await logins.start("told", authSession={"checkAttempts": 1})
    await stack.result(run_id, project=logins.project)
    told = await runs.until(lambda run: any(line["createRunId"] for line in run["validates"]), f"/{run_id}")
    create = await runs.get(f"/{told['validates'][0]['createRunId']}")
    assert (create["type"], create["parentRunId"]) == ("auth-session-create", f"{run_id}-v1")
    assert (create["input"]["parameters"], create["status"]) == ("***", "completed")
    assert [attempt["kind"] for attempt in create["attempts"]] == ["create"]
    types = ["auth-session-validate", "auth-session-create"]
    listed = await runs.all(type=types, authSession="told")
    assert {told["validates"][0]["runId"], create["runId"]} <= {line["runId"] for line in listed}
    assert {line["authSessionId"] for line in listed} == {"told"}
    await logins.delete("told")


async def test_a_run_again_has_the_same_inputs_and_both_say_so(stack: Stack, runs: Runs) -> None:
    given = {"text": "é" * 100_000}
    first = await stack.start("echo", given, saveTrace=False)
    assert (await stack.result(first))["result"] == given
    second = (await stack.post(f"runs/{first}/rerun"))["runId"]
    assert (await stack.result(second))["result"] == given
    told = await runs.get(f"/{second}")
    assert (told["rerunOf"], told["input"]["saveTrace"]) == (first, False)
    assert (await runs.get(f"/{first}"))["reruns"] == [second]


async def test_projects_are_told_with_their_machines(stack: Stack) -> None:
    project = await stack.get("")
    assert (project["name"], project["machines"]["wanted"]) == ("lab", 2)
    assert "nested/01-deep-name" in project["apis"]
    listed = (await stack.http.get(stack.path("").removesuffix("/lab"))).json()["projects"]
    assert {"lab", "orders", "shop"} <= {each["name"] for each in listed}
