"""The project's hook (docs/contract.md, section 3.1), which may bring its own context and page."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from playwright.async_api import BrowserContext, Page

from .failures import StructuralError, raised
from .loading import load_module

FILE = "hooks/setup_context"
FUNCTION = "setup_context"

Cleanup = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Brought:
    """What the project's hook returned."""

    context: BrowserContext | None = None
    """The context that the hook brought. None: the Machine's own context and page are used."""
    page: Page | None = None
    cleanup: Cleanup | None = None


def has_hook(root: Path) -> bool:
    """Tell whether the project has a hook."""
    return (root / f"{FILE}.py").is_file()


async def setup_context(root: Path, *, api_name: str, api_parameters: Any, cdp_url: str) -> Brought:
    """Load and call the hook. Its exceptions are those of user code; its return value must have one of four forms.

    Raises:
        StructuralError: The hook has no such coroutine function, or returned something else.
        UserCodeError: Its module raised while it was imported, or it tried to end the process.
    """
    function = getattr(load_module(FILE, root), FUNCTION, None)
    if not inspect.iscoroutinefunction(function):
        raise StructuralError(
            f"{FILE}.py has no coroutine function; write `async def {FUNCTION}(*, api_name, api_parameters, cdp_url)`.",
            name="InvalidAPIError",
        )
    try:
        returned = await function(api_name=api_name, api_parameters=api_parameters, cdp_url=cdp_url)
    except (SystemExit, KeyboardInterrupt) as error:  # raised from a task, they would end the Machine
        said = f"{FUNCTION} called sys.exit({error.code!r})." if isinstance(error, SystemExit) else None
        raise raised(error, root, said) from error
    match returned:
        case None:
            return Brought()
        case BrowserContext() as context:
            return Brought(context)
        case (BrowserContext() as context, (Page() | None) as page):
            return Brought(context, page)
        case (BrowserContext() as context, (Page() | None) as page, cleanup) if callable(cleanup):
            return Brought(context, page, cast("Cleanup", cleanup))
        case other:
            raise StructuralError(
                f"{FUNCTION} returned {type(other).__name__}; it may return nothing, a context, (context, page or "
                "None), or (context, page or None, async cleanup).",
                name="InvalidAPIError",
            )


async def clean_up(cleanup: Cleanup) -> None:
    """Call the cleanup that the hook returned. Its exceptions are those of user code.

    Raises:
        StructuralError: The cleanup is not async.
    """
    ending = cleanup()
    if not inspect.isawaitable(ending):
        raise StructuralError(
            f"The cleanup that {FUNCTION} returned is not async; write `async def`.", name="InvalidAPIError"
        )
    await ending
