"""Inspect and set up a Temporal namespace: its retention, its search attributes, the Schedule of the sweep.

`callboard setup-namespace` uses `set_up_namespace`, `callboard dev` uses `ensure_namespace`, and `callboard doctor`
uses `inspect_namespace`. Temporal may not let clients change a namespace: Temporal Cloud never does.
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

from callboard.schemas.errors import ConfigurationError
from callboard.schemas.workflow import names
from callboard.settings import Settings
from callboard.temporal.durations import format_duration
from callboard.temporal.namespace_steps import (
    Step,
    add_search_attributes,
    cloud_retention,
    create_namespace,
    format_steps,
    is_cloud,
    set_retention,
)
from callboard.temporal.rpc_errors import RPC_TIMEOUT, is_refused, translate_operator_errors
from callboard.temporal.sweep_schedule import SweepSchedule, ensure_sweep_schedule, find_sweep_schedule

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}
_PROPAGATION_TIMEOUT = timedelta(seconds=60)
"""Longest time until a change is known everywhere in the server."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Retention:
    """How long Runs and artifacts are kept after the end of their Run."""

    runs: timedelta
    artifacts: timedelta

    @classmethod
    def from_settings(cls, settings: Settings) -> Retention:
        """Return the retention that the settings ask for."""
        return cls(settings.run_retention, settings.artifacts_kept)


@dataclass(frozen=True)
class NamespaceState:
    """The present configuration of a namespace."""

    retention: timedelta
    missing_attributes: tuple[str, ...] = ()
    """Search attributes that the namespace does not have."""
    mistyped_attributes: dict[str, str] = field(default_factory=dict[str, str])
    """Search attributes that have another type than they must have, with that type. It is empty where Temporal does not
    list them."""
    sweep: SweepSchedule | None = None
    """The Schedule of the sweep; None if there is none."""


@dataclass(frozen=True)
class NamespaceSetup:
    """What was done to a namespace, and what only somebody with other rights can do."""

    changes: list[str] = field(default_factory=list[str])
    """One line for each change; empty if there was nothing to do."""
    steps: list[Step] = field(default_factory=list[Step])
    """What is left to do by hand, as Temporal has refused it to this client."""


async def inspect_namespace(client: Client) -> NamespaceState | None:
    """Return the configuration of the client's namespace; None if there is no such namespace.

    Raises:
        ConfigurationError: Temporal refuses to say.
        Unavailable: Temporal cannot be reached.
    """
    retention = await _read_retention(client)
    if retention is None:
        return None
    missing, mistyped = await _inspect_search_attributes(client)
    return NamespaceState(retention, missing, mistyped, await find_sweep_schedule(client))


async def ensure_namespace(client: Client, retention: Retention) -> list[str]:
    """Create the client's namespace, or bring it up to date. What is right already stays as it is.

    Returns:
        What was done, one line for each change; empty if there was nothing to do.

    Raises:
        ConfigurationError: Temporal refuses, or something stands in the way; the message says what to do.
        Unavailable: Temporal cannot be reached, or not everything was ready. The call may be repeated from the start.
    """
    setup = await set_up_namespace(client, retention)
    if setup.steps:
        raise ConfigurationError("\n".join(["Temporal refuses to set up the namespace.", *format_steps(setup.steps)]))
    return setup.changes


async def set_up_namespace(client: Client, retention: Retention) -> NamespaceSetup:
    """Create the client's namespace, or bring it up to date, as far as Temporal lets this client do it.

    Raises:
        ConfigurationError: There is no namespace and none can be made, or something stands in the way; the message says
            what to do.
        Unavailable: Temporal cannot be reached, or not everything was ready. The call may be repeated from the start.
    """
    setup = NamespaceSetup()
    await _ensure_retention(client, retention.runs, setup)
    await _ensure_search_attributes(client, setup)
    setup.changes.extend(await _retry_until_propagated(lambda: ensure_sweep_schedule(client, retention.artifacts)))
    return setup


async def _ensure_retention(client: Client, retention: timedelta, setup: NamespaceSetup) -> None:
    current = await _read_retention(client)
    if current == retention:
        return
    if current is None:
        try:
            created = await _create_namespace(client, retention)
        except ConfigurationError as error:
            if not is_refused(error.__cause__):
                raise
            steps = format_steps([create_namespace(client, retention)])
            missing = f"There is no namespace {client.namespace!r}, and Temporal does not let this client make it."
            raise ConfigurationError("\n".join([missing, *steps, "Then repeat this command."])) from error
        if not created:
            await _ensure_retention(client, retention, setup)  # another process has created it meanwhile
            return
        setup.changes.append(f"Namespace {client.namespace!r} is made; it keeps Runs for {format_duration(retention)}.")
        return
    try:
        await _update_retention(client, retention)
    except ConfigurationError as error:
        if not is_refused(error.__cause__):
            raise
        if not (is_cloud(client) and current == cloud_retention(retention)):
            setup.steps.append(set_retention(client, retention, current))
        return
    now, before = format_duration(retention), format_duration(current)
    setup.changes.append(f"Namespace {client.namespace!r} keeps Runs for {now} now; it was {before}.")


async def _create_namespace(client: Client, retention: timedelta) -> bool:
    """Create the client's namespace; False if there is one already."""
    ttl = Duration()
    ttl.FromTimedelta(retention)
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
            return False
    return True


async def _update_retention(client: Client, retention: timedelta) -> None:
    ttl = Duration()
    ttl.FromTimedelta(retention)
    with translate_operator_errors(client, f"keep Runs for {format_duration(retention)}"):
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=ttl)
            ),
            timeout=RPC_TIMEOUT,
        )


async def _ensure_search_attributes(client: Client, setup: NamespaceSetup) -> None:
    missing, mistyped = await _retry_until_propagated(lambda: _inspect_search_attributes(client))
    if mistyped:
        listed = ", ".join(f"{name} ({kind})" for name, kind in mistyped.items())
        raise ConfigurationError(
            f"Namespace {client.namespace!r} has search attributes of a type that Callboard cannot use: {listed}. Set"
            " CALLBOARD_TEMPORAL_NAMESPACE to another namespace, or remove them from this one with `temporal operator"
            " search-attribute remove`."
        )
    if missing:
        types = {name: _TYPES[names.SEARCH_ATTRIBUTES[name]] for name in missing}
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)

        async def add_missing() -> None:
            with translate_operator_errors(client, "add search attributes"):
                try:
                    await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
                except RPCError as error:
                    if error.status is not RPCStatusCode.ALREADY_EXISTS:
                        raise

        try:
            await _retry_until_propagated(add_missing)
        except ConfigurationError as error:
            if not is_refused(error.__cause__):
                raise
            setup.steps.append(add_search_attributes(client, missing))
            return
        setup.changes.append(f"Search attributes are added: {', '.join(missing)}.")
    # A new search attribute is not valid in a query for a while.
    await _retry_until_propagated(
        lambda: _query_search_attributes(client), also_transient=RPCStatusCode.INVALID_ARGUMENT
    )


async def _query_search_attributes(client: Client, *attributes: str) -> None:
    """Use the search attributes in a query, as lists of Runs do: all of them if none is named.

    Raises ConfigurationError as long as the query is not understood.
    """
    query = " AND ".join(f"{name} = 'set-up'" for name in attributes or names.SEARCH_ATTRIBUTES)
    with translate_operator_errors(client, "list Runs"):
        await client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)


async def _read_retention(client: Client) -> timedelta | None:
    with translate_operator_errors(client, f"describe the namespace {client.namespace!r}"):
        try:
            response = await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return response.config.workflow_execution_retention_ttl.ToTimedelta()


async def _inspect_search_attributes(client: Client) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the search attributes that are missing, and those of a wrong type."""
    try:
        with translate_operator_errors(client, "list search attributes"):
            response = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
            )
    except ConfigurationError as error:
        if not is_refused(error.__cause__):
            raise
        return await _find_missing_attributes(client), {}
    registered = response.custom_attributes
    missing = tuple(name for name in names.SEARCH_ATTRIBUTES if name not in registered)
    mistyped = {
        name: IndexedValueType.Name(registered[name]).removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")
        for name, wanted in names.SEARCH_ATTRIBUTES.items()
        if name in registered and registered[name] != _TYPES[wanted]
    }
    return missing, mistyped


async def _find_missing_attributes(client: Client) -> tuple[str, ...]:
    """Return the search attributes that queries do not know, for a Temporal that does not list them."""
    missing: list[str] = []
    for name in names.SEARCH_ATTRIBUTES:
        try:
            await _query_search_attributes(client, name)
        except ConfigurationError as error:
            cause = error.__cause__
            if not (isinstance(cause, RPCError) and cause.status is RPCStatusCode.INVALID_ARGUMENT):
                raise
            missing.append(name)
    return tuple(missing)


async def _retry_until_propagated[T](
    operation: Callable[[], Awaitable[T]], *, also_transient: RPCStatusCode | None = None
) -> T:
    """Repeat `operation` until recent changes are known everywhere in the server, and return its result.

    A new namespace is not found for a while; `also_transient` is another status that may be temporary.
    """
    deadline = asyncio.get_running_loop().time() + _PROPAGATION_TIMEOUT.total_seconds()
    while True:
        try:
            return await operation()
        except ConfigurationError as error:
            cause = error.__cause__
            transient = isinstance(cause, RPCError) and cause.status in {RPCStatusCode.NOT_FOUND, also_transient}
            if not transient or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_POLL_SECONDS)
