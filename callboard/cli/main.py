"""The `callboard` command, which reports errors and ends with their exit codes."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from callboard.cli.exit_codes import exit_code_for_error
from callboard.cli.output import print_message
from callboard.schemas.errors import CallboardError
from callboard.security.inspection import forbid_inspection
from callboard.telemetry.logs import configure_logging, log_fatal, wants_json_logs
from callboard.temporal.hard_exit import hard_exit

_MODULES = {
    "new": "callboard.cli.new",
    "venv": "callboard.cli.venv",
    "setup": "callboard.cli.setup",
    "init": "callboard.cli.init",
    "run": "callboard.cli.run",
    "dev": "callboard.cli.dev",
    "api": "callboard.cli.services",
    "worker": "callboard.cli.services",
    "temporal": "callboard.cli.services",
    "deploy": "callboard.cli.deploy",
    "setup-namespace": "callboard.cli.setup_namespace",
    "doctor": "callboard.cli.doctor.command",
    "fleet": "callboard.cli.fleet",
    "config": "callboard.cli.config",
    "runs": "callboard.cli.runs",
    "attempts": "callboard.cli.attempts",
    "jobs": "callboard.cli.jobs",
    "jobruns": "callboard.cli.jobruns",
    "authsessions": "callboard.cli.authsessions",
    "deliveries": "callboard.cli.deliveries",
    "alerts": "callboard.cli.alerts",
    "handoffs": "callboard.cli.handoffs",
    "codes": "callboard.cli.codes",
    "mcp": "callboard.cli.mcp",
    "projects": "callboard.cli.projects",
    "env-vars": "callboard.cli.env_vars",
    "audit": "callboard.cli.audit",
    "keys": "callboard.cli.keys",
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
