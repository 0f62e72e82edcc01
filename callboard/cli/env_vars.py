"""`callboard env-vars …`: environment variables of a project and of the workspace, over the API."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from callboard.cli.api_client import ApiClient, find_api, quote_segment
from callboard.cli.options import AsJson
from callboard.cli.output import format_time, print_json, print_message, print_table
from callboard.cli.with_api import Data, Key, Project, Url, resolve_project
from callboard.schemas.errors import BadRequest

app = typer.Typer(
    help="Manage environment variables of a project and of the workspace.", no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(metavar="NAME")]
Workspace = Annotated[
    bool, typer.Option("--workspace", help="The variables of the workspace, which all its projects have.")
]


@app.command("list")
def list_variables(
    workspace: Workspace = False,
    project: Project = None,
    url: Url = None,
    key: Key = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List environment variables. The values of secrets are not shown."""
    answer = _target(workspace, project, url, key, data).request("GET", "env-vars")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            each["name"],
            ", ".join(each["scopes"]),
            format_time(each["updatedAt"]),
            each["updatedBy"],
            "***" if each["secret"] else each["value"],
        )
        for each in answer["envVars"]
    ]
    print_table(("NAME", "SCOPES", "UPDATED", "BY", "VALUE"), rows)


@app.command("set")
def set_variable(
    name: Name,
    secret: Annotated[bool, typer.Option("--secret", help="Mask the value, and never show it again.")] = False,
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="AUTHORING, PUBLISHED or, given twice, both. Default: what Runs of the API see.",
        ),
    ] = None,
    workspace: Workspace = False,
    project: Project = None,
    url: Url = None,
    key: Key = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set an environment variable. The value is asked for, or read from standard input.

    On standard input, one line end at the end of the value is left out.
    """
    target = _target(workspace, project, url, key, data)
    body = {
        "value": _read_value(name),
        "secret": secret,
        **({"scopes": [scope.upper() for scope in scopes]} if scopes else {}),
    }
    answer = target.request("PUT", f"env-vars/{quote_segment(name)}", body)
    if as_json:
        print_json(answer)
    else:
        print_message(f"{answer['name']} is set for {', '.join(answer['scopes'])}.")


@app.command("delete")
def delete_variable(
    name: Name,
    workspace: Workspace = False,
    project: Project = None,
    url: Url = None,
    key: Key = None,
    data: Data = None,
) -> None:
    """Delete an environment variable."""
    _target(workspace, project, url, key, data).request("DELETE", f"env-vars/{quote_segment(name)}")


def _target(workspace: bool, project: str | None, url: str | None, key: str | None, data: Data) -> ApiClient:
    """Return the API with the project that the options name, or without one for the variables of the workspace."""
    if workspace and project is not None:
        raise BadRequest("--workspace and --project exclude each other.")
    try:
        name = "" if workspace else resolve_project(project)
    except BadRequest as error:
        raise BadRequest(f"{error.message} Pass --workspace for the variables of the workspace.") from error
    return dataclasses.replace(find_api(url=url, key=key, data=data), project=name)


def _read_value(name: str) -> str:
    """Return the value that the user types, without showing it, or that comes on standard input.

    Raises:
        BadRequest: What came on standard input is not UTF-8.
    """
    if sys.stdin.isatty():
        return typer.prompt(f"Value of {name}", hide_input=True, default="", show_default=False)
    try:
        value = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise BadRequest("What came on standard input is not UTF-8.") from error
    return value.removesuffix("\n").removesuffix("\r")
