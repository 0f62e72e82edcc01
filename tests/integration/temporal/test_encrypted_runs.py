"""Runs whose payloads are encrypted, on a real Temporal: nothing in clear, the same answers, and any switch of keys."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionStatus
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunStatus
from callboard.settings import Settings
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.client import connect
from callboard.temporal.listing import RunFilter
from callboard.temporal.run_queries import RunQueries
from callboard.temporal.runs import Runs, RunState
from tests.support.auth_session_calls import being
from tests.support.auth_stage import LoginStage
from tests.support.encryption import ENCRYPTION_KEY
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, failed, run_input
from tests.support.stage import WORKSPACE

PLANTED = "pl4nted-s3cret"


@pytest.fixture
def client(encrypted_client: Client) -> Client:
    """In place of the client of other tests."""
    return encrypted_client


@pytest.fixture
def sessions(client: Client) -> AuthSessions:
    return AuthSessions(client)


def texts(message: Any) -> Iterator[str]:
    """All texts in JSON, and what those hold that are base64."""
    match message:
        case dict():
            for key, value in message.items():
                yield key
                yield from texts(value)
        case list():
            for value in message:
                yield from texts(value)
        case str():
            yield message
            with suppress(ValueError):
                yield b64decode(message, validate=True).decode("utf-8", "replace")
        case _:
            pass


async def start(runs: Runs, stage: RunStage, **fields: Any) -> None:
    assert await runs.start(stage.run_id, run_input(stage.project, **fields), fingerprint="")


async def ended_state(runs: Runs, stage: RunStage) -> RunState:
    return await runs.get_state(WORKSPACE, stage.project, stage.run_id, wait=timedelta(seconds=20))


async def history(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """All that Temporal knows of a workflow, in clear as far as it is."""
    described = await handle.describe()
    found = list(texts(json.loads((await handle.fetch_history()).to_json())))
    return [*found, str(described.raw_description)]


async def test_a_run_leaves_nothing_in_clear_but_its_search_attributes(runs: Runs, stage: RunStage) -> None:
    parameters = json.dumps({"value": f"{PLANTED}-parameter"})
    await start(runs, stage, parameters=JsonRef(text=parameters, size=len(parameters)))
    await stage.serve_attempts(ends(failed(f"{PLANTED}-message")), ends(completed(f'"{PLANTED}-result"')))
    ended = await ended_state(runs, stage)
    assert ended.outcome
    assert ended.outcome.result == JsonRef(text=f'"{PLANTED}-result"', size=len(PLANTED) + 9)
    found = await history(stage.handle)
    assert not [text for text in found if PLANTED in text]
    assert not [text for text in found if WORKSPACE in text], "which stands in input and memo"
    events = (await stage.handle.fetch_history()).events
    plain = [json.loads(payload.data) for event in events for payload in payloads_in_clear(event)]
    notes = [each for each in plain if isinstance(each, dict)]  # the SDK's own, of the activity that reads variables
    assert {each["activity_type"] for each in notes} == {names.COLLECT_VARIABLES}
    allowed = {stage.project, "list", "pending", "started", "completed", "api"}
    assert {each for each in plain if each not in notes} <= allowed


def payloads_in_clear(message: Any) -> Iterator[Payload]:
    """All payloads in a message of Temporal, wherever they are, that are not encrypted."""
    if isinstance(message, Payload):
        if message.metadata.get("encoding") != b"binary/encrypted":
            yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            parts = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            parts = value if field.is_repeated else [value]
        for part in parts:
            yield from payloads_in_clear(part)


async def test_a_failure_tells_over_the_api_what_it_tells_without_encryption(runs: Runs, stage: RunStage) -> None:
    await start(runs, stage, maximum_attempts=1)
    await stage.serve_attempts(ends(failed(f"{PLANTED}-message")))
    ended = await ended_state(runs, stage)
    assert ended.outcome
    assert ended.outcome.error
    assert ended.outcome.error.message == f"{PLANTED}-message"

    page = await until(  # lists know of an end a moment later
        lambda: RunQueries(stage.client).list_runs(WORKSPACE, stage.project, RunFilter(), limit=5),
        true=lambda page: [run.status for run in page.runs] == [RunStatus.FAILED],
    )
    assert [run.cause and run.cause.message for run in page.runs] == [f"{PLANTED}-message"]
    (closed,) = [
        event.workflow_execution_failed_event_attributes.failure
        async for event in stage.handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED
    ]
    assert (closed.message, closed.stack_trace) == ("Encoded failure", "")
    assert closed.application_failure_info.type == "api-attempts-failed", "which operators filter by"
    assert not [text for text in await history(stage.handle) if PLANTED in text]


async def test_a_login_leaves_nothing_in_clear(login_stage: LoginStage, sessions: AuthSessions) -> None:
    await sessions.create(being(login_stage, create=login_stage.login_spec("create")))
    await login_stage.serve_attempts()
    await login_stage.until_status(AuthSessionStatus.READY)
    found: list[str] = []
    async for execution in login_stage.client.list_workflows(f"CallboardProject = '{login_stage.project}'"):
        found += await history(login_stage.client.get_workflow_handle(execution.id, run_id=execution.run_id))
    assert found
    assert not [text for text in found if WORKSPACE in text or "state-1" in text]


SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "on": ({"encrypt_payloads": False}, {}),
    "off": ({}, {"encrypt_payloads": False}),
    "rotated": ({}, {"secret_key": [SecretStr(ENCRYPTION_KEY[::-1]), SecretStr(ENCRYPTION_KEY)]}),
}
"""What is set before, and what afterwards, if not what the namespace has."""


@pytest.mark.parametrize("switch", SWITCHES)
async def test_a_run_in_flight_outlives_a_switch(encrypted: tuple[Settings, Client], switch: str) -> None:
    before, after = [await connect(encrypted[0].model_copy(update=changed)) for changed in SWITCHES[switch]]
    async with RunStage(before, f"switched-{switch}") as stage:
        held = HeldAttempt(stage)
        await stage.serve_runs()
        await stage.serve_attempts(ends(failed(f"{PLANTED}-first")), held)
        await stage.start(parameters=JsonRef(text='"in"', size=4))
        await held.began.wait()
        await stage.stop_serving_runs()
        stage.client = after
        await stage.serve_runs()
        held.end(completed('"out"'))
        outcome = await stage.ended()
        assert (outcome.status, outcome.result and outcome.result.text) == (RunStatus.COMPLETED, '"out"')
        assert outcome.attempts == 2
        described = await Runs(after).describe(WORKSPACE, stage.project, stage.run_id)
        assert await described.memo_value(names.MEMO_WORKSPACE) == WORKSPACE
        events = await stage.events()
        encrypted_at = ["binary/encrypted" in str(events[0]), "binary/encrypted" in str(events[-1])]
        assert encrypted_at == [switch != "on", switch != "off"]


async def test_a_workflow_waits_for_a_worker_that_has_the_key(encrypted: tuple[Settings, Client]) -> None:
    settings, client = encrypted
    keyless = await connect(settings.model_copy(update={"secret_key": [SecretStr(ENCRYPTION_KEY[::-1])]}))
    async with RunStage(keyless, "keyless") as stage:
        await stage.serve_runs()
        stage.client = client
        await stage.start()
        await stage.until("WORKFLOW_TASK_FAILED")
        (failure,) = [
            event.workflow_task_failed_event_attributes.failure
            for event in await stage.events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        ]
        told = await keyless.data_converter.decode_failure(failure)
        assert "which is not in CALLBOARD_SECRET_KEY" in str(told)
        await stage.stop_serving_runs()
        await stage.serve(ends(completed()))
        assert (await stage.ended()).status is RunStatus.COMPLETED


async def test_an_attempt_on_a_worker_without_the_key_fails_and_its_log_says_why(
    encrypted: tuple[Settings, Client], caplog: pytest.LogCaptureFixture
) -> None:
    settings, client = encrypted
    async with RunStage(client, "keyless-attempt") as stage:
        await stage.serve_runs()
        stage.client = await connect(settings.model_copy(update={"secret_key": [], "encrypt_payloads": False}))
        await stage.serve_attempts()
        stage.client = client
        await stage.start(maximum_attempts=1)
        outcome = await stage.ended()
        assert outcome.error
        assert outcome.error.message == "The worker could not carry out the Attempt: Failed decoding arguments"
    assert "which is not in CALLBOARD_SECRET_KEY" in caplog.text


@workflow.defn(name="Headers", sandboxed=False)
class HeadersWorkflow:
    """Returns the header that it was started with."""

    @workflow.run
    async def run(self) -> str:
        return workflow.payload_converter().from_payload(workflow.info().headers["planted"], str)


class _Planting(Interceptor):
    """Sends a header with each start of a workflow, as tracing does."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _PlantingOutbound(super().intercept_client(next))


class _PlantingOutbound(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        (payload,) = pydantic_data_converter.payload_converter.to_payloads([PLANTED])
        input.headers = {**input.headers, "planted": payload}
        return await super().start_workflow(input)


async def test_headers_are_encrypted_and_arrive(client: Client) -> None:
    config = client.config()
    config["interceptors"] = [_Planting()]
    planting = Client(**config)
    async with Worker(client, task_queue="headers", workflows=[HeadersWorkflow]):
        handle = await planting.start_workflow(HeadersWorkflow.run, id="headers", task_queue="headers")
        assert await handle.result() == PLANTED
    assert not [text for text in await history(handle) if PLANTED in text]


@workflow.defn(name="Defect", sandboxed=False)
class DefectWorkflow:
    """Has a defect, for which Temporal tries its task again and again."""

    @workflow.run
    async def run(self) -> None:
        raise ValueError(PLANTED)


async def test_the_defect_of_a_workflow_is_not_told_in_clear(client: Client) -> None:
    async with Worker(client, task_queue="defects", workflows=[DefectWorkflow]):
        handle = await client.start_workflow(DefectWorkflow.run, id="defect", task_queue="defects")
        failed_task = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        await until(handle.fetch_history, true=lambda told: failed_task in {event.event_type for event in told.events})
        await handle.terminate()
    assert not [text for text in await history(handle) if PLANTED in text]
