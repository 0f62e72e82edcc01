"""`callboard runs …`: starting Runs, finding them, and waiting for them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from cli.exit_codes import ExitCode, exit_code_for_status
from cli.filters import Filters, parse_run_filters
from cli.json_argument import JSON_HELP, read_object
from cli.output import format_elapsed, format_short_time, print_json, print_message, print_table
from cli.polling import UNFINISHED, wait_for_run
from cli.render import format_cause, print_run
from cli.with_api import AsJson, ProjectApi, quote_segment, with_project
from schemas.errors import BadRequest

app = typer.Typer(
    help="Runs of a project: start them, find them, wait for them.", no_args_is_help=True, add_completion=False
)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the Run's end, and print its result.")]
_Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="The same key with the same request gives the same Run, also if repeated."),
]

_PAGE = 200
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Pattern of keys that the header may hold. Others are refused here, as they would never reach the API."""


@app.command()
@with_project
def start(
    target: ProjectApi,
    body: Annotated[str, typer.Argument(metavar="BODY", help=f"What is started: {JSON_HELP}.")],
    wait: Wait = False,
    idempotency_key: _Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a Run. BODY is that of the API: '{"api": "list-products", "parameters": {"category": "chairs"}}'.

    Prints the Run's id; with --wait, its result.
    """
    headers = _idempotency_header(idempotency_key)
    _report_started(
        target, target.request("POST", "run/start", read_object(body, "BODY"), headers=headers), wait, as_json
    )


@app.command()
@with_project
def rerun(
    target: ProjectApi, run_id: RunId, wait: Wait = False, idempotency_key: _Key = None, as_json: AsJson = False
) -> None:
    """Start a new Run with the inputs of another, of the version that is deployed now.

    Prints the new Run's id; with --wait, its result.
    """
    headers = _idempotency_header(idempotency_key)
    _report_started(
        target, target.request("POST", f"runs/{quote_segment(run_id)}/rerun", headers=headers), wait, as_json
    )


@app.command("list")
@with_project
def list_runs(
    target: ProjectApi,
    filters: Filters = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="So many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind a list: its nextCursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List Runs: the unfinished first, then by their end, newest first.

    Filters: status=, type=, api=, authSession=, startedAfter=, startedBefore=. Of each, one of its values.
    """
    query = parse_run_filters(filters)
    runs: list[dict[str, Any]] = []
    while len(runs) < limit:
        place = {} if cursor is None else {"cursor": cursor}
        page = target.request("GET", "runs", query={**query, **place, "limit": min(limit - len(runs), _PAGE)})
        runs += page["runs"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    if as_json:
        print_json({"runs": runs, "nextCursor": cursor})
        return
    columns = ("RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "TOOK", "WHY")
    print_table(columns, [_run_row(run) for run in runs])
    if cursor is not None:
        print_message(f"There are more. Ask for more with -l, or go on with --cursor {cursor}")


@app.command()
@with_project
def get(target: ProjectApi, run_id: RunId, as_json: AsJson = False) -> None:
    """Show all that is known of a Run: its input, its Attempts, its result or error, and what it waits for."""
    run = target.request("GET", f"runs/{quote_segment(run_id)}")
    print_json(run) if as_json else print_run(run)


@app.command()
@with_project
def result(target: ProjectApi, run_id: RunId, wait: Wait = False, as_json: AsJson = False) -> None:
    """Print a Run's result. Ends with 0 if it has completed, 1 if it has failed or not ended yet, 3 if canceled."""
    answer = target.request("GET", f"run/{quote_segment(run_id)}/result")
    if wait and answer["status"] in UNFINISHED:
        answer = wait_for_run(target, run_id)
    if answer["status"] in UNFINISHED:
        if as_json:
            print_json(answer)
        else:
            print_message(f"Run {run_id} is {answer['status']}. Wait for its result with --wait.")
        raise typer.Exit(ExitCode.FAILED)
    _report_ended(answer, as_json)


@app.command()
@with_project
def cancel(
    target: ProjectApi,
    run_id: RunId,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=60, help="For its end.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Cancel a Run. One that has ended stays as it is; it reads canceled once its browser is gone."""
    answer = target.request("POST", f"run/{quote_segment(run_id)}/cancel", query={"wait": wait})
    if as_json:
        print_json(answer)
    elif answer["status"] == "canceled":
        typer.echo(f"Run {run_id} is canceled.")
    elif answer["status"] in UNFINISHED:
        print_message(f"Run {run_id} is being canceled, and has not ended yet.")
    else:
        typer.echo(f"Run {run_id} had ended before: {answer['status']}.")
    if answer["status"] in UNFINISHED:
        raise typer.Exit(ExitCode.FAILED)


def _idempotency_header(idempotency_key: str | None) -> dict[str, str]:
    if idempotency_key is None:
        return {}
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise BadRequest("--idempotency-key: expected 1 to 255 visible ASCII characters.")
    return {"idempotency-key": idempotency_key}


def _report_started(target: ProjectApi, answer: dict[str, Any], wait: bool, as_json: bool) -> None:
    run_id: str = answer["runId"]
    if wait:
        print_message(f"Run {run_id}")
        _report_ended(wait_for_run(target, run_id), as_json)
    elif as_json:
        print_json(answer)
    else:
        typer.echo(run_id)


def _report_ended(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif answer["status"] == "completed":
        print_json(answer.get("result"))
    else:
        print_message(f"The Run is {answer['status']}. {format_cause(answer)}", "red")
    raise typer.Exit(exit_code_for_status(answer["status"]))


def _run_row(run: dict[str, Any]) -> tuple[Any, ...]:
    cause = run["error"] or run["reason"]
    return (
        run["runId"],
        run["status"],
        run["api"] or run["type"],
        run["attemptCount"],
        format_short_time(run["createdAt"]),
        format_elapsed(run["startedAt"], run["endedAt"]),
        "" if cause is None else cause["message"],
    )
