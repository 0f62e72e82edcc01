"""Logs as text and as JSON, as processes write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.repository import REPOSITORY

PREAMBLE = """
import logging, sys, threading, warnings
from callboard.telemetry.logs import configure_logging
from callboard.telemetry.log_context import add_log_fields, log_fields
configure_logging()
log = logging.getLogger("part")
"""


def written(code: str, log_format: str) -> str:
    """What a process that executes this writes to standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code],
        env=os.environ | {"CALLBOARD_LOG_FORMAT": log_format},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == ""
    return ended.stderr


def records(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(code, "json").splitlines()]


def test_a_record_is_one_line_with_what_it_belongs_to() -> None:
    code = """
with log_fields(runId="run-1", attempt=2, project=None):
    add_log_fields(project="shop")
    log.warning("Line one\\nand %s: ü", "two")
log.info("Outside")
"""
    inside, outside = records(code)
    assert inside.pop("time").endswith("+00:00")
    assert inside == {
        "level": "WARNING",
        "logger": "part",
        "message": "Line one\nand two: ü",
        "runId": "run-1",
        "attempt": 2,
        "project": "shop",
    }
    assert outside.keys() == {"time", "level", "logger", "message"}


def test_an_exception_is_in_a_field() -> None:
    (record,) = records("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('It failed')\n")
    assert record["message"] == "It failed"
    assert record["exception"].startswith("Traceback")
    assert record["exception"].endswith("ZeroDivisionError: division by zero")


FAILS = "def fail(): raise RuntimeError('nobody has caught this')\n"
FAILS_IN_TASK = """
import asyncio
async def fails(): fail()
async def main():
    asyncio.create_task(fails())
    await asyncio.sleep(0)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('nobody has caught this')",
        FAILS + "thread = threading.Thread(target=fail); thread.start(); thread.join()",
        FAILS + FAILS_IN_TASK,
    ],
    ids=["main thread", "thread", "task"],
)
def test_an_exception_that_nobody_has_caught_is_one_record(code: str) -> None:
    (record,) = records(code)
    assert "RuntimeError: nobody has caught this" in record["exception"]


def test_a_warning_of_python_is_a_record() -> None:
    (record,) = records("warnings.warn('This is old', UserWarning)")
    assert (record["logger"], record["level"]) == ("py.warnings", "WARNING")
    assert "This is old" in record["message"]


def test_a_record_of_a_workflow_names_its_run_and_tells_no_extras() -> None:
    code = """
for kind in ("Run", "Deliver"):
    extra = {"temporal_workflow": {"workflow_id": "id-1", "workflow_type": kind}, "password": "hidden"}
    log.info("Something", extra=extra)
"""
    of_run, of_delivery = records(code)
    assert of_run["runId"] == of_delivery["workflowId"] == "id-1"
    assert "hidden" not in str([of_run, of_delivery])


def test_text_names_run_and_attempt_unless_the_message_does() -> None:
    code = """
with log_fields(runId="run-1", attempt=2, project="shop"):
    log.info("It began")
    log.info("Run run-1 began")
log.info("Outside")
"""
    lines = [line.split("INFO ")[1] for line in written(code, "text").splitlines()]
    assert lines == ["part: [Run run-1, Attempt 2] It began", "part: Run run-1 began", "part: Outside"]


BREAKS = """
import asyncio
import logging
from pathlib import Path
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.runtime import Runtime
from callboard.telemetry.runtime import make_runtime

@workflow.defn(name="Run")
class Hasty:
    @workflow.run
    async def run(self, _input: dict) -> None:
        pass

class Told(logging.Handler):
    def emit(self, record):
        if "Nondeterminism" in record.getMessage():
            loop.call_soon_threadsafe(told.set)

async def main():
    global loop, told
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    logging.getLogger().addHandler(Told())  # the last one: then the record is written
    Runtime.set_default(make_runtime(None))
    history = WorkflowHistory.from_json("run-retry", Path("tests/histories/retry.json").read_text())
    try:
        await Replayer(workflows=[Hasty], workflow_runner=UnsandboxedWorkflowRunner()).replay_workflow(history)
    except workflow.NondeterminismError:
        await asyncio.wait_for(told.wait(), 30)  # the core hands its records over from a thread

asyncio.run(main())
"""
"""Code by which the core of Temporal's SDK has something to complain of."""


def test_the_core_of_the_sdk_logs_records_like_all_others() -> None:
    of_core = [record for record in records(BREAKS) if record["logger"] == "temporalio.core"]
    assert any("Nondeterminism" in record["message"] for record in of_core)
    assert {record["level"] for record in of_core} <= {"WARNING", "ERROR"}


@pytest.mark.parametrize("part", ["api", "worker"])
def test_a_part_that_cannot_start_says_so_in_one_record(part: str) -> None:
    variables = {"CALLBOARD_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", part],
        env=os.environ | {"CALLBOARD_API_KEYS": "a-key-that-is-long-enough", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    *_, record = [json.loads(line) for line in ended.stderr.splitlines()]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT must be an address like" in record["message"]


def test_a_wrong_format_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api"],
        env=os.environ | {"CALLBOARD_LOG_FORMAT": "xml"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "CALLBOARD_LOG_FORMAT: Input should be 'text' or 'json'" in ended.stderr
