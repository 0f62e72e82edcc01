"""What the exit codes of `callboard` mean."""

from __future__ import annotations

from enum import IntEnum

from schemas.errors import BadRequest, CallboardError, NotFound, Unavailable


class Exit(IntEnum):
    """For scripts; the docs list them."""

    DONE = 0
    FAILED = 1
    """The command; or the Run, or the operation, that it has waited for, or that has not ended yet."""
    USAGE = 2
    """As Typer has it: what was typed cannot be."""
    CANCELED = 3
    """The Run, or the operation, was."""
    NOT_FOUND = 4
    UNREACHABLE = 5
    """The API, or what stands behind it."""
    INTERRUPTED = 130
    """By Ctrl-C, as shells have it."""


_BY_STATUS = {"completed": Exit.DONE, "done": Exit.DONE, "canceled": Exit.CANCELED}


def exit_of(status: str) -> Exit:
    """That of a command that has waited for something which stands so now."""
    return _BY_STATUS.get(status, Exit.FAILED)


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
