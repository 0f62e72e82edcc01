"""`callboard authsessions …`: logins of a project, over its API."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli.remote import Data, Project, Url, remote
from contract.errors import BadRequest

app = typer.Typer(help="The AuthSessions of a project: its stored logins.", no_args_is_help=True)


@app.command("import")
def import_state(
    state_file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="STATE_FILE", help="A storage state of Playwright, or `-` for stdin."),
    ],
    project: Project,
    auth_session_id: Annotated[
        str | None,
        typer.Option("--id", help="The AuthSession's id. One that was imported before gets this state. Default: new."),
    ] = None,
    url: Url = None,
    data: Data = None,
) -> None:
    """Import the login that a person has made in a browser of their own (authSessions.type is MANUAL).

    Save one with Playwright: `playwright open --save-storage STATE_FILE ADDRESS`, log in, close the browser.
    """
    body: dict[str, Any] = {"state": _json_of(state_file)}
    if auth_session_id is not None:
        body["id"] = auth_session_id
    made = remote(url=url, data=data).call("POST", project, "auth-sessions/import", body)
    typer.echo(f"AuthSession {made['id']} ({made['type']}) is {made['status']}.")


def _json_of(file: typer.FileBinaryRead) -> Any:
    try:
        return json.loads(file.read())
    except ValueError as error:  # it names a place, and quotes nothing
        raise BadRequest(f"{file.name} is not JSON: {error}.") from error
