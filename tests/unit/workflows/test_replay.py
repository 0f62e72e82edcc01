"""Runs in flight survive a change of the workflow's code: every recorded history replays."""

import base64
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    HandleUpdateInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from callboard.settings import Settings
from callboard.temporal.data_converter import data_converter
from tests.support.job_run_stage import JOB_RUN_WORKFLOWS
from tests.support.repository import REPOSITORY
from tests.support.run_stage import WORKFLOWS
from tests.support.shapes import SHAPES, histories_of
from workflows.alerts import AlertsWorkflow
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.bulk import BulkWorkflow
from workflows.deliver import DeliverWorkflow, SinkTestWorkflow
from workflows.deploy import DeployWorkflow
from workflows.fleet import FleetWorkflow
from workflows.inbox import InboxWorkflow
from workflows.live import DialLiveWorkflow
from workflows.project_changes import DeleteProjectWorkflow, MovePointerWorkflow
from workflows.sweep import SweepWorkflow

HISTORIES = sorted((REPOSITORY / "tests" / "histories").glob("*.json"))
_A_PATH_OF_A_MACHINE = re.compile(r"(?<![\w./-])/(bin|etc|home|mnt|opt|private|root|srv|tmp|usr|var|work|Users)\b")


def history(path: Path) -> WorkflowHistory:
    said = WorkflowHistory.from_json("", path.read_text())
    workflow_id = said.events[0].workflow_execution_started_event_attributes.workflow_id
    return WorkflowHistory(workflow_id or f"run-{path.stem}", said.events)


class Answers(Interceptor):
    """Notes how a replay answers updates: by run, in the order of their acceptance."""

    def __init__(self) -> None:
        self.given: dict[str, list[Any]] = {}

    @override
    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        given = self.given

        class Noting(WorkflowInboundInterceptor):
            @override
            async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
                answers = given.setdefault(workflow.info().run_id, [])
                place = len(answers)
                answers.append(None)
                try:
                    answer = await super().handle_update_handler(input)
                except ApplicationError as error:
                    answers[place] = error.type
                    raise
                answers[place] = json.loads(workflow.payload_converter().to_payload(answer).data or "null")
                return answer

        return Noting


def recorded_answers(recorded: WorkflowHistory) -> list[Any]:
    """How the updates of a history were answered, in the order of their acceptance."""
    events = [event.workflow_execution_update_completed_event_attributes for event in recorded.events]
    outcomes = {completed.meta.update_id: completed.outcome for completed in events}
    accepted = [event.workflow_execution_update_accepted_event_attributes for event in recorded.events]
    answers: list[Any] = []
    for update in (each.protocol_instance_id for each in accepted if each.protocol_instance_id):
        outcome = outcomes[update]
        if outcome.HasField("failure"):
            answers.append(outcome.failure.application_failure_info.type)
        else:
            answers.append(json.loads(outcome.success.payloads[0].data or "null"))
    return answers


async def replay_all(converter: DataConverter, answers: Answers | None = None) -> dict[str, Exception | None]:
    """By one worker for all of them: to make one costs more than to replay a history."""
    others = [DeliverWorkflow, SinkTestWorkflow, SweepWorkflow, FleetWorkflow, ApplyResourcesWorkflow, DeployWorkflow]
    of_projects = [MovePointerWorkflow, DeleteProjectWorkflow, BulkWorkflow, InboxWorkflow, AlertsWorkflow]
    workflows = [*WORKFLOWS, *JOB_RUN_WORKFLOWS, *others, *of_projects, DialLiveWorkflow]
    interceptors = [] if answers is None else [answers]
    # Its detector of deadlocks would let a replay fail that a busy machine holds up for two seconds.
    replayer = Replayer(workflows=workflows, data_converter=converter, interceptors=interceptors, debug_mode=True)
    replayed: dict[str, Exception | None] = {}

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for path in HISTORIES:
            yield history(path)

    async with replayer.workflow_replay_iterator(histories()) as results:
        async for result in results:
            replayed[result.history.run_id] = result.replay_failure
    assert len(replayed) == len(HISTORIES)
    return replayed


@dataclass(frozen=True)
class Replayed:
    failures: dict[str, Exception | None]
    """What each replay failed with."""
    answers: Answers


@pytest.fixture(scope="module")
async def replayed() -> Replayed:
    answers = Answers()
    return Replayed(await replay_all(pydantic_data_converter, answers), answers)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_history_replays(path: Path, replayed: Replayed):
    failure = replayed.failures[history(path).run_id]
    if failure is not None:
        raise failure


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_replay_answers_updates_as_they_were_answered(path: Path, replayed: Replayed):
    """A replay alone does not compare answers."""
    recorded = history(path)
    assert replayed.answers.given.get(recorded.run_id, []) == recorded_answers(recorded)


async def test_all_of_them_replay_on_a_worker_that_encrypts():
    settings = Settings(secret_key=[SecretStr("a-key-of-the-test")], encrypt_payloads=True)
    failed = await replay_all(data_converter(settings, "default"))
    assert {run_id: failure for run_id, failure in failed.items() if failure is not None} == {}


def test_every_shape_has_its_history():
    wanted = [name for shape in SHAPES for name in histories_of(shape)]
    assert [name for name in wanted if name not in {path.stem for path in HISTORIES}] == [], "see `make histories`"


def texts(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, part in value.items():
                yield from texts(part, key)
        case list():
            for part in value:
                yield from texts(part)
        case str():
            # Payloads, and their encoding, are base64 of text.
            yield base64.b64decode(value).decode() if name in {"data", "encoding", "messageType"} else value
        case _:
            pass


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_the_history_says_nothing_of_the_machine_it_was_recorded_on(path: Path):
    host = re.compile(rf"(?<![\w-]){re.escape(socket.gethostname())}(?![\w-])")
    told = list(texts(json.loads(path.read_text())))
    assert "recorder" in told
    assert [text for text in told if host.search(text) or _A_PATH_OF_A_MACHINE.search(text)] == []
