"""Call the user's function and turn its outcome into JSON text or an error (docs/contract.md, section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from intuned_runtime import IntunedContext, NonRetryableError
from intuned_runtime.deferred import MARK

from .failures import StructuralError, UserCodeError, raised
from .loading import UserFunction, exit_message, load
from .results import to_json
from .session import BrowserSession
from .state import StateError
from .storage_state import CAPTURE_WITHIN, is_wanted, uncaptured


class NoRetryError(StructuralError):
    """The user raised NonRetryableError."""

    kind = "non-retryable"


def _in_this_process_only[**P, T](
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorate a function so that a process forked by user code ends instead of returning to our code.

    Such a process is not the Machine's child, and must not act as if it were.
    """

    @wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        process = os.getpid()
        try:
            return await function(*args, **kwargs)
        finally:
            if os.getpid() != process:
                os._exit(1)

    return guarded


@dataclass(frozen=True)
class Call:
    """A call of user code: what is called, and what is to be reported of it."""

    kind: str
    """Kind of the Attempt: `api`, `check` or `create`."""
    path: str
    """Path of the function's module, below the project's folder."""
    parameters: Any
    capture: bool
    """Whether to report the state of the AuthSession if it has changed. A create always reports its state."""
    capturing: Callable[[float], None]
    """Is called when capturing begins, with the most seconds that it takes: they do not count as the automation's."""


@_in_this_process_only
async def call(call: Call, session: BrowserSession, root: Path) -> dict[str, Any]:
    """Import and await the user's function, and return what it returned, as fields of a `done` message.

    The call is positional, with the parameters as a plain dict, or without them when they are null. A deferred
    function is called before there is a page.

    Raises:
        UserCodeError: The call failed. CancelledError passes through.
    """
    try:
        function = load(call.path, root)
        try:
            value = await _called(call, function, session)
            # The hook's cleanup comes last: it usually closes the context that the hook brought.
            fields = {"result": _result(call, value), **await _state(call, session, value)}
        except BaseException:
            with contextlib.suppress(Exception):  # of the cleanup; the automation's error matters more
                await session.finish(failed=True)
            raise
        await session.finish()
        payloads = IntunedContext.current().extended_payloads if call.kind == "api" else None
        return {
            **fields,
            "extendedPayloads": to_json(payloads, what="What extend_payload was given", path="extendedPayloads")
            if payloads
            else None,
        }
    except UserCodeError:
        raise
    except NonRetryableError as error:
        told = raised(error, root)
        raise NoRetryError(str(told), name=told.name, stack=told.stack) from error
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # also SystemExit and the like, which would end the Machine
        raise raised(error, root, exit_message(error)) from error


async def _called(call: Call, function: UserFunction, session: BrowserSession) -> Any:
    parameters = call.parameters
    if getattr(function, MARK, False):
        if call.kind == "create":
            await session.open()  # a create without a browser has no login
        return await function(parameters, ensure_browser=session.open)
    _, page = await session.open()
    return await (function(page) if parameters is None else function(page, parameters))


def _result(call: Call, value: Any) -> str:
    """Return JSON text of what the function returned: for a check only whether it is true, for a create `null`."""
    match call.kind:
        case "check":
            return "true" if value else "false"
        case "create":
            return "null"
        case _:
            return to_json(value)


async def _state(call: Call, session: BrowserSession, value: Any) -> dict[str, Any]:
    """Return the state of the login after a good end as field `state`, or why it is not known as `uncaptured`.

    This is done only if the login lives in a context that the hook brought. The supervisor captures any other.

    Raises:
        StateError: The state of a create could not be captured, so that the create has failed.
    """
    wanted = is_wanted(call.kind, capture=call.capture, restored=session.restored, good=bool(value))
    if not session.brings_login or not wanted:
        return {}
    call.capturing(CAPTURE_WITHIN)
    try:
        return {"state": await session.capture()}
    except StateError as error:
        return {"uncaptured": uncaptured(call.kind, error)}
