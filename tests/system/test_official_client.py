"""The published client library, unmodified and in both of its forms, drives the whole stack."""

from __future__ import annotations

import asyncio
import inspect
import json
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
from intuned_client import AsyncIntunedClient, IntunedClient, models
from intuned_client.exceptions import NotFoundError

from tests.support.polling import until
from tests.support.present import present
from tests.support.rest import PATIENCE, UNDER_WAY
from tests.support.stack import Stack


class Client:
    """Either form, called in one way."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def close(self) -> None:
        if isinstance(self._client, AsyncIntunedClient):
            await self._client.aclose()
        else:
            self._client.close()

    async def call(self, path: str, project: str, **arguments: Any) -> Any:
        method: Callable[..., Any] = self._client.projects
        for name in path.split("."):
            method = getattr(method, name)
        called = partial(method, project_name=project, **arguments)
        answer = await called() if inspect.iscoroutinefunction(method) else await asyncio.to_thread(called)
        return getattr(answer, "root", answer)

    async def ended(self, path: str, project: str, **arguments: Any) -> Any:
        """The result of a Run or an operation, once it has ended."""
        return await until(
            lambda: self.call(path, project, **arguments), PATIENCE, true=lambda told: told.status not in UNDER_WAY
        )

    async def operation(self, path: str, **arguments: Any) -> Any:
        """Start an operation of an AuthSession, and wait for how it ended."""
        started = await self.call(f"{path}.start", "guarded", **arguments)
        arguments.pop("body")
        return await self.ended(f"{path}.result", "guarded", operation_id=started.operation_id, **arguments)


@pytest.fixture(params=[IntunedClient, AsyncIntunedClient])
async def client(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Client]:
    kind: Any = request.param
    base_url = f"{stack.url}/api/v1/workspace"
    client = Client(kind(api_key=stack.api_key, workspace_id=stack.workspace, base_url=base_url, timeout=30))
    yield client
    await client.close()


@pytest.fixture
def name() -> str:
    """The id of something that no other test has."""
    return f"client-{uuid.uuid4().hex[:6]}"


async def test_a_run_is_started_and_its_result_read(stack: Stack, client: Client) -> None:
    parameters = {"baseUrl": stack.site, "pages": 1}
    body = models.RunStartRequestBody(api="list-products", parameters=parameters, requestTimeout=60)
    started = await client.call("runs.start", "shop", body=body)
    assert started.status == "pending"
    run = await client.ended("runs.result", "shop", run_id=started.run_id)
    assert (run.status, run.error, run.result["pages"]) == ("completed", None, 1)
    assert run.result["products"]


async def test_an_auth_session_from_its_create_to_its_delete(client: Client, name: str) -> None:
    made = await client.operation("auth_sessions.create", body={"id": name, "parameters": {"password": "a-password"}})
    assert (made.status, made.auth_session_id) == ("done", name)
    assert name in [each.id for each in await client.call("auth_sessions.list", "guarded")]
    validated = await client.operation("auth_sessions.validate", auth_session_id=name, body={})
    assert validated.status == "done"
    body = {"api": "list-orders", "parameters": {}, "authSession": {"id": name}}
    run = await client.call("runs.start", "guarded", body=body)
    assert (await client.ended("runs.result", "guarded", run_id=run.run_id)).status == "completed"
    bad = {"parameters": {"password": "not-known", "fail": True}, "createAttempts": 1}
    updated = await client.operation("auth_sessions.update", auth_session_id=name, body=bad)
    assert (updated.status, updated.error.code) == ("failed", "create-attempts-failed")
    known = await client.call("auth_sessions.get", "guarded", auth_session_id=name)
    assert (known.id, known.type, known.status) == (name, "CREDENTIALS", "READY")
    await client.call("auth_sessions.delete", "guarded", auth_session_id=name)
    with pytest.raises(NotFoundError):
        await client.call("auth_sessions.get", "guarded", auth_session_id=name)


async def test_a_triggered_job_ends_with_a_result_for_each_item(stack: Stack, client: Client, name: str) -> None:
    places = [stack.site, f"{stack.site}/nowhere", stack.site]
    payload = [{"apiName": "list-products", "parameters": {"baseUrl": place, "pages": 1}} for place in places]
    body = {"id": name, "payload": payload, "configuration": {"retry": {"maximumAttempts": 1}}}
    await client.call("jobs.create", "shop", body=models.JobsCreateRequestBody.model_validate(body))
    its = {"job_id": name, "job_run_id": (await client.call("jobs.trigger", "shop", job_id=name)).job_run_id}
    ended: models.JobsRunsGetResponse = await until(
        lambda: client.call("jobs.runs.get", "shop", **its),
        PATIENCE,
        true=lambda told: told.job_run.end_time,
        every=0.2,
    )
    job_run = ended.job_run
    assert (job_run.status, job_run.type, job_run.reason, job_run.error) == ("SUCCESS", "MANUAL", None, None)
    assert (job_run.payloads, job_run.successful_runs, job_run.failed_runs) == (3, 2, 1)
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(present(ended.results).signed_url)
    results = [json.loads(line)["apiInfo"] for line in answer.text.splitlines()]
    assert sorted(result["result"] is None for result in results) == [False, False, True]
    runs = (await stack.get("runs", project="shop", jobRunId=its["job_run_id"]))["runs"]
    assert {run["runId"] for run in runs} == {result["runId"] for result in results}
    assert {(run["jobId"], run["jobRunId"]) for run in runs} == {(name, its["job_run_id"])}
    await client.call("jobs.delete", "shop", job_id=name)
