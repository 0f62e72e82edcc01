"""Find the user's function by a fresh import of the project's modules (docs/contract.md, section 3, rule 2)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

from .failures import StructuralError, raised

FUNCTIONS = ("automation", "create", "check")
"""Names of the function that is called, looked up in this order."""

UserFunction = Callable[..., Coroutine[Any, Any, Any]]


def load(function_path: str, root: Path) -> UserFunction:
    """Return the coroutine function of `function_path` in the project at `root`.

    Such paths are `api/shop/list` and `auth-sessions/check`.

    Raises:
        StructuralError: There is no such file or function, the file does not parse, an import in it fails, or it is no
            coroutine function.
        UserCodeError: The module raised another exception while it was imported.
    """
    module = load_module(function_path, root)
    for candidate in FUNCTIONS:
        function = getattr(module, candidate, None)
        if function is None:
            continue
        if not inspect.iscoroutinefunction(function):
            raise StructuralError(
                f"{candidate} in {function_path}.py is not a coroutine function; write `async def {candidate}`.",
                name="InvalidAPIError",
            )
        return function
    raise StructuralError(
        f"{function_path}.py has no function `{_expected(function_path)}`; "
        f"write `async def {_expected(function_path)}(page, params)`.",
        name="APINotFoundError",
    )


def _expected(function_path: str) -> str:
    folder, _, name = function_path.rpartition("/")
    return name if folder == "auth-sessions" else "automation"


def load_module(function_path: str, root: Path) -> ModuleType:
    """Import and return the module of `function_path`.

    Raises:
        StructuralError: There is no such file, it or a module that it imports does not parse, or an import fails.
        UserCodeError: The module raised another exception while it was imported.
    """
    name = function_path.replace("/", ".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in (name, name.partition(".")[0]):
            raise StructuralError(f"{function_path}.py is not in the project.", name="APINotFoundError") from error
        raise raised(error, root) from error
    except SyntaxError as error:
        broken = raised(error, root)
        text = str(broken)
        if error.filename == str(root / f"{function_path}.py"):
            text = f"{function_path}.py does not parse: {error.msg} (line {error.lineno})"
        raise StructuralError(text, name=broken.name, stack=broken.stack) from error
    except (Exception, SystemExit) as error:
        raise raised(error, root, exit_message(error)) from error


def exit_message(error: BaseException) -> str | None:
    """Return the message for user code that tried to end the process; None for any other exception."""
    return f"The automation called sys.exit({error.code!r})." if isinstance(error, SystemExit) else None
