"""`callboard authsessions …`: the AuthSessions of a project, over the API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import typer

from cli.exit_codes import exit_of
from cli.filters import Filters, matching
from cli.json_argument import JSON_HELP, read_object
from cli.options import duration
from cli.output import print_facts, print_json, print_table, say
from cli.polling import UNFINISHED_OPERATION, until_done
from cli.render import cause_of
from cli.with_api import AsJson, Target, on_project, part
from schemas.errors import BadRequest
from temporal.durations import said

app = typer.Typer(help="The AuthSessions of a project: its stored logins.", no_args_is_help=True, add_completion=False)

Id = Annotated[str, typer.Argument(metavar="ID")]
_Input = Annotated[str, typer.Option("--input", help=f"The parameters to log in with: {JSON_HELP}.")]
_Proxy = Annotated[str | None, typer.Option(help="Of all that use this AuthSession: http://user:password@host:port.")]
_Tries = Annotated[int | None, typer.Option(min=1, max=10, help="Tries. Default: 3.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Wait until the login is made.")]
_Timeout = Annotated[
    timedelta,
    typer.Option(parser=duration, metavar="TIME", show_default=False, help="Wait no longer: 90s, 10m. It goes on."),
]

_FIELDS = {"status": "status", "state": "status", "type": "type", "id": "id"}


@app.command("list")
@on_project
def list_sessions(target: Target, filters: Filters = None, as_json: AsJson = False) -> None:
    """List AuthSessions. Filters: status= (or state=), type=, id=."""
    wanted = matching(filters, _FIELDS)
    found = [
        each
        for each in target.call("GET", "auth-sessions")
        if all(each[name].lower() in values for name, values in wanted.items())
    ]
    if as_json:
        print_json(found)
        return
    print_table(("AUTHSESSION", "TYPE", "STATUS"), [(each["id"], each["type"], each["status"]) for each in found])


@app.command()
@on_project
def get(target: Target, auth_session_id: Id, as_json: AsJson = False) -> None:
    """Show how an AuthSession stands."""
    found = target.call("GET", f"auth-sessions/{part(auth_session_id)}")
    if as_json:
        print_json(found)
        return
    print_facts({"AuthSession": found["id"], "Type": found["type"], "Status": found["status"]})


@app.command()
@on_project
def create(
    target: Target,
    login: _Input,
    auth_session_id: Annotated[str | None, typer.Argument(metavar="ID", help="Default: a new one.")] = None,
    proxy: _Proxy = None,
    create_attempts: _Tries = None,
    check_attempts: _Tries = None,
    wait: _Wait = False,
    timeout: _Timeout = timedelta(minutes=10),
    as_json: AsJson = False,
) -> None:
    """Log in with parameters, and keep the login. Prints the operation's id; with --wait, the AuthSession's."""
    body = _login(login, id=auth_session_id, proxy=proxy, createAttempts=create_attempts, checkAttempts=check_attempts)
    answer = target.call("POST", "auth-sessions/create", body)
    _operation(target, answer, "auth-sessions/create", wait, timeout, as_json)


@app.command()
@on_project
def update(
    target: Target,
    auth_session_id: Id,
    login: _Input,
    proxy: _Proxy = None,
    create_attempts: _Tries = None,
    check_attempts: _Tries = None,
    wait: _Wait = False,
    timeout: _Timeout = timedelta(minutes=10),
    as_json: AsJson = False,
) -> None:
    """Log in with other parameters. If that fails, the old login stays."""
    body = _login(login, proxy=proxy, createAttempts=create_attempts, checkAttempts=check_attempts)
    place = f"auth-sessions/{part(auth_session_id)}/update"
    _operation(target, target.call("POST", place, body), place, wait, timeout, as_json)


@app.command()
@on_project
def validate(
    target: Target,
    auth_session_id: Id,
    auto_recreate: Annotated[bool, typer.Option(help="Make the login anew if it is not good any more.")] = True,
    check_attempts: _Tries = None,
    create_attempts: _Tries = None,
    timeout: _Timeout = timedelta(minutes=5),
    as_json: AsJson = False,
) -> None:
    """Check whether a login is good, and wait for the answer."""
    place = f"auth-sessions/{part(auth_session_id)}/validate"
    given = {"checkAttempts": check_attempts, "createAttempts": create_attempts}
    body = {"autoRecreate": auto_recreate, **{name: value for name, value in given.items() if value is not None}}
    _operation(target, target.call("POST", f"{place}/start", body), place, True, timeout, as_json)


@app.command()
@on_project
def delete(target: Target, auth_session_id: Id) -> None:
    """Remove a login with all that was kept of it. Runs that still need it are canceled."""
    target.call("DELETE", f"auth-sessions/{part(auth_session_id)}")
    typer.echo(f"AuthSession {auth_session_id} is gone.")


@app.command("import")
@on_project
def import_state(
    target: Target,
    state_file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="STATE_FILE", help="A storage state of Playwright, or `-` for stdin."),
    ],
    auth_session_id: Annotated[
        str | None,
        typer.Option("--id", help="The AuthSession's id. One that was imported before gets this state. Default: new."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import the login that a person has made in a browser of their own (authSessions.type is MANUAL).

    Save one with Playwright: `playwright open --save-storage STATE_FILE ADDRESS`, log in, close the browser.
    """
    body: dict[str, Any] = {"state": _json_of(state_file)}
    if auth_session_id is not None:
        body["id"] = auth_session_id
    made = target.call("POST", "auth-sessions/import", body)
    print_json(made) if as_json else typer.echo(f"AuthSession {made['id']} ({made['type']}) is {made['status']}.")


def _login(login: str, **fields: Any) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    return {"parameters": read_object(login, "--input"), **given}


def _operation(
    target: Target, answer: dict[str, Any], place: str, wait: bool, timeout: timedelta, as_json: bool
) -> None:
    operation: str = answer["operationId"]
    if not wait:
        print_json(answer) if as_json else typer.echo(operation)
        return
    look = f"{place}/{part(operation)}/result"
    now = until_done(f"Operation {operation}", lambda: target.call("GET", look), timeout)
    if as_json:
        print_json({"operationId": operation, **now})
    elif now["status"] == "done":
        typer.echo(f"AuthSession {now['authSessionId']} is READY.")
    elif now["status"] in UNFINISHED_OPERATION:
        say(f"Operation {operation} is {now['status']} after {said(timeout)}, and goes on.", "yellow")
    else:
        say(f"The operation is {now['status']}. {cause_of(now)}", "red")
    raise typer.Exit(exit_of(now["status"]))


def _json_of(file: typer.FileBinaryRead) -> Any:
    try:
        return json.loads(file.read())
    except ValueError as error:  # The error names a place in the text, and quotes nothing.
        raise BadRequest(f"{file.name} is not JSON: {error}.") from error
