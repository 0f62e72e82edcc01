"""Inspect and set up a Temporal namespace: its retention, its search attributes, the Schedule of the sweep.

`callboard setup-namespace` and `callboard dev` use `ensure_namespace`, and `callboard doctor` uses `inspect_namespace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import ConfigurationError
from schemas.workflow import names
from settings import Settings
from temporal.durations import said
from temporal.rpc_errors import RPC_TIMEOUT, translate_operator_errors
from temporal.sweep_schedule import Sweep, find_sweep, schedule_sweeps

_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
_SETTLES_WITHIN = timedelta(seconds=60)
"""Time within which a change is known everywhere in the server."""
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Retention:
    """How long Runs and artifacts are kept after the end of their Run."""

    runs: timedelta
    artifacts: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        """Return the retention that the settings ask for."""
        return cls(settings.run_retention, settings.artifacts_kept)


@dataclass(frozen=True)
class Namespace:
    """The current set-up of a namespace."""

    retention: timedelta
    missing: tuple[str, ...] = ()
    """Search attributes that the namespace does not have."""
    wrong: dict[str, str] = field(default_factory=dict[str, str])
    """Search attributes of a type other than Keyword, with that type."""
    sweep: Sweep | None = None
    """The Schedule of the sweep; None if there is none."""


async def inspect_namespace(client: Client) -> Namespace | None:
    """Return the set-up of the client's namespace; None if there is no such namespace.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    retention = await _retention(client)
    if retention is None:
        return None
    missing, wrong = await _search_attributes(client)
    return Namespace(retention, missing, wrong, await find_sweep(client))


async def ensure_namespace(client: Client, retention: Retention) -> list[str]:
    """Create the client's namespace, or bring it up to date. What is right already stays as it is.

    Returns:
        What was done, one line for each change; empty if there was nothing to do.

    Raises:
        ConfigurationError: Temporal refuses, or something stands in the way; the message says what to do.
        Unavailable: Temporal cannot be reached, or not everything was ready. The call may be repeated from the start.
    """
    done = await _keep_runs(client, retention.runs)
    done += await _add_search_attributes(client)
    return done + await _settled(lambda: schedule_sweeps(client, retention.artifacts))


async def _keep_runs(client: Client, wanted: timedelta) -> list[str]:
    found = await _retention(client)
    if found == wanted:
        return []
    ttl = Duration()
    ttl.FromTimedelta(wanted)
    if found is None:
        with translate_operator_errors(client, f"make the namespace {client.namespace!r}"):
            try:
                await client.workflow_service.register_namespace(
                    RegisterNamespaceRequest(
                        namespace=client.namespace,
                        description="Runs of Callboard",
                        workflow_execution_retention_period=ttl,
                    ),
                    timeout=RPC_TIMEOUT,
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.ALREADY_EXISTS:
                    raise
                return await _keep_runs(client, wanted)  # another process has created it meanwhile
        return [f"Namespace {client.namespace!r} is made; it keeps Runs for {said(wanted)}."]
    with translate_operator_errors(client, f"keep Runs for {said(wanted)}"):
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=ttl)
            ),
            timeout=RPC_TIMEOUT,
        )
    return [f"Namespace {client.namespace!r} keeps Runs for {said(wanted)} now; it was {said(found)}."]


async def _add_search_attributes(client: Client) -> list[str]:
    missing, wrong = await _settled(lambda: _search_attributes(client))
    if wrong:
        listed = ", ".join(f"{name} ({kind})" for name, kind in wrong.items())
        raise ConfigurationError(
            f"Namespace {client.namespace!r} has search attributes of another type than Keyword: {listed}. Set"
            " CALLBOARD_TEMPORAL_NAMESPACE to another namespace, or remove them from this one with `temporal operator"
            " search-attribute remove`."
        )
    if missing:
        request = AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes=dict.fromkeys(missing, _KEYWORD)
        )

        async def add() -> None:
            with translate_operator_errors(client, "add search attributes"):
                try:
                    await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
                except RPCError as error:
                    if error.status is not RPCStatusCode.ALREADY_EXISTS:
                        raise

        await _settled(add)
    # A new search attribute is not valid in a query for a while.
    await _settled(lambda: _use_search_attributes(client), also=RPCStatusCode.INVALID_ARGUMENT)
    return [f"Search attributes are added: {', '.join(missing)}."] if missing else []


async def _use_search_attributes(client: Client) -> None:
    """Use the search attributes in a query, as lists of Runs do.

    Raises ConfigurationError as long as the query is not understood.
    """
    query = " AND ".join(f"{name} = 'set-up'" for name in names.SEARCH_ATTRIBUTES)
    with translate_operator_errors(client, "list Runs"):
        await client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)


async def _retention(client: Client) -> timedelta | None:
    with translate_operator_errors(client, f"describe the namespace {client.namespace!r}"):
        try:
            answer = await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return answer.config.workflow_execution_retention_ttl.ToTimedelta()


async def _search_attributes(client: Client) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the search attributes that are missing, and those of a wrong type."""
    with translate_operator_errors(client, "list search attributes"):
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
        )
    known = answer.custom_attributes
    missing = tuple(name for name in names.SEARCH_ATTRIBUTES if name not in known)
    wrong = {
        name: IndexedValueType.Name(known[name]).removeprefix("INDEXED_VALUE_TYPE_").capitalize()
        for name in names.SEARCH_ATTRIBUTES
        if name in known and known[name] != _KEYWORD
    }
    return missing, wrong


async def _settled[T](work: Callable[[], Awaitable[T]], *, also: RPCStatusCode | None = None) -> T:
    """Return what `work` returns as soon as recent changes are known everywhere in the server.

    A new namespace is not found for a while; `also` is another status that may be temporary.
    """
    deadline = asyncio.get_running_loop().time() + _SETTLES_WITHIN.total_seconds()
    while True:
        try:
            return await work()
        except ConfigurationError as error:
            cause = error.__cause__
            passing = isinstance(cause, RPCError) and cause.status in {RPCStatusCode.NOT_FOUND, also}
            if not passing or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_LOOK_EVERY)
