"""The `callboard` command as people type it, against a running stack."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import CALLBOARD, Done, execute, surroundings
from tests.support.stack import Stack

_PATIENCE = 60


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
        return surroundings(CALLBOARD_DATA_DIR=str(self.stack.data), **more)

    async def __call__(
        self, *arguments: str, code: int = 0, text: str = "", cwd: Path | None = None, **environment: str
    ) -> Done:
        """Type it, and wait for its end, which is to be `code`."""
        env = self.environment(**environment)
        done = await execute(CALLBOARD, *arguments, text=text, cwd=cwd or self.folder, env=env)
        assert done.code == code, (arguments, done)
        return done

    async def script(self, text: str, cwd: Path, *, within: float) -> str:
        """Type lines of a shell, which have to succeed within these seconds; return what they say."""
        environment = self.environment()
        environment["PATH"] = f"{CALLBOARD.parent}:{environment['PATH']}"
        done = await execute("bash", "-eu", "-o", "pipefail", "-c", text, within=within, cwd=cwd, env=environment)
        assert done.code == 0, done
        return done.out

    @asynccontextmanager
    async def on_terminal(self, *arguments: str) -> AsyncGenerator[Terminal]:
        """The same on a terminal."""
        ours, its = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                CALLBOARD,
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
