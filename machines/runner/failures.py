"""How an Attempt can fail inside the child, and how that is told to the worker."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 4_000
STACK_LIMIT = 16_000


class UserCodeError(Exception):
    """User code raised, or returned what is not JSON: another Attempt may succeed."""

    kind = "user"

    def __init__(self, message: str, *, name: str = "", stack: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.stack = stack


class StructuralError(UserCodeError):
    """The API's file is broken or not what it should be: no Attempt can succeed."""

    kind = "structural"


class ResultTooBigError(StructuralError):
    """What is returned passes the limit of the contract (section 3, rule 5)."""

    kind = "too-big"

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"{what} is {size} bytes of JSON; at most {limit} are allowed. Return less, or store it elsewhere "
            "and return a reference.",
            name="ResultTooBigError",
        )
        self.size = size
        self.limit = limit


def raised(error: BaseException, root: Path, message: str | None = None) -> UserCodeError:
    """What user code raised, with its stack: frames of the project, by paths relative to it."""
    text = message or _said(error) or type(error).__name__
    return UserCodeError(text[:MESSAGE_LIMIT], name=type(error).__name__, stack=stack_of(error, root))


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # whatever user code does when it is asked for its message
        return ""


def stack_of(error: BaseException, root: Path) -> str:
    """The traceback from the first frame of the project on; its files by relative path."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((n for n, frame in enumerate(frames) if frame.filename.startswith(f"{root}/")), len(frames))
    # A message of megabytes must not push the frames out, nor a thousand frames the message.
    last = "".join(traceback.format_exception_only(error))[:MESSAGE_LIMIT]
    lines = "".join(traceback.format_list(frames[first:]))[-(STACK_LIMIT - MESSAGE_LIMIT) :]
    return (lines + last).replace(f"{root}/", "")


def as_message(error: UserCodeError, *, also: str = "") -> dict[str, Any]:
    """The error as fields of a message; what it cannot know itself comes behind its own message."""
    fields: dict[str, Any] = {
        "kind": error.kind,
        "name": error.name,
        "message": f"{str(error)[: MESSAGE_LIMIT - len(also) - 1].rstrip()}\n{also}" if also else str(error),
        "stack": error.stack,
    }
    if isinstance(error, ResultTooBigError):
        fields["details"] = {"sizeInBytes": error.size, "maxSizeInBytes": error.limit}
    return fields
