"""Runs through the whole stack: REST, Temporal, worker, Machine, browser, and back."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.machines import USER, find_process
from tests.support.polling import until
from tests.support.soak import Soak


async def test_all_attempts_failed(stack: Any) -> None:
    answer = await stack.run("fail", retry={"maximumAttempts": 2})
    assert answer["error"]["code"] == "api-attempts-failed"
    assert answer["message"] == answer["error"]["message"] == "ValueError: the price is missing (api/fail.py:2)"
    assert answer["error"]["details"]["attempts_count"] == 2
    assert answer["error"]["details"]["last_error"]["code"] == "script-execution-exception"


async def attempts_of(stack: Any, run_id: str) -> tuple[int, int]:
    """How many Attempts a Run says to have had, and how many it tells of."""
    known = await stack.get(f"runs/{run_id}")
    return known["attemptCount"], len(known["attempts"])


async def test_a_running_run_is_canceled_and_only_then_says_so(stack: Any, tmp_path: Path) -> None:
    began = tmp_path / "began"
    run_id = await stack.start("stubborn", {"seconds": 3600, "began": str(began)})
    await until(began.exists)
    assert (await stack.result(run_id, wait=0))["status"] == "started"
    running: dict[Path, int] = {}
    for keeper in Soak(stack.dev, tmp_path).keepers():
        with suppress(LookupError):  # another Machine may be starting
            running[Path(keeper.cmdline()[4])] = find_process(keeper.pid, USER)
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
