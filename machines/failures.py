"""How an Attempt's failure on its Machine is expressed on the wire (docs/contract.md, section 10.1)."""

from __future__ import annotations

import signal
from typing import Any

from machines.attempt_masker import masker_for
from machines.attempt_spec import AttemptSpec
from machines.keeping import ChildEnd
from machines.limits import MOST_FILES, MOST_PROCESSES
from schemas.errors import Category
from schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT, clip
from schemas.workflow.run import ErrorCode, RunError
from security.masking import Masker

_KINDS: dict[str, tuple[ErrorCode, Category, bool]] = {
    # kind in the child: error code, category, and whether the failure is final (no further Attempt can help)
    "user": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", False),
    "structural": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", True),
    "non-retryable": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", True),
    "too-big": (ErrorCode.RESULT_TOO_BIG, "execution", True),
    "state": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "auth", False),
    "browser-gone": (ErrorCode.SCRIPT_PROCESS_CRASHED, "infrastructure", False),
}

_OVER_LIMIT = {
    "memory": "Execution ran out of memory.",
    "disk": "Execution ran out of disk: the files of its Machine passed the limit of CALLBOARD_MACHINE_DISK.",
    "files": f"Execution was ended: its Machine had more than {MOST_FILES} files and folders.",
    "processes": f"Execution was ended: its Machine had more than {MOST_PROCESSES} processes.",
    "lease": "Execution was ended: its worker's lease of Machines was over.",
}
"""Messages of Attempts whose Machine has passed a limit, by the limit's name."""


def of_user_code(told: dict[str, Any], masker: Masker) -> tuple[RunError, bool]:
    """Return the error that the child told, masked by `masker`, and whether it is final."""

    def masked(text: str, limit: int) -> str:
        # Mask before clipping: a clipped secret would not be recognized. The child has clipped already.
        text = masker.mask_clipped_text(text) if len(text) >= MESSAGE_LIMIT else masker.mask_text(text)
        return _text(text, limit)

    if told["kind"] == "ended":
        stack = masked(told["stack"], STACK_LIMIT)
        return ended(told["exitCode"], stack), False
    if told["kind"] == "over-limit":
        return _crashed(_OVER_LIMIT[told["limit"]], masked(told["stack"], STACK_LIMIT)), False
    code, category, final = _KINDS[told["kind"]]
    message = told["message"]
    if told["kind"] == "browser-gone":
        message = f"The browser ended unexpectedly. The automation saw: {message}"
    details = {"name": masked(told["name"], MESSAGE_LIMIT), **masker.mask_json(told.get("details", {}))}
    if told["stack"]:
        details["stack"] = masked(told["stack"], STACK_LIMIT)
    error = RunError(
        code=code,
        category=category,
        message=masked(message, MESSAGE_LIMIT),
        retirable=not final,
        details=details,
    )
    return error, final


def _text(told: str, limit: int) -> str:
    """Return the text, clipped to `limit`.

    A lone surrogate is spelled out, as it has no UTF-8 form and so cannot be stored in a history.
    """
    return clip(told.encode(errors="backslashreplace").decode(), limit)


def timed_out(spec: AttemptSpec, waiting_at: str) -> RunError:
    """Return the error of an Attempt that timed out.

    Args:
        spec: The Attempt.
        waiting_at: The stack of its code at that time; empty if it is not known.
    """
    stack = _text(masker_for(spec).mask_text(waiting_at), STACK_LIMIT)
    return RunError(
        code=ErrorCode.SCRIPT_TIMEOUT,
        category="execution",
        message=f"The Attempt did not end within {spec.timeout.total_seconds():g} seconds.",
        retirable=True,
        details={"stack": stack} if stack else None,
    )


def crashed(end: ChildEnd) -> RunError:
    """Return the error of an Attempt whose Machine's own process ended while it ran."""
    if end.limit is not None:
        return _crashed(_OVER_LIMIT[end.limit])
    return _crashed("The Machine's process was lost.") if end.exit_code is None else ended(end.exit_code)


def ended(exit_code: int | None, stack: str = "") -> RunError:
    """Return the error of an Attempt whose process ended by itself while it ran.

    Args:
        exit_code: Its exit code, negative for a signal. None: it did not end, but what it said was not understood.
        stack: Where it stood; empty if that is not known.
    """
    if exit_code is None:
        message = "The process of user code has lost its connection to the Machine, and was ended."
    elif exit_code < 0:
        message = f"Process was ended by signal {_signal(-exit_code)}."
    else:
        message = f"Process exited unexpectedly with code {exit_code}."
    return _crashed(message, stack)


def _crashed(message: str, stack: str = "") -> RunError:
    return RunError(
        code=ErrorCode.SCRIPT_PROCESS_CRASHED,
        category="infrastructure",
        message=message,
        retirable=True,
        details={"stack": stack} if stack else None,
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names of their own
        return str(number)
