"""Translate the SDK's errors into Callboard's errors: Temporal cannot be reached, or refuses.

A connection that cannot be made has one error of the SDK for all reasons, with a text for its developers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, TLSConfig

from callboard.schemas.errors import ConfigurationError, NotFound, Unavailable

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


async def describe_running(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """Describe a running workflow; None if none with this id runs. Raises RPCError."""
    found = await unless_missing(client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT))
    return found if found is not None and found.status is WorkflowExecutionStatus.RUNNING else None


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
def cancels_kept() -> Generator[None]:
    """Have a cancel of an update stay one within the block: the SDK makes its error of a time-out of it."""
    try:
        yield
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        if isinstance(error.__cause__, asyncio.CancelledError):
            raise error.__cause__ from None
        raise


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
                " CALLBOARD_TEMPORAL_NAMESPACE. If the namespace lacks search attributes, run"
                " `callboard setup-namespace`."
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


def connect_error(config: ConnectConfig, error: RuntimeError) -> ConfigurationError | Unavailable:
    """Return our error for the one that the SDK has raised as it could not connect.

    It is a ConfigurationError if another try will fail, too: a setting or a certificate has to change.
    """
    address, text = config.target_host, str(error)
    for sign, explanation in _PERMANENT_CONNECTION_ERRORS.items():
        if sign in text:
            return ConfigurationError(explanation.format(address=address))
    if "code: Unauthenticated" in text or "code: PermissionDenied" in text:
        return ConfigurationError(_explain_refusal(config))
    if "after connection" in text and any(sign in text for sign in _HANG_UPS):
        return Unavailable(_explain_hang_up(config))
    return Unavailable(f"Temporal cannot be reached at {address}. Start it, or set CALLBOARD_TEMPORAL_ADDRESS.")


_HANG_UPS = ("transport error", "connection closed")
"""Signs in the text of the SDK that a connection that was made has been closed at once. A server that does not take the
client certificate does just this: in TLS 1.3, it looks at the certificate after the client has begun to speak."""

_PERMANENT_CONNECTION_ERRORS = {
    "NotValidForName": (
        "The certificate of Temporal at {address} is for another name. Correct CALLBOARD_TEMPORAL_ADDRESS"
        " (or TEMPORAL_ADDRESS), or set TEMPORAL_TLS_SERVER_NAME to the name in the certificate."
    ),
    "InvalidCertificate(Expired": (
        "The certificate of Temporal at {address} has expired. Its operator has to replace it."
    ),
    "InvalidCertificate(": (
        "The certificate of Temporal at {address} is not signed by an authority that this host trusts. Set"
        " TEMPORAL_TLS_SERVER_CA_CERT_PATH to the certificate of its authority."
    ),
    "InvalidContentType": (
        "Temporal at {address} does not speak TLS, and it is configured here. Correct CALLBOARD_TEMPORAL_ADDRESS (or"
        " TEMPORAL_ADDRESS), or set TEMPORAL_TLS=false for a plain connection."
    ),
    "AlertReceived(CertificateRequired": (
        "Temporal at {address} asks for a client certificate. Set TEMPORAL_TLS_CLIENT_CERT_PATH and"
        " TEMPORAL_TLS_CLIENT_KEY_PATH."
    ),
    "AlertReceived(": (
        "Temporal at {address} refuses the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH). It must be signed by an"
        " authority that the namespace accepts."
    ),
}
"""Signs in the text of the SDK, most special first, and what to say of each."""


def _explain_refusal(config: ConnectConfig) -> str:
    if config.api_key is not None:
        return (
            f"Temporal at {config.target_host} refuses the API key (TEMPORAL_API_KEY, or of the profile). It may have"
            " expired, be of another account, or not be allowed to use the namespace."
        )
    return (
        f"Temporal at {config.target_host} refuses this client, which has no API key. Set TEMPORAL_API_KEY, or the"
        " client certificate that it asks for (TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH)."
    )


def _explain_hang_up(config: ConnectConfig) -> str:
    closes = f"Temporal at {config.target_host} closes the connection."
    if not config.tls:
        return f"{closes} It may speak TLS only, and this connection is plain: set TEMPORAL_TLS=true."
    if isinstance(config.tls, TLSConfig) and config.tls.client_cert is not None:
        return (
            f"{closes} It may refuse the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH), which must be signed by an"
            " authority that it accepts."
        )
    return (
        f"{closes} It may ask for a client certificate, and there is none: set TEMPORAL_TLS_CLIENT_CERT_PATH and"
        " TEMPORAL_TLS_CLIENT_KEY_PATH."
    )
