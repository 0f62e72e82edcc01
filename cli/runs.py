"""`callboard runs …`: starting Runs, finding them, and waiting for them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from cli.exit_codes import Exit, exit_of
from cli.filters import Filters, run_filters
from cli.json_argument import JSON_HELP, read_object
from cli.output import moment, print_json, print_table, say, took
from cli.polling import UNFINISHED, until_ended
from cli.render import cause_of, show_run
from cli.with_api import AsJson, Target, on_project, part
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
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
"""Pattern of keys that the header may hold. Others are refused here, as they would never reach the API."""


@app.command()
@on_project
def start(
    target: Target,
    body: Annotated[str, typer.Argument(metavar="BODY", help=f"What is started: {JSON_HELP}.")],
    wait: Wait = False,
    idempotency_key: _Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a Run. BODY is that of the API: '{"api": "list-products", "parameters": {"category": "chairs"}}'.

    Prints the Run's id; with --wait, its result.
    """
    headers = _once(idempotency_key)
    _started(target, target.call("POST", "run/start", read_object(body, "BODY"), headers=headers), wait, as_json)


@app.command()
@on_project
def rerun(
    target: Target, run_id: RunId, wait: Wait = False, idempotency_key: _Key = None, as_json: AsJson = False
) -> None:
    """Start a new Run with the inputs of another, of the version that is deployed now.

    Prints the new Run's id; with --wait, its result.
    """
    headers = _once(idempotency_key)
    _started(target, target.call("POST", f"runs/{part(run_id)}/rerun", headers=headers), wait, as_json)


@app.command("list")
@on_project
def list_runs(
    target: Target,
    filters: Filters = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="So many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind a list: its nextCursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List Runs: the unfinished first, then by their end, newest first.

    Filters: status=, type=, api=, authSession=, startedAfter=, startedBefore=. Of each, one of its values.
    """
    query = run_filters(filters)
    runs: list[dict[str, Any]] = []
    while len(runs) < limit:
        place = {} if cursor is None else {"cursor": cursor}
        page = target.call("GET", "runs", query={**query, **place, "limit": min(limit - len(runs), _PAGE)})
        runs += page["runs"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    if as_json:
        print_json({"runs": runs, "nextCursor": cursor})
        return
    columns = ("RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "TOOK", "WHY")
    print_table(columns, [_row(run) for run in runs])
    if cursor is not None:
        say(f"There are more. Ask for more with -l, or go on with --cursor {cursor}")


@app.command()
@on_project
def get(target: Target, run_id: RunId, as_json: AsJson = False) -> None:
    """Show all that is known of a Run: its input, its Attempts, its result or error, and what it waits for."""
    run = target.call("GET", f"runs/{part(run_id)}")
    print_json(run) if as_json else show_run(run)


@app.command()
@on_project
def result(target: Target, run_id: RunId, wait: Wait = False, as_json: AsJson = False) -> None:
    """Print a Run's result. Ends with 0 if it has completed, 1 if it has failed or not ended yet, 3 if canceled."""
    answer = target.call("GET", f"run/{part(run_id)}/result")
    if wait and answer["status"] in UNFINISHED:
        answer = until_ended(target, run_id)
    if answer["status"] in UNFINISHED:
        if as_json:
            print_json(answer)
        else:
            say(f"Run {run_id} is {answer['status']}. Wait for its result with --wait.")
        raise typer.Exit(Exit.FAILED)
    _ended(answer, as_json)


@app.command()
@on_project
def cancel(
    target: Target,
    run_id: RunId,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=60, help="For its end.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Cancel a Run. One that has ended stays as it is; it reads canceled once its browser is gone."""
    answer = target.call("POST", f"run/{part(run_id)}/cancel", query={"wait": wait})
    if as_json:
        print_json(answer)
    elif answer["status"] == "canceled":
        typer.echo(f"Run {run_id} is canceled.")
    elif answer["status"] in UNFINISHED:
        say(f"Run {run_id} is being canceled, and has not ended yet.")
    else:
        typer.echo(f"Run {run_id} had ended before: {answer['status']}.")
    if answer["status"] in UNFINISHED:
        raise typer.Exit(Exit.FAILED)


def _once(idempotency_key: str | None) -> dict[str, str]:
    if idempotency_key is None:
        return {}
    if not _VISIBLE.fullmatch(idempotency_key):
        raise BadRequest("--idempotency-key: expected 1 to 255 visible ASCII characters.")
    return {"idempotency-key": idempotency_key}


def _started(target: Target, answer: dict[str, Any], wait: bool, as_json: bool) -> None:
    run_id: str = answer["runId"]
    if wait:
        say(f"Run {run_id}")
        _ended(until_ended(target, run_id), as_json)
    elif as_json:
        print_json(answer)
    else:
        typer.echo(run_id)


def _ended(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif answer["status"] == "completed":
        print_json(answer.get("result"))
    else:
        say(f"The Run is {answer['status']}. {cause_of(answer)}", "red")
    raise typer.Exit(exit_of(answer["status"]))


def _row(run: dict[str, Any]) -> tuple[Any, ...]:
    cause = run["error"] or run["reason"]
    return (
        run["runId"],
        run["status"],
        run["api"] or run["type"],
        run["attemptCount"],
        moment(run["createdAt"]),
        took(run["startedAt"], run["endedAt"]),
        "" if cause is None else cause["message"],
    )
