"""Call the user's function and turn whatever comes of it into JSON text or an error (contract section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

from intuned_runtime import IntunedContext, NonRetryableError
from intuned_runtime.deferred import MARK

from .failures import StructuralError, UserCodeError, raised
from .loading import UserFunction, exit_message, load
from .results import to_json
from .session import BrowserSession


class NoRetryError(StructuralError):
    """The user raised NonRetryableError."""

    kind = "non-retryable"


def _in_this_process_only[**P, T](
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Ends a process that user code has forked and not ended, where it would come back to us: it is not the child."""

    @wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        process = os.getpid()
        try:
            return await function(*args, **kwargs)
        finally:
            if os.getpid() != process:
                os._exit(1)

    return guarded


@_in_this_process_only
async def call(function_path: str, parameters: Any, session: BrowserSession, root: Path) -> dict[str, Any]:
    """Import and await the automation; the fields of a `done` message.

    The call is positional, with the parameters as a plain dict, or without them when they are null. A deferred one
    is called before there is a page.

    Raises:
        UserCodeError: It failed. CancelledError passes through.
    """
    try:
        function = load(function_path, root)
        try:
            value = await _called(function, parameters, session)
        except BaseException:
            with contextlib.suppress(Exception):  # the hook's cleanup; what the automation raised matters more
                await session.finish()
            raise
        await session.finish()
        payloads = IntunedContext.current().extended_payloads
        return {
            "result": to_json(value),
            "extendedPayloads": to_json(payloads, what="What extend_payload was given") if payloads else None,
        }
    except UserCodeError:
        raise
    except NonRetryableError as error:
        told = raised(error, root)
        raise NoRetryError(str(told), name=told.name, stack=told.stack) from error
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # sys.exit() and the like would end the Machine
        raise raised(error, root, exit_message(error)) from error


async def _called(function: UserFunction, parameters: Any, session: BrowserSession) -> Any:
    if getattr(function, MARK, False):
        return await function(parameters, ensure_browser=session.open)
    _, page = await session.open()
    return await (function(page) if parameters is None else function(page, parameters))
