"""Call the user's function and turn whatever comes of it into JSON text or an error (contract section 3)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from intuned_runtime import IntunedContext, NonRetryableError
from playwright.async_api import Page

from .failures import StructuralError, UserCodeError, raised
from .loading import exit_message, load
from .results import to_json


class NoRetryError(StructuralError):
    """The user raised NonRetryableError."""

    kind = "non-retryable"


async def call(api: str, parameters: str, page: Page, root: Path) -> dict[str, Any]:
    """Import and await the automation; the fields of a `done` message.

    The call is positional, with the parameters as a plain dict, or without them when they are null.

    Raises:
        UserCodeError: It failed. CancelledError passes through.
    """
    try:
        function = load(f"api/{api}", root)
        given = json.loads(parameters)
        value = await (function(page) if given is None else function(page, given))
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
