"""The exit codes of `callboard`."""

from __future__ import annotations

from enum import IntEnum

from callboard.schemas.errors import BadRequest, CallboardError, NotFound, Unavailable


class ExitCode(IntEnum):
    """The exit codes of commands, for scripts; the docs list them."""

    OK = 0
    FAILED = 1
    """The command failed; or the Run, JobRun, Run of a JobRun or operation that it asked about or waited for failed, or
    has not ended yet."""
    USAGE = 2
    """The command line is wrong; Typer uses the same code."""
    CANCELED = 3
    """The Run or the operation was canceled, or the JobRun was canceled or terminated."""
    NOT_FOUND = 4
    UNREACHABLE = 5
    """The API or a service behind it cannot be reached."""
    INTERRUPTED = 130
    """The command was interrupted by Ctrl-C; shells use the same code."""


_BY_STATUS = {
    "completed": ExitCode.OK,
    "done": ExitCode.OK,
    "canceled": ExitCode.CANCELED,
    # The words of JobRuns are others.
    "SUCCESS": ExitCode.OK,
    "CANCELED": ExitCode.CANCELED,
    "TERMINATED": ExitCode.CANCELED,
}


def exit_code_for_status(status: str) -> ExitCode:
    """Return the exit code of a command that has waited for a Run, a JobRun or an operation with this status now."""
    return _BY_STATUS.get(status, ExitCode.FAILED)


def exit_code_for_error(error: CallboardError) -> ExitCode:
    """Return the exit code of a command that ended with this error."""
    match error:
        case NotFound():
            return ExitCode.NOT_FOUND
        case Unavailable():
            return ExitCode.UNREACHABLE
        case BadRequest():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED
