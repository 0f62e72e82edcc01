"""The ways in which user code can fail, and the message about each of them."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 4_000
STACK_LIMIT = 16_000
_PACKAGES = "/site-packages/"


class UserCodeError(Exception):
    """User code raised an exception, or returned what is not JSON. Another Attempt may succeed."""

    kind = "user"

    def __init__(self, message: str, *, name: str = "", stack: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.stack = stack


class StructuralError(UserCodeError):
    """The API's file is broken or not what it should be. No Attempt can succeed."""

    kind = "structural"


class NoRetryError(StructuralError):
    """User code says that no further Attempt can help."""

    kind = "non-retryable"


class RetryLaterError(UserCodeError):
    """User code says that another Attempt may help after a while."""

    kind = "retry-later"

    def __init__(self, message: str, *, name: str, stack: str, seconds: float) -> None:
        super().__init__(message, name=name, stack=stack)
        self.seconds = seconds


class ResultTooBigError(StructuralError):
    """What is returned is larger than the limit (docs/contract.md, section 3, rule 5)."""

    kind = "too-big"

    def __init__(self, what: str, text: str, limit: int) -> None:
        super().__init__(
            f"{what} is {len(text)} bytes of JSON; at most {limit} are allowed. Return less, or store it elsewhere "
            "and return a reference.",
            name="ResultTooBigError",
        )
        self.text = text
        """The ASCII JSON."""
        self.size = len(text)
        self.limit = limit


def raised(error: BaseException, root: Path, message: str | None = None) -> UserCodeError:
    """Return the error for what user code raised, with its stack: frames of the project, by relative paths.

    It says the exception's class and message, or `message`. An import that fails, and a name that there is not, would
    fail in each Attempt. A variable that has no value yet (`UnboundLocalError`) may depend on what the page had.
    """
    name, said = type(error).__name__, _said(error)
    text = message or (f"{name}: {said}" if said else name)
    if isinstance(error, ModuleNotFoundError):
        text += _undeclared(error, root)
    kind = StructuralError if isinstance(error, ImportError) or type(error) is NameError else UserCodeError
    return kind(text[:MESSAGE_LIMIT], name=name, stack=stack_of(error, root))


def _undeclared(error: ModuleNotFoundError, root: Path) -> str:
    """Return what to do about a module that is missing; nothing if the project has others of its package itself."""
    package = (error.name or "").partition(".")[0]
    if not package or (root / package).exists() or (root / f"{package}.py").exists():
        return ""
    file = "pyproject.toml" if (root / "pyproject.toml").exists() else "requirements.txt"
    return f"\nIt is neither a file of the project nor in a package that it declares. Declare its package in {file}."


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # user code may raise anything when it is asked for its message
        return ""


def stack_of(error: BaseException, root: Path) -> str:
    """Return the traceback from the first frame of the project on, with paths that say nothing about this host."""
    # A message of megabytes must not displace the frames, nor a thousand frames the message.
    last = "".join(traceback.format_exception_only(error))[:MESSAGE_LIMIT]
    return shown(traceback.extract_tb(error.__traceback__), root) + last.replace(f"{root}/", "")


def shown(frames: traceback.StackSummary, root: Path) -> str:
    """Return frames as a traceback has them, from the first one of the project on."""
    lines, inside = "", False
    for frame in frames:
        path = _relative(frame.filename, root)
        # Frames of Playwright are left out, with all that it calls up to the next frame of the project.
        # A project's own folder holds its packages, too, where its author has made an environment there.
        own = frame.filename.startswith(f"{root}/") and _PACKAGES not in frame.filename.removeprefix(str(root))
        inside = own or (inside and not path.startswith("playwright/"))
        if inside:
            (line,) = traceback.format_list([frame])
            lines += line.replace(f'"{frame.filename}"', f'"{path}"', 1)
    return lines[-(STACK_LIMIT - MESSAGE_LIMIT) :]


def _relative(filename: str, root: Path) -> str:
    """Return the path relative to the project, or to a folder from which modules are imported."""
    for place in (str(root), *(place for place in sys.path if place)):
        if filename.startswith(f"{place}/") and _PACKAGES not in filename.removeprefix(place):
            return filename.removeprefix(f"{place}/")
    return filename.rpartition(_PACKAGES)[2] if _PACKAGES in filename else Path(filename).name


def with_addition(fields: dict[str, Any], also: str) -> dict[str, Any]:
    """Return the fields of an error with `also` appended to its message."""
    message = f"{fields['message'][: MESSAGE_LIMIT - len(also) - 1].rstrip()}\n{also}"
    return {**fields, "message": message}


def as_message(error: UserCodeError) -> dict[str, Any]:
    """Return the error as fields of a message."""
    fields: dict[str, Any] = {
        "kind": error.kind,
        "name": error.name,
        "message": str(error),
        "stack": error.stack,
    }
    if isinstance(error, ResultTooBigError):
        fields["details"] = {"sizeInBytes": error.size, "maxSizeInBytes": error.limit}
    if isinstance(error, RetryLaterError):
        fields["retryAfter"] = error.seconds
    return fields
