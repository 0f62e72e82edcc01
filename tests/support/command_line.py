"""The `callboard` command as people type it, against a running stack."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.stack import Stack

PROGRAM = Path(sys.executable).with_name("callboard")
_PATIENCE = 60


@dataclass(frozen=True)
class Done:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminal:
    """A command on a terminal of 120 columns."""

    process: asyncio.subprocess.Process
    descriptor: int
    seen: str = ""

    async def until(self, words: str) -> str:
        """All that was shown, once these words are among it."""
        async with asyncio.timeout(_PATIENCE):
            while words not in self.seen:
                assert await self._more(), self.seen
        return self.seen

    async def end(self) -> int:
        """Its exit code, once it has ended and all was shown."""
        async with asyncio.timeout(_PATIENCE):
            while await self._more():
                pass
            return await self.process.wait()

    async def _more(self) -> bool:
        try:
            more = await asyncio.to_thread(os.read, self.descriptor, 4096)
        except OSError:  # nobody has it open any more
            more = b""
        self.seen += more.decode("utf-8", "replace")
        return bool(more)


@dataclass(frozen=True)
class Command:
    """Types commands in the folder of a project. The stack is found by its data folder."""

    stack: Stack
    project: str = "lab"

    @property
    def folder(self) -> Path:
        return self.stack.projects / self.project

    def environment(self, **more: str) -> dict[str, str]:
        # Nothing is to be opened on the desktop of whoever runs the tests.
        others = ("CALLBOARD_", "DISPLAY", "WAYLAND_DISPLAY")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return {**plain, "CALLBOARD_DATA_DIR": str(self.stack.data), **more}

    async def __call__(
        self, *arguments: str, code: int = 0, text: str = "", cwd: Path | None = None, **environment: str
    ) -> Done:
        """Type it, and wait for its end, which is to be `code`."""
        async with self.running(*arguments, cwd=cwd, **environment) as process:
            out, err = await asyncio.wait_for(process.communicate(text.encode()), _PATIENCE)
        assert process.returncode is not None
        done = Done(process.returncode, out.decode(), err.decode())
        assert done.code == code, (arguments, done)
        return done

    @asynccontextmanager
    async def running(
        self, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> AsyncGenerator[asyncio.subprocess.Process]:
        """One that goes on, for as long as the block lasts."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def script(self, text: str, cwd: Path, *, within: float) -> str:
        """Type lines of a shell, which have to succeed within these seconds; return what they say."""
        environment = self.environment()
        environment["PATH"] = f"{PROGRAM.parent}:{environment['PATH']}"
        pipe = asyncio.subprocess.PIPE
        shell = ("bash", "-eu", "-o", "pipefail", "-c", text)
        process = await asyncio.create_subprocess_exec(*shell, cwd=cwd, env=environment, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(process.communicate(), within)
        assert process.returncode == 0, (out.decode(), err.decode())
        return out.decode()

    @asynccontextmanager
    async def on_terminal(self, *arguments: str) -> AsyncGenerator[Terminal]:
        """The same on a terminal."""
        ours, its = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                PROGRAM,
                *arguments,
                cwd=self.folder,
                env=self.environment(TERM="xterm-256color", COLUMNS="120"),
                stdin=its,
                stdout=its,
                stderr=its,
                start_new_session=True,
            )
            os.close(its)
            try:
                yield Terminal(process, ours)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        finally:
            os.close(ours)
