"""`callboard keys …`: the API keys of a workspace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.options import AsJson, parse_duration
from callboard.cli.output import format_time, print_json, print_message, print_table, print_text
from callboard.cli.with_api import with_api
from callboard.schemas.rest.keys import SCOPES

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, add_completion=False)


@app.command()
@with_api
def create(
    api: ApiClient,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that tells people what the key is for.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do, also several times: {SCOPES}.")],
    project: Annotated[
        list[str] | None,
        typer.Option("--project", "-p", help="A project that it sees, also several times. Default: all."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="When it ends: in 30d or 12h, or at 2027-01-31T00:00:00Z. Default: never."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is not kept, so nobody can show it again."""
    body: dict[str, Any] = {"name": name, "scopes": scope, "projects": project or None, "expiresAt": _end(expires)}
    made = api.request("POST", "keys", {field: value for field, value in body.items() if value is not None})
    if as_json:
        print_json(made)
        return
    print_text(made["key"])
    print_message(f"Made key {made['id']}. Copy it now: it is not shown again.")


@app.command("list")
@with_api
def list_keys(api: ApiClient, as_json: AsJson = False) -> None:
    """List the keys that allow no more than yours, without those in CALLBOARD_API_KEYS."""
    answer = api.request("GET", "keys")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            each["id"],
            each["name"],
            "all" if each["projects"] is None else ", ".join(each["projects"]),
            format_time(each["expiresAt"]) or "never",
            format_time(each["lastUsedAt"]) or "never",
            each["createdBy"]["name"],
            ", ".join(each["scopes"]),
        )
        for each in answer["keys"]
    ]
    print_table(("ID", "NAME", "PROJECTS", "ENDS", "LAST USE", "MADE BY", "SCOPES"), rows)


@app.command()
@with_api
def revoke(
    api: ApiClient,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `callboard keys list` has it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Revoke a key. Every api refuses it within five seconds."""
    if not yes:
        typer.confirm(f"Revoke key {key_id}?", abort=True, err=True)
    api.request("DELETE", f"keys/{quote_segment(key_id)}")
    typer.echo(f"Revoked key {key_id}.")


def _end(text: str | None) -> str | None:
    """Return the time that `--expires` says, as the API takes it."""
    if text is None:
        return None
    if text[:-1].isdecimal() and text[-1:] in "smhd":
        return (datetime.now(UTC) + parse_duration(text)).isoformat(timespec="seconds")
    try:
        has_zone = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        has_zone = False
    if not has_zone:
        raise typer.BadParameter(f"{text!r} is neither a duration such as 30d nor a time such as 2027-01-31T00:00:00Z.")
    return text
