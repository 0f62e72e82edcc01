"""The published client library, unmodified, leads an AuthSession through its life: sync and async."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, IntunedClient
from intuned_client.exceptions import NotFoundError

from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Stack

PROJECT = "guarded"


class Client:
    """Either client, called in one way."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._projects = client.projects

    async def close(self) -> None:
        if hasattr(self._client, "aclose"):
            await self._client.aclose()
        else:
            self._client.close()

    async def call(self, path: str, **arguments: Any) -> Any:
        method: Callable[..., Any] = self._projects
        for name in path.split("."):
            method = getattr(method, name)
        called = partial(method, project_name=PROJECT, **arguments)
        return await called() if inspect.iscoroutinefunction(method) else await asyncio.to_thread(called)

    async def operation(self, path: str, **arguments: Any) -> Any:
        """Start an operation and wait for how it ended."""
        started = await self.call(f"{path}.start", **arguments)
        known = {"auth_session_id": arguments["auth_session_id"]} if "auth_session_id" in arguments else {}
        async with asyncio.timeout(60):
            while True:
                result = await self.call(f"{path}.result", operation_id=started.operation_id, **known)
                result = getattr(result, "root", result)
                if result.status not in {"pending", "in_progress"}:
                    return result
                await asyncio.sleep(0.1)


@pytest.fixture(params=[IntunedClient, AsyncIntunedClient])
async def client(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Client]:
    kind: Any = request.param
    base_url = f"{stack.url}/api/v1/workspace"
    client = Client(kind(api_key=stack.api_key, workspace_id=stack.workspace, base_url=base_url, timeout=30))
    yield client
    await client.close()


async def test_an_auth_session_from_its_create_to_its_delete(stack: Stack, client: Client) -> None:
    name = f"client-{uuid.uuid4().hex[:6]}"
    made = await client.operation("auth_sessions.create", body={"id": name, "parameters": {"password": "a-password"}})
    assert (made.status, made.auth_session_id) == ("done", name)
    assert name in [each.id for each in await listed(client)]
    validated = await client.operation("auth_sessions.validate", auth_session_id=name, body={})
    assert validated.status == "done"
    run = await client.call("runs.start", body={"api": "list-orders", "parameters": {}, "authSession": {"id": name}})
    assert (await AuthStates(stack, PROJECT).stack.result(run.run_id, project=PROJECT))["status"] == "completed"
    updated = await client.operation(
        "auth_sessions.update",
        auth_session_id=name,
        body={"parameters": {"password": "not-known", "fail": True}, "createAttempts": 1},
    )
    assert (updated.status, updated.error.code) == ("failed", "create-attempts-failed")
    known = await client.call("auth_sessions.get", auth_session_id=name)
    assert (known.id, known.type, known.status) == (name, "CREDENTIALS", "READY")
    await client.call("auth_sessions.delete", auth_session_id=name)
    with pytest.raises(NotFoundError):
        await client.call("auth_sessions.get", auth_session_id=name)


async def listed(client: Client) -> list[Any]:
    found = await client.call("auth_sessions.list")
    return getattr(found, "root", found)
