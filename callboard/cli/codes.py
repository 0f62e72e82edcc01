"""`callboard codes …`: push a code that was received, as a gateway of SMS or mail does."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from callboard.cli.api_client import ApiClient
from callboard.cli.with_api import with_project

app = typer.Typer(help="Push codes that were received.", no_args_is_help=True, add_completion=False)


@app.callback()
def _commands() -> None:
    """Keep `push` a command of its own, as the only one here."""


@app.command()
@with_project
def push(
    target: ApiClient,
    to: Annotated[str, typer.Argument(metavar="TO", help="To whom it was sent, as code_to names it.")],
    content: Annotated[
        str | None, typer.Argument(metavar="CONTENT", help="What has come. Without it, standard input is read.")
    ] = None,
) -> None:
    """Push a code, or a message with one, to the question of a project that waits for it.

    Other users of this host can see what stands on the command line.
    """
    if content is None:
        content = sys.stdin.buffer.read().decode(errors="replace")
    target.request("POST", "codes", {"to": to, "content": content})
