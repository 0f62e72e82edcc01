"""`callboard runs bulk …`: many Runs at once, and how far that has come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.exit_codes import ExitCode
from callboard.cli.filters import Filters, parse_run_filters
from callboard.cli.options import AsJson, IdempotencyKey, idempotency_header
from callboard.cli.output import print_fields, print_json, print_message, print_table
from callboard.cli.polling import wait_for_bulk
from callboard.cli.with_api import with_project
from callboard.schemas.errors import BadRequest

app = typer.Typer(help="Cancel many Runs, or start them again.", no_args_is_help=True, add_completion=False)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print how many Runs match.")]
_Detach = Annotated[bool, typer.Option("--detach", help="Print the id, and do not wait.")]
_BulkId = Annotated[str, typer.Argument(metavar="ID")]


@app.command()
@with_project
def cancel(
    target: ApiClient,
    filters: Filters = None,
    dry_run: _DryRun = False,
    detach: _Detach = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Cancel all Runs that have not ended and match the filters, which are those of `callboard runs list`."""
    _start(target, "cancel", filters, dry_run, detach, idempotency_header(idempotency_key), as_json)


@app.command()
@with_project
def rerun(
    target: ApiClient,
    filters: Filters = None,
    dry_run: _DryRun = False,
    detach: _Detach = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Start all Runs of APIs again that match the filters, which are those of `callboard runs list`.

    They run on the version that is deployed now.
    """
    _start(target, "rerun", filters, dry_run, detach, idempotency_header(idempotency_key), as_json)


@app.command()
@with_project
def get(target: ApiClient, bulk_id: _BulkId, as_json: AsJson = False) -> None:
    """Show how far a request about many Runs has come."""
    bulk = target.request("GET", f"runs/bulk/{quote_segment(bulk_id)}")
    if as_json:
        print_json(bulk)
        return
    names = ("id", "action", "status", "matched", "done", "failedCount", "createdAt", "endedAt")
    print_fields({name: bulk[name] for name in names})
    _print_failed(bulk)


@app.command()
@with_project
def abort(target: ApiClient, bulk_id: _BulkId) -> None:
    """Have a request about many Runs end with the Run at hand. What it has done stays."""
    target.request("POST", f"runs/bulk/{quote_segment(bulk_id)}/abort")
    print_message(f"{bulk_id} is being aborted. See: callboard runs bulk get {bulk_id} -p {target.project}")


def _start(
    target: ApiClient,
    action: str,
    filters: list[str] | None,
    dry_run: bool,
    detach: bool,
    headers: dict[str, str],
    as_json: bool,
) -> None:
    query = parse_run_filters(filters)
    if not query:
        raise BadRequest("Say which Runs, such as -f status=failed. To see them: callboard runs list")
    single = ("q", "startedAfter", "startedBefore")
    asked = {"filter": {name: values[-1] if name in single else values for name, values in query.items()}}
    answer = target.request("POST", f"runs/bulk/{action}", {**asked, "dryRun": dry_run}, headers=headers)
    if dry_run or detach:
        if as_json:
            print_json(answer)
        else:
            typer.echo(f"{answer['matched']} Runs match." if dry_run else answer["id"])
        return
    print_message(f"{answer['matched']} Runs match. Request {answer['id']}")
    bulk = wait_for_bulk(target, answer["id"])
    if as_json:
        print_json(bulk)
    else:
        word = "canceled" if action == "cancel" else "started again"
        typer.echo(f"{bulk['done']} of {bulk['matched']} Runs {word}: {bulk['status']}.")
        _print_failed(bulk)
    if bulk["status"] != "completed" or bulk["failedCount"]:
        raise typer.Exit(ExitCode.FAILED)


def _print_failed(bulk: dict[str, Any]) -> None:
    if not bulk["failed"]:
        return
    print_table(("RUN", "COULD NOT BE"), [(each["runId"], each["message"]) for each in bulk["failed"]])
    if more := bulk["failedCount"] - len(bulk["failed"]):
        print_message(f"{more} more could not be.")
