"""A process that calls one function for `run_bounded`: `python -I -m callboard.projects.bounded_process ORDER`.

ORDER is a file: `Order` as JSON. What the process prints is one line, `Outcome` as JSON, and after that what the
function has returned, as JSON, too. Of our modules, it imports only those of the function.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter

from callboard.projects.reading import bound_process
from callboard.schemas.errors import BadRequest, CallboardError, MachineError, PayloadTooLarge, ProjectError, StoreError

MOST_RETURNED = 15 * 1024**2
"""Most bytes of what the function returns, which its caller holds in memory."""
ERRORS: tuple[type[CallboardError], ...] = (PayloadTooLarge, BadRequest, ProjectError, StoreError, MachineError)
"""The errors that the caller is told as what they are."""


class Order(BaseModel):
    """Which function is called, and with what."""

    module: str
    function: str
    arguments: list[Any]


class Outcome(BaseModel):
    """The error that the function has raised; nothing if it has returned."""

    error: str | None = None
    """The name of one of `ERRORS`."""
    message: str = ""
    details: dict[str, Any] | None = None


def _carry_out(order: Order) -> bytes:
    work = getattr(import_module(order.module), order.function)
    types = get_type_hints(work)
    arguments = [
        TypeAdapter[Any](types[name]).validate_python(value)
        for name, value in zip(inspect.signature(work).parameters, order.arguments, strict=True)
    ]
    returned = TypeAdapter[Any](types["return"]).dump_json(work(*arguments))
    if len(returned) > MOST_RETURNED:
        raise ProjectError(f"There is too much to tell of it: more than {MOST_RETURNED // 1024**2} MiB.")
    return returned


def main() -> None:
    """Carry out an order within limits, and print what came of it."""
    bound_process()
    outcome, returned = Outcome(), b""
    try:
        returned = _carry_out(Order.model_validate_json(Path(sys.argv[1]).read_bytes()))
    except ERRORS as error:
        kind = next(kind for kind in ERRORS if isinstance(error, kind))
        outcome = Outcome(error=kind.__name__, message=error.message, details=error.details)
    except OSError as error:
        outcome = Outcome(error=MachineError.__name__, message=f"Files cannot be read or written here: {error}.")
    sys.stdout.buffer.write(outcome.model_dump_json().encode() + b"\n" + returned)


if __name__ == "__main__":
    main()
