"""The `callboard` command, without an api or for one that is in this process."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from typer.testing import CliRunner, Result

from callboard.cli.exit_codes import exit_code_for_error
from callboard.cli.main import app
from callboard.schemas.errors import CallboardError
from tests.support.api_in_process import KEY, Api
from tests.support.constants import WORKSPACE

NOWHERE = {
    "CALLBOARD_URL": "http://127.0.0.1:9",
    "CALLBOARD_API_KEY": KEY,
    "CALLBOARD_WORKSPACE_ID": WORKSPACE,
}
"""What leads a command to where nobody listens: what it says then, it says without having asked."""


def callboard(*arguments: object, text: str | None = None, **environment: str) -> Result:
    """A command, in this process: it begins sooner."""
    none = dict.fromkeys(name for name in os.environ if name.startswith("CALLBOARD_"))
    return CliRunner().invoke(
        app, [str(each) for each in arguments], env={**none, "COLUMNS": "200", **environment}, input=text
    )


def error_of(done: Result) -> tuple[int, str]:
    """How `callboard` ends where it raises an error: its exit code and the sentence, the only thing that it says."""
    assert isinstance(done.exception, CallboardError), (done.output, done.exception)
    assert done.stdout == ""
    assert "\n" not in done.exception.message
    assert KEY not in done.exception.message
    return exit_code_for_error(done.exception), done.exception.message


@dataclass(frozen=True)
class Commands:
    """Commands for an api that is served from this process, typed by somebody with a key to it."""

    api: Api
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What leads a command here."""
        return {"CALLBOARD_URL": f"{self.url}/", "CALLBOARD_API_KEY": KEY, "CALLBOARD_WORKSPACE_ID": WORKSPACE}

    async def __call__(self, *arguments: object, text: str | None = None, **environment: str) -> Result:
        """Type one, and wait for its end, whatever that is."""
        return await asyncio.to_thread(callboard, *arguments, text=text, **(self.environment | environment))

    async def said(self, *arguments: object, text: str | None = None, **environment: str) -> str:
        """Type one that succeeds; what it says on stdout."""
        done = await self(*arguments, text=text, **environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    async def error(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Type one that fails; its exit code and its sentence."""
        return error_of(await self(*arguments, **environment))
