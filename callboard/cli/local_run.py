"""The process in which `callboard run` calls a project's function, and the logins that it keeps.

`callboard_runtime.local_run` is what runs in that process, or `runtime/node/local_run.js` for a project in TypeScript.
A login lies where projects of Intuned keep theirs, in `auth-sessions-instances/ID` (docs/contract.md, section 7): its
state in `auth-session.json`, and what it was made from in `metadata.json`. Both are for their owner alone, and part of
no version.
"""

from __future__ import annotations

import asyncio
import json
import linecache
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any, TextIO

from pydantic_core import PydanticCustomError

from callboard.cli.local_variables import LocalVariables
from callboard.dev import die_with_parent
from callboard.machines.box import driver_program, node_program
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.environment import USER_PREFIX, display_environment
from callboard.machines.runner import inner_box, process_tree
from callboard.machines.runner.main import RUNTIME
from callboard.machines.sandbox import sandbox_refusal
from callboard.projects.api_descriptions import read_line
from callboard.projects.code_checks import look_at_code
from callboard.projects.declaration import VENV
from callboard.projects.files import COMPILED, list_project_files
from callboard.projects.input_schemas import InputSchema
from callboard.projects.node.compiler import compile_here, read_parameters_here
from callboard.projects.node.declared import HOOK, find_functions
from callboard.projects.parameter_check import SchemaError
from callboard.projects.project_settings import ProjectSettings
from callboard.schemas.errors import BadRequest, NotFound, ProjectError
from callboard.schemas.rest.proxy import split_proxy
from callboard.schemas.rest.run_auth_session import ID_RULE, is_auth_session_id

_CLOSE_WITHIN = 10
"""Seconds that the process gets to close everything after Ctrl-C. Code that blocks is ended then."""
_FRAME = re.compile(r'^  File "([^"\n]*)", line (\d+) in ([^\n]*)$', re.MULTILINE)
"""One frame as `faulthandler` writes it."""
_MOST_RECENT_FIRST = "(most recent call first):\n"
"""End of the line before the frames of a thread."""
_CHECK = "auth-sessions/check"
_OURS = ("CALLBOARD_", "AWS_", "TEMPORAL_")
"""Prefixes of variables that are for Callboard itself, and that hold secrets."""


@dataclass(frozen=True)
class CallOptions:
    """How a function is called, as the command line says it."""

    headful: bool
    keep_open: bool
    slow_mo: float
    """Milliseconds before each step of Playwright."""
    trace: Path | None
    timeout: timedelta | None
    proxy: str | None
    cdp_url: str | None
    debugpy: int | None
    inspect: int | None


@dataclass(frozen=True)
class LocalLogin:
    """A login in a project's folder."""

    id: str
    parameters: dict[str, Any] | None
    """What it was made from; None if it was not."""
    state: dict[str, Any] | None
    """Its cookies and storages (docs/contract.md, section 4.5); None before it was made."""


@dataclass(frozen=True)
class LocalProject:
    """A project on its author's host."""

    folder: Path
    settings: ProjectSettings
    python: Path | None
    """The interpreter of its environment; None for a project in TypeScript."""
    variables: LocalVariables

    def login(self, session_id: str) -> LocalLogin:
        """Return the login with this id.

        Raises:
            BadRequest: It cannot be an id.
            NotFound: There is none.
        """
        folder = self._login_folder(session_id)
        try:
            state = json.loads((folder / "auth-session.json").read_text())
        except FileNotFoundError:
            raise NotFound(
                f"There is no login {session_id} here. Make it with: callboard run authsession create {session_id}"
            ) from None
        metadata = folder / "metadata.json"
        parameters = json.loads(metadata.read_text()).get("parameters") if metadata.exists() else None
        return LocalLogin(session_id, parameters, state)

    def keep_login(self, login: LocalLogin) -> Path:
        """Write a login, whole or not at all, and return its folder."""
        folder = self._login_folder(login.id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        _write_private(folder / "metadata.json", {"parameters": login.parameters, "createdAt": made_at})
        _write_private(folder / "auth-session.json", login.state)
        return folder

    @contextmanager
    def called(
        self,
        kind: str,
        function: str,
        parameters: Any,
        options: CallOptions,
        login: LocalLogin | None = None,
        *,
        check: bool = False,
    ) -> Generator[dict[str, Any]]:
        """Call a function of the project in the foreground, and yield the outcome that `callboard_runtime` tells.

        The process has ended, and its browser is closed, when the block is left.

        Args:
            kind: `api`, `create` or `check`.
            function: Its path, such as `api/shop/list`.
            parameters: What it is given; None for nothing.
            options: How it is called.
            login: The login that it begins with, if any.
            check: Whether the project's check of that login comes first.

        Raises:
            BadRequest: An option cannot be followed here, or a secret is missing that parameters of the login refer to.
            MachineError: There is no browser.
            ProjectError: The process has ended without an outcome, and has said why on standard error.
            KeyboardInterrupt: Ctrl-C was pressed. All is closed.
        """
        if login is not None:
            self._login_folder(login.id)  # What cannot be an id is refused before any code runs.
            if options.cdp_url is not None:  # Its cookies are a person's own, and are not to be mixed with these.
                raise BadRequest("--cdp-url: that browser has logins of its own. Leave the option out to use another.")
        headful = options.headful or options.keep_open
        if headful and options.cdp_url is None and not display_environment():
            raise BadRequest(
                "There is no display to open a window on: DISPLAY and WAYLAND_DISPLAY are not set. Run it in a desktop "
                "session, or with a virtual display: xvfb-run callboard run …"
            )
        configured = os.environ.get("CALLBOARD_CHROMIUM")
        browser = find_browser(Path(configured) if configured else None, headful=headful)
        size = self.settings.browser_size
        order = {
            "kind": kind,
            "function": function,
            "parameters": self.variables.resolve(parameters) if kind == "create" else parameters,
            "login": login and {**asdict(login), **self._made_from(login), "check": check},
            "browser": str(browser),
            "sandbox": sandbox_refusal(browser, boxed=False) is None,
            "arguments": browser_args(),
            "headless": not headful,
            "viewport": [size.width, size.height],
            "proxy": _proxy_parts(options.proxy or self.settings.proxy_in("dev")),
            "slow_mo": options.slow_mo,
            "cdp_url": options.cdp_url,
            "indexed_db": self.settings.auth_sessions.indexed_db,
            "downloads": self.settings.files.downloads,
            "trace": options.trace and str(options.trace.absolute()),
            "timeout": options.timeout and options.timeout.total_seconds(),
            "keep_open": options.keep_open,
        }
        # Temporary files of the code are deleted, as after an Attempt. Playwright makes the browser's profile there.
        with tempfile.TemporaryDirectory(prefix="callboard-run-", ignore_cleanup_errors=True) as temporary:
            environment = {**_inherited(), **self.variables.values, "TMPDIR": temporary}
            if self.python is None:
                command, more = self._compiled(function, Path(temporary), options.inspect)
            else:
                command, more = [self.python, "-m", "callboard_runtime.local_run"], {"debugpy": options.debugpy}
            with _started(command, self.folder, environment, {**order, **more}) as outcome:
                yield outcome

    def _compiled(self, function: str, temporary: Path, inspect: int | None) -> tuple[list[str | Path], dict[str, Any]]:
        """Compile what a call of this function needs. Return the command that calls it, and more fields of its order.

        Raises:
            ProjectError: It does not compile.
        """
        functions = self._functions()
        wanted = {name: file for name, file in functions.items() if name in (function, HOOK, _CHECK)}
        asyncio.run(compile_here(self.folder, wanted, temporary / COMPILED))
        debugger = [] if inspect is None else [f"--inspect-wait=127.0.0.1:{inspect}"]
        core = driver_program().parent / "package"
        more = {"compiled": str(temporary), "core": str(core), "hook": HOOK in functions}
        node = [node_program(), *debugger, RUNTIME / "node" / "local_run.js"]
        return [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *node], more

    def input_schema(self, api: str) -> InputSchema | SchemaError | None:
        """Return the schema of an API's parameters, or why there is none; None if its annotation says nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self.python is None:
            return self._schema_in_typescript(api)
        if not look_at_code(self.folder, [api])[api].annotated:
            return None
        inner_box.adopt_orphans()
        with tempfile.TemporaryDirectory(prefix="callboard-run-", ignore_cleanup_errors=True) as temporary:
            try:
                done = subprocess.run(
                    [self.python, "-m", "callboard_runtime.input_schemas", api],
                    cwd=self.folder,
                    env={**_inherited(), **self.variables.values, "TMPDIR": temporary},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # what the code prints as it is imported is printed by the call
                    text=True,
                    errors="replace",
                    check=False,
                )
            finally:
                process_tree.kill_all()
        return read_line(done.stdout).parameters

    def file_of(self, api: str) -> str:
        """Return the path of an API's file below the project folder."""
        return f"api/{api}.py" if self.python is not None else self._functions()[f"api/{api}"]

    def _schema_in_typescript(self, api: str) -> InputSchema | SchemaError | None:
        with tempfile.TemporaryDirectory(prefix="callboard-run-", ignore_cleanup_errors=True) as temporary:
            variables = {**_inherited(), **self.variables.values, "TMPDIR": temporary}
            reading = read_parameters_here(api, self.file_of(api), self.folder, Path(temporary), variables)
            line = asyncio.run(reading)
        return read_line(line).parameters if line else None

    def _functions(self) -> dict[str, str]:
        return find_functions([PurePosixPath(file.path) for file in list_project_files(self.folder)])

    def _made_from(self, login: LocalLogin) -> dict[str, Any]:
        return {"parameters": self.variables.resolve(login.parameters)}

    def _login_folder(self, session_id: str) -> Path:
        if not is_auth_session_id(session_id):
            raise BadRequest(f"{session_id!r} cannot be the id of an AuthSession. Expected {ID_RULE}.")
        return self.folder / "auth-sessions-instances" / session_id


def _write_private(path: Path, value: Any) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(value, file, indent=2)
    Path(file.name).replace(path)


def _proxy_parts(url: str | None) -> dict[str, Any] | None:
    """Return a proxy as Playwright is given it. Raises BadRequest if the address is none."""
    if url is None:
        return None
    try:
        parts = split_proxy(url)
    except PydanticCustomError as error:
        raise BadRequest(f"--proxy: {error.message()}.") from None
    return {name: value for name, value in asdict(parts).items() if value is not None}


def _inherited() -> dict[str, str]:
    """Return our environment without Callboard's own variables, and with those that `CALLBOARD_USER_X` sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    given = {name: value for name, value in os.environ.items() if name.startswith(USER_PREFIX) and name != USER_PREFIX}
    return {**kept, **{name.removeprefix(USER_PREFIX): value for name, value in given.items()}}


@contextmanager
def _started(
    command: Sequence[str | Path], folder: Path, environment: dict[str, str], order: dict[str, Any]
) -> Generator[dict[str, Any]]:
    """Start the process, and yield what it tells, or that it has gone beyond its time limit and was ended.

    It has ended when the block is left, with all that it has started.

    Raises:
        ProjectError: It has ended without an outcome, and has said why on standard error.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    inner_box.adopt_orphans()
    reading, writing = os.pipe()
    with (
        os.fdopen(os.memfd_create("order"), "w+", encoding="utf-8") as file,
        os.fdopen(os.memfd_create("stack"), encoding="utf-8", errors="replace") as stack,
        os.fdopen(reading) as told,
        _terminal_restored(),
    ):
        json.dump({**order, "stack": stack.fileno()}, file)
        file.seek(0)
        descriptors = (file.fileno(), stack.fileno(), writing)
        child = subprocess.Popen(
            [*command, str(file.fileno()), str(writing)],
            cwd=folder,
            env=environment,
            pass_fds=descriptors,
            stdout=2,  # What user code prints belongs to the log. Our standard output has the result alone.
        )
        os.close(writing)
        with _interruptible(child) as interrupted:
            try:
                line = told.readline()  # A process that the code has left may hold the other end open.
                if outcome := json.loads(line) if line else _ended_late(child, stack, folder, order["timeout"]):
                    yield outcome
            finally:
                child.wait()
                process_tree.kill_all()
    if interrupted:
        raise KeyboardInterrupt
    if not outcome:
        raise ProjectError(f"The process of the project's code ended with exit code {child.returncode}, and no result.")


@contextmanager
def _terminal_restored() -> Generator[None]:
    """Leave the terminal as it was: a process that asks for a secret may end while nothing shows that is typed."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        if termios.tcgetattr(sys.stdin) != before:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _ended_late(
    child: subprocess.Popen[bytes], stack: TextIO, folder: Path, timeout: float | None
) -> dict[str, Any] | None:
    """Return the outcome of a process that had to be ended after its time limit; None if that is not why it ended."""
    child.wait()
    stack.seek(0)
    if not (dump := stack.read()):
        return None
    message = f"It took longer than {timeout:g} seconds, and had to be ended, as it did not react."
    of_python = _MOST_RECENT_FIRST in dump
    error = {
        "kind": "user",
        "name": "TimeoutError",
        "message": message,
        "stack": _traceback(dump, folder) if of_python else dump.rstrip(),
    }
    return {"error": error, "attributes": {}}


def _traceback(dump: str, folder: Path) -> str:
    """Return what `faulthandler` says of the main thread, which it names last, as a traceback of the project's code."""
    frames: list[traceback.FrameSummary] = []
    for path, line, function in _FRAME.findall(dump.rpartition(_MOST_RECENT_FIRST)[2]):
        place = path.removeprefix(f"{folder}/")
        if place != path and not place.startswith(f"{VENV}/"):
            source = linecache.getline(path, int(line))
            frames.insert(0, traceback.FrameSummary(place, int(line), function, lookup_line=False, line=source))
    return "".join(traceback.format_list(frames))


@contextmanager
def _interruptible(child: subprocess.Popen[bytes]) -> Generator[list[int]]:
    """Have Ctrl-C or SIGTERM end the process in bounded time, and at once if it comes again. Yield the signals."""
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM or came:
            child.kill()
        else:
            child.send_signal(signal.SIGINT)
            signal.alarm(_CLOSE_WITHIN)
        came.append(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    try:
        yield came
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
