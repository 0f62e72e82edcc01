"""`callboard authsessions …`: the AuthSessions of a project, over the API."""

from __future__ import annotations

from datetime import timedelta
from operator import itemgetter
from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.exit_codes import exit_code_for_status
from callboard.cli.filters import Filters, parse_field_filters
from callboard.cli.json_argument import JSON_HELP, read_json, read_object
from callboard.cli.options import AsJson, parse_duration
from callboard.cli.output import print_fields, print_heading, print_json, print_message, print_table
from callboard.cli.polling import UNFINISHED_OPERATION, wait_for_operation
from callboard.cli.render import format_cause
from callboard.cli.with_api import with_project
from callboard.schemas.errors import BadRequest, Forbidden
from callboard.temporal.durations import format_duration

app = typer.Typer(
    help="Manage AuthSessions, the stored logins of a project.", no_args_is_help=True, add_completion=False
)

Id = Annotated[str, typer.Argument(metavar="ID")]
_Input = Annotated[str, typer.Option("--input", help=f"Parameters for the login: {JSON_HELP}.")]
_Proxy = Annotated[str | None, typer.Option(help="Proxy of the AuthSession: http://user:password@host:port.")]
_Tries = Annotated[int | None, typer.Option(min=1, max=10, help="Number of attempts. Default: 3.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Wait until the operation is done.")]
_Timeout = Annotated[
    timedelta,
    typer.Option(
        parser=parse_duration, metavar="TIME", show_default=False, help="Maximum time to wait, such as 90s or 10m."
    ),
]

_CREATES = 100
"""Number of a project's latest Creates among which those that failed are found."""

_FIELDS = {"status": "status", "state": "status", "type": "type", "id": "id"}


@app.command("list")
@with_project
def list_sessions(target: ApiClient, filters: Filters = None, as_json: AsJson = False) -> None:
    """List AuthSessions. Filters: status= (or state=), type=, id=.

    Without filters, logins that could not be made are listed behind them, with the error of their last Create.
    """
    wanted = parse_field_filters(filters, _FIELDS)
    found = [
        each
        for each in target.request("GET", "auth-sessions")
        if all(each[name].lower() in values for name, values in wanted.items())
    ]
    if as_json:
        print_json(found)
        return
    print_table(("AUTHSESSION", "TYPE", "STATUS"), [(each["id"], each["type"], each["status"]) for each in found])
    if not wanted:
        _print_failed_creates(target, {each["id"] for each in found})


def _print_failed_creates(target: ApiClient, there: set[str]) -> None:
    """Print AuthSessions that do not exist because their last Create failed, with its error and its Run."""
    try:
        creates = target.request("GET", "runs", query={"type": "auth-session-create", "limit": _CREATES})["runs"]
    except Forbidden:
        print_message("Creates that failed are not listed: the key does not have the scope runs:read.")
        return
    newest = {run["authSessionId"]: run for run in sorted(creates, key=itemgetter("createdAt"))}
    failed = [run for run in newest.values() if run["status"] == "failed" and run["authSessionId"] not in there]
    rows = [(run["authSessionId"], run["runId"], format_cause(run)) for run in failed if run["parentRunId"] is None]
    if rows:
        print_heading("Not created")
        print_table(("AUTHSESSION", "RUN OF THE LAST CREATE", "ERROR"), rows)


@app.command()
@with_project
def get(target: ApiClient, auth_session_id: Id, as_json: AsJson = False) -> None:
    """Show the status of an AuthSession, and who uses its login alone."""
    found = target.request("GET", f"auth-sessions/{quote_segment(auth_session_id)}")
    if as_json:
        print_json(found)
        return
    lease = found["lease"]
    used_by = lease["heldBy"] and f"{lease['heldBy']} alone; {lease['waiting']} wait"
    print_fields({"AuthSession": found["id"], "Type": found["type"], "Status": found["status"], "Used by": used_by})


@app.command()
@with_project
def create(
    target: ApiClient,
    login: _Input,
    auth_session_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of the AuthSession. Default: a generated one.")
    ] = None,
    proxy: _Proxy = None,
    create_attempts: _Tries = None,
    check_attempts: _Tries = None,
    wait: _Wait = False,
    timeout: _Timeout = timedelta(minutes=10),
    as_json: AsJson = False,
) -> None:
    """Create an AuthSession by logging in.

    The id of the operation is printed; with --wait, that of the AuthSession.
    """
    body = _login_body(
        login, id=auth_session_id, proxy=proxy, createAttempts=create_attempts, checkAttempts=check_attempts
    )
    answer = target.request("POST", "auth-sessions/create", body)
    _report_operation(target, answer, "auth-sessions/create", wait, timeout, as_json)


@app.command()
@with_project
def update(
    target: ApiClient,
    auth_session_id: Id,
    login: _Input,
    proxy: _Proxy = None,
    create_attempts: _Tries = None,
    check_attempts: _Tries = None,
    wait: _Wait = False,
    timeout: _Timeout = timedelta(minutes=10),
    as_json: AsJson = False,
) -> None:
    """Log in again with other parameters. If this fails, the old login stays."""
    body = _login_body(login, proxy=proxy, createAttempts=create_attempts, checkAttempts=check_attempts)
    place = f"auth-sessions/{quote_segment(auth_session_id)}/update"
    _report_operation(target, target.request("POST", place, body), place, wait, timeout, as_json)


@app.command()
@with_project
def record(
    target: ApiClient,
    auth_session_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of the AuthSession. Default: a generated one.")
    ] = None,
    start_url: Annotated[
        str | None, typer.Option(help="Address at which the login begins. With --renew, the last one is the default.")
    ] = None,
    proxy: _Proxy = None,
    renew: Annotated[bool, typer.Option("--renew", help="Log in anew for an AuthSession that there is.")] = False,
    timeout: _Timeout = timedelta(minutes=20),
    as_json: AsJson = False,
) -> None:
    """Log in by hand, in a browser of Callboard, and store the login.

    This needs a project whose authSessions.type is MANUAL. The address of a page is printed: log in there, and press
    Done. The command waits for that. If a login is not renewed, the old one stays.
    """
    if renew and auth_session_id is None:
        raise BadRequest("--renew needs the ID of the AuthSession.")
    given = {"id": None if renew else auth_session_id, "startUrl": start_url, "proxy": proxy}
    body = {name: value for name, value in given.items() if value is not None}
    of = f"{quote_segment(auth_session_id)}/" if renew and auth_session_id is not None else ""
    answer = target.request("POST", f"auth-sessions/{of}record", body)
    print_message(f"Log in here: {answer['url']}")
    _report_operation(target, answer, "auth-sessions/record", True, timeout, as_json)


@app.command()
@with_project
def validate(
    target: ApiClient,
    auth_session_id: Id,
    auto_recreate: Annotated[bool, typer.Option(help="Log in again if the login has expired.")] = True,
    check_attempts: _Tries = None,
    create_attempts: _Tries = None,
    timeout: _Timeout = timedelta(minutes=5),
    as_json: AsJson = False,
) -> None:
    """Check whether a login is still valid, and wait for the result."""
    place = f"auth-sessions/{quote_segment(auth_session_id)}/validate"
    given = {"checkAttempts": check_attempts, "createAttempts": create_attempts}
    body = {"autoRecreate": auto_recreate, **{name: value for name, value in given.items() if value is not None}}
    _report_operation(target, target.request("POST", f"{place}/start", body), place, True, timeout, as_json)


@app.command()
@with_project
def delete(target: ApiClient, auth_session_id: Id) -> None:
    """Delete an AuthSession. Runs that still need it are canceled."""
    target.request("DELETE", f"auth-sessions/{quote_segment(auth_session_id)}")
    typer.echo(f"Deleted AuthSession {auth_session_id}.")


@app.command("import")
@with_project
def import_state(
    target: ApiClient,
    state_file: Annotated[str, typer.Argument(metavar="STATE_FILE", help="Playwright storage state, or - for stdin.")],
    auth_session_id: Annotated[
        str | None,
        typer.Option("--id", help="Id of the AuthSession; an existing import is replaced. Default: a generated one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a login that a person made in a browser.

    This needs a project whose authSessions.type is MANUAL. Playwright saves the state: run `playwright open
    --save-storage STATE_FILE ADDRESS`, log in, and close the browser.
    """
    body: dict[str, Any] = {"state": read_json("-" if state_file == "-" else f"@{state_file}", "STATE_FILE")}
    if auth_session_id is not None:
        body["id"] = auth_session_id
    made = target.request("POST", "auth-sessions/import", body)
    print_json(made) if as_json else typer.echo(f"AuthSession {made['id']} ({made['type']}) is {made['status']}.")


def _login_body(login: str, **fields: Any) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    return {"parameters": read_object(login, "--input"), **given}


def _report_operation(
    target: ApiClient, answer: dict[str, Any], place: str, wait: bool, timeout: timedelta, as_json: bool
) -> None:
    operation: str = answer["operationId"]
    if not wait:
        print_json(answer) if as_json else typer.echo(operation)
        return
    look = f"{place}/{quote_segment(operation)}/result"
    now = wait_for_operation(f"Operation {operation}", lambda: target.request("GET", look), timeout)
    if as_json:
        print_json({"operationId": operation, **now})
    elif now["status"] == "done":
        typer.echo(f"AuthSession {now['authSessionId']} is READY.")
    elif now["status"] in UNFINISHED_OPERATION:
        print_message(
            f"Operation {operation} is still {now['status']} after {format_duration(timeout)}, and continues.", "yellow"
        )
    else:
        print_message(f"The operation is {now['status']}. {format_cause(now)}", "red")
    raise typer.Exit(exit_code_for_status(now["status"]))
