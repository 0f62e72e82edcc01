"""Translate the SDK's transport errors into Callboard's errors: Temporal cannot be reached, or refuses."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from schemas.errors import ConfigurationError, NotFound, Unavailable

RPC_TIMEOUT = timedelta(seconds=10)

_REFUSALS = {
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
}
"""Statuses that will be the same at the next try: something is not set up as it must be."""


@contextmanager
def translate_rpc_errors(missing: str = "There is no such Run.") -> Generator[None]:
    """Translate the SDK's errors into Callboard's errors.

    Raises:
        NotFound: There is no such workflow; `missing` is the message.
        ConfigurationError: Temporal refuses: the namespace or its search attributes are missing.
        Unavailable: Temporal cannot be reached.
    """
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace"):
            raise NotFound(missing) from error
        if error.status in _REFUSALS:
            raise ConfigurationError(
                f"Temporal refuses what Callboard asks of it: {error.message} Check CALLBOARD_TEMPORAL_ADDRESS and"
                " CALLBOARD_TEMPORAL_NAMESPACE, and that the namespace has the search attributes of Callboard."
            ) from error
        raise Unavailable(f"Temporal did not answer ({error.status.name.lower()}). Try again.") from error
    except RuntimeError as error:  # a lazy client that cannot connect
        raise Unavailable("Temporal cannot be reached. Try again.") from error


@contextmanager
def translate_operator_errors(client: Client, what: str) -> Generator[None]:
    """Translate errors for an operator, naming Temporal's address and the operation.

    `what` is the operation, as in "refuses to list Runs".

    Raises:
        ConfigurationError: Temporal refuses.
        Unavailable: Temporal cannot be reached.
    """
    address = client.service_client.config.target_host
    try:
        yield
    except RPCError as error:
        if error.status in _REFUSALS:
            raise ConfigurationError(
                f"Temporal at {address} refuses to {what}: {error.message.rstrip('.')}."
            ) from error
        status = error.status.name.lower()
        raise Unavailable(f"Temporal at {address} did not {what} ({status}: {error.message.rstrip('.')}).") from error
    except RuntimeError as error:  # a lazy client that cannot connect
        raise Unavailable(
            f"Temporal cannot be reached at {address}. Start it, or set CALLBOARD_TEMPORAL_ADDRESS."
        ) from error
