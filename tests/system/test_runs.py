"""Runs through the whole stack: REST, Temporal, worker, Machine, browser, and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.machine_processes import USER, find_process
from tests.support.polling import until
from tests.support.soak import Soak


def last_error(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["status"] == "failed", answer
    return answer["error"]["details"]["last_error"]


async def test_the_example_shop_is_read_page_by_page(stack: Any) -> None:
    answer = await stack.run("list-products", {"baseUrl": stack.site, "pages": 2}, project="shop")
    assert answer["status"] == "completed"
    assert len(answer["result"]["products"]) == 20


async def test_a_flaky_page_costs_attempts_and_not_the_run(stack: Any) -> None:
    parameters = {"baseUrl": stack.site, "key": "whole-stack", "failures": 2}
    run_id = await stack.start("flaky", parameters, project="shop")
    assert (await stack.result(run_id, project="shop"))["status"] == "completed"
    records = sorted((stack.data / "artifacts" / "runs" / "shop" / run_id).glob("attempts/*/attempt.json"))
    assert [json.loads(record.read_text())["status"] for record in records] == ["failed", "failed", "completed"]


async def test_parameters_and_result_keep_any_unicode(stack: Any) -> None:
    given = {"text": 'é 漢 🎭 \u0000 \u2028 \\ " </script>', "number": 2**70, "fraction": 0.1, "none": None}
    answer = await stack.run("echo", given)
    assert answer["result"] == given


async def test_large_parameters_and_results_travel_as_artifacts(stack: Any) -> None:
    given = {"text": "é" * 100_000}
    run_id = await stack.start("echo", given)
    assert (await stack.result(run_id))["result"] == given
    artifacts = stack.data / "artifacts" / "runs" / "lab" / run_id
    assert list(artifacts.glob("parameters-*.json"))
    assert (artifacts / "attempts" / "1" / "result.json").exists()


async def test_nested_names_with_hyphens_and_leading_digits_run(stack: Any) -> None:
    assert (await stack.run("nested/01-deep-name"))["result"] == "nested/01-deep-name"


async def test_extended_payloads_and_run_info_come_back(stack: Any) -> None:
    run_id = await stack.start("payloads")
    answer = await stack.result(run_id)
    assert answer["result"] == {"runId": run_id, "authSessionId": None}
    assert answer["extendedPayloads"] == [{"api": "echo", "parameters": {"n": 1}}]


async def test_all_attempts_failed(stack: Any) -> None:
    answer = await stack.run("fail", retry={"maximumAttempts": 2})
    assert answer["error"]["code"] == "api-attempts-failed"
    assert answer["message"] == answer["error"]["message"] == "ValueError: the price is missing (api/fail.py:2)"
    assert answer["error"]["details"]["attempts_count"] == 2
    assert last_error(answer)["code"] == "script-execution-exception"


@pytest.mark.parametrize(
    ("api", "code", "words"),
    [
        ("never-again", "script-execution-exception", "the account is closed"),
        ("not-a-coroutine", "script-execution-exception", "not a coroutine function"),
    ],
)
async def test_a_failure_that_no_attempt_can_mend_ends_the_run_at_once(
    stack: Any, api: str, code: str, words: str
) -> None:
    run_id = await stack.start(api)
    answer = await stack.result(run_id)
    assert (answer["status"], answer["error"]["code"]) == ("failed", code)
    assert words in answer["message"]
    assert len(list((stack.data / "artifacts/runs/lab" / run_id).glob("attempts/*"))) == 1


async def test_refuses_a_result_only_over_two_mebibytes(stack: Any) -> None:
    quotes = 2
    fits = await stack.run("big", {"size": 2 * 1024 * 1024 - quotes})
    assert fits["status"] == "completed"
    answer = await stack.run("big", {"size": 2 * 1024 * 1024 - quotes + 1})
    assert answer["error"]["code"] == "result-too-big-error"
    assert answer["error"]["details"]["sizeInBytes"] == 2 * 1024 * 1024 + 1


async def test_a_result_that_is_not_json_fails_with_the_script_s_error(stack: Any) -> None:
    answer = await stack.run("not-json")
    assert answer["error"]["code"] == "script-execution-exception"
    assert answer["message"] == "result.page: a Page has no JSON form"


async def test_a_crash_is_told_as_one(stack: Any) -> None:
    answer = await stack.run("crash", retry={"maximumAttempts": 1})
    assert last_error(answer) == {
        "code": "script-process-crashed",
        "category": "infrastructure",
        "message": "Process exited unexpectedly with code 3.",
    }


@pytest.mark.parametrize("api", ["wait", "spin", "stubborn"])
async def test_an_attempt_that_takes_too_long_fails_whatever_its_code_does(stack: Any, api: str) -> None:
    answer = await stack.run(api, {"seconds": 3600}, requestTimeout=1, retry={"maximumAttempts": 1})
    assert last_error(answer)["code"] == "script-timeout"


async def test_extend_timeout_restarts_the_clock(stack: Any) -> None:
    answer = await stack.run("extend", {"times": 4, "seconds": 0.7}, requestTimeout=2, retry={"maximumAttempts": 1})
    assert answer.get("result") == "extended", answer


async def attempts_of(stack: Any, run_id: str) -> tuple[int, int]:
    """How many Attempts a Run says to have had, and how many it tells of."""
    known = await stack.get(f"runs/{run_id}")
    return known["attemptCount"], len(known["attempts"])


@pytest.mark.parametrize("api", ["wait", "spin", "stubborn"])
async def test_a_running_run_is_canceled_and_only_then_says_so(stack: Any, api: str, tmp_path: Path) -> None:
    began = tmp_path / "began"
    run_id = await stack.start(api, {"seconds": 3600, "began": str(began)})
    await until(began.exists)
    assert (await stack.result(run_id, wait=0))["status"] == "started"
    running = {
        Path(keeper.cmdline()[4]): find_process(keeper.pid, USER) for keeper in Soak(stack.dev, tmp_path).keepers()
    }
    answer = await stack.cancel(run_id)
    assert (answer["status"], answer["reason"]["type"]) == ("canceled", "cancelled-user-action")
    record = json.loads((stack.data / "artifacts/runs/lab" / run_id / "attempts/1/attempt.json").read_text())
    assert record["status"] == "canceled"
    assert await attempts_of(stack, run_id) == (1, 1)
    # Its process is gone, and the Machine is there for the next one.
    scratch = stack.data / "workers" / record["worker"] / "scratch" / record["machine"]
    assert not psutil.pid_exists(running[scratch])
    assert scratch in {Path(keeper.cmdline()[4]) for keeper in Soak(stack.dev, tmp_path).keepers()}
    assert await stack.cancel(run_id) == answer


async def test_a_finished_run_is_left_as_it_is_by_a_cancel(stack: Any) -> None:
    run_id = await stack.start("echo")
    answer = await stack.result(run_id)
    assert await stack.cancel(run_id) == answer


async def test_as_many_runs_run_at_once_as_there_are_machines_and_the_rest_wait(stack: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"

    def parameters(n: int) -> dict[str, Any]:
        return {"began": str(tmp_path / f"began-{n}"), "go": str(go), "value": n}

    runs = [await stack.start("until-told", parameters(n)) for n in range(6)]
    await until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    statuses = [(await stack.result(run_id, wait=0))["status"] for run_id in runs]
    assert sorted(statuses) == ["pending"] * 4 + ["started"] * 2
    waiting = statuses.index("pending")
    canceled = await stack.cancel(runs[waiting])
    assert canceled["status"] == "canceled"
    assert await attempts_of(stack, runs[waiting]) == (0, 0)
    go.touch()
    answers = await asyncio.gather(*(stack.result(run_id) for run_id in runs))
    assert [answer.get("result") for answer in answers] == [n if n != waiting else None for n in range(6)]
    assert not (tmp_path / f"began-{waiting}").exists()


async def test_a_second_start_with_the_same_key_and_body_is_the_same_run(stack: Any) -> None:
    headers = {"Idempotency-Key": "whole-1"}
    body = {"api": "echo", "parameters": {"n": 1}}
    first = await stack.request("POST", "run/start", json=body, headers=headers)
    assert (await stack.result(first.json()["runId"]))["status"] == "completed"
    again = await stack.request("POST", "run/start", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    changed = {**body, "parameters": {"n": 2}}
    other = await stack.request("POST", "run/start", json=changed, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


async def test_a_run_of_another_project_is_not_found(stack: Any) -> None:
    run_id = await stack.start("echo")
    for method, rest in (("GET", "result"), ("POST", "cancel")):
        answer = await stack.request(method, f"run/{run_id}/{rest}", project="shop")
        assert answer.status_code == 404


async def test_what_a_project_does_not_allow_is_refused_before_anything_starts(stack: Any) -> None:
    async def refused(project: str, **body: Any) -> tuple[int, str]:
        answer = await stack.request("POST", "run/start", project=project, json={"parameters": {}, **body})
        return answer.status_code, answer.json()["message"]

    assert (await refused("closed", api="echo"))[0] == 403
    assert (await refused("broken", api="echo"))[0] == 404
    assert (await refused("lab", api="no-such"))[0] == 404
    status, message = await refused("members", api="echo")
    assert status == 400
    assert "Auth session is required for auth session validation runs" in message


async def test_a_broken_project_is_named_and_the_others_are_served(stack: Any) -> None:
    (broken,) = [project for project in stack.dev.projects.broken if project.folder.name == "broken"]
    assert "replication.maxConcurrentRequests" in broken.reason
    assert {manifest.project for manifest in stack.dev.projects.deployed} >= {
        "browser",
        "closed",
        "helpers",
        "lab",
        "members",
        "shop",
    }
    assert (await stack.http.get("/readyz")).status_code == 200
