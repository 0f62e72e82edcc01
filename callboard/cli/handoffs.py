"""`callboard handoffs …`: what Attempts ask people, and the answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.options import AsJson
from callboard.cli.output import format_short_time, print_json, print_message, print_table
from callboard.cli.with_api import with_project
from callboard.schemas.errors import BadRequest
from callboard.schemas.workflow import names
from callboard.schemas.workflow.handoff import HandoffKind

app = typer.Typer(help="List what Attempts ask people, and answer.", no_args_is_help=True, add_completion=False)

HandoffId = Annotated[str, typer.Argument(metavar="ID")]


@app.command("list")
@with_project
def list_handoffs(
    target: ApiClient,
    run_id: Annotated[str | None, typer.Option("--run", metavar="RUN_ID", help="All Handoffs of this Run.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the Handoffs of a project that wait for a person, or the last ones of a Run."""
    path = "handoffs" if run_id is None else f"runs/{quote_segment(run_id)}/handoffs"
    answer = target.request("GET", path)
    if as_json:
        print_json(answer)
        return
    columns = ("ID", "STATUS", "KIND", "FIELDS", "EXPIRES", "INSTRUCTIONS")
    print_table(columns, [_row(each) for each in answer["handoffs"]])


@app.command()
@with_project
def answer(
    target: ApiClient,
    handoff_id: HandoffId,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE…", help="Without any, each is asked for.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a Handoff.

    A secret on the command line can be seen by other users of this host: without NAME=VALUE, each value is asked for.
    For something to be done in the browser, a link to it is printed, and you are asked whether it is done.
    """
    body = {"values": _given(values) if values else _asked(target, handoff_id)}
    handoff = target.request("POST", f"{_path(handoff_id)}/complete", body)
    print_json(handoff) if as_json else typer.echo(f"Handoff {handoff_id} is {handoff['status']}.")


@app.command()
@with_project
def decline(
    target: ApiClient,
    handoff_id: HandoffId,
    reason: Annotated[str | None, typer.Option(help="What the Attempt is told.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decline a Handoff: the Attempt gets no answer."""
    handoff = target.request("POST", f"{_path(handoff_id)}/decline", {} if reason is None else {"reason": reason})
    print_json(handoff) if as_json else typer.echo(f"Handoff {handoff_id} is {handoff['status']}.")


@app.command("open")
@with_project
def open_handoff(target: ApiClient, handoff_id: HandoffId, as_json: AsJson = False) -> None:
    """Print a link with which one person answers a Handoff without a key, until it expires."""
    link = target.request("POST", f"{_path(handoff_id)}/link")
    print_json(link) if as_json else typer.echo(link["url"])


def _row(handoff: dict[str, Any]) -> tuple[Any, ...]:
    fields = ", ".join(field["name"] for field in handoff["fields"])
    expires = format_short_time(handoff["expiresAt"])
    return (handoff["id"], handoff["status"], handoff["kind"], fields, expires, handoff["instructions"])


def _path(handoff_id: str) -> str:
    return f"runs/{quote_segment(names.run_of_handoff(handoff_id))}/handoffs/{quote_segment(handoff_id)}"


def _given(values: list[str]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if not all(name and sign for name, sign, _ in pairs):  # it may be the secret alone, which is not repeated
        raise BadRequest("Expected each value as NAME=VALUE, such as code=123456.")
    return {name: value for name, _, value in pairs}


def _asked(target: ApiClient, handoff_id: str) -> dict[str, str]:
    """Ask for the value of each field on the terminal; where there is none, whether the person is done."""
    path = f"runs/{quote_segment(names.run_of_handoff(handoff_id))}/handoffs"
    found = [each for each in target.request("GET", path)["handoffs"] if each["id"] == handoff_id]
    if not found:
        raise BadRequest(f"There is no Handoff {handoff_id} of that Run. See: callboard handoffs list")
    (handoff,) = found
    print_message(handoff["instructions"])
    if handoff["kind"] == HandoffKind.BROWSER:
        print_message(target.request("POST", f"{_path(handoff_id)}/link")["url"])
        typer.confirm("Done?", abort=True, err=True)
    return {
        field["name"]: typer.prompt(field["name"], hide_input=field["secret"], err=True) for field in handoff["fields"]
    }
