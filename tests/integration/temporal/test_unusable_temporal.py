"""A Temporal that is away, or a namespace that is not set up, is told by every call as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.settings import Settings
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.client import connect
from callboard.temporal.health import TemporalHealth
from callboard.temporal.namespace import Retention, ensure_namespace, inspect_namespace
from callboard.temporal.runs import Runs
from tests.support.auth_session_calls import CALLS, being, validation
from tests.support.auth_stage import LoginStage
from tests.support.constants import SOMEBODY
from tests.support.run_stage import run_input
from tests.support.stage import WORKSPACE

A_WEEK = Retention(timedelta(days=7), timedelta(days=8))
Call = Callable[[Client, LoginStage], Coroutine[Any, Any, Any]]


def of_auth_sessions(name: str) -> Call:
    return lambda client, stage: CALLS[name](AuthSessions(client), WORKSPACE, stage.project, "ada")


USES: dict[str, Call] = {
    "start": lambda client, _: Runs(client).start("run-1", run_input("shop"), fingerprint=""),
    "state": lambda client, _: Runs(client).get_state(WORKSPACE, "shop", "run-1"),
    "cancel": lambda client, _: Runs(client).cancel(WORKSPACE, "shop", "run-1", by=SOMEBODY),
    "check": lambda client, _: TemporalHealth(client).check(),
    "create": lambda client, stage: AuthSessions(client).create(being(stage)),
    "list": lambda client, stage: AuthSessions(client).list_all(WORKSPACE, stage.project),
    "validate": lambda client, stage: AuthSessions(client).validate("validate", validation(stage)),
    **{name: of_auth_sessions(name) for name in CALLS},
}
SET_UP: dict[str, Call] = {
    "ensure": lambda client, _: ensure_namespace(client, A_WEEK),
    "inspect": lambda client, _: inspect_namespace(client),
}


async def errors(settings: Settings, stage: LoginStage, calls: dict[str, Call]) -> dict[str, Any]:
    client = await connect(settings, lazy=True, retry_timeout=timedelta(seconds=3))
    came = await asyncio.gather(*(call(client, stage) for call in calls.values()), return_exceptions=True)
    return dict(zip(calls, came, strict=True))


async def test_a_temporal_that_is_away_is_told_and_with_its_address_at_set_up(idle_stage: LoginStage) -> None:
    address = f"127.0.0.1:{ports.choose_ports({'': 0})['']}"
    found = await errors(Settings(temporal_address=address), idle_stage, {**USES, **SET_UP})
    assert {name: type(error) for name, error in found.items()} == dict.fromkeys(found, Unavailable)
    for name in SET_UP:
        assert f"cannot be reached at {address}" in found[name].message
        assert "CALLBOARD_TEMPORAL_ADDRESS" in found[name].message


async def test_a_namespace_that_is_not_there_is_the_operators_to_mend(
    temporal: TemporalServer, idle_stage: LoginStage
) -> None:
    settings = Settings(temporal_address=temporal.address, temporal_namespace="nowhere")
    found = await errors(settings, idle_stage, USES)
    assert {name: type(error) for name, error in found.items()} == dict.fromkeys(found, ConfigurationError)
    assert [error for error in found.values() if "CALLBOARD_TEMPORAL_NAMESPACE" not in error.message] == []


async def test_a_namespace_without_our_search_attributes_is_told(client: Client) -> None:
    retention = Duration(seconds=24 * 60 * 60)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace="bare", workflow_execution_retention_period=retention)
    )
    address = client.service_client.config.target_host
    other = await Client.connect(address, namespace="bare", data_converter=pydantic_data_converter)
    with pytest.raises(ConfigurationError, match="search attributes"):
        await Runs(other).start("run-1", run_input("shop"), fingerprint="")
