"""What the exit codes of `callboard` mean."""

from __future__ import annotations

from enum import IntEnum

from contract.errors import BadRequest, CallboardError, NotFound, Unavailable


class Exit(IntEnum):
    """For scripts; the docs list them."""

    DONE = 0
    FAILED = 1
    """Of the command; or of the Run, the operation, the Delivery that it has waited for."""
    USAGE = 2
    """As Typer has it: what was typed cannot be."""
    CANCELED = 3
    """What it has waited for was canceled."""
    NOT_FOUND = 4
    UNREACHABLE = 5
    """The API, or what stands behind it."""
    INTERRUPTED = 130
    """By Ctrl-C, as shells have it."""


_BY_STATUS = {"failed": Exit.FAILED, "canceled": Exit.CANCELED}


def exit_of(status: str) -> Exit:
    """That of a command that has waited for something which has ended so."""
    return _BY_STATUS.get(status, Exit.DONE)


def exit_code(error: CallboardError) -> Exit:
    """That of a command that could not be carried out."""
    match error:
        case NotFound():
            return Exit.NOT_FOUND
        case Unavailable():
            return Exit.UNREACHABLE
        case BadRequest():
            return Exit.USAGE
        case _:
            return Exit.FAILED
