"""The `callboard` command, which reports errors and ends with their exit codes."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli.exit_codes import exit_code_for_error
from cli.output import print_message
from schemas.errors import CallboardError
from security.inspection import forbid_inspection
from telemetry.logs import configure_logging, log_fatal, wants_json_logs
from temporal.hard_exit import hard_exit

_MODULES = {
    "new": "cli.new",
    "venv": "cli.venv",
    "setup": "cli.setup",
    "init": "cli.init",
    "run": "cli.run",
    "dev": "cli.dev",
    "api": "cli.services",
    "worker": "cli.services",
    "temporal": "cli.services",
    "deploy": "cli.deploy",
    "setup-namespace": "cli.setup_namespace",
    "doctor": "cli.doctor.command",
    "fleet": "cli.fleet",
    "config": "cli.config",
    "runs": "cli.runs",
    "attempts": "cli.attempts",
    "jobs": "cli.jobs",
    "jobruns": "cli.jobruns",
    "authsessions": "cli.authsessions",
    "deliveries": "cli.deliveries",
    "projects": "cli.projects",
    "env-vars": "cli.env_vars",
    "audit": "cli.audit",
    "keys": "cli.keys",
}
"""Modules of the commands. Each has a group of commands, `app`, or a function of the command's name."""


class LazyGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = dict.fromkeys(_MODULES)  # Lists and suggestions use only the names.

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """Return the command of that name, or None if there is none."""
        if cmd_name not in _MODULES:
            return None
        module = import_module(_MODULES[cmd_name])
        if hasattr(module, "app"):
            app: typer.Typer = module.app
        else:
            app = typer.Typer(add_completion=False)
            app.command()(getattr(module, cmd_name.replace("-", "_")))
        command = get_command(app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="callboard",
    cls=LazyGroup,
    help="Browser automations as durable API calls, on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callboard {version_of('callboard')}")
        raise typer.Exit


@app.callback()
def _callboard(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Browser automations as durable API calls, on your own machines."""


def main() -> None:
    """Run the command.

    Errors that we raise on purpose are one sentence on stderr; a traceback is a defect of ours.
    """
    forbid_inspection()  # `dev` creates keys, and other commands have keys in their environment.
    if wants_json_logs():
        configure_logging(level=logging.WARNING)
    try:
        app()
    except CallboardError as error:
        if wants_json_logs():
            log_fatal("callboard", error.message)
        else:
            print_message(error.message, "red")
        hard_exit(exit_code_for_error(error))
    except SystemExit as end:  # Typer ends every command with this, also after success.
        hard_exit(end.code if isinstance(end.code, int) else int(end.code is not None))
