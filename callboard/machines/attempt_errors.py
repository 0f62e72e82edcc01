"""How an Attempt's failure on its Machine is expressed on the wire (docs/contract.md, section 10.1)."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from callboard.machines.attempt_spec import AttemptSpec, Version, masker_for
from callboard.machines.keeper_process import ChildEnd
from callboard.machines.machine_limits import MOST_FILES, MOST_PROCESSES
from callboard.schemas.errors import Category
from callboard.schemas.machine_sizes import GIB, MEMORY_OF_SIZE
from callboard.schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT, clip
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.security.masking import Masker

_KINDS: dict[str, tuple[ErrorCode, Category, bool]] = {
    # kind in the child: error code, category, and whether the failure is final (no further Attempt can help)
    "user": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", False),
    "structural": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", True),
    "non-retryable": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", True),
    "retry-later": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution", False),
    "too-big": (ErrorCode.RESULT_TOO_BIG, "execution", True),
    "state": (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "auth", False),
    "browser-gone": (ErrorCode.SCRIPT_PROCESS_CRASHED, "infrastructure", False),
}

_OVER_LIMIT = {
    "disk": "Execution ran out of disk: the files of its Machine passed the limit of CALLBOARD_MACHINE_DISK.",
    "files": f"Execution was ended: its Machine had more than {MOST_FILES} files and folders.",
    "processes": f"Execution was ended: its Machine had more than {MOST_PROCESSES} processes.",
    "lease": "Execution was ended: its worker's lease of Machines was over.",
}
"""Messages of Attempts whose Machine has passed a limit other than that of memory, by the limit's name."""

_FRAME = re.compile(r'  File "([^"\n]+)", line (\d+), in [^\n]*\n((?:    [^\n]*\n)*)')
"""One frame of a stack of Python, with the lines of its source."""
_FRAME_OF_V8 = re.compile(r"^    at (?:[^\n]* \()?([^\n:()]+):(\d+):\d+\)?$", re.MULTILINE)
"""One frame of a stack of JavaScript, whose innermost frame comes first."""
_SOURCE_LIMIT = 200
"""Most characters of a line of source in a message."""


def of_user_code(failure: dict[str, Any], version: Version, masker: Masker) -> tuple[RunError, bool]:
    """Return the error that the child reported, masked by `masker`, and whether it is final.

    Its message ends its first line with the place in the project's code where an exception was raised.
    """

    def masked(text: str, limit: int) -> str:
        # Mask before clipping: a clipped secret would not be recognized. The child has clipped already.
        text = masker.mask_clipped_text(text) if len(text) >= MESSAGE_LIMIT else masker.mask_text(text)
        return _text(text, limit)

    if failure["kind"] == "ended":
        stack = masked(failure["stack"], STACK_LIMIT)
        return ended(failure["exitCode"], version, stack), False
    if failure["kind"] == "over-limit":
        stack = masked(failure["stack"], STACK_LIMIT)
        return _crashed(_over_limit(failure["limit"], failure["used"], version, stack), stack), False
    code, category, final = _KINDS[failure["kind"]]
    message = masked(failure["message"], MESSAGE_LIMIT)
    details = {"name": masked(failure["name"], MESSAGE_LIMIT), **masker.mask_json(failure.get("details", {}))}
    if failure["stack"]:
        details["stack"] = masked(failure["stack"], STACK_LIMIT)
        message = with_place(message, details["stack"], version.folder)
    if failure["kind"] == "browser-gone":
        message = f"The browser ended unexpectedly. The automation saw: {message}"
    error = RunError(
        code=code,
        category=category,
        message=clip(message, MESSAGE_LIMIT),
        retirable=not final,
        details=details,
    )
    return error, final


def _text(text: str, limit: int) -> str:
    """Return the text, clipped to `limit`.

    A lone surrogate is spelled out, as it has no UTF-8 form and so cannot be stored in a history.
    """
    return clip(text.encode(errors="backslashreplace").decode(), limit)


def with_place(message: str, stack: str, project: Path) -> str:
    """Return the message with the innermost place of the stack in a project's folder behind its first line, if any.

    The place stays where the message is clipped, and stands where lists show the first line only.
    """
    place, _ = _innermost(stack, project)
    if not place:
        return message
    first, newline, rest = message.partition("\n")
    suffix = f" ({place})"
    return f"{first[: MESSAGE_LIMIT - len(suffix)]}{suffix}{newline}{rest}"


def _standing(message: str, stack: str, version: Version) -> str:
    """Return a sentence with the place of the stack in the project, and its source, if there is any."""
    place, source = _innermost(stack, version.folder)
    if not place:
        return message
    return f"{message.removesuffix('.')}; it stood at {place}{f' (`{source}`)' if source else ''}."


def _innermost(stack: str, project: Path) -> tuple[str, str]:
    """Return the innermost place of a stack that lies in the project, as `api/shop/list.py:12`, and its line of source.

    Both are empty if there is none. The stack may be anything: user code can write what it likes.
    """
    found = ("", "")
    frame = _FRAME.search(stack)  # a long stack has lost its beginning
    while frame is not None:
        if _is_file(frame[1], project):
            source = frame[3].strip().partition("\n")[0]
            found = f"{frame[1]}:{frame[2]}", clip(source, _SOURCE_LIMIT)
        frame = _FRAME.match(stack, frame.end())
    inner = next((each for each in _FRAME_OF_V8.finditer(stack) if _is_file(each[1], project)), None)
    return (f"{inner[1]}:{inner[2]}", "") if inner is not None else found


def _is_file(text: str, project: Path) -> bool:
    """Tell whether a text, which may be anything, is the path of a file in a project's folder."""
    path = Path(text)
    # `Path.is_file` does not bear any text.
    return not path.is_absolute() and ".." not in path.parts and os.path.isfile(project / path)  # noqa: PTH113


def timed_out(spec: AttemptSpec, version: Version, waiting_at: str) -> RunError:
    """Return the error of an Attempt that timed out, given the stack of its code then; empty if it is not known."""
    stack = _text(masker_for(spec).mask_text(waiting_at), STACK_LIMIT)
    return RunError(
        code=ErrorCode.SCRIPT_TIMEOUT,
        category="execution",
        message=_standing(f"The Attempt did not end within {spec.timeout.total_seconds():g} seconds.", stack, version),
        retirable=True,
        details={"stack": stack} if stack else None,
    )


def crashed(end: ChildEnd, version: Version) -> RunError:
    """Return the error of an Attempt whose Machine's own process ended while it ran."""
    if end.limit is not None:
        return _crashed(_over_limit(end.limit, end.used, version))
    if end.exit_code is None:
        return _crashed("The Machine's process was lost.")
    return ended(end.exit_code, version)


def ended(exit_code: int | None, version: Version, stack: str = "") -> RunError:
    """Return the error of an Attempt whose process ended by itself while it ran.

    Args:
        exit_code: Its exit code, negative for a signal. None: it did not end, but what it said was not understood.
        version: The version of the project that it executed.
        stack: Where it stood; empty if that is not known.
    """
    if exit_code is None:
        message = "The process of user code has lost its connection to the Machine, and was ended."
    elif exit_code < 0:
        message = f"Process was ended by signal {_signal(-exit_code)}."
    else:
        message = f"Process exited unexpectedly with code {exit_code}."
    return _crashed(_standing(message, stack, version), stack)


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


def _over_limit(limit: str, used: int, version: Version, stack: str = "") -> str:
    """Return the sentences for an Attempt whose Machine has passed a limit; for that of memory with the cure."""
    if limit != "memory":
        return _standing(_OVER_LIMIT[limit], stack, version)
    larger = (f"`{size}` ({_gib(memory)})" for size, memory in MEMORY_OF_SIZE.items() if memory > version.memory_limit)
    cure = " or ".join(larger)
    also = f" Set `replication.size` of the project's settings to {cure}, or hold less at once." if cure else ""
    sentence = f"Execution ran out of memory: its Machine used {_gib(used)} of {_gib(version.memory_limit)}."
    return _standing(sentence, stack, version) + also


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB"
