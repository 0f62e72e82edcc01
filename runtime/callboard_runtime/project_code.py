"""The project's own code, freshly imported: its functions (docs/contract.md, section 3) and its hook (section 3.1)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from types import AsyncGeneratorType, ModuleType
from typing import Any, Literal, cast

from intuned_runtime import NonRetryableError
from intuned_runtime.deferred import MARK
from playwright.async_api import BrowserContext, Page

from .errors import RetryLater
from .failures import NoRetryError, ResultTooBigError, RetryLaterError, StructuralError, UserCodeError, raised
from .handoffs import is_question
from .results import to_json

_FUNCTIONS = ("automation", "create", "check")
"""Names of the function that is called, looked up in this order."""
CREATE = "auth-sessions/create"
"""The function that may be an async generator."""
_HOOK_FILE = "hooks/setup_context"
_HOOK_FUNCTION = "setup_context"
_HOOK_BUNDLE = ".callboard/hooks/setupContext.cjs"
"""What a deploy has made of a hook in TypeScript."""

_MOST_RESULTS = 100
"""Names that are tried for a file with a result."""

Kind = Literal["api", "create", "check"]
"""What a function is for: an API, or one of the two functions of a login."""

UserFunction = Callable[..., Coroutine[Any, Any, Any] | AsyncGeneratorType[Any, str]]
Cleanup = Callable[[], Awaitable[Any]]


def load(function_path: str, root: Path) -> UserFunction:
    """Return the coroutine function of `function_path` in the project at `root`; a create may be an async generator.

    Such paths are `api/shop/list` and `auth-sessions/check`.

    Raises:
        StructuralError: There is no such file or function, the file does not parse, an import in it fails, or it is no
            coroutine function.
        UserCodeError: The module raised another exception while it was imported.
    """
    module = _load_module(function_path, root)
    for candidate in _FUNCTIONS:
        function = getattr(module, candidate, None)
        if function is None:
            continue
        may_ask = function_path == CREATE and inspect.isasyncgenfunction(function)
        if not inspect.iscoroutinefunction(function) and not may_ask:
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


def _load_module(function_path: str, root: Path) -> ModuleType:
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


def exit_message(error: BaseException, what: str = "The automation") -> str | None:
    """Return the message for user code that tried to end the process; None for any other exception."""
    return f"{what} called sys.exit({error.code!r})." if isinstance(error, SystemExit) else None


async def call(
    function: UserFunction, kind: Kind, parameters: Any, open_page: Callable[[], Awaitable[tuple[BrowserContext, Page]]]
) -> Any:
    """Call the function, and return its result. Its exceptions are raised as they are.

    The call is positional, with the parameters as a plain dict, or without them when they are None. A deferred function
    is called before there is a page.

    Raises:
        StructuralError: The function does not take what it is called with, or it is a generator that has yielded
            something else than a question.
    """
    if getattr(function, MARK, False):
        _check_signature(function, "params", ensure_browser="ensure_browser")
        if kind == "create":
            await open_page()  # a create without a browser has no login
        return await _ended(function(parameters, ensure_browser=open_page))
    _check_signature(function, *(("page",) if parameters is None else ("page", "params")))
    _, page = await open_page()
    return await _ended(function(page) if parameters is None else function(page, parameters))


async def _ended(called: Coroutine[Any, Any, Any] | AsyncGeneratorType[Any, str]) -> Any:
    """Return what a call returns. A generator is given the answer of each question that it yields, or what that raises.

    Raises:
        StructuralError: It has yielded something else.
    """
    if not inspect.isasyncgen(called):
        return await called
    async with contextlib.aclosing(called) as generator:
        step = anext(generator)
        with contextlib.suppress(StopAsyncIteration):
            while is_question(question := await step):
                try:
                    step = generator.asend(await question)
                except BaseException as error:  # noqa: BLE001  # raised where an awaited question raises it
                    step = generator.athrow(error)
            raise StructuralError(
                f"create has yielded {type(question).__name__}. It may yield `request_input(…)` or `hand_over(…)` of "
                "callboard_runtime, which ask a person, and nothing else.",
                name="InvalidAPIError",
            )


def _check_signature(function: UserFunction, *names: str, **keywords: str) -> None:
    """Check that the function can be called with so many arguments and these keywords. Raises StructuralError."""
    try:
        # A decorator may take, and give, other arguments than what it wraps.
        inspect.signature(function, follow_wrapped=False).bind(*names, **keywords)
    except TypeError as error:
        called = ", ".join([*names, *(f"{name}=…" for name in keywords)])
        raise StructuralError(
            f"{function.__name__} in {function.__module__.replace('.', '/')}.py does not take what it is called with, "
            f"{function.__name__}({called}): {error}.",
            name="InvalidAPIError",
        ) from error


def result_as_json(kind: Kind, value: Any, root: Path) -> str:
    """Return JSON text of what a function returned: for a check only whether it is true, for a create `null`.

    A result that is too big is left as a file below `output/` of the project's folder `root`, so that it is not lost.

    Raises:
        UserCodeError: As for `to_json`.
    """
    match kind:
        case "check":
            return "true" if value else "false"
        case "create":
            return "null"
        case "api":
            try:
                return to_json(value)
            except ResultTooBigError as error:
                error.args = (f"{error} {_leave(error.text, root)}",)
                raise


def _leave(text: str, root: Path) -> str:
    """Write a result to a file that the Attempt leaves. Return a sentence that says where it is."""
    folder = root / "output"
    try:
        folder.mkdir(exist_ok=True)
        for name in ("result.json", *(f"result-{number}.json" for number in range(2, _MOST_RESULTS))):
            with contextlib.suppress(FileExistsError), (folder / name).open("x", encoding="ascii") as file:
                file.write(text)
                return f"It is left as the file {name}."
    except OSError as error:
        return f"It could not be left as a file: {error.strerror}."
    return "It could not be left as a file: there are too many of its name."


@contextlib.contextmanager
def as_user_code_errors(root: Path) -> Generator[None]:
    """Raise UserCodeError for all that user code raises, SystemExit included. CancelledError passes through.

    Args:
        root: The folder of the project, to whose frames stacks are cut.
    """
    try:
        yield
    except (UserCodeError, asyncio.CancelledError):
        raise
    except NonRetryableError as error:
        failure = raised(error, root)
        raise NoRetryError(str(failure), name=failure.name, stack=failure.stack) from error
    except RetryLater as error:
        failure = raised(error, root)
        raise RetryLaterError(str(failure), name=failure.name, stack=failure.stack, seconds=error.seconds) from error
    except BaseException as error:
        raise raised(error, root, exit_message(error)) from error


@dataclass(frozen=True)
class Brought:
    """What the project's hook returned."""

    context: BrowserContext | None = None
    """The context that the hook brought. None: the Machine's own context and page are used."""
    page: Page | None = None
    cleanup: Cleanup | None = None


def has_hook(root: Path, *, is_typescript: bool = False) -> bool:
    """Tell whether the project has a hook in its language; a file of the other one is none."""
    return (root / (_HOOK_BUNDLE if is_typescript else f"{_HOOK_FILE}.py")).is_file()


async def setup_context(root: Path, *, api_name: str, api_parameters: Any, cdp_url: str) -> Brought:
    """Load and call the hook. Its exceptions are those of user code; its return value must have one of four forms.

    Raises:
        StructuralError: The hook has no such coroutine function, or one that takes something else, or it returned
            something else.
        UserCodeError: Its module raised while it was imported, or it tried to end the process.
    """
    function = getattr(_load_module(_HOOK_FILE, root), _HOOK_FUNCTION, None)
    if not inspect.iscoroutinefunction(function):
        raise StructuralError(
            f"{_HOOK_FILE}.py has no coroutine function; "
            f"write `async def {_HOOK_FUNCTION}(*, api_name, api_parameters, cdp_url)`.",
            name="InvalidAPIError",
        )
    _check_signature(function, api_name="api_name", api_parameters="api_parameters", cdp_url="cdp_url")
    try:
        returned = await function(api_name=api_name, api_parameters=api_parameters, cdp_url=cdp_url)
    except (SystemExit, KeyboardInterrupt) as error:  # raised from a task, they would end the Machine
        raise raised(error, root, exit_message(error, _HOOK_FUNCTION)) from error
    match returned:
        case None:
            return Brought()
        case BrowserContext() as context:
            return Brought(context)
        case (BrowserContext() as context, (Page() | None) as page):
            return Brought(context, page)
        case (BrowserContext() as context, (Page() | None) as page, cleanup) if callable(cleanup):
            return Brought(context, page, cast("Cleanup", cleanup))
        case other:
            raise StructuralError(
                f"{_HOOK_FUNCTION} returned {type(other).__name__}; it may return nothing, a context, (context, "
                "page or None), or (context, page or None, async cleanup).",
                name="InvalidAPIError",
            )


async def clean_up(cleanup: Cleanup) -> None:
    """Call the cleanup that the hook returned. Its exceptions are those of user code.

    Raises:
        StructuralError: The cleanup is not async.
    """
    ending = cleanup()
    if not inspect.isawaitable(ending):
        raise StructuralError(
            f"The cleanup that {_HOOK_FUNCTION} returned is not async; write `async def`.", name="InvalidAPIError"
        )
    await ending
