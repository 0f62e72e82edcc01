"""The published client library, unmodified, over HTTP: it reads every answer that Callboard gives.

That both of its forms get a result is `tests/system/test_official_client.py`.
"""

from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, models
from intuned_client.exceptions import AuthenticationError, NotFoundError, ServerError, ValidationError

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from callboard.schemas.workflow.trace import TraceMode
from tests.support.api_in_process import Api
from tests.support.present import assert_has, present


def request(**fields: Any) -> models.RunStartRequestBody:
    return models.RunStartRequestBody(api="list", parameters={}, **fields)


async def start(client: AsyncIntunedClient, **fields: Any) -> str:
    started = await client.projects.runs.start(project_name="shop", body=request(**fields))
    assert started.status == "pending"
    return started.run_id


async def result(client: AsyncIntunedClient, run_id: str) -> models.RunResultResponse:
    return await client.projects.runs.result(project_name="shop", run_id=run_id)


async def test_it_starts_a_run_and_reads_its_result(api: Api, client: AsyncIntunedClient):
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
    assert_has(answer, status="completed", result={"a": ["é"]})
    assert present(answer.extended_payloads)[0].parameters == {"id": 7}


async def test_it_reads_every_error_and_every_reason(api: Api, client: AsyncIntunedClient):
    run_id = await start(client)
    for code in ErrorCode:
        error = RunError(code=code, category="execution", message="No.", details={"attempts_count": 3})
        api.runs.end(run_id, RunOutcome(status=RunStatus.FAILED, error=error))
        answer = await result(client, run_id)
        assert_has(answer, status="failed", message="No.")
        ours = code is ErrorCode.QUEUE_TIMEOUT  # it is not in the published set
        details = {"attempts_count": 3} | ({"recorded": {"code": code.value}} if ours else {})
        assert_has(present(answer.error), code="unexpected" if ours else code.value, message="No.", details=details)
    for reason in ReasonType:
        outcome = RunOutcome(status=RunStatus.CANCELED, reason=RunReason(type=reason, message="Ended."))
        api.runs.end(run_id, outcome)
        answer = await result(client, run_id)
        assert (answer.status, present(answer.reason).type) == ("canceled", reason.value)


async def test_all_its_options_are_taken(api: Api, client: AsyncIntunedClient):
    retry = models.RunStartRequestBodyRetry.model_validate({"maximum_attempts": 1})
    options = {"request_timeout": 5, "save_trace": False, "proxy": "http://proxy.example:3128", "retry": retry}
    run_input = api.input_of(await start(client, **options))
    assert_has(run_input, maximum_attempts=1, trace=TraceMode.NEVER)
    assert run_input.request_timeout.total_seconds() == 5
    assert present(run_input.proxy).server == "http://proxy.example:3128"


async def test_its_exceptions_are_the_right_ones(api: Api, client: AsyncIntunedClient, library_options: dict[str, Any]):
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
    library_options["api_key"] = "wrong"
    async with AsyncIntunedClient(**library_options) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.projects.runs.start(project_name="shop", body=request())
