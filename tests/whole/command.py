"""The `callboard` command as people type it, against a running stack."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import Stack

PROGRAM = Path(sys.executable).with_name("callboard")


@dataclass(frozen=True)
class Done:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """Types commands in the folder of a project. The stack is found by its data folder."""

    stack: Stack
    project: str = "lab"

    @property
    def folder(self) -> Path:
        return self.stack.projects / self.project

    def environment(self, **more: str) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        return {**plain, "CALLBOARD_DATA_DIR": str(self.stack.data), **more}

    async def __call__(
        self, *arguments: str, code: int = 0, text: str = "", cwd: Path | None = None, **environment: str
    ) -> Done:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(text.encode()), 90)
        assert process.returncode is not None
        done = Done(process.returncode, out.decode(), err.decode())
        assert done.code == code, (arguments, done)
        return done
