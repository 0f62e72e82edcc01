"""From the SDK's transport errors to ours: what a caller hears when Temporal is away, or refuses."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.service import RPCError, RPCStatusCode

from contract.errors import ConfigurationError, NotFound, Unavailable

RPC_TIMEOUT = timedelta(seconds=10)

_REFUSALS = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
}
"""Answers that will be the same the next time: something is not set up as it must be."""


@contextmanager
def reaching_temporal(missing: str = "There is no such Run.") -> Generator[None]:
    """Turn the SDK's errors into ours.

    Raises:
        NotFound: With `missing`: there is no such workflow.
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
