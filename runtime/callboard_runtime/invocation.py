"""Call a function of the project, as every Attempt does (docs/contract.md, section 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from intuned_runtime import NonRetryableError
from intuned_runtime.deferred import MARK
from playwright.async_api import BrowserContext, Page

from .failures import NoRetryError, UserCodeError, raised
from .project_code import UserFunction, exit_message
from .results import to_json

Kind = Literal["api", "create", "check"]
"""What a function is for: an API, or one of the two functions of a login."""


async def call(
    function: UserFunction, kind: Kind, parameters: Any, open_page: Callable[[], Awaitable[tuple[BrowserContext, Page]]]
) -> Any:
    """Call the function, and return what it returns. What it raises passes through.

    The call is positional, with the parameters as a plain dict, or without them when they are None. A deferred function
    is called before there is a page.
    """
    if getattr(function, MARK, False):
        if kind == "create":
            await open_page()  # a create without a browser has no login
        return await function(parameters, ensure_browser=open_page)
    _, page = await open_page()
    return await (function(page) if parameters is None else function(page, parameters))


def result_as_json(kind: Kind, value: Any) -> str:
    """Return JSON text of what a function returned: for a check only whether it is true, for a create `null`.

    Raises:
        UserCodeError: As for `to_json`.
    """
    match kind:
        case "check":
            return "true" if value else "false"
        case "create":
            return "null"
        case "api":
            return to_json(value)


@contextmanager
def as_user_code_errors(root: Path) -> Generator[None]:
    """Raise UserCodeError for all that user code raises, SystemExit included. CancelledError passes through.

    Args:
        root: The folder of the project, to whose frames stacks are cut.
    """
    try:
        yield
    except (UserCodeError, asyncio.CancelledError):
        raise
    except NonRetryableError as error:
        failure = raised(error, root)
        raise NoRetryError(str(failure), name=failure.name, stack=failure.stack) from error
    except BaseException as error:
        raise raised(error, root, exit_message(error)) from error
