"""The published client library, unmodified, over HTTP: it reads every answer that Callboard gives."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, IntunedClient, models
from intuned_client.exceptions import AuthenticationError, NotFoundError, ServerError, ValidationError

from schemas.errors import Unavailable
from schemas.workflow.base import JsonRef
from schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from schemas.workflow.trace import TraceMode
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE
from tests.support.present import present


@pytest.fixture
async def client(served: str) -> AsyncGenerator[AsyncIntunedClient]:
    client = AsyncIntunedClient(
        api_key="test-key-number-one-of-two", workspace_id=WORKSPACE, base_url=f"{served}/api/v1/workspace", timeout=30
    )
    yield client
    await client.aclose()


def request(**fields: Any) -> models.RunStartRequestBody:
    return models.RunStartRequestBody(api="list", parameters={}, **fields)


async def start(client: AsyncIntunedClient, **fields: Any) -> str:
    started = await client.projects.runs.start(project_name="shop", body=request(**fields))
    assert started.status == "pending"
    return started.run_id


async def result(client: AsyncIntunedClient, run_id: str) -> models.RunResultResponse:
    return await client.projects.runs.result(project_name="shop", run_id=run_id)


async def test_it_starts_a_run_and_reads_every_status(api: Api, client: AsyncIntunedClient):
    run_id = await start(client)
    assert (await result(client, run_id)).status == "pending"
    payloads = '[{"api": "products/details", "parameters": {"id": 7}}]'
    completed = RunOutcome(
        status=RunStatus.COMPLETED,
        result=JsonRef(text='{"a": ["\\u00e9"]}', size=18),
        extended_payloads=JsonRef(text=payloads, size=len(payloads)),
    )
    api.runs.end(run_id, completed)
    answer = await result(client, run_id)
    assert answer.status == "completed"
    assert answer.result == {"a": ["é"]}
    assert answer.extended_payloads is not None
    assert answer.extended_payloads[0].parameters == {"id": 7}


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_it_reads_every_error(api: Api, client: AsyncIntunedClient, code: ErrorCode):
    run_id = await start(client)
    error = RunError(code=code, category="execution", message="No.", details={"attempts_count": 3})
    api.runs.end(run_id, RunOutcome(status=RunStatus.FAILED, error=error))
    answer = await result(client, run_id)
    assert answer.status == "failed"
    assert answer.error is not None
    ours = code is ErrorCode.QUEUE_TIMEOUT  # it is not in the published set
    published = "unexpected" if ours else code.value
    assert (answer.error.code, answer.error.message, answer.message) == (published, "No.", "No.")
    assert answer.error.details == {"attempts_count": 3} | ({"recorded": {"code": code.value}} if ours else {})


@pytest.mark.parametrize("reason", list(ReasonType))
async def test_it_reads_every_reason(api: Api, client: AsyncIntunedClient, reason: ReasonType):
    run_id = await start(client)
    outcome = RunOutcome(status=RunStatus.CANCELED, reason=RunReason(type=reason, message="Ended."))
    api.runs.end(run_id, outcome)
    answer = await result(client, run_id)
    assert answer.status == "canceled"
    assert answer.reason is not None
    assert answer.reason.type == reason.value


async def test_all_its_options_are_taken(api: Api, client: AsyncIntunedClient):
    retry = models.RunStartRequestBodyRetry.model_validate({"maximum_attempts": 1})
    options = {"request_timeout": 5, "save_trace": False, "proxy": "http://proxy.example:3128", "retry": retry}
    run_input = api.input_of(await start(client, **options))
    assert (run_input.maximum_attempts, run_input.request_timeout.total_seconds(), run_input.trace) == (
        1,
        5,
        TraceMode.NEVER,
    )
    assert present(run_input.proxy).server == "http://proxy.example:3128"


async def test_its_exceptions_are_the_right_ones(api: Api, client: AsyncIntunedClient, served: str):
    runs = client.projects.runs
    with pytest.raises(NotFoundError):
        await result(client, "nope")
    with pytest.raises(NotFoundError):
        await runs.start(project_name="nope", body=request())
    with pytest.raises(AuthenticationError):
        await runs.start(project_name="closed", body=request())
    with pytest.raises(ValidationError) as caught:
        await runs.start(project_name="shop", body=request(request_timeout=0))
    assert caught.value.body["details"]["path"] == "requestTimeout"
    api.runs.failure = Unavailable("Temporal cannot be reached.")
    with pytest.raises(ServerError):
        await result(client, "nope")
    stranger = AsyncIntunedClient(api_key="wrong", workspace_id=WORKSPACE, base_url=f"{served}/api/v1/workspace")
    with pytest.raises(AuthenticationError):
        await stranger.projects.runs.start(project_name="shop", body=request())
    await stranger.aclose()


async def test_its_synchronous_form_does_the_same(api: Api, served: str):
    def drive() -> models.RunResultResponse:
        client = IntunedClient(
            api_key="test-key-number-one-of-two",
            workspace_id=WORKSPACE,
            base_url=f"{served}/api/v1/workspace",
            timeout=30,
        )
        try:
            started = client.projects.runs.start(project_name="shop", body={"api": "list", "parameters": {}})
            return client.projects.runs.result(project_name="shop", run_id=started.run_id)
        finally:
            client.close()

    assert (await asyncio.to_thread(drive)).status == "pending"
