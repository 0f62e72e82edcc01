"""Options of commands that say which API and which project they are for, and the defaults of those options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from callboard.cli.api_client import find_api
from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.projects.settings_syntax import SETTINGS_PARSERS
from callboard.schemas.errors import BadRequest

Url = Annotated[
    str | None,
    typer.Option(help="Address of the API. Default: CALLBOARD_URL, else the running `callboard dev`."),
]
Key = Annotated[
    str | None,
    typer.Option(help="API key. Other users of this host can see it; prefer CALLBOARD_API_KEY."),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Data folder of `callboard dev`. Default: CALLBOARD_DATA_DIR, else ~/.local/share/callboard."),
]
Project = Annotated[
    str | None,
    typer.Option("--project", "-p", help="Project. Default: the one of the current folder."),
]

_API_OPTIONS: Mapping[str, Any] = {"url": Url, "key": Key, "data": Data}


def with_api(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command from a function whose first argument is the API, and add the options that say which API."""

    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in _API_OPTIONS}
        command(find_api(**options), **given)

    return with_options(command, run, _API_OPTIONS)


def with_project(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command from a function whose first argument is a project's API, and add the options that say which."""

    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in _API_OPTIONS}
        project = resolve_project(given.pop("project"))
        command(dataclasses.replace(find_api(**options), project=project), **given)

    return with_options(command, run, {"project": Project, **_API_OPTIONS})


def with_options(
    command: Callable[..., None], run: Callable[..., None], options: Mapping[str, Any]
) -> Callable[..., None]:
    """Return `run` as a command with the arguments of `command` but its first, and these options besides."""
    known = inspect.signature(command, eval_str=True)
    _, *own = known.parameters.values()
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(kind), annotation=kind)
        for name, kind in options.items()
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + added
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(run)["__signature__"] = known.replace(parameters=parameters)
    return run


def _default(kind: Any) -> bool | None:
    return False if get_args(kind)[0] is bool else None


def resolve_project(given: str | None) -> str:
    """Return the name of the given project, else of the one whose folder is the working folder or above it.

    Raises:
        BadRequest: There is no project.
        ProjectError, SettingsError: The project's settings file cannot be read.
    """
    if given is not None:
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / name).is_file() for name in SETTINGS_PARSERS):
            return resolve_project_name(folder, read_settings(folder))
    raise BadRequest(
        "No project given. Pass -p NAME or run inside a project folder: "
        f"neither {here} nor a folder above it has a settings file."
    )
