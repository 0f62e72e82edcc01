"""Translate the SDK's transport errors into Callboard's errors: Temporal cannot be reached, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import ConfigurationError, NotFound, Unavailable
from temporal.connection_errors import connect_error

RPC_TIMEOUT = timedelta(seconds=10)
_READ_AT_ONCE = 20
"""How many AuthSessions, or Jobs, are read at once for a list."""

_PERMANENT_STATUSES = {
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
}
"""Statuses that will be the same at the next try: something is not set up as it must be."""

_REFUSED_STATUSES = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}
"""Statuses that are about who calls. Temporal Cloud also gives them to calls that are not for its clients."""

_OVERLOAD_STATUSES = {
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,  # The SDK gives this status to a call that takes longer than its `rpc_timeout`.
}


def is_missing_entity(error: RPCError) -> bool:
    """Tell whether there is no such workflow or Schedule; a missing namespace is reported by the same status."""
    return error.status is RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace")


async def unless_missing[T](call: Awaitable[T]) -> T | None:
    """Return what a call returns; None if there is no such workflow or Schedule. Raises RPCError."""
    try:
        return await call
    except RPCError as error:
        if is_missing_entity(error):
            return None
        raise


async def read_found[T](ids: Sequence[str], read: Callable[[str], Awaitable[T]]) -> list[T]:
    """Return what `read` returns for each id, some at a time, without those for which it raises NotFound."""
    places = asyncio.Semaphore(_READ_AT_ONCE)

    async def read_or_none(each: str) -> T | None:
        async with places:
            try:
                return await read(each)
            except NotFound:  # it has been deleted meanwhile, or is in another workspace
                return None

    found = await asyncio.gather(*map(read_or_none, ids))
    return [each for each in found if each is not None]


async def signal_if_running(client: Client, workflow_id: str, signal: str, *arguments: object) -> bool:
    """Signal a workflow; return False if none of this id runs. Raises RPCError."""
    try:
        await client.get_workflow_handle(workflow_id).signal(signal, args=arguments, rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if is_missing_entity(error):
            return False
        raise
    return True


def is_refused(error: BaseException | None) -> bool:
    """Tell whether Temporal does not let this client call this: it lacks the permission, or nobody has it."""
    statuses = {*_REFUSED_STATUSES, RPCStatusCode.UNIMPLEMENTED}
    return isinstance(error, RPCError) and error.status in statuses


def is_overload(error: Exception) -> bool:
    """Tell whether Temporal refuses a call because it gets too many of them, or has not answered it in time."""
    return isinstance(error, RPCError) and error.status in _OVERLOAD_STATUSES


def is_transient(error: RPCError) -> bool:
    """Tell whether repeating a call may help that Temporal has refused, or has not answered."""
    return error.status not in _PERMANENT_STATUSES


@contextmanager
def translate_rpc_errors(not_found_message: str = "There is no such Run.") -> Generator[None]:
    """Translate the SDK's errors into Callboard's errors.

    Raises:
        NotFound: There is no such workflow; `not_found_message` is the message.
        ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
        Unavailable: Temporal cannot be reached.
    """
    try:
        yield
    except RPCError as error:
        if is_missing_entity(error):
            raise NotFound(not_found_message) from error
        if error.status in _REFUSED_STATUSES:
            raise ConfigurationError(
                f"Temporal refuses this client: {error.message.rstrip('.')}. Check its API key (TEMPORAL_API_KEY) or"
                " client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH), and that it may use the namespace that is set"
                " (CALLBOARD_TEMPORAL_NAMESPACE, TEMPORAL_NAMESPACE)."
            ) from error
        if error.status in _PERMANENT_STATUSES:
            raise ConfigurationError(
                f"Temporal refuses what Callboard asks of it: {error.message} Check CALLBOARD_TEMPORAL_ADDRESS and"
                " CALLBOARD_TEMPORAL_NAMESPACE, and that the namespace has the search attributes of Callboard."
            ) from error
        raise Unavailable(f"Temporal did not answer ({error.status.name.lower()}). Try again.") from error
    except RuntimeError as error:  # a lazy client that cannot connect
        raise Unavailable("Temporal cannot be reached. Try again.") from error


@contextmanager
def translate_operator_errors(client: Client, operation: str) -> Generator[None]:
    """Translate errors for an operator, naming Temporal's address and the operation.

    `operation` completes the sentence "Temporal refuses to …", for example "list Runs".

    Raises:
        ConfigurationError: Temporal refuses.
        Unavailable: Temporal cannot be reached.
    """
    config = client.service_client.config
    address = config.target_host
    try:
        yield
    except RPCError as error:
        if error.status in _PERMANENT_STATUSES:
            raise ConfigurationError(
                f"Temporal at {address} refuses to {operation}: {error.message.rstrip('.')}."
            ) from error
        status = error.status.name.lower()
        raise Unavailable(
            f"Temporal at {address} did not {operation} ({status}: {error.message.rstrip('.')})."
        ) from error
    except RuntimeError as error:  # a lazy client that cannot connect
        raise connect_error(config, error) from error
