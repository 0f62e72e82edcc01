"""The commands, each loaded when it is asked for: what only some of them need would make all others begin later."""

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
    "config": "cli.config",
    "runs": "cli.runs",
    "attempts": "cli.attempts",
    "authsessions": "cli.authsessions",
    "deliveries": "cli.deliveries",
    "projects": "cli.projects",
}
"""Each has a group of commands, `app`, or a function of the command's name."""


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = dict.fromkeys(_MODULES)  # names are all that lists and suggestions want of it

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the library's signature
        """The command of that name; None if there is none."""
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
