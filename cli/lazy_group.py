"""The group of all commands. It imports the module of a command only when it is used, so that others start faster."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

_MODULES = {
    "new": "cli.new",
    "dev": "cli.dev",
    "api": "cli.services",
    "worker": "cli.services",
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
