"""The published client library, unmodified, drives the whole stack: start and result, sync and async."""

import asyncio
import time
from typing import Any

from intuned_client import AsyncIntunedClient, IntunedClient, models

LIMIT = 60
"""Seconds until the Run must have ended."""


def options(stack: Any) -> dict[str, Any]:
    return {
        "api_key": stack.api_key,
        "workspace_id": stack.workspace,
        "base_url": f"{stack.url}/api/v1/workspace",
        "timeout": 30,
    }


def body(stack: Any) -> models.RunStartRequestBody:
    return models.RunStartRequestBody(
        api="list-products", parameters={"baseUrl": stack.site, "pages": 1}, requestTimeout=60
    )


def assert_listed(run: models.RunResultResponse) -> None:
    assert (run.status, run.error) == ("completed", None)
    listed: Any = run.result
    assert listed["pages"] == 1
    assert listed["products"]


async def test_the_asynchronous_client_gets_a_result(stack: Any):
    client = AsyncIntunedClient(**options(stack))
    try:
        started = await client.projects.runs.start(project_name="shop", body=body(stack))
        assert started.status == "pending"
        async with asyncio.timeout(LIMIT):
            while True:
                result = await client.projects.runs.result(project_name="shop", run_id=started.run_id)
                if result.status not in {"pending", "started"}:
                    break
                await asyncio.sleep(0.1)
    finally:
        await client.aclose()
    assert_listed(result)


async def test_the_synchronous_client_gets_a_result(stack: Any):
    def drive() -> models.RunResultResponse:
        client = IntunedClient(**options(stack))
        try:
            started = client.projects.runs.start(project_name="shop", body=body(stack))
            deadline = time.monotonic() + LIMIT
            while True:
                result = client.projects.runs.result(project_name="shop", run_id=started.run_id)
                if result.status not in {"pending", "started"} or time.monotonic() > deadline:
                    return result
                time.sleep(0.1)
        finally:
            client.close()

    assert_listed(await asyncio.to_thread(drive))
